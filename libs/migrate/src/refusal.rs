//! Why an instance did not do what it was asked.

use core::fmt;
use hic_channel::{Message, WORDS};

/// A refusal. The instance is as before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// No question of this protocol.
    UnknownQuestion,
    /// The answer has not the form that belongs to the question.
    Malformed,
    /// It was not prepared for an update.
    NotPrepared,
    /// Another batch is under way, or this one is on the other side of the transaction.
    WrongBatch {
        /// The batch under way; 0 = none.
        current: u64,
    },
    /// No common version of the protocol (ledger P2.7).
    Protocol,
    /// Records of this schema cannot be written or read.
    Schema {
        /// The schema.
        schema: u16,
    },
    /// Memory, slots or places are short.
    NoResources,
    /// A record of the peer does not hold together.
    Corrupt {
        /// Number of its place.
        item: u64,
    },
    /// A service that this one needs did not do its part.
    Downstream {
        /// Its error, by its own numbering.
        code: u64,
    },
}

impl Refusal {
    pub(crate) fn encode(self) -> Message {
        let (label, detail) = match self {
            Self::UnknownQuestion => (1, 0),
            Self::Malformed => (2, 0),
            Self::NotPrepared => (3, 0),
            Self::WrongBatch { current } => (4, current),
            Self::Protocol => (5, 0),
            Self::Schema { schema } => (6, schema.into()),
            Self::NoResources => (7, 0),
            Self::Corrupt { item } => (8, item),
            Self::Downstream { code } => (9, code),
        };
        let mut words = [0; WORDS];
        words[0] = detail;
        Message::new(label, words)
    }

    /// The refusal that an answer is; a number that names none is [`Self::Malformed`].
    #[must_use]
    pub fn decode(message: &Message) -> Self {
        let [detail, ..] = message.words;
        match message.label {
            1 => Self::UnknownQuestion,
            3 => Self::NotPrepared,
            4 => Self::WrongBatch { current: detail },
            5 => Self::Protocol,
            6 => Self::Schema { schema: detail as u16 },
            7 => Self::NoResources,
            8 => Self::Corrupt { item: detail },
            9 => Self::Downstream { code: detail },
            _ => Self::Malformed,
        }
    }
}

/// The refusal of an answer that carries nothing else; `None` for a good one.
#[must_use]
pub fn of(message: &Message) -> Option<Refusal> {
    (message.label != crate::answer::OK).then(|| Refusal::decode(message))
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownQuestion => f.write_str("the instance does not know this question"),
            Self::Malformed => f.write_str("the instance's answer is malformed"),
            Self::NotPrepared => f.write_str("the instance was not prepared for an update"),
            Self::WrongBatch { current: 0 } => f.write_str("the instance has no such batch"),
            Self::WrongBatch { current } => write!(f, "the instance is at batch {current}"),
            Self::Protocol => {
                f.write_str("the instances have no version of the migration protocol in common")
            }
            Self::Schema { schema } => write!(f, "the instance cannot use state of schema {schema}"),
            Self::NoResources => f.write_str("the instance has no room for the batch"),
            Self::Corrupt { item } => write!(f, "the record of item {item} does not hold together"),
            Self::Downstream { code } => write!(f, "a service below the instance refused (code {code})"),
        }
    }
}

impl core::error::Error for Refusal {}
