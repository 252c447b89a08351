//! Why the driver refuses.

use super::Message;
use core::fmt;

/// Why the driver did not do what was asked; the label of its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Refusal {
    /// The label names no operation of this interface.
    UnknownOperation = 1,
    /// An argument is out of range.
    BadArgument = 2,
    /// The stack speaks another version of the interface.
    Version = 3,
    /// Attach came without a notification.
    MissingCapability = 4,
    /// As many stacks as the driver can serve are attached.
    TooManyStacks = 5,
    /// The caller is not attached.
    NotAttached = 6,
    /// The flow table is full; flows in it go on.
    TableFull = 7,
    /// Another stack owns the flow.
    FlowTaken = 8,
    /// The caller owns no such flow.
    NoSuchFlow = 9,
    /// The card does not work: it did not come back from a reset.
    NoCard = 10,
    /// The driver's account has no memory for another packet region.
    NoMemory = 11,
}

impl Refusal {
    /// All of them.
    pub(super) const ALL: [Self; 11] = [
        Self::UnknownOperation,
        Self::BadArgument,
        Self::Version,
        Self::MissingCapability,
        Self::TooManyStacks,
        Self::NotAttached,
        Self::TableFull,
        Self::FlowTaken,
        Self::NoSuchFlow,
        Self::NoCard,
        Self::NoMemory,
    ];

    /// As the label of an answer: never 0.
    #[must_use]
    pub const fn label(self) -> u32 {
        self as u32
    }

    /// As an answer.
    #[must_use]
    pub const fn message(self) -> Message {
        Message { label: self.label(), words: [0; 4] }
    }

    /// Reads the label of an answer; `None` for a good one. A number that names no refusal is [`Refusal::UnknownOperation`].
    #[must_use]
    pub fn from_label(label: u32) -> Option<Self> {
        let known = Self::ALL.into_iter().find(|r| r.label() == label);
        if label == 0 { None } else { Some(known.unwrap_or(Self::UnknownOperation)) }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::UnknownOperation => "no such operation in eth@1",
            Self::BadArgument => "an argument is out of range",
            Self::Version => "the driver speaks another version of eth@1",
            Self::MissingCapability => "the request needs a notification and came without",
            Self::TooManyStacks => "no place for another stack at the driver",
            Self::NotAttached => "attach first",
            Self::TableFull => "the flow table is full",
            Self::FlowTaken => "the flow belongs to another stack",
            Self::NoSuchFlow => "the caller has no such flow",
            Self::NoCard => "the network card does not work",
            Self::NoMemory => "the driver has no memory for another packet region",
        })
    }
}

impl core::error::Error for Refusal {}
