//! Split virtqueues of virtio 1.x (virtio 1.2, 2.7), in memory that outlives whoever drives them.
//!
//! What the card reads lies in DMA memory (`memory`), what only the driver knows in a [`QueueRecord`] of its state region:
//! which requests are under way, and how far both rings went. So a successor goes on with a live queue ([`Queue::resume`]),
//! whatever the instruction at which its predecessor died: a step is noted before it is begun, and undone or completed. A record
//! that does not add up all the same is refused, and the card must be reset.
//!
//! A queue's requests all have the same number of descriptors, so a request's place is fixed: request `n` of a queue with
//! chains of `c` uses the descriptors from `n * c` on. There is no free list in memory that the card could make us follow.
//!
//! The card's used ring is untrusted: an entry is believed only if it names a request that is under way.

mod memory;
mod queue;
mod record;

pub use memory::{QueueAddresses, queue_bytes};
pub use queue::{Full, Part, Queue, Setup, Used};
pub use record::{MAX_SIZE, QueueRecord, ResumeError, UsedError};

/// Tells the card that a queue has new requests.
pub trait Notify {
    /// Called when the card asked to be told.
    fn notify(&mut self);
}

#[cfg(test)]
mod tests;
