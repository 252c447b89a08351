//! One system call as a whole: registers in, registers out (`libs/abi/src/syscall.rs`), and transactions (`docs/book/ports.md`).

use super::state::{Doing, Id, Model, Place, Registers};
use hic_abi::audit::Event;
use hic_abi::message::Fault;
use hic_abi::switch::{EntryKind, MAX_ENTRIES};
use hic_abi::syscall::Syscall;
use hic_abi::{Error, ObjectType, Rights};
use std::vec::Vec;

/// What the test machine's generator of random numbers makes.
const RANDOM_BYTE: u8 = 0xa5;

/// An entry of a transaction that was found good.
#[derive(Clone, Copy)]
enum Step {
    Move(Place, Place),
    Switch(Id, Id),
    Rebind(Id, Id, u64),
    Signal(Id, u64),
}

impl Model {
    /// The thread makes the call that is in these registers. `made` is what the kernel returned in `rdi`, for what it may choose.
    pub fn syscall(&mut self, thread: Id, registers: Registers, made: u64) {
        self.thread_mut(thread).registers = registers;
        let caller = self.thread(thread).sandbox;
        self.acting = self.sandbox(caller).serial;
        match self.sandbox(caller).fuse {
            (0, _) => {}
            (1, reason) => return self.freeze(caller, [Fault::Frozen as u64, reason, 0, 0]),
            _ => self.sandbox_mut(caller).fuse.0 -= 1,
        }
        let result = match Syscall::from_number(registers.rax) {
            Some(call) => self.dispatch(thread, caller, call, registers, made),
            None => Err(Error::UnknownCall),
        };
        if self.lives(thread) && self.thread(thread).doing == Doing::Ready {
            self.thread_mut(thread).registers.rax = result.unwrap_or_else(Error::code);
        }
        self.take_apart();
    }

    fn dispatch(&mut self, t: Id, caller: Id, call: Syscall, r: Registers, made: u64) -> Result<u64, Error> {
        let args = [r.rdi, r.rsi, r.rdx, r.r10, r.r8];
        let [a, b, c, d, _] = args;
        match call {
            Syscall::Null => Ok(0),
            Syscall::Yield => {
                self.turns.end_turn();
                Ok(0)
            }
            Syscall::Call => self.do_call(t, caller, a),
            Syscall::Receive => self.do_receive(t, caller, a),
            Syscall::Reply => self.do_reply(t),
            Syscall::ReplyReceive => self.do_reply_receive(t, caller, a),
            Syscall::Signal => self.do_signal(caller, a, b),
            Syscall::Wait => self.do_wait(t, caller, a, b),
            Syscall::Now => {
                self.thread_mut(t).registers.rdi = self.now;
                Ok(0)
            }
            Syscall::CapCopy => self.do_copy(caller, args),
            Syscall::CapMove => self.do_move(caller, args),
            Syscall::CapDelete => self.do_delete(caller, a, b),
            Syscall::CapRevoke => self.do_revoke(caller, a, b),
            Syscall::CapInfo => self.do_info(t, caller, a, b),
            Syscall::Create => self.do_create(t, caller, args, made),
            Syscall::Destroy => self.do_destroy(caller, a, b),
            Syscall::RegionMap | Syscall::MmioMap => self.do_map(t, caller, args),
            Syscall::RegionUnmap => self.do_unmap(caller, a, b),
            Syscall::RegionSeal => self.do_seal(caller, a, b),
            Syscall::RegionInfo => self.do_region_info(t, caller, a),
            Syscall::ClockMap => self.do_clock(t, caller, a, b),
            Syscall::PortSwitch => self.do_switch(caller, a, b),
            Syscall::Transaction => self.do_transaction(t, caller, a, b),
            Syscall::ThreadStart => self.do_thread(caller, args),
            Syscall::SandboxFaultPort => self.do_fault_port(caller, a, b),
            Syscall::SandboxFreeze => self.do_freeze(caller, a, b),
            Syscall::SandboxReset => self.do_reset(caller, a),
            Syscall::SandboxFuse => self.do_fuse(caller, a, b, c),
            Syscall::SandboxShare => self.do_share(caller, args),
            Syscall::Exit => {
                self.freeze(caller, [Fault::Exit as u64, a, 0, 0]);
                Ok(0)
            }
            Syscall::BindNotification => self.do_bind(t, caller, a),
            Syscall::PortWatch => self.do_watch(caller, a, b, c),
            Syscall::EndpointNotify => self.do_endpoint_notify(caller, a, b),
            Syscall::IrqBind => self.do_irq_bind(caller, a, b, c),
            Syscall::IrqAck => self.do_irq_ack(t, caller, a),
            Syscall::DeviceInfo => self.do_device_info(caller, a, b),
            Syscall::DeviceMaster => self.do_master(caller, a, b),
            Syscall::DeviceVector => self.do_vector(caller, args),
            Syscall::DeviceBar => self.do_bar(caller, args),
            Syscall::IoRead => self.do_port(t, caller, [a, b, c], None),
            Syscall::IoWrite => self.do_port(t, caller, [a, b, c], Some(d)),
            Syscall::AuditNote => self.do_note(caller, [a, b, c, d]),
            Syscall::Power => self.do_power(caller, a, b),
            Syscall::Entropy => self.do_entropy(caller, a, b, c),
            other => panic!("the model has no {other:?}"),
        }
    }

