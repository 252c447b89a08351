//! The state migration protocol (S0 2.2, ledger P3.1): what the module manager asks of two instances of one service.
//!
//! State moves in *batches*, from the *exporter* to the *importer*. A rollback is the same with the roles swapped. A batch goes through
//! ```text
//!   export_state ─▶ import_state ─▶ [one kernel transaction: capabilities, ports, the token] ─▶ migrate_connection ─▶ complete_migration
//!        └──────────────┴── abort_migration (both sides)
//! ```
//! Each side has the peer's state region mapped for reading: records are copied from there, not through these messages, so that
//! a dead exporter's state can be taken in the same way ([`Share::Everything`]). Capabilities move in the kernel's transaction, together
//! with the *batch token*: whoever has the token in its token slot owns the batch. That is the only truth; after any crash each side looks there.
//!
//! Every question may come twice with the same batch number (the answerer died before it answered): it is answered again, not done again.
//! Questions travel through a [`hic_channel`]; [`serve`] turns one into a call of the [`Migration`] trait and its result into the answer.
//!
//! What it must never do: hold state. It is names, numbers and their encoding.
#![no_std]
#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)
)]

extern crate alloc;

mod answer;
mod question;
pub mod refusal;
#[cfg(test)]
mod tests;

pub use answer::{Exported, Health, Imported, Migrated, Ready};
pub use question::{Place, Prepare, Protocols, Question, Share, Side, Wave};
pub use refusal::Refusal;

use alloc::vec::Vec;
use hic_channel::{Message, PAYLOAD};

/// The protocols that this code speaks.
pub const PROTOCOLS: Protocols = Protocols { lowest: 1, highest: 1 };
/// Capabilities in one batch, at most: each may need two entries of the transaction, and the token one.
pub const MAX_CAPS: usize = 124;

const _: () = assert!(MAX_CAPS * 8 <= PAYLOAD);

/// A capability that moves with a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CapSlot {
    /// Its slot in the exporter's space.
    pub slot: u32,
    /// Whether it is a port, to be switched to the importer's endpoint in the same step.
    pub is_port: bool,
}

impl CapSlot {
    fn to_word(self) -> u64 {
        u64::from(self.slot) | u64::from(self.is_port) << 32
    }

    fn from_word(word: u64) -> Option<Self> {
        let is_port = match word >> 32 {
            0 => false,
            1 => true,
            _ => return None,
        };
        Some(Self { slot: word as u32, is_port })
    }
}

/// What an updatable service does. Each function is called by [`serve`] and may be called again with the same arguments.
pub trait Migration {
    /// Says what the service is to be in the update that begins: who the peer is and where its state lies.
    ///
    /// # Errors
    /// [`Refusal`]; the service is as before.
    fn prepare_migration(&mut self, plan: &Prepare) -> Result<Ready, Refusal>;

    /// Exporter: freezes a share of the state and names its capabilities. Nothing of it is served from now on.
    ///
    /// # Errors
    /// [`Refusal`]; everything is served as before.
    fn export_state(&mut self, batch: u64, share: Share) -> Result<Exported, Refusal>;

    /// Importer: reads the share from the peer's state, checks it, and makes room for its capabilities. Nothing of it is served yet.
    ///
    /// # Errors
    /// [`Refusal`]; nothing was taken.
    fn import_state(&mut self, batch: u64, share: Share) -> Result<Imported, Refusal>;

    /// Importer: it has the token, the batch is its own; serves it.
    ///
    /// # Errors
    /// [`Refusal::WrongBatch`] without the token.
    fn migrate_connection(&mut self, batch: u64) -> Result<Migrated, Refusal>;

    /// Exporter: the batch is the importer's; forgets it.
    ///
    /// # Errors
    /// [`Refusal::WrongBatch`] while the token is still here.
    fn complete_migration(&mut self, batch: u64) -> Result<(), Refusal>;

    /// Both: the batch does not take place. The exporter serves it again as if nothing had been.
    ///
    /// # Errors
    /// [`Refusal::WrongBatch`] when the batch has moved already.
    fn abort_migration(&mut self, batch: u64) -> Result<(), Refusal>;

    /// Whether the service is well, by its own tests.
    fn check(&mut self) -> Health;

    /// The peer is gone for good: no lane, no peer. `own_format`: records may be written in the newest format that this version knows, since
    /// no predecessor will read them.
    fn commit(&mut self, own_format: bool);

    /// The instance will be destroyed: it has no state any more; says goodbye.
    fn shutdown(&mut self);
}

/// Answers one question.
pub fn serve(service: &mut impl Migration, message: &Message) -> Message {
    let done = |result: Result<(), Refusal>| result.map(|()| answer::plain());
    let result = match Question::decode(message) {
        Err(refusal) => Err(refusal),
        Ok(Question::Prepare(plan)) => service.prepare_migration(&plan).map(|ready| ready.encode()),
        Ok(Question::Export { batch, share }) => service.export_state(batch, share).map(|e| e.encode()),
        Ok(Question::Import { batch, share }) => service.import_state(batch, share).map(|i| i.encode()),
        Ok(Question::Migrate { batch }) => service.migrate_connection(batch).map(|m| m.encode()),
        Ok(Question::Complete { batch }) => done(service.complete_migration(batch)),
        Ok(Question::Abort { batch }) => done(service.abort_migration(batch)),
        Ok(Question::Check) => Ok(service.check().encode()),
        Ok(Question::Commit { own_format }) => {
            service.commit(own_format);
            Ok(answer::plain())
        }
        Ok(Question::Shutdown) => {
            service.shutdown();
            Ok(answer::plain())
        }
    };
    result.unwrap_or_else(|refusal| refusal.encode())
}

fn words_to_payload(words: impl Iterator<Item = u64>) -> Vec<u8> {
    words.flat_map(u64::to_le_bytes).collect()
}

fn payload_to_words(bytes: &[u8]) -> impl Iterator<Item = u64> + '_ {
    bytes.as_chunks::<8>().0.iter().map(|word| u64::from_le_bytes(*word))
}
