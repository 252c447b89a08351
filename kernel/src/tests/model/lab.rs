//! The kernel and the model side by side: every step is done to both, through registers and memory on the kernel's side.

use super::devices::Device;
use super::state::{Account, Body, Doing, Id, Irq, Model, Name, Registers};
use crate::machine::Machine;
use crate::objects::State;
use crate::tests::sim::{MEMORY_START, MSIX_PAGE};
use crate::tests::world::{ACCOUNT, AUDIT, CLOCK, DEVICE, ENTROPY, FRAMES, IO, IRQ, LOG, POWER, World};
use hic_abi::syscall::Syscall;
use hic_abi::{Error, ObjectType, PAGE_SIZE, Rights, USER_BASE, name_bytes};
use std::collections::BTreeMap;
use std::format;
use std::string::{String, ToString};
use std::vec::Vec;

/// Stands for the manager's thread in [`Op`].
pub const MANAGER: u32 = u32::MAX;

/// What goes into a register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word {
    Is(u64),
    /// An address in the caller's memory, this far from its start.
    At(u64),
}

/// A system call: who (the number of the step that started the thread), number, `rdi rsi rdx r10 r8 r9 r12 r13`, and what the caller writes to its memory before.
#[derive(Clone, Debug)]
pub struct Call {
    pub who: u32,
    pub number: u64,
    pub words: [Word; 8],
    pub writes: Vec<(u64, Vec<u8>)>,
}

/// One step.
#[derive(Clone, Debug)]
pub enum Op {
    Call(Call),
    /// Nanoseconds; see [`Lab::pass`].
    Pass(u64),
    /// Of the interrupts that there are, this one, counted round.
    Interrupt(u64),
    /// A processor exception in a thread.
    Fault {
        who: u32,
        vector: u8,
        error: u64,
        address: u64,
    },
}

/// Both worlds, and how their names for the same things belong together.
pub struct Lab {
    pub w: World,
    pub model: Model,
    pub manager: Id,
    pub manager_sandbox: Id,
    /// Of each type (by its number), the kernel's number of an object: learned from the first capability that shows it, and kept while the object lives.
    pub names: BTreeMap<(u64, u64), Id>,
    pub steps: u64,
    /// In which step each thread was started: steps name threads by that, so that other steps can be left out.
    pub started: BTreeMap<Id, u32>,
    /// The last call: its number, and whether it was accepted (or blocks, or was the caller's last).
    pub last: Option<(u64, bool)>,
    /// Audit records that the kernel had dropped at the last comparison, for their rate.
    pub dropped: u64,
    /// Number of the next audit record.
    pub sequence: u64,
    /// Nothing can be said of what comes next: two deadlines fell together, or others came between the parts of a long call.
    pub over: bool,
    /// How often a call had to be made again, to do another part of what it does.
    pub parts: u64,
}

