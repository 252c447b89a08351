//! What the driver knows of a packet region, out of the stack's reach.

use super::layout::{RX_SLOTS, TX_SLOTS};

/// What the driver must remember of a packet region over its own restart. All zero is a fresh one.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct DriverRecord {
    pub(super) rx_produced: u64,
    pub(super) rx_consumed: u64,
    pub(super) tx_taken: u64,
    pub(super) tx_done: u64,
    /// The buffer in each slot of the rx ring.
    pub(super) rx_slots: [u16; RX_SLOTS],
}

// SAFETY: `repr(C)`, integers only, 32 bytes and 512 bytes of them without padding.
unsafe impl hic_abi::Plain for DriverRecord {}

impl DriverRecord {
    /// Frames delivered so far and frames of the stack taken so far.
    #[must_use]
    pub fn progress(&self) -> (u64, u64) {
        (self.rx_produced, self.tx_done)
    }

    /// Whether indices and slots can be what a driver left there, even one that died between two stores.
    pub(super) fn is_sane(&self) -> bool {
        let live = self.rx_produced.wrapping_sub(self.rx_consumed);
        if live > RX_SLOTS as u64 || self.tx_taken.wrapping_sub(self.tx_done) > TX_SLOTS as u64 {
            return false;
        }
        let mut seen = [false; RX_SLOTS];
        (0..live).all(|n| {
            let slot = (self.rx_consumed.wrapping_add(n) % RX_SLOTS as u64) as usize;
            let buffer = self.rx_slots.get(slot).map_or(usize::MAX, |b| usize::from(*b));
            seen.get_mut(buffer).is_some_and(|seen| !core::mem::replace(seen, true))
        })
    }
}
