//! How things begin: each object is charged first, then made, then named by one capability with all rights.

use crate::context::{Context, RESTORE_NEW, USER_CODE, USER_DATA, USER_FLAGS};
use crate::kernel::Kernel;
use crate::list::{Links, List};
use crate::machine::Machine;
use crate::objects::{
    Account, Budget, Endpoint, Header, IoRange, Notification, ObjectRef, Port, Queue, Sandbox, State, Thread,
};
use crate::pool::{Id, Pool};
use hic_abi::audit::Event;
use hic_abi::object::{AccountSpec, MAX_PRIORITY, SandboxSpec, ThreadSpec};
use hic_abi::syscall::Syscall;
use hic_abi::{Error, Handle, ObjectType, Rights, USER_BASE};

/// Shortest and longest budget period, nanoseconds.
const PERIODS: core::ops::RangeInclusive<u64> = 1_000_000..=1_000_000_000;

/// I/O ports that only the kernel touches: the interrupt controllers, and PCI configuration space, through which a driver could move a
/// BAR onto memory.
const KERNEL_PORTS: [core::ops::Range<u32>; 3] = [0x20..0x22, 0xa0..0xa2, 0xcf8..0xd00];

/// Puts a new object into its pool, or takes its charge back.
fn insert<M: Machine, T: 'static>(
    kernel: &mut Kernel<M>,
    header: Header,
    pool: impl FnOnce(&mut Kernel<M>) -> &mut Pool<T>,
    value: T,
) -> Result<Id, Error> {
    pool(kernel).insert(value).map_err(|_| {
        kernel.uncharge_object(header);
        Error::PoolFull
    })
}

impl<M: Machine> Kernel<M> {
    /// `Create`.
    #[inline(never)]
    pub(crate) fn sys_create(&mut self, args: [u64; 5]) -> Result<u64, Error> {
        let [account, kind, slot, a, b] = args;
        let account = self.object(account as Handle, ObjectType::Account, Rights::CHARGE)?;
        let kind = ObjectType::from_number(kind).ok_or(Error::InvalidArgument)?;
        let owner = self.caller();
        let place = self.empty_slot(owner, slot as Handle)?;
        let (id, value) = match kind {
            ObjectType::Account => (self.new_account(account, a)?, 0),
            ObjectType::Sandbox => self.create_sandbox(account, a)?,
            ObjectType::Region => {
                let (index, base) = match self.new_region(account, a) {
                    Err(Error::NoMemory) if self.is_worth_another_try(account, a) => {
                        return Ok(self.again(Syscall::Create));
                    }
                    made => made?,
                };
                (self.regions.id(index).ok_or(Error::PoolFull)?, USER_BASE + base)
            }
            ObjectType::Endpoint => (self.new_endpoint(account)?, 0),
            ObjectType::Port => (self.new_port(account, a as Handle, b)?, 0),
            ObjectType::Notification => (self.new_notification(account)?, 0),
            ObjectType::IoPorts => (self.new_io_range(account, a as Handle, b)?, 0),
            _ => return Err(Error::InvalidArgument),
        };
        self.grant(owner, place, ObjectRef { kind, id }, Rights::all());
        let thread = self.sched.running();
        self.threads[thread].context.frame.rdi = value;
        Ok(0)
    }

    fn new_account(&mut self, parent: u32, spec: u64) -> Result<Id, Error> {
        let spec: AccountSpec = self.read_user(spec)?;
        let header = self.charge_object(parent)?;
        let p = &mut self.accounts[parent];
        let frames_left = p.frames_limit.saturating_sub(p.frames_used);
        let objects_left = p.objects_limit.saturating_sub(p.objects_used);
        if frames_left < spec.frames || objects_left < spec.objects {
            self.uncharge_object(header);
            return Err(Error::NoMemory);
        }
        let account = Account {
            header,
            name: spec.name,
            frames_used: 0,
            page_tables: 0,
            frames_limit: spec.frames,
            objects_used: 0,
            objects_limit: spec.objects,
        };
        let id = insert(self, header, |k| &mut k.accounts, account)?;
        let p = &mut self.accounts[parent];
        p.frames_limit -= spec.frames;
        p.objects_limit -= spec.objects;
        self.record(Event::AccountCreated, 0, spec.frames, spec.objects, spec.name);
        Ok(id)
    }