impl Lab {
    /// A machine with its manager; the model is told what the manager begins with. `turns`: the model says who runs;
    /// `confined`: there is an IOMMU.
    pub fn new(turns: bool, confined: bool) -> Self {
        let mut w = if confined { World::confined() } else { World::new() };
        w.tidy = turns;
        let end = MEMORY_START + FRAMES * PAGE_SIZE;
        let mut model = Model::new(MEMORY_START..end, w.k.machine.now());
        let name = words_of(name_bytes("root"));
        // The tables of an IOMMU are the kernel's own.
        let frames_limit = w.k.accounts.at(0).expect("the root").frames_limit;
        let limits = Account { frames_limit, objects_limit: 1_000_000, name };
        let root = model.add(None, Body::Account(limits));
        let body = super::state::Sandbox {
            serial: 1,
            slots: 4096,
            priority: 16,
            name: words_of(name_bytes("manager")),
            ..Default::default()
        };
        let manager_sandbox = model.add(Some(root), Body::Sandbox(body));
        let clock = model.new_region(None, w.k.regions.at(0).expect("the clock page").base, 1);
        model.region_mut(clock).clock = true;
        for id in [root, manager_sandbox, clock] {
            model.objects.get_mut(&id).expect("just made").kept = true;
        }
        let other = |kind| Body::Other(kind);
        let io = model.add(Some(root), Body::Ports(0, 0x1_0000));
        let irq = model.add(Some(root), Body::Irq(Irq::default()));
        let single = [
            (AUDIT, ObjectType::Audit),
            (LOG, ObjectType::Log),
            (ENTROPY, ObjectType::Entropy),
            (POWER, ObjectType::Power),
        ];
        for (slot, kind) in single {
            let object = model.add(None, other(kind));
            model.objects.get_mut(&object).expect("just made").kept = true;
            model.give((manager_sandbox, slot), object, Rights::all(), None);
        }
        let info = w.k.devices[0].info;
        let device = Device { info, hidden: MSIX_PAGE..MSIX_PAGE + 1, masters: false };
        let device = model.add(None, Body::Device(device));
        model.objects.get_mut(&device).expect("just made").kept = true;
        model.confined = confined;
        for (slot, object) in [(ACCOUNT, root), (DEVICE, device), (IO, io), (IRQ, irq)] {
            model.give((manager_sandbox, slot), object, Rights::all(), None);
        }
        model.give((manager_sandbox, CLOCK), clock, Rights::READ | Rights::COPY, None);
        let manager = model.new_thread(root, manager_sandbox, USER_BASE, 0);
        let mut lab = Self {
            w,
            model,
            manager,
            manager_sandbox,
            names: BTreeMap::new(),
            steps: 0,
            started: BTreeMap::new(),
            last: None,
            dropped: 0,
            sequence: 0,
            over: false,
            parts: 0,
        };
        lab.give_memory(root);
        if turns {
            lab.model.turns.begin(manager, manager_sandbox, lab.w.k.machine.clock, 16);
        }
        let frame = &mut lab.w.k.threads[lab.w.manager.thread].context.frame;
        *frame = crate::context::Frame { rip: USER_BASE + 0x1000, ..Default::default() };
        lab
    }

    /// The region that the manager of a [`World`] has mapped already.
    fn give_memory(&mut self, root: Id) {
        let (slot, address) = (self.w.manager.region, self.w.manager.memory);
        let region = self.model.new_region(Some(root), address - USER_BASE, 2);
        self.model.give((self.manager_sandbox, slot), region, Rights::all(), None);
        let maker = Some(self.manager_sandbox);
        let rights = Rights::READ | Rights::WRITE;
        let sandbox = self.manager_sandbox;
        self.model.mappings.push(super::state::Mapping { region, space: sandbox, maker, rights });
    }

    /// Does a step to both. What cannot be done now (nobody is ready to call) is left out.
    pub fn step(&mut self, number: u32, op: &Op) -> Result<(), String> {
        self.steps += 1;
        self.last = None;
        let newest = self.model.next;
        self.perform(op);
        for thread in self.model.all(ObjectType::Thread).into_iter().filter(|id| *id >= newest) {
            self.started.insert(thread, number);
        }
        self.check_who_runs();
        match self.model.complaints.first() {
            Some(complaint) => Err(complaint.to_string()),
            None if self.over => Ok(()),
            None => self.compare(),
        }
    }

    fn perform(&mut self, op: &Op) {
        match op {
            Op::Call(call) => self.call(call),
            Op::Pass(nanos) if self.model.turns.on => self.pass(*nanos),
            Op::Pass(nanos) => {
                self.w.pass(*nanos);
                self.model.pass(*nanos);
            }
            Op::Interrupt(which) => self.interrupt(*which),
            Op::Fault { who, vector, error, address } => {
                if let Some(thread) = self.ready(*who).filter(|thread| *thread != self.manager) {
                    let index = self.kernel_thread(thread);
                    self.w.k.run_instead(index);
                    self.w.k.exception(*vector, *error, *address);
                    self.settle();
                    self.model.exception(thread, *vector, *error, *address);
                    self.model.decide(false);
                }
            }
        }
    }

