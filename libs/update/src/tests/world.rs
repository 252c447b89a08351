//! A machine with two instances, a kernel with atomic transactions, a manager that can be killed between any two of its doings, and a clock that
//! stands still unless somebody waits. Every doing is one micro-step; a run is decided by what is injected before which of them.

use super::model::{Instance, ROLE, Region};
use super::rests::Rests;
use super::script::{Blow, Bug, prepare, show};
use crate::{
    Action, Engine, Event, Failed, Nanos, Observed, Outcome, Policy, Quota, Refused, Request, Slots, TokenAt,
    Who,
};
use hic_channel::Message;
use hic_migrate::{Question, Side, serve};
use std::boxed::Box;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::string::String;
use std::vec::Vec;
use std::{assert, assert_eq, format, panic};

pub const SECOND: Nanos = 1_000_000_000;
const MILLI: Nanos = 1_000_000;

#[derive(Default)]
struct Box2 {
    exists: bool,
    alive: bool,
    given_up: bool,
    quota: Option<Quota>,
    side: Option<Side>,
    /// The batch whose flows it holds, for as long as it lives.
    holds: u64,
    region: Region,
    asked: u64,
    question: Option<Question>,
    /// Computed, not sent yet.
    answer: Option<Message>,
    bug: Option<Bug>,
}

pub struct World {
    pub now: Nanos,
    pub steps: usize,
    pub blows: Vec<(usize, Blow)>,
    boxes: [Box2; 2],
    caps: BTreeMap<u32, Who>,
    ports: Who,
    token: Option<Who>,
    pub default: Who,
    request: Request,
    slots: Slots,
    /// While the manager lives.
    pub engine: Option<Engine>,
    todo: VecDeque<Action>,
    events: VecDeque<Done>,
    /// Refuses the module, the creation, the start, the n-th transaction, the record.
    pub refuse_module: Option<Refused>,
    /// An instance says more than is true, so the report does.
    boasts: bool,
    pub fail_create: bool,
    pub fail_start: bool,
    /// Orders that the manager's helpers never come back from.
    pub silent: fn(&Action) -> bool,
    pub fail_record: bool,
    unrecorded: bool,
    pub fail_transactions: core::ops::Range<u64>,
    transactions: u64,
    pub sick: bool,
    /// The new one is not well once so many transactions have taken place.
    pub sick_from: u64,
    pub born_every: usize,
    /// Instances act before the manager does.
    pub eager: bool,
    changed: bool,
    pub trace: Vec<Action>,
    pub notes: Vec<String>,
    rests: Rests,
    pub end: Option<Outcome>,
}

/// What is to be told to the engine.
enum Done {
    Began,
    Checked(Result<(), Refused>),
    Created(Result<(), Failed>),
    Started(Result<(), Failed>),
    /// With the number of the question: the channel shows only the answer to the one asked last.
    Answered(Who, u64, Box<Message>),
    Placed,
    Transacted(Result<(), Failed>),
    Recorded(Result<(), Failed>),
    Died(Who),
    Restarted(Who, Result<(), Failed>),
    Destroyed(Who),
    Tick,
    Wish(Blow),
}

const WORDS: [u64; 4] = [1, 14, 0, 0x4000];

/// The policy of most tests: little of everything.
pub fn policy() -> Policy {
    Policy { moves_per_second: 10, batch_items: 4, watch: 20 * SECOND, max_batches: 200, ..Policy::default() }
}

impl World {
    pub fn new(items: u32, policy: Policy) -> Self {
        let request = Request { policy, ..Request::new("netstack", "1.2.0", "1.3.0") };
        let own: BTreeSet<u32> = (1..=items).chain([ROLE]).collect();
        let caps = own.iter().map(|item| (*item, Who::Old)).collect();
        let old = Box2 {
            exists: true,
            alive: true,
            quota: Some(Quota::Service),
            region: Region { own, ..Region::default() },
            ..Box2::default()
        };
        Self {
            now: SECOND,
            steps: 0,
            blows: Vec::new(),
            boxes: [old, Box2::default()],
            caps,
            ports: Who::Old,
            token: None,
            default: Who::Old,
            request,
            slots: Slots::default(),
            engine: None,
            todo: VecDeque::new(),
            events: VecDeque::new(),
            refuse_module: None,
            boasts: false,
            fail_create: false,
            fail_start: false,
            silent: |_| false,
            fail_record: false,
            unrecorded: false,
            fail_transactions: 0..0,
            transactions: 0,
            sick: false,
            sick_from: u64::MAX,
            born_every: 0,
            eager: false,
            changed: true,
            trace: Vec::new(),
            notes: Vec::new(),
            rests: Rests::default(),
            end: None,
        }
    }

