//! System calls: from registers to operations and back. Arguments are looked at here and in the operation named, nowhere else.

use crate::kernel::Kernel;
use crate::machine::{Machine, PowerAction};
use crate::objects::{ObjectRef, Space};
use crate::sched::Resched;
use hic_abi::audit::Event;
use hic_abi::message::Fault;
use hic_abi::object::SealSpec;
use hic_abi::syscall::Syscall;
use hic_abi::{Error, Handle, ObjectType, Plain, Rights};

/// Random bytes in one call, at most.
const MAX_ENTROPY: usize = 256;
/// Log text in one call, at most.
const MAX_LOG_READ: usize = 1024;
/// Length of the `syscall` instruction (Intel SDM vol. 2B).
const SYSCALL_BYTES: u64 = 2;
/// Audit records in one drain, at most: each costs a hash.
const MAX_DRAIN: u64 = 16;

impl<M: Machine> Kernel<M> {
    /// The running thread made this system call (`None`: a number of no call) with these arguments; the rest of its registers are in its
    /// context.
    ///
    /// The status, when the thread goes on and nothing else is due. Otherwise its context has it, and [`Kernel::choose_next`] says who goes
    /// on.
    #[inline(always)]
    pub fn syscall(&mut self, call: Option<Syscall>, args: [u64; 5]) -> Option<u64> {
        self.counters.system_calls += 1;
        if self.fuses != 0 && self.burn_fuse() {
            return None;
        }
        let thread = self.sched.current;
        let result = match call {
            Some(call) => self.dispatch(call, args),
            None => Err(Error::UnknownCall),
        };
        let status = result.unwrap_or_else(Error::code);
        if let Some(Syscall::Null | Syscall::Now | Syscall::CapCopy | Syscall::CapMove | Syscall::CapInfo) =
            call
        {
            debug_assert!(
                self.sched.current == thread && self.sched.is_settled(),
                "they stop and wake nobody"
            );
            return Some(status);
        }
        if self.sched.current != thread {
            return None;
        }
        if self.sched.is_settled() {
            return Some(status);
        }
        if let Some(thread) = thread.and_then(|thread| self.threads.follow_mut(thread)) {
            thread.context.frame.rax = status;
        }
        None
    }

    #[inline(always)]
    fn dispatch(&mut self, call: Syscall, args: [u64; 5]) -> Result<u64, Error> {
        let [a, b, c, d, _] = args;
        let (h, h2, h3, h4) = (a as Handle, b as Handle, c as Handle, d as Handle);
        match call {
            Syscall::Null => Ok(0),
            Syscall::Call => self.sys_call(h),
            Syscall::Receive => self.sys_receive(h),
            Syscall::Reply => self.sys_reply(),
            Syscall::ReplyReceive => self.sys_reply_receive(h),
            Syscall::Signal => self.sys_signal(h, b),
            Syscall::Wait => self.sys_wait(h, b),
            Syscall::Yield => {
                self.sched.resched = Resched::TurnOver;
                Ok(0)
            }
            Syscall::Now => self.answer(self.machine.now()),
            Syscall::CapCopy => self.sys_cap_copy(args),
            Syscall::CapMove => self.sys_cap_move(h, h2, h3, h4),
            Syscall::CapDelete => self.sys_cap_delete(h, h2),
            Syscall::CapRevoke => self.sys_cap_revoke(h, h2),
            Syscall::CapInfo => self.sys_cap_info(h, h2),
            Syscall::Create => self.sys_create(args),
            Syscall::Destroy => self.sys_destroy(h, h2),
            Syscall::PortSwitch => self.sys_port_switch(h, h2),
            Syscall::Transaction => self.sys_transaction(a, b),
            Syscall::ThreadStart => self.sys_thread_start(h, h2, h3, d),
            Syscall::SandboxFaultPort => self.sys_fault_port(h, h2),
            Syscall::SandboxFreeze => self.sys_freeze(h, b),
            Syscall::SandboxReset => self.sys_reset(h),
            Syscall::Exit => {
                let sandbox = self.caller();
                self.freeze(sandbox, [Fault::Exit as u64, a, 0, 0]);
                Ok(0)
            }
            Syscall::BindNotification => self.sys_bind(h),
            Syscall::PortWatch => self.sys_port_watch(h, h2, c),
            Syscall::EndpointNotify => self.sys_endpoint_notify(h, h2),
            Syscall::SandboxShare => self.sys_share(args),
            Syscall::SandboxFuse => self.sys_fuse(h, b, c),
            Syscall::RegionMap | Syscall::MmioMap => self.sys_region_map(h, h2, c),
            Syscall::RegionUnmap => self.sys_region_unmap(h, h2),
            _ => self.dispatch_memory_and_devices(call, args),
        }
    }

