//! A manager that holds everything, as the keeper does after boot, and children that it makes by system calls alone.

use super::remapper::{REGISTERS, Remapper};
use super::sim::{IO_APIC_FUNCTION, MEMORY_START, SimMachine, Tables};
use crate::caps::Cap;
use crate::kernel::{Kernel, arena_need};
use crate::list::List;
use crate::objects::{Account, Backing, Header, IoRange, IrqSource, ObjectRef, Region, State};
use crate::pool::{Id, NONE};
use crate::sched::Next;
use hic_abi::message::{Kind, MAX_CAPS, MAX_INLINE, SendCap};
use hic_abi::object::{AccountSpec, SandboxSpec, ThreadSpec};
use hic_abi::syscall::Syscall;
use hic_abi::{
    Error, FOREVER, Handle, IpcBuffer, MessageInfo, ObjectType, PAGE_SIZE, Plain, Rights, SELF, USER_BASE,
    name_bytes,
};
use std::vec::Vec;

/// Frames of the simulated machine.
pub const FRAMES: u64 = 4096;
/// The manager's slots at the start.
pub const ACCOUNT: Handle = 1;
pub const AUDIT: Handle = 2;
pub const LOG: Handle = 3;
pub const ENTROPY: Handle = 4;
pub const POWER: Handle = 5;
pub const CLOCK: Handle = 6;
pub const IO: Handle = 7;
pub const IRQ: Handle = 8;
pub const DEVICE: Handle = 9;
const FIRST_FREE: Handle = 10;
/// Offset in a child's memory at which tests put arguments; the IPC buffer is at its start.
const ARGUMENTS: u64 = 2048;
/// Pages of memory that each thread of the harness has.
const MEMORY_PAGES: u64 = 2;

/// A thread and what the harness knows of it.
#[derive(Clone, Copy, Debug)]
pub struct Actor {
    /// Index of the thread.
    pub thread: u32,
    /// Index of the sandbox.
    pub sandbox: u32,
    /// The manager's capability on the sandbox.
    pub cap: Handle,
    /// The manager's capability on its memory.
    pub region: Handle,
    /// User address of its memory.
    pub memory: u64,
}

/// What a thread got from a message call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Got {
    pub badge: u64,
    pub label: u32,
    pub kind: Kind,
    pub words: [u64; 4],
    pub caller: u64,
    pub inline: usize,
}

/// A message to send.
#[derive(Clone, Copy, Debug)]
pub struct Send {
    pub label: u32,
    pub words: [u64; 4],
    pub inline: usize,
    pub caps: usize,
    pub deadline: u64,
    pub buffer: bool,
}

/// A message of one word.
pub fn word(value: u64) -> Send {
    Send { label: 7, words: [value, 2, 3, 4], inline: 0, caps: 0, deadline: FOREVER, buffer: false }
}

/// The kernel and its manager.
pub struct World {
    pub k: Kernel<SimMachine>,
    pub manager: Actor,
    /// Whether calls may take the fast path, and turns the short way to the next.
    pub fast_path: bool,
    /// Turns that began in the short way.
    pub quick_turns: u64,
    /// What ended is taken apart as a whole before another thread is chosen, not in parts.
    pub tidy: bool,
    next_slot: Handle,
    /// Goes after the kernel that lives in it.
    _tables: Tables,
}

impl World {
    /// A machine with a manager that holds one of everything.
    pub fn new() -> Self {
        Self::on(SimMachine::new(FRAMES))
    }

    /// The same, with an IOMMU.
    pub fn confined() -> Self {
        Self::with_remapper(Remapper::new(3, true))
    }

    /// The same, with this IOMMU.
    pub fn with_remapper(remapper: Remapper) -> Self {
        let mut machine = SimMachine::new(FRAMES);
        machine.behind = Some(std::vec![0xff; (FRAMES * PAGE_SIZE) as usize]);
        machine.remapper = Some(remapper);
        Self::on(machine)
    }

