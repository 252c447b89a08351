//! The reason why the project exists: the network stack is replaced, put back and replaced again under two hundred live
//! connections of every awkward kind, and nobody outside can tell but by a few milliseconds.

mod everything;
mod freezes;
mod leftovers;
mod moves;
mod probes;

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::service::{until, wait_until_served};
use super::updating::{NEW, OLD, SERVICE, Update, ask, only, wait_for_module};
use super::{DAYTIME, ECHO, HTTP, PORTS, memory};
use crate::load::{self, EchoPlan};
use crate::net::{Namespace, Network, Window, check_capture, read_gaps};
use crate::qemu::Proto;
use crate::runner::TestContext;
use crate::vm::Vm;
use everything::Everything;
use freezes::Freezes;
use leftovers::Marker;
use moves::{COMMIT, Move};
use probes::Probes;

/// Guest ports of the application `dialer`: a connection to the first one says by its first line what is wanted, the second
/// one is a listener that accepts nothing until then.
const DIALER: u16 = 7001;
const QUEUE: u16 = 7002;
/// The discard service: what is sent there only marks a moment in the capture.
const DISCARD: u16 = 9;

/// DHCP lease on a tap, seconds: a renewal falls due every six (RFC 2131, 4.4.5), so one does in every update.
const LEASE_S: u32 = 12;

/// Time after boot within which the services must answer.
const SERVED: Duration = Duration::from_secs(120);

/// How long the load runs by itself before the first move and after each.
const QUIET: Duration = Duration::from_secs(6);

/// Memory must be back at its baseline within this time: the last connections leave TIME-WAIT first.
const BASELINE: Duration = Duration::from_secs(150);

/// The rollback window of updates that are committed or rolled back by hand, seconds.
const WATCH_S: u32 = 300;

const WARM_UP: EchoPlan = EchoPlan {
    clients: 20,
    pace: Duration::from_millis(5),
    pause: Duration::from_millis(50),
    sizes: &[16, 4096],
    reconnect: false,
};

pub(super) fn run(context: &mut TestContext) -> Result<()> {
    let best = Network::best()?;
    if matches!(best, Network::User) {
        return on(context, &best, "user.pcap").context("over user networking");
    }
    drop(best);
    let tap = Network::Tap(Namespace::create_with_lease(LEASE_S)?);
    on(context, &tap, "tap.pcap").context("over a tap")?;
    drop(tap);
    on(context, &Network::User, "user.pcap").context("over user networking")
}

/// The whole scenario on `network`.
fn on(context: &mut TestContext, network: &Network, capture: &str) -> Result<()> {
    let capture = context.file(capture)?;
    let dump = context.file("memory.bin")?;
    let (mut vm, marker) = boot(context, network, &dump)?;
    let sandboxes = ask(&vm.console()?, "status")?["sandboxes"].clone();
    let before = memory::settled(&vm.console()?)?;
    vm.start_capture(&capture)?;
    let everything = Everything::start(network, &vm)?;
    context.note(format!("over {}: {}", network.describe(), everything.describe()));
    std::thread::sleep(QUIET);
    let moves = scenario(context, network, &vm, &everything)?;
    let freezes = Freezes::read(&vm.console()?)?;
    everything.finish(context, network)?;

    let console = vm.console()?;
    only(&console, NEW)?;
    let now = ask(&console, "status")?["sandboxes"].clone();
    ensure!(now == sandboxes, "{sandboxes} sandboxes before, {now} now: the old one is not gone");
    if let Some(marker) = &marker {
        // What was given back is zeroed when the processor has nothing else to do.
        until(SERVED, || {
            let dirty = ask(&console, "status")?["dirty_frames"].clone();
            ensure!(dirty == 0, "{dirty} frames wait to be zeroed");
            Ok(())
        })?;
        let places = marker.must_be_gone(&mut vm, &dump)?;
        context.note(format!("a marker in the old instance's heap ({places} places) is gone from memory"));
    }
    // To and fro, and to the old version in the end, for the baseline: the two need not be of one size.
    let probes = Probes::run(network, &vm).context("moves under probes only")?;
    let console = vm.console()?;
    // The card has receive buffers of the instance that left until frames have come in on them.
    some_traffic(network, &vm)?;
    let settled = memory::wait_for_baseline(&console, &before, BASELINE)?;
    vm.check_alive()?;
    context.note(format!("frames at the baseline after {settled:.1?}"));
    drop(vm);
    on_the_wire(context, &capture, &moves, (&freezes, &probes))
}

/// A guest that has allocated once what it keeps, with a marker in the stack's heap where the network can put one there.
fn boot(
    context: &mut TestContext,
    network: &Network,
    dump: &std::path::Path,
) -> Result<(Vm, Option<Marker>)> {
    let mut ports = PORTS.to_vec();
    ports.extend([(Proto::Tcp, DIALER), (Proto::Tcp, QUEUE), (Proto::Udp, DISCARD)]);
    let mut vm = context.boot(context.machine()?, Some(network), &ports)?;
    vm.console()?;
    wait_until_served(&vm, network, SERVED)?;
    wait_for_module(&vm.console()?, NEW)?;
    only(&vm.console()?, OLD)?;
    let mut marker = Marker::plant(network)?;
    // Overwrites the marker wherever it is not kept.
    some_traffic(network, &vm)?;
    if let Some(marker) = &mut marker {
        // Here and not under the load: the guest stands still for a second, and its timers go off all at once afterwards.
        marker.must_be_there(&mut vm, dump)?;
    }
    until(BASELINE, || {
        let net = ask(&vm.console()?, "net")?;
        ensure!(net["connections"] == 0, "{} connections are still closing", net["connections"]);
        Ok(())
    })?;
    Ok((vm, marker))
}

