//! How things begin: each object is charged first, then made, then named by one capability with all rights.

use crate::config::MAX_ACCOUNT_DEPTH;
use crate::context::{Context, USER_CODE, USER_DATA, USER_FLAGS};
use crate::kernel::Kernel;
use crate::list::{Links, List};
use crate::machine::Machine;
use crate::objects::{
    Account, Budget, Endpoint, Header, IoRange, Notification, ObjectRef, Port, Queue, Sandbox, Share, State,
    Thread,
};
use crate::pool::{Id, Pool};
use hic_abi::audit::Event;
use hic_abi::object::{AccountSpec, MAX_PRIORITY, SandboxSpec, ThreadSpec};
use hic_abi::syscall::Syscall;
use hic_abi::{Error, Handle, ObjectType, Rights, USER_BASE, is_name};

/// Shortest and longest budget period, nanoseconds.
const PERIODS: core::ops::RangeInclusive<u64> = 1_000_000..=1_000_000_000;

/// I/O ports that only the kernel touches: the interrupt controllers, and PCI configuration space, through which a driver could move a
/// BAR onto memory.
const KERNEL_PORTS: [core::ops::Range<u32>; 3] = [0x20..0x22, 0xa0..0xa2, 0xcf8..0xd00];

impl<M: Machine> Kernel<M> {
    /// Makes an object and puts it into its pool, charged to an account.
    pub(crate) fn make<T: 'static>(
        &mut self,
        account: u32,
        pool: impl FnOnce(&mut Self) -> &mut Pool<T>,
        object: impl FnOnce(Header) -> T,
    ) -> Result<Id, Error> {
        let header = self.charge_object(account)?;
        pool(self).insert(object(header)).map_err(|_| {
            self.uncharge_object(header);
            Error::PoolFull
        })
    }

    /// `Create`.
    #[inline(always)]
    pub(crate) fn sys_create(&mut self, args: [u64; 5]) -> Result<u64, Error> {
        let [account, kind, slot, bytes, channel] = args;
        if kind == ObjectType::Region as u64 && channel == 0 {
            self.sys_create_region(account as Handle, slot as Handle, bytes)
        } else {
            self.create_other(args)
        }
    }

    #[inline(never)]
    fn create_other(&mut self, args: [u64; 5]) -> Result<u64, Error> {
        let [account, kind, slot, a, b] = args;
        let account = self.object(account as Handle, ObjectType::Account, Rights::CHARGE)?;
        let kind = ObjectType::from_number(kind).ok_or(Error::InvalidArgument)?;
        let owner = self.caller();
        let place = self.empty_slot(owner, slot as Handle)?;
        let (id, value) = match kind {
            ObjectType::Account => (self.new_account(account, a)?, 0),
            ObjectType::Sandbox => self.create_sandbox(account, a)?,
            ObjectType::Region => {
                let backing = self.channel_ends(b)?;
                match self.new_region(account, a) {
                    Ok((id, base)) => {
                        self.regions[id.index].backing = backing;
                        (id, USER_BASE + base)
                    }
                    Err(Error::NoMemory) if self.is_worth_another_try(account, a) => {
                        return Ok(self.again(Syscall::Create));
                    }
                    Err(error) => return Err(error),
                }
            }
            ObjectType::Endpoint => {
                let new = |header| Endpoint { header, receiver: None, pending: List::new(), bell: None };
                (self.make(account, |k| &mut k.endpoints, new)?, 0)
            }
            ObjectType::Port => (self.new_port(account, a as Handle, b)?, 0),
            ObjectType::Notification => {
                let new = |header| Notification { header, bits: 0, waiter: None, bound: None };
                (self.make(account, |k| &mut k.notifications, new)?, 0)
            }
            ObjectType::IoPorts => (self.new_io_range(account, a as Handle, b)?, 0),
            _ => return Err(Error::InvalidArgument),
        };
        self.grant(owner, place, ObjectRef { kind, id }, Rights::all());
        self.answer(value)
    }

    fn new_account(&mut self, parent: u32, spec: u64) -> Result<Id, Error> {
        let spec: AccountSpec = self.read_user(spec)?;
        let depth = self.accounts[parent].depth + 1;
        if depth > MAX_ACCOUNT_DEPTH || !is_name(&spec.name) {
            return Err(Error::InvalidArgument);
        }
        if !self.accounts[parent].affords(spec.objects.saturating_add(1), spec.frames) {
            return Err(Error::NoMemory);
        }
        let account = |header| Account {
            header,
            name: spec.name,
            depth,
            frames_used: 0,
            page_tables: 0,
            frames_limit: spec.frames,
            objects_used: 0,
            objects_limit: spec.objects,
        };
        let id = self.make(parent, |k| &mut k.accounts, account)?;
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
        let (priority, budget, hard_limit) =
            self.new_share([spec.priority, spec.budget, spec.period, spec.hard_limit])?;
        let slots_ok = spec.slots.is_power_of_two() && (64..=65_536).contains(&spec.slots);
        if !slots_ok || !is_name(&spec.name) {
            return Err(Error::InvalidArgument);
        }
        let slots = spec.slots as u32;
        let root = self.take_frames(account, 1)?;
        let space = self.take_space(account, slots).inspect_err(|_| self.return_frames(account, root, 1))?;
        self.machine.init_root(root);
        let serial = self.next_serial;
        let sandbox = |header| Sandbox {
            header,
            serial,
            name: spec.name,
            root,
            space,
            slots,
            filled: 0,
            priority,
            budget,
            hard_limit,
            cpu: 0,
            frozen: false,
            condemned: false,
            ended_by: 0,
            unstopped: None,
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
        self.make(account, |k| &mut k.sandboxes, sandbox).inspect_err(|_| {
            self.return_space(account, space, slots);
            self.return_frames(account, root, 1);
        })
    }

    /// Priority, budget and limit from a specification of them; the first period begins now.
    pub(crate) fn new_share(&self, [priority, amount, period, hard]: [u64; 4]) -> Result<Share, Error> {
        let budget_ok = amount == 0 || (PERIODS.contains(&period) && amount <= period);
        if priority > MAX_PRIORITY || !budget_ok {
            return Err(Error::InvalidArgument);
        }
        let since = self.machine.now();
        Ok((priority as u8, Budget { amount, period, left: amount, since }, hard != 0))
    }

    fn take_space(&mut self, account: u32, slots: u32) -> Result<u32, Error> {
        self.charge_frames(account, u64::from(slots / 64))?;
        self.caps.take_space(slots).ok_or_else(|| {
            self.accounts[account].frames_used -= u64::from(slots / 64);
            Error::PoolFull
        })
    }

    /// Gives an empty capability space back, and takes back the charge for its share of the slot table.
    pub(crate) fn return_space(&mut self, account: u32, first: u32, slots: u32) {
        self.caps.free_space(first, slots);
        self.accounts[account].frames_used -= u64::from(slots / 64);
    }

    fn new_port(&mut self, account: u32, endpoint: Handle, badge: u64) -> Result<Id, Error> {
        let endpoint = self.object(endpoint, ObjectType::Endpoint, Rights::MANAGE)?;
        let endpoint = self.endpoints.id(endpoint).ok_or(Error::InvalidHandle)?;
        let port = |header| Port {
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
        self.make(account, |k| &mut k.ports, port)
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
        self.make(account, |k| &mut k.io_ranges, |header| IoRange { header, base, count })
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
        let sandbox = self.space(sandbox)?;
        if self.sandboxes[sandbox].frozen {
            return Err(Error::WrongState);
        }
        let owner = self.caller();
        let place = if slot == 0 { None } else { Some(self.empty_slot(owner, slot)?) };
        let spec: ThreadSpec = self.read_user(spec)?;
        let id = self.new_thread(account, sandbox, &spec)?;
        if let Some(place) = place {
            self.grant(owner, place, ObjectRef { kind: ObjectType::Thread, id }, Rights::all());
        }
        Ok(0)
    }

    /// Makes a thread and lets it run.
    pub(crate) fn new_thread(&mut self, account: u32, sandbox: u32, spec: &ThreadSpec) -> Result<Id, Error> {
        let user = USER_BASE..2 * USER_BASE;
        if !user.contains(&spec.entry) || !user.contains(&spec.stack) {
            return Err(Error::BadAddress);
        }
        let home = self.sandboxes.link(sandbox).ok_or(Error::WrongState)?;
        let mut context = Context::new();
        let frame = &mut context.frame;
        (frame.rip, frame.rsp, frame.rdi) = (spec.entry, spec.stack, spec.argument);
        (frame.cs, frame.ss, frame.rflags) = (USER_CODE, USER_DATA, USER_FLAGS);
        let thread = |header| Thread {
            context,
            header,
            sandbox,
            home,
            state: State::Ready,
            timed: false,
            serving: None,
            call_route: None,
            receive_route: None,
            begun: None,
            bound: None,
            ready: Links::FREE,
            member: Links::FREE,
            caller: Links::FREE,
        };
        let id = self.make(account, |k| &mut k.threads, thread)?;
        self.sandboxes[sandbox].threads.push_back(&mut self.threads, id.index);
        self.make_ready(id.index);
        Ok(id)
    }
}