    fn on(machine: SimMachine) -> Self {
        let (arena, tables) = Tables::new(arena_need(FRAMES as usize));
        let usable = MEMORY_START..MEMORY_START + FRAMES * PAGE_SIZE;
        let mut k = Kernel::new(machine, arena, &[usable]);
        k.total_frames = FRAMES;
        let root = Account {
            header: Header { account: NONE, capabilities: 1 },
            name: name_bytes("root"),
            depth: 0,
            frames_used: 0,
            page_tables: 0,
            frames_limit: FRAMES - 1,
            objects_used: 0,
            objects_limit: 1_000_000,
        };
        let root = k.accounts.insert(root).expect("room").index;
        k.scan_pci();
        if k.machine.remapper.is_some() {
            k.confine_devices(root, &[REGISTERS], Some(IO_APIC_FUNCTION));
        }
        let spec = sandbox_spec("manager", 16, 4096);
        let sandbox = k.new_sandbox(root, &spec).expect("room").index;
        k.sandboxes[sandbox].header.capabilities = 1;
        let blank = Actor { thread: 0, sandbox, cap: SELF, region: 0, memory: 0 };
        let mut world = Self {
            k,
            manager: blank,
            fast_path: true,
            quick_turns: 0,
            tidy: false,
            next_slot: FIRST_FREE,
            _tables: tables,
        };
        world.grant_everything(root);
        let entry = ThreadSpec { entry: USER_BASE, stack: USER_BASE, argument: 0 };
        world.manager.thread = world.k.new_thread(root, sandbox, &entry).expect("room").index;
        world.k.choose_next();
        (world.manager.region, world.manager.memory) = world.region(MEMORY_PAGES);
        let rights = (Rights::READ | Rights::WRITE).bits();
        let map = [SELF.into(), world.manager.region.into(), rights.into(), 0, 0];
        world.ok(world.manager, Syscall::RegionMap, map);
        world
    }

    fn grant_everything(&mut self, root: u32) {
        let fixed = Id { index: 0, generation: 1 };
        let clock = self.k.frames.allocate(1).expect("room");
        self.k.kernel_frames += 1;
        let clock = Region {
            header: Header { account: root, capabilities: 1 },
            base: clock,
            pages: 1,
            seal: None,
            backing: Backing::Boot,
            leaving: false,
            mappings: List::new(),
        };
        let clock = self.k.regions.insert(clock).expect("room");
        let header = self.k.charge_object(root).expect("room");
        let io = self.k.io_ranges.insert(IoRange { header, base: 0, count: 0x1_0000 }).expect("room");
        let header = self.k.charge_object(root).expect("room");
        let irq = self.k.new_irq(header, IrqSource::Isa(4)).expect("room");
        let own = |kind, id| ObjectRef { kind, id };
        let account = own(ObjectType::Account, self.k.accounts.id(root).expect("live"));
        let device = own(ObjectType::Device, self.k.devices.id(0).expect("the simulated device"));
        let all = [
            (ACCOUNT, account),
            (AUDIT, own(ObjectType::Audit, fixed)),
            (LOG, own(ObjectType::Log, fixed)),
            (ENTROPY, own(ObjectType::Entropy, fixed)),
            (POWER, own(ObjectType::Power, fixed)),
            (CLOCK, own(ObjectType::Clock, clock)),
            (IO, own(ObjectType::IoPorts, io)),
            (IRQ, irq),
            (DEVICE, device),
        ];
        for (slot, object) in all {
            let sandbox = self.manager.sandbox;
            let rights = if slot == CLOCK { Rights::READ | Rights::COPY } else { Rights::all() };
            let place = self.k.empty_slot(sandbox, slot).expect("empty");
            self.k.grant(sandbox, place, object, rights);
        }
    }

    /// The manager copies a capability within its own space.
    pub fn keep(&mut self, slot: Handle, to_slot: Handle, rights: Rights) {
        let args = [SELF.into(), to_slot.into(), SELF.into(), slot.into(), rights.bits().into()];
        self.ok(self.manager, Syscall::CapCopy, args);
    }