/// Twenty clients for a while.
fn some_traffic(network: &Network, vm: &Vm) -> Result<()> {
    let clients = load::echo_clients(network, vm.endpoint(Proto::Tcp, ECHO)?, WARM_UP)?;
    clients.wait_for_everyone(SERVED)?;
    std::thread::sleep(QUIET);
    clients.finish()?.ensure_no_failure("echo clients")
}

/// To the new version, back, and to it again for good.
fn scenario(
    context: &mut TestContext,
    network: &Network,
    vm: &Vm,
    everything: &Everything,
) -> Result<Vec<Move>> {
    let console = vm.console()?;
    let renewals = network.leases().len();
    let mut moves = Vec::new();
    let mut go = |name: &'static str, work: &mut dyn FnMut() -> Result<super::updating::Status>| {
        wait_for_a_renewal_to_fall_due(network);
        let made = Move::make(network, vm, moves.len(), name, work).context(name)?;
        ensure!(made.status.lost == 0, "{name}: {}", made.status.summary());
        ensure!(made.status.total >= everything.moved(), "{name}: {}", made.status.summary());
        everything.gets_on().context(name)?;
        std::thread::sleep(QUIET);
        everything.gets_on().context(name)?;
        context.note(made.note(everything));
        moves.push(made);
        Ok::<_, anyhow::Error>(())
    };

    let mut update = Update::next(&console)?;
    go("update 1.2.0 -> 1.3.0", &mut || {
        update = Update::start(&console, NEW, WATCH_S)?;
        update.watched(&console)
    })?;
    go("rollback 1.3.0 -> 1.2.0", &mut || {
        ask(&console, &format!("rollback {SERVICE}"))?;
        let status = update.ended(&console)?;
        ensure!(status.outcome == "rolled-back", "{}", status.summary());
        only(&console, OLD).map(|_| status)
    })?;
    go("update 1.2.0 -> 1.3.0 again", &mut || {
        update = Update::start(&console, NEW, WATCH_S)?;
        update.watched(&console)
    })?;
    go(COMMIT, &mut || {
        ask(&console, "commit")?;
        let status = update.ended(&console)?;
        ensure!(status.outcome == "completed", "{}", status.summary());
        Ok(status)
    })?;
    renewed(context, network, renewals, moves.len())?;
    Ok(moves)
}

/// Waits until shortly before the lease is due for renewal, so that it falls into what comes next.
fn wait_for_a_renewal_to_fall_due(network: &Network) {
    /// The move begins so long before.
    const BEFORE: Duration = Duration::from_millis(300);
    let Some(last) = network.leases().last().copied() else { return };
    let due = last + Duration::from_secs(u64::from(LEASE_S) / 2) - BEFORE;
    // A renewal that is due at once is just as good.
    std::thread::sleep(due.saturating_duration_since(Instant::now()));
}

/// The lease must have been renewed at least as often as there were moves.
fn renewed(context: &mut TestContext, network: &Network, before: usize, moves: usize) -> Result<()> {
    if matches!(network, Network::User) {
        context.note("user networking gives leases of a day: no renewal falls due".to_owned());
        return Ok(());
    }
    let renewals = network.leases().len() - before;
    ensure!(renewals >= moves, "{renewals} renewals of the lease over {moves} moves");
    context.note(format!("{renewals} renewals of a lease of {LEASE_S} s, each falling due at a move"));
    Ok(())
}

/// What the capture has to say.
fn on_the_wire(
    context: &mut TestContext,
    capture: &std::path::Path,
    moves: &[Move],
    (freezes, probes): (&Freezes, &Probes),
) -> Result<()> {
    let wire = check_capture(capture)?;
    context.note(format!("wire: {}", wire.summary()));
    wire.ensure_clean()?;
    ensure!(wire.zero_windows > 0, "no window ever closed on the wire");
    let gaps = read_gaps(capture)?;
    for made in moves {
        let gaps = gaps.between(made.first_mark(), made.last_mark()).context(made.name)?;
        let guest = made.status.longest_freeze;
        context.note(format!("{}: the guest says longest freeze {guest:.2?}; {}", made.name, gaps.summary()));
    }
    let moved = moves.iter().filter(|made| made.moves_connections());
    let windows: Vec<Window> =
        moved.map(|made| gaps.window(made.first_mark(), made.last_mark())).collect::<Result<_>>()?;
    context.note(freezes.beside(&gaps, &windows, &capture.with_extension("freezes.tsv"))?);
    context.note(probes.beside(&gaps, &capture.with_extension("probes.tsv"))?);
    Ok(())
}
