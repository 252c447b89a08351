//! A sandbox with a thousand threads freezes in parts: none of its threads runs from the first on, and until the last nobody takes one for alive.

use super::invariants::{check, nothing_is_left};
use super::longcalls::{dismantle_part, in_parts, short};
use super::world::{ACCOUNT, Actor, CALL, Pair, SERVE, Send, World, pair, sandbox_spec, word};
use hic_abi::message::Kind;
use hic_abi::syscall::Syscall;
use hic_abi::{Error, FOREVER, Handle, Rights, SELF};
use std::vec::Vec;

/// Threads of the busy sandbox.
const THREADS: usize = 1000;
/// Badges of its calls, and of its faults.
const ITS_CALLS: u64 = 1;
const ITS_FAULTS: u64 = 99;

/// A sandbox whose threads do all that threads do, in turn: queued, waiting for bits with and without a deadline, receiving, ready.
struct Busy {
    w: World,
    /// A server whose endpoint the busy one calls, and which hears of its faults; a client.
    p: Pair,
    big: Actor,
    threads: Vec<Actor>,
    /// The manager's capabilities on what the last thread that waits, and the last that receives, wait for.
    bits: Handle,
    served: Handle,
}

impl Busy {
    fn new() -> Self {
        let mut w = World::new();
        let p = pair(&mut w);
        let big = w.child_with(ACCOUNT, &sandbox_spec("busy", 16, 4096));
        let (calls, faults) = (w.port(p.endpoint, ITS_CALLS), w.port(p.endpoint, ITS_FAULTS));
        w.ok(w.manager, Syscall::SandboxFaultPort, [big.cap.into(), faults.into(), 0, 0, 0]);
        w.give(calls, big, 1, Rights::SEND);
        let threads = w.threads(big, THREADS);
        let (mut bits, mut served) = (0, 0);
        for (n, thread) in threads.iter().enumerate() {
            let slot = n as Handle + 10;
            match n % 5 {
                0 => assert_eq!(w.call(*thread, 1, word(5)), None, "queued"),
                1 | 2 => {
                    bits = w.notification();
                    w.give(bits, big, slot, Rights::all());
                    let deadline = if n % 5 == 1 { 1 << 50 } else { FOREVER };
                    assert_eq!(w.sys(*thread, Syscall::Wait, [slot.into(), deadline, 0, 0, 0]), None);
                }
                3 => {
                    served = w.endpoint();
                    w.give(served, big, slot, Rights::all());
                    assert_eq!(w.receive(*thread, slot), None);
                }
                _ => {}
            }
        }
        Self { w, p, big, threads, bits, served }
    }

    /// The first of its threads that is ready does what is forbidden; the rest is not done yet.
    fn fault(&mut self) {
        self.w.k.run_instead(self.threads[4].thread);
        let k = &mut self.w.k;
        short(|| {
            k.exception(13, 0, 0);
            k.choose_next();
        });
        assert!(
            self.w.k.sandboxes[self.big.sandbox].unstopped.is_some(),
            "it was done at once: nothing to look at"
        );
        check(&self.w.k);
    }

    /// A port of the client's that leads where a thread of the busy sandbox receives.
    fn port_to_the_frozen(&mut self) -> Handle {
        let port = self.w.port(self.served, 7);
        self.w.give(port, self.p.client, 30, Rights::SEND);
        30
    }

    fn finish(mut self) {
        while self.w.k.has_remains() {
            dismantle_part(&mut self.w.k);
        }
        check(&self.w.k);
        nothing_is_left(self.w.k);
    }
}