    fn interrupt(&mut self, which: u64) {
        // Those that nobody ever showed a capability on have no name yet.
        let irqs = self
            .names
            .iter()
            .filter(|((kind, _), id)| *kind == ObjectType::Irq as u64 && self.model.lives(**id));
        let irqs: Vec<(u64, Id)> = irqs.map(|((_, at), id)| (*at, *id)).collect();
        if irqs.is_empty() {
            return;
        }
        let (at, irq) = irqs[which as usize % irqs.len()];
        let vector = self.w.k.irqs[at as u32].vector;
        self.w.k.idle_ended();
        self.w.k.interrupt(vector);
        self.settle();
        self.model.interrupt(irq);
        self.model.decide(false);
    }

    /// Time passes; whenever the kernel lets the timer fire, the model looks whether that was in time, and does what is due.
    fn pass(&mut self, nanos: u64) {
        let until = self.w.k.machine.clock + nanos;
        while self.w.k.machine.timer <= until && self.model.complaints.is_empty() && !self.over {
            let now = self.w.k.machine.clock.max(self.w.k.machine.timer);
            (self.w.k.machine.clock, self.w.k.machine.timer, self.model.now) = (now, u64::MAX, now);
            self.model.check_timer();
            self.w.k.idle_ended();
            self.w.k.timer();
            self.settle();
            self.over |= !self.model.timer();
            self.model.decide(false);
            self.check_who_runs();
        }
        (self.w.k.machine.clock, self.model.now) = (until, until);
        self.model.check_timer();
    }

    /// Whether the thread runs that should.
    pub fn check_who_runs(&mut self) {
        let due = self.model.turns.running.map(|thread| self.kernel_thread(thread));
        let got = self.w.k.sched.current();
        if self.model.turns.on && got != due && !self.over {
            let what =
                |thread: Option<u32>| thread.map(|t| self.w.k.sandboxes[self.w.k.threads[t].sandbox].serial);
            let text = format!(
                "who runs: the kernel has thread {got:?} of sandbox {:?}, the model {due:?} of {:?}",
                what(got),
                what(due)
            );
            self.model.complaints.push(text);
        }
    }

    /// The thread that `who` means, if it can call now.
    pub fn ready(&self, who: u32) -> Option<Id> {
        if self.model.turns.on {
            let name = |id: &Id| if *id == self.manager { MANAGER } else { self.started[id] };
            return self.model.turns.running.filter(|id| name(id) == who);
        }
        if who == MANAGER {
            return Some(self.manager);
        }
        self.callers().find(|id| self.started.get(id) == Some(&who))
    }

    /// Threads of children that are ready.
    pub fn callers(&self) -> impl Iterator<Item = Id> {
        let ready = self.model.threads().filter(|(_, thread)| thread.doing == Doing::Ready);
        ready.map(|(id, _)| id).filter(|id| *id != self.manager)
    }

    /// Does a call on both sides.
    fn call(&mut self, call: &Call) {
        let Some(thread) = self.ready(call.who) else { return };
        let sandbox = self.model.thread(thread).sandbox;
        let writable = self.model.reach(sandbox).into_iter().find(|(_, (write, _))| *write);
        for (offset, bytes) in &call.writes {
            // Ring 3 writes its own memory: what is not there it cannot write.
            let at = USER_BASE + writable.map_or(0, |(page, _)| page) + offset;
            if let Ok(physical) = self.model.range(sandbox, at, bytes.len() as u64, true) {
                self.w.k.machine.bytes_mut(physical, bytes.len() as u64).copy_from_slice(bytes);
                self.model.write_bytes(physical, bytes);
            }
        }
        let memory = USER_BASE + writable.map_or(0, |(page, _)| page);
        let [rdi, rsi, rdx, r10, r8, r9, r12, r13] = call.words.map(|word| match word {
            Word::Is(value) => value,
            Word::At(offset) => memory + offset,
        });
        let registers = Registers { rax: call.number, rdi, rsi, rdx, r10, r8, r9, r12, r13 };
        let fast = self.w.k.counters.fast_calls;
        let made = self.kernel_call(thread, registers);
        if self.over {
            // It is in the middle of a long call, and its registers are still those that it came with.
            return;
        }
        self.model.syscall(thread, registers, made);
        self.model.decide(self.w.k.counters.fast_calls != fast);
        let ready = self.model.lives(thread) && self.model.thread(thread).doing == Doing::Ready;
        let accepted = !ready || Error::from_status(self.model.thread(thread).registers.rax).is_ok();
        self.last = Some((call.number, accepted));
    }

