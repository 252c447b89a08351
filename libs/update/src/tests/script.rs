//! The words of the tests: what befalls the machine, what is wrong with an instance, and actions in short.

use crate::{Action, Who};
use hic_migrate::{Place, Prepare, Protocols, Question, Share, Side};
use std::format;
use std::string::String;

/// What befalls the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blow {
    Kill(Who),
    KillManager,
    Abort,
    Rollback,
    Commit,
}

/// A question that an instance always fails at, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    DiesBefore(u64),
    DiesAfter(u64),
    Hangs(u64),
    Refuses(u64),
    /// It answers, with the largest figures that there are.
    Boasts(u64),
    NeverRestarts,
}

/// Labels of the questions, by the protocol.
pub mod label {
    pub const PREPARE: u64 = 1;
    pub const EXPORT: u64 = 2;
    pub const IMPORT: u64 = 3;
    pub const MIGRATE: u64 = 4;
    pub const COMPLETE: u64 = 5;
    pub const ABORT: u64 = 6;
    pub const CHECK: u64 = 7;
    pub const COMMIT: u64 = 8;
    pub const SHUTDOWN: u64 = 9;
}

/// The question that the manager makes of [`Action::Prepare`].
pub fn prepare(who: Who, side: Side) -> Question {
    Question::Prepare(Prepare {
        side,
        lane: who as u8,
        peer_state: Place { address: 0x1000, bytes: 4096 },
        peer_serial: 7,
        token: 5,
        protocols: Protocols { lowest: 1, highest: 1 },
        schema: 1,
    })
}

/// An action in a few words.
pub fn show(action: &Action) -> String {
    let share = |share: &Share| match share {
        Share::Items { wave, max } => format!("{wave:?} {max}"),
        Share::Role => String::from("role"),
        Share::Everything { max } => format!("everything {max}"),
    };
    match action {
        Action::Ask { to, question } => match question {
            Question::Export { batch, share: what } => format!("{to:?}: export {batch} {}", share(what)),
            Question::Import { batch, share: what } => format!("{to:?}: import {batch} {}", share(what)),
            Question::Migrate { batch } => format!("{to:?}: migrate {batch}"),
            Question::Complete { batch } => format!("{to:?}: complete {batch}"),
            Question::Abort { batch } => format!("{to:?}: abort {batch}"),
            other => format!("{to:?}: {other:?}"),
        },
        Action::Prepare { who, side } => format!("{who:?}: prepare {side:?}"),
        Action::Transact { batch, from, caps, switch_service_ports, .. } => {
            let ports = if *switch_service_ports { " and ports" } else { "" };
            format!("transact {batch} from {from:?}: {}{ports}", caps.len())
        }
        Action::Share { who, quota } => format!("{who:?}: share {quota:?}"),
        Action::PlaceToken { at } => format!("token to {at:?}"),
        other => format!("{other:?}"),
    }
}