#[test]
fn a_sandbox_with_many_threads_is_frozen_in_parts() {
    let mut b = Busy::new();
    // Its call was received and waits for an answer; another one waits for an answer of one of its threads.
    assert_eq!(b.w.receive(b.p.server, SERVE).expect("queued").expect("a message").badge, ITS_CALLS);
    let port = b.port_to_the_frozen();
    assert_eq!(b.w.call(b.p.client, port, word(1)), None, "received");
    let entries = in_parts(&mut b.w, Syscall::SandboxFreeze, [b.big.cap.into(), 9, 0, 0, 0]);
    assert!(entries > 10, "{entries} entries");
    assert_eq!(b.w.got(b.p.client), Some(Err(Error::ServerDied)));
    assert_eq!(b.w.reply(b.p.server, word(2)), Err(Error::CallerGone));
    // The only call that is left says how the caller of all others ended.
    let fault = b.w.receive(b.p.server, SERVE).expect("queued").expect("a message");
    assert_eq!((fault.kind, fault.badge, fault.words[1]), (Kind::Fault, ITS_FAULTS, 9));
    assert_eq!(b.w.receive_until(b.p.server, SERVE, 0), Some(Err(Error::WouldBlock)));
    assert_eq!(
        b.w.refused(b.w.manager, Syscall::SandboxFreeze, [b.big.cap.into(), 9, 0, 0, 0]),
        Error::WrongState
    );
    b.finish();
}

/// The timer may do the rest between two parts of the call: the program sees one call, which did what it was to do.
#[test]
fn a_freeze_that_others_finished_has_succeeded() {
    for destroyed in [false, true] {
        let mut b = Busy::new();
        let manager = b.w.manager;
        b.w.k.run_instead(manager.thread);
        let frame = &mut b.w.k.threads[manager.thread].context.frame;
        (frame.rax, frame.rdi, frame.rsi) = (Syscall::SandboxFreeze as u64, b.big.cap.into(), 9);
        assert!(b.w.enter_once(), "it was done at once: nothing to look at");
        if destroyed {
            b.w.k.destroy(b.w.k.cap(manager.sandbox, b.big.cap).expect("filled").object);
        }
        while b.w.k.dismantle_some() {}
        b.w.k.run_instead(manager.thread);
        assert!(!b.w.enter_once());
        assert_eq!(b.w.result(manager).map(|r| r.map(|_| ())), Some(Ok(())));
        // Another call is another call.
        let due = if destroyed { Error::InvalidHandle } else { Error::WrongState };
        assert_eq!(b.w.refused(manager, Syscall::SandboxFreeze, [b.big.cap.into(), 9, 0, 0, 0]), due);
        b.finish();
    }
}

/// Who finds one freezing did not freeze it.
#[test]
fn a_sandbox_that_is_freezing_is_frozen_already() {
    let mut b = Busy::new();
    b.fault();
    let freeze = [b.big.cap.into(), 9, 0, 0, 0];
    assert_eq!(b.w.refused(b.w.manager, Syscall::SandboxFreeze, freeze), Error::WrongState);
    b.finish();
}

#[test]
fn a_fault_is_told_when_all_threads_are_stopped() {
    let mut b = Busy::new();
    // The server has taken all calls, and waits for more.
    while b.w.receive_until(b.p.server, SERVE, 0) != Some(Err(Error::WouldBlock)) {}
    assert_eq!(b.w.receive(b.p.server, SERVE), None);
    b.fault();
    let mut parts = 0;
    while b.w.k.has_remains() {
        assert_eq!(b.w.got(b.p.server), None, "some threads are not stopped yet");
        parts += 1;
        dismantle_part(&mut b.w.k);
    }
    let fault = b.w.got(b.p.server).expect("it was told").expect("a message");
    assert_eq!((fault.kind, fault.badge), (Kind::Fault, ITS_FAULTS));
    assert!(parts > 10, "{parts} parts");
    b.finish();
}

/// As long as somebody runs, the timer looks after the rest.
#[test]
fn a_thread_that_never_enters_the_kernel_does_not_put_the_end_off() {
    let mut b = Busy::new();
    b.fault();
    let hog = b.p.client;
    b.w.k.run_instead(hog.thread);
    b.w.ok(hog, Syscall::Now, [0; 5]);
    b.w.pass(20_000_000);
    assert!(!b.w.k.has_remains());
    assert_eq!(b.w.receive(b.p.server, SERVE).map(|m| m.map(|m| m.badge)), Some(Ok(ITS_FAULTS)));
    b.finish();
}