    /// Wakes the manager out of whatever notification it waits on.
    pub fn manager_woken(&mut self) -> Actor {
        if let State::Waiting { notification } = self.k.threads[self.manager.thread].state {
            self.k.signal(notification, 1);
            self.k.choose_next();
        }
        self.manager
    }

    /// A slot of the manager that was never used.
    pub fn slot(&mut self) -> Handle {
        self.next_slot += 1;
        self.next_slot - 1
    }

    /// Lets a ready thread make a system call; `None` = it blocked (or is gone).
    pub fn sys(&mut self, who: Actor, call: Syscall, args: [u64; 5]) -> Option<Result<(u64, u64), Error>> {
        self.raw(who, call as u64, args)
    }

    /// The same with any number.
    pub fn raw(&mut self, who: Actor, number: u64, args: [u64; 5]) -> Option<Result<(u64, u64), Error>> {
        self.k.run_instead(who.thread);
        let frame = &mut self.k.threads[who.thread].context.frame;
        frame.rax = number;
        [frame.rdi, frame.rsi, frame.rdx, frame.r10, frame.r8] = args;
        let identity = self.k.threads.id(who.thread);
        self.enter(number);
        if self.k.threads.id(who.thread) != identity {
            return None;
        }
        self.result(who)
    }

    /// The running thread enters the kernel, as the entry code lets it: by the fast path where there is one.
    pub fn enter(&mut self, number: u64) {
        if self.enter_first(number) {
            while self.enter_once() {}
        }
    }

    /// The first entry of a call; whether the running thread is to make the same call again.
    pub fn enter_first(&mut self, number: u64) -> bool {
        // A test may have woken the thread while the processor was idle, without an interrupt that would have ended that.
        self.k.idle_ended();
        let handed = match Syscall::from_number(number) {
            Some(Syscall::Call) if self.fast_path => self.k.fast_call().or_else(|| self.k.first_call()),
            Some(Syscall::ReplyReceive) if self.fast_path => {
                self.k.fast_reply_receive().or_else(|| self.k.first_reply_receive())
            }
            _ => None,
        };
        handed.is_none() && self.enter_once()
    }

    /// One entry by the general path; whether the running thread is to make the same call again, as it does when the call is long.
    pub fn enter_once(&mut self) -> bool {
        let thread = self.k.sched.running();
        let frame = self.k.threads[thread].context.frame;
        let rip = frame.rip;
        let args = [frame.rdi, frame.rsi, frame.rdx, frame.r10, frame.r8];
        if let Some(status) = self.k.syscall(Syscall::from_number(frame.rax), args) {
            self.k.threads[thread].context.frame.rax = status;
        } else {
            while self.tidy && self.k.dismantle_some() {}
            let quick = match Syscall::from_number(frame.rax) {
                _ if !self.fast_path => None,
                Some(Syscall::Yield) => self.k.next_turn(),
                _ => self.k.next_in_line(),
            };
            self.quick_turns += u64::from(quick.is_some());
            match quick {
                Some((_, true)) => drop(self.k.arm_for_next()),
                Some((_, false)) => {}
                None => drop(self.k.choose_next()),
            }
        }
        let again = self.k.sched.current() == Some(thread) && self.k.threads[thread].context.frame.rip != rip;
        if again {
            self.k.threads[thread].context.frame.rip = rip;
        }
        again
    }

    /// What the last call of a thread returned; `None` while it blocks.
    pub fn result(&self, who: Actor) -> Option<Result<(u64, u64), Error>> {
        let thread = &self.k.threads[who.thread];
        let frame = &thread.context.frame;
        (thread.state == State::Ready).then(|| Error::from_status(frame.rax).map(|_| (frame.rdi, frame.rsi)))
    }

    /// A system call that must succeed; its first value.
    pub fn ok(&mut self, who: Actor, call: Syscall, args: [u64; 5]) -> u64 {
        match self.sys(who, call, args) {
            Some(Ok((first, _))) => first,
            other => panic!("{call:?} {args:x?}: {other:?}"),
        }
    }

