//! Any system call with any arguments, from any thread, at any time: an error at worst, and the books still add up.

use super::arguments::{Caller, Random};
use super::invariants::{check, nothing_is_left, pages};
use super::world::{ACCOUNT, World, pair, sandbox_spec};
use crate::machine::Machine;
use crate::objects::State;
use hic_abi::object::SandboxSpec;
use hic_abi::syscall::Syscall;
use hic_abi::{Error, FOREVER, PAGE_SIZE, Rights, USER_BASE};
use std::collections::BTreeMap;
use std::vec::Vec;

/// A world in which much can go wrong: a server, a client and a limited third that hold each other's ports, spaces and memory.
pub(super) fn crowd(random: &mut Random) -> World {
    let mut w = if random.once_in(2) { World::confined() } else { World::new() };
    let p = pair(&mut w);
    let account = w.account(ACCOUNT, 600, 200);
    let poor = w.account(account, 40, 20);
    let spec = SandboxSpec {
        budget: 2_000_000,
        period: 10_000_000,
        hard_limit: random.below(2),
        ..sandbox_spec("limited", random.below(32), 64)
    };
    let limited = w.child_with(account, &spec);
    let (n, m, endpoint) = (w.notification(), w.notification(), w.endpoint());
    let port = w.port(endpoint, 2);
    let (shared, _) = w.region(2);
    for child in [p.server, p.client, limited] {
        let (spaces, region) = ([p.client.cap, limited.cap], child.region);
        let caps = [account, poor, n, m, endpoint, port, shared, region, p.port, p.endpoint];
        for (slot, cap) in (10..).zip(caps.into_iter().chain(spaces)) {
            let any = Rights::from_bits_truncate(random.next() as u32);
            w.give(cap, child, slot, if random.once_in(4) { any } else { Rights::all() });
        }
        w.ok(w.manager, Syscall::SandboxFaultPort, [child.cap.into(), port.into(), 0, 0, 0]);
    }
    for slot in [2, 3, 4, 7, 8, 9] {
        w.give(slot, p.server, slot + 30, Rights::all());
    }
    w.threads(p.client, 2);
    w.threads(p.server, 1);
    w
}

/// User address of a page that a sandbox has mapped writable, memory and no device: the one found last, if it still is.
fn memory_of(w: &mut World, found: &mut BTreeMap<u32, u64>, sandbox: u32) -> Option<u64> {
    let last = found.get(&sandbox).copied();
    if let Some(address) = last
        && w.k.user_range(sandbox, address, PAGE_SIZE, true).is_ok()
    {
        return last;
    }
    let writable = pages(&w.k, sandbox).into_iter().filter(|page| page.1);
    let addresses: Vec<u64> = writable.map(|page| USER_BASE + page.0).collect();
    let address = addresses.into_iter().find(|at| w.k.user_range(sandbox, *at, PAGE_SIZE, true).is_ok())?;
    found.insert(sandbox, address);
    Some(address)
}

/// The number of the next call; what ends a sandbox is made rarer, or little else would happen.
fn number(random: &mut Random) -> u64 {
    let ends = [Syscall::Exit, Syscall::Destroy, Syscall::SandboxFreeze, Syscall::CapRevoke];
    match random.below(60) {
        0 => random.next(),
        1..=15 => random.below(6),
        _ => match random.pick(&Syscall::ALL) {
            call if ends.contains(&call) && !random.once_in(8) => Syscall::CapCopy as u64,
            call => call as u64,
        },
    }
}

/// What the calls of a run did.
pub(super) struct Tally {
    pub(super) made: u64,
    /// Memory of each sandbox, found by [`memory_of`].
    memory: BTreeMap<u32, u64>,
    accepted: [u64; Syscall::ALL.len()],
}

impl Tally {
    pub(super) fn new() -> Self {
        Self { made: 0, memory: BTreeMap::new(), accepted: [0; Syscall::ALL.len()] }
    }
}

/// One system call of the thread that the kernel chose, or time that passes when there is none.
pub(super) fn step(w: &mut World, random: &mut Random, tally: &mut Tally) {
    if random.once_in(8) {
        w.pass(random.below(3_000_000));
    }
    let Some(thread) = w.running() else { return w.pass(5_000_000) };
    let sandbox = w.k.threads[thread].sandbox;
    let memory = memory_of(w, &mut tally.memory, sandbox);
    let clock = w.k.machine.now();
    let mut caller = Caller { k: &mut w.k, random, sandbox, memory };
    let number = number(caller.random);
    let call = Syscall::from_number(number);
    let mut args = match call {
        Some(call) if !caller.random.once_in(10) => caller.plausible(call),
        _ => [0; 5].map(|_: u64| caller.wild()),
    };
    if (1..=4).contains(&number) && caller.random.once_in(2) {
        args[1] = caller.message();
    }
    let buffer = memory.unwrap_or(0);
    let buffer = caller.random.pick(&[0, buffer, buffer, buffer, buffer + 8, args[4]]);
    let identity = w.k.threads.id(thread);
    let frame = &mut w.k.threads[thread].context.frame;
    frame.rax = number;
    [frame.rdi, frame.rsi, frame.rdx, frame.r10, frame.r8] = args;
    let deadline = if random.once_in(3) { FOREVER } else { clock + random.below(5_000_000) };
    (frame.r12, frame.r13) = (deadline, buffer);
    w.enter(number);
    tally.made += 1;
    let gone = w.k.threads.id(thread) != identity || w.k.threads[thread].state != State::Ready;
    let accepted = gone || Error::from_status(w.k.threads[thread].context.frame.rax).is_ok();
    if let Some(call) = call.filter(|_| accepted) {
        tally.accepted[call as usize] += 1;
    }
}

/// Everything that a thread can wait for comes, and a page faults, so that the crowd stays busy.
pub(super) fn stir(w: &mut World, random: &mut Random) {
    w.pass(20_000_000);
    for index in 0..w.k.notifications.touched() {
        if let Some(id) = w.k.notifications.id(index) {
            w.k.signal_id(id, 1);
        }
    }
    w.k.interrupt(random.next() as u8);
    if random.once_in(10) && w.running().is_some_and(|t| t != w.manager.thread) {
        w.k.exception(14, 4, random.next());
    }
    w.k.choose_next();
}

fn run(seed: u64, calls: u64, tally: &mut Tally) {
    let mut random = Random(seed);
    let mut w = crowd(&mut random);
    tally.memory.clear();
    for n in 0..calls {
        step(&mut w, &mut random, tally);
        if n % 25 == 0 {
            check(&w.k);
        }
        if n % 60 == 0 {
            stir(&mut w, &mut random);
        }
    }
    check(&w.k);
    nothing_is_left(w.k);
}

#[test]
fn two_hundred_thousand_random_system_calls_break_nothing_and_leak_nothing() {
    let mut tally = Tally::new();
    for seed in 1.. {
        run(seed, 1_500, &mut tally);
        if tally.made >= 200_000 {
            break;
        }
        assert!(seed < 1000, "the crowds die too early: {} calls", tally.made);
    }
    for call in Syscall::ALL {
        assert!(tally.accepted[call as usize] >= 50, "{call:?} was hardly ever accepted");
    }
}

#[test]
fn every_system_call_with_empty_and_with_full_registers_returns() {
    for value in [0, 1, u64::MAX, USER_BASE] {
        for call in Syscall::ALL {
            let mut w = World::new();
            let p = pair(&mut w);
            w.sys(p.client, call, [value; 5]);
            check(&w.k);
        }
    }
}
