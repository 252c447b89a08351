//! What is answered.

use crate::{CapSlot, MAX_CAPS, Refusal, payload_to_words, words_to_payload};
use alloc::vec::Vec;
use hic_channel::{Message, WORDS};

/// Label of a good answer.
pub(crate) const OK: u64 = 0;

pub(crate) fn plain() -> Message {
    Message::new(OK, [0; WORDS])
}

/// Answer to Prepare.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ready {
    /// The protocol chosen.
    pub protocol: u16,
    /// Items that the instance has.
    pub items: u64,
}

/// Answer to Export.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Exported {
    /// Items in the batch; 0 = there is nothing (more) of the share, and no batch.
    pub items: u64,
    /// Items of any share that are left.
    pub left: u64,
    /// Capabilities that move, in the order in which the importer will make room for them.
    pub caps: Vec<CapSlot>,
}

/// Answer to Import.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Imported {
    /// Items taken; 0 = there was nothing.
    pub items: u64,
    /// Of [`crate::Share::Everything`]: items that are left.
    pub left: u64,
    /// Empty slots for the capabilities, in the exporter's order.
    pub slots: Vec<u32>,
    /// Of [`crate::Share::Everything`], where nobody exported: the capabilities in the dead peer's space, in the order of `slots`.
    pub from: Vec<CapSlot>,
}

/// Answer to Migrate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Migrated {
    /// Items served from now on.
    pub items: u64,
    /// Items that had to be given up: their record contradicts another.
    pub lost: u64,
    /// Longest time that an item was not served, nanoseconds.
    pub longest_freeze: u64,
    /// Sum of these times, nanoseconds.
    pub total_freeze: u64,
}

/// Answer to Check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Health {
    /// Number of the first test that failed; 0 = all is well.
    pub failed: u64,
    /// Items served.
    pub items: u64,
    /// Service-defined numbers: events since the start, errors since the start.
    pub events: u64,
    /// See `events`.
    pub errors: u64,
}

fn good(message: &Message) -> Result<&Message, Refusal> {
    if message.label == OK { Ok(message) } else { Err(Refusal::decode(message)) }
}

impl Ready {
    pub(crate) fn encode(self) -> Message {
        Message::new(OK, [self.protocol.into(), self.items, 0, 0, 0, 0, 0, 0])
    }

    /// From an answer.
    ///
    /// # Errors
    /// The refusal that it is.
    pub fn decode(message: &Message) -> Result<Self, Refusal> {
        let [protocol, items, ..] = good(message)?.words;
        Ok(Self { protocol: u16::try_from(protocol).map_err(|_| Refusal::Malformed)?, items })
    }
}

impl Exported {
    pub(crate) fn encode(self) -> Message {
        let payload = words_to_payload(self.caps.iter().take(MAX_CAPS).map(|cap| cap.to_word()));
        Message::new(OK, [self.items, self.left, 0, 0, 0, 0, 0, 0]).with_payload(&payload)
    }

    /// From an answer.
    ///
    /// # Errors
    /// The refusal that it is; [`Refusal::Malformed`] if it names no capabilities where it should.
    pub fn decode(message: &Message) -> Result<Self, Refusal> {
        let [items, left, ..] = good(message)?.words;
        let caps: Option<Vec<_>> = payload_to_words(message.payload()).map(CapSlot::from_word).collect();
        let caps = caps.filter(|caps| caps.len() <= MAX_CAPS).ok_or(Refusal::Malformed)?;
        Ok(Self { items, left, caps })
    }
}

impl Imported {
    pub(crate) fn encode(self) -> Message {
        let slots = self.slots.iter().take(MAX_CAPS).map(|slot| u64::from(*slot));
        let from = self.from.iter().take(MAX_CAPS).map(|cap| cap.to_word());
        let payload = words_to_payload(slots.chain(from));
        let count = self.slots.len().min(MAX_CAPS) as u64;
        Message::new(OK, [self.items, self.left, count, 0, 0, 0, 0, 0]).with_payload(&payload)
    }

    /// From an answer.
    ///
    /// # Errors
    /// As [`Exported::decode`].
    pub fn decode(message: &Message) -> Result<Self, Refusal> {
        let [items, left, count, ..] = good(message)?.words;
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        let words: Vec<u64> = payload_to_words(message.payload()).collect();
        let (slots, from) = words.split_at_checked(count).ok_or(Refusal::Malformed)?;
        let slots: Option<Vec<_>> = slots.iter().map(|word| u32::try_from(*word).ok()).collect();
        let from: Option<Vec<_>> = from.iter().map(|word| CapSlot::from_word(*word)).collect();
        let (slots, from) = slots.zip(from).ok_or(Refusal::Malformed)?;
        Ok(Self { items, left, slots, from })
    }
}

impl Migrated {
    pub(crate) fn encode(self) -> Message {
        Message::new(OK, [self.items, self.lost, self.longest_freeze, self.total_freeze, 0, 0, 0, 0])
    }

    /// From an answer.
    ///
    /// # Errors
    /// The refusal that it is.
    pub fn decode(message: &Message) -> Result<Self, Refusal> {
        let [items, lost, longest_freeze, total_freeze, ..] = good(message)?.words;
        Ok(Self { items, lost, longest_freeze, total_freeze })
    }
}

impl Health {
    pub(crate) fn encode(self) -> Message {
        Message::new(OK, [self.failed, self.items, self.events, self.errors, 0, 0, 0, 0])
    }

    /// From an answer.
    ///
    /// # Errors
    /// The refusal that it is.
    pub fn decode(message: &Message) -> Result<Self, Refusal> {
        let [failed, items, events, errors, ..] = good(message)?.words;
        Ok(Self { failed, items, events, errors })
    }
}