    pub fn bug(mut self, who: Who, bug: Bug) -> Self {
        self.boasts |= matches!(bug, Bug::Boasts(_));
        self.boxes[who as usize].bug = Some(bug);
        self
    }

    pub fn blow(mut self, step: usize, blow: Blow) -> Self {
        self.blows.push((step, blow));
        self
    }

    pub fn engine(&self) -> &Engine {
        self.engine.as_ref().expect("the manager lives")
    }

    /// Runs to the end, checking at every micro-step.
    pub fn run(&mut self) -> Outcome {
        while self.end.is_none() {
            self.micro_step();
        }
        self.check_end();
        let report = self.engine().report();
        assert!(report.parts.iter().sum::<u64>() <= report.moving, "{:?} of {}", report.parts, report.moving);
        self.end.expect("just checked")
    }

    /// Runs until the phase is reached.
    pub fn run_to(&mut self, phase: crate::Phase) {
        while self.end.is_none() && self.engine.as_ref().is_none_or(|e| e.status().phase != phase) {
            self.micro_step();
        }
    }

    pub fn micro_step(&mut self) {
        self.steps += 1;
        assert!(self.steps < 6000, "no end: {:#?}", self.notes);
        let step = self.steps;
        while let Some(index) = self.blows.iter().position(|(at, _)| *at == step) {
            let (_, blow) = self.blows.swap_remove(index);
            self.strike(blow);
        }
        self.now += MILLI / 10;
        if self.born_every != 0 && step.is_multiple_of(self.born_every) {
            self.birth();
        }
        self.act();
        if core::mem::take(&mut self.changed) {
            self.check_ownership();
        }
    }

    pub fn exists(&self, who: Who) -> bool {
        self.boxes[who as usize].exists
    }

    /// What the manager did, in a few words each.
    pub fn trace(&self) -> Vec<String> {
        self.trace.iter().map(show).collect()
    }

    pub fn strike(&mut self, blow: Blow) {
        match blow {
            Blow::Kill(who) => self.die(who),
            Blow::KillManager => {
                self.engine = None;
                self.todo.clear();
                self.events.clear();
            }
            wish => self.events.push_back(Done::Wish(wish)),
        }
    }

    fn die(&mut self, who: Who) {
        let it = &mut self.boxes[who as usize];
        if it.exists && it.alive {
            (it.alive, it.side, it.answer, it.holds) = (false, None, None, 0);
            self.events.push_back(Done::Died(who));
        }
    }

    /// A client connects, if somebody serves.
    fn birth(&mut self) {
        let it = &mut self.boxes[self.ports as usize];
        if it.alive && it.region.own.contains(&ROLE) {
            let id = 1 + self.caps.keys().filter(|id| **id != ROLE).max().copied().unwrap_or(0);
            it.region.own.insert(id);
            self.caps.insert(id, self.ports);
        }
    }

    /// The next thing that happens, in the order: the manager acts, hears; instances; time.
    fn act(&mut self) {
        if self.engine.is_none() {
            return self.manager_starts();
        }
        if self.eager && Who::BOTH.into_iter().any(|who| self.instance_acts(who)) {
            return;
        }
        if let Some(action) = self.todo.pop_front() {
            return self.carry_out(action);
        }
        if let Some(event) = self.events.pop_front() {
            return self.tell(&event);
        }
        if Who::BOTH.into_iter().any(|who| self.instance_acts(who)) {
            return;
        }
        let deadline = self.engine().deadline().expect("somebody must be waited for");
        self.now = self.now.max(deadline);
        self.events.push_back(Done::Tick);
    }

    fn manager_starts(&mut self) {
        let Some((request, journal)) = self.slots.load() else {
            let engine = Engine::new(self.request, self.now);
            self.slots.begin(&self.request, &engine.journal());
            self.engine = Some(engine);
            self.events.push_back(Done::Began);
            return;
        };
        let dead = Who::BOTH.map(|who| {
            let it = &self.boxes[who as usize];
            (it.exists && !it.alive).then_some(WORDS)
        });
        let token = self.token.map_or(TokenAt::Nowhere, TokenAt::Slot);
        let observed = Observed { dead, token };
        let (engine, actions) =
            Engine::resume(request, &journal, observed, self.now).expect("it is a journal");
        self.keep(engine, actions);
    }

    fn keep(&mut self, engine: Engine, actions: Vec<Action>) {
        self.slots.save(&engine.journal());
        self.engine = Some(engine);
        self.todo.extend(actions);
    }

