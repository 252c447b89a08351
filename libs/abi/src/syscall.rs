//! System-call numbers and conventions.
//!
//! `syscall` with the number in `rax`; arguments in `rdi rsi rdx r10 r8 r9`. The status comes back in `rax`: negative is an
//! [`crate::Error`], otherwise a value. `rcx`, `r11` and all vector and x87 registers are clobbered (the kernel clears
//! them); all other registers survive, but for those that the message calls return.
//!
//! Message calls ([`Syscall::Call`], [`Syscall::Receive`], [`Syscall::Reply`], [`Syscall::ReplyReceive`]):
//!
//! | register | in | out |
//! | --- | --- | --- |
//! | `rdi` | port (call), endpoint (receive) | badge of the port |
//! | `rsi` | [`crate::MessageInfo`] | [`crate::MessageInfo`] |
//! | `rdx r10 r8 r9` | words 0–3 | words 0–3 |
//! | `r12` | deadline, absolute [`crate::Nanos`] | serial number of the calling sandbox (receive) |
//! | `r13` | address of the thread's [`crate::IpcBuffer`], or 0 | unchanged |
//!
//! Some calls may be long: [`Syscall::CapRevoke`]; [`Syscall::CapDelete`] and [`Syscall::CapMove`] of a capability on which mappings hang;
//! [`Syscall::Destroy`] of a region, a device or a sandbox; [`Syscall::SandboxFreeze`] and [`Syscall::SandboxReset`]; [`Syscall::Create`] of a region while free
//! memory has to be zeroed; [`Syscall::Receive`] and [`Syscall::ReplyReceive`] while calls wait that this receiver cannot take. The kernel does a part and lets the
//! thread make the same call again, with the same registers, until all is done; whoever is more important runs in between. The program sees one call. A
//! thread that dies between two parts leaves the rest undone, and a region that it was destroying can be mapped again (docs/adr/0012).
//!
//! `space` arguments are a sandbox capability with MANAGE, or [`crate::SELF`].

