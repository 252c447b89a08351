//! Every system call that takes a handle, once for each handle that it takes.

use super::{OUT, Probe, TARGET, helper};
use crate::props::{ACCOUNT_FRAMES, INNER_SLOT, IO_PORTS};
use hic_abi::ObjectType::{
    Account, Audit, Clock, Device, Endpoint, Entropy, IoPorts, Irq, Log, Mmio, Notification, Port, Power,
    Region, Sandbox,
};
use hic_abi::inspect::{MemoryInfo, What};
use hic_abi::object::{AccountSpec, SandboxSpec, SealSpec, Share, ThreadSpec};
use hic_abi::switch::{Entry, EntryKind};
use hic_abi::{Error, FOREVER, ObjectType, PAGE_SIZE, Plain, Rights, SELF, USER_BASE};
use hic_rt::ipc::{self, Buffer, Message};
use hic_rt::sys;

const fn probe(
    name: &'static str,
    kind: ObjectType,
    right: Rights,
    helpers: &'static [ObjectType],
    call: fn() -> Result<(), Error>,
) -> Probe {
    Probe { name, call, kind: Some(kind), right, helpers, granted: Ok(()) }
}

const fn any(name: &'static str, right: Rights, call: fn() -> Result<(), Error>) -> Probe {
    Probe { name, call, kind: None, right, helpers: &[], granted: Ok(()) }
}

/// A bound notification with bits set, so that a receive that is allowed returns at once.
fn ring() -> Result<(), Error> {
    let bell = helper(Notification);
    sys::bind_notification(bell).and_then(|()| sys::signal(bell, 1))
}

fn entry(kind: EntryKind, args: [u32; 4]) -> Result<(), Error> {
    let entry = Entry { kind: kind as u64, args: args.map(u64::from) };
    sys::transaction(&[entry]).map_err(|(error, _)| error)
}

fn sandbox_spec() -> SandboxSpec {
    SandboxSpec { slots: 64, ..SandboxSpec::zeroed() }
}

fn thread_spec() -> ThreadSpec {
    ThreadSpec { entry: USER_BASE, stack: USER_BASE, argument: 0 }
}

const NONE: Rights = Rights::empty();
const MANAGE: Rights = Rights::MANAGE;
const CHARGE: Rights = Rights::CHARGE;
const READ: Rights = Rights::READ;
const WRITE: Rights = Rights::WRITE;
const SEND: Rights = Rights::SEND;
const RECEIVE: Rights = Rights::RECEIVE;