    /// A system call that must be refused; why.
    pub fn refused(&mut self, who: Actor, call: Syscall, args: [u64; 5]) -> Error {
        match self.sys(who, call, args) {
            Some(Err(error)) => error,
            other => panic!("{call:?} {args:x?}: {other:?}"),
        }
    }

    /// The manager makes an object; its slot and what identifies it.
    pub fn create(&mut self, kind: ObjectType, a: u64, b: u64) -> (Handle, u64) {
        self.create_on(ACCOUNT, kind, a, b)
    }

    /// The same, charged to this account.
    pub fn create_on(&mut self, account: Handle, kind: ObjectType, a: u64, b: u64) -> (Handle, u64) {
        let slot = self.slot();
        let args = [account.into(), kind as u64, slot.into(), a, b];
        (slot, self.ok(self.manager, Syscall::Create, args))
    }

    pub fn endpoint(&mut self) -> Handle {
        self.create(ObjectType::Endpoint, 0, 0).0
    }

    pub fn port(&mut self, endpoint: Handle, badge: u64) -> Handle {
        self.create(ObjectType::Port, endpoint.into(), badge).0
    }

    pub fn notification(&mut self) -> Handle {
        self.create(ObjectType::Notification, 0, 0).0
    }

    /// A region; its slot and user address.
    pub fn region(&mut self, pages: u64) -> (Handle, u64) {
        self.create(ObjectType::Region, pages * PAGE_SIZE, 0)
    }

    /// An account with these limits.
    pub fn account(&mut self, parent: Handle, frames: u64, objects: u64) -> Handle {
        let spec = AccountSpec { frames, objects, name: name_bytes("child") };
        let address = self.put(self.manager, spec.as_bytes());
        self.create_on(parent, ObjectType::Account, address, 0).0
    }

    /// A child at the manager's priority.
    pub fn child(&mut self) -> Actor {
        self.child_with(ACCOUNT, &sandbox_spec("child", 16, 64))
    }

    /// A child made from this specification, with one thread and memory, all paid by `account`.
    pub fn child_with(&mut self, account: Handle, spec: &SandboxSpec) -> Actor {
        let cap = self.sandbox(account, spec);
        let place = self.k.slot(self.manager.sandbox, cap).expect("filled");
        let sandbox = self.k.caps.get(place).expect("filled").object.id.index;
        let mut actor = Actor { thread: 0, sandbox, cap, region: 0, memory: 0 };
        (actor.region, actor.memory) =
            self.create_on(account, ObjectType::Region, MEMORY_PAGES * PAGE_SIZE, 0);
        self.start(account, &mut actor);
        actor
    }

    /// A sandbox without threads; its slot.
    pub fn sandbox(&mut self, account: Handle, spec: &SandboxSpec) -> Handle {
        let address = self.put(self.manager, spec.as_bytes());
        self.create_on(account, ObjectType::Sandbox, address, 0).0
    }

    /// Maps a child's memory and starts a thread in it.
    pub fn start(&mut self, account: Handle, actor: &mut Actor) {
        let rights = (Rights::READ | Rights::WRITE).bits();
        let map = [actor.cap.into(), actor.region.into(), rights.into(), 0, 0];
        self.ok(self.manager, Syscall::RegionMap, map);
        actor.thread = self.thread(account, *actor);
    }

    /// Starts a thread in a child; its index.
    pub fn thread(&mut self, account: Handle, actor: Actor) -> u32 {
        let spec = ThreadSpec { entry: USER_BASE, stack: USER_BASE, argument: 0 };
        let address = self.put(self.manager, spec.as_bytes());
        let args = [account.into(), actor.cap.into(), 0, address, 0];
        self.ok(self.manager, Syscall::ThreadStart, args);
        let list = self.k.sandboxes[actor.sandbox].threads;
        let mut last = list.first().expect("just started");
        while let Some(next) = list.after(&self.k.threads, last) {
            last = next;
        }
        last
    }

    /// More threads of a child.
    pub fn threads(&mut self, actor: Actor, count: usize) -> Vec<Actor> {
        (0..count).map(|_| Actor { thread: self.thread(ACCOUNT, actor), ..actor }).collect()
    }

