//! The state region: what must survive this instance, as records in double buffers.
//!
//! ```text
//!    0  header: magic, secret
//!   64  slot 0: the interface     64 + 1 × SLOT  slot 1: place 0     …
//!  slot  sequence | socket | port, region handles | notification handle | its bits | copy 0 | copy 1
//! ```
//! A record is written into the copy that is not valid, then the sequence number is stored: its lowest bit says which copy
//! is. So at every instant one complete record is valid, whenever this instance dies. The handles beside it name
//! capabilities in this sandbox's own space, for whoever runs in it next.
//!
//! Nothing here interprets a record's bytes; `hic-net` checks them when it decodes.

use crate::place;
use core::sync::atomic::{AtomicU64, Ordering};
use hic_abi::Handle;
use hic_net::Socket;
use hic_net::record::MAX_RECORD;

const MAGIC: u64 = u64::from_le_bytes(*b"HICnets1");
const HEADER: usize = 64;
const SLOT_HEADER: usize = 64;
/// Length word, then the record.
const COPY: usize = 8 + MAX_RECORD;
const SLOT: usize = (SLOT_HEADER + 2 * COPY).next_multiple_of(64);
const SLOTS: usize = 1 + place::PLACES;
/// Bytes of the state region.
pub const BYTES: usize = HEADER + SLOTS * SLOT;

/// Capabilities of a socket in this sandbox's space; 0 = none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Handles {
    /// Its port (MANAGE).
    pub port: Handle,
    /// Its data region.
    pub region: Handle,
    /// The application's notification (SEND).
    pub notification: Handle,
    /// Bits to signal there.
    pub bits: u64,
}

/// A socket as an earlier start left it.
#[derive(Clone, Copy, Debug)]
pub struct Found<'a> {
    /// Which.
    pub socket: Socket,
    /// Its capabilities.
    pub handles: Handles,
    /// Its record, to be decoded; empty if none was published yet.
    pub record: &'a [u8],
}

/// The region is too small or not aligned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadRegion {
    /// Its bytes.
    pub have: usize,
}

impl core::fmt::Display for BadRegion {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "state region of {} bytes: {BYTES} are needed, aligned to 64", self.have)
    }
}

impl core::error::Error for BadRegion {}

/// The state region.
pub struct Records {
    base: *mut u8,
}

impl Records {
    /// Opens the region. Memory without the header of this format counts as empty.
    ///
    /// # Safety
    /// `base..base + len` must be mapped readable and writable for as long as the value lives, and used through it alone.
    ///
    /// # Errors
    /// [`BadRegion`].
    pub unsafe fn attach(base: *mut u8, len: usize) -> Result<Self, BadRegion> {
        if len < BYTES || base.is_null() || !base.addr().is_multiple_of(64) {
            return Err(BadRegion { have: len });
        }
        let records = Self { base };
        if records.word(0).load(Ordering::Acquire) != MAGIC {
            for slot in 0..SLOTS {
                records.word(Self::at(slot)).store(0, Ordering::Relaxed);
                records.word(Self::at(slot) + 8).store(0, Ordering::Relaxed);
            }
        }
        Ok(records)
    }

    /// The secret that every instance shares; `None` before [`Records::set_secret`].
    #[must_use]
    pub fn secret(&self) -> Option<[u8; 16]> {
        let made = self.word(0).load(Ordering::Acquire) == MAGIC;
        let low = u128::from(self.word(8).load(Ordering::Relaxed));
        let high = u128::from(self.word(16).load(Ordering::Relaxed));
        made.then_some((low | high << 64).to_le_bytes())
    }

    /// Keeps the secret and marks the region as used.
    pub fn set_secret(&mut self, secret: [u8; 16]) {
        let value = u128::from_le_bytes(secret);
        self.word(8).store(value as u64, Ordering::Relaxed);
        self.word(16).store((value >> 64) as u64, Ordering::Relaxed);
        self.word(0).store(MAGIC, Ordering::Release);
    }