    fn tell(&mut self, event: &Done) {
        let event = match event {
            Done::Began => Event::Began,
            Done::Checked(result) => Event::Checked(*result),
            Done::Created(result) => Event::Created(*result),
            Done::Started(result) => Event::Started(*result),
            Done::Answered(who, number, _) if self.boxes[*who as usize].asked != *number => return,
            Done::Answered(who, _, answer) => Event::Answered { who: *who, answer },
            Done::Placed => Event::Placed(Ok(())),
            Done::Transacted(result) => Event::Transacted(*result),
            Done::Recorded(result) => Event::Recorded(*result),
            Done::Died(who) if self.boxes[*who as usize].alive => return,
            Done::Died(who) => Event::Died { who: *who, fault: WORDS },
            Done::Restarted(who, result) => Event::Restarted { who: *who, result: *result },
            Done::Destroyed(who) => Event::Destroyed(*who),
            Done::Tick => Event::Tick,
            Done::Wish(Blow::Abort) => Event::AbortRequested,
            Done::Wish(Blow::Rollback) => Event::RollbackRequested,
            Done::Wish(_) => Event::CommitRequested,
        };
        let mut engine = self.engine.take().expect("the manager lives");
        let actions = engine.on(self.now, event);
        self.keep(engine, actions);
    }

    fn carry_out(&mut self, action: Action) {
        self.changed |= !matches!(action, Action::Log(_) | Action::Ask { .. } | Action::Prepare { .. });
        if !matches!(action, Action::Log(_)) {
            self.trace.push(action.clone());
        }
        let failed = Failed { code: 4, at: 2 };
        let result = |bad: bool| if bad { Err(failed) } else { Ok(()) };
        let done = match action {
            _ if (self.silent)(&action) => {
                self.unrecorded |= matches!(action, Action::RecordDefault(_));
                return;
            }
            Action::CheckModule => Done::Checked(self.refuse_module.map_or(Ok(()), Err)),
            Action::CreateInstance => {
                let bug = self.boxes[1].bug;
                self.boxes[1] =
                    Box2 { exists: !self.fail_create, quota: Some(Quota::WarmUp), bug, ..Box2::default() };
                Done::Created(result(self.fail_create))
            }
            Action::StartInstance => {
                self.boxes[1].alive = !self.fail_start;
                Done::Started(result(self.fail_start))
            }
            Action::Prepare { who, side } => return self.put_question(who, &prepare(who, side)),
            Action::Ask { to, question } => return self.put_question(to, &question),
            Action::PlaceToken { at } => {
                self.rests.begins(self.now, self.engine.as_ref());
                self.token = Some(at);
                Done::Placed
            }
            Action::Transact { .. } => Done::Transacted(self.transact(&action)),
            Action::RecordDefault(who) => {
                self.default = if self.fail_record { self.default } else { who };
                self.unrecorded |= self.fail_record;
                Done::Recorded(result(self.fail_record))
            }
            Action::Restart(who) => Done::Restarted(who, self.restart(who)),
            Action::Destroy(who) => {
                self.boxes[who as usize] = Box2::default();
                Done::Destroyed(who)
            }
            Action::Share { who, quota } => {
                let other = self.boxes[who.other() as usize].quota;
                assert!(quota != Quota::Service || other != Some(Quota::Service), "more than was reserved");
                return self.boxes[who as usize].quota = Some(quota);
            }
            Action::Freeze(who) => {
                let it = &mut self.boxes[who as usize];
                (it.alive, it.given_up) = (false, true);
                return;
            }
            Action::DropToken => return self.token = None,
            Action::Log(note) => return self.notes.push(format!("{note}")),
            Action::Finish(outcome) => return self.end = Some(outcome),
        };
        self.events.push_back(done);
    }

    fn put_question(&mut self, who: Who, question: &Question) {
        let it = &mut self.boxes[who as usize];
        assert!(it.exists, "asked who does not exist");
        (it.question, it.answer) = (Some(*question), None);
        it.asked += 1;
    }

    fn restart(&mut self, who: Who) -> Result<(), Failed> {
        let has_token = self.token == Some(who);
        let it = &mut self.boxes[who as usize];
        assert!(it.exists && !it.given_up, "restarted {who:?}, who is destroyed or given up");
        (it.alive, it.side, it.answer, it.holds) = (false, None, None, 0);
        if it.bug == Some(Bug::NeverRestarts) {
            return Err(Failed { code: 9, at: 1 });
        }
        it.region.restore(has_token);
        it.alive = true;
        Ok(())
    }

