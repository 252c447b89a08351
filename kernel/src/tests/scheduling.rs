//! Who runs: priorities, turns, budgets. Here the kernel chooses; tests only let time pass.

use super::invariants::check;
use super::world::{ACCOUNT, Actor, CALL, SERVE, World, pair, sandbox_spec, word};
use crate::config::TIME_SLICE;
use hic_abi::object::SandboxSpec;
use hic_abi::syscall::Syscall;
use hic_abi::{Error, FOREVER, Handle, Rights};
use std::collections::BTreeMap;

const MILLI: u64 = 1_000_000;

/// Passes time in small steps and counts how long each thread ran; idle is `None`.
fn shares(w: &mut World, nanos: u64) -> BTreeMap<Option<u32>, u64> {
    const STEP: u64 = MILLI / 10;
    let mut shares = BTreeMap::new();
    for _ in 0..nanos / STEP {
        let running = w.running();
        *shares.entry(running).or_default() += STEP;
        w.pass(STEP);
    }
    shares
}

/// The manager waits for ever, so that only children run.
fn manager_sleeps(w: &mut World) -> Handle {
    let n = w.notification();
    assert_eq!(w.sys(w.manager, Syscall::Wait, [n.into(), FOREVER, 0, 0, 0]), None);
    n
}

fn budget(amount: u64, period: u64, hard: bool) -> SandboxSpec {
    SandboxSpec { budget: amount, period, hard_limit: hard.into(), ..sandbox_spec("budget", 16, 64) }
}

fn share(shares: &BTreeMap<Option<u32>, u64>, who: Actor) -> u64 {
    shares.get(&Some(who.thread)).copied().unwrap_or(0)
}

fn with_priority(w: &mut World, priority: u64) -> Actor {
    w.child_with(ACCOUNT, &sandbox_spec("child", priority, 64))
}

#[test]
fn the_highest_priority_runs_and_the_others_wait() {
    let mut w = World::new();
    let (low, high) = (with_priority(&mut w, 3), with_priority(&mut w, 9));
    manager_sleeps(&mut w);
    let shares = shares(&mut w, 50 * MILLI);
    assert_eq!((share(&shares, high), share(&shares, low)), (50 * MILLI, 0));
    check(&w.k);
}

#[test]
fn a_woken_thread_of_higher_priority_runs_at_once() {
    let mut w = World::new();
    let (low, high) = (with_priority(&mut w, 3), with_priority(&mut w, 9));
    let n = w.notification();
    w.give(n, high, 3, Rights::RECEIVE);
    w.give(n, low, 3, Rights::SEND);
    w.sys(high, Syscall::Wait, [3, FOREVER, 0, 0, 0]);
    manager_sleeps(&mut w);
    assert_eq!(w.running(), Some(low.thread));
    w.sys(low, Syscall::Signal, [3, 1, 0, 0, 0]);
    assert_eq!(w.running(), Some(high.thread));
    w.sys(high, Syscall::Wait, [3, FOREVER, 0, 0, 0]);
    assert_eq!(w.running(), Some(low.thread));
}

#[test]
fn a_priority_can_be_changed_while_the_sandbox_runs_or_waits() {
    let mut w = World::new();
    let (a, b) = (with_priority(&mut w, 5), with_priority(&mut w, 6));
    manager_sleeps(&mut w);
    assert_eq!(w.running(), Some(b.thread));
    for (changed, priority, next) in [(a, 7, a), (a, 5, b), (b, 4, a), (a, 0, b)] {
        let manager = w.manager_woken();
        w.ok(manager, Syscall::SandboxShare, [changed.cap.into(), priority, 0, 0, 0]);
        manager_sleeps(&mut w);
        assert_eq!(w.running(), Some(next.thread), "{priority}");
        check(&w.k);
    }
    let manager = w.manager_woken();
    let above = w.sys(manager, Syscall::SandboxShare, [b.cap.into(), 32, 0, 0, 0]);
    assert_eq!(above, Some(Err(Error::InvalidArgument)));
    // Above whoever raises it: that one has to wait at once.
    w.ok(manager, Syscall::SandboxShare, [b.cap.into(), 20, 0, 0, 0]);
    assert_eq!(w.running(), Some(b.thread));
}

