//! All that goes on while the stack is replaced.

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::{DAYTIME, DIALER, ECHO, HTTP, QUEUE, SERVED};
use crate::load::{self, DuplexPlan, EchoPlan, Fill, HeldPlan, HostEcho, Latencies, Load, PATIENCE};
use crate::net::Network;
use crate::qemu::Proto;
use crate::runner::TestContext;
use crate::vm::Vm;

/// Of the two hundred connections, so many each.
const ECHOES: u32 = 130;
const TWO_WAY: u32 = 40;
const OUTBOUND: u32 = 16;
const HALF_CLOSED: u32 = 6;
const ZERO_WINDOW: u32 = 4;
/// Places in the accept queue of the application that does not accept.
const QUEUED: u32 = 4;

/// The connection too many is not answered until the queue opens, at the end of the test: as long as the test may take.
const QUEUE_PATIENCE: Duration = Duration::from_secs(1500);
/// It tries again at intervals that double (RFC 6298, 5.7), so it may take a while until it comes in then.
const QUEUE_OPENED: Duration = Duration::from_secs(180);

/// Everybody must get on within this time.
const GETS_ON: Duration = Duration::from_secs(90);

/// The load that sends datagrams, each of these sizes in a round.
const DATAGRAMS: &str = "rounds of UDP echo";
const UDP_SIZES: [usize; 5] = [1, 8, 512, 1472, 4000];

const ECHO_PLAN: EchoPlan = EchoPlan {
    clients: ECHOES,
    pace: Duration::from_millis(5),
    pause: Duration::from_millis(100),
    sizes: &[1, 64, 256, 1000, 1460, 4096, 31, 8192],
    reconnect: false,
};

const HELD: HeldPlan = HeldPlan {
    clients: 0,
    pace: Duration::from_millis(5),
    patience: PATIENCE,
    buffer: 8 * 1024,
    fill: Fill::Bytes(0),
    half_close: false,
    stream: 0,
};

