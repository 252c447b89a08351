//! One function for each system call. The only file with `syscall` instructions.
//!
//! Each returns the [`Error`] that the kernel gave. Rights and errors are listed at [`hic_abi::syscall::Syscall`]; the functions here only put arguments into registers.

#![allow(clippy::missing_errors_doc, reason = "the module comment says it once for all")]

use hic_abi::object::{AccountSpec, ChannelSpec, DeviceInfo, SandboxSpec, SealSpec, Share, ThreadSpec};
use hic_abi::switch::Entry;
use hic_abi::syscall::Syscall;
use hic_abi::{Error, Handle, IpcBuffer, Nanos, ObjectType, Plain, Rights};

/// The registers of a message call.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MessageRegisters {
    pub rdi: u64,
    pub info: u64,
    pub words: [u64; 4],
    pub r12: u64,
}

/// The `syscall` instruction with these registers, and with those that the kernel changes in every call: `rcx`, `r11` and the vector registers.
/// It keeps all others, but for those that a call returns.
macro_rules! enter {
    ($($operands:tt)*) => {
        core::arch::asm!("syscall", $($operands)*, lateout("rcx") _, lateout("r11") _,
            out("xmm0") _, out("xmm1") _, out("xmm2") _, out("xmm3") _, out("xmm4") _, out("xmm5") _,
            out("xmm6") _, out("xmm7") _, out("xmm8") _, out("xmm9") _, out("xmm10") _, out("xmm11") _,
            out("xmm12") _, out("xmm13") _, out("xmm14") _, out("xmm15") _, options(nostack))
    };
}

/// A system call with up to five arguments; `Ok` holds `rdi` and `rsi`.
#[inline]
fn call5(number: Syscall, a: u64, b: u64, c: u64, d: u64, e: u64) -> Result<(u64, u64), (Error, u64)> {
    let (mut status, mut rdi, mut rsi) = (number as u64, a, b);
    // SAFETY: the kernel follows the convention of `hic_abi::syscall`: it changes `rax`, `rdi`, `rsi` and what `enter` declares; memory it
    // writes through pointer arguments is passed as `&mut` by the callers below.
    unsafe {
        enter!(inlateout("rax") status, inlateout("rdi") rdi, inlateout("rsi") rsi, in("rdx") c, in("r10") d, in("r8") e);
    }
    Error::from_status(status).map(|_| (rdi, rsi)).map_err(|error| (error, rdi))
}

/// A system call with two arguments; `Ok` holds `rdi`.
#[inline]
fn call2(number: Syscall, a: u64, b: u64) -> Result<u64, Error> {
    let (mut status, mut rdi) = (number as u64, a);
    // SAFETY: as in `call5`; no call that comes here writes memory.
    unsafe { enter!(inlateout("rax") status, inlateout("rdi") rdi, inlateout("rsi") b => _) };
    Error::from_status(status).map(|_| rdi)
}

/// A system call without arguments; `Ok` holds `rdi`.
#[inline]
fn call0(number: Syscall) -> Result<u64, Error> {
    let (mut status, rdi);
    status = number as u64;
    // SAFETY: as in `call2`.
    unsafe { enter!(inlateout("rax") status, lateout("rdi") rdi, lateout("rsi") _) };
    Error::from_status(status).map(|_| rdi)
}

#[inline]
fn call(number: Syscall, args: [u64; 5]) -> Result<(u64, u64), Error> {
    let [a, b, c, d, e] = args;
    call5(number, a, b, c, d, e).map_err(|(error, _)| error)
}

