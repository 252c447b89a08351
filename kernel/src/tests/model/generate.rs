//! Which steps are tried: mostly such as could be accepted in the state that the model is in, and some that nobody would try.

use super::arguments::Caller;
use super::lab::{Call, Lab, MANAGER, Op, Word};
use super::plans;
use super::state::Doing;
use crate::tests::arguments::Random;
use hic_abi::syscall::Syscall;
use std::collections::VecDeque;
use std::vec::Vec;

/// Where specifications go in the caller's memory; its buffer is at the start.
pub const SPEC: u64 = 2048;
/// Time moves in these steps, and deadlines lie in the middle of one, so that none falls into the slack of the timer.
pub const TICK: u64 = 1_000_000;

/// Calls, and how often each is made.
pub const WEIGHTS: [(Syscall, u64); 43] = [
    (Syscall::Call, 120),
    (Syscall::Receive, 90),
    (Syscall::Reply, 50),
    (Syscall::ReplyReceive, 80),
    (Syscall::Signal, 60),
    (Syscall::Wait, 40),
    (Syscall::CapCopy, 90),
    (Syscall::CapMove, 40),
    (Syscall::CapDelete, 50),
    (Syscall::CapRevoke, 25),
    (Syscall::CapInfo, 10),
    (Syscall::Create, 70),
    (Syscall::Destroy, 15),
    (Syscall::RegionMap, 40),
    (Syscall::RegionUnmap, 20),
    (Syscall::RegionSeal, 15),
    (Syscall::RegionInfo, 8),
    (Syscall::ClockMap, 6),
    (Syscall::PortSwitch, 35),
    (Syscall::Transaction, 45),
    (Syscall::ThreadStart, 20),
    (Syscall::SandboxFaultPort, 10),
    (Syscall::SandboxFreeze, 4),
    (Syscall::SandboxReset, 8),
    (Syscall::SandboxFuse, 8),
    (Syscall::SandboxShare, 5),
    (Syscall::Exit, 2),
    (Syscall::BindNotification, 25),
    (Syscall::PortWatch, 20),
    (Syscall::EndpointNotify, 15),
    (Syscall::IrqBind, 15),
    (Syscall::IrqAck, 6),
    (Syscall::Yield, 5),
    (Syscall::Now, 3),
    (Syscall::AuditNote, 6),
    (Syscall::Power, 3),
    (Syscall::Entropy, 6),
    (Syscall::DeviceVector, 14),
    (Syscall::DeviceBar, 10),
    (Syscall::DeviceMaster, 6),
    (Syscall::DeviceInfo, 6),
    (Syscall::IoRead, 8),
    (Syscall::IoWrite, 8),
];

/// What the manager never does: it must stay able to look.
const BLOCKS: [Syscall; 6] = [
    Syscall::Call,
    Syscall::Receive,
    Syscall::ReplyReceive,
    Syscall::Wait,
    Syscall::Exit,
    Syscall::BindNotification,
];

/// Makes steps.
pub struct Generator {
    pub random: Random,
    /// What a plan still has to do.
    pub planned: VecDeque<Op>,
}

impl Generator {
    pub fn next(&mut self, lab: &Lab) -> Op {
        if lab.model.turns.on {
            return self.next_of_running(lab);
        }
        if let Some(op) = self.planned.pop_front() {
            return op;
        }
        let alive = lab.callers().count() as u64;
        match self.random.below(100) {
            0..6 => return Op::Pass((self.random.below(4) + 1) * TICK),
            6 => return Op::Interrupt(self.random.next()),
            7 if self.random.once_in(4) => {
                let (who, error) = (self.child(lab), self.random.below(8));
                return Op::Fault { who, vector: self.random.below(32) as u8, error, address: error << 20 };
            }
            _ if alive == 0 || self.random.once_in(6 + alive * 3) => {
                plans::manager(self, lab);
                if let Some(op) = self.planned.pop_front() {
                    return op;
                }
            }
            _ => {}
        }
        let who = if self.random.once_in(10) { MANAGER } else { self.child(lab) };
        self.any_call(lab, who)
    }

