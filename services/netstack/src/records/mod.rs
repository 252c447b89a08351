//! The state region: what must survive this instance, as records in double buffers.
//!
//! ```text
//!    0  magic | secret | base slot | crumb: frame, tried, suspect, since | frames dropped    words, each valid by itself
//!  512  journal of the update       3072  neighbours                             blocks (double-buffered)
//! 8192  slot 0: the interface       8192 + 1 × SLOT  slot 1: place 0     …
//!  slot  sequence | socket | port, region handles | notification handle | its bits | longest freeze | copy 0 | copy 1
//! ```
//! A record is written into the copy that is not valid, then the sequence number is stored: its lowest bit says which copy
//! is. So at every instant one complete record is valid, whenever this instance dies. The handles beside it name
//! capabilities in this sandbox's own space, for whoever runs in it next; a slot is named here before the object exists.
//!
//! While two instances exist, each reads the other's region through [`View`], as it stands: bytes are copied out first, then checked.
//!
//! Nothing here interprets a record's bytes; `hic-net` checks them when it decodes.

mod blocks;
mod journal;
mod memory;
#[cfg(test)]
mod tests;

use crate::crumb::Crumb;
use crate::place;
use blocks::Block;
use hic_abi::{Handle, Nanos};
use hic_net::Socket;
use hic_net::record::MAX_RECORD;
pub use journal::{Batch, Journal, Phase, Places, Truth};
pub use memory::BadRegion;
use memory::Memory;

const MAGIC: u64 = u64::from_le_bytes(*b"HICnets2");
const SECRET: usize = 8;
const BASE_SLOT: usize = 24;
const CRUMB: usize = 32;
const POISONED: usize = 64;
const JOURNAL: Block<{ journal::WORDS }> = Block { at: 512 };
const NEIGHBOURS: Block<{ 1 + 2 * MAX_NEIGHBOURS }> = Block { at: 3072 };
const HEADER: usize = 8192;
const SLOT_HEADER: usize = 64;
/// In the slot's header.
const FREEZE: usize = 40;
/// Length word, then the record.
const COPY: usize = 8 + MAX_RECORD.next_multiple_of(8);
const SLOT: usize = (SLOT_HEADER + 2 * COPY).next_multiple_of(64);
const SLOTS: usize = 1 + place::PLACES;
/// Bytes of the state region.
pub const BYTES: usize = HEADER + SLOTS * SLOT;
/// Stations on the link that are remembered for a successor.
pub const MAX_NEIGHBOURS: usize = 64;

const _: () = assert!(512 + Block::<{ journal::WORDS }>::BYTES <= 3072);
const _: () = assert!(3072 + Block::<{ 1 + 2 * MAX_NEIGHBOURS }>::BYTES <= HEADER);

/// Times that a record is read again because its writer came in between.
const TRIES: usize = 16;

/// Capabilities of a socket in this sandbox's space; 0 = none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Handles {
    /// Its port (MANAGE).
    pub port: Handle,
    /// Its data region.
    pub region: Handle,
    /// The application's notification (SEND, COPY), its own capability on it.
    pub notification: Handle,
    /// Bits to signal there.
    pub bits: u64,
}

impl Handles {
    /// The slots in use, in the order in which they move: port, region, notification; with whether it is the port.
    pub fn each(self) -> impl Iterator<Item = (Handle, bool)> {
        let all = [(self.port, true), (self.region, false), (self.notification, false)];
        all.into_iter().filter(|(slot, _)| *slot != 0)
    }
}

/// A record, copied out of the region.
#[derive(Clone, Copy, Debug)]
pub struct Bytes {
    bytes: [u8; MAX_RECORD],
    len: usize,
}

impl Bytes {
    const EMPTY: Self = Self { bytes: [0; MAX_RECORD], len: 0 };
}

impl core::ops::Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}

/// A socket as it is on record.
#[derive(Clone, Copy, Debug)]
pub struct Found {
    /// Which.
    pub socket: Socket,
    /// Its capabilities.
    pub handles: Handles,
    /// As [`View::freeze`].
    pub freeze: Nanos,
    /// Its record, to be decoded; empty if none was published yet.
    pub record: Bytes,
}

/// A station on the link: IPv4 address, station address.
pub type Neighbour = ([u8; 4], [u8; 6]);

/// A state region to be read: one's own, or the peer's.
#[derive(Clone, Copy, Debug)]
pub struct View {
    memory: Memory,
}

/// One's own state region.
pub struct Records {
    view: View,
}

impl core::ops::Deref for Records {
    type Target = View;

    fn deref(&self) -> &View {
        &self.view
    }
}

impl View {
    /// Opens a peer's region.
    ///
    /// # Safety
    /// `base..base + len` must be mapped for reading for as long as the value lives, without a Rust reference into it.
    ///
    /// # Errors
    /// [`BadRegion`], also for memory in another format.
    pub unsafe fn attach(base: *const u8, len: usize) -> Result<Self, BadRegion> {
        // SAFETY: the caller's contract; nothing is written through a `View`.
        let memory = unsafe { Memory::new(base.cast_mut(), len) }?;
        if memory.load(0) == MAGIC { Ok(Self { memory }) } else { Err(BadRegion { have: len }) }
    }