/// `Call`, `Receive`, `Reply`, `ReplyReceive`; `buffer` is the thread's message buffer or null.
#[inline(always)]
pub(crate) fn message(
    number: Syscall,
    registers: MessageRegisters,
    buffer: *mut IpcBuffer,
) -> Result<MessageRegisters, Error> {
    let MessageRegisters { rdi, info, words: [w0, w1, w2, w3], r12 } = registers;
    let (mut status, mut rdi, mut info) = (number as u64, rdi, info);
    let (mut w0, mut w1, mut w2, mut w3, mut r12) = (w0, w1, w2, w3, r12);
    // SAFETY: as in `call5`; the kernel also writes `*buffer`, which the caller in `ipc` owns exclusively for the call.
    unsafe {
        enter!(inlateout("rax") status, inlateout("rdi") rdi, inlateout("rsi") info, inlateout("rdx") w0,
            inlateout("r10") w1, inlateout("r8") w2, inlateout("r9") w3, inlateout("r12") r12, in("r13") buffer);
    }
    Error::from_status(status).map(|_| MessageRegisters { rdi, info, words: [w0, w1, w2, w3], r12 })
}

fn address<T>(value: &T) -> u64 {
    core::ptr::from_ref(value) as u64
}

/// Does nothing, to measure a system call.
pub fn null() -> Result<(), Error> {
    call0(Syscall::Null).map(|_| ())
}

/// Sets bits of a notification, or of the one tied to the endpoint that a port leads to.
pub fn signal(notification: Handle, bits: u64) -> Result<(), Error> {
    call2(Syscall::Signal, notification.into(), bits).map(|_| ())
}

/// Takes the bits of a notification; waits until `deadline` while there are none ([`hic_abi::FOREVER`], or 0 to poll).
pub fn wait(notification: Handle, deadline: Nanos) -> Result<u64, Error> {
    call2(Syscall::Wait, notification.into(), deadline)
}

/// Ends this thread's turn.
pub fn yield_now() {
    let _ = call0(Syscall::Yield);
}

/// Monotonic time by system call; [`crate::clock`] needs none.
pub fn now() -> Nanos {
    call0(Syscall::Now).unwrap_or(0)
}

/// Copies a capability with these rights and no others.
pub fn cap_copy(to: (Handle, Handle), from: (Handle, Handle), rights: Rights) -> Result<(), Error> {
    let args = [to.0.into(), to.1.into(), from.0.into(), from.1.into(), rights.bits().into()];
    call(Syscall::CapCopy, args).map(|_| ())
}

/// Moves a capability; both sides are (space, slot).
pub fn cap_move(to: (Handle, Handle), from: (Handle, Handle)) -> Result<(), Error> {
    call(Syscall::CapMove, [to.0.into(), to.1.into(), from.0.into(), from.1.into(), 0]).map(|_| ())
}

/// Empties a slot.
pub fn cap_delete(space: Handle, slot: Handle) -> Result<(), Error> {
    call(Syscall::CapDelete, [space.into(), slot.into(), 0, 0, 0]).map(|_| ())
}

/// Deletes all capabilities that derive from this one.
pub fn cap_revoke(space: Handle, slot: Handle) -> Result<(), Error> {
    call(Syscall::CapRevoke, [space.into(), slot.into(), 0, 0, 0]).map(|_| ())
}

/// What a slot holds; [`Error::InvalidHandle`] when it is empty or its object is gone.
pub fn cap_info(space: Handle, slot: Handle) -> Result<(u64, Rights), Error> {
    call(Syscall::CapInfo, [space.into(), slot.into(), 0, 0, 0])
        .map(|(kind, rights)| (kind, Rights::from_bits_truncate(rights as u32)))
}

fn create(account: Handle, kind: ObjectType, slot: Handle, a: u64, b: u64) -> Result<u64, Error> {
    call(Syscall::Create, [account.into(), kind as u64, slot.into(), a, b]).map(|(value, _)| value)
}

/// Makes an account out of another one's limits.
pub fn create_account(account: Handle, slot: Handle, spec: &AccountSpec) -> Result<(), Error> {
    create(account, ObjectType::Account, slot, address(spec), 0).map(|_| ())
}

/// Makes a sandbox; its serial number.
pub fn create_sandbox(account: Handle, slot: Handle, spec: &SandboxSpec) -> Result<u64, Error> {
    create(account, ObjectType::Sandbox, slot, address(spec), 0)
}

