//! More than an account allows.

use super::{Act, HELD, OUT, act, held, refused};
use crate::props::{ACCOUNT_FRAMES, ACCOUNT_OBJECTS, Gift, IO_PORTS};
use hic_abi::ObjectType::{Account, Device, Endpoint, IoPorts, Notification};
use hic_abi::object::{AccountSpec, SandboxSpec};
use hic_abi::{Error, Handle, PAGE_SIZE, Plain, Rights, SELF};
use hic_rt::sys;
use hostile::outcome;

const ALL: Rights = Rights::all();
const ACCOUNT: &[Gift] = &[held(Account, ALL)];
const PORTS: &[Gift] = &[held(IoPorts, ALL), Gift::new(2, Account, ALL)];

/// Free slots for what is made.
fn slots() -> impl Iterator<Item = Handle> {
    crate::child::FREE_SLOTS..crate::child::SLOTS as Handle
}

/// Makes things until one is refused, or `enough` of them are there: the error, if it came after exactly `limit` of them.
fn exhaust(limit: u64, enough: u64, make: fn(Handle) -> Result<(), Error>) -> u64 {
    let mut made = 0;
    for slot in slots() {
        if made == enough {
            return outcome::DONE;
        }
        match make(slot) {
            Ok(()) => made += 1,
            Err(error) if made == limit => return outcome::refused(error),
            Err(_) => return outcome::STRANGE,
        }
    }
    outcome::STRANGE
}

fn account(slot: Handle, frames: u64, objects: u64) -> Result<(), Error> {
    sys::create_account(HELD, slot, &AccountSpec { frames, objects, name: [0; 32] })
}

fn sandbox(spec: SandboxSpec) -> Result<(), Error> {
    sys::create_sandbox(HELD, OUT, &spec).map(|_| ())
}

