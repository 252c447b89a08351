//! Everything that both can be asked, asked of both. The kernel answers by `Inspect` where it can be asked that way; registers, pages and
//! bytes are looked at as a thread would see them.

use super::lab::{Lab, words_of};
use super::state::{Doing, Id, Registers};
use crate::machine::Machine;
use crate::objects::State;
use crate::tests::sim::{BAR_BASE, DEVICE_FUNCTION, MSIX_PAGE, VECTORS};
use crate::tests::world::AUDIT;
use core::fmt::Debug;
use hic_abi::inspect::{AccountInfo, CapInfo, MemoryInfo, PortInfo, SandboxInfo, SystemInfo, What};
use hic_abi::syscall::Syscall;
use hic_abi::{Error, ObjectType, PAGE_SIZE, Plain, USER_BASE};
use std::collections::BTreeMap;
use std::format;
use std::string::String;
use std::vec::Vec;

/// Steps between two looks at what costs much: empty slots and all of memory.
const FULL: u64 = 32;

/// Steps between two accesses of the device to all pages.
const DEVICES: u64 = 4;

/// Complains when the two differ.
pub fn same<T: PartialEq + Debug>(what: impl Fn() -> String, kernel: T, model: T) -> Result<(), String> {
    if kernel == model {
        return Ok(());
    }
    Err(format!("{}: the kernel has {kernel:x?}, the model {model:x?}", what()))
}

impl Lab {
    /// What differs, if anything does.
    pub fn compare(&mut self) -> Result<(), String> {
        let index = self.w.manager.thread;
        for sandbox in self.model.all(ObjectType::Sandbox) {
            self.compare_threads(sandbox)?;
        }
        // From here on the manager asks; what that does to its registers is undone.
        let frame = self.w.k.threads[index].context.frame;
        self.forget_the_dead();
        let children = self.model.children();
        for sandbox in self.model.all(ObjectType::Sandbox) {
            let at = self.kernel_sandbox(sandbox).expect("compared above");
            self.compare_slots(sandbox, at, &children)?;
            self.compare_pages(sandbox, at)?;
        }
        for sandbox in self.model.all(ObjectType::Sandbox) {
            self.compare_sandbox(sandbox)?;
        }
        let names: Vec<((u64, u64), Id)> = self.names.iter().map(|(name, id)| (*name, *id)).collect();
        for ((kind, at), id) in names {
            match ObjectType::from_number(kind) {
                Some(ObjectType::Account) => self.compare_account(at, id)?,
                Some(ObjectType::Port) => self.compare_port(at, id)?,
                Some(ObjectType::Notification) => {
                    let bits = self.w.k.notifications[at as u32].bits;
                    same(|| format!("bits of notification {at}"), bits, self.model.notification(id).bits)?;
                }
                _ => {}
            }
        }
        self.compare_totals()?;
        self.compare_devices()?;
        self.compare_records()?;
        let power = self.w.k.machine.power.map(|action| action as u64);
        same(|| "how the system was ended".into(), power, self.model.power)?;
        self.w.k.threads[index].context.frame = frame;
        self.compare_memory()
    }

    fn inspect<T: Plain>(&mut self, what: What, index: u64) -> Result<T, Error> {
        if self.model.turns.on {
            return self.look(what, index);
        }
        let manager = self.w.manager;
        // The answer goes to the second page of the manager's memory, which nobody else has.
        let at = manager.memory + PAGE_SIZE;
        let args = [AUDIT.into(), what as u64, index, at, size_of::<T>() as u64];
        self.w.sys(manager, Syscall::Inspect, args).expect("it does not block")?;
        let mut value = T::zeroed();
        let bytes = self.w.k.machine.bytes(at - USER_BASE, size_of::<T>() as u64);
        value.as_bytes_mut().copy_from_slice(bytes);
        Ok(value)
    }

    /// The same without a system call, which would be somebody's turn.
    fn look<T: Plain>(&self, what: What, index: u64) -> Result<T, Error> {
        let k = &self.w.k;
        let mut value = T::zeroed();
        let mut take = |bytes: &[u8]| value.as_bytes_mut().copy_from_slice(bytes);
        match what {
            What::Memory => take(k.memory_info().as_bytes()),
            What::Account => take(k.account_info(index)?.as_bytes()),
            What::Sandbox => take(k.sandbox_info(index)?.as_bytes()),
            What::Port => take(k.port_info(index)?.as_bytes()),
            What::Capability => take(k.cap_info(index)?.as_bytes()),
            What::System => take(k.system_info().as_bytes()),
        }
        Ok(value)
    }

