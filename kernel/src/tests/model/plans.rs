//! What the manager does in several steps, so that there is always somebody to call: a pool of objects, children that hold part of it, and
//! restarts of those that froze.

use super::generate::{Generator, TICK, specification};
use super::lab::{Call, Lab, MANAGER, Op, Word};
use super::state::Cap;
use crate::tests::arguments::Random;
use crate::tests::world::{ACCOUNT, AUDIT, CLOCK, DEVICE, ENTROPY, IO, IRQ, POWER};
use hic_abi::object::{AccountSpec, SandboxSpec, ThreadSpec};
use hic_abi::syscall::Syscall;
use hic_abi::{ObjectType as T, PAGE_SIZE, Plain, Rights, USER_BASE, name_bytes};
use std::vec::Vec;

/// The manager's slot for its memory.
pub const MEMORY: u32 = 10;
/// The manager's slot for the account that everything random is charged to.
pub const PAYS: u32 = 11;
/// The manager's slot for the notification with which it sleeps.
const NAP: u32 = 14;
/// Where each child has the endpoint that it may serve, and the port by which it calls whoever serves it.
pub const SERVES: u32 = 41;
pub const CALLS: u32 = 42;
/// From here on its slots are the pool.
pub const POOL: u32 = 16;
/// Its pool ends here.
const POOL_END: u32 = 120;
/// What that account may have: little, so that limits are often reached. Regions have at most eight pages and the machine 4,096 frames, so that
/// there is always a run of eight free ones and the model need not know how the allocator divides memory.
const FRAMES: u64 = 130;
const OBJECTS: u64 = 70;

/// Somebody's specification of a sandbox: some have a budget, and few of those make no sense.
pub fn sandbox(random: &mut Random, slots: u64, priority: u64) -> SandboxSpec {
    let (mut budget, mut period, hard_limit) = (0, 0, random.below(2));
    if random.once_in(2) {
        period = random.pick(&[5 * TICK, 10 * TICK, 10 * TICK, TICK, TICK - 1]);
        budget = random.pick(&[50_000, 50_000, 300_000, TICK, 2 * TICK + 123_456]);
    }
    SandboxSpec {
        slots,
        priority,
        budget,
        period,
        hard_limit,
        // Each has a name and a purpose of its own.
        name: [b'a' + (slots + priority) as u8 % 26; 32],
        purpose: [b'A' + priority as u8 % 26; 32],
    }
}

pub fn thread(argument: u64) -> ThreadSpec {
    ThreadSpec { entry: USER_BASE + 8 * (argument % 64), stack: USER_BASE, argument }
}

/// A step of the manager's.
fn call(call: Syscall, args: [u64; 5]) -> Op {
    let [a, b, c, d, e] = args.map(Word::Is);
    let zero = Word::Is(0);
    let words = [a, b, c, d, e, zero, zero, zero];
    Op::Call(Call { who: MANAGER, number: call as u64, words, writes: Vec::new() })
}

/// The same with an argument that points at a specification.
fn call_with(number: Syscall, args: [u64; 5], at: usize, spec: &[u8]) -> Op {
    let Op::Call(mut made) = call(number, args) else { unreachable!("just made") };
    (made.words[at], made.writes) = specification(spec);
    Op::Call(made)
}

/// Slots of the manager that hold live objects of this type.
fn held(lab: &Lab, kind: T) -> Vec<u32> {
    let own = lab.model.caps.range((lab.manager_sandbox, POOL)..(lab.manager_sandbox, POOL_END));
    let live = own.filter(|(_, cap)| cap.kind == kind && lab.model.lives(cap.object));
    live.map(|(place, _)| place.1).collect()
}

fn free(lab: &Lab) -> Vec<u32> {
    (POOL..POOL_END).filter(|slot| !lab.model.caps.contains_key(&(lab.manager_sandbox, *slot))).collect()
}