#[test]
fn a_share_can_be_changed_while_the_sandbox_runs_waits_or_has_spent_its_own() {
    let mut w = World::new();
    let (child, rival) = (w.child_with(ACCOUNT, &budget(MILLI, 100 * MILLI, true)), with_priority(&mut w, 5));
    let set = |w: &mut World, share: [u64; 4]| {
        let manager = w.manager_woken();
        let [priority, budget, period, hard] = share;
        w.ok(manager, Syscall::SandboxShare, [child.cap.into(), priority, budget, period, hard]);
        manager_sleeps(w);
        check(&w.k);
    };
    let counted = |w: &mut World| {
        let shares = shares(w, 100 * MILLI);
        (share(&shares, child).div_ceil(2 * MILLI), share(&shares, rival).div_ceil(2 * MILLI))
    };
    manager_sleeps(&mut w);
    w.pass(20 * MILLI);
    assert_eq!(w.running(), Some(rival.thread), "the child has spent its budget");
    // Nothing beyond 2 ms of 10 ms, with a period that begins at once.
    set(&mut w, [9, 2 * MILLI, 10 * MILLI, 1]);
    assert_eq!((w.running(), counted(&mut w)), (Some(child.thread), (10, 40)));
    // Everything, being the more important one; then what the rival leaves, which is nothing; then half, as an equal.
    set(&mut w, [9, 0, 0, 0]);
    assert_eq!(counted(&mut w), (50, 0));
    set(&mut w, [4, 0, 0, 0]);
    assert_eq!(counted(&mut w), (0, 50));
    set(&mut w, [5, 0, 0, 0]);
    let (own, others) = counted(&mut w);
    assert!(own.abs_diff(others) <= 4, "{own} and {others}");
    // 2 ms of 10 ms, and beyond it what nobody else wants.
    set(&mut w, [9, 2 * MILLI, 10 * MILLI, 0]);
    assert_eq!(counted(&mut w), (10, 40));
    let manager = w.manager_woken();
    w.ok(manager, Syscall::SandboxFreeze, [rival.cap.into(), 0, 0, 0, 0]);
    manager_sleeps(&mut w);
    assert_eq!(counted(&mut w).0, 50);
}

#[test]
fn a_share_that_makes_no_sense_is_refused_and_changes_nothing() {
    let mut w = World::new();
    let child = w.child_with(ACCOUNT, &budget(MILLI, 10 * MILLI, true));
    let before = (w.k.sandboxes[child.sandbox].priority, w.k.sandboxes[child.sandbox].budget);
    for share in [[32, 0, 0], [1, 2 * MILLI, MILLI], [1, MILLI, 0], [1, 1, 999_999], [1, 1, 1_000_000_001]] {
        let [priority, budget, period] = share;
        let args = [child.cap.into(), priority, budget, period, 0];
        assert_eq!(w.refused(w.manager, Syscall::SandboxShare, args), Error::InvalidArgument);
    }
    let manager = u64::from(child.cap);
    assert_eq!(w.refused(child, Syscall::SandboxShare, [manager, 1, 0, 0, 0]), Error::InvalidHandle);
    assert_eq!((w.k.sandboxes[child.sandbox].priority, w.k.sandboxes[child.sandbox].budget), before);
}

#[test]
fn equals_take_turns_by_the_timer() {
    let mut w = World::new();
    let all = [with_priority(&mut w, 5), with_priority(&mut w, 5), with_priority(&mut w, 5)];
    manager_sleeps(&mut w);
    let shares = shares(&mut w, 30 * TIME_SLICE);
    for child in all {
        assert!(share(&shares, child).abs_diff(10 * TIME_SLICE) <= TIME_SLICE, "{shares:?}");
    }
}