    fn compare_threads(&self, sandbox: Id) -> Result<(), String> {
        let serial = self.model.sandbox(sandbox).serial;
        let index = self.kernel_sandbox(sandbox).ok_or(format!("the kernel has no sandbox {serial}"))?;
        let (kernel, model) = (self.kernel_threads(index), &self.model.sandbox(sandbox).threads);
        same(|| format!("threads of sandbox {serial}"), kernel.len(), model.len())?;
        for (number, (at, id)) in kernel.iter().zip(model).enumerate() {
            let name = |what: &str| format!("{what} of thread {number} of sandbox {serial}");
            let (thread, expected) = (&self.w.k.threads[*at], self.model.thread(*id));
            same(|| name("state"), state(&thread.state), doing(expected.doing))?;
            if expected.doing == Doing::Ready {
                let f = &thread.context.frame;
                let (rax, rdi, rsi, rdx, r10) = (f.rax, f.rdi, f.rsi, f.rdx, f.r10);
                let (r8, r9, r12, r13) = (f.r8, f.r9, f.r12, f.r13);
                let got = Registers { rax, rdi, rsi, rdx, r10, r8, r9, r12, r13 };
                same(|| name("registers"), got, expected.registers)?;
            }
        }
        Ok(())
    }

    /// Names of objects that ended can mean others from now on.
    fn forget_the_dead(&mut self) {
        let model = &self.model;
        self.names.retain(|_, id| model.lives(*id));
    }

    fn compare_slots(
        &mut self,
        sandbox: Id,
        index: u32,
        children: &BTreeMap<u64, u64>,
    ) -> Result<(), String> {
        let all = self.steps.is_multiple_of(FULL);
        let slots: Vec<u32> = if all {
            (0..self.model.sandbox(sandbox).slots as u32).collect()
        } else {
            let own = |place: &&(Id, u32)| place.0 == sandbox;
            self.model.caps.keys().filter(own).map(|place| place.1).collect()
        };
        for slot in slots {
            let info: CapInfo = self
                .inspect(What::Capability, u64::from(index) << 32 | u64::from(slot))
                .map_err(|e| format!("slot {slot} of sandbox {index}: {e}"))?;
            let got = (info.object_type, info.rights, info.children);
            let cap =
                self.model.caps.get(&(sandbox, slot)).filter(|cap| self.model.lives(cap.object)).copied();
            let derived = |cap: u64| children.get(&cap).copied().unwrap_or(0);
            let due = cap.map_or((0, 0, 0), |c| (c.kind as u64, c.rights.bits().into(), derived(c.number)));
            same(|| format!("type, rights and children of slot {slot} of sandbox {index}"), got, due)?;
            if let Some(cap) = cap {
                self.learn(cap.kind, info.object, cap.object)?;
            }
        }
        Ok(())
    }

    /// One name, one object, and the other way round.
    fn learn(&mut self, kind: ObjectType, name: u64, object: Id) -> Result<(), String> {
        match self.names.get(&(kind as u64, name)) {
            Some(known) => same(|| format!("what {kind:?} {name} is"), object, *known),
            None if self.names.values().any(|known| *known == object) => {
                Err(format!("{kind:?} {name} is an object that has another name"))
            }
            None => {
                self.names.insert((kind as u64, name), object);
                Ok(())
            }
        }
    }

    /// Which addresses a sandbox can read, write and execute.
    fn compare_pages(&self, sandbox: Id, index: u32) -> Result<(), String> {
        let mut found = BTreeMap::new();
        self.walk(self.w.k.sandboxes[index].root, 4, 0, &mut found)?;
        same(|| format!("pages of sandbox {index}"), found, self.model.reach(sandbox))
    }

    fn walk(
        &self,
        table: u64,
        level: u32,
        base: u64,
        found: &mut BTreeMap<u64, (bool, bool)>,
    ) -> Result<(), String> {
        // The upper half of the top table is the kernel's.
        let bytes = self.w.k.machine.bytes(table, if level == 4 { PAGE_SIZE / 2 } else { PAGE_SIZE });
        for (n, bytes) in (0u64..).zip(bytes.chunks_exact(8)) {
            let entry = u64::from_le_bytes(bytes.try_into().expect("8 bytes"));
            if entry & 5 != 5 {
                continue;
            }
            let address = base + (n << (12 + 9 * (level - 1)));
            let target = entry & 0x000f_ffff_ffff_f000;
            if level > 1 {
                self.walk(target, level - 1, address, found)?;
            } else {
                same(|| format!("what is at {address:#x}"), USER_BASE + target, address)?;
                found.insert(target, (entry & 2 != 0, entry >> 63 == 0));
            }
        }
        Ok(())
    }