/// Loads at work.
pub(super) struct Everything {
    network_is_user: bool,
    connections: u64,
    /// Those whose answers are timed.
    echo: Load,
    /// Those that go through round after round: none may stand still.
    busy: Vec<(&'static str, Load)>,
    /// Those that are left in their state until the end.
    held: Vec<(&'static str, Load)>,
    dialer: std::net::SocketAddr,
    host: HostEcho,
    /// Datagrams that were not answered, and sent again.
    again: Arc<AtomicU32>,
}

impl Everything {
    /// Starts all of it, and waits until all are in their state.
    pub fn start(network: &Network, vm: &Vm) -> Result<Self> {
        let at = |port| vm.endpoint(Proto::Tcp, port);
        let (echo_at, dialer) = (at(ECHO)?, at(DIALER)?);
        let host = HostEcho::start(network)?;
        let echo = load::echo_clients(network, echo_at, ECHO_PLAN)?;
        let two_way = DuplexPlan {
            clients: TWO_WAY,
            pace: Duration::from_millis(5),
            ahead: 24 * 1024,
            hold: Duration::from_millis(500),
            buffer: 4096,
        };
        let outbound = EchoPlan { clients: OUTBOUND, ..ECHO_PLAN };
        let greeting = format!("connect {}\n", host.from_guest());
        let mut busy = vec![
            ("two-way clients", load::duplex_clients(network, echo_at, two_way)?),
            ("outbound connections", load::echo_clients_through(network, dialer, greeting, outbound)?),
        ];
        let held = held(network, [echo_at, at(QUEUE)?])?;
        let wanted = [(&echo, ECHOES), (&busy[0].1, TWO_WAY), (&busy[1].1, OUTBOUND)];
        for (load, count) in wanted {
            load.wait_for_connections(count.into(), SERVED)?;
        }
        let again = Arc::default();
        busy.extend(passers_by(network, vm, Arc::clone(&again))?);
        let connections = [ECHOES, TWO_WAY, OUTBOUND, HALF_CLOSED, ZERO_WINDOW];
        let connections = u64::from(connections.iter().sum::<u32>() + QUEUED);
        let network_is_user = matches!(network, Network::User);
        let all = Self { network_is_user, connections, echo, busy, held, dialer, host, again };
        all.gets_on()?;
        ensure!(all.host.accepted() >= u64::from(OUTBOUND), "not every outbound connection was made");
        Ok(all)
    }

    /// For the report.
    pub fn describe(&self) -> String {
        let names: Vec<&str> = self.busy.iter().chain(&self.held).map(|(name, _)| *name).collect();
        format!("{} connections: echo clients, {}", self.connections, names.join(", "))
    }

    /// The least number of items that a move must tell of: each connection from outside is one, but for those that a full
    /// queue's listener takes along; the dialer's outbound ones come on top.
    pub fn moved(&self) -> u64 {
        self.connections - u64::from(QUEUED)
    }

    /// Nobody has failed, and everybody who goes in rounds gets through another one.
    pub fn gets_on(&self) -> Result<()> {
        self.echo.wait_for_everyone(GETS_ON).context("echo clients")?;
        for (name, load) in &self.busy {
            load.wait_for_everyone(GETS_ON).context(*name)?;
        }
        for (name, load) in &self.held {
            load.tally().ensure_no_failure(name)?;
        }
        Ok(())
    }

    /// How long the echo clients waited for answers from `from` to `to`.
    pub fn latencies(&self, from: Instant, to: Instant) -> Latencies {
        self.echo.tally().latencies(from, to)
    }

    /// Opens the full queue, ends everything in order and checks every byte.
    pub fn finish(self, context: &mut TestContext, network: &Network) -> Result<()> {
        let dialer = self.dialer;
        network.run(move || load::order(dialer, "accept\n")).context("opening the accept queue")?;
        for (name, load) in &self.held {
            let due = if *name == OVERFLOW { 1 } else { 0 };
            load.wait_for_connections(due, QUEUE_OPENED).context(*name)?;
        }
        let all = [("echo clients", self.echo)].into_iter().chain(self.busy).chain(self.held);
        let mut rounds = 0;
        for (name, load) in all {
            let tally = load.finish()?;
            if name == DATAGRAMS {
                rounds = tally.messages();
            }
            context.note(format!("{name}: {}", tally.summary()));
            tally.ensure_no_failure(name)?;
        }
        let again = self.again.load(Ordering::Relaxed);
        context.note(format!("{again} datagrams had to be sent again"));
        load::few_again(again, rounds * UDP_SIZES.len() as u64)?;
        if self.network_is_user {
            context.note(
                "single fragments and renewals of the lease need a tap: not part of this half".to_owned(),
            );
        }
        Ok(())
    }
}

/// The one connection too many for the queue.
const OVERFLOW: &str = "one more than the accept queue holds";

/// Connections in awkward states, all of them reached when this returns.
fn held(network: &Network, [echo, queue]: [std::net::SocketAddr; 2]) -> Result<Vec<(&'static str, Load)>> {
    let half = HeldPlan {
        clients: HALF_CLOSED,
        fill: Fill::Bytes(40_000),
        half_close: true,
        stream: 0x1000,
        ..HELD
    };
    let full = HeldPlan {
        clients: ZERO_WINDOW,
        fill: Fill::UntilStuck(Duration::from_secs(2)),
        stream: 0x2000,
        ..HELD
    };
    let waiting = HeldPlan { clients: QUEUED, fill: Fill::Bytes(1000), stream: 0x3000, ..HELD };
    let plans = [
        ("half-closed connections", echo, half),
        ("zero-window readers", echo, full),
        ("connections in a full accept queue", queue, waiting),
    ];
    let mut loads = Vec::new();
    for (name, address, plan) in plans {
        let load = load::held_clients(network, address, plan)?;
        load.wait_for_connections(plan.clients.into(), SERVED).context(name)?;
        loads.push((name, load));
    }
    if matches!(network, Network::User) {
        // There the handshake is answered by QEMU, which gives up on the guest after 75 s.
        return Ok(loads);
    }
    let overflow = HeldPlan { clients: 1, patience: QUEUE_PATIENCE, stream: 0x4000, ..waiting };
    loads.push((OVERFLOW, load::held_clients(network, queue, overflow)?));
    Ok(loads)
}

/// Those that come, do one thing and go, again and again.
fn passers_by(network: &Network, vm: &Vm, again: Arc<AtomicU32>) -> Result<Vec<(&'static str, Load)>> {
    let at = |port| vm.endpoint(Proto::Tcp, port);
    let (echo, daytime, http) = (at(ECHO)?, at(DAYTIME)?, at(HTTP)?);
    let udp = vm.endpoint(Proto::Udp, ECHO)?;
    let url = format!("http://{http}/");
    Ok(vec![
        ("steady connects", load::steady_connects(network, echo, Duration::from_millis(100))?),
        (
            "connections that the guest closes first",
            load::in_rounds(network, Duration::from_millis(200), move |_| {
                load::daytime_held(daytime, Duration::from_millis(700))
            })?,
        ),
        (
            "connections that the client closes first",
            load::in_rounds(network, Duration::from_millis(300), move |_| {
                load::client_closes_first(echo, 20_000)
            })?,
        ),
        (
            DATAGRAMS,
            load::in_rounds(network, Duration::from_millis(200), move |_| {
                again.fetch_add(load::udp_echo(udp, &UDP_SIZES)?, Ordering::Relaxed);
                Ok(())
            })?,
        ),
        ("runs of curl", load::in_rounds(network, Duration::from_millis(500), move |_| curl(&url))?),
    ])
}

/// The program is started by a thread that is on the network, so it is, too.
fn curl(url: &str) -> Result<()> {
    let mut curl = Command::new("curl");
    curl.args(["--silent", "--show-error", "--fail", "--max-time", "20", url]);
    let output = curl.output().context("cannot run curl")?;
    ensure!(output.status.success(), "curl: {}", String::from_utf8_lossy(&output.stderr).trim());
    ensure!(!output.stdout.is_empty(), "curl got an empty page");
    Ok(())
}