    /// A fault of the processor in a thread.
    pub fn exception(&mut self, thread: Id, vector: u8, error: u64, address: u64) {
        let (sandbox, entry) = (self.thread(thread).sandbox, self.thread(thread).entry);
        self.acting = self.sandbox(sandbox).serial;
        let detail = u64::from(vector) | error << 8;
        self.freeze(sandbox, [Fault::Exception as u64, detail, address, entry]);
    }

    fn do_note(&mut self, caller: Id, [audit, a, b, text]: [u64; 4]) -> Result<u64, Error> {
        self.object(caller, audit, ObjectType::Audit, Rights::WRITE)?;
        let text = self.read_words(caller, text)?;
        self.record(Event::Note, 0, a, b, text);
        Ok(0)
    }

    /// The machine of the test only writes down how it was ended.
    fn do_power(&mut self, caller: Id, power: u64, action: u64) -> Result<u64, Error> {
        self.object(caller, power, ObjectType::Power, Rights::MANAGE)?;
        if action > 2 {
            return Err(Error::InvalidArgument);
        }
        self.record(Event::Power, 0, action, 0, [0; 4]);
        self.power = Some(action);
        Ok(0)
    }

    /// The generator of the test machine gives the same byte for ever.
    fn do_entropy(&mut self, caller: Id, entropy: u64, address: u64, bytes: u64) -> Result<u64, Error> {
        self.object(caller, entropy, ObjectType::Entropy, Rights::READ)?;
        if bytes > 256 {
            return Err(Error::InvalidArgument);
        }
        let physical = self.range(caller, address, bytes, true)?;
        self.write_bytes(physical, &[RANDOM_BYTE; 256][..bytes as usize]);
        Ok(0)
    }

    fn do_switch(&mut self, caller: Id, port: u64, endpoint: u64) -> Result<u64, Error> {
        let port = self.object(caller, port, ObjectType::Port, Rights::MANAGE)?;
        let endpoint = self.object(caller, endpoint, ObjectType::Endpoint, Rights::MANAGE)?;
        self.switch(port, endpoint);
        self.record(Event::PortSwitched, 0, port, endpoint, [0; 4]);
        self.serve(endpoint);
        Ok(0)
    }

    /// The port leaves one endpoint with its queue and goes behind those that wait at the other.
    fn switch(&mut self, port: Id, endpoint: Id) {
        let old = self.port(port).endpoint;
        if self.lives(old) {
            self.endpoint_mut(old).turn.retain(|other| *other != port);
        }
        let p = self.port_mut(port);
        p.endpoint = endpoint;
        p.switches += 1;
        if !p.queue.is_empty() {
            self.endpoint_mut(endpoint).turn.push_back(port);
        }
    }

    fn do_transaction(&mut self, thread: Id, caller: Id, address: u64, count: u64) -> Result<u64, Error> {
        if count == 0 || count > MAX_ENTRIES as u64 {
            return Err(Error::InvalidArgument);
        }
        let mut steps = Vec::new();
        for index in 0..count {
            match self.check_entry(caller, address, index, &steps) {
                Ok(step) => steps.push(step),
                Err(error) => {
                    self.thread_mut(thread).registers.rdi = index;
                    return Err(error);
                }
            }
        }
        for step in &steps {
            match *step {
                Step::Move(from, to) => self.move_cap(from, to),
                Step::Switch(port, endpoint) => self.switch(port, endpoint),
                Step::Rebind(irq, notification, bits) => self.bind_irq(irq, notification, bits),
                Step::Signal(..) => {}
            }
        }
        for step in &steps {
            match *step {
                Step::Switch(_, endpoint) => self.serve(endpoint),
                Step::Signal(notification, bits) => self.signal(notification, bits),
                _ => {}
            }
        }
        self.record(Event::Transaction, 0, count, 0, [0; 4]);
        Ok(0)
    }

    fn check_entry(&self, caller: Id, address: u64, index: u64, before: &[Step]) -> Result<Step, Error> {
        let at = address.checked_add(index * 40).ok_or(Error::BadAddress)?;
        let [kind, a, b, c, d]: [u64; 5] = self.read_words(caller, at)?;
        let own = |handle, kind, rights| self.object(caller, handle, kind, rights);
        match EntryKind::from_number(kind).ok_or(Error::InvalidArgument)? {
            EntryKind::MoveCapability => {
                let (source, target) = (self.space(caller, a)?, self.space(caller, c)?);
                let (from, _) = self.cap(source, b)?;
                let to = self.vacant(target, d)?;
                let promised = |s: &Step| matches!(s, Step::Move(f, t) if *f == from || *t == to);
                if before.iter().any(promised) {
                    return Err(Error::WrongState);
                }
                Ok(Step::Move(from, to))
            }
            EntryKind::SwitchPort => {
                let space = self.space(caller, a)?;
                let port = self.object(space, b, ObjectType::Port, Rights::MANAGE)?;
                Ok(Step::Switch(port, own(c, ObjectType::Endpoint, Rights::MANAGE)?))
            }
            EntryKind::RebindIrq => {
                let irq = own(a, ObjectType::Irq, Rights::MANAGE)?;
                Ok(Step::Rebind(irq, own(b, ObjectType::Notification, Rights::SEND)?, c))
            }
            EntryKind::Signal => Ok(Step::Signal(own(a, ObjectType::Notification, Rights::SEND)?, b)),
        }
    }
}