#[test]
fn a_frozen_thread_that_still_seems_to_receive_gets_no_call() {
    for fast_path in [true, false] {
        let mut b = Busy::new();
        b.w.fast_path = fast_path;
        let port = b.port_to_the_frozen();
        b.fault();
        assert_eq!(b.w.call(b.p.client, port, word(1)), None, "queued");
        check(&b.w.k);
        // Whoever takes the endpoint over finds it free, and the call in its queue.
        b.w.give(b.served, b.p.server, 31, Rights::all());
        assert_eq!(b.w.receive(b.p.server, 31).map(|m| m.map(|m| m.badge)), Some(Ok(7)));
        assert_eq!(b.w.reply_receive(b.p.server, 31, word(3)), None, "answered, and none is left");
        assert_eq!(b.w.got(b.p.client).map(|m| m.map(|m| m.words[0])), Some(Ok(3)));
        check(&b.w.k);
        b.finish();
    }
}

#[test]
fn an_endpoint_at_which_a_frozen_thread_still_seems_to_receive_is_free() {
    let mut b = Busy::new();
    b.w.give(b.served, b.p.server, 31, Rights::all());
    assert_eq!(b.w.receive_until(b.p.server, 31, 0), Some(Err(Error::Busy)));
    b.fault();
    assert_eq!(b.w.receive_until(b.p.server, 31, 0), Some(Err(Error::WouldBlock)));
    b.finish();
}

#[test]
fn a_frozen_thread_that_still_seems_to_wait_takes_no_bits() {
    let mut b = Busy::new();
    b.w.give(b.bits, b.p.server, 31, Rights::all());
    b.w.give(b.bits, b.p.client, 31, Rights::all());
    b.fault();
    b.w.ok(b.p.client, Syscall::Signal, [31, 6, 0, 0, 0]);
    check(&b.w.k);
    assert_eq!(b.w.ok(b.p.server, Syscall::Wait, [31, 0, 0, 0, 0]), 6);
    b.finish();
}

#[test]
fn a_frozen_thread_whose_deadline_passes_does_not_run() {
    let mut b = Busy::new();
    b.fault();
    b.w.k.machine.clock = 1 << 51;
    b.w.k.idle_ended();
    b.w.k.timer();
    check(&b.w.k);
    let running = b.w.running().map(|thread| b.w.k.threads[thread].sandbox);
    assert_ne!(running, Some(b.big.sandbox));
    b.finish();
}

#[test]
fn a_notification_for_which_a_frozen_thread_still_seems_to_wait_is_free() {
    let mut b = Busy::new();
    b.w.give(b.bits, b.p.server, 31, Rights::all());
    assert_eq!(b.w.refused(b.p.server, Syscall::Wait, [31, 0, 0, 0, 0]), Error::Busy);
    b.fault();
    assert_eq!(b.w.refused(b.p.server, Syscall::Wait, [31, 0, 0, 0, 0]), Error::WouldBlock);
    b.finish();
}

#[test]
fn a_call_of_a_frozen_thread_is_not_taken_and_one_that_was_is_not_answered() {
    for fast_path in [true, false] {
        let mut b = Busy::new();
        b.w.fast_path = fast_path;
        // The call that it has received last is one of a thread that the first part does not stop.
        for _ in 0..THREADS / 10 {
            assert_eq!(b.w.receive(b.p.server, SERVE).map(|m| m.map(|m| m.badge)), Some(Ok(ITS_CALLS)));
        }
        b.fault();
        assert_eq!(b.w.reply(b.p.server, word(2)), Err(Error::CallerGone));
        assert_eq!(b.w.receive(b.p.server, SERVE), None, "nobody is there any more");
        check(&b.w.k);
        assert_eq!(b.w.call(b.p.client, CALL, word(1)), None);
        assert!(b.w.got(b.p.server).expect("served").is_ok(), "others are served meanwhile");
        assert_eq!(b.w.reply_receive(b.p.server, SERVE, word(4)), None);
        assert_eq!(b.w.got(b.p.client).map(|m| m.map(|m| m.words[0])), Some(Ok(4)));
        check(&b.w.k);
        b.finish();
    }
}

#[test]
fn a_freezing_sandbox_can_be_reset_and_destroyed() {
    let mut b = Busy::new();
    b.fault();
    let entries = in_parts(&mut b.w, Syscall::SandboxReset, [b.big.cap.into(), 0, 0, 0, 0]);
    let big = &b.w.k.sandboxes[b.big.sandbox];
    assert!(entries > 10 && big.threads.is_empty() && !big.frozen, "{entries} entries");
    check(&b.w.k);
    let mut b = Busy::new();
    b.fault();
    let live = b.w.k.sandboxes.live();
    let entries = in_parts(&mut b.w, Syscall::Destroy, [SELF.into(), b.big.cap.into(), 0, 0, 0]);
    assert!(entries > 10, "{entries} entries");
    assert_eq!(b.w.k.sandboxes.live(), live - 1);
    b.finish();
}

