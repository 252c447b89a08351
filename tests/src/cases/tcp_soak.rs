//! Two hundred connections for a minute, every byte checked, every packet looked at by tshark; then a bad wire.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::service::{healthy, wait_until_served};
use super::{DAYTIME, ECHO, HTTP, PORTS};
use crate::load::{self, EchoPlan, SlowReader, SlowReport};
use crate::net::{Impairment, Namespace, Network, check_capture};
use crate::qemu::Proto;
use crate::runner::TestContext;
use crate::vm::Vm;

/// How long the load runs.
const SOAK: Duration = Duration::from_secs(60);

/// How long it runs over the bad wire.
const BAD_WIRE: Duration = Duration::from_secs(30);

/// Time after boot within which the services must answer.
const SERVED: Duration = Duration::from_secs(120);

/// Beside the load: one new connection each.
const CONNECT_EVERY: Duration = Duration::from_millis(100);

/// Pause between two rounds of everything else.
const ROUND: Duration = Duration::from_secs(5);
/// There are at least so many, however long they take.
const ROUNDS: u32 = 3;

const PLAN: EchoPlan = EchoPlan {
    clients: 200,
    pace: Duration::from_millis(5),
    pause: Duration::from_millis(100),
    sizes: &[1, 64, 256, 1000, 1460, 4096, 31, 8192],
    reconnect: false,
};

/// The bad wire: what the acceptance names.
const IMPAIRMENT: Impairment = Impairment { loss: 2, reorder: 10, delay_ms: 5 };

/// UDP datagrams of each round. The last needs fragments both ways.
const DATAGRAMS: [usize; 5] = [1, 8, 512, 1472, 4000];

pub(super) fn run(context: &mut TestContext) -> Result<()> {
    let network = Network::best()?;
    context.note(format!("over {}", network.describe()));
    clean_wire(context, &network).context("on a clean wire")?;
    match &network {
        Network::User => {
            context.note(
                "loss, reordering and ping into the guest need a tap, so root: not run here".to_owned(),
            );
            Ok(())
        }
        Network::Tap(_) => bad_wire(context).context("on a wire with loss and reordering"),
    }
}

fn boot(context: &mut TestContext, network: &Network, capture: &str) -> Result<Vm> {
    let mut vm = context.boot(context.machine()?, Some(network), &PORTS)?;
    vm.console()?;
    wait_until_served(&vm, network, SERVED)?;
    // Only from here on: a connect before the service listens is rightly answered by a reset.
    vm.start_capture(&context.file(capture)?)?;
    Ok(vm)
}

fn clean_wire(context: &mut TestContext, network: &Network) -> Result<()> {
    let vm = boot(context, network, "clean.pcap")?;
    let targets = Targets::of(&vm)?;
    let echo = load::echo_clients(network, targets.echo, PLAN)?;
    let connects = load::steady_connects(network, targets.echo, CONNECT_EVERY)?;
    let slow = network.spawn(move || slow_reader(targets.echo))?;
    let (rounds, again) = beside_the_load(network, targets, &vm)?;
    let slow =
        slow.join().map_err(|_| anyhow::anyhow!("the slow reader panicked"))??.context("slow reader")?;
    let (echo, connects) = (echo.finish()?, connects.finish()?);
    vm.check_alive()?;

    context.note(format!("echo: {}", echo.summary()));
    context.note(format!("connects beside it: {}", connects.summary()));
    context.note(format!("slow reader: {} bytes, window closed for {:?}", slow.bytes, slow.held));
    context.note(format!(
        "{rounds} rounds of curl, ping, UDP echo and half-closed connections; {again} datagrams had to be sent again"
    ));
    load::few_again(again, u64::from(rounds) * DATAGRAMS.len() as u64)?;
    echo.ensure_no_failure("echo clients")?;
    connects.ensure_no_failure("steady connects")?;
    ensure!(echo.connections() == u64::from(PLAN.clients), "only {} clients connected", echo.connections());

    drop(vm);
    let wire = check_capture(&context.file("clean.pcap")?)?;
    context.note(format!("wire: {}", wire.summary()));
    wire.ensure_clean()?;
    ensure!(wire.zero_windows > 0, "the slow reader's window never closed on the wire");
    Ok(())
}