    /// Publishes the interface's record: `encode` writes it and returns its length.
    pub fn publish_interface(&mut self, encode: impl FnOnce(&mut [u8; MAX_RECORD]) -> usize) {
        self.publish_slot(0, encode);
    }

    /// Publishes a socket's record; `place` is its place.
    pub fn publish(&mut self, place: usize, encode: impl FnOnce(&mut [u8; MAX_RECORD]) -> usize) {
        if place < place::PLACES {
            self.publish_slot(1 + place, encode);
        }
    }

    /// Says that a socket is at this place, without a record yet.
    pub fn open(&mut self, place: usize, socket: Socket) {
        if place < place::PLACES {
            self.set_handles(place, Handles::default());
            let at = Self::at(1 + place);
            self.word(at).store(0, Ordering::Relaxed);
            self.word(at + 8).store(place::to_word(socket), Ordering::Release);
        }
    }

    /// Keeps a socket's capabilities.
    pub fn set_handles(&mut self, place: usize, handles: Handles) {
        if place < place::PLACES {
            let at = Self::at(1 + place);
            let Handles { port, region, notification, bits } = handles;
            self.word(at + 16).store(u64::from(port) << 32 | u64::from(region), Ordering::Relaxed);
            self.word(at + 24).store(notification.into(), Ordering::Relaxed);
            self.word(at + 32).store(bits, Ordering::Relaxed);
        }
    }

    /// Forgets a socket.
    pub fn close(&mut self, place: usize) {
        if place < place::PLACES {
            let at = Self::at(1 + place);
            self.word(at + 8).store(0, Ordering::Release);
            self.word(at).store(0, Ordering::Relaxed);
        }
    }

    /// The interface's record; empty if none was published.
    #[must_use]
    pub fn interface(&self) -> &[u8] {
        self.valid_copy(0)
    }