/// The thread that is the next to be stopped ends before.
#[test]
fn a_thread_of_a_freezing_sandbox_can_be_destroyed() {
    let mut b = Busy::new();
    let next = |b: &Busy| b.w.k.sandboxes[b.big.sandbox].unstopped.expect("not done");
    b.fault();
    let (marked, slot) = (next(&b), b.w.slot());
    let id = b.w.k.threads.id(marked).expect("it lives");
    let place = b.w.k.empty_slot(b.w.manager.sandbox, slot).expect("empty");
    let object = crate::objects::ObjectRef { kind: hic_abi::ObjectType::Thread, id };
    b.w.k.grant(b.w.manager.sandbox, place, object, Rights::all());
    // As it is done by the call, without the part of the rest that its end would do.
    b.w.k.destroy(object);
    assert!(next(&b) != marked && !b.w.k.threads.is_live(id));
    check(&b.w.k);
    b.finish();
}

/// The timer fires, so late after it was to, while nobody runs: one entry.
fn timer_fires(w: &mut World, late: u64) {
    w.k.machine.clock = w.k.machine.clock.max(w.k.machine.timer + late);
    w.k.machine.timer = u64::MAX;
    let k = &mut w.k;
    short(|| {
        k.idle_ended();
        k.timer();
        k.choose_next();
    });
}

#[test]
fn a_crowd_whose_deadlines_pass_together_wakes_in_parts() {
    let mut w = World::new();
    let big = w.child_with(ACCOUNT, &sandbox_spec("late", 16, 4096));
    let threads = w.threads(big, THREADS);
    for (n, thread) in threads.iter().enumerate() {
        let (slot, notification) = (n as Handle + 10, w.notification());
        w.give(notification, big, slot, Rights::all());
        assert_eq!(w.sys(*thread, Syscall::Wait, [slot.into(), 1 << 40, 0, 0, 0]), None);
    }
    w.k.machine.clock = 1 << 40;
    let mut entries = 0;
    while threads.iter().any(|thread| w.got(*thread).is_none()) {
        assert!(w.k.machine.timer <= w.k.machine.clock + 100_000_000, "nobody would wake the rest");
        timer_fires(&mut w, 0);
        entries += 1;
    }
    assert!(entries > 10, "{entries} entries");
    assert!(threads.iter().all(|thread| w.got(*thread) == Some(Err(Error::Timeout))));
    check(&w.k);
}

/// Callers whose message their server cannot take: it has no buffer for the bytes.
fn unreadable(w: &mut World, p: &Pair, count: usize) -> Vec<Actor> {
    let callers = w.threads(p.client, count);
    for caller in &callers {
        let send = Send { inline: 8, buffer: true, ..word(1) };
        assert_eq!(w.call(*caller, CALL, send), None, "queued");
    }
    callers
}

#[test]
fn a_server_that_can_take_no_message_of_a_crowd_sends_it_away_in_parts() {
    let mut w = World::new();
    let p = pair(&mut w);
    let callers = unreadable(&mut w, &p, THREADS);
    assert_eq!(w.call(p.client, CALL, word(8)), None, "queued behind them");
    w.k.run_instead(p.server.thread);
    let frame = &mut w.k.threads[p.server.thread].context.frame;
    (frame.rax, frame.rdi, frame.r12, frame.r13) = (Syscall::Receive as u64, SERVE.into(), FOREVER, 0);
    let (mut entries, mut more) = (0, true);
    while more {
        entries += 1;
        short(|| more = w.enter_once());
    }
    assert!(entries > 10, "{entries} entries");
    assert!(callers.iter().all(|caller| w.got(*caller) == Some(Err(Error::NoReceiveSlot))));
    assert_eq!(w.got(p.server).map(|m| m.map(|m| m.words[0])), Some(Ok(8)));
    check(&w.k);
}

