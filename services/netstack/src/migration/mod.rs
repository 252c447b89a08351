//! The state migration protocol, as this service lives it: questions of the module manager, answered through a channel.
//!
//! | module | what |
//! | --- | --- |
//! | `export` | giving sockets away: hold, take in what is on the way, freeze, name the capabilities |
//! | `import` | taking them: read the peer's records, make room, serve |
//! | `settle` | what becomes of a batch that did not take place, or did while one of us was dead |
//! | `plan` | the beginning and the end of an update: sides, lanes, who we are |
//!
//! What it must never do: believe anything but the token about whose a batch is; touch the peer's state outside a question (it is mapped
//! only after the module manager said so in this start); write anything down after it was answered.

mod export;
mod import;
mod plan;
mod settle;

use crate::service::Netstack;
use crate::shell::Placed;
use alloc::vec::Vec;
use hic_abi::{Handle, Nanos, SELF};
use hic_channel::Answerer;
use hic_control::grants;
use hic_migrate::{Exported, Health, Imported, Migrated, Migration, Prepare, Ready, Refusal, Share};
use hic_rt::{StartPage, log, start, sys};
pub use import::role_flow;
use netstack::records::{Journal, View};

/// Questions answered before frames and timers have their turn.
const QUESTIONS: usize = 4;

/// What an update needs to know, beside the journal in the state region.
#[derive(Default)]
pub struct Moves {
    /// The journal as it is on record.
    pub journal: Journal,
    channel: Option<Answerer>,
    bell: Option<(Handle, u64)>,
    /// The peer's state, once it is known to be mapped.
    peer: Option<View>,
    /// What the batch with this number brings, as it was checked: what this start checked, it need not read again.
    expected: (u64, Vec<Placed>),
    /// The answer about the batch that arrived last, in this start.
    last: Option<(u64, Migrated)>,
    /// When the driver is to forget a peer.
    forget_at: Nanos,
    /// The place with which the next health check begins.
    next_look: usize,
}

impl Moves {
    /// Opens the channel, if this system has one for us.
    pub fn open(page: &'static StartPage, journal: Journal) -> Self {
        let channel = start::find(page, grants::CHANNEL).and_then(|grant| {
            // SAFETY: the module manager mapped this region for us, for reading and writing, for the life of the sandbox; nothing else in this
            // program touches it.
            unsafe { Answerer::attach(grant.address as *mut u8, grant.length as usize) }
                .inspect_err(|error| log!("channel: {error}"))
                .ok()
        });
        let bell = start::find(page, grants::BELL).map(|grant| (grant.slot, grant.address));
        Self { journal, channel, bell, ..Self::default() }
    }

    /// Whether the batch token is in our slot.
    fn has_token(&self) -> bool {
        self.journal.plan.is_some_and(|plan| sys::cap_info(SELF, plan.token).is_ok())
    }
}

impl Netstack {
    /// Answers what the module manager asked.
    pub fn serve_channel(&mut self) {
        for _ in 0..QUESTIONS {
            let Some((number, question)) = self.moves.channel.as_ref().and_then(Answerer::question) else {
                return;
            };
            let answer = hic_migrate::serve(self, &question);
            if let Some(channel) = &mut self.moves.channel {
                channel.reply(number, &answer);
            }
            if let Some((bell, bits)) = self.moves.bell {
                let _ = sys::signal(bell, bits);
            }
        }
    }

    /// Puts the journal on record.
    fn write_journal(&mut self) {
        self.shell.records.set_journal(&self.moves.journal);
    }
}

impl Migration for Netstack {
    fn prepare_migration(&mut self, plan: &Prepare) -> Result<Ready, Refusal> {
        self.prepare(plan)
    }

    fn export_state(&mut self, batch: u64, share: Share) -> Result<Exported, Refusal> {
        self.export(batch, share)
    }

    fn import_state(&mut self, batch: u64, share: Share) -> Result<Imported, Refusal> {
        self.import(batch, share)
    }

    fn migrate_connection(&mut self, batch: u64) -> Result<Migrated, Refusal> {
        self.arrive(batch)
    }

    fn complete_migration(&mut self, batch: u64) -> Result<(), Refusal> {
        self.complete(batch)
    }

    fn abort_migration(&mut self, batch: u64) -> Result<(), Refusal> {
        self.take_back(batch)
    }

    fn check(&mut self) -> Health {
        self.health()
    }

    fn commit(&mut self, own_format: bool) {
        self.be_alone(own_format);
    }

    fn shutdown(&mut self) {
        self.retire();
    }
}