fn bad_wire(context: &mut TestContext) -> Result<()> {
    let network = Network::Tap(Namespace::create_impaired(IMPAIRMENT)?);
    context.note(format!("bad wire: {}", network.describe()));
    let vm = boot(context, &network, "bad.pcap")?;
    let targets = Targets::of(&vm)?;
    let echo = load::echo_clients(&network, targets.echo, EchoPlan { clients: 50, ..PLAN })?;
    std::thread::sleep(BAD_WIRE);
    network.run(move || load::client_closes_first(targets.echo, 100_000)).context("half-close")?;
    let echo = echo.finish()?;
    vm.check_alive()?;
    context.note(format!("echo with 2 % loss and reordering: {}", echo.summary()));
    echo.ensure_no_failure("echo clients")?;
    drop(vm);
    let wire = check_capture(&context.file("bad.pcap")?)?;
    context.note(format!("bad wire: {}", wire.summary()));
    // Resets are lawful here: an acknowledgement that was overtaken by the end of its connection finds it gone (RFC 9293
    // section 3.10.7.1). That no connection was cut short is what the clients have checked.
    ensure!(wire.malformed == 0, "{}:\n{}", wire.summary(), wire.named.join("\n"));
    ensure!(wire.retransmissions > 0, "the wire was to lose packets, and nothing was sent again");
    Ok(())
}

/// Where clients reach the guest.
#[derive(Clone, Copy)]
struct Targets {
    echo: SocketAddr,
    udp_echo: SocketAddr,
    daytime: SocketAddr,
    http: SocketAddr,
}

impl Targets {
    fn of(vm: &Vm) -> Result<Self> {
        Ok(Self {
            echo: vm.endpoint(Proto::Tcp, ECHO)?,
            udp_echo: vm.endpoint(Proto::Udp, ECHO)?,
            daytime: vm.endpoint(Proto::Tcp, DAYTIME)?,
            http: vm.endpoint(Proto::Tcp, HTTP)?,
        })
    }
}

/// Everything else that must work meanwhile, in rounds until the soak is over; returns how many, and how many datagrams were sent again.
fn beside_the_load(network: &Network, targets: Targets, vm: &Vm) -> Result<(u32, u32)> {
    let started = Instant::now();
    let (mut rounds, mut again) = (0, 0);
    while started.elapsed() < SOAK || rounds < ROUNDS {
        again += round(network, targets).with_context(|| format!("round {rounds}"))?;
        vm.check_alive()?;
        rounds += 1;
        std::thread::sleep(ROUND.min(SOAK.saturating_sub(started.elapsed())));
    }
    Ok((rounds, again))
}

fn round(network: &Network, targets: Targets) -> Result<u32> {
    let url = format!("http://{}/", targets.http);
    let page = network.output("curl", &["--silent", "--show-error", "--fail", "--max-time", "20", &url])?;
    ensure!(!page.trim().is_empty(), "curl got an empty page");
    if matches!(network, Network::Tap(_)) {
        let [a, b, c, d] = crate::net::GUEST_ADDRESS;
        let guest = format!("{a}.{b}.{c}.{d}");
        network.output("ping", &["-q", "-c", "3", "-i", "0.2", "-W", "5", &guest])?;
    }
    network.run(move || {
        healthy(targets.http)?;
        load::client_closes_first(targets.echo, 20_000).context("the client closes first")?;
        load::server_closes_first(targets.daytime).context("the service closes first")?;
        load::udp_echo(targets.udp_echo, &DATAGRAMS).context("UDP echo")
    })
}

fn slow_reader(echo: SocketAddr) -> Result<SlowReport> {
    let reader = SlowReader {
        buffer: 16 * 1024,
        stuck: Duration::from_secs(5),
        hold: Duration::from_secs(15),
        limit: 64 * 1024 * 1024,
    };
    reader.run(echo)
}
