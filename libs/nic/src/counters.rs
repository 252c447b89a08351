//! What the driver counts: each frame moved and each frame dropped, by its reason.

use hic_abi::Plain;

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// Counters since the machine started; they outlive the driver's restarts.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        #[repr(C)]
        pub struct Counters { $($(#[$doc])* pub $name: u64,)* }

        impl Counters {
            /// The names, in the order of the values.
            pub const NAMES: &'static [&'static str] = &[$(stringify!($name)),*];

            /// The values, in the order of the names.
            pub fn values(&self) -> impl Iterator<Item = u64> { [$(self.$name),*].into_iter() }
        }
    };
}

counters! {
    /// Frames from the card.
    rx_frames,
    /// Their octets.
    rx_bytes,
    /// Frames given to the card.
    tx_frames,
    /// Their octets.
    tx_bytes,
    /// Frames that a stack sent to this machine's own station and got back, or that went to another stack.
    local_frames,
    /// Dropped: the card reported a length that cannot be.
    rx_bad_length,
    /// Dropped: no stack is attached.
    rx_no_stack,
    /// Dropped: the stack that owns the flow has no free buffer.
    rx_no_buffer,
    /// Dropped: a frame for this station does not fit a receive buffer and could not be split.
    local_unfit,
    /// Dropped: the stack's descriptor is impossible.
    tx_bad_descriptor,
    /// Times that a stack set an index to an impossible value.
    bad_index,
    /// Times that the card put an impossible value into a used ring.
    card_violations,
    /// Interrupts and kicks.
    wakeups,
    /// Signals sent to stacks.
    signals,
    /// Resets of the card.
    resets,
    /// Starts of the driver that went on with the running card.
    resumes,
    /// Flows refused: the table is full.
    flows_refused,
    /// Flows refused: another stack owns them.
    flows_taken,
    /// Flows that a stack took over.
    flows_moved,
    /// Holds that ended by their deadline.
    holds_expired,
    /// Frames of held flows that were kept.
    held_frames,
    /// Dropped: as many frames of a held flow, or in all, were kept as may be.
    held_dropped,
    /// Transmit fences given up because stacks waited for each other.
    fences_broken,
    /// Frames of a stack that is gone that were steered to another.
    resteered_frames,
}

// SAFETY: `repr(C)`, `u64` only.
unsafe impl Plain for Counters {}