#[test]
fn threads_of_one_sandbox_take_turns_too() {
    let mut w = World::new();
    let one = with_priority(&mut w, 5);
    let more = w.threads(one, 2);
    manager_sleeps(&mut w);
    let shares = shares(&mut w, 30 * TIME_SLICE);
    for thread in [one, more[0], more[1]] {
        assert!(share(&shares, thread).abs_diff(10 * TIME_SLICE) <= TIME_SLICE, "{shares:?}");
    }
}

#[test]
fn frequent_interruptions_do_not_let_one_starve_its_equal() {
    let mut w = World::new();
    let (a, b) = (with_priority(&mut w, 5), with_priority(&mut w, 5));
    let driver = with_priority(&mut w, 20);
    let n = w.notification();
    w.give(n, driver, 3, Rights::RECEIVE);
    manager_sleeps(&mut w);
    let place = w.k.slot(driver.sandbox, 3).expect("filled");
    let index = w.k.caps.get(place).expect("filled").object.id.index;
    let (mut ran_a, mut ran_b) = (0, 0);
    for _ in 0..200 {
        // The driver wakes each millisecond, far more often than a turn ends, and waits again at once.
        w.sys(driver, Syscall::Wait, [3, FOREVER, 0, 0, 0]);
        let shares = shares(&mut w, MILLI);
        ran_a += share(&shares, a);
        ran_b += share(&shares, b);
        w.k.signal(index, 1);
        assert_eq!(w.running(), Some(driver.thread));
    }
    assert!(ran_a.abs_diff(ran_b) <= 2 * TIME_SLICE, "{ran_a} and {ran_b}");
}

#[test]
fn yielding_lets_an_equal_run_and_returns_when_there_is_none() {
    let mut w = World::new();
    let (a, b) = (with_priority(&mut w, 5), with_priority(&mut w, 5));
    manager_sleeps(&mut w);
    assert_eq!(w.running(), Some(a.thread));
    w.ok(a, Syscall::Yield, [0; 5]);
    assert_eq!(w.running(), Some(b.thread));
    let manager = w.manager_woken();
    w.ok(manager, Syscall::SandboxFreeze, [a.cap.into(), 0, 0, 0, 0]);
    manager_sleeps(&mut w);
    w.ok(b, Syscall::Yield, [0; 5]);
    assert_eq!(w.running(), Some(b.thread));
}

#[test]
fn a_hard_budget_is_all_that_a_sandbox_gets_even_on_an_idle_machine() {
    let mut w = World::new();
    let child = w.child_with(ACCOUNT, &budget(2 * MILLI, 10 * MILLI, true));
    manager_sleeps(&mut w);
    let shares = shares(&mut w, 100 * MILLI);
    assert!(share(&shares, child).abs_diff(20 * MILLI) <= 2 * MILLI, "{shares:?}");
    check(&w.k);
}

#[test]
fn a_conserving_budget_uses_what_nobody_else_wants() {
    let mut w = World::new();
    let child = w.child_with(ACCOUNT, &budget(2 * MILLI, 10 * MILLI, false));
    manager_sleeps(&mut w);
    let shares = shares(&mut w, 100 * MILLI);
    assert_eq!(share(&shares, child), 100 * MILLI);
}

#[test]
fn a_spent_budget_gives_way_to_lower_priorities_until_it_is_renewed() {
    let mut w = World::new();
    let high = w.child_with(ACCOUNT, &budget(2 * MILLI, 10 * MILLI, false));
    let low = with_priority(&mut w, 1);
    manager_sleeps(&mut w);
    let shares = shares(&mut w, 100 * MILLI);
    assert!(share(&shares, high).abs_diff(20 * MILLI) <= 2 * MILLI, "{shares:?}");
    assert!(share(&shares, low).abs_diff(80 * MILLI) <= 2 * MILLI, "{shares:?}");
    check(&w.k);
}