    fn create_sandbox(&mut self, account: u32, spec: u64) -> Result<(Id, u64), Error> {
        let spec: SandboxSpec = self.read_user(spec)?;
        let id = self.new_sandbox(account, &spec)?;
        let serial = self.sandboxes[id.index].serial;
        self.record(Event::SandboxCreated, serial, 0, 0, spec.name);
        self.record(Event::Purpose, serial, 0, 0, spec.purpose);
        Ok((id, serial))
    }

    /// Makes a sandbox with empty page tables and an empty capability space.
    pub(crate) fn new_sandbox(&mut self, account: u32, spec: &SandboxSpec) -> Result<Id, Error> {
        let slots_ok = spec.slots.is_power_of_two() && (64..=65_536).contains(&spec.slots);
        let budget_ok = spec.budget == 0 || (PERIODS.contains(&spec.period) && spec.budget <= spec.period);
        if !slots_ok || spec.priority > MAX_PRIORITY || !budget_ok {
            return Err(Error::InvalidArgument);
        }
        let header = self.charge_object(account)?;
        let root = self.take_frames(account, 1).inspect_err(|_| self.uncharge_object(header))?;
        let space = self.take_space(account, spec.slots as u32).inspect_err(|_| {
            self.return_frames(account, root, 1);
            self.uncharge_object(header);
        })?;
        self.machine.init_root(root);
        let budget = Budget {
            amount: spec.budget,
            period: spec.period,
            left: spec.budget,
            since: self.machine.now(),
            hard: spec.hard_limit != 0,
        };
        let sandbox = Sandbox {
            header,
            serial: self.next_serial,
            name: spec.name,
            root,
            space,
            slots: spec.slots as u32,
            filled: 0,
            priority: spec.priority as u8,
            budget,
            cpu: 0,
            frozen: false,
            condemned: false,
            swept: 0,
            turn_left: 0,
            fault_port: None,
            fault: [0; 4],
            fuse: (0, 0),
            ready: List::new(),
            threads: List::new(),
            mappings: List::new(),
            lent: 0,
            queue: Queue::Idle,
            runnable: Links::FREE,
        };
        self.next_serial += 1;
        insert(self, header, |k| &mut k.sandboxes, sandbox).inspect_err(|_| {
            self.caps.free_space(space, spec.slots as u32);
            self.uncharge_frames(account, spec.slots / 64);
            self.return_frames(account, root, 1);
        })
    }

    fn take_space(&mut self, account: u32, slots: u32) -> Result<u32, Error> {
        self.charge_frames(account, u64::from(slots / 64))?;
        self.caps.take_space(slots).ok_or_else(|| {
            self.uncharge_frames(account, u64::from(slots / 64));
            Error::PoolFull
        })
    }

    /// Takes back a charge that has no frames of its own.
    pub(crate) fn uncharge_frames(&mut self, account: u32, count: u64) {
        if let Some(account) = self.accounts.at_mut(account) {
            account.frames_used -= count;
        }
    }

    fn new_endpoint(&mut self, account: u32) -> Result<Id, Error> {
        let header = self.charge_object(account)?;
        let endpoint = Endpoint { header, receiver: None, pending: List::new(), bell: None };
        insert(self, header, |k| &mut k.endpoints, endpoint)
    }

