//! Audit records and their chain.
//!
//! Core-0 appends raw records in the call that causes them and computes the chain when they are drained:
//! `digest[n] = SHA-256(digest[n - 1] || record[n] without its digest)`, `digest[-1] = 0`. Whoever keeps the records can prove
//! later that none was changed, removed, reordered or cut off, against the head digest that the kernel keeps.

use crate::plain;

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Event {
    /// The kernel booted; a = usable frames.
    Boot = 1,
    /// A sandbox was made; a = serial, text = name.
    SandboxCreated = 2,
    /// A sandbox froze; a = cause, b = detail.
    SandboxFrozen = 3,
    /// A frozen sandbox was reset for a new start.
    SandboxReset = 4,
    /// A sandbox was destroyed.
    SandboxDestroyed = 5,
    /// A switch transaction was done; a = entries.
    Transaction = 6,
    /// A port was switched; a = port index, b = endpoint index.
    PortSwitched = 7,
    /// A capability was revoked; a = object type, b = capabilities deleted.
    Revoked = 8,
    /// An account was made; a = frames, text = name.
    AccountCreated = 9,
    /// An account was destroyed; a = frames returned.
    AccountDestroyed = 10,
    /// Power-off or reset was asked for; a = kind.
    Power = 11,
    /// Records were dropped by the rate cap; a = how many.
    Gap = 12,
    /// Why a sandbox was made, following [`Event::SandboxCreated`]; text = purpose.
    Purpose = 13,
    /// Something that a service with the authority for it had to say, such as why an update was refused; a, b = its numbers, text = its words.
    Note = 14,
    /// The IOMMU refused an access of a device, which is off the bus now; subject = who drives it, if its driver is known, a = PCI function |
    /// reason << 16 | refusals before it that were only counted << 32, b = address of the page, text = `read` or `write`.
    DmaRefused = 15,
    /// A capability was copied into or out of another sandbox's space; subject = the sandbox that has it now, a = object type | object index
    /// << 32, b = its rights. Copies within one's own space change nobody's authority and leave no record.
    CapabilityCopied = 16,
    /// A capability was moved into or out of another sandbox's space, outside of a transaction; the rest as for
    /// [`Event::CapabilityCopied`].
    CapabilityMoved = 17,
    /// A capability in another sandbox's space was deleted; the rest as for [`Event::CapabilityCopied`], the subject being who had it.
    CapabilityDeleted = 18,
    /// The IOMMU refused an interrupt of a device, which is off the bus now; b = entry of the table of interrupts, the rest as for
    /// [`Event::DmaRefused`].
    InterruptRefused = 19,
}

impl Event {
    /// Its name on the console; numbers of no event are `unknown`.
    #[must_use]
    pub const fn name(number: u32) -> &'static str {
        match number {
            1 => "boot",
            2 => "sandbox-created",
            3 => "sandbox-frozen",
            4 => "sandbox-reset",
            5 => "sandbox-destroyed",
            6 => "transaction",
            7 => "port-switched",
            8 => "revoked",
            9 => "account-created",
            10 => "account-destroyed",
            11 => "power",
            12 => "gap",
            13 => "purpose",
            14 => "note",
            15 => "dma-refused",
            16 => "capability-copied",
            17 => "capability-moved",
            18 => "capability-deleted",
            19 => "interrupt-refused",
            _ => "unknown",
        }
    }
}

/// One drained record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Record {
    /// Its number, from 0, without holes.
    pub sequence: u64,
    /// Monotonic time.
    pub nanos: u64,
    /// Serial number of the sandbox that caused it; 0 = the kernel.
    pub actor: u64,
    /// Serial number of the sandbox concerned, or 0.
    pub subject: u64,
    /// An [`Event`] number.
    pub event: u32,
    /// 0, or an [`crate::Error`] number of a refused operation.
    pub status: i32,
    /// By event.
    pub a: u64,
    /// By event.
    pub b: u64,
    /// A name, zero padded.
    pub text: [u8; 32],
    /// The chain digest up to and with this record.
    pub digest: [u8; 32],
}

/// The words of an [`Event::Note`], zero padded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct NoteText(pub [u8; 32]);

plain!(Record, NoteText);

/// Bytes of a record that the digest covers (all before it).
pub const HASHED_BYTES: usize = core::mem::offset_of!(Record, digest);
