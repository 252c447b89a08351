//! The kernel's state as one value, and how capabilities lead to objects.

use crate::audit::{Audit, Entry};
use crate::caps::{Cap, CapTable};
use crate::config as bound;
use crate::frames::Frames;
use crate::iommu::Iommu;
use crate::list::List;
use crate::log::Log;
use crate::machine::Machine;
use crate::objects::{
    Account, Device, Endpoint, Header, IoRange, Irq, Mapping, Notification, ObjectRef, PENDING, Port,
    RUNNABLE, Region, Sandbox, Thread,
};
use crate::pool::{Arena, Id, Link, NONE, Pool};
use crate::refusals::Restraint;
use crate::sched::Scheduler;
use crate::timers::Timers;
use core::fmt::Write;
use hic_abi::audit::Event;
use hic_abi::log::{LINE, Text};
use hic_abi::{Error, Handle, ObjectType, Rights, SELF};

/// Serial number of the first sandbox, the keeper.
pub const FIRST_SERIAL: u64 = 1;

/// Bytes of tables for a machine whose usable memory spans this many frames.
pub const fn arena_need(frames: usize) -> usize {
    Pool::<Account>::bytes(bound::MAX_ACCOUNTS)
        + Pool::<Sandbox>::bytes(bound::MAX_SANDBOXES)
        + Pool::<Thread>::bytes(bound::MAX_THREADS)
        + Pool::<Region>::bytes(bound::MAX_REGIONS)
        + Pool::<Mapping>::bytes(bound::MAX_MAPPINGS)
        + Pool::<Endpoint>::bytes(bound::MAX_ENDPOINTS)
        + Pool::<Port>::bytes(bound::MAX_PORTS)
        + Pool::<Notification>::bytes(bound::MAX_NOTIFICATIONS)
        + Pool::<Irq>::bytes(bound::MAX_IRQS)
        + Pool::<IoRange>::bytes(bound::MAX_IO_RANGES)
        + Pool::<Device>::bytes(bound::MAX_DEVICES)
        + CapTable::BYTES
        + Timers::bytes(bound::MAX_THREADS)
        + Timers::bytes(bound::MAX_SANDBOXES)
        + Frames::bytes(frames)
        + Audit::BYTES
        + Log::BYTES
        + 4096
}

/// Counters for the console; they never steer anything.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counters {
    /// System calls served, but for those of the fast path.
    pub system_calls: u64,
    /// System calls that the fast path served; each changes the running thread.
    pub fast_calls: u64,
    /// Interrupts taken.
    pub interrupts: u64,
    /// Changes of the running thread, but for those of the fast path.
    pub switches: u64,
    /// Time spent idle.
    pub idle: u64,
    /// Accesses and interrupts of devices that the IOMMU refused.
    pub dma_faults: u64,
}

/// Core-0.
pub struct Kernel<M: Machine> {
    pub(crate) machine: M,
    pub(crate) accounts: Pool<Account>,
    pub(crate) sandboxes: Pool<Sandbox>,
    pub(crate) threads: Pool<Thread>,
    pub(crate) regions: Pool<Region>,
    pub(crate) mappings: Pool<Mapping>,
    pub(crate) endpoints: Pool<Endpoint>,
    pub(crate) ports: Pool<Port>,
    pub(crate) notifications: Pool<Notification>,
    pub(crate) irqs: Pool<Irq>,
    pub(crate) io_ranges: Pool<IoRange>,
    pub(crate) devices: Pool<Device>,
    pub(crate) iommu: Option<Iommu>,
    /// The source of the I/O APIC's interrupts, where interrupts are remapped.
    pub(crate) io_apic: u16,
    pub(crate) restraint: Restraint,
    /// The IOMMU may have recorded refusals of which no interrupt will tell.
    pub(crate) unread: bool,
    pub(crate) caps: CapTable,
    pub(crate) frames: Frames,
    /// Deadlines of threads.
    pub(crate) timers: Timers,
    /// When the budgets of sandboxes that spent them are renewed.
    pub(crate) renewals: Timers,
    pub(crate) sched: Scheduler,
    pub(crate) audit: Audit,
    pub(crate) log: Log,
    /// Interrupt object of each processor vector.
    pub(crate) vectors: [Option<u32>; 256],
    /// Frozen sandboxes whose threads are still to be stopped, and destroyed ones that are to be taken apart.
    pub(crate) unfinished: List<RUNNABLE>,
    /// Who ended the sandbox that is being taken apart at this moment: it may be long after the call, while somebody else runs.
    pub(crate) on_behalf: Option<u64>,
    /// Ports with callers that nobody will receive: the port was destroyed, or where it led.
    pub(crate) closing: List<PENDING>,
    /// What this entry has done of work that need not be done at once ([`bound::EFFORT`]).
    pub(crate) effort: u32,
    pub(crate) total_frames: u64,
    pub(crate) kernel_frames: u64,
    pub(crate) next_serial: u64,
    /// Tells this boot from others, where the machine has random numbers.
    pub(crate) boot: u64,
    pub(crate) counters: Counters,
    /// Sandboxes that will freeze at one of their next system calls.
    pub(crate) fuses: u32,
    /// Capabilities on the objects that there always are.
    pub(crate) fixed: Header,
}