    fn new_port(&mut self, account: u32, endpoint: Handle, badge: u64) -> Result<Id, Error> {
        let endpoint = self.object(endpoint, ObjectType::Endpoint, Rights::MANAGE)?;
        let endpoint = self.endpoints.id(endpoint).ok_or(Error::InvalidHandle)?;
        let header = self.charge_object(account)?;
        let port = Port {
            header,
            endpoint,
            badge,
            callers: List::new(),
            dead: false,
            senders: 0,
            watch: None,
            switches: 0,
            pending: Links::FREE,
        };
        insert(self, header, |k| &mut k.ports, port)
    }

    fn new_notification(&mut self, account: u32) -> Result<Id, Error> {
        let header = self.charge_object(account)?;
        let notification = Notification { header, bits: 0, waiter: None, bound: None };
        insert(self, header, |k| &mut k.notifications, notification)
    }

    /// A part of an I/O port range: `b` = first port | count << 16.
    fn new_io_range(&mut self, account: u32, whole: Handle, b: u64) -> Result<Id, Error> {
        let whole = self.object(whole, ObjectType::IoPorts, Rights::MANAGE)?;
        let (base, count) = (b as u16, (b >> 16) as u32);
        let outer = &self.io_ranges[whole];
        let start = u32::from(base);
        let inside = start >= u32::from(outer.base)
            && count > 0
            && start.checked_add(count).is_some_and(|end| end <= u32::from(outer.base) + outer.count);
        let end = start + count.min(0x1_0000);
        if !inside || KERNEL_PORTS.iter().any(|own| start < own.end && own.start < end) {
            return Err(Error::InvalidArgument);
        }
        let header = self.charge_object(account)?;
        insert(self, header, |k| &mut k.io_ranges, IoRange { header, base, count })
    }

    /// `ThreadStart`.
    pub(crate) fn sys_thread_start(
        &mut self,
        account: Handle,
        sandbox: Handle,
        slot: Handle,
        spec: u64,
    ) -> Result<u64, Error> {
        let account = self.object(account, ObjectType::Account, Rights::CHARGE)?;
        let sandbox = self.space_for_start(sandbox)?;
        let owner = self.caller();
        let place = if slot == 0 { None } else { Some(self.empty_slot(owner, slot)?) };
        let spec: ThreadSpec = self.read_user(spec)?;
        let id = self.new_thread(account, sandbox, &spec)?;
        if let Some(place) = place {
            self.grant(owner, place, ObjectRef { kind: ObjectType::Thread, id }, Rights::all());
        }
        Ok(0)
    }

    fn space_for_start(&self, sandbox: Handle) -> Result<u32, Error> {
        let sandbox = self.space(sandbox)?;
        if self.sandboxes[sandbox].frozen {
            return Err(Error::WrongState);
        }
        Ok(sandbox)
    }

    /// Makes a thread and lets it run.
    pub(crate) fn new_thread(&mut self, account: u32, sandbox: u32, spec: &ThreadSpec) -> Result<Id, Error> {
        let user = USER_BASE..2 * USER_BASE;
        if !user.contains(&spec.entry) || !user.contains(&spec.stack) {
            return Err(Error::BadAddress);
        }
        let header = self.charge_object(account)?;
        let mut context = Context::EMPTY;
        context.restore = RESTORE_NEW;
        let frame = &mut context.frame;
        (frame.rip, frame.rsp, frame.rdi) = (spec.entry, spec.stack, spec.argument);
        (frame.cs, frame.ss, frame.rflags) = (USER_CODE, USER_DATA, USER_FLAGS);
        let thread = Thread {
            context,
            header,
            sandbox,
            home: self.sandboxes.link(sandbox).ok_or(Error::WrongState)?,
            state: State::Ready,
            timed: false,
            serving: None,
            call_route: None,
            receive_route: None,
            ending: None,
            bound: None,
            ready: Links::FREE,
            member: Links::FREE,
            caller: Links::FREE,
        };
        let id = insert(self, header, |k| &mut k.threads, thread)?;
        self.sandboxes[sandbox].threads.push_back(&mut self.threads, id.index);
        self.make_ready(id.index);
        Ok(id)
    }
}