/// Makes a region of zeroed memory; its address.
pub fn create_region(account: Handle, slot: Handle, bytes: u64) -> Result<u64, Error> {
    create(account, ObjectType::Region, slot, bytes, 0)
}

/// Makes a channel: a region of zeroed memory that two sandboxes may map, and nobody else; its address.
pub fn create_channel(account: Handle, slot: Handle, bytes: u64, spec: &ChannelSpec) -> Result<u64, Error> {
    create(account, ObjectType::Region, slot, bytes, address(spec))
}

/// Makes an endpoint.
pub fn create_endpoint(account: Handle, slot: Handle) -> Result<(), Error> {
    create(account, ObjectType::Endpoint, slot, 0, 0).map(|_| ())
}

/// Makes a port to an endpoint.
pub fn create_port(account: Handle, slot: Handle, endpoint: Handle, badge: u64) -> Result<(), Error> {
    create(account, ObjectType::Port, slot, endpoint.into(), badge).map(|_| ())
}

/// Makes a notification.
pub fn create_notification(account: Handle, slot: Handle) -> Result<(), Error> {
    create(account, ObjectType::Notification, slot, 0, 0).map(|_| ())
}

/// Makes a capability on a part of an I/O port range.
pub fn create_io_ports(
    account: Handle,
    slot: Handle,
    whole: Handle,
    base: u16,
    count: u32,
) -> Result<(), Error> {
    let part = u64::from(base) | u64::from(count) << 16;
    create(account, ObjectType::IoPorts, slot, whole.into(), part).map(|_| ())
}

/// Destroys an object, whoever else holds capabilities on it.
pub fn destroy(space: Handle, slot: Handle) -> Result<(), Error> {
    call(Syscall::Destroy, [space.into(), slot.into(), 0, 0, 0]).map(|_| ())
}

/// Maps a region in a sandbox, or lets a device reach it by DMA; its address there.
pub fn region_map(space: Handle, region: Handle, rights: Rights) -> Result<u64, Error> {
    call(Syscall::RegionMap, [space.into(), region.into(), rights.bits().into(), 0, 0]).map(|(at, _)| at)
}

/// Unmaps a region in a sandbox or device.
pub fn region_unmap(space: Handle, region: Handle) -> Result<(), Error> {
    call(Syscall::RegionUnmap, [space.into(), region.into(), 0, 0, 0]).map(|_| ())
}

/// Divides a region for ever.
pub fn region_seal(region: Handle, spec: &SealSpec) -> Result<(), Error> {
    call(Syscall::RegionSeal, [region.into(), address(spec), 0, 0, 0]).map(|_| ())
}

/// Address and bytes of a region.
pub fn region_info(region: Handle) -> Result<(u64, u64), Error> {
    call(Syscall::RegionInfo, [region.into(), 0, 0, 0, 0])
}

/// Who is at the other end of a channel: the two halves of that instance's UUID. For its ends alone.
pub fn channel_peer(channel: Handle) -> Result<(u64, u64), Error> {
    call(Syscall::RegionInfo, [channel.into(), 1, 0, 0, 0])
}

/// Who the caller is, as the other end of a channel learns it.
pub fn channel_self(channel: Handle) -> Result<(u64, u64), Error> {
    call(Syscall::RegionInfo, [channel.into(), 2, 0, 0, 0])
}

/// Switches a port to another endpoint, with everyone queued on it.
pub fn port_switch(port: Handle, endpoint: Handle) -> Result<(), Error> {
    call(Syscall::PortSwitch, [port.into(), endpoint.into(), 0, 0, 0]).map(|_| ())
}

/// Does a switch transaction; on refusal, the index of the first bad entry.
pub fn transaction(entries: &[Entry]) -> Result<(), (Error, usize)> {
    call5(Syscall::Transaction, entries.as_ptr() as u64, entries.len() as u64, 0, 0, 0)
        .map(|_| ())
        .map_err(|(error, index)| (error, index as usize))
}

