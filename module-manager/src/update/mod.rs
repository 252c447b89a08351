//! Updates: the engine's actions as system calls and questions, and what comes of them as its events.
//!
//! Nothing is decided here. The engine's journal is stored before its actions are carried out, so a manager that died goes on where the journal
//! says; what the world knows better (who lives, where the batch token is) is looked at then.

use crate::manager::{Manager, StartError};
use crate::modules::is_version;
use alloc::collections::VecDeque;
use alloc::format;
use alloc::vec::Vec;
use core::fmt::Write as _;
use hic_abi::{FOREVER, Nanos, name_bytes, name_str};
use hic_rt::loader::LoadError;
use hic_rt::{clock, log};
use hic_store::defaults::Said;
use hic_update::check::Refused;
use hic_update::{Action, Engine, Event, Failed, Observed, Outcome, Policy, Request, Who};
use module_manager::journal::Phase;
use module_manager::report::Report;

/// Steps of the manager inside an action, for the report of one that failed.
const AT_CREATE: u64 = 1;
const AT_START: u64 = 2;
const AT_RESTART: u64 = 3;
const AT_TOKEN: u64 = 4;
const AT_RECORD: u64 = 5;
/// Codes of notes in the audit log.
const NOTE_UPDATE: u64 = 2;

mod actions;
mod facts;
mod transaction;

/// The update under way, or the last one.
pub struct Running {
    /// The engine.
    pub engine: Engine,
    /// Waits for the default to be written.
    recording: bool,
    /// What the record of defaults said before the new version was entered, if it was.
    before: Option<Said>,
    /// Number of the question whose answer was heard last, of old and new.
    heard: [u64; 2],
    /// What was done, for whoever follows it.
    pub report: Report,
}

impl Running {
    fn new(engine: Engine, report: Report) -> Self {
        Self { engine, recording: false, before: None, heard: [0; 2], report }
    }
}

/// A kernel's error as reports show it.
fn number(error: hic_abi::Error) -> u64 {
    (error as i64).unsigned_abs()
}

fn failed(at: u64, error: hic_abi::Error) -> Failed {
    Failed { code: number(error), at }
}

fn load_failed(at: u64, error: &StartError) -> Failed {
    log!("update: {error}");
    let code = match error {
        StartError::Load(LoadError::Kernel { error, .. }) => number(*error),
        _ => 0,
    };
    Failed { code, at }
}

impl Manager {
    /// Records of the old and the new instance.
    pub(super) fn party(&self, who: Who) -> Option<usize> {
        let number = self.journal.update.parties[who as usize % 2];
        number.checked_sub(1).map(|index| index as usize)
    }

    pub(super) fn set_party(&mut self, who: Who, index: Option<usize>) {
        self.journal.update.parties[who as usize % 2] = index.map_or(0, |index| index as u64 + 1);
    }

    /// Whether an update is under way.
    pub fn is_updating(&self) -> bool {
        self.under_way().is_some()
    }

    /// Whether an update is under way whose report has room for what others do meanwhile.
    pub fn may_tell_aside(&self) -> bool {
        self.under_way().is_some_and(|running| running.report.has_room_aside())
    }

    fn under_way(&self) -> Option<&Running> {
        self.update.as_ref().filter(|running| !running.engine.is_over())
    }

    /// Which side of the update under way the instance in a record is.
    pub fn side_of(&self, index: usize) -> Option<Who> {
        let runs = self.is_updating();
        Who::BOTH.into_iter().find(|who| runs && self.party(*who) == Some(index))
    }

    /// Begins an update, or says why not.
    pub fn begin_update(&mut self, service: &str, version: &str, policy: Policy) -> Result<(), Refused> {
        let old =
            self.journal.find(service).filter(|index| self.journal.records[*index].phase != Phase::KEPT);
        let running = self.update.as_ref().filter(|running| !running.engine.is_over());
        let busy = running.map(|running| running.engine.status().phase);
        let serving = old.is_some_and(|index| self.runs(index));
        let from = old.map(|index| self.journal.records[index].info.version).unwrap_or_default();
        if let Some(phase) = busy {
            return Err(Refused::Busy { phase });
        }
        let Some(old) = old else { return Err(Refused::UnknownService) };
        if name_str(&from) == version {
            return Err(Refused::SameVersion);
        }
        if !serving {
            return Err(Refused::NotServing);
        }
        policy.check()?;
        let policy = policy.with_health(self.health_of(service, version));
        let request = Request { policy, ..Request::new(service, name_str(&from), version) };
        let engine = Engine::new(request, clock::now());
        self.journal.update.parties = [old as u64 + 1, 0];
        self.journal.update.slots.begin(&request, &engine.journal());
        self.journal.update.told = 0;
        self.update = Some(Running::new(engine, Report::default()));
        self.note(NOTE_UPDATE, 0, format_args!("update {service} {version}"));
        self.drive(Event::Began);
        // The module is in memory, or nowhere: what is refused is refused at once.
        match self.update.as_ref().and_then(|running| running.engine.report().outcome) {
            Some(Outcome::AbortedBeforeStart { refusal }) => Err(refusal),
            _ => Ok(()),
        }
    }