/// All of them.
pub static PROBES: &[Probe] = &[
    probe("call a port", Port, SEND, &[], || {
        ipc::call_words(TARGET, Message::new(1, [1, 2, 3, 4]), FOREVER).map(|_| ())
    }),
    probe("receive at an endpoint", Endpoint, RECEIVE, &[Notification], || {
        ring()?;
        ipc::receive(TARGET, &mut Buffer::new(), 0).map(|_| ())
    }),
    probe("reply and receive at an endpoint", Endpoint, RECEIVE, &[Notification], || {
        ring()?;
        ipc::reply_receive(TARGET, Message::new(0, [0; 4]), &mut Buffer::new(), 0).map(|_| ())
    }),
    probe("signal a notification", Notification, SEND, &[], || sys::signal(TARGET, 1)),
    probe("signal a port", Port, SEND, &[], || sys::signal(TARGET, 1)),
    probe("wait for a notification", Notification, RECEIVE, &[], || sys::wait(TARGET, 0).map(|_| ())),
    probe("bind a notification", Notification, RECEIVE, &[], || sys::bind_notification(TARGET)),
    any("copy a capability", Rights::COPY, || sys::cap_copy((SELF, OUT), (SELF, TARGET), Rights::all())),
    probe("copy a capability into another sandbox", Sandbox, MANAGE, &[Notification], || {
        sys::cap_copy((TARGET, 9), (SELF, helper(Notification)), Rights::all())
    }),
    probe("copy a capability out of another sandbox", Sandbox, MANAGE, &[], || {
        sys::cap_copy((SELF, OUT), (TARGET, INNER_SLOT), Rights::all())
    }),
    any("move a capability", NONE, || sys::cap_move((SELF, OUT), (SELF, TARGET))),
    probe("move a capability into another sandbox", Sandbox, MANAGE, &[Notification], || {
        sys::cap_move((TARGET, 9), (SELF, helper(Notification)))
    }),
    probe("move a capability out of another sandbox", Sandbox, MANAGE, &[], || {
        sys::cap_move((SELF, OUT), (TARGET, INNER_SLOT))
    }),
    probe("delete a capability of another sandbox", Sandbox, MANAGE, &[], || {
        sys::cap_delete(TARGET, INNER_SLOT)
    }),
    any("revoke what derives from a capability", NONE, || sys::cap_revoke(SELF, TARGET)),
    probe("revoke what derives from another sandbox's capability", Sandbox, MANAGE, &[], || {
        sys::cap_revoke(TARGET, INNER_SLOT)
    }),
    any("look at a capability", NONE, || sys::cap_info(SELF, TARGET).map(|_| ())),
    probe("look at another sandbox's capability", Sandbox, MANAGE, &[], || {
        sys::cap_info(TARGET, INNER_SLOT).map(|_| ())
    }),
    probe("make an account", Account, CHARGE, &[], || {
        let spec = AccountSpec { frames: ACCOUNT_FRAMES / 2, objects: 1, name: [0; 32] };
        sys::create_account(TARGET, OUT, &spec)
    }),
    probe("make a sandbox", Account, CHARGE, &[], || {
        sys::create_sandbox(TARGET, OUT, &sandbox_spec()).map(|_| ())
    }),
    probe("make a region", Account, CHARGE, &[], || sys::create_region(TARGET, OUT, PAGE_SIZE).map(|_| ())),
    probe("make an endpoint", Account, CHARGE, &[], || sys::create_endpoint(TARGET, OUT)),
    probe("make a notification", Account, CHARGE, &[], || sys::create_notification(TARGET, OUT)),
    probe("make a port", Account, CHARGE, &[Endpoint], || sys::create_port(TARGET, OUT, helper(Endpoint), 1)),
    probe("make a port to an endpoint", Endpoint, MANAGE, &[Account], || {
        sys::create_port(helper(Account), OUT, TARGET, 1)
    }),
    probe("make a part of an I/O port range", IoPorts, MANAGE, &[Account], || {
        sys::create_io_ports(helper(Account), OUT, TARGET, IO_PORTS.0, 1)
    }),
    any("destroy an object", MANAGE, || sys::destroy(SELF, TARGET)),
    probe("destroy an object of another sandbox", Sandbox, MANAGE, &[], || sys::destroy(TARGET, INNER_SLOT)),
    probe("map a region for reading", Region, READ, &[], || sys::region_map(SELF, TARGET, READ).map(|_| ())),
    probe("map a region for writing", Region, WRITE, &[], || {
        sys::region_map(SELF, TARGET, READ | WRITE).map(|_| ())
    }),
    probe("map a region for execution", Region, Rights::EXECUTE, &[], || {
        sys::region_map(SELF, TARGET, READ | Rights::EXECUTE).map(|_| ())
    }),
    probe("map a region in another sandbox", Sandbox, MANAGE, &[Region], || {
        sys::region_map(TARGET, helper(Region), READ).map(|_| ())
    }),
    probe("unmap a region of another sandbox", Sandbox, MANAGE, &[Region], || {
        let _ = sys::region_map(TARGET, helper(Region), READ);
        sys::region_unmap(TARGET, helper(Region))
    }),
    probe("ask where a region is", Region, NONE, &[], || sys::region_info(TARGET).map(|_| ())),
    probe("seal a region", Region, MANAGE, &[], || {
        sys::region_seal(TARGET, &SealSpec { read_only: 0, execute: 1, guard: 0 })
    }),
    probe("switch a port", Port, MANAGE, &[Endpoint], || sys::port_switch(TARGET, helper(Endpoint))),
    probe("switch a port to an endpoint", Endpoint, MANAGE, &[Port], || {
        sys::port_switch(helper(Port), TARGET)
    }),
    probe("switch a port in a transaction", Port, MANAGE, &[Endpoint], || {
        entry(EntryKind::SwitchPort, [SELF, TARGET, helper(Endpoint), 0])
    }),
    probe("switch a port to an endpoint in a transaction", Endpoint, MANAGE, &[Port], || {
        entry(EntryKind::SwitchPort, [SELF, helper(Port), TARGET, 0])
    }),
    probe("move a capability out of another sandbox in a transaction", Sandbox, MANAGE, &[], || {
        entry(EntryKind::MoveCapability, [TARGET, INNER_SLOT, SELF, OUT])
    }),
    probe("lead an interrupt elsewhere in a transaction", Irq, MANAGE, &[Notification], || {
        entry(EntryKind::RebindIrq, [TARGET, helper(Notification), 1, 0])
    }),
    probe("signal in a transaction", Notification, SEND, &[], || entry(EntryKind::Signal, [TARGET, 1, 0, 0])),
    probe("start a thread on somebody's account", Account, CHARGE, &[Sandbox], || {
        sys::thread_start(TARGET, helper(Sandbox), OUT, &thread_spec())
    }),
    probe("start a thread in another sandbox", Sandbox, MANAGE, &[Account], || {
        sys::thread_start(helper(Account), TARGET, OUT, &thread_spec())
    }),
    probe("hear of another sandbox's faults", Sandbox, MANAGE, &[Port], || {
        sys::sandbox_fault_port(TARGET, helper(Port))
    }),
    probe("send faults to a port", Port, SEND, &[Sandbox], || {
        sys::sandbox_fault_port(helper(Sandbox), TARGET)
    }),
    probe("freeze another sandbox", Sandbox, MANAGE, &[], || sys::sandbox_freeze(TARGET, 0)),
    probe("reset another sandbox", Sandbox, MANAGE, &[], || {
        let _ = sys::sandbox_freeze(TARGET, 0);
        sys::sandbox_reset(TARGET)
    }),
    probe("light another sandbox's fuse", Sandbox, MANAGE, &[], || sys::sandbox_fuse(TARGET, 9, 0)),
    probe("give another sandbox another share of the processor", Sandbox, MANAGE, &[], || {
        sys::sandbox_share(TARGET, &Share { priority: 2, budget: 0, period: 0, hard_limit: false })
    }),
    probe("watch a port", Port, MANAGE, &[Notification], || sys::port_watch(TARGET, helper(Notification), 1)),
    probe("watch a port by a notification", Notification, SEND, &[Port], || {
        sys::port_watch(helper(Port), TARGET, 1)
    }),
    probe("tie a notification to an endpoint", Endpoint, RECEIVE, &[Notification], || {
        sys::endpoint_notify(TARGET, helper(Notification))
    }),
    probe("bind an interrupt", Irq, MANAGE, &[Notification], || {
        sys::irq_bind(TARGET, helper(Notification), 1)
    }),
    probe("bind an interrupt to a notification", Notification, SEND, &[Irq], || {
        sys::irq_bind(helper(Irq), TARGET, 1)
    }),
    probe("count interrupts", Irq, NONE, &[], || sys::irq_count(TARGET).map(|_| ())),
    probe("read an I/O port", IoPorts, READ, &[], || sys::io_read(TARGET, IO_PORTS.0 + 5, 1).map(|_| ())),
    probe("write an I/O port", IoPorts, WRITE, &[], || sys::io_write(TARGET, IO_PORTS.0 + 7, 1, 0)),
    probe("map device registers for reading", Mmio, READ, &[], || {
        sys::mmio_map(SELF, TARGET, READ).map(|_| ())
    }),
    probe("map device registers for writing", Mmio, WRITE, &[], || {
        sys::mmio_map(SELF, TARGET, READ | WRITE).map(|_| ())
    }),
    probe("ask what a device is", Device, READ, &[], || sys::device_info(TARGET).map(|_| ())),
    probe("read configuration space", Device, READ, &[], || sys::device_read(TARGET, 0, 4).map(|_| ())),
    probe("let a device master the bus", Device, MANAGE, &[], || sys::device_master(TARGET, false)),
    probe("get a device's interrupt", Device, MANAGE, &[Account], || {
        sys::device_vector(TARGET, 0, OUT, helper(Account))
    }),
    probe("get a device's registers", Device, MANAGE, &[Account], || {
        let bars = 0..6;
        bars.map(|bar| sys::device_bar(TARGET, bar, OUT, helper(Account)))
            .find(|result| *result != Err(Error::NotSupported))
            .unwrap_or(Err(Error::NotSupported))
    }),
    probe("charge a device's interrupt", Account, CHARGE, &[Device], || {
        sys::device_vector(helper(Device), 0, OUT, TARGET)
    }),
    probe("get random bytes", Entropy, READ, &[], || sys::entropy(TARGET, &mut [0; 16])),
    probe("drain the audit log", Audit, READ, &[], || {
        sys::audit_drain(TARGET, &mut [hic_abi::audit::Record::zeroed()]).map(|_| ())
    }),
    probe("write an audit note", Audit, WRITE, &[], || {
        sys::audit_note(TARGET, 1, 2, &hic_abi::audit::NoteText([0; 32]))
    }),
    probe("inspect the system", Audit, Rights::INSPECT, &[], || {
        sys::inspect::<MemoryInfo>(TARGET, What::Memory, 0).map(|_| ())
    }),
    probe("read the log", Log, READ, &[], || sys::log_read(TARGET, 0, &mut [0; 64]).map(|_| ())),
    probe("watch the log", Log, MANAGE, &[Notification], || sys::log_watch(TARGET, helper(Notification), 1)),
    probe("map the clock", Clock, READ, &[], || sys::clock_map(TARGET, SELF).map(|_| ())),
    // The only one whose success would end the test: with the capability a number of no action is looked at, without it it is not.
    Probe {
        name: "power off",
        call: || sys::power(TARGET, 9),
        kind: Some(Power),
        right: MANAGE,
        helpers: &[],
        granted: Err(Error::InvalidArgument),
    },
];