    /// The kernel's half of a call; `rdi` after a call that makes something.
    fn kernel_call(&mut self, thread: Id, registers: Registers) -> u64 {
        let index = self.kernel_thread(thread);
        self.w.k.run_instead(index);
        let frame = &mut self.w.k.threads[index].context.frame;
        let Registers { rax, rdi, rsi, rdx, r10, r8, r9, r12, r13 } = registers;
        (frame.rax, frame.rdi, frame.rsi, frame.rdx) = (rax, rdi, rsi, rdx);
        (frame.r10, frame.r8, frame.r9, frame.r12, frame.r13) = (r10, r8, r9, r12, r13);
        self.enter(index, rax);
        let creates = rax == Syscall::Create as u64;
        if creates { self.w.k.threads[index].context.frame.rdi } else { 0 }
    }

    /// Enters the kernel, as often as a long call makes the thread do. What ended with its last capability is taken apart before anybody looks.
    fn enter(&mut self, index: u32, number: u64) {
        let (identity, rip) = (self.w.k.threads.id(index), self.w.k.threads[index].context.frame.rip);
        let mut more = self.w.enter_first(number);
        while self.w.k.threads.id(index) == identity {
            let away = self.w.k.threads[index].context.frame.rip != rip;
            self.w.k.threads[index].context.frame.rip = rip;
            if !more && !away {
                break;
            }
            if self.model.turns.on && away {
                self.over = true;
                break;
            }
            self.parts += 1;
            if !self.model.turns.on {
                self.come_between(index);
                self.w.k.run_instead(index);
            }
            more = self.w.enter_once();
        }
        self.settle();
    }

    /// Between two parts of a long call: the timer, and somebody else who is ready. Neither changes what the call does.
    fn come_between(&mut self, index: u32) {
        // A deadline that has passed would end somebody's call in the middle of this one.
        if self.model.waiting().all(|(at, _)| at > self.model.now) {
            self.w.k.timer();
            self.w.k.choose_next();
        }
        let others = (0..self.w.k.threads.touched()).filter(|at| *at != index);
        let ready = |at: &u32| self.w.k.threads.at(*at).is_some_and(|thread| thread.state == State::Ready);
        // A fuse would count the call.
        if let Some(other) = others.into_iter().find(ready).filter(|_| self.w.k.fuses == 0) {
            self.w.k.run_instead(other);
            let frame = self.w.k.threads[other].context.frame;
            self.w.k.syscall(Some(Syscall::Null), [0; 5]);
            self.w.k.choose_next();
            self.w.k.threads[other].context.frame = frame;
        }
    }

    fn settle(&mut self) {
        while self.w.k.dismantle_some() {}
        self.w.k.choose_next();
    }

    /// The kernel's index of a sandbox.
    pub fn kernel_sandbox(&self, sandbox: Id) -> Option<u32> {
        let serial = self.model.sandbox(sandbox).serial;
        (0..self.w.k.sandboxes.touched())
            .find(|index| self.w.k.sandboxes.at(*index).is_some_and(|s| s.serial == serial))
    }

    /// The kernel's index of a thread: both list a sandbox's threads in the order in which they were started.
    fn kernel_thread(&self, thread: Id) -> u32 {
        let sandbox = self.model.thread(thread).sandbox;
        let place = self.model.sandbox(sandbox).threads.iter().position(|t| *t == thread).expect("a member");
        let index = self.kernel_sandbox(sandbox).expect("compared before");
        self.kernel_threads(index)[place]
    }

    /// The kernel's threads of a sandbox.
    pub fn kernel_threads(&self, sandbox: u32) -> Vec<u32> {
        let list = self.w.k.sandboxes[sandbox].threads;
        let mut threads = Vec::new();
        let mut at = list.first();
        while let Some(thread) = at {
            threads.push(thread);
            at = list.after(&self.w.k.threads, thread);
        }
        threads
    }
}

/// Text as words.
pub fn words_of(name: [u8; 32]) -> Name {
    core::array::from_fn(|n| u64::from_le_bytes(name[n * 8..n * 8 + 8].try_into().expect("8 bytes")))
}