#[test]
fn a_thread_within_its_budget_preempts_one_that_has_spent_its_own() {
    let mut w = World::new();
    let spent = w.child_with(ACCOUNT, &budget(MILLI, 100 * MILLI, false));
    let low = with_priority(&mut w, 1);
    let n = w.notification();
    w.give(n, low, 3, Rights::RECEIVE);
    w.give(n, spent, 3, Rights::SEND);
    w.sys(low, Syscall::Wait, [3, FOREVER, 0, 0, 0]);
    manager_sleeps(&mut w);
    w.pass(5 * MILLI);
    assert_eq!(w.running(), Some(spent.thread));
    w.sys(spent, Syscall::Signal, [3, 1, 0, 0, 0]);
    assert_eq!(w.running(), Some(low.thread));
}

#[test]
fn a_sandbox_that_wakes_after_its_period_has_its_budget_again() {
    let mut w = World::new();
    let worker = w.child_with(ACCOUNT, &budget(MILLI, 10 * MILLI, true));
    let (spinner, n) = (with_priority(&mut w, 16), w.notification());
    w.give(n, worker, 3, Rights::RECEIVE);
    w.give(n, spinner, 3, Rights::SEND);
    manager_sleeps(&mut w);
    w.k.run_instead(worker.thread);
    w.k.machine.clock += MILLI;
    w.sys(worker, Syscall::Wait, [3, FOREVER, 0, 0, 0]);
    w.pass(50 * MILLI);
    assert_eq!(w.running(), Some(spinner.thread));
    w.sys(spinner, Syscall::Signal, [3, 1, 0, 0, 0]);
    let shares = shares(&mut w, 3 * TIME_SLICE);
    assert!(share(&shares, worker) > 0, "it must not wait for a timer that nobody armed: {shares:?}");
    check(&w.k);
}

#[test]
fn a_spent_conserving_sandbox_does_not_storm_the_timer() {
    let mut w = World::new();
    w.child_with(ACCOUNT, &budget(MILLI, 100 * MILLI, false));
    manager_sleeps(&mut w);
    w.pass(2 * MILLI);
    let before = w.k.counters.interrupts;
    w.pass(90 * MILLI);
    assert!(w.k.counters.interrupts - before < 10, "{}", w.k.counters.interrupts - before);
}

#[test]
fn spent_sandboxes_cost_nothing_on_the_message_path() {
    let mut w = World::new();
    let p = pair(&mut w);
    let steady = |w: &mut World| {
        let round = |w: &mut World| {
            crate::tests::accesses::during(|| {
                w.reply_receive(p.server, SERVE, word(1));
                w.call(p.client, CALL, word(1));
            })
        };
        [round(w), round(w), round(w)][2]
    };
    let alone = steady(&mut w);
    for _ in 0..20 {
        let child = w.child_with(ACCOUNT, &budget(MILLI, 1000 * MILLI, true));
        w.k.run_instead(child.thread);
        w.k.machine.clock += MILLI;
        w.ok(w.manager, Syscall::Null, [0; 5]);
    }
    assert_eq!(steady(&mut w), alone);
    check(&w.k);
}

#[test]
fn a_budget_must_fit_its_period() {
    let mut w = World::new();
    for (amount, period) in [(2 * MILLI, MILLI), (MILLI, 0), (1, 999_999), (1, 1_000_000_001)] {
        let spec = budget(amount, period, true);
        let address = w.put(w.manager, hic_abi::Plain::as_bytes(&spec));
        let args = [ACCOUNT.into(), hic_abi::ObjectType::Sandbox as u64, 500, address, 0];
        assert_eq!(w.refused(w.manager, Syscall::Create, args), Error::InvalidArgument);
    }
}

#[test]
fn the_server_pays_for_its_work() {
    let mut w = World::new();
    let p = pair(&mut w);
    w.receive(p.server, SERVE);
    let before = [p.client, p.server].map(|a| w.k.sandboxes[a.sandbox].cpu);
    w.call(p.client, CALL, word(1));
    w.k.machine.clock += 5 * MILLI;
    w.reply_receive(p.server, SERVE, word(1));
    let [client, server] = [p.client, p.server].map(|a| w.k.sandboxes[a.sandbox].cpu);
    assert_eq!((client - before[0], server - before[1]), (0, 5 * MILLI));
}

