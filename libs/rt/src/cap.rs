//! Which slots of this program's capability space are free.
//!
//! Slots below the start page's `first_free_slot` hold grants; the rest is handed out here. One thread a program, so a plain cell
//! would do; atomics make it safe without saying so.

use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use hic_abi::Handle;

const MAX_SLOTS: usize = 65_536;

static FIRST: AtomicU32 = AtomicU32::new(0);
static END: AtomicU32 = AtomicU32::new(0);
static HINT: AtomicU32 = AtomicU32::new(0);
static USED: [AtomicU64; MAX_SLOTS / 64] = [const { AtomicU64::new(0) }; MAX_SLOTS / 64];

/// Called once at start.
pub(crate) fn init(first: Handle, slots: Handle) {
    FIRST.store(first, Ordering::Relaxed);
    END.store(slots.min(MAX_SLOTS as u32), Ordering::Relaxed);
    HINT.store(first, Ordering::Relaxed);
}

/// A free slot; `None` when all are in use.
#[must_use]
pub fn allocate() -> Option<Handle> {
    let (first, end) = (FIRST.load(Ordering::Relaxed), END.load(Ordering::Relaxed));
    let hint = HINT.load(Ordering::Relaxed).max(first);
    let slot = (hint..end).chain(first..hint).find(|&slot| claim(slot))?;
    HINT.store(slot + 1, Ordering::Relaxed);
    Some(slot)
}

/// Marks a slot as used that is known from elsewhere (a record of an earlier start); whether it was free.
pub fn claim(slot: Handle) -> bool {
    let bit = 1 << (slot % 64);
    USED.get(slot as usize / 64).is_some_and(|word| word.fetch_or(bit, Ordering::Relaxed) & bit == 0)
}

/// Gives a slot back whose capability was moved away.
pub fn release(slot: Handle) {
    if let Some(word) = USED.get(slot as usize / 64) {
        word.fetch_and(!(1 << (slot % 64)), Ordering::Relaxed);
    }
}

/// Deletes the capability in a slot, if any, and gives the slot back.
pub fn drop_slot(slot: Handle) {
    let _ = crate::sys::cap_delete(hic_abi::SELF, slot);
    release(slot);
}