/// Starts a thread; slot 0 = no capability on it is wanted.
pub fn thread_start(account: Handle, sandbox: Handle, slot: Handle, spec: &ThreadSpec) -> Result<(), Error> {
    call(Syscall::ThreadStart, [account.into(), sandbox.into(), slot.into(), address(spec), 0]).map(|_| ())
}

/// Sends the faults of a sandbox to a port.
pub fn sandbox_fault_port(sandbox: Handle, port: Handle) -> Result<(), Error> {
    call(Syscall::SandboxFaultPort, [sandbox.into(), port.into(), 0, 0, 0]).map(|_| ())
}

/// Freezes a sandbox.
pub fn sandbox_freeze(sandbox: Handle, reason: u64) -> Result<(), Error> {
    call(Syscall::SandboxFreeze, [sandbox.into(), reason, 0, 0, 0]).map(|_| ())
}

/// Readies a frozen sandbox for a new start over its capabilities.
pub fn sandbox_reset(sandbox: Handle) -> Result<(), Error> {
    call(Syscall::SandboxReset, [sandbox.into(), 0, 0, 0, 0]).map(|_| ())
}

/// Ends this sandbox.
pub fn exit(code: u64) -> ! {
    loop {
        let _ = call(Syscall::Exit, [code, 0, 0, 0, 0]);
    }
}

/// Lets bits of a notification end this thread's receive; 0 unbinds.
pub fn bind_notification(notification: Handle) -> Result<(), Error> {
    call(Syscall::BindNotification, [notification.into(), 0, 0, 0, 0]).map(|_| ())
}

/// Asks to be told when the last holder of a port is gone.
pub fn port_watch(port: Handle, notification: Handle, bits: u64) -> Result<(), Error> {
    call(Syscall::PortWatch, [port.into(), notification.into(), bits, 0, 0]).map(|_| ())
}

/// Leads an interrupt to a notification.
pub fn irq_bind(irq: Handle, notification: Handle, bits: u64) -> Result<(), Error> {
    call(Syscall::IrqBind, [irq.into(), notification.into(), bits, 0, 0]).map(|_| ())
}

/// Lets signals on ports that lead to this endpoint set bits of this notification.
pub fn endpoint_notify(endpoint: Handle, notification: Handle) -> Result<(), Error> {
    call(Syscall::EndpointNotify, [endpoint.into(), notification.into(), 0, 0, 0]).map(|_| ())
}

/// Freezes a sandbox at its `calls`th system call from now; 0 = never mind.
pub fn sandbox_fuse(sandbox: Handle, calls: u64, reason: u64) -> Result<(), Error> {
    call(Syscall::SandboxFuse, [sandbox.into(), calls, reason, 0, 0]).map(|_| ())
}

/// Gives all threads of a sandbox another share of the processor (MANAGE).
pub fn sandbox_share(sandbox: Handle, share: &Share) -> Result<(), Error> {
    let Share { priority, budget, period, hard_limit } = *share;
    call(Syscall::SandboxShare, [sandbox.into(), priority, budget, period, hard_limit.into()]).map(|_| ())
}

/// Interrupts of this source so far.
pub fn irq_count(irq: Handle) -> Result<u64, Error> {
    call2(Syscall::IrqAck, irq.into(), 0)
}

/// Reads an I/O port.
pub fn io_read(ports: Handle, port: u16, width: u8) -> Result<u32, Error> {
    call(Syscall::IoRead, [ports.into(), port.into(), width.into(), 0, 0]).map(|(value, _)| value as u32)
}

/// Writes an I/O port.
pub fn io_write(ports: Handle, port: u16, width: u8, value: u32) -> Result<(), Error> {
    call(Syscall::IoWrite, [ports.into(), port.into(), width.into(), value.into(), 0]).map(|_| ())
}

/// Maps a window of device registers; its address.
pub fn mmio_map(space: Handle, window: Handle, rights: Rights) -> Result<u64, Error> {
    call(Syscall::MmioMap, [space.into(), window.into(), rights.bits().into(), 0, 0]).map(|(at, _)| at)
}

