//! The queue itself.

use super::Notify;
use super::memory::{self, Memory, QueueAddresses};
use super::record::{FREE, MAX_SIZE, PUSH, QueueRecord, ResumeError, TAKE, UsedError, geometry_is_valid};
use core::ptr::NonNull;
use core::sync::atomic::{Ordering, compiler_fence, fence};

/// A piece of memory in a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// Physical address.
    pub address: u64,
    /// Bytes.
    pub len: u32,
    /// Whether the card writes it. Parts that it reads come first (2.7.4.2).
    pub writable: bool,
}

/// A request that the card is done with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Used {
    /// What the driver called it.
    pub token: u32,
    /// Bytes that the card says it wrote; check it against the request.
    pub len: u32,
}

/// No place is free for another request, or the request has no or too many parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

/// What a queue is made from.
#[derive(Clone, Copy, Debug)]
pub struct Setup {
    /// [`super::queue_bytes`] of mapped DMA memory, page-aligned.
    pub memory: NonNull<u8>,
    /// Its physical address.
    pub physical: u64,
    /// Descriptors: a power of two up to [`MAX_SIZE`].
    pub size: u16,
    /// Descriptors of each request.
    pub chain: u16,
    /// Whether VIRTIO_F_EVENT_IDX was negotiated.
    pub event_index: bool,
}

/// Driver side of one virtqueue.
#[derive(Debug)]
pub struct Queue<'a> {
    memory: Memory,
    physical: u64,
    record: &'a mut QueueRecord,
    free: [u16; MAX_SIZE as usize],
    free_count: usize,
    /// The available index when the card was last told.
    told: u16,
    /// The place that [`Queue::peek`] found used.
    peeked: Option<u16>,
}

impl<'a> Queue<'a> {
    /// Makes an empty queue; the card must not use the memory yet.
    ///
    /// # Safety
    /// `setup.memory` must be what [`Setup`] says for the life of the value, without a Rust reference into it and without another
    /// `Queue` on it in use.
    ///
    /// # Errors
    /// [`ResumeError::Geometry`].
    pub unsafe fn create(setup: Setup, record: &'a mut QueueRecord) -> Result<Self, ResumeError> {
        let Setup { size, chain, event_index, .. } = setup;
        if !geometry_is_valid(size, chain) {
            return Err(ResumeError::Geometry { size, chain });
        }
        *record = QueueRecord {
            size,
            chain,
            available: 0,
            used: 0,
            event_index: event_index.into(),
            tokens: [FREE; MAX_SIZE as usize],
            step: 0,
        };
        // SAFETY: the caller's contract; the size was checked.
        unsafe { Memory::new(setup.memory, size) }.clear();
        // SAFETY: the caller's contract.
        unsafe { Self::resume(setup.memory, setup.physical, record) }
    }

    /// Goes on with a live queue: requests that an earlier driver made are under way and come out of [`Self::pop`]. Tell the card
    /// once with [`Self::kick`], since the earlier driver may have died before it did.
    ///
    /// # Safety
    /// As [`Self::create`], for the memory that the queue was created on.
    ///
    /// # Errors
    /// [`ResumeError`]: the record does not add up.
    pub unsafe fn resume(
        memory: NonNull<u8>,
        physical: u64,
        record: &'a mut QueueRecord,
    ) -> Result<Self, ResumeError> {
        record.repair();
        record.check()?;
        // SAFETY: the caller's contract; the size was checked.
        let memory = unsafe { Memory::new(memory, record.size) };
        memory.available_index().store(record.available, Ordering::Release);
        let told = record.used;
        let free = [0; MAX_SIZE as usize];
        let mut queue = Self { memory, physical, record, free, free_count: 0, told, peeked: None };
        for place in (0..queue.record.places()).rev() {
            if queue.record.tokens.get(place) == Some(&FREE) {
                queue.release(place as u16);
            }
        }
        Ok(queue)
    }

    /// Where the card finds it.
    #[must_use]
    pub fn addresses(&self) -> QueueAddresses {
        self.memory.addresses(self.physical)
    }

    /// Whether it was created with this geometry and this feature.
    #[must_use]
    pub fn is_like(&self, size: u16, chain: u16, event_index: bool) -> bool {
        let QueueRecord { size: ours, chain: our_chain, event_index: our_index, .. } = *self.record;
        (ours, our_chain, our_index) == (size, chain, event_index.into())
    }

