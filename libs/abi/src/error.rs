//! The status that every system call returns, and whose fault it is.

use core::fmt;

/// Why a system call was refused. The number is the ABI: it is never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub enum Error {
    /// The number is no system call.
    UnknownCall = -1,
    /// The handle names an empty slot, a slot beyond the space, or an object that is gone.
    InvalidHandle = -2,
    /// The handle names an object of another type than the call needs.
    WrongType = -3,
    /// The capability lacks a right that the call needs.
    MissingRights = -4,
    /// The destination slot is taken, out of range, or slot 0.
    SlotUnusable = -5,
    /// The account's frame or object limit would be exceeded, or memory is exhausted.
    NoMemory = -6,
    /// The kernel's fixed pool for this kind of object is full.
    PoolFull = -7,
    /// A pointer argument does not lie in memory that the caller may use that way.
    BadAddress = -8,
    /// An argument is out of range.
    InvalidArgument = -9,
    /// The deadline came first.
    Timeout = -10,
    /// The call was received, but its server died before it answered: ask again with the same sequence number.
    ServerDied = -11,
    /// There is nobody to reply to: the caller gave up or is gone.
    CallerGone = -12,
    /// Another thread already does this (waits on the endpoint, on the notification).
    Busy = -13,
    /// The region is mapped there already, or is mapped at all and may not be (it is to be sealed). Also of a message or a transaction that would move
    /// capabilities with more mappings than can be ended at once: move such a capability by [`crate::Syscall::CapMove`], which takes its time.
    Mapped = -14,
    /// The object is in a state in which the operation is not allowed.
    WrongState = -15,
    /// Nothing was there (poll, drain, message without waiting).
    WouldBlock = -16,
    /// This machine has no such feature or device.
    NotSupported = -17,
    /// The message carries a capability that the receiver made no room for.
    NoReceiveSlot = -18,
    /// What was waited on was destroyed meanwhile.
    Gone = -19,
}

impl Error {
    /// All errors, for tables and tests.
    pub const ALL: [Self; 19] = [
        Self::UnknownCall,
        Self::InvalidHandle,
        Self::WrongType,
        Self::MissingRights,
        Self::SlotUnusable,
        Self::NoMemory,
        Self::PoolFull,
        Self::BadAddress,
        Self::InvalidArgument,
        Self::Timeout,
        Self::ServerDied,
        Self::CallerGone,
        Self::Busy,
        Self::Mapped,
        Self::WrongState,
        Self::WouldBlock,
        Self::NotSupported,
        Self::NoReceiveSlot,
        Self::Gone,
    ];

    /// The value returned in `rax`.
    #[must_use]
    pub const fn code(self) -> u64 {
        self as i32 as i64 as u64
    }

    /// Reads a status from `rax`: `Ok(value)` for non-negative ones.
    ///
    /// # Errors
    /// The error that the status names; a negative number that names none is [`Error::UnknownCall`].
    #[inline(always)]
    pub fn from_status(status: u64) -> Result<u64, Self> {
        if (status as i64) < 0 { Err(Self::from_code(status)) } else { Ok(status) }
    }

    /// The error with this code; [`Error::UnknownCall`] for a number that names none.
    #[cold]
    fn from_code(code: u64) -> Self {
        Self::ALL.into_iter().find(|error| error.code() == code).unwrap_or(Self::UnknownCall)
    }

    /// The name used in console output and logs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::UnknownCall => "unknown-call",
            Self::InvalidHandle => "invalid-handle",
            Self::WrongType => "wrong-type",
            Self::MissingRights => "missing-rights",
            Self::SlotUnusable => "slot-unusable",
            Self::NoMemory => "no-memory",
            Self::PoolFull => "pool-full",
            Self::BadAddress => "bad-address",
            Self::InvalidArgument => "invalid-argument",
            Self::Timeout => "timeout",
            Self::ServerDied => "server-died",
            Self::CallerGone => "caller-gone",
            Self::Busy => "busy",
            Self::Mapped => "mapped",
            Self::WrongState => "wrong-state",
            Self::WouldBlock => "would-block",
            Self::NotSupported => "not-supported",
            Self::NoReceiveSlot => "no-receive-slot",
            Self::Gone => "gone",
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl core::error::Error for Error {}
