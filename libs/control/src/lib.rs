//! What the module manager and the monitor are asked, and by what names a module finds its grants.
//!
//! Requests are a label and register words; names travel inline. Answers carry [`OK`] or an [`Refusal`] number as their label, records inline.
//! Calls go down the fixed order of services: console → monitor → module manager.
#![no_std]

#[cfg(test)]
extern crate std;

pub mod fault;
pub mod grants;
pub mod keeper;
pub mod manager;
pub mod monitor;

/// Label of a liveness question; every service answers it with [`OK`] at once, whatever else it does.
pub const PING: u32 = u32::MAX;
/// Bit of the notification tied to a service's endpoint: the module manager asked something through the channel.
pub const ASKED: u64 = 1 << 62;
/// Label of a good answer.
pub const OK: u32 = 0;

/// Why a request was refused: the label of the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Refusal {
    /// No such request.
    UnknownRequest = 1,
    /// No service of this name, or no record at this index.
    NotFound = 2,
    /// The service is not in a state in which this can be done.
    WrongState = 3,
    /// The service may not be stopped or started on its own (the keeper).
    NotAllowed = 4,
    /// Memory, slots or another resource is short.
    NoResources = 5,
    /// The audit chain does not hold.
    BrokenChain = 6,
    /// The message is not of the request's form.
    Malformed = 7,
    /// The request was understood and is refused; the answer says why, inline: `code: sentence`.
    Refused = 8,
}

impl Refusal {
    /// Reads the label of an answer; `None` for [`OK`].
    #[must_use]
    pub const fn from_label(label: u32) -> Option<Self> {
        match label {
            OK => None,
            2 => Some(Self::NotFound),
            3 => Some(Self::WrongState),
            4 => Some(Self::NotAllowed),
            5 => Some(Self::NoResources),
            6 => Some(Self::BrokenChain),
            7 => Some(Self::Malformed),
            8 => Some(Self::Refused),
            _ => Some(Self::UnknownRequest),
        }
    }

    /// The stable code that the console prints: `error[CODE]`.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::UnknownRequest => "unknown-request",
            Self::NotFound => "not-found",
            Self::WrongState => "wrong-state",
            Self::NotAllowed => "not-allowed",
            Self::NoResources => "no-resources",
            Self::BrokenChain => "broken-chain",
            Self::Malformed => "malformed",
            Self::Refused => "refused",
        }
    }
}
