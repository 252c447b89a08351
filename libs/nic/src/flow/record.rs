//! One entry of the flow table as it lies in the state region.

use super::FlowKey;
use hic_abi::Plain;

/// Bytes of a record.
pub const RECORD_BYTES: usize = size_of::<FlowRecord>();

/// Where a flow stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlowState {
    /// Its frames go to the owner.
    Flowing,
    /// Its frames wait until it is released or taken, or until the deadline returns it to the owner.
    Held {
        /// Monotonic nanoseconds.
        deadline: u64,
    },
}

/// What the table says about a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flow {
    /// The stack, by the driver's number.
    pub owner: u32,
    /// Where it stands.
    pub state: FlowState,
}

/// A slot of the table. All zero is an empty one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct FlowRecord {
    key: [u64; 3],
    /// A slot number by [`Slot`] in the low half, which is stored last; the owner in the high half.
    head: u64,
    /// Deadline of a hold.
    deadline: u64,
}

// SAFETY: `repr(C)`, 40 bytes of `u64`.
unsafe impl Plain for FlowRecord {}

/// What a slot holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Slot {
    /// Nothing, and nothing was pushed past it: a search ends here.
    Empty,
    /// Nothing any more: a search goes on.
    Gone,
    /// A flow.
    Live(FlowKey, Flow),
    /// No value that this code writes.
    Broken,
}

const EMPTY: u32 = 0;
const GONE: u32 = 1;
const FLOWING: u32 = 2;
const HELD: u32 = 3;

impl FlowRecord {
    /// Reads the slot.
    pub(super) fn read(&self) -> Slot {
        let owner = (self.head >> 32) as u32;
        let state = match self.head as u32 {
            EMPTY => return Slot::Empty,
            GONE => return Slot::Gone,
            FLOWING => FlowState::Flowing,
            HELD => FlowState::Held { deadline: self.deadline },
            _ => return Slot::Broken,
        };
        match FlowKey::from_words(self.key) {
            Some(key) => Slot::Live(key, Flow { owner, state }),
            None => Slot::Broken,
        }
    }

    /// Whether it is a live slot with this key; cheaper than [`Self::read`].
    pub(super) fn matches(&self, key: &[u64; 3]) -> bool {
        self.key == *key && self.head as u32 >= FLOWING
    }

    pub(super) fn is_empty(&self) -> bool {
        self.head as u32 == EMPTY
    }

    pub(super) fn is_free(&self) -> bool {
        self.head as u32 <= GONE
    }

    /// Writes a flow into a free slot, or another owner and state into a flow's own slot. The word that holds both comes last, so
    /// a driver that dies here leaves the slot as it was, but for the deadline of a hold that was moved.
    pub(super) fn write(&mut self, key: [u64; 3], flow: Flow) {
        let number = match flow.state {
            FlowState::Flowing => FLOWING,
            FlowState::Held { deadline } => {
                self.deadline = deadline;
                HELD
            }
        };
        self.key = key;
        core::sync::atomic::compiler_fence(core::sync::atomic::Ordering::Release);
        self.head = u64::from(flow.owner) << 32 | u64::from(number);
    }

    /// Makes the slot free; `end` = a search may end here.
    pub(super) fn clear(&mut self, end: bool) {
        self.head = if end { EMPTY } else { GONE }.into();
    }

    /// A record with any content, for tests of what a broken state region does.
    #[cfg(test)]
    pub(super) fn raw(key: [u64; 3], head: u64) -> Self {
        Self { key, head, deadline: 0 }
    }
}