#[test]
fn a_switch_to_a_server_that_can_take_no_message_of_a_crowd_is_short() {
    let mut w = World::new();
    let p = pair(&mut w);
    let callers = unreadable(&mut w, &p, THREADS);
    let other = w.endpoint();
    w.give(other, p.server, 31, Rights::RECEIVE);
    assert_eq!(w.receive(p.server, 31), None);
    let entries = in_parts(&mut w, Syscall::PortSwitch, [p.port.into(), other.into(), 0, 0, 0]);
    assert_eq!(entries, 1);
    assert!(callers.iter().any(|caller| w.got(*caller).is_none()), "it was done at once: nothing to look at");
    check(&w.k);
    // The server makes its call again.
    let frame = w.k.threads[p.server.thread].context.frame;
    assert_eq!((frame.rax, frame.rdi), (Syscall::Receive as u64, 31));
    assert_eq!(w.receive(p.server, 31), None);
    assert!(callers.iter().all(|caller| w.got(*caller) == Some(Err(Error::NoReceiveSlot))));
    check(&w.k);
}

/// It has not entered the kernel for its fuse to burn, and there is no longer one.
#[test]
fn a_call_that_is_made_again_leaves_the_longest_fuse_as_it_is() {
    let mut w = World::new();
    let p = pair(&mut w);
    unreadable(&mut w, &p, 100);
    let other = w.endpoint();
    w.give(other, p.server, 31, Rights::RECEIVE);
    assert_eq!(w.receive(p.server, 31), None);
    w.ok(w.manager, Syscall::SandboxFuse, [p.server.cap.into(), u64::MAX, 5, 0, 0]);
    w.ok(w.manager, Syscall::PortSwitch, [p.port.into(), other.into(), 0, 0, 0]);
    assert_eq!(w.k.threads[p.server.thread].state, crate::objects::State::Ready, "it receives again");
    assert_eq!((w.k.sandboxes[p.server.sandbox].fuse, w.k.fuses), ((u64::MAX, 5), 1));
    w.ok(w.manager, Syscall::Destroy, [SELF.into(), p.server.cap.into(), 0, 0, 0]);
    assert_eq!(w.k.fuses, 0, "nobody else is held up");
    check(&w.k);
}

#[test]
fn a_crowd_whose_budgets_are_renewed_together_begins_its_periods_in_parts() {
    const CROWD: usize = 300;
    let mut w = World::new();
    let spec = hic_abi::object::SandboxSpec {
        budget: 1_000_000,
        period: 1_000_000_000,
        hard_limit: 1,
        ..sandbox_spec("poor", 16, 64)
    };
    let crowd: Vec<Actor> = (0..CROWD).map(|_| w.child_with(ACCOUNT, &spec)).collect();
    // Each spends its millisecond, in the same period.
    w.pass(900_000_000);
    let spent = |w: &World| {
        crowd.iter().filter(|c| w.k.sandboxes[c.sandbox].queue == crate::objects::Queue::Spent).count()
    };
    assert_eq!(spent(&w), CROWD);
    let mut entries = 0;
    while spent(&w) > CROWD / 2 {
        assert!(w.k.machine.timer < 3_000_000_000, "nobody would begin the other periods");
        timer_fires(&mut w, 500_000);
        entries += 1;
    }
    assert!(entries > 1, "{entries} entries");
    check(&w.k);
}

/// What the hostile service found: each of its calls armed the timer anew, so that it never fired.
#[test]
fn a_timer_that_is_due_is_not_put_off_by_calls_that_leave_something_to_be_done() {
    let mut w = World::new();
    let sleeper = w.child();
    let n = w.notification();
    w.give(n, sleeper, 3, Rights::all());
    let due = w.k.machine.clock + 1_000_000;
    assert_eq!(w.sys(sleeper, Syscall::Wait, [3, due, 0, 0, 0]), None);
    for _ in 0..500 {
        let brief = w.sandbox(ACCOUNT, &sandbox_spec("brief", 8, 64));
        w.ok(w.manager, Syscall::Destroy, [SELF.into(), brief.into(), 0, 0, 0]);
        w.k.machine.clock += 6_000;
        assert!(w.k.machine.timer <= due, "it fires at {}, {due} was asked for", w.k.machine.timer);
    }
    w.pass(0);
    assert_eq!(w.got(sleeper), Some(Err(Error::Timeout)));
}