    /// The secret that every instance shares; `None` before [`Records::set_secret`].
    #[must_use]
    pub fn secret(&self) -> Option<[u8; 16]> {
        let low = u128::from(self.memory.load(SECRET));
        let high = u128::from(self.memory.load(SECRET + 8));
        (self.memory.load(0) == MAGIC).then_some((low | high << 64).to_le_bytes())
    }

    /// First slot of the capabilities that every start has; 0 before the first.
    #[must_use]
    pub fn base_slot(&self) -> Handle {
        self.memory.load(BASE_SLOT) as Handle
    }

    /// Which frame was being looked at.
    #[must_use]
    pub fn crumb(&self) -> Crumb {
        let [frame, tried, suspect, since] = core::array::from_fn(|n| self.memory.load(CRUMB + n * 8));
        Crumb { frame, tried, suspect, since }
    }

    /// Frames dropped because they killed whoever looked at them.
    #[must_use]
    pub fn poisoned(&self) -> u64 {
        self.memory.load(POISONED)
    }

    /// What is on record about the update under way.
    #[must_use]
    pub fn journal(&self) -> Journal {
        JOURNAL.read(&self.memory).map(|words| Journal::from_words(&words)).unwrap_or_default()
    }

    /// Stations on the link.
    pub fn neighbours(&self) -> impl Iterator<Item = Neighbour> {
        let words = NEIGHBOURS.read(&self.memory).unwrap_or([0; 1 + 2 * MAX_NEIGHBOURS]);
        let count = words[0].min(MAX_NEIGHBOURS as u64) as usize;
        (0..count).filter_map(move |n| {
            let (address, station) = (words.get(1 + 2 * n)?, words.get(2 + 2 * n)?);
            let [a, b, c, d, e, f, ..] = station.to_le_bytes();
            Some(((*address as u32).to_le_bytes(), [a, b, c, d, e, f]))
        })
    }

    /// The interface's record; empty if none was published.
    #[must_use]
    pub fn interface(&self) -> Bytes {
        self.valid_copy(0)
    }

    /// What is at a place.
    #[must_use]
    pub fn get(&self, place: usize) -> Option<Found> {
        let socket = self.socket(place)?;
        Some(Found {
            socket,
            handles: self.handles(place),
            freeze: self.freeze(place),
            record: self.valid_copy(1 + place),
        })
    }

    /// The socket at a place.
    #[must_use]
    pub fn socket(&self, place: usize) -> Option<Socket> {
        if place >= place::PLACES {
            return None;
        }
        let socket = place::from_word(self.memory.load(at(1 + place) + 8))?;
        (place::of(socket) == Some(place)).then_some(socket)
    }

    /// Whether this socket is on record. One that is, and that the engine does not have, is in a batch: whose it is, is not settled yet.
    #[must_use]
    pub fn names(&self, socket: Socket) -> bool {
        place::of(socket).is_some_and(|place| self.socket(place) == Some(socket))
    }

    /// The capabilities of the socket at a place.
    #[must_use]
    pub fn handles(&self, place: usize) -> Handles {
        if place >= place::PLACES {
            return Handles::default();
        }
        let at = at(1 + place);
        let both = self.memory.load(at + 16);
        Handles {
            port: (both >> 32) as Handle,
            region: both as Handle,
            notification: self.memory.load(at + 24) as Handle,
            bits: self.memory.load(at + 32),
        }
    }

    /// For how long the socket at a place was not served at most, over all its moves, nanoseconds.
    #[must_use]
    pub fn freeze(&self, place: usize) -> Nanos {
        if place < place::PLACES { self.memory.load(at(1 + place) + FREEZE) } else { 0 }
    }

    fn valid_copy(&self, slot: usize) -> Bytes {
        let at = at(slot);
        for _ in 0..TRIES {
            let sequence = self.memory.load(at);
            if sequence == 0 {
                break;
            }
            let copy = copy_at(at, sequence);
            let mut out = Bytes { len: (self.memory.load(copy) as usize).min(MAX_RECORD), ..Bytes::EMPTY };
            let len = out.len;
            self.memory.copy_out(copy + 8, out.bytes.get_mut(..len).unwrap_or_default());
            if self.memory.load(at) == sequence {
                return out;
            }
        }
        Bytes::EMPTY
    }
}

impl Records {
    /// Opens the region. Memory without the header of this format counts as empty.
    ///
    /// # Safety
    /// `base..base + len` must be mapped readable and writable for as long as the value lives, and written through it alone, without a Rust
    /// reference into it.
    ///
    /// # Errors
    /// [`BadRegion`].
    pub unsafe fn attach(base: *mut u8, len: usize) -> Result<Self, BadRegion> {
        // SAFETY: the caller's contract is the callee's.
        let memory = unsafe { Memory::new(base, len) }?;
        if memory.load(0) != MAGIC {
            JOURNAL.clear(&memory);
            NEIGHBOURS.clear(&memory);
            (BASE_SLOT..=POISONED).step_by(8).for_each(|word| memory.store(word, 0));
            for slot in 0..SLOTS {
                memory.store(at(slot), 0);
                memory.store(at(slot) + 8, 0);
            }
        }
        Ok(Self { view: View { memory } })
    }