/// Plans what is missing most.
pub fn manager(g: &mut Generator, lab: &Lab) {
    let cap = |slot: u32| lab.model.caps.get(&(lab.manager_sandbox, slot));
    let live = |cap: Option<&Cap>| cap.is_some_and(|cap| lab.model.lives(cap.object));
    if !live(cap(PAYS)) {
        if cap(PAYS).is_some() {
            g.planned.push_back(call(Syscall::CapDelete, [0, PAYS.into(), 0, 0, 0]));
        }
        let spec = AccountSpec { frames: FRAMES, objects: OBJECTS, name: name_bytes("pays") };
        let args = [ACCOUNT.into(), T::Account as u64, PAYS.into(), 0, 0];
        return g.planned.push_back(call_with(Syscall::Create, args, 3, spec.as_bytes()));
    }
    let slots = free(lab);
    if slots.len() < 12 {
        let slot = POOL + g.random.below(u64::from(POOL_END - POOL)) as u32;
        let how = if g.random.once_in(3) { Syscall::Destroy } else { Syscall::CapDelete };
        return g.planned.push_back(call(how, [0, slot.into(), 0, 0, 0]));
    }
    if !lab.model.turns.on && g.random.once_in(12) {
        return crowd(g, lab, &slots);
    }
    for (kind, enough) in [(T::Endpoint, 3), (T::Notification, 3), (T::Port, 4), (T::Region, 3)] {
        if held(lab, kind).len() < enough {
            let op = make(g, lab, kind, slots[0]);
            return g.planned.push_back(op);
        }
    }
    let children = held(lab, T::Sandbox);
    let frozen = children.iter().find(|slot| {
        let id = lab.model.caps[&(lab.manager_sandbox, **slot)].object;
        lab.model.sandbox(id).frozen || lab.model.sandbox(id).threads.is_empty()
    });
    match frozen {
        Some(slot) if g.random.once_in(5) => {
            g.planned.push_back(call(Syscall::Destroy, [0, (*slot).into(), 0, 0, 0]));
        }
        Some(slot) => start(g, lab, *slot),
        None if children.len() < 5 => birth(g, lab, &slots),
        // All wait for one another, perhaps for ever.
        None if lab.callers().next().is_none() && g.random.once_in(4) => {
            let child = g.random.pick(&children);
            g.planned.push_back(call(Syscall::SandboxFreeze, [child.into(), 0, 0, 0, 0]));
        }
        None => share(g, lab),
    }
}

/// Few priorities, so that there are equals; where they count, most are below the manager's.
pub fn priority(random: &mut Random, lab: &Lab) -> u64 {
    match lab.model.turns.on {
        _ if random.once_in(12) => random.below(34),
        true => random.pick(&[8, 8, 16, 16, 20]),
        false => 24,
    }
}

/// The manager waits for a while; first it needs something to wait for.
pub fn nap(lab: &Lab, until: u64) -> Op {
    let live = |cap: &&Cap| lab.model.lives(cap.object);
    if lab.model.caps.get(&(lab.manager_sandbox, NAP)).filter(live).is_none() {
        return call(Syscall::Create, [ACCOUNT.into(), T::Notification as u64, NAP.into(), 0, 0]);
    }
    call(Syscall::Wait, [NAP.into(), until, 0, 0, 0])
}

fn make(g: &mut Generator, lab: &Lab, kind: T, slot: u32) -> Op {
    let (a, b) = match kind {
        T::Port => (held(lab, T::Endpoint)[0].into(), g.random.next()),
        T::Region => ((g.random.below(8) + 1) * PAGE_SIZE, 0),
        _ => (0, 0),
    };
    call(Syscall::Create, [PAYS.into(), kind as u64, slot.into(), a, b])
}

fn birth(g: &mut Generator, lab: &Lab, slots: &[u32]) {
    // A large one takes several entries to end.
    let size = g.random.pick(&[64, 64, 512]);
    let priority = priority(&mut g.random, lab);
    let spec = sandbox(&mut g.random, size, priority);
    let args = [PAYS.into(), T::Sandbox as u64, slots[0].into(), 0, 0];
    g.planned.push_back(call_with(Syscall::Create, args, 3, spec.as_bytes()));
    for _ in 0..14 {
        copy(g, lab, slots[0]);
    }
    for (kind, to) in [(T::Endpoint, SERVES), (T::Port, CALLS)] {
        let from = held(lab, kind).first().copied().unwrap_or(0);
        let args = [slots[0].into(), to.into(), 0, from.into(), Rights::all().bits().into()];
        g.planned.push_back(call(Syscall::CapCopy, args));
    }
    start(g, lab, slots[0]);
}