/// What a driver may know of its device.
pub fn device_info(device: Handle) -> Result<DeviceInfo, Error> {
    let mut info = DeviceInfo::zeroed();
    call(Syscall::DeviceInfo, [device.into(), core::ptr::from_mut(&mut info) as u64, 0, 0, 0])?;
    Ok(info)
}

/// Reads configuration space.
pub fn device_read(device: Handle, offset: u16, width: u8) -> Result<u32, Error> {
    call(Syscall::DeviceRead, [device.into(), offset.into(), width.into(), 0, 0])
        .map(|(value, _)| value as u32)
}

/// Lets the device master the bus, or stops it.
pub fn device_master(device: Handle, on: bool) -> Result<(), Error> {
    call(Syscall::DeviceMaster, [device.into(), on.into(), 0, 0, 0]).map(|_| ())
}

/// An interrupt capability for an MSI-X vector.
pub fn device_vector(device: Handle, vector: u16, slot: Handle, account: Handle) -> Result<(), Error> {
    call(Syscall::DeviceVector, [device.into(), vector.into(), slot.into(), account.into(), 0]).map(|_| ())
}

/// A window on a BAR.
pub fn device_bar(device: Handle, bar: u8, slot: Handle, account: Handle) -> Result<(), Error> {
    call(Syscall::DeviceBar, [device.into(), bar.into(), slot.into(), account.into(), 0]).map(|_| ())
}

/// Random bytes, at most 256.
pub fn entropy(source: Handle, out: &mut [u8]) -> Result<(), Error> {
    call(Syscall::Entropy, [source.into(), out.as_mut_ptr() as u64, out.len() as u64, 0, 0]).map(|_| ())
}

/// Drains audit records; how many.
pub fn audit_drain(audit: Handle, out: &mut [hic_abi::audit::Record]) -> Result<usize, Error> {
    call(Syscall::AuditDrain, [audit.into(), out.as_mut_ptr() as u64, out.len() as u64, 0, 0])
        .map(|(n, _)| n as usize)
}

/// Appends a note to the audit log.
pub fn audit_note(audit: Handle, a: u64, b: u64, text: &hic_abi::audit::NoteText) -> Result<(), Error> {
    call(Syscall::AuditNote, [audit.into(), a, b, address(text), 0]).map(|_| ())
}

/// Adds a line to the system's log; longer lines are refused.
pub fn log_write(text: &[u8]) -> Result<(), Error> {
    call(Syscall::LogWrite, [0, text.as_ptr() as u64, text.len() as u64, 0, 0]).map(|_| ())
}

/// Reads the log from byte number `from`; (bytes read, number of the first).
pub fn log_read(log: Handle, from: u64, out: &mut [u8]) -> Result<(usize, u64), Error> {
    call(Syscall::LogRead, [log.into(), from, out.as_mut_ptr() as u64, out.len() as u64, 0])
        .map(|(count, first)| (count as usize, first))
}

/// Asks to be told of new log lines; the kernel stops printing them itself.
pub fn log_watch(log: Handle, notification: Handle, bits: u64) -> Result<(), Error> {
    call(Syscall::LogWatch, [log.into(), notification.into(), bits, 0, 0]).map(|_| ())
}

/// Looks at the system ([`hic_abi::inspect`]).
pub fn inspect<T: Plain>(audit: Handle, what: hic_abi::inspect::What, index: u64) -> Result<T, Error> {
    let mut value = T::zeroed();
    let out = core::ptr::from_mut(&mut value) as u64;
    call(Syscall::Inspect, [audit.into(), what as u64, index, out, size_of::<T>() as u64])?;
    Ok(value)
}

/// Ends the system: 0 off, 1 reset, 2 off with failure.
pub fn power(power: Handle, action: u64) -> Result<(), Error> {
    call(Syscall::Power, [power.into(), action, 0, 0, 0]).map(|_| ())
}

/// Maps the clock page; its address.
pub fn clock_map(clock: Handle, space: Handle) -> Result<u64, Error> {
    call(Syscall::ClockMap, [clock.into(), space.into(), 0, 0, 0]).map(|(at, _)| at)
}
