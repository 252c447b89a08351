//! Arguments for random system calls: mostly ones that could mean something to the call, sometimes anything at all.

use super::sim::SimMachine;
use crate::kernel::Kernel;
use hic_abi::message::SendCap;
use hic_abi::object::{AccountSpec, SandboxSpec, SealSpec, ThreadSpec};
use hic_abi::switch::{Entry, EntryKind};
use hic_abi::syscall::Syscall;
use hic_abi::{IpcBuffer, MessageInfo, ObjectType, PAGE_SIZE, Plain, Rights, USER_BASE};
use std::vec::Vec;

/// A small generator with a long period (SplitMix64), so that a failure names the seed that repeats it.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    /// True once in `n`.
    pub fn once_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    pub fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u64) as usize]
    }
}

/// Who calls, and where its memory lies.
pub struct Caller<'a> {
    pub k: &'a mut Kernel<SimMachine>,
    pub random: &'a mut Random,
    pub sandbox: u32,
    /// User address of a writable page of the caller, if it has one.
    pub memory: Option<u64>,
}

impl Caller<'_> {
    fn slots(&self, wanted: impl Fn(Option<ObjectType>) -> bool) -> Vec<u64> {
        let space = &self.k.sandboxes[self.sandbox];
        let filled = |slot: u32| self.k.caps.get(space.space + slot).map(|c| c.object.kind);
        (1..space.slots.min(80)).filter(|slot| wanted(filled(*slot))).map(u64::from).collect()
    }

    fn one_of(&mut self, slots: &[u64]) -> u64 {
        if slots.is_empty() || self.random.once_in(30) {
            return self.wild();
        }
        self.random.pick(slots)
    }

    /// A slot with a capability of this type.
    fn a(&mut self, kind: ObjectType) -> u64 {
        let slots = self.slots(|k| k == Some(kind));
        self.one_of(&slots)
    }

    fn any(&mut self) -> u64 {
        let slots = self.slots(|k| k.is_some());
        self.one_of(&slots)
    }

    fn free(&mut self) -> u64 {
        let slots = self.slots(|k| k.is_none());
        self.one_of(&slots)
    }

    fn space(&mut self) -> u64 {
        if self.random.once_in(3) { self.a(ObjectType::Sandbox) } else { 0 }
    }

    fn memory_object(&mut self) -> u64 {
        let slots = self.slots(|k| matches!(k, Some(ObjectType::Region | ObjectType::Mmio)));
        self.one_of(&slots)
    }

    /// What no programmer would write.
    pub fn wild(&mut self) -> u64 {
        let memory = self.memory.unwrap_or(USER_BASE);
        match self.random.below(6) {
            0 => self.random.below(80),
            1 => memory + self.random.below(PAGE_SIZE),
            2 => self.random.below(8) * PAGE_SIZE,
            3 => self.random.pick(&[u64::MAX, 1 << 63, 1 << 32, USER_BASE - 1, 2 * USER_BASE, 0xffff]),
            4 => self.random.below(20_000_000),
            _ => self.random.next(),
        }
    }

    /// Writes a specification where the caller may point at it; its address.
    fn put(&mut self, bytes: &[u8]) -> u64 {
        let Some(memory) = self.memory else { return USER_BASE };
        let at = memory + 2048;
        self.k.machine.bytes_mut(at - USER_BASE, bytes.len() as u64).copy_from_slice(bytes);
        at
    }

    /// Where memory can be mapped.
    fn mappable(&mut self) -> u64 {
        if self.random.once_in(3) { self.a(ObjectType::Device) } else { self.space() }
    }

    fn rights(&mut self) -> u64 {
        if self.random.once_in(2) { Rights::all().bits().into() } else { self.random.next() & 0x1ff }
    }

    fn sandbox_spec(&mut self) -> u64 {
        let spec = SandboxSpec {
            slots: self.random.pick(&[64, 64, 128, 65]),
            priority: self.random.below(33),
            budget: self.random.below(3) * 1_000_000,
            period: 5_000_000,
            hard_limit: self.random.below(2),
            name: [b'r'; 32],
            purpose: [0; 32],
        };
        self.put(spec.as_bytes())
    }

    fn create(&mut self) -> [u64; 5] {
        let kinds = [
            ObjectType::Account,
            ObjectType::Sandbox,
            ObjectType::Region,
            ObjectType::Region,
            ObjectType::Endpoint,
            ObjectType::Port,
            ObjectType::Port,
            ObjectType::Notification,
            ObjectType::IoPorts,
        ];
        let kind = self.random.pick(&kinds);
        let (a, b) = match kind {
            ObjectType::Account => {
                let (frames, objects) = (self.random.below(50), self.random.below(20));
                (self.put(AccountSpec { frames, objects, name: [b'r'; 32] }.as_bytes()), 0)
            }
            ObjectType::Sandbox => (self.sandbox_spec(), 0),
            ObjectType::Region => (self.random.below(12) * PAGE_SIZE, 0),
            ObjectType::Port => (self.a(ObjectType::Endpoint), self.random.next()),
            ObjectType::IoPorts => (self.a(ObjectType::IoPorts), self.random.next() & 0x3_ffff),
            _ => (0, 0),
        };
        [self.a(ObjectType::Account), kind as u64, self.free(), a, b]
    }

    fn transaction(&mut self) -> [u64; 5] {
        let count = self.random.below(4) + 1;
        let mut bytes = Vec::new();
        for _ in 0..count {
            let (kind, args) = match self.random.below(4) {
                0 => (EntryKind::MoveCapability, [self.space(), self.any(), self.space(), self.free()]),
                1 => (EntryKind::SwitchPort, [0, self.a(ObjectType::Port), self.a(ObjectType::Endpoint), 0]),
                2 => {
                    let target = self.a(ObjectType::Notification);
                    (EntryKind::RebindIrq, [self.a(ObjectType::Irq), target, 1, 0])
                }
                _ => (EntryKind::Signal, [self.a(ObjectType::Notification), 2, 0, 0]),
            };
            bytes.extend_from_slice(Entry { kind: kind as u64, args }.as_bytes());
        }
        [self.put(&bytes), count, 0, 0, 0]
    }

    /// Arguments that the call might accept.
    pub fn plausible(&mut self, call: Syscall) -> [u64; 5] {
        use ObjectType as T;
        let value = self.random.next();
        match call {
            Syscall::Call => [self.a(T::Port), 0, 1, 2, 3],
            Syscall::Receive | Syscall::ReplyReceive => [self.a(T::Endpoint), 0, 1, 2, 3],
            Syscall::Signal => [self.a(T::Notification), value, 0, 0, 0],
            Syscall::Wait => {
                [self.a(T::Notification), self.k.machine.clock + self.random.below(5_000_000), 0, 0, 0]
            }
            Syscall::CapCopy => [self.space(), self.free(), self.space(), self.any(), self.rights()],
            Syscall::CapMove => [self.space(), self.free(), self.space(), self.any(), 0],
            Syscall::CapDelete | Syscall::CapRevoke | Syscall::CapInfo | Syscall::Destroy => {
                [self.space(), self.any(), 0, 0, 0]
            }
            Syscall::Create => self.create(),
            Syscall::RegionMap | Syscall::MmioMap => {
                [self.mappable(), self.memory_object(), value & 7 | 1, 0, 0]
            }
            Syscall::RegionUnmap => [self.mappable(), self.memory_object(), 0, 0, 0],
            Syscall::RegionSeal => {
                let [read_only, execute] = [0; 2].map(|_| self.random.below(3));
                let guard = self.random.pick(&[0, 0, 5]);
                [self.a(T::Region), self.put(SealSpec { read_only, execute, guard }.as_bytes()), 0, 0, 0]
            }
            Syscall::PortSwitch => [self.a(T::Port), self.a(T::Endpoint), 0, 0, 0],
            Syscall::Transaction => self.transaction(),
            Syscall::ThreadStart => {
                let spec = ThreadSpec { entry: USER_BASE, stack: USER_BASE, argument: 0 };
                let slot = if self.random.once_in(2) { 0 } else { self.free() };
                [self.a(T::Account), self.space(), slot, self.put(spec.as_bytes()), 0]
            }
            Syscall::SandboxFaultPort => [self.a(T::Sandbox), self.a(T::Port), 0, 0, 0],
            Syscall::SandboxFreeze | Syscall::SandboxReset => [self.a(T::Sandbox), value, 0, 0, 0],
            Syscall::BindNotification => [self.a(T::Notification), 0, 0, 0, 0],
            Syscall::PortWatch => [self.a(T::Port), self.a(T::Notification), value, 0, 0],
            Syscall::EndpointNotify => [self.a(T::Endpoint), self.a(T::Notification), 0, 0, 0],
            Syscall::SandboxShare => {
                let budget = self.random.below(3) * 1_000_000;
                [self.a(T::Sandbox), value % 40, budget, self.random.below(4) * 1_000_000, value & 1]
            }
            Syscall::SandboxFuse => [self.a(T::Sandbox), value % 64, value, 0, 0],
            _ => self.plausible_device(call),
        }
    }

    fn plausible_device(&mut self, call: Syscall) -> [u64; 5] {
        use ObjectType as T;
        let memory = self.memory.unwrap_or(USER_BASE);
        let small = self.random.below(8);
        match call {
            Syscall::RegionInfo => [self.memory_object(), 0, 0, 0, 0],
            Syscall::IrqBind => [self.a(T::Irq), self.a(T::Notification), 1, 0, 0],
            Syscall::IrqAck => [self.a(T::Irq), 0, 0, 0, 0],
            Syscall::IoRead | Syscall::IoWrite => [self.a(T::IoPorts), self.random.below(0x1_0000), 1, 5, 0],
            Syscall::DeviceInfo => [self.a(T::Device), memory, 0, 0, 0],
            Syscall::DeviceRead => [self.a(T::Device), small * 4, 4, 0, 0],
            Syscall::DeviceMaster => [self.a(T::Device), small & 1, 0, 0, 0],
            Syscall::DeviceVector | Syscall::DeviceBar => {
                [self.a(T::Device), small & 3, self.free(), self.a(T::Account), 0]
            }
            Syscall::Entropy => [self.a(T::Entropy), memory, small, 0, 0],
            Syscall::AuditDrain => [self.a(T::Audit), memory, small, 0, 0],
            Syscall::AuditNote => [self.a(T::Audit), small, small, memory, 0],
            Syscall::LogWrite => [0, memory, small, 0, 0],
            Syscall::LogRead => [self.a(T::Log), 0, memory, 64, 0],
            Syscall::LogWatch => [self.a(T::Log), self.a(T::Notification), 1, 0, 0],
            Syscall::Inspect => {
                let size = [48, 80, 96, 56, 32, 112][small.min(5) as usize];
                [self.a(T::Audit), small, self.random.below(4), memory, size]
            }
            Syscall::Power => [self.a(T::Power), small % 3, 0, 0, 0],
            Syscall::Reply => [0; 5],
            Syscall::ClockMap => [self.a(T::Clock), self.space(), 0, 0, 0],
            _ => [0; 5].map(|_: u64| self.wild()),
        }
    }

    /// A message word, and an IPC buffer that fits it more often than not.
    pub fn message(&mut self) -> u64 {
        let mut buffer = IpcBuffer::zeroed();
        let count = self.random.below(4) as usize;
        for n in 0..count {
            let (slot, mode) = (self.any() as u32, self.random.below(2) as u32);
            buffer.send_caps[n] = SendCap { slot, mode, rights: self.rights() as u32, reserved: 0 };
        }
        buffer.receive_slots = [0; 4].map(|_| self.free() as u32);
        if let Some(memory) = self.memory {
            let size = size_of::<IpcBuffer>() as u64;
            self.k.machine.bytes_mut(memory - USER_BASE, size).copy_from_slice(buffer.as_bytes());
        }
        MessageInfo::new(1).with_inline(self.random.below(20) as usize).with_caps(count).0
    }
}
