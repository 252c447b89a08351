//! What an operation costs does not depend on how much there is: sandboxes to 1,000, threads to 1,000, capabilities and ports to 100,000.
//!
//! The cost is the number of looks at kernel objects and at the table of capability spaces; it is counted, so it is the same in every run.
//! Looks at single capability slots, page tables and frames are not in it.

use super::invariants::check;
use super::world::{ACCOUNT, CALL, Pair, SERVE, World, pair, sandbox_spec, word};
use crate::tests::accesses;
use hic_abi::syscall::Syscall;
use hic_abi::{Handle, ObjectType, PAGE_SIZE, Plain, Rights};

/// The operations of [`Lab::once`], for the message of a failure.
const NAMES: [&str; 9] = [
    "call, receive and reply",
    "signal",
    "copy and delete",
    "make and delete a notification",
    "make and delete a port",
    "switch a port with a caller",
    "make and delete a region",
    "make and destroy a sandbox",
    "yield",
];

/// A pair, a second endpoint, a notification, and a slot that stays free.
struct Lab {
    w: World,
    p: Pair,
    other: Handle,
    notification: Handle,
    slot: Handle,
}

impl Lab {
    fn new() -> Self {
        let mut w = World::new();
        let p = pair(&mut w);
        let (other, notification, slot) = (w.endpoint(), w.notification(), w.slot());
        Self { w, p, other, notification, slot }
    }

    /// A call of the manager's.
    fn call(&mut self, call: Syscall, args: [u64; 5]) -> u64 {
        accesses::during(|| {
            self.w.ok(self.w.manager, call, args);
        })
    }

    fn make_and_end(&mut self, kind: ObjectType, a: u64, end: Syscall) -> u64 {
        let slot = u64::from(self.slot);
        let made = self.call(Syscall::Create, [ACCOUNT.into(), kind as u64, slot, a, 0]);
        made + self.call(end, [0, slot, 0, 0, 0])
    }

    fn message(&mut self) -> u64 {
        accesses::during(|| {
            self.w.reply_receive(self.p.server, SERVE, word(1));
            self.w.call(self.p.client, CALL, word(1));
        })
    }

    fn once(&mut self) -> [u64; 9] {
        let (port, endpoint, slot) = (self.p.port.into(), self.p.endpoint.into(), self.slot.into());
        let spec = self.w.put(self.w.manager, sandbox_spec("brief", 8, 64).as_bytes());
        let copy = [0, slot, 0, endpoint, Rights::all().bits().into()];
        let there = [port, self.other.into(), 0, 0, 0];
        [
            self.message(),
            self.call(Syscall::Signal, [self.notification.into(), 1, 0, 0, 0]),
            self.call(Syscall::CapCopy, copy) + self.call(Syscall::CapDelete, [0, slot, 0, 0, 0]),
            self.make_and_end(ObjectType::Notification, 0, Syscall::CapDelete),
            self.make_and_end(ObjectType::Port, endpoint, Syscall::CapDelete),
            self.call(Syscall::PortSwitch, there) + self.call(Syscall::PortSwitch, [port, endpoint, 0, 0, 0]),
            self.make_and_end(ObjectType::Region, 4 * PAGE_SIZE, Syscall::CapDelete),
            self.make_and_end(ObjectType::Sandbox, spec, Syscall::Destroy),
            self.call(Syscall::Yield, [0; 5]),
        ]
    }

    /// What each operation costs once it has been done before.
    fn costs(&mut self) -> [u64; 9] {
        self.once();
        self.once()
    }

    /// A sandbox without threads whose space has this many slots; a capability on it.
    fn large(&mut self, slots: u64) -> Handle {
        self.w.sandbox(ACCOUNT, &sandbox_spec("large", 8, slots))
    }

    fn costs_no_more(&mut self, before: [u64; 9], what: &str) {
        for ((name, before), after) in NAMES.into_iter().zip(before).zip(self.costs()) {
            assert!(after <= before, "{name}: {before} looks, with {what} {after}");
        }
        check(&self.w.k);
    }
}

#[test]
fn operations_cost_the_same_with_a_thousand_sandboxes() {
    let mut lab = Lab::new();
    let before = lab.costs();
    for _ in 0..1000 {
        lab.large(64);
    }
    lab.costs_no_more(before, "1,000 sandboxes");
}

#[test]
fn operations_cost_the_same_with_a_thousand_threads() {
    let mut lab = Lab::new();
    // Two that are ready beside the others: what is done for many is done for them.
    lab.w.threads(lab.p.client, 2);
    let before = lab.costs();
    let threads = lab.w.threads(lab.p.client, 500);
    lab.costs_no_more(before, "500 ready threads");
    // Half of the callers wait on a port of their own, and half on the one that is switched.
    let port = lab.w.port(lab.other, 2);
    lab.w.give(port, lab.p.client, 30, Rights::SEND);
    for thread in threads {
        lab.w.call(thread, 30, word(1));
    }
    lab.w.threads(lab.p.client, 500);
    lab.costs_no_more(before, "1,000 threads, half of them queued");
}

#[test]
fn operations_cost_the_same_with_a_hundred_thousand_capabilities() {
    let mut lab = Lab::new();
    let before = lab.costs();
    for _ in 0..2 {
        let space = lab.large(65_536);
        for slot in 1..=50_000 {
            let rights = Rights::all().bits().into();
            lab.call(Syscall::CapCopy, [space.into(), slot, 0, lab.p.port.into(), rights]);
        }
    }
    lab.costs_no_more(before, "100,000 capabilities on one port");
}

#[test]
fn operations_cost_the_same_with_a_hundred_thousand_ports() {
    let mut lab = Lab::new();
    let before = lab.costs();
    let slot = u64::from(lab.slot);
    for _ in 0..2 {
        let space = lab.large(65_536);
        for to in 1..=50_000 {
            let create = [ACCOUNT.into(), ObjectType::Port as u64, slot, lab.p.endpoint.into(), to];
            lab.call(Syscall::Create, create);
            lab.call(Syscall::CapMove, [space.into(), to, 0, slot, 0]);
        }
    }
    lab.costs_no_more(before, "100,000 ports of one endpoint");
}