    /// Apart, and never inlined: its locals would make the stack frame of every system call.
    #[inline(never)]
    fn dispatch_memory_and_devices(&mut self, call: Syscall, args: [u64; 5]) -> Result<u64, Error> {
        let [a, b, c, d, _] = args;
        let (h, h2, h3, h4) = (a as Handle, b as Handle, c as Handle, d as Handle);
        match call {
            Syscall::RegionSeal => {
                let region = self.object(h, ObjectType::Region, Rights::MANAGE)?;
                let spec: SealSpec = self.read_user(b)?;
                self.seal(region, spec).map(|()| 0)
            }
            Syscall::RegionInfo => self.sys_region_info(h, b),
            Syscall::IrqBind => self.sys_irq_bind(h, h2, c),
            Syscall::IrqAck => self.sys_irq_ack(h),
            Syscall::IoRead => self.sys_io(h, b, c, None),
            Syscall::IoWrite => self.sys_io(h, b, c, Some(d)),
            Syscall::DeviceInfo => self.sys_device_info(h, b),
            Syscall::DeviceRead => self.sys_device_read(h, b, c),
            Syscall::DeviceMaster => self.sys_device_master(h, b),
            Syscall::DeviceVector => self.sys_device_vector(h, b, h3, h4),
            Syscall::DeviceBar => self.sys_device_bar(h, b, h3, h4),
            Syscall::Entropy => self.sys_entropy(h, b, c),
            Syscall::AuditDrain => self.sys_audit_drain(h, b, c),
            Syscall::AuditNote => self.sys_audit_note(h, b, c, d),
            Syscall::LogWrite => self.sys_log_write(b, c),
            Syscall::LogRead => self.sys_log_read(h, b, c, d),
            Syscall::LogWatch => {
                self.object(h, ObjectType::Log, Rights::MANAGE)?;
                let n = self.object(h2, ObjectType::Notification, Rights::SEND)?;
                self.log.watch = self.notifications.id(n).map(|id| (id, c));
                Ok(0)
            }
            Syscall::Inspect => self.sys_inspect(args),
            Syscall::Power => self.sys_power(h, b),
            Syscall::ClockMap => self.sys_clock_map(h, h2),
            _ => Err(Error::UnknownCall),
        }
    }

    /// Returns a value in `rdi`.
    #[inline]
    pub(crate) fn answer(&mut self, value: u64) -> Result<u64, Error> {
        let thread = self.sched.current.and_then(|thread| self.threads.follow_mut(thread));
        thread.expect("a system call comes from a running thread").context.frame.rdi = value;
        Ok(0)
    }

    pub(crate) fn answer_two(&mut self, first: u64, second: u64) -> Result<u64, Error> {
        let thread = self.sched.running();
        self.threads[thread].context.frame.rsi = second;
        self.answer(first)
    }

    /// Ends a bounded part of a long call: the thread makes the same call again as soon as it goes on, so interrupts, deadlines and more
    /// important threads come between. The status that leaves the caller's RAX as it was.
    pub(crate) fn again(&mut self, call: Syscall) -> u64 {
        if let Some(thread) = self.sched.current() {
            self.repeat(thread, call);
        }
        call as u64
    }

    /// The same of a call that began to end or to freeze this: whoever does the rest, it is known where the call stands.
    pub(crate) fn again_with(&mut self, call: Syscall, begun: ObjectRef) -> u64 {
        if let Some(thread) = self.sched.current() {
            self.threads[thread].begun = Some((call, begun));
        }
        self.again(call)
    }

    /// A thread makes this call as soon as it goes on, with the registers of the one that it is in.
    pub(crate) fn repeat(&mut self, thread: u32, call: Syscall) {
        let frame = &mut self.threads[thread].context.frame;
        (frame.rax, frame.rip) = (call as u64, frame.rip - SYSCALL_BYTES);
        // A fuse counts what the program sees: one call.
        let fuse = &mut self.sandboxes[self.threads[thread].sandbox].fuse;
        fuse.0 = fuse.0.saturating_add(u64::from(fuse.0 != 0));
    }