    /// The next step where the kernel says who makes it.
    fn next_of_running(&mut self, lab: &Lab) -> Op {
        match (self.random.below(100), lab.model.turns.running) {
            (0..2, _) => Op::Interrupt(self.random.next()),
            (2..26, _) | (_, None) => Op::Pass(self.duration()),
            (_, Some(manager)) if manager == lab.manager => self.next_of_manager(lab),
            (26, Some(thread)) if self.random.once_in(4) => {
                Op::Fault { who: lab.started[&thread], vector: 14, error: 4, address: 1 << 20 }
            }
            (_, Some(thread)) => self.any_call(lab, lab.started[&thread]),
        }
    }

    /// From less than the timer can be set for to more than a turn.
    fn duration(&mut self) -> u64 {
        match self.random.below(3) {
            0 => 1 + self.random.below(40_000),
            1 => 1 + self.random.below(TICK),
            _ => self.random.below(7 * TICK),
        }
    }

    /// The manager does what it has planned, and sleeps now and then, so that others have the processor.
    fn next_of_manager(&mut self, lab: &Lab) -> Op {
        if self.planned.is_empty() && self.random.once_in(3) {
            return plans::nap(lab, lab.model.now + self.duration());
        }
        if self.planned.is_empty() {
            plans::manager(self, lab);
        }
        self.planned.pop_front().unwrap_or_else(|| self.any_call(lab, MANAGER))
    }

    /// One of the threads that could call.
    fn child(&mut self, lab: &Lab) -> u32 {
        let ready: Vec<u32> = lab.callers().map(|id| lab.started[&id]).collect();
        if ready.is_empty() { MANAGER } else { self.random.pick(&ready) }
    }

    fn any_call(&mut self, lab: &Lab, who: u32) -> Op {
        let Some(thread) = lab.ready(who) else { return Op::Pass(TICK) };
        let sandbox = lab.model.thread(thread).sandbox;
        let mut pick = self.random.below(WEIGHTS.iter().map(|(_, weight)| weight).sum());
        let mut call = Syscall::Null;
        for (candidate, weight) in WEIGHTS {
            if pick < weight {
                call = candidate;
                break;
            }
            pick -= weight;
        }
        if lab.model.who(Doing::Awaiting(thread)).is_some() && self.random.once_in(2) {
            call = self.random.pick(&[Syscall::Reply, Syscall::ReplyReceive, Syscall::ReplyReceive]);
        }
        if lab.model.turns.on && self.random.once_in(2) {
            // Those that hand the processor over.
            call = self.random.pick(&[Syscall::Call, Syscall::ReplyReceive, Syscall::Wait, Syscall::Yield]);
        }
        if who == MANAGER && BLOCKS.contains(&call) {
            call = Syscall::CapCopy;
        }
        let mut caller = Caller { lab, random: &mut self.random, sandbox, writes: Vec::new() };
        let mut words = if caller.random.once_in(40) && who != MANAGER {
            core::array::from_fn(|_| caller.wild())
        } else {
            caller.plausible(call)
        };
        match call {
            Syscall::Call if lab.model.turns.on && caller.random.once_in(2) => {
                words[0] = Word::Is(plans::CALLS.into());
            }
            Syscall::ReplyReceive if lab.model.turns.on && caller.random.once_in(2) => {
                words[0] = Word::Is(plans::SERVES.into());
            }
            _ => {}
        }
        let number = if caller.random.once_in(200) { 51 + caller.random.next() % 1000 } else { call as u64 };
        caller.spare(who, call, &mut words);
        Op::Call(Call { who, number, words, writes: caller.writes })
    }
}

/// Specifications that a caller can point at.
pub fn specification(bytes: &[u8]) -> (Word, Vec<(u64, Vec<u8>)>) {
    (Word::At(SPEC), std::vec![(SPEC, bytes.to_vec())])
}