    /// The manager copies a capability to a child's slot.
    pub fn give(&mut self, slot: Handle, to: Actor, to_slot: Handle, rights: Rights) {
        let args = [to.cap.into(), to_slot.into(), SELF.into(), slot.into(), rights.bits().into()];
        self.ok(self.manager, Syscall::CapCopy, args);
    }

    /// The rights of the capability in a slot of a thread's own space.
    pub fn rights(&mut self, who: Actor, slot: Handle) -> Result<Rights, Error> {
        let answer = self.sys(who, Syscall::CapInfo, [0, slot.into(), 0, 0, 0]).expect("does not block");
        answer.map(|(_, rights)| Rights::from_bits_truncate(rights as u32))
    }

    /// Writes arguments where a thread may point at them; their address.
    pub fn put(&mut self, who: Actor, bytes: &[u8]) -> u64 {
        let at = who.memory + ARGUMENTS;
        self.k.machine.bytes_mut(at - USER_BASE, bytes.len() as u64).copy_from_slice(bytes);
        at
    }

    /// Reads a value from a thread's argument memory.
    pub fn get<T: Plain>(&self, who: Actor) -> T {
        let mut value = T::zeroed();
        let from = who.memory + ARGUMENTS - USER_BASE;
        value.as_bytes_mut().copy_from_slice(self.k.machine.bytes(from, size_of::<T>() as u64));
        value
    }

    /// Address of a thread's argument memory.
    pub fn arguments(&self, who: Actor) -> u64 {
        who.memory + ARGUMENTS
    }

    /// A thread's IPC buffer.
    pub fn buffer(&self, who: Actor) -> IpcBuffer {
        let mut buffer = IpcBuffer::zeroed();
        let size = size_of::<IpcBuffer>() as u64;
        buffer.as_bytes_mut().copy_from_slice(self.k.machine.bytes(who.memory - USER_BASE, size));
        buffer
    }

    /// Fills a thread's IPC buffer.
    pub fn set_buffer(&mut self, who: Actor, sends: &[SendCap], receives: &[Handle], data: &[u8]) {
        assert!(sends.len() <= MAX_CAPS && receives.len() <= MAX_CAPS && data.len() <= MAX_INLINE);
        let mut buffer = IpcBuffer::zeroed();
        buffer.send_caps[..sends.len()].copy_from_slice(sends);
        buffer.receive_slots[..receives.len()].copy_from_slice(receives);
        buffer.data[..data.len()].copy_from_slice(data);
        let size = size_of::<IpcBuffer>() as u64;
        self.k.machine.bytes_mut(who.memory - USER_BASE, size).copy_from_slice(buffer.as_bytes());
    }

    pub fn message(
        &mut self,
        who: Actor,
        call: Syscall,
        handle: Handle,
        send: Send,
    ) -> Option<Result<Got, Error>> {
        let info = MessageInfo::new(send.label).with_inline(send.inline).with_caps(send.caps);
        self.k.run_instead(who.thread);
        let frame = &mut self.k.threads[who.thread].context.frame;
        (frame.r9, frame.r12) = (send.words[3], send.deadline);
        frame.r13 = if send.buffer { who.memory } else { 0 };
        let [a, b, c, _] = send.words;
        let _ = self.raw(who, call as u64, [handle.into(), info.0, a, b, c])?;
        self.got(who)
    }

    /// What a message call brought a thread; `None` while it blocks.
    pub fn got(&self, who: Actor) -> Option<Result<Got, Error>> {
        let status = self.result(who)?;
        let frame = &self.k.threads[who.thread].context.frame;
        let info = MessageInfo(frame.rsi);
        Some(status.map(|_| Got {
            badge: frame.rdi,
            label: info.label(),
            kind: info.kind(),
            words: [frame.rdx, frame.r10, frame.r8, frame.r9],
            caller: frame.r12,
            inline: info.inline_len(),
        }))
    }