    fn sys_port_watch(&mut self, port: Handle, notification: Handle, bits: u64) -> Result<u64, Error> {
        let port = self.object(port, ObjectType::Port, Rights::MANAGE)?;
        let n = self.object(notification, ObjectType::Notification, Rights::SEND)?;
        self.ports[port].watch = self.notifications.id(n).map(|id| (id, bits));
        if self.ports[port].senders == 0 {
            // The last sender may have gone before the watch was set; nobody else would ever tell.
            self.signal(n, bits);
        }
        Ok(0)
    }

    fn sys_region_info(&mut self, region: Handle, whose: u64) -> Result<u64, Error> {
        let (region, _) = self.memory_object(region)?;
        if whose != 0 {
            let (high, low) = self.channel_identity(region, whose)?;
            return self.answer_two(high, low);
        }
        let region = &self.regions[region];
        let (address, bytes) = (hic_abi::USER_BASE + region.base, region.pages * hic_abi::PAGE_SIZE);
        self.answer_two(address, bytes)
    }

    fn sys_entropy(&mut self, handle: Handle, address: u64, bytes: u64) -> Result<u64, Error> {
        self.object(handle, ObjectType::Entropy, Rights::READ)?;
        let mut random = [0; MAX_ENTROPY];
        let random = random.get_mut(..bytes as usize).ok_or(Error::InvalidArgument)?;
        if !self.machine.entropy(random) {
            return Err(Error::NotSupported);
        }
        let sandbox = self.caller();
        self.copy_out(sandbox, address, random).map(|()| 0)
    }

    fn sys_audit_drain(&mut self, handle: Handle, address: u64, records: u64) -> Result<u64, Error> {
        self.object(handle, ObjectType::Audit, Rights::READ)?;
        let size = size_of::<hic_abi::audit::Record>() as u64;
        let count = records.min(MAX_DRAIN);
        let sandbox = self.caller();
        self.user_range(sandbox, address, count * size, true)?;
        let mut drained = 0;
        while drained < count {
            let Some(record) = self.audit.drain() else { break };
            self.copy_out(sandbox, address + drained * size, record.as_bytes())?;
            drained += 1;
        }
        self.answer(drained)
    }

    fn sys_audit_note(&mut self, handle: Handle, a: u64, b: u64, text: u64) -> Result<u64, Error> {
        self.object(handle, ObjectType::Audit, Rights::WRITE)?;
        let text: hic_abi::audit::NoteText = self.read_user(text)?;
        self.record(Event::Note, 0, a, b, text.0);
        Ok(0)
    }

    fn sys_log_write(&mut self, address: u64, bytes: u64) -> Result<u64, Error> {
        let mut text = [0; hic_abi::log::LINE];
        let text = text.get_mut(..bytes as usize).ok_or(Error::InvalidArgument)?;
        let sandbox = self.caller();
        self.copy_in(sandbox, address, text)?;
        for byte in text.iter_mut().filter(|b| b.is_ascii_control()) {
            *byte = b' ';
        }
        let name = self.sandboxes[sandbox].name;
        self.log_line(hic_abi::name_str(&name), text);
        Ok(0)
    }

    fn sys_log_read(&mut self, handle: Handle, from: u64, address: u64, bytes: u64) -> Result<u64, Error> {
        self.object(handle, ObjectType::Log, Rights::READ)?;
        let mut text = [0; MAX_LOG_READ];
        let length = (bytes as usize).min(MAX_LOG_READ);
        let (first, count) = self.log.read(from, &mut text[..length]);
        let sandbox = self.caller();
        self.copy_out(sandbox, address, &text[..count])?;
        self.answer_two(count as u64, first)
    }

    fn sys_power(&mut self, handle: Handle, number: u64) -> Result<u64, Error> {
        self.object(handle, ObjectType::Power, Rights::MANAGE)?;
        let action = match number {
            0 => PowerAction::Off,
            1 => PowerAction::Reset,
            2 => PowerAction::Failed,
            _ => return Err(Error::InvalidArgument),
        };
        self.record(Event::Power, 0, number, 0, [0; 32]);
        self.machine.power(action);
        Ok(0)
    }

    /// The clock page is the kernel's own frame; it is mapped read-only.
    fn sys_clock_map(&mut self, clock: Handle, space: Handle) -> Result<u64, Error> {
        let space = Space::Sandbox(self.space(space)?);
        let region = self.object(clock, ObjectType::Clock, Rights::READ)?;
        let address = match self.find_mapping(space, region) {
            Some(_) => hic_abi::USER_BASE + self.regions[region].base,
            None => self.map_region(space, region, Rights::READ, self.caller())?,
        };
        self.answer(address)
    }
}
