//! Switch transactions: many changes checked and reserved as a whole, then done as a whole.

use crate::plain;

/// Entries in one transaction, at most.
pub const MAX_ENTRIES: usize = 256;

/// What an entry does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum EntryKind {
    /// Move a capability: `[from sandbox, from slot, to sandbox, to slot]`. Needs MANAGE on both sandboxes.
    MoveCapability = 1,
    /// Switch a port to another endpoint: `[space, port, endpoint, 0]`. Needs MANAGE on the sandbox in whose space the port's capability
    /// lies ([`crate::SELF`] for one's own), on the port and on the endpoint.
    SwitchPort = 2,
    /// Lead an interrupt to another notification: `[irq, notification, bits, 0]`. Needs MANAGE on the interrupt, SEND on the
    /// notification.
    RebindIrq = 3,
    /// Signal a notification when all else is done: `[notification, bits, 0, 0]`. Needs SEND.
    Signal = 4,
}

impl EntryKind {
    /// Reads the number of an entry.
    #[must_use]
    pub const fn from_number(number: u64) -> Option<Self> {
        match number {
            1 => Some(Self::MoveCapability),
            2 => Some(Self::SwitchPort),
            3 => Some(Self::RebindIrq),
            4 => Some(Self::Signal),
            _ => None,
        }
    }
}

/// One entry, as it lies in the caller's memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Entry {
    /// An [`EntryKind`].
    pub kind: u64,
    /// Its arguments.
    pub args: [u64; 4],
}

plain!(Entry);