/// Reset where needed, memory, threads.
fn start(g: &mut Generator, lab: &Lab, child: u32) {
    let child = u64::from(child);
    g.planned.push_back(call(Syscall::SandboxReset, [child, 0, 0, 0, 0]));
    let rights = (Rights::READ | Rights::WRITE).bits().into();
    for region in held(lab, T::Region) {
        if g.random.once_in(2) {
            g.planned.push_back(call(Syscall::RegionMap, [child, region.into(), rights, 0, 0]));
        }
    }
    let own = 15;
    g.planned.push_back(call(Syscall::CapDelete, [0, own, 0, 0, 0]));
    g.planned.push_back(call(Syscall::Create, [PAYS.into(), T::Region as u64, own, 2 * PAGE_SIZE, 0]));
    g.planned.push_back(call(Syscall::RegionMap, [child, own, rights, 0, 0]));
    // With its own capability in the child, the memory lasts as long as the child wants it.
    let all = Rights::all().bits().into();
    g.planned.push_back(call(Syscall::CapCopy, [child, 62, 0, own, all]));
    let port = held(lab, T::Port).first().copied().unwrap_or(0).into();
    g.planned.push_back(call(Syscall::SandboxFaultPort, [child, port, 0, 0, 0]));
    for _ in 0..=g.random.below(3) {
        let spec = thread(g.random.next());
        let args = [PAYS.into(), child, 0, 0, 0];
        g.planned.push_back(call_with(Syscall::ThreadStart, args, 3, spec.as_bytes()));
    }
}

/// A sandbox full of copies, and then an end of it that is too long for one entry into the kernel.
fn crowd(g: &mut Generator, lab: &Lab, slots: &[u32]) {
    let (sandbox_slot, origin) = (slots[0], slots[1]);
    let spec = sandbox(&mut g.random, 512, 24);
    let args = [PAYS.into(), T::Sandbox as u64, sandbox_slot.into(), 0, 0];
    g.planned.push_back(call_with(Syscall::Create, args, 3, spec.as_bytes()));
    let kind = g.random.pick(&[T::Notification, T::Region, T::Endpoint]);
    let made = make(g, lab, kind, origin);
    g.planned.push_back(made);
    for slot in 100..100 + 60 + g.random.below(90) {
        // Of copies of copies, too.
        let (space, from) = if slot > 110 && g.random.once_in(3) {
            (sandbox_slot.into(), 100 + g.random.below(slot - 100))
        } else {
            (0, origin.into())
        };
        let args = [sandbox_slot.into(), slot, space, from, Rights::all().bits().into()];
        g.planned.push_back(call(Syscall::CapCopy, args));
    }
    let end = match g.random.below(4) {
        0 => call(Syscall::Destroy, [0, sandbox_slot.into(), 0, 0, 0]),
        1 => call(Syscall::CapDelete, [0, sandbox_slot.into(), 0, 0, 0]),
        _ => call(Syscall::CapRevoke, [0, origin.into(), 0, 0, 0]),
    };
    g.planned.push_back(end);
}

/// A copy of something for a child.
fn share(g: &mut Generator, lab: &Lab) {
    let children = held(lab, T::Sandbox);
    let child = g.random.pick(&children);
    copy(g, lab, child);
}

fn copy(g: &mut Generator, lab: &Lab, child: u32) {
    let pool = [T::Endpoint, T::Port, T::Port, T::Notification, T::Region, T::Sandbox, T::Account];
    let kind = g.random.pick(&pool);
    let mut from = held(lab, kind);
    from.extend(match kind {
        T::Account => [PAYS, PAYS],
        _ => g.random.pick(&[[IRQ, IO], [IRQ, CLOCK], [AUDIT, ENTROPY], [AUDIT, POWER], [DEVICE, DEVICE]]),
    });
    let slot = g.random.pick(&from);
    let rights = if g.random.once_in(4) { g.random.next() & 0x1ff } else { Rights::all().bits().into() };
    let to = g.random.below(40) + 1;
    g.planned.push_back(call(Syscall::CapCopy, [child.into(), to, 0, slot.into(), rights]));
}