#[test]
fn an_idle_machine_counts_its_idle_time_and_wakes_by_interrupt() {
    let mut w = World::new();
    manager_sleeps(&mut w);
    assert_eq!(w.running(), None);
    w.k.machine.clock += 7 * MILLI;
    w.k.idle_ended();
    assert!(w.k.counters.idle >= 7 * MILLI);
    let manager = w.manager_woken();
    assert_eq!(w.running(), Some(manager.thread));
    check(&w.k);
}

#[test]
fn late_timers_make_no_period_longer() {
    let mut w = World::new();
    let child = w.child_with(ACCOUNT, &budget(2 * MILLI, 10 * MILLI, true));
    manager_sleeps(&mut w);
    let mut ran = 0;
    for _ in 0..100 {
        // The timer is looked at every 7 ms only, so each renewal is late.
        let before = w.k.sandboxes[child.sandbox].cpu;
        let until = w.k.machine.clock + 7 * MILLI;
        while w.running() == Some(child.thread) && w.k.machine.clock < until {
            w.pass(MILLI / 10);
        }
        w.k.machine.clock = until;
        w.pass(0);
        ran += w.k.sandboxes[child.sandbox].cpu - before;
    }
    assert!(ran >= 70 * 2 * MILLI * 9 / 10, "{ran} ns in 70 periods");
}

#[test]
fn those_that_spent_their_budgets_share_what_nobody_else_wants() {
    let mut w = World::new();
    let spec = budget(MILLI / 10, 1000 * MILLI, false);
    let all = [w.child_with(ACCOUNT, &spec), w.child_with(ACCOUNT, &spec), w.child_with(ACCOUNT, &spec)];
    w.threads(all[0], 2);
    manager_sleeps(&mut w);
    shares(&mut w, 10 * MILLI);
    let before = all.map(|child| w.k.sandboxes[child.sandbox].cpu);
    shares(&mut w, 60 * TIME_SLICE);
    for (child, before) in all.into_iter().zip(before) {
        let had = w.k.sandboxes[child.sandbox].cpu - before;
        assert!(had.abs_diff(20 * TIME_SLICE) <= 2 * TIME_SLICE, "{had} of {}", 60 * TIME_SLICE);
    }
}

/// Whatever its threads tell one another, a sandbox has its turn and no more.
#[test]
fn threads_that_wake_one_another_do_not_starve_an_equal() {
    let mut w = World::new();
    let (team, equal) = (with_priority(&mut w, 5), with_priority(&mut w, 5));
    let team = [&[team][..], &w.threads(team, 2)].concat();
    for slot in 3..6 {
        let n = w.notification();
        w.give(n, team[0], slot, Rights::SEND | Rights::RECEIVE);
    }
    w.sys(team[2], Syscall::Wait, [5, FOREVER, 0, 0, 0]);
    manager_sleeps(&mut w);
    let mut ran = 0;
    for _ in 0..1000 {
        let running = w.running();
        w.pass(MILLI / 10);
        match team.iter().position(|thread| Some(thread.thread) == running) {
            // Of three, two are ready: one of them wakes the third and waits for the next.
            Some(n) if w.running() == running => {
                w.ok(team[n], Syscall::Signal, [3 + (n as u64 + 2) % 3, 1, 0, 0, 0]);
                w.sys(team[n], Syscall::Wait, [3 + n as u64, FOREVER, 0, 0, 0]);
            }
            Some(_) => {}
            None => ran += 1,
        }
    }
    assert!(ran >= 450, "the equal had {ran} of 1000");
    check(&w.k);
    assert_eq!(w.k.sandboxes[equal.sandbox].ready.len() + u32::from(w.running() == Some(equal.thread)), 1);
}