    /// What is at a place.
    #[must_use]
    pub fn get(&self, place: usize) -> Option<Found<'_>> {
        if place >= place::PLACES {
            return None;
        }
        let at = Self::at(1 + place);
        let socket = place::from_word(self.word(at + 8).load(Ordering::Acquire))?;
        let both = self.word(at + 16).load(Ordering::Relaxed);
        let handles = Handles {
            port: (both >> 32) as Handle,
            region: both as Handle,
            notification: self.word(at + 24).load(Ordering::Relaxed) as Handle,
            bits: self.word(at + 32).load(Ordering::Relaxed),
        };
        Some(Found { socket, handles, record: self.valid_copy(1 + place) })
    }

    const fn at(slot: usize) -> usize {
        HEADER + slot * SLOT
    }

    fn word(&self, at: usize) -> &AtomicU64 {
        debug_assert!(at.is_multiple_of(8) && at + 8 <= BYTES);
        // SAFETY: callers pass offsets inside `BYTES` that are multiples of 8; `attach` checked the region's length and
        // alignment. All access to these words is atomic.
        unsafe { AtomicU64::from_ptr(self.base.add(at).cast()) }
    }

    fn publish_slot(&mut self, slot: usize, encode: impl FnOnce(&mut [u8; MAX_RECORD]) -> usize) {
        let at = Self::at(slot);
        let sequence = self.word(at).load(Ordering::Relaxed).wrapping_add(1).max(1);
        let copy = at + SLOT_HEADER + (sequence & 1) as usize * COPY;
        // SAFETY: the copy lies inside the region (`slot < SLOTS`), which is used through `self` alone, borrowed mutably.
        let space = unsafe { &mut *self.base.add(copy + 8).cast::<[u8; MAX_RECORD]>() };
        let len = encode(space).min(MAX_RECORD);
        self.word(copy).store(len as u64, Ordering::Relaxed);
        self.word(at).store(sequence, Ordering::Release);
    }

    fn valid_copy(&self, slot: usize) -> &[u8] {
        let at = Self::at(slot);
        let sequence = self.word(at).load(Ordering::Acquire);
        if sequence == 0 {
            return &[];
        }
        let copy = at + SLOT_HEADER + (sequence & 1) as usize * COPY;
        let len = (self.word(copy).load(Ordering::Relaxed) as usize).min(MAX_RECORD);
        // SAFETY: inside the region as in `publish_slot`; it changes only through `&mut self`.
        unsafe { core::slice::from_raw_parts(self.base.add(copy + 8), len) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hic_net::Id;
    use std::vec::Vec;

    /// The manifest's region, as memory.
    struct Memory(Vec<u64>);

    const PAGES: usize = 1408;

    impl Memory {
        fn new(fill: u64) -> Self {
            Self(std::vec![fill; PAGES * 512 + 8])
        }

        fn attach(&mut self) -> Records {
            let base = self.0.as_mut_ptr().cast::<u8>();
            let base = base.wrapping_add(base.align_offset(64));
            // SAFETY: the vector outlives the records in each test and is not touched otherwise.
            unsafe { Records::attach(base, PAGES * 4096) }.unwrap()
        }
    }

    fn write(bytes: &[u8]) -> impl FnOnce(&mut [u8; MAX_RECORD]) -> usize + '_ {
        |space| {
            space[..bytes.len()].copy_from_slice(bytes);
            bytes.len()
        }
    }

    #[test]
    fn the_manifest_gives_enough_pages_and_not_many_more() {
        let needed = BYTES.div_ceil(4096);
        assert!(needed <= PAGES && PAGES < needed + 128, "{needed} pages are needed");
        let manifest = include_str!("../hicmod.toml");
        assert!(manifest.contains(&std::format!("pages = {PAGES} ")));
    }

    #[test]
    fn a_successor_finds_what_was_published_last() {
        let mut memory = Memory::new(0);
        let mut records = memory.attach();
        let socket = Socket::Connection(Id(5 << 20 | 9));
        let handles = Handles { port: 70, region: 71, notification: 72, bits: 1 << 40 };
        records.set_secret([7; 16]);
        records.open(9, socket);
        records.set_handles(9, handles);
        records.publish_interface(write(b"interface"));
        for text in [&b"first"[..], b"second", b"third one"] {
            records.publish(9, write(text));
        }
        let records = memory.attach();
        assert_eq!(records.secret(), Some([7; 16]));
        assert_eq!(records.interface(), b"interface");
        let found = records.get(9).unwrap();
        assert_eq!((found.socket, found.handles, found.record), (socket, handles, &b"third one"[..]));
        assert!(records.get(8).is_none());
    }

    #[test]
    fn a_death_while_writing_leaves_the_record_before() {
        let mut memory = Memory::new(0);
        let mut records = memory.attach();
        records.set_secret([1; 16]);
        records.open(0, Socket::Udp(Id(0)));
        records.publish(0, write(b"whole"));
        let died = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            records.publish(0, |space| {
                space[..4].copy_from_slice(b"torn");
                panic!("dies here")
            });
        }));
        assert!(died.is_err());
        assert_eq!(memory.attach().get(0).unwrap().record, b"whole");
    }

    #[test]
    fn a_place_used_again_shows_nothing_of_the_socket_before() {
        let mut memory = Memory::new(0);
        let mut records = memory.attach();
        records.open(3, Socket::Connection(Id(3)));
        records.set_handles(3, Handles { port: 1, region: 2, notification: 3, bits: 4 });
        records.publish(3, write(b"old"));
        records.close(3);
        assert!(records.get(3).is_none());
        records.open(3, Socket::Connection(Id(1 << 20 | 3)));
        let found = records.get(3).unwrap();
        assert_eq!((found.handles, found.record), (Handles::default(), &b""[..]));
    }

    #[test]
    fn memory_without_the_header_counts_as_empty() {
        let mut memory = Memory::new(0x0101_0101_0101_0101);
        let records = memory.attach();
        assert_eq!((records.secret(), records.interface()), (None, &b""[..]));
        assert!((0..place::PLACES).all(|place| records.get(place).is_none()));
    }

    #[test]
    fn a_region_that_is_too_small_is_refused() {
        // SAFETY: the length is refused before anything is accessed.
        let small = unsafe { Records::attach(64 as *mut u8, 4096) };
        assert_eq!(small.err(), Some(BadRegion { have: 4096 }));
    }
}