    /// Tokens of the requests under way, in no order.
    pub fn tokens(&self) -> impl Iterator<Item = u32> + '_ {
        self.record.under_way()
    }

    /// Requests that [`Self::push`] will take now.
    #[must_use]
    pub fn room(&self) -> usize {
        self.free_count
    }

    /// The place (below the number of requests that fit) that the next [`Self::push`] takes; `None` when there is none. What belongs
    /// to a request can lie in a table by places.
    #[must_use]
    pub fn next_place(&self) -> Option<usize> {
        let top = self.free_count.checked_sub(1)?;
        self.free.get(top).map(|place| usize::from(*place))
    }

    /// Requests under way.
    #[must_use]
    pub fn under_way(&self) -> usize {
        self.record.places() - self.free_count
    }

    fn release(&mut self, place: u16) {
        if let Some(to) = self.free.get_mut(self.free_count) {
            *to = place;
            self.free_count += 1;
        }
    }

    /// Makes a request of 1 to `chain` parts available. `token` (not `u32::MAX`) comes back with it. Then [`Self::kick`].
    ///
    /// # Errors
    /// [`Full`]; nothing was changed.
    pub fn push(&mut self, token: u32, parts: &[Part]) -> Result<(), Full> {
        let chain = usize::from(self.record.chain);
        if parts.is_empty() || parts.len() > chain || token == FREE {
            return Err(Full);
        }
        let place = self.next_place().ok_or(Full)?;
        let head = place * chain;
        self.begin(PUSH, place);
        for (n, part) in parts.iter().enumerate() {
            let more = n + 1 < parts.len();
            let mut flags = if part.writable { memory::WRITE } else { 0 };
            flags |= if more { memory::NEXT } else { 0 };
            let next = if more { head + n + 1 } else { 0 };
            self.memory.write_descriptor(head + n, part.address, part.len, flags, next as u16);
        }
        self.free_count -= 1;
        if let Some(slot) = self.record.tokens.get_mut(place) {
            *slot = token;
        }
        self.memory.available_entry(self.record.available).store(head as u16, Ordering::Relaxed);
        compiler_fence(Ordering::Release);
        self.record.available = self.record.available.wrapping_add(1);
        // A driver that dies before the next store has made the request: `resume` writes the index.
        self.memory.available_index().store(self.record.available, Ordering::Release);
        self.record.step = 0;
        Ok(())
    }

    /// Notes a step, so that a successor can undo or complete it.
    fn begin(&mut self, step: u32, place: usize) {
        self.record.step = step | place as u32;
        compiler_fence(Ordering::Release);
    }

    /// Tells the card of new requests, if there are any and it wants to know (2.7.13).
    pub fn kick(&mut self, card: &mut impl Notify) {
        let (old, new) = (self.told, self.record.available);
        if old == new {
            return;
        }
        self.told = new;
        // The index before the card's wish: it does the same the other way round (2.7.13.3.1).
        fence(Ordering::SeqCst);
        let wanted = if self.record.event_index == 1 {
            let event = self.memory.available_event().load(Ordering::Relaxed);
            passes(event, old, new)
        } else {
            self.memory.used_flags().load(Ordering::Relaxed) & memory::NO_SIGNAL == 0
        };
        if wanted {
            card.notify();
        }
    }

    /// The next request that the card is done with; it stays under way until [`Self::advance`].
    ///
    /// # Errors
    /// [`UsedError`]: the card must be reset.
    pub fn peek(&mut self) -> Result<Option<Used>, UsedError> {
        self.peeked = None;
        let index = self.memory.used_index().load(Ordering::Acquire);
        let new = index.wrapping_sub(self.record.used);
        if new == 0 {
            return Ok(None);
        }
        if usize::from(new) > self.under_way() {
            return Err(UsedError::Index { value: index });
        }
        let [id, len] = self.memory.used_entry(self.record.used).map(|word| word.load(Ordering::Relaxed));
        let chain = u32::from(self.record.chain);
        let (place, rest) = (id / chain, id % chain);
        let token = self.record.tokens.iter().take(self.record.places()).nth(place as usize);
        let Some(token) = token.copied().filter(|token| rest == 0 && *token != FREE) else {
            return Err(UsedError::Entry { id });
        };
        self.peeked = Some(place as u16);
        Ok(Some(Used { token, len }))
    }

    /// Takes the request that the last [`Self::peek`] found, whatever the card wrote since; without one nothing happens.
    pub fn advance(&mut self) {
        let Some(place) = self.peeked.take() else { return };
        self.begin(TAKE, place.into());
        if let Some(token) = self.record.tokens.get_mut(usize::from(place)) {
            *token = FREE;
        }
        compiler_fence(Ordering::Release);
        self.record.used = self.record.used.wrapping_add(1);
        compiler_fence(Ordering::Release);
        self.record.step = 0;
        self.release(place);
    }

    /// [`Self::peek`] and [`Self::advance`] in one.
    ///
    /// # Errors
    /// As [`Self::peek`].
    pub fn pop(&mut self) -> Result<Option<Used>, UsedError> {
        let used = self.peek()?;
        self.advance();
        Ok(used)
    }

    /// Asks for an interrupt when `requests` (cut to those under way) more are done; `false` if they are, so that there may be no
    /// interrupt. Without the event index it comes with the first.
    #[must_use]
    pub fn arm(&mut self, requests: u16) -> bool {
        let ahead = if self.record.event_index == 1 {
            requests.clamp(1, (self.under_way() as u16).max(1))
        } else {
            1
        };
        let last = self.record.used.wrapping_add(ahead - 1);
        self.memory.used_event().store(last, Ordering::Relaxed);
        self.memory.available_flags().store(0, Ordering::Relaxed);
        // The wish before the index, as in `kick`.
        fence(Ordering::SeqCst);
        let new = self.memory.used_index().load(Ordering::Acquire).wrapping_sub(self.record.used);
        new < ahead
    }

    /// Wants no interrupts while the driver is at work. With the event index one may still come, once in 2^16.
    pub fn disarm(&mut self) {
        self.memory.used_event().store(self.record.used.wrapping_sub(1), Ordering::Relaxed);
        self.memory.available_flags().store(memory::NO_SIGNAL, Ordering::Relaxed);
    }
}

/// Whether an index that went from `old` to `new` passed `event` (2.7.10.1, `vring_need_event`).
fn passes(event: u16, old: u16, new: u16) -> bool {
    new.wrapping_sub(event).wrapping_sub(1) < new.wrapping_sub(old)
}
