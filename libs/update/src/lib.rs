//! The update engine: one service passes from one running instance to another, or back, whatever dies on the way (S0 3, P1.2, P1.3, P3.5).
//!
//! Events and the time go in ([`Engine::on`]), actions come out; there is no I/O, no clock, no memory beyond the engine's own. What the
//! engine knows for good is its [`Journal`], plain memory that the module manager stores *before* it carries out a call's actions. A
//! manager that died goes on with [`Engine::resume`].
//!
//! # The path
//! ```text
//!  Check ▶ Create ▶ WarmUp ▶ Migrate ▶ Switch ▶ Rest ▶ Validate ▶ Watch ▶ Commit ▶ CleanUp ▶ Done: Completed
//!    │        │        │    (4 waves)  (role)            │          │     (recorded: no way back)
//!    ▼        └───┬────┘        └────────┴──────┬────────┴──────────┘
//!   Done:         │                             ▼ settle the batch under way
//!   Aborted       │             Turn ▶ Migrate ▶ Switch ▶ Rest     exporter and importer have changed roles
//!   BeforeStart   ▼                                        │
//!                Undo ◀──── the new one has nothing ───────┤
//!                 │                                        │
//!                 ▼            Salvage: one of the two is dead for good, the other takes everything from its state;
//!            Done: RolledBack   the new one dead ▶ Undo, the old one dead ▶ Commit (there is nothing to go back to)
//! ```
//! A batch, in the phases Migrate, Switch, Rest and (without the exporter's part) Salvage:
//! ```text
//!  Pace ▶ Place ▶ Export ▶ Import ▶ Transact ▶ Migrate ▶ Complete ▶ Probe ▶ next      (Probe: in the waves there, as often as the policy says)
//!                   └────────┴──┬──────┘ refused, or not wanted any more
//!                               ▼
//!                  AbortImporter ▶ AbortExporter ▶ Pace, or Turn
//! ```
//! # The rules behind it
//! - *Every step can be entered again.* Its action does no harm when it is done twice, except the transaction, and of that the batch token
//!   tells whether it was done. So a death of the manager ([`Engine::resume`]) and a death of an instance are answered in the same way:
//!   start what is dead again over its state, tell it its side, enter the step again (before the transaction: from the export on).
//! - *Before the transaction a batch is aborted, after it the batch is completed*, even when the update goes back.
//! - *Moving takes its share of the time and no more*: a batch, with the health check behind it, is followed by a pause that is many times as long
//!   ([`Policy::share`]), except where clients suffer more from waiting: in Salvage, and on the way back from a version that fails.
//! - *One of the two has the service's share of the processor*, the default; the other has a quota ([`Quota`]), reserved before anything is made.
//! - *The new one's death, hang or bad health before the commit means back.* The old one's means a restart in place, too many of them mean back.
//! - *Who does not come up* ([`Policy::restarts`]), *or refuses what it must do, is given up*: frozen, never started again, its state taken
//!   by the other one ([`hic_migrate::Share::Everything`]). The last one is not given up before it failed [`LAST_RESTARTS`] times; then the
//!   update ends [`Outcome::Lost`] and nothing is destroyed.
//! - *After the record of the new default: forward only.*
//!
//! # What a salvaging instance must know
//! A dead peer's region may name a batch as *leaving* or *incoming*. A leaving batch is the peer's, unless the salvager migrated that batch
//! itself. An incoming one is the peer's only if the salvager completed that batch itself. Neither depends on where the token lies then.
//!
//! | module | what |
//! | --- | --- |
//! | [`check`] | whether an update may begin |
//! | [`processor`] | which part of the processor is promised to whom |
//! | `request` | what is asked for, and the policy |
//! | `event` | events and actions |
//! | `state` | phases, steps, and their numbers |
//! | `journal` | the durable position, and the memory for it |
//! | `pace` | when the next batch may move, and how many items |
//! | `engine` | the machine |
//! | `reason`, `status`, `report` | what is told about it |
#![no_std]
#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)
)]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod check;
mod engine;
mod event;
mod journal;
mod pace;
pub mod processor;
mod reason;
mod report;
mod request;
mod state;
mod status;
#[cfg(test)]
mod tests;

pub use check::{Facts, PairProblem, Refused};
pub use engine::{BadJournal, Engine, LAST_RESTARTS};
pub use event::{Action, Event, Failed, Observed, Quota, TokenAt};
pub use journal::{Journal, Slots};
pub use reason::{Outcome, Reason};
pub use report::{Report, StepReport};
pub use request::{ANY_DOWNTIME, Policy, PolicyFigure, Request, Source, Who};
pub use state::{BatchPart, Phase};
pub use status::{Note, Remedy, STEPS, Status};

/// Guest time: nanoseconds of the monotonic clock, never 0.
pub type Nanos = u64;