/// It sleeps until the seventh of ten milliseconds and then wants all it can get.
#[test]
fn a_new_period_pays_for_itself_from_its_first_nanosecond() {
    let mut w = World::new();
    let child = w.child_with(ACCOUNT, &budget(6 * MILLI, 10 * MILLI, true));
    let began = w.k.sandboxes[child.sandbox].budget.since;
    let n = w.notification();
    w.give(n, child, 3, Rights::RECEIVE);
    w.sys(child, Syscall::Wait, [3, began + 7 * MILLI, 0, 0, 0]);
    manager_sleeps(&mut w);
    w.pass(began + 10 * MILLI - w.k.machine.clock);
    let first = w.k.sandboxes[child.sandbox].cpu;
    for period in 1..4u64 {
        let shares = shares(&mut w, 10 * MILLI);
        assert_eq!(share(&shares, child), 6 * MILLI, "period {period}, {first} before");
    }
    // Long asleep: what was left of an old period is no part of a new one.
    let manager = w.manager_woken();
    w.ok(manager, Syscall::SandboxFreeze, [child.cap.into(), 0, 0, 0, 0]);
    check(&w.k);
}

/// A turn that was over before its rival came ends within the shortest time that the timer knows, whatever the running ones do meanwhile.
#[test]
fn calls_within_a_turn_do_not_put_off_its_end() {
    const MICRO: u64 = 1_000;
    let mut w = World::new();
    w.fast_path = false;
    let spec = budget(900 * MILLI, 1000 * MILLI, false);
    let (server, client) = (w.child_with(ACCOUNT, &spec), w.child_with(ACCOUNT, &spec));
    let rival = with_priority(&mut w, 16);
    let (endpoint, n) = (w.endpoint(), w.notification());
    let port = w.port(endpoint, 1);
    w.give(endpoint, server, SERVE, Rights::RECEIVE);
    w.give(port, client, CALL, Rights::SEND);
    w.give(n, rival, 3, Rights::RECEIVE);
    let place = w.k.slot(rival.sandbox, 3).expect("filled");
    let index = w.k.caps.get(place).expect("filled").object.id.index;
    w.sys(rival, Syscall::Wait, [3, FOREVER, 0, 0, 0]);
    assert_eq!(w.receive(server, SERVE), None);
    manager_sleeps(&mut w);
    w.pass(2 * TIME_SLICE);
    w.k.signal(index, 1);
    assert_eq!(w.running(), Some(client.thread), "the rival came after the end of the turn");
    for calls in 0..20 {
        if w.running() == Some(rival.thread) {
            assert!(calls <= 3, "after {calls} calls");
            return;
        }
        assert_eq!(w.call(client, CALL, word(1)), None);
        w.pass(5 * MICRO);
        if w.running() == Some(server.thread) {
            assert_eq!(w.reply_receive(server, SERVE, word(2)), None);
            w.pass(5 * MICRO);
        }
    }
    panic!("the rival never had its turn");
}

/// A server that spent its budget has a new one in the next period, and works in the turn of whoever calls it then.
#[test]
fn a_call_in_a_new_period_goes_on_in_the_callers_turn() {
    let mut w = World::new();
    let server = w.child_with(ACCOUNT, &budget(2 * MILLI, 20 * MILLI, true));
    let (client, rival) = (with_priority(&mut w, 16), with_priority(&mut w, 16));
    let (endpoint, n) = (w.endpoint(), w.notification());
    let port = w.port(endpoint, 1);
    w.give(endpoint, server, SERVE, Rights::RECEIVE);
    w.give(port, client, CALL, Rights::SEND);
    w.give(n, rival, 3, Rights::RECEIVE);
    // All of its budget, before it waits for calls.
    w.k.run_instead(server.thread);
    w.pass(2 * MILLI);
    assert!(w.k.sandboxes[server.sandbox].budget.is_spent());
    assert_eq!(w.receive(server, SERVE), None);
    manager_sleeps(&mut w);
    w.pass(21 * MILLI);
    w.k.run_instead(client.thread);
    w.pass(3 * MILLI);
    assert_eq!(w.running(), Some(client.thread));
    assert_eq!(w.call(client, CALL, word(1)), None);
    assert_eq!(w.running(), Some(server.thread));
    w.pass(TIME_SLICE - 3 * MILLI);
    assert_eq!(w.running(), Some(rival.thread), "the turn was the client's");
}