    fn compare_sandbox(&mut self, id: Id) -> Result<(), String> {
        let at = self.kernel_sandbox(id).expect("compared above");
        let info: SandboxInfo =
            self.inspect(What::Sandbox, at.into()).map_err(|e| format!("sandbox {at}: {e}"))?;
        let got = (info.serial, info.frozen, info.threads, info.capabilities, info.slots, info.priority);
        let filled = self.model.caps.keys().filter(|place| place.0 == id).count() as u64;
        let s = self.model.sandbox(id);
        let due = (s.serial, u64::from(s.frozen), s.threads.len() as u64, filled, s.slots, s.priority);
        same(|| format!("serial, frozen, threads, capabilities, slots, priority of sandbox {at}"), got, due)?;
        let got = (info.budget, info.period, info.hard_limit);
        let due = (s.time.budget, s.time.period, u64::from(s.time.hard));
        same(|| format!("budget, period and limit of sandbox {at}"), got, due)?;
        same(|| format!("name of sandbox {at}"), words_of(info.name), s.name)?;
        if self.model.turns.on {
            same(|| format!("time of sandbox {at}"), info.cpu_nanos, s.time.used)?;
        }
        self.compare_payer(&format!("sandbox {at}"), info.account, id)
    }

    fn compare_payer(&self, who: &str, account: u64, id: Id) -> Result<(), String> {
        let payer = self.model.objects[&id].payer;
        match self.names.get(&(ObjectType::Account as u64, account)) {
            Some(known) => same(|| format!("who pays for {who}"), Some(*known), payer),
            // Nobody ever showed a capability on it.
            None => Ok(()),
        }
    }

    fn compare_account(&mut self, at: u64, id: Id) -> Result<(), String> {
        let info: AccountInfo = self.inspect(What::Account, at).map_err(|e| format!("account {at}: {e}"))?;
        let got =
            (info.frames_used, info.page_tables, info.frames_limit, info.objects_used, info.objects_limit);
        let (frames, tables) = self.model.frames_used(id);
        let account = self.model.account(id);
        let objects = self.model.objects_used(id);
        let due = (frames, tables, account.frames_limit, objects, account.objects_limit);
        same(|| format!("frames, page tables, limit, objects, limit of account {at}"), got, due)?;
        same(|| format!("name of account {at}"), words_of(info.name), self.model.account(id).name)
    }

    fn compare_port(&mut self, at: u64, id: Id) -> Result<(), String> {
        let info: PortInfo = self.inspect(What::Port, at).map_err(|e| format!("port {at}: {e}"))?;
        let got = (info.badge, info.queued, info.senders, info.switches);
        let port = self.model.port(id);
        let due = (port.badge, port.queue.len() as u64, self.model.senders(id), port.switches);
        same(|| format!("badge, queued, senders, switches of port {at}"), got, due)?;
        let endpoint = port.endpoint;
        if self.model.lives(endpoint) {
            let named = self.names.get(&(ObjectType::Endpoint as u64, info.endpoint)).copied();
            same(|| format!("where port {at} leads"), named, Some(endpoint))?;
        }
        self.compare_payer(&format!("port {at}"), info.account, id)
    }

    fn compare_totals(&mut self) -> Result<(), String> {
        let info: SystemInfo = self.inspect(What::System, 0).map_err(|e| format!("system: {e}"))?;
        let got = (info.sandboxes, info.threads, info.ports, info.endpoints, info.regions, info.capabilities);
        let count = |kind| self.model.all(kind).len() as u64;
        let due = (
            count(ObjectType::Sandbox),
            count(ObjectType::Thread),
            count(ObjectType::Port),
            count(ObjectType::Endpoint),
            count(ObjectType::Region) + count(ObjectType::Clock) + count(ObjectType::Mmio),
            self.model.caps.len() as u64,
        );
        same(|| "sandboxes, threads, ports, endpoints, regions, capabilities".into(), got, due)?;
        same(
            || "notifications, accounts, mappings".into(),
            (self.w.k.notifications.live(), self.w.k.accounts.live(), self.w.k.mappings.live()),
            (
                count(ObjectType::Notification) as u32,
                count(ObjectType::Account) as u32,
                self.model.mappings.len() as u32,
            ),
        )?;
        let info: MemoryInfo = self.inspect(What::Memory, 0).map_err(|e| format!("memory: {e}"))?;
        let accounts = self.model.all(ObjectType::Account);
        let charged: u64 = accounts.iter().map(|id| self.model.frames_used(*id).0).sum();
        // A capability space is paid for in frames and lies in the kernel's own table.
        let sandboxes = self.model.all(ObjectType::Sandbox);
        let spaces: u64 = sandboxes.iter().map(|id| self.model.sandbox(*id).slots / 64).sum();
        same(|| "frames charged".into(), info.charged, charged - spaces)?;
        same(|| "frames".into(), info.total, info.kernel + info.free + info.charged)
    }