    /// Tells the engine something and does what it wants, until it wants nothing more.
    pub fn drive(&mut self, event: Event<'_>) {
        let Some(running) = &mut self.update else { return };
        let actions = running.engine.on(clock::now(), event);
        self.act(actions);
    }

    /// Stores where the engine is, then does what it wants, all of it and in order; then tells it what came of that.
    fn act(&mut self, mut actions: Vec<Action>) {
        let mut events = VecDeque::new();
        loop {
            let Some(running) = &mut self.update else { return };
            self.journal.update.slots.save(&running.engine.journal());
            for action in actions {
                events.extend(self.carry_out(action));
            }
            let Some((event, running)) = events.pop_front().zip(self.update.as_mut()) else { return };
            actions = running.engine.on(clock::now(), event);
        }
    }

    /// Looks at everything that may have an answer; the time when the engine wants to be woken.
    pub fn update_turn(&mut self) -> Nanos {
        for who in Who::BOTH {
            self.hear(who);
        }
        self.finish_record();
        let now = clock::now();
        let Some(running) = &self.update else { return FOREVER };
        if running.engine.deadline().is_some_and(|deadline| deadline <= now) {
            self.drive(Event::Tick);
        }
        self.update.as_ref().and_then(|running| running.engine.deadline()).unwrap_or(FOREVER)
    }

    pub(super) fn hear(&mut self, who: Who) {
        let Some(index) = self.party(who) else { return };
        let Some((number, answer)) = self.numbered_answer(index) else { return };
        let Some(running) = &mut self.update else { return };
        if core::mem::replace(&mut running.heard[who as usize % 2], number) != number {
            self.drive(Event::Answered { who, answer: &answer });
        }
    }

    pub(super) fn request(&self) -> Option<Request> {
        self.journal.update.slots.load().map(|(request, _)| request)
    }

    /// How many health checks in a row a version wants before its rollback window, and how far apart they are in it, milliseconds.
    fn health_of(&self, service: &str, version: &str) -> Option<(u8, u32)> {
        let health = self.modules[self.module(service, version)?].module.manifest.health?;
        Some((health.checks, health.every_ms))
    }

    /// The module of the new version.
    pub(super) fn new_module(&self) -> Option<usize> {
        let request = self.request()?;
        self.module(name_str(&request.service), name_str(&request.to))
    }

    /// Goes on with the update that an earlier start of the manager had under way.
    pub fn resume_update(&mut self) {
        let Some((request, journal)) = self.journal.update.slots.load() else { return };
        let dead = Who::BOTH.map(|who| {
            let index = self.party(who)?;
            let stopped = self.sandbox_info(index).is_none_or(|info| info.frozen != 0);
            stopped.then_some([hic_abi::message::Fault::Frozen as u64, 1, 0, 0])
        });
        let observed = Observed { dead, token: self.token_at() };
        let (engine, actions) = match Engine::resume(request, &journal, observed, clock::now()) {
            Ok(resumed) => resumed,
            Err(error) => return log!("update: {error}"),
        };
        if let (Some(default), Some(other)) =
            (self.party(engine.role_at()), self.party(engine.role_at().other()))
        {
            self.set_standing(default, other);
        }
        let (over, at) = (engine.is_over(), engine.status());
        self.update = Some(Running::new(engine, Report::after(self.journal.update.told as usize)));
        if !over {
            self.tell_update(format!("the module manager was started again at {at}"));
        }
        self.act(actions);
    }

    /// An instance of the update under way died. The engine says what becomes of it.
    pub fn party_died(&mut self, who: Who, fault: [u64; 4]) {
        if self.party(who).is_none_or(|index| self.runs(index)) {
            return;
        }
        self.drive(Event::Died { who, fault });
    }

    /// Whether an update of this service is under way.
    pub fn is_updating_that(&self, service: &str) -> bool {
        self.is_updating() && self.request().is_some_and(|request| name_str(&request.service) == service)
    }

    /// The version to which a rollback leads, and how: where the update came from that led to what runs; or, if none of this start of the system did, what
    /// the record of defaults has as the version before.
    ///
    /// # Errors
    /// [`Refused::UnknownService`], [`Refused::NoVersionBefore`].
    pub fn version_before(&self, service: &str) -> Result<([u8; 16], Policy), Refused> {
        let index = self.journal.find(service).ok_or(Refused::UnknownService)?;
        let current = self.journal.records[index].info.version;
        let led_here = |request: &Request| name_str(&request.service) == service && request.to == current;
        if let Some(request) = self.request().filter(led_here) {
            return Ok((request.from, request.policy));
        }
        let recorded = self.repository.defaults.as_ref().and_then(|defaults| defaults.service(service));
        let mut text = heapless::String::<16>::new();
        recorded
            .and_then(|recorded| recorded.previous)
            .filter(|previous| !is_version(*previous, name_str(&current)))
            .filter(|previous| write!(text, "{previous}").is_ok())
            .ok_or(Refused::NoVersionBefore)?;
        Ok((name_bytes(&text), Policy::default()))
    }
}