/// The system calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum Syscall {
    /// Does nothing.
    Null = 0,
    /// Send a message to a port (SEND) and wait for the answer.
    Call = 1,
    /// Wait on an endpoint (RECEIVE) for a call, or for bits of the bound notification.
    Receive = 2,
    /// Answer the call received last.
    Reply = 3,
    /// Answer, then receive.
    ReplyReceive = 4,
    /// `(notification or port SEND, bits)`: set bits and wake the waiter. Of a port: bits of the notification of its endpoint
    /// ([`Syscall::EndpointNotify`]), so that a ring follows the port over a switch; without one they are lost.
    Signal = 5,
    /// `(notification RECEIVE, deadline)`: take the bits, wait while there are none; returned in `rdi`.
    Wait = 6,
    /// Let others of the same priority run.
    Yield = 7,
    /// Monotonic nanoseconds in `rdi`.
    Now = 8,
    /// `(to space, to slot, from space, from slot, rights)`: copy with these rights and no others (COPY).
    CapCopy = 9,
    /// `(to space, to slot, from space, from slot)`: move.
    CapMove = 10,
    /// `(space, slot)`: empty the slot.
    CapDelete = 11,
    /// `(space, slot)`: delete all capabilities derived from this one.
    CapRevoke = 12,
    /// `(account CHARGE, type, to slot, a, b)`: make an object. a, b by type: Account, Sandbox: spec address; Region: bytes,
    /// 0, or the address of a [`crate::object::ChannelSpec`] (MANAGE on both its sandboxes); Endpoint, Notification: 0, 0; Port: endpoint (MANAGE), badge. `rdi` returns what identifies it: a region's address,
    /// a sandbox's serial number.
    Create = 13,
    /// `(space, slot)`: destroy the object (MANAGE). Devices and other objects of which there is one stay: only the capability goes.
    Destroy = 14,
    /// `(space or device MANAGE, region, rights)`: map it in that sandbox, or let that device reach it by DMA; `rdi` returns the address
    /// there. With an IOMMU a device reaches nothing else.
    RegionMap = 15,
    /// `(space or device MANAGE, region)`: unmap it there.
    RegionUnmap = 16,
    /// `(region MANAGE, seal spec address)`: divide it into read-only, executable and writable pages, once and for ever;
    /// refused while it is mapped anywhere.
    RegionSeal = 17,
    /// `(region, 0)`: `rdi` = address, `rsi` = bytes. `(channel, 1 | 2)`, for its ends alone: the identity of the other end, or of the
    /// caller, as the two halves of a UUID, which no other instance has had or will have.
    RegionInfo = 18,
    /// `(port MANAGE, endpoint MANAGE)`: switch the port.
    PortSwitch = 19,
    /// `(entries address, count)`: a switch transaction. When it is refused, `rdi` is the index of the first bad entry.
    Transaction = 20,
    /// `(account CHARGE, sandbox MANAGE, to slot, thread spec address)`: start a thread.
    ThreadStart = 21,
    /// `(sandbox MANAGE, port)`: faults of the sandbox become messages on this port.
    SandboxFaultPort = 22,
    /// `(sandbox MANAGE, reason)`: stop all its threads, keep all else; the fault port hears of it.
    SandboxFreeze = 23,
    /// `(sandbox MANAGE)`: a frozen sandbox loses its threads and mappings and may be started again over its capabilities.
    SandboxReset = 24,
    /// `(reason)`: end this sandbox; it freezes and its fault port hears of it.
    Exit = 25,
    /// `(notification RECEIVE or 0)`: bits of this notification also end [`Syscall::Receive`] of this thread.
    BindNotification = 26,
    /// `(port MANAGE, notification SEND, bits)`: signalled when the last capability with SEND on the port is gone.
    PortWatch = 27,
    /// `(irq MANAGE, notification SEND, bits)`: interrupts signal these bits. The latched count survives.
    IrqBind = 28,
    /// `(irq)`: ready for the next; `rdi` returns the number of interrupts so far.
    IrqAck = 29,
    /// `(io ports READ, port, width 1|2|4)`: value in `rdi`.
    IoRead = 30,
    /// `(io ports WRITE, port, width, value)`.
    IoWrite = 31,
    /// `(space, mmio, rights)`: map the window; `rdi` returns the address.
    MmioMap = 32,
    /// `(device, info address)`: fills a [`crate::object::DeviceInfo`].
    DeviceInfo = 33,
    /// `(device, offset, width)`: configuration space read; value in `rdi`.
    DeviceRead = 34,
    /// `(device MANAGE, 1|0)`: let the device master the bus, or stop it.
    DeviceMaster = 35,
    /// `(device MANAGE, vector, to slot, account CHARGE)`: an interrupt capability for this MSI-X vector.
    DeviceVector = 36,
    /// `(device MANAGE, bar, to slot, account CHARGE)`: a window on a BAR without its MSI-X pages.
    DeviceBar = 37,
    /// `(entropy, address, bytes ≤ 256)`: random bytes.
    Entropy = 38,
    /// `(audit READ, address, records)`: drain records; `rdi` returns how many. With the chain, see [`crate::audit`].
    AuditDrain = 39,
    /// `(log or 0, text address, bytes)`: a line for the kernel's log.
    LogWrite = 40,
    /// `(log READ, sequence, address, bytes)`: log text from this byte number on; `rdi` = bytes, `rsi` = their first number.
    LogRead = 41,
    /// `(log MANAGE, notification SEND, bits)`: signalled when a line is added; the kernel stops printing lines itself.
    LogWatch = 42,
    /// `(audit INSPECT, what, index, address, bytes)`: see [`crate::inspect`].
    Inspect = 43,
    /// `(power MANAGE, 0 = off | 1 = reset | 2 = off, with failure)`.
    Power = 44,
    /// `(space, slot)`: type number in `rdi`, rights in `rsi`.
    CapInfo = 45,
    /// `(clock, space)`: map the clock page; `rdi` returns its address.
    ClockMap = 46,
    /// `(endpoint RECEIVE, notification SEND)`: signals on ports that lead to this endpoint set bits of this notification.
    EndpointNotify = 47,
    /// `(sandbox MANAGE, calls, reason)`: freeze it at its `calls`th system call from now, before that is done; 0 = never mind. For
    /// tests of what a death at any point leaves behind.
    SandboxFuse = 48,
    /// `(audit WRITE, a, b, text address)`: append a note of the caller; the text is 32 bytes.
    AuditNote = 49,
    /// `(sandbox MANAGE, priority, budget, period, 1 = hard | 0)`: from now on its threads run with this share of the processor, as in
    /// [`crate::object::SandboxSpec`]; its first period begins now.
    SandboxShare = 50,
}

impl Syscall {
    /// All calls, by number.
    pub const ALL: [Self; 51] = [
        Self::Null,
        Self::Call,
        Self::Receive,
        Self::Reply,
        Self::ReplyReceive,
        Self::Signal,
        Self::Wait,
        Self::Yield,
        Self::Now,
        Self::CapCopy,
        Self::CapMove,
        Self::CapDelete,
        Self::CapRevoke,
        Self::Create,
        Self::Destroy,
        Self::RegionMap,
        Self::RegionUnmap,
        Self::RegionSeal,
        Self::RegionInfo,
        Self::PortSwitch,
        Self::Transaction,
        Self::ThreadStart,
        Self::SandboxFaultPort,
        Self::SandboxFreeze,
        Self::SandboxReset,
        Self::Exit,
        Self::BindNotification,
        Self::PortWatch,
        Self::IrqBind,
        Self::IrqAck,
        Self::IoRead,
        Self::IoWrite,
        Self::MmioMap,
        Self::DeviceInfo,
        Self::DeviceRead,
        Self::DeviceMaster,
        Self::DeviceVector,
        Self::DeviceBar,
        Self::Entropy,
        Self::AuditDrain,
        Self::LogWrite,
        Self::LogRead,
        Self::LogWatch,
        Self::Inspect,
        Self::Power,
        Self::CapInfo,
        Self::ClockMap,
        Self::EndpointNotify,
        Self::SandboxFuse,
        Self::AuditNote,
        Self::SandboxShare,
    ];

    /// The call with this number.
    #[must_use]
    pub const fn from_number(number: u64) -> Option<Self> {
        if number < Self::ALL.len() as u64 { Some(Self::ALL[number as usize]) } else { None }
    }
}