    /// Who uses the bus, which vectors are led to somebody, what a device reaches, and what ports heard.
    fn compare_devices(&mut self) -> Result<(), String> {
        let Some(device) = self.model.all(ObjectType::Device).first().copied() else { return Ok(()) };
        let masters = self.w.k.machine.pci_read(DEVICE_FUNCTION, 4) & 1 << 2 != 0;
        same(|| "whether the device masters the bus".into(), masters, self.model.device(device).masters)?;
        let vectors = self.model.vectors();
        for entry in 0..VECTORS {
            let at = BAR_BASE + MSIX_PAGE * PAGE_SIZE + 16 * entry;
            let [address, data] = [at, at + 8].map(|at| self.w.k.machine.mmio_read(at));
            let control = self.w.k.machine.mmio.get(&(at + 12)).copied();
            let open = control.is_some_and(|control| control & 1 == 0);
            same(|| format!("whether vector {entry} is open"), open, vectors.contains_key(&entry))?;
            let irq = vectors.get(&entry).and_then(|id| self.names.iter().find(|(_, known)| *known == id));
            if let Some(((_, index), _)) = irq {
                let vector = self.w.k.irqs[*index as u32].vector;
                let raised = self.w.k.machine.signal(DEVICE_FUNCTION, address, data);
                same(|| format!("where vector {entry} leads"), raised, Some(vector))?;
            }
        }
        same(|| "accesses to ports".into(), self.w.k.machine.io.clone(), self.model.ports.clone())?;
        if self.steps.is_multiple_of(DEVICES) {
            self.compare_dma(device)?;
        }
        Ok(())
    }

    /// Every page that there is, as the device sees it.
    fn compare_dma(&mut self, device: Id) -> Result<(), String> {
        let reach = self.model.reach(device);
        let pages: Vec<u64> = self.model.memory.keys().copied().collect();
        for page in pages {
            let due = if self.model.confined { reach.get(&page).map(|access| access.0) } else { Some(true) };
            let machine = &mut self.w.k.machine;
            let got = (machine.dma(DEVICE_FUNCTION, page, false), machine.dma(DEVICE_FUNCTION, page, true));
            let due = (due.is_some(), due == Some(true));
            same(|| format!("whether the device reads and writes the page at {page:#x}"), got, due)?;
        }
        Ok(())
    }

    /// The bytes of regions: those where threads have their buffers, and now and then all.
    fn compare_memory(&self) -> Result<(), String> {
        let all = self.steps.is_multiple_of(FULL);
        let buffers: Vec<u64> =
            self.model.threads().map(|(_, t)| t.registers.r13.wrapping_sub(USER_BASE)).collect();
        let private = self.w.manager.memory - USER_BASE + PAGE_SIZE;
        for (page, bytes) in self.model.memory.iter().filter(|(page, _)| **page != private) {
            let near =
                |at: &u64| at.wrapping_add(2 * PAGE_SIZE).wrapping_sub(*page) <= 2 * PAGE_SIZE + PAGE_SIZE;
            if (all || buffers.iter().any(near)) && self.w.k.machine.bytes(*page, PAGE_SIZE) != bytes {
                let differs = |at: &u64| {
                    let mut byte = [0];
                    self.w.k.machine.read(page + at, &mut byte);
                    byte[0] != bytes[*at as usize]
                };
                let at = (0..PAGE_SIZE).find(differs).unwrap_or(0);
                return Err(format!("byte {at} of the page at {page:#x} differs"));
            }
        }
        Ok(())
    }
}

fn state(state: &State) -> &'static str {
    match state {
        State::Ready => "ready",
        State::Queued { .. } => "queued",
        State::Awaiting { .. } => "awaiting",
        State::Receiving { .. } => "receiving",
        State::Waiting { .. } => "waiting",
        State::Faulted { .. } => "faulted",
        State::Stopped => "stopped",
    }
}

fn doing(doing: Doing) -> &'static str {
    match doing {
        Doing::Ready => "ready",
        Doing::Queued(_) => "queued",
        Doing::Awaiting(_) => "awaiting",
        Doing::Receiving(_) => "receiving",
        Doing::Waiting(_) => "waiting",
        Doing::Faulted(_) => "faulted",
        Doing::Stopped => "stopped",
    }
}
