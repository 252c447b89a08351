//! What the engine hears and what it wants done.
//!
//! Every action up to [`Action::RecordDefault`] is answered by exactly one event, or by the death of the instance that was to answer, or by
//! nothing until the deadline. The module manager stores [`crate::Engine::journal`] before it carries out the actions of a call, and
//! carries them out in order, all of them before it gives the engine another event. An answer that nobody waits for is passed over.

use crate::{Note, Outcome, Refused, Who};
use alloc::vec::Vec;
use core::fmt;
use hic_channel::Message;
use hic_migrate::{CapSlot, Question, Side};

/// An error that an action came back with, for the report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Failed {
    /// The kernel's or the storage's error number.
    pub code: u64,
    /// Where: for a transaction the index of the refused entry, otherwise the manager's own step number.
    pub at: u64,
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error {} at {}", self.code, self.at)
    }
}

/// What happened.
#[derive(Clone, Copy, Debug)]
pub enum Event<'a> {
    /// The request is stored; go.
    Began,
    /// Answer to [`Action::CheckModule`].
    Checked(Result<(), Refused>),
    /// Answer to [`Action::CreateInstance`].
    Created(Result<(), Failed>),
    /// Answer to [`Action::StartInstance`].
    Started(Result<(), Failed>),
    /// The instance's answer to the question asked last ([`Action::Ask`], [`Action::Prepare`]). Given twice it does no harm.
    Answered {
        /// Who answered.
        who: Who,
        /// What.
        answer: &'a Message,
    },
    /// Answer to [`Action::PlaceToken`].
    Placed(Result<(), Failed>),
    /// Answer to [`Action::Transact`]: all of it is done, or nothing.
    Transacted(Result<(), Failed>),
    /// Answer to [`Action::RecordDefault`]. An error means: not recorded, as far as one can know.
    Recorded(Result<(), Failed>),
    /// An instance was found frozen, by a fault or by somebody else's order. Not for [`Action::Freeze`] and [`Action::Restart`], nor for a fault
    /// message that arrives when the instance has been started again already.
    Died {
        /// Which.
        who: Who,
        /// The words of the fault message: cause, detail, address, instruction pointer.
        fault: [u64; 4],
    },
    /// Answer to [`Action::Restart`]. That the instance then answers is seen later.
    Restarted {
        /// Which.
        who: Who,
        /// Whether it was started.
        result: Result<(), Failed>,
    },
    /// Answer to [`Action::Destroy`].
    Destroyed(Who),
    /// The time of [`crate::Engine::deadline`] has come. Given too early or for nothing it does no harm.
    Tick,
    /// The operator wants the update to stop. Before the switch; later ask for a rollback.
    AbortRequested,
    /// The operator wants the old version back.
    RollbackRequested,
    /// The operator wants the rollback window to end now.
    CommitRequested,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Find the module, have it verified, look at the manifest pair: [`Event::Checked`].
    CheckModule,
    /// Make the new instance, not started, with [`Quota::WarmUp`], each side's state region mapped for reading at the other. What an earlier attempt left is
    /// destroyed first. [`Event::Created`].
    CreateInstance,
    /// Start the new instance; nothing if it was started. [`Event::Started`].
    StartInstance,
    /// Ask `who` [`Question::Prepare`] with this side. The manager fills in places, serials, lane (0 = old, 1 = new), token slot and
    /// schema. [`Event::Answered`].
    Prepare {
        /// Whom.
        who: Who,
        /// What it is to be.
        side: Side,
    },
    /// Ask; an open question to the same instance is replaced. The instance may be frozen: it finds the question when it is started again.
    /// [`Event::Answered`].
    Ask {
        /// Whom.
        to: Who,
        /// What.
        question: Question,
    },
    /// Move the batch token from wherever it is into this instance's token slot, whether it lives or not. [`Event::Placed`].
    PlaceToken {
        /// Where.
        at: Who,
    },
    /// One kernel transaction: `caps[i]` of `from`'s space to `slots[i]` of `to`'s, ports among them switched to `to`'s endpoint, the token
    /// from `from`'s token slot to `to`'s.
    /// Never carried out twice: see [`crate::Engine::resume`]. [`Event::Transacted`].
    Transact {
        /// Number of the batch.
        batch: u64,
        /// Exporter, maybe dead.
        from: Who,
        /// Importer.
        to: Who,
        /// In `from`'s space.
        caps: Vec<CapSlot>,
        /// In `to`'s space, as many.
        slots: Vec<u32>,
        /// Switch the ports of the service itself to `to`, too.
        switch_service_ports: bool,
    },
    /// Freeze the instance if it runs and start it again over its state, in place. [`Event::Restarted`].
    Restart(Who),
    /// Destroy the instance, if it exists, with all that it held. [`Event::Destroyed`].
    Destroy(Who),
    /// Record durably whose version is the default from now on. Doing it twice does no harm. [`Event::Recorded`].
    RecordDefault(Who),
    /// Let the instance run with this share of the processor from now on (P1.11, P2.5). Doing it twice does no harm. No event.
    Share {
        /// Which.
        who: Who,
        /// What.
        quota: Quota,
    },
    /// Freeze the instance for good: it will not be started again. No event.
    Freeze(Who),
    /// The token is not needed any more. No event.
    DropToken,
    /// A line for the console and the log. No event.
    Log(Note),
    /// The update is over; [`crate::Engine::report`] is final. No event.
    Finish(Outcome),
}

/// How much of the processor one of the two instances gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quota {
    /// [`crate::processor::WARM_UP`] and nothing beyond it, less important than the service: what its clients notice of a warm-up is bounded.
    WarmUp,
    /// As important as the service, since it serves what was moved to it, or what was not moved away yet. Of a service that has a guarantee the same
    /// part is guaranteed to it, and it has what nobody else wants; a service without a budget has none on either side.
    Beside,
    /// What its manifest asks for and the policy allows: the service's own. One of the two has it, the default.
    Service,
}

/// Where the batch token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenAt {
    /// In this instance's token slot.
    Slot(Who),
    /// With the manager, or not made yet.
    Nowhere,
}

/// What the manager finds after its own restart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Observed {
    /// For old and new: the words of its fault if it is frozen; `None` if it runs or does not exist.
    pub dead: [Option<[u64; 4]>; 2],
    /// Who has the token.
    pub token: TokenAt,
}