impl<M: Machine> Kernel<M> {
    /// An empty kernel over this machine and this usable memory.
    pub fn new(mut machine: M, arena: &'static mut [u8], usable: &[core::ops::Range<u64>]) -> Self {
        let arena = &mut Arena::new(arena);
        let mut boot = [0; 8];
        machine.entropy(&mut boot);
        Self {
            machine,
            accounts: Pool::new(arena, bound::MAX_ACCOUNTS),
            sandboxes: Pool::new(arena, bound::MAX_SANDBOXES),
            threads: Pool::new(arena, bound::MAX_THREADS),
            regions: Pool::new(arena, bound::MAX_REGIONS),
            mappings: Pool::new(arena, bound::MAX_MAPPINGS),
            endpoints: Pool::new(arena, bound::MAX_ENDPOINTS),
            ports: Pool::new(arena, bound::MAX_PORTS),
            notifications: Pool::new(arena, bound::MAX_NOTIFICATIONS),
            irqs: Pool::new(arena, bound::MAX_IRQS),
            io_ranges: Pool::new(arena, bound::MAX_IO_RANGES),
            devices: Pool::new(arena, bound::MAX_DEVICES),
            iommu: None,
            io_apic: 0,
            restraint: Restraint::default(),
            unread: false,
            caps: CapTable::new(arena),
            timers: Timers::new(arena, bound::MAX_THREADS),
            renewals: Timers::new(arena, bound::MAX_SANDBOXES),
            frames: Frames::new(arena, usable),
            audit: Audit::new(arena),
            log: Log::new(arena),
            sched: Scheduler::new(),
            vectors: [None; 256],
            unfinished: List::new(),
            on_behalf: None,
            closing: List::new(),
            effort: 0,
            total_frames: 0,
            kernel_frames: 0,
            next_serial: FIRST_SERIAL,
            boot: u64::from_le_bytes(boot),
            counters: Counters::default(),
            fuses: 0,
            fixed: Header { account: NONE, capabilities: 0 },
        }
    }

    /// Index of the sandbox whose thread made this call.
    #[inline(always)]
    pub(crate) fn caller(&self) -> u32 {
        let thread = self.sched.current.and_then(|thread| self.threads.follow(thread));
        thread.expect("a system call comes from a running thread").sandbox
    }

    /// The sandbox whose thread made this call, as the space of its handles.
    #[inline(always)]
    pub(crate) fn own_space(&self) -> Result<Link<Sandbox>, Error> {
        let thread = self.sched.current.and_then(|thread| self.threads.follow(thread));
        thread.map(|thread| thread.home).ok_or(Error::InvalidHandle)
    }

    /// Index of a sandbox named by a `space` argument.
    #[inline(always)]
    pub(crate) fn space(&self, handle: Handle) -> Result<u32, Error> {
        self.space_of(self.own_space()?, handle).map(Link::index)
    }

    /// The sandbox that a `space` argument of this one names.
    #[inline(always)]
    pub(crate) fn space_of(&self, own: Link<Sandbox>, handle: Handle) -> Result<Link<Sandbox>, Error> {
        if handle == SELF {
            return Ok(own);
        }
        let id = self.named(self.place_in(own, handle)?, ObjectType::Sandbox, Rights::MANAGE)?;
        let there = self.sandboxes.find(id).ok_or(Error::InvalidHandle)?;
        let lives = self.sandboxes.follow(there).is_some_and(|sandbox| !sandbox.condemned);
        if lives { Ok(there) } else { Err(Error::InvalidHandle) }
    }

    /// Place in the slot table of a slot of a space.
    #[inline(always)]
    pub(crate) fn place_in(&self, space: Link<Sandbox>, slot: Handle) -> Result<u32, Error> {
        self.sandboxes.follow(space).and_then(|sandbox| sandbox.place(slot)).ok_or(Error::InvalidHandle)
    }

    /// Place of an empty slot of a space.
    #[inline(always)]
    pub(crate) fn empty_place(&self, space: Link<Sandbox>, slot: Handle) -> Result<u32, Error> {
        let place = self.place_in(space, slot).map_err(|_| Error::SlotUnusable)?;
        if self.caps.is_empty(place) { Ok(place) } else { Err(Error::SlotUnusable) }
    }

    /// [`Self::empty_place`] by the sandbox's index.
    pub(crate) fn empty_slot(&self, sandbox: u32, slot: Handle) -> Result<u32, Error> {
        self.empty_place(self.link_to(sandbox)?, slot)
    }

    /// Where the sandbox of this index lies.
    #[inline(always)]
    pub(crate) fn link_to(&self, sandbox: u32) -> Result<Link<Sandbox>, Error> {
        self.sandboxes.link(sandbox).ok_or(Error::InvalidHandle)
    }