    pub fn call(&mut self, who: Actor, port: Handle, send: Send) -> Option<Result<Got, Error>> {
        self.message(who, Syscall::Call, port, send)
    }

    pub fn receive(&mut self, who: Actor, endpoint: Handle) -> Option<Result<Got, Error>> {
        self.receive_until(who, endpoint, FOREVER)
    }

    pub fn receive_until(
        &mut self,
        who: Actor,
        endpoint: Handle,
        deadline: u64,
    ) -> Option<Result<Got, Error>> {
        self.message(who, Syscall::Receive, endpoint, Send { deadline, ..word(0) })
    }

    /// Receives with the thread's buffer.
    pub fn receive_buffered(&mut self, who: Actor, endpoint: Handle) -> Option<Result<Got, Error>> {
        self.message(who, Syscall::Receive, endpoint, Send { buffer: true, ..word(0) })
    }

    pub fn reply(&mut self, who: Actor, send: Send) -> Result<(), Error> {
        self.message(who, Syscall::Reply, 0, send).expect("a reply does not block").map(|_| ())
    }

    pub fn reply_receive(&mut self, who: Actor, endpoint: Handle, send: Send) -> Option<Result<Got, Error>> {
        self.message(who, Syscall::ReplyReceive, endpoint, send)
    }

    /// The clock moves; the timer fires as often as it is due.
    pub fn pass(&mut self, nanos: u64) {
        let until = self.k.machine.clock + nanos;
        while self.k.machine.timer <= until {
            self.k.machine.clock = self.k.machine.clock.max(self.k.machine.timer);
            self.k.machine.timer = u64::MAX;
            self.k.idle_ended();
            self.k.timer();
            self.k.choose_next();
        }
        self.k.machine.clock = until;
    }

    /// The running thread, if the processor is not idle.
    pub fn running(&mut self) -> Option<u32> {
        match self.k.choose_next() {
            Next::Run(_) => self.k.sched.current(),
            Next::Idle => None,
        }
    }

    /// Frames used by the account in a slot of the manager.
    pub fn usage(&self, account: Handle) -> (u64, u64) {
        let place = self.k.slot(self.manager.sandbox, account).expect("in the space");
        let index = self.k.caps.get(place).expect("filled").object.id.index;
        let account = &self.k.accounts[index];
        (account.frames_used, account.objects_used)
    }
}

/// A sandbox without a budget.
pub fn sandbox_spec(name: &str, priority: u64, slots: u64) -> SandboxSpec {
    SandboxSpec {
        slots,
        priority,
        budget: 0,
        period: 0,
        hard_limit: 0,
        name: name_bytes(name),
        purpose: name_bytes("test"),
    }
}

/// Two sandboxes, an endpoint and a port between them.
pub struct Pair {
    pub server: Actor,
    pub client: Actor,
    /// The manager's own capabilities.
    pub endpoint: Handle,
    pub port: Handle,
}

/// Slot of the endpoint in a server of [`pair`].
pub const SERVE: Handle = 5;
/// Slot of the port in a client of [`pair`].
pub const CALL: Handle = 6;
/// The badge of that port.
pub const BADGE: u64 = 0xbad6e;

/// A server and a client that may call it.
pub fn pair(w: &mut World) -> Pair {
    let (server, client) = (w.child(), w.child());
    let endpoint = w.endpoint();
    let port = w.port(endpoint, BADGE);
    w.give(endpoint, server, SERVE, Rights::RECEIVE);
    w.give(port, client, CALL, Rights::SEND);
    Pair { server, client, endpoint, port }
}

impl Kernel<SimMachine> {
    /// Place in the slot table of a slot of a sandbox's space.
    pub fn slot(&self, sandbox: u32, slot: Handle) -> Result<u32, Error> {
        self.place_in(self.link_to(sandbox)?, slot)
    }

    /// The capability in a slot of a sandbox's space, if its object still lives.
    pub fn cap(&self, sandbox: u32, slot: Handle) -> Result<Cap, Error> {
        self.filled_place(self.link_to(sandbox)?, slot).map(|(_, cap)| *cap)
    }
}