    fn transact(&mut self, action: &Action) -> Result<(), Failed> {
        let Action::Transact { batch, from, to, caps, slots, switch_service_ports } = action else {
            panic!()
        };
        self.transactions += 1;
        assert_eq!(self.token, Some(*from), "the token lies with the exporter");
        assert_eq!(caps.len(), slots.len());
        assert!(self.boxes[1].quota != Some(Quota::WarmUp), "nobody is served with the quota of a warm-up");
        let exporter = &self.boxes[*from as usize];
        assert!(
            !exporter.alive || caps.is_empty() || exporter.holds == *batch,
            "flows are held: {:#?}",
            self.trace()
        );
        if self.fail_transactions.contains(&self.transactions) {
            return Err(Failed { code: 6, at: 0 });
        }
        for cap in caps {
            assert_eq!(self.caps.insert(cap.slot, *to), Some(*from), "moved by who has it");
        }
        self.token = Some(*to);
        if *switch_service_ports {
            self.ports = *to;
        }
        let items = caps.iter().filter(|cap| cap.slot != ROLE).count() as u64;
        let dead = self.boxes[*from as usize].given_up;
        self.rests.moved(self.now, if dead { 0 } else { items }, &self.request.policy);
        Ok(())
    }

    /// One half of a question: it is done, or its answer is sent.
    fn instance_acts(&mut self, who: Who) -> bool {
        let has_token = self.token == Some(who);
        let sick = self.sick && self.ports == Who::New || self.transactions >= self.sick_from;
        let [old, new] = &mut self.boxes;
        let (it, peer) = if who == Who::Old { (old, new) } else { (new, old) };
        let Some(asked) = it.question.filter(|_| it.alive) else { return false };
        let question = asked.encode();
        // What a restart finds in place of an older question is none: whoever dies of it never comes up again.
        let bug = it.bug.filter(|_| !matches!(asked, Question::Abort { batch: 0 }));
        if let Some(answer) = it.answer.take() {
            it.question = None;
            if bug == Some(Bug::DiesAfter(question.label)) {
                it.question = Some(asked);
                self.die(who);
            } else {
                let number = it.asked;
                self.events.push_back(Done::Answered(who, number, Box::new(answer)));
            }
            return true;
        }
        match bug {
            Some(Bug::Hangs(label)) if label == question.label => return false,
            Some(Bug::DiesBefore(label)) if label == question.label => {
                self.die(who);
                return true;
            }
            Some(Bug::Refuses(label)) if label == question.label => {
                it.answer = Some(Message::new(7, [0; 8]));
                return true;
            }
            _ => {}
        }
        self.changed = true;
        let (region, side, peer) = (&mut it.region, &mut it.side, &peer.region);
        let mut instance = Instance { region, side, peer, has_token, sick };
        let mut answer = serve(&mut instance, &question);
        if bug == Some(Bug::Boasts(question.label)) {
            answer.words[..4].fill(u64::MAX);
        }
        it.answer = Some(answer);
        if let Question::Export { batch, .. } = asked {
            it.holds = batch;
        }
        true
    }

    fn claims(&self, who: Who) -> BTreeSet<u32> {
        let (it, peer) = (&self.boxes[who as usize], &self.boxes[who.other() as usize]);
        if !it.exists {
            return BTreeSet::new();
        }
        let mut claims = it.region.claims(&peer.region, self.token == Some(who), it.given_up);
        if it.given_up {
            let taken = peer.region.claims(&it.region, self.token == Some(who.other()), false);
            claims.retain(|item| !taken.contains(item));
        }
        claims
    }

    /// Everything belongs to exactly one, and it is the one that has the capability.
    fn check_ownership(&self) {
        for who in Who::BOTH {
            let held: BTreeSet<u32> =
                self.caps.iter().filter(|(_, owner)| **owner == who).map(|(item, _)| *item).collect();
            assert_eq!(self.claims(who), held, "{who:?} at {}: {:#?}", self.steps, self.trace());
        }
        assert!(self.boxes[self.ports as usize].exists, "the ports lead somewhere");
    }

    fn check_end(&self) {
        let outcome = self.end.expect("it ended");
        let report = self.engine().report();
        assert_eq!(report.outcome, Some(outcome));
        assert!(self.engine().is_over() && self.engine().deadline().is_none());
        self.rests.check_rate(&self.request.policy);
        let Some(winner) = outcome.serving() else { return };
        let (it, loser) = (&self.boxes[winner as usize], &self.boxes[winner.other() as usize]);
        assert!(it.exists && !it.given_up && !loser.exists, "{outcome}: {:#?}", self.trace());
        assert_eq!(it.region.own.len(), self.caps.len(), "{outcome}: {:#?}", self.trace());
        assert_eq!((self.ports, it.quota), (winner, Some(Quota::Service)), "{outcome}");
        assert!(it.side.is_none() || it.bug.is_some(), "told that it is alone");
        assert!(it.region.leaving.is_none() && it.region.incoming.is_none());
        assert!(self.unrecorded || self.default == winner, "{outcome}");
        assert!(self.boasts || report.lost == 0);
        assert!(self.token.is_none());
    }

    pub fn is_alive(&self, who: Who) -> bool {
        self.boxes[who as usize].alive
    }
}