    /// Keeps the secret and marks the region as used.
    pub fn set_secret(&mut self, secret: [u8; 16]) {
        let value = u128::from_le_bytes(secret);
        self.memory.store(SECRET, value as u64);
        self.memory.store(SECRET + 8, (value >> 64) as u64);
        self.memory.store(0, MAGIC);
    }

    /// Keeps where the capabilities lie that every start has.
    pub fn set_base_slot(&mut self, slot: Handle) {
        self.memory.store(BASE_SLOT, slot.into());
    }

    /// Says which frame is looked at from now on: one store.
    pub fn set_crumb_frame(&mut self, frame: u64) {
        self.memory.store(CRUMB, frame);
    }

    /// Keeps what a start found out about the frame that its predecessor died of.
    pub fn set_crumb(&mut self, crumb: Crumb) {
        // The frame last: without it nothing is tried or judged.
        for (n, word) in [crumb.frame, crumb.tried, crumb.suspect, crumb.since].into_iter().enumerate().rev()
        {
            self.memory.store(CRUMB + n * 8, word);
        }
    }

    /// Counts a frame dropped because it killed whoever looked at it.
    pub fn count_poisoned(&mut self) {
        self.memory.store(POISONED, self.poisoned() + 1);
    }

    /// Keeps what there is to know about the update.
    pub fn set_journal(&mut self, journal: &Journal) {
        JOURNAL.write(&self.memory, &journal.to_words());
    }

    /// Keeps the stations on the link for a successor, if they changed.
    pub fn keep_neighbours(&mut self, neighbours: impl Iterator<Item = Neighbour>) {
        let mut words = [0; 1 + 2 * MAX_NEIGHBOURS];
        let mut count = 0;
        for ((address, [a, b, c, d, e, f]), pair) in
            neighbours.zip(words.split_at_mut(1).1.as_chunks_mut::<2>().0)
        {
            *pair = [u32::from_le_bytes(address).into(), u64::from_le_bytes([a, b, c, d, e, f, 0, 0])];
            count += 1;
        }
        words[0] = count;
        if NEIGHBOURS.read(&self.memory) != Some(words) {
            NEIGHBOURS.write(&self.memory, &words);
        }
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
            self.close(place);
            self.memory.store(at(1 + place) + FREEZE, 0);
            self.memory.store(at(1 + place) + 8, place::to_word(socket));
        }
    }

    /// Keeps a socket's capabilities.
    pub fn set_handles(&mut self, place: usize, handles: Handles) {
        if place < place::PLACES {
            let at = at(1 + place);
            let Handles { port, region, notification, bits } = handles;
            self.memory.store(at + 16, u64::from(port) << 32 | u64::from(region));
            // The bits before the notification that they are for.
            self.memory.store(at + 32, bits);
            self.memory.store(at + 24, notification.into());
        }
    }

    /// Keeps that a socket was not served for so long; the longest counts.
    pub fn note_freeze(&mut self, place: usize, freeze: Nanos) {
        if place < place::PLACES && freeze > self.freeze(place) {
            self.memory.store(at(1 + place) + FREEZE, freeze);
        }
    }

    /// Forgets a socket, and then the slots that its record named: they are nobody's, and a later start empties them.
    pub fn close(&mut self, place: usize) {
        if place < place::PLACES {
            let at = at(1 + place);
            self.memory.store(at + 8, 0);
            self.memory.store(at, 0);
            self.set_handles(place, Handles::default());
        }
    }

    fn publish_slot(&mut self, slot: usize, encode: impl FnOnce(&mut [u8; MAX_RECORD]) -> usize) {
        let at = at(slot);
        let sequence = self.memory.load(at).wrapping_add(1).max(1);
        let copy = copy_at(at, sequence);
        // SAFETY: `attach`'s caller says that the region is written through `self` alone, borrowed mutably; readers look at the other copy,
        // or notice that the sequence number moved on.
        let len = unsafe { self.memory.fill::<MAX_RECORD>(copy + 8, encode) };
        self.memory.store(copy, len as u64);
        self.memory.store(at, sequence);
    }
}

const fn at(slot: usize) -> usize {
    HEADER + slot * SLOT
}

const fn copy_at(at: usize, sequence: u64) -> usize {
    at + SLOT_HEADER + (sequence & 1) as usize * COPY
}

/// Makes a test die at a chosen store.
#[cfg(test)]
mod fuse {
    use std::cell::Cell;

    std::thread_local! {
        static LEFT: Cell<u64> = const { Cell::new(u64::MAX) };
    }

    /// The `stores`th store from now on panics; `u64::MAX` for none.
    pub(super) fn set(stores: u64) {
        LEFT.set(stores);
    }

    pub(super) fn burn() {
        let left = LEFT.get();
        if left != u64::MAX {
            assert!(left > 0, "dies at this store");
            LEFT.set(left - 1);
        }
    }
}