    /// The capability in a slot of a space, if its object still lives, and its place in the slot table.
    #[inline(always)]
    pub(crate) fn filled_place(&self, space: Link<Sandbox>, slot: Handle) -> Result<(u32, &Cap), Error> {
        let place = self.place_in(space, slot)?;
        match self.caps.get(place) {
            Some(cap) if self.is_live(cap.object) => Ok((place, cap)),
            _ => Err(Error::InvalidHandle),
        }
    }

    /// Index of the object behind one of the caller's handles, when it is of this type and the capability has these rights.
    #[inline(always)]
    pub(crate) fn object(&self, handle: Handle, kind: ObjectType, rights: Rights) -> Result<u32, Error> {
        self.object_of(self.own_space()?, handle, kind, rights).map(|id| id.index)
    }

    /// The object behind a handle of this space, under the same conditions.
    #[inline(always)]
    pub(crate) fn object_of(
        &self,
        space: Link<Sandbox>,
        handle: Handle,
        kind: ObjectType,
        rights: Rights,
    ) -> Result<Id, Error> {
        let id = self.named(self.place_in(space, handle)?, kind, rights)?;
        // The type is a constant where this is inlined, so that one comparison is left of the choice in there.
        if !self.is_live(ObjectRef { kind, id }) {
            return Err(Error::InvalidHandle);
        }
        Ok(id)
    }

    /// The object that a slot names, which may be gone, when it is of this type and the capability has these rights.
    #[inline(always)]
    pub(crate) fn named(&self, place: u32, kind: ObjectType, rights: Rights) -> Result<Id, Error> {
        let cap = self.caps.get(place).ok_or(Error::InvalidHandle)?;
        if cap.object.kind != kind || !cap.rights.contains(rights) {
            return Err(self.mismatch(place, kind));
        }
        Ok(cap.object.id)
    }

    /// Why a filled slot is not what was asked for: its object is gone, of another type, or more than the capability allows.
    #[cold]
    pub(crate) fn mismatch(&self, place: u32, kind: ObjectType) -> Error {
        match self.caps.get(place) {
            Some(cap) if !self.is_live(cap.object) => Error::InvalidHandle,
            Some(cap) if cap.object.kind != kind => Error::WrongType,
            _ => Error::MissingRights,
        }
    }

    /// Whether an object still lives.
    #[inline(always)]
    pub(crate) fn is_live(&self, object: ObjectRef) -> bool {
        let id = object.id;
        match object.kind {
            ObjectType::Account => self.accounts.is_live(id),
            ObjectType::Sandbox => self.sandboxes.get(id).is_some_and(|sandbox| !sandbox.condemned),
            ObjectType::Thread => self.threads.is_live(id),
            ObjectType::Region | ObjectType::Mmio | ObjectType::Clock => self.regions.is_live(id),
            ObjectType::Endpoint => self.endpoints.is_live(id),
            ObjectType::Port => self.ports.is_live(id),
            ObjectType::Notification => self.notifications.is_live(id),
            ObjectType::Irq => self.irqs.is_live(id),
            ObjectType::IoPorts => self.io_ranges.is_live(id),
            ObjectType::Device => self.devices.is_live(id),
            ObjectType::Audit | ObjectType::Log | ObjectType::Entropy | ObjectType::Power => true,
        }
    }

    /// Appends an audit record caused by the current sandbox.
    pub(crate) fn record(&mut self, event: Event, subject: u64, a: u64, b: u64, text: [u8; 32]) {
        let (nanos, actor) = (self.machine.now(), self.actor());
        self.audit.append(&Entry { nanos, actor, subject, event, a, b }, &text);
    }

    /// Serial number of the sandbox whose doing this is: who ended what is being taken apart, or who made the call; 0 = nobody.
    pub(crate) fn actor(&self) -> u64 {
        let running = self.sched.current().map_or(0, |t| self.sandboxes[self.threads[t].sandbox].serial);
        self.on_behalf.unwrap_or(running)
    }

    /// A line for the log, with the time and the name of who says it.
    pub(crate) fn log_line(&mut self, who: &str, text: &[u8]) {
        let now = self.machine.now();
        let mut line = Text::<{ LINE + 80 }>::new();
        let _ = write!(line, "[{:5}.{:06}] {who}: ", now / 1_000_000_000, now / 1000 % 1_000_000);
        line.push(text);
        line.push(b"\n");
        self.log.append(line.as_bytes());
        match self.log.watch {
            Some((watcher, bits)) if self.notifications.is_live(watcher) => self.signal_id(watcher, bits),
            _ => self.machine.print(line.as_bytes()),
        }
    }

    /// Sets bits of a notification that may be gone by now.
    pub(crate) fn signal_id(&mut self, id: Id, bits: u64) {
        if self.notifications.is_live(id) {
            self.signal(id.index, bits);
        }
    }
}