/// All of them.
pub const ACTS: &[Act] = &[
    act("exhaust its frames by regions of a page", ACCOUNT, refused(Error::NoMemory), |_, granted| {
        // Fewer objects than frames: two pages each.
        let enough = if granted { ACCOUNT_FRAMES / 4 } else { u64::MAX };
        exhaust(ACCOUNT_FRAMES / 4, enough, |slot| sys::create_region(HELD, slot, 4 * PAGE_SIZE).map(|_| ()))
    }),
    act("exhaust its objects by notifications", ACCOUNT, refused(Error::NoMemory), |_, granted| {
        let enough = if granted { ACCOUNT_OBJECTS } else { u64::MAX };
        exhaust(ACCOUNT_OBJECTS, enough, |slot| sys::create_notification(HELD, slot))
    }),
    act("exhaust its objects by endpoints", ACCOUNT, refused(Error::NoMemory), |_, granted| {
        let enough = if granted { ACCOUNT_OBJECTS } else { u64::MAX };
        exhaust(ACCOUNT_OBJECTS, enough, |slot| sys::create_endpoint(HELD, slot))
    }),
    act(
        "exhaust its objects by ports",
        &[held(Account, ALL), Gift::new(2, Endpoint, ALL)],
        refused(Error::NoMemory),
        |_, granted| {
            let enough = if granted { ACCOUNT_OBJECTS } else { u64::MAX };
            exhaust(ACCOUNT_OBJECTS, enough, |slot| sys::create_port(HELD, slot, 2, 0))
        },
    ),
    act(
        "exhaust its objects by accounts without anything",
        ACCOUNT,
        refused(Error::NoMemory),
        |_, granted| {
            let enough = if granted { ACCOUNT_OBJECTS } else { u64::MAX };
            exhaust(ACCOUNT_OBJECTS, enough, |slot| account(slot, 0, 0))
        },
    ),
    act("exhaust its frames by sandboxes", ACCOUNT, refused(Error::NoMemory), |_, granted| {
        // A frame of page table and one of slots; objects are the tighter limit.
        let enough = if granted { ACCOUNT_OBJECTS } else { u64::MAX };
        exhaust(ACCOUNT_OBJECTS, enough, |slot| {
            sys::create_sandbox(HELD, slot, &SandboxSpec { slots: 64, ..SandboxSpec::zeroed() }).map(|_| ())
        })
    }),
    act("exhaust its space", &[held(Notification, ALL)], refused(Error::SlotUnusable), |_, granted| {
        let last = if granted { crate::child::SLOTS - 1 } else { crate::child::SLOTS };
        outcome::of(
            (crate::child::FREE_SLOTS..=last as Handle)
                .try_for_each(|slot| sys::cap_copy((SELF, slot), (SELF, HELD), Rights::empty())),
        )
    }),
    act("make a region larger than its account", ACCOUNT, refused(Error::NoMemory), |_, granted| {
        let pages = if granted { ACCOUNT_FRAMES } else { ACCOUNT_FRAMES + 1 };
        outcome::of(sys::create_region(HELD, OUT, pages * PAGE_SIZE).map(|_| ()))
    }),
    act("make a region larger than any", ACCOUNT, refused(Error::InvalidArgument), |_, granted| {
        outcome::of(sys::create_region(HELD, OUT, if granted { 1 } else { u64::MAX }).map(|_| ()))
    }),
    act("make a region of nothing", ACCOUNT, refused(Error::InvalidArgument), |_, granted| {
        outcome::of(sys::create_region(HELD, OUT, u64::from(granted)).map(|_| ()))
    }),
    act("give a child account more frames than it has", ACCOUNT, refused(Error::NoMemory), |_, granted| {
        outcome::of(account(OUT, if granted { ACCOUNT_FRAMES } else { ACCOUNT_FRAMES + 1 }, 1))
    }),
    act("give a child account more objects than it has", ACCOUNT, refused(Error::NoMemory), |_, granted| {
        outcome::of(account(OUT, 1, if granted { ACCOUNT_OBJECTS - 1 } else { u64::MAX }))
    }),
    act(
        "give two child accounts together more than it has",
        ACCOUNT,
        refused(Error::NoMemory),
        |_, granted| {
            let each = if granted { ACCOUNT_FRAMES / 2 } else { ACCOUNT_FRAMES / 2 + 1 };
            outcome::of(account(OUT, each, 1).and_then(|()| account(OUT + 1, each, 1)))
        },
    ),
    act(
        "give a child account and use the same frames itself",
        ACCOUNT,
        refused(Error::NoMemory),
        |_, granted| {
            let own = if granted { ACCOUNT_FRAMES / 2 } else { ACCOUNT_FRAMES };
            let given = account(OUT, ACCOUNT_FRAMES / 2, 1);
            outcome::of(given.and_then(|()| sys::create_region(HELD, OUT + 1, own * PAGE_SIZE).map(|_| ())))
        },
    ),
    act("end an account that somebody uses", ACCOUNT, refused(Error::WrongState), |_, granted| {
        let child = account(OUT, 8, 8);
        let used = child.and_then(|()| if granted { Ok(()) } else { sys::create_notification(OUT, OUT + 1) });
        outcome::of(used.and_then(|()| sys::destroy(SELF, OUT)))
    }),
    act("make a sandbox whose space it cannot pay", ACCOUNT, refused(Error::NoMemory), |_, granted| {
        sandbox_with(if granted { 1024 } else { 65_536 })
    }),
    act(
        "make a sandbox with a space of an odd size",
        ACCOUNT,
        refused(Error::InvalidArgument),
        |_, granted| sandbox_with(if granted { 64 } else { 65 }),
    ),
    act(
        "make a sandbox above the highest priority",
        ACCOUNT,
        refused(Error::InvalidArgument),
        |_, granted| {
            let priority = if granted { 1 } else { 32 };
            outcome::of(sandbox(SandboxSpec { slots: 64, priority, ..SandboxSpec::zeroed() }))
        },
    ),
    act(
        "make a sandbox with more budget than period",
        ACCOUNT,
        refused(Error::InvalidArgument),
        |_, granted| {
            let budget = if granted { 1_000_000 } else { 1_000_001 };
            outcome::of(sandbox(SandboxSpec {
                slots: 64,
                budget,
                period: 1_000_000,
                ..SandboxSpec::zeroed()
            }))
        },
    ),
    act("read an I/O port beyond its range", PORTS, refused(Error::InvalidArgument), |_, granted| {
        let port = if granted { IO_PORTS.0 + 7 } else { IO_PORTS.0 + 8 };
        outcome::of(sys::io_read(HELD, port, 1).map(|_| ()))
    }),
    act(
        "read an I/O port over the end of its range",
        PORTS,
        refused(Error::InvalidArgument),
        |_, granted| outcome::of(sys::io_read(HELD, IO_PORTS.0 + 6, if granted { 2 } else { 4 }).map(|_| ())),
    ),
    act(
        "make a part of an I/O port range beyond it",
        PORTS,
        refused(Error::InvalidArgument),
        |_, granted| {
            let base = if granted { IO_PORTS.0 } else { 0xcf8 };
            outcome::of(sys::create_io_ports(2, OUT, HELD, base, 8))
        },
    ),
    act(
        "read configuration space beyond its device's",
        &[held(Device, ALL)],
        refused(Error::InvalidArgument),
        |_, granted| outcome::of(sys::device_read(HELD, if granted { 252 } else { 256 }, 4).map(|_| ())),
    ),
];

fn sandbox_with(slots: u64) -> u64 {
    outcome::of(sandbox(SandboxSpec { slots, ..SandboxSpec::zeroed() }))
}
