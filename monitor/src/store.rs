//! What the monitor keeps in its state region, which outlives it: audit records in a ring, the last faults, counts.
//!
//! A crash may come between any two instructions. The header exists twice and the newer whole one counts, so a record is either kept or not.
//! The kernel drains into [`Front::staging`], which is part of the region: what was drained and not yet kept when the monitor died is kept by
//! its successor ([`Store::absorb`]); nothing is lost between the two.

use core::sync::atomic::{Ordering, compiler_fence};
use hic_abi::Plain;
use hic_abi::audit::Record;
use hic_control::monitor::FaultInfo;

/// Marks the region.
pub const MAGIC: u64 = u64::from_le_bytes(*b"HICaudit");
/// Of this layout.
pub const VERSION: u64 = 2;
/// Records that one drain takes at most.
pub const STAGED: usize = 64;
/// Faults remembered.
pub const FAULTS: usize = 64;

/// Where the ring begins and ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Header {
    /// [`MAGIC`].
    pub magic: u64,
    /// [`VERSION`].
    pub version: u64,
    /// The higher one of two headers counts; written last. 0 = never written.
    pub generation: u64,
    /// Place of the oldest record in the ring.
    pub start: u64,
    /// Records kept.
    pub count: u64,
    /// Sequence number that the next record must have.
    pub next: u64,
    /// Digest of the record before the oldest one kept; zero before the first one ever.
    pub anchor: [u8; 32],
    /// Digest of the newest one kept.
    pub head: [u8; 32],
}

/// Counts since boot, and the last faults.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct History {
    /// Faults seen.
    pub faults: u64,
    /// Restarts asked for.
    pub restarts: u64,
    /// Liveness questions not answered in time.
    pub missed: u64,
    /// The last faults; the `n`th since boot lies at `n % FAULTS`.
    pub last: [FaultInfo; FAULTS],
}

/// The fixed part of the region; the ring of records follows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Front {
    /// Two copies; see [`Header::generation`].
    pub headers: [Header; 2],
    /// Faults and counts.
    pub history: History,
    /// Where the kernel puts drained records.
    pub staging: [Record; STAGED],
}

// SAFETY: `repr(C)`, integers of 8 bytes and octets in multiples of 8: no padding.
unsafe impl Plain for Header {}
// SAFETY: `repr(C)`, integers of 8 bytes and `FaultInfo`, which is Plain: no padding.
unsafe impl Plain for History {}
// SAFETY: `repr(C)`, made of Plain types of alignment 8: no padding.
unsafe impl Plain for Front {}

impl History {
    /// Remembers a fault.
    pub fn note_fault(&mut self, fault: FaultInfo) {
        let at = (self.faults % FAULTS as u64) as usize;
        if let Some(place) = self.last.get_mut(at) {
            *place = fault;
        }
        self.faults += 1;
    }

    /// The `index`th last fault, 0 = the newest; `None` beyond those remembered.
    #[must_use]
    pub fn fault(&self, index: u64) -> Option<&FaultInfo> {
        if index >= self.faults.min(FAULTS as u64) {
            return None;
        }
        self.last.get(((self.faults - 1 - index) % FAULTS as u64) as usize)
    }
}

/// What was found in the region at start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opened {
    /// Nothing: the first start.
    New,
    /// The records of an earlier start, this many.
    Kept(u64),
    /// Something else; it was cleared.
    Foreign,
}

/// The store over its region.
pub struct Store<'a> {
    front: &'a mut Front,
    ring: &'a mut [Record],
    header: Header,
}

impl<'a> Store<'a> {
    /// Opens the region; an unusable one is cleared. `ring` must not be empty.
    pub fn open(front: &'a mut Front, ring: &'a mut [Record]) -> (Self, Opened) {
        let capacity = ring.len() as u64;
        let whole = |h: &&Header| {
            h.magic == MAGIC
                && h.version == VERSION
                && h.generation > 0
                && h.count <= capacity
                && h.start < capacity.max(1)
        };
        let newest = front.headers.iter().filter(whole).max_by_key(|h| h.generation).copied();
        let opened = match newest {
            Some(header) => Opened::Kept(header.count),
            None if front.headers.iter().all(|h| *h == Header::zeroed()) => Opened::New,
            None => Opened::Foreign,
        };
        if opened == Opened::Foreign {
            *front = Front::zeroed();
        }
        let header = newest.unwrap_or(Header { magic: MAGIC, version: VERSION, ..Header::zeroed() });
        let mut store = Self { front, ring, header };
        store.absorb();
        (store, opened)
    }

    /// Room for the kernel's drain, emptied.
    pub fn staging(&mut self) -> &mut [Record; STAGED] {
        self.front.staging = [Record::zeroed(); STAGED];
        &mut self.front.staging
    }

    /// Keeps what was drained into [`Store::staging`]; how many records. Those already kept are passed over, so it may be repeated.
    pub fn absorb(&mut self) -> usize {
        let mut kept = 0;
        for at in 0..STAGED {
            let Some(record) = self.front.staging.get(at).copied() else { break };
            if record.digest != [0; 32] && record.sequence >= self.header.next {
                self.append(&record);
                kept += 1;
            }
        }
        kept
    }

    fn append(&mut self, record: &Record) {
        let capacity = self.ring.len() as u64;
        if self.header.count >= capacity {
            self.drop_oldest();
        }
        let mut header = self.header;
        let at = (header.start + header.count) % capacity.max(1);
        let Some(place) = self.ring.get_mut(at as usize) else { return };
        *place = *record;
        header.count += 1;
        header.next = record.sequence + 1;
        header.head = record.digest;
        self.publish(header);
    }

    /// Published on its own, before the place is written again: until then the old record is whole and counted.
    fn drop_oldest(&mut self) {
        let Some(oldest) = self.get(0).copied() else { return };
        let mut header = self.header;
        header.anchor = oldest.digest;
        header.start = (header.start + 1) % (self.ring.len() as u64).max(1);
        header.count -= 1;
        self.publish(header);
    }

    fn publish(&mut self, mut header: Header) {
        header.generation = self.header.generation + 1;
        self.header = header;
        let Some(place) = self.front.headers.get_mut((header.generation % 2) as usize) else { return };
        // The order of the stores is what a successor relies on; a sandbox stops between two instructions, so fences for the
        // compiler are enough.
        compiler_fence(Ordering::SeqCst);
        *place = Header { generation: 0, ..header };
        compiler_fence(Ordering::SeqCst);
        place.generation = header.generation;
        compiler_fence(Ordering::SeqCst);
    }

    /// The `index`th record kept, 0 = the oldest.
    #[must_use]
    pub fn get(&self, index: u64) -> Option<&Record> {
        if index >= self.header.count {
            return None;
        }
        self.ring.get(((self.header.start + index) % self.ring.len() as u64) as usize)
    }

    /// Where the ring begins and ends.
    #[must_use]
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Faults and counts.
    #[must_use]
    pub fn history(&self) -> &History {
        &self.front.history
    }

    /// Faults and counts, to change.
    pub fn history_mut(&mut self) -> &mut History {
        &mut self.front.history
    }

    /// The ring itself, to damage it in tests.
    #[cfg(test)]
    pub(crate) fn parts(&mut self) -> (&mut Header, &mut [Record]) {
        (&mut self.header, self.ring)
    }
}

#[cfg(test)]
#[path = "store_tests.rs"]
mod tests;
