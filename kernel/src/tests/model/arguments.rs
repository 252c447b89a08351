//! Arguments of one call: mostly such as its caller could mean, some that nobody would try.

use super::generate::{SPEC, TICK};
use super::lab::{Lab, MANAGER, Word};
use super::plans;
use super::state::Id;
use crate::tests::arguments::Random;
use hic_abi::message::SendCap;
use hic_abi::object::{AccountSpec, SealSpec};
use hic_abi::switch::{Entry, EntryKind};
use hic_abi::syscall::Syscall;
use hic_abi::{FOREVER, IpcBuffer, MessageInfo, ObjectType as T, PAGE_SIZE, Plain, Rights, USER_BASE};
use std::vec::Vec;

/// Who is about to call, and what it may point at.
pub struct Caller<'a> {
    pub lab: &'a Lab,
    pub random: &'a mut Random,
    pub sandbox: Id,
    pub writes: Vec<(u64, Vec<u8>)>,
}

impl Caller<'_> {
    fn filled(&self, wanted: impl Fn(T) -> bool) -> Vec<u64> {
        let own = self.lab.model.caps.range((self.sandbox, 0)..(self.sandbox + 1, 0));
        own.filter(|(_, cap)| wanted(cap.kind)).map(|(place, _)| place.1.into()).collect()
    }

    fn one_of(&mut self, slots: &[u64]) -> Word {
        if slots.is_empty() || self.random.once_in(40) {
            return self.wild();
        }
        Word::Is(self.random.pick(slots))
    }

    fn a(&mut self, kind: T) -> Word {
        let slots = self.filled(|k| k == kind);
        self.one_of(&slots)
    }

    fn any(&mut self) -> Word {
        let slots = self.filled(|_| true);
        self.one_of(&slots)
    }

    /// A port of which somebody wants to know when its last sender is gone; best the last sender.
    fn watched(&mut self) -> Word {
        let model = &self.lab.model;
        let own = model.caps.range((self.sandbox, 0)..(self.sandbox + 1, 0));
        let ports = own.filter(|(_, cap)| cap.kind == T::Port && model.lives(cap.object));
        let watched = ports.filter(|(_, cap)| model.port(cap.object).watch.is_some());
        let mut slots: Vec<(u64, u64)> =
            watched.map(|(place, cap)| (model.senders(cap.object), place.1.into())).collect();
        slots.sort_unstable();
        self.one_of(&slots.into_iter().map(|(_, slot)| slot).take(1).collect::<Vec<u64>>())
    }

    fn memory_object(&mut self) -> Word {
        let slots = self.filled(|k| matches!(k, T::Region | T::Clock | T::Mmio));
        self.one_of(&slots)
    }

    /// A slot that is likely to be free.
    fn free(&mut self) -> Word {
        match self.random.below(30) {
            0 => self.wild(),
            1 => Word::Is(self.lab.model.sandbox(self.sandbox).slots - 1),
            _ => {
                let taken = self.filled(|_| true);
                let first = (1..60).filter(|slot| !taken.contains(slot)).take(6).collect::<Vec<u64>>();
                self.one_of(&first)
            }
        }
    }

    fn space(&mut self) -> Word {
        if self.random.once_in(4) { self.a(T::Sandbox) } else { Word::Is(0) }
    }

    pub fn wild(&mut self) -> Word {
        Word::Is(match self.random.below(7) {
            0 => self.random.below(70),
            1 => self.random.pick(&[0, 63, 64, 65, u64::from(u32::MAX), u64::MAX, 1 << 32, (1 << 32) + 3]),
            2 => self.random.pick(&[USER_BASE, USER_BASE - 1, 2 * USER_BASE, 2 * USER_BASE - 8, 1 << 63]),
            3 => return Word::At(self.random.below(2 * PAGE_SIZE)),
            4 => self.random.below(20) * TICK,
            5 => self.random.below(40) * PAGE_SIZE,
            _ => self.random.next(),
        })
    }

    fn put(&mut self, bytes: &[u8]) -> Word {
        let at = if self.random.once_in(30) { self.random.below(PAGE_SIZE) } else { SPEC };
        self.writes.push((at, bytes.to_vec()));
        Word::At(at)
    }

    pub fn rights(&mut self) -> u64 {
        if self.random.once_in(3) { self.random.next() & 0x3ff } else { Rights::all().bits().into() }
    }

    fn bits(&mut self) -> Word {
        Word::Is(if self.random.once_in(12) { 0 } else { 1 << self.random.below(64) })
    }

    fn deadline(&mut self) -> u64 {
        let soon = self.lab.model.now / TICK + self.random.below(8);
        match self.random.below(10) {
            0 => 0,
            1..4 => FOREVER,
            4 => self.random.below(self.lab.model.now),
            // No two at once, or the kernel could choose who comes first.
            _ if self.lab.model.turns.on => {
                (self.lab.model.now + self.random.below(8 * TICK)) / 1000 * 1000 + self.lab.steps % 1000
            }
            _ => soon * TICK + TICK / 2,
        }
    }

    /// Message word and buffer.
    fn message(&mut self) -> [Word; 8] {
        let mut buffer = IpcBuffer::zeroed();
        let caps = if self.random.once_in(3) { self.random.below(5) as usize } else { 0 };
        for n in 0..caps.min(4) {
            let slot = if let Word::Is(slot) = self.any() { slot as u32 } else { 1 };
            let mode = if self.random.once_in(20) { 2 } else { self.random.below(2) as u32 };
            buffer.send_caps[n] = SendCap { slot, mode, rights: self.rights() as u32, reserved: 0 };
        }
        for slot in &mut buffer.receive_slots {
            *slot = if let Word::Is(slot) = self.free() { slot as u32 } else { 0 };
        }
        buffer.data.fill(self.random.next() as u8);
        let inline = if self.random.once_in(3) { self.random.below(1100) as usize } else { 0 };
        let at = match self.random.below(16) {
            0 => Word::Is(0),
            1 => self.wild(),
            2 => Word::At(self.random.below(512) * 8),
            _ => Word::At(0),
        };
        if let Word::At(at) = at {
            self.writes.push((at, buffer.as_bytes().to_vec()));
        }
        let info = MessageInfo::new(self.random.next() as u32).with_inline(inline).with_caps(caps).0;
        let w = |random: &mut Random| Word::Is(random.next());
        let r = &mut *self.random;
        let words = [w(r), w(r), w(r), w(r)];
        let [w0, w1, w2, w3] = words;
        let kind = self.random.below(4) << 56;
        if self.random.once_in(2) {
            // What the fast path is for.
            let info = MessageInfo::new(self.random.next() as u32).0;
            return [Word::Is(0), Word::Is(info), w0, w1, w2, w3, Word::Is(FOREVER), at];
        }
        [Word::Is(0), Word::Is(info | kind), w0, w1, w2, w3, Word::Is(self.deadline()), at]
    }

    fn create(&mut self) -> [Word; 5] {
        let kind = self.random.pick(&[
            T::Account,
            T::Sandbox,
            T::Region,
            T::Region,
            T::Endpoint,
            T::Endpoint,
            T::Port,
            T::Port,
            T::Notification,
            T::IoPorts,
        ]);
        let (a, b) = match kind {
            T::Account => {
                let (frames, objects) = (self.random.below(24), self.random.below(12));
                let name = self.name([b'm'; 32]);
                (self.put(AccountSpec { frames, objects, name }.as_bytes()), Word::Is(0))
            }
            T::Sandbox => {
                let slots = self.random.pick(&[64, 64, 64, 512, 65, 32]);
                let priority = plans::priority(self.random, self.lab);
                let mut spec = plans::sandbox(self.random, slots, priority);
                spec.name = self.name(spec.name);
                (self.put(spec.as_bytes()), Word::Is(0))
            }
            T::Region => {
                let odd = if self.random.once_in(8) { self.random.below(PAGE_SIZE) } else { 0 };
                (Word::Is(self.random.below(9) * PAGE_SIZE + odd), Word::Is(0))
            }
            T::IoPorts => (self.a(T::IoPorts), Word::Is(self.random.next() & 0x3f_ffff)),
            T::Port => (self.a(T::Endpoint), Word::Is(self.random.next())),
            _ => (Word::Is(0), Word::Is(0)),
        };
        let number = if self.random.once_in(40) { self.random.below(30) } else { kind as u64 };
        [self.a(T::Account), Word::Is(number), self.free(), a, b]
    }

    fn transaction(&mut self) -> [Word; 5] {
        let count = self.random.below(4) + 1;
        let (mut bytes, mut last) = (Vec::new(), None::<[Word; 4]>);
        for _ in 0..count {
            let kind = self.random.pick(&[
                EntryKind::MoveCapability,
                EntryKind::MoveCapability,
                EntryKind::SwitchPort,
                EntryKind::SwitchPort,
                EntryKind::SwitchPort,
                EntryKind::RebindIrq,
                EntryKind::Signal,
            ]);
            let zero = Word::Is(0);
            let args = match kind {
                EntryKind::MoveCapability => {
                    let [a, b, c, d] = [self.space(), self.any(), self.space(), self.free()];
                    // Twice from one slot, or twice to one, is what a transaction must refuse.
                    let args = match last {
                        Some([x, y, ..]) if self.random.once_in(4) => [x, y, c, d],
                        Some([.., x, y]) if self.random.once_in(4) => [a, b, x, y],
                        _ => [a, b, c, d],
                    };
                    last = Some(args);
                    args
                }
                EntryKind::SwitchPort => [self.space(), self.a(T::Port), self.a(T::Endpoint), zero],
                EntryKind::RebindIrq => [self.a(T::Irq), self.a(T::Notification), self.bits(), zero],
                EntryKind::Signal => [self.a(T::Notification), self.bits(), zero, zero],
            };
            let args = args.map(|word| if let Word::Is(value) = word { value } else { USER_BASE });
            let kind = if self.random.once_in(60) { self.random.below(9) } else { kind as u64 };
            bytes.extend_from_slice(Entry { kind, args }.as_bytes());
        }
        let told = match self.random.below(40) {
            0 => 0,
            1 => 257,
            2 => count + self.random.below(60),
            _ => count,
        };
        [self.put(&bytes), Word::Is(told), Word::Is(0), Word::Is(0), Word::Is(0)]
    }

    pub fn plausible(&mut self, call: Syscall) -> [Word; 8] {
        let zero = Word::Is(0);
        let [a, b, c, d, e] = match call {
            Syscall::Call | Syscall::Receive | Syscall::Reply | Syscall::ReplyReceive => {
                let mut words = self.message();
                words[0] = if call == Syscall::Call { self.a(T::Port) } else { self.a(T::Endpoint) };
                return words;
            }
            Syscall::Signal if self.random.once_in(3) => [self.a(T::Port), self.bits(), zero, zero, zero],
            Syscall::Signal => [self.a(T::Notification), self.bits(), zero, zero, zero],
            Syscall::Wait => [self.a(T::Notification), Word::Is(self.deadline()), zero, zero, zero],
            Syscall::CapCopy => {
                [self.space(), self.free(), self.space(), self.any(), Word::Is(self.rights())]
            }
            Syscall::CapMove => [self.space(), self.free(), self.space(), self.any(), zero],
            Syscall::CapDelete if self.random.once_in(3) => [zero, self.watched(), zero, zero, zero],
            Syscall::CapDelete | Syscall::CapRevoke | Syscall::CapInfo | Syscall::Destroy => {
                [self.space(), self.any(), zero, zero, zero]
            }
            Syscall::Create => self.create(),
            Syscall::RegionMap if self.random.once_in(3) => {
                [self.a(T::Device), self.a(T::Region), Word::Is(self.random.below(4)), zero, zero]
            }
            Syscall::RegionUnmap if self.random.once_in(3) => {
                [self.a(T::Device), self.memory_object(), zero, zero, zero]
            }
            Syscall::DeviceInfo => {
                [self.a(T::Device), Word::At(self.random.below(PAGE_SIZE)), zero, zero, zero]
            }
            Syscall::DeviceMaster => [self.a(T::Device), Word::Is(self.random.below(2)), zero, zero, zero],
            Syscall::DeviceVector => {
                let entry = Word::Is(self.random.below(5));
                [self.a(T::Device), entry, self.free(), self.a(T::Account), zero]
            }
            Syscall::DeviceBar => {
                let bar = Word::Is(if self.random.once_in(6) { self.random.below(7) } else { 0 });
                [self.a(T::Device), bar, self.free(), self.a(T::Account), zero]
            }
            Syscall::IoRead | Syscall::IoWrite => {
                let [width, value] = [self.random.pick(&[1, 1, 2, 4, 3]), self.random.next()].map(Word::Is);
                [self.a(T::IoPorts), Word::Is(self.random.next() & 0xffff), width, value, zero]
            }
            Syscall::RegionMap => {
                [self.space(), self.memory_object(), Word::Is(self.random.below(9)), zero, zero]
            }
            Syscall::RegionUnmap => [self.space(), self.memory_object(), zero, zero, zero],
            Syscall::RegionSeal => {
                let [read_only, execute] = [0; 2].map(|_| self.random.below(3));
                let guard = self.random.pick(&[0, 0, 0, 3, 5]);
                let [read_only, execute] = [read_only, execute].map(|n: u64| n.min(self.random.below(3)));
                [
                    self.a(T::Region),
                    self.put(SealSpec { read_only, execute, guard }.as_bytes()),
                    zero,
                    zero,
                    zero,
                ]
            }
            Syscall::RegionInfo => [self.memory_object(), zero, zero, zero, zero],
            Syscall::ClockMap => [self.a(T::Clock), self.space(), zero, zero, zero],
            Syscall::PortSwitch => [self.a(T::Port), self.a(T::Endpoint), zero, zero, zero],
            Syscall::Transaction => self.transaction(),
            Syscall::ThreadStart => {
                let slot = if self.random.once_in(2) { zero } else { self.free() };
                let spec = plans::thread(self.random.next());
                [self.a(T::Account), self.space(), slot, self.put(spec.as_bytes()), zero]
            }
            Syscall::SandboxFaultPort => [self.a(T::Sandbox), self.a(T::Port), zero, zero, zero],
            Syscall::SandboxFreeze | Syscall::SandboxReset => [self.a(T::Sandbox), zero, zero, zero, zero],
            Syscall::SandboxFuse => {
                let calls = if self.random.once_in(8) { u64::MAX } else { self.random.below(12) };
                [self.a(T::Sandbox), Word::Is(calls), Word::Is(7), zero, zero]
            }
            Syscall::SandboxShare => {
                let priority = plans::priority(self.random, self.lab);
                let share = plans::sandbox(self.random, 64, priority);
                let [budget, period, hard] = [share.budget, share.period, share.hard_limit].map(Word::Is);
                [self.a(T::Sandbox), Word::Is(priority), budget, period, hard]
            }
            Syscall::BindNotification => [self.a(T::Notification), zero, zero, zero, zero],
            Syscall::PortWatch => [self.a(T::Port), self.a(T::Notification), self.bits(), zero, zero],
            Syscall::EndpointNotify => [self.a(T::Endpoint), self.a(T::Notification), zero, zero, zero],
            Syscall::IrqBind => [self.a(T::Irq), self.a(T::Notification), self.bits(), zero, zero],
            Syscall::IrqAck => [self.a(T::Irq), zero, zero, zero, zero],
            Syscall::AuditNote => {
                let words = [self.random.next(), self.random.next()].map(Word::Is);
                let text: [u8; 32] = core::array::from_fn(|_| self.random.next() as u8);
                [self.a(T::Audit), words[0], words[1], self.put(&text), zero]
            }
            Syscall::Power => [self.a(T::Power), Word::Is(self.random.below(4)), zero, zero, zero],
            Syscall::Entropy => {
                let bytes = Word::Is(self.random.below(300));
                [self.a(T::Entropy), Word::At(self.random.below(PAGE_SIZE)), bytes, zero, zero]
            }
            _ => [zero; 5],
        };
        [a, b, c, d, e, zero, zero, zero]
    }

    /// Some names have what does not belong there, or end before it.
    fn name(&mut self, mut name: [u8; 32]) -> [u8; 32] {
        if self.random.once_in(6) {
            name[3] = self.random.pick(b"\n\x1b\x7f\0\0");
            name[9] = b'\n';
        }
        name
    }

    /// The manager keeps what it needs to go on: its first slots and its memory.
    pub fn spare(&self, who: u32, call: Syscall, words: &mut [Word; 8]) {
        if who != MANAGER {
            return;
        }
        // With a copy of its memory it could destroy that.
        let memory = |word: &Word| matches!(word, Word::Is(slot) if *slot as u32 == plans::MEMORY);
        if call == Syscall::CapCopy && memory(&words[3]) {
            words[3] = Word::Is(0);
        }
        let slot = match call {
            Syscall::CapMove => 3,
            Syscall::ThreadStart => 1,
            Syscall::RegionUnmap | Syscall::CapDelete | Syscall::CapRevoke | Syscall::Destroy => 1,
            Syscall::Transaction => return words[1] = Word::Is(0),
            _ => return,
        };
        if !matches!(words[slot], Word::Is(kept) if kept as u32 >= plans::POOL) {
            words[slot] = Word::Is(u64::from(plans::POOL) + 900);
        }
    }
}
