//! An update to a version that only a server has: offered, fetched, verified, made under connections; after a reboot it is the default although nobody
//! hands it out any more.

use anyhow::{Context, Result, ensure};
use hic_hicmod::manifest::Version;
use serde_json::Value;

use super::mirror::{self, Mirror};
use super::{SERVED, SERVICE, Scene, ask, until};
use crate::cases::ECHO;
use crate::cases::forge::{self, Chain};
use crate::cases::http_repository::server::{Manner, Server};
use crate::cases::install::power_off;
use crate::cases::plan::dependency;
use crate::cases::updating::{only, update_to};
use crate::load::{self, DuplexPlan};
use crate::net::Network;
use crate::qemu::Proto;
use crate::runner::TestContext;
use crate::vm::{Console, Vm};

/// The version that is updated to.
const NEXT: Version = Version::new(1, 4, 1);
/// A driver that can be exchanged in place, which the plan needs.
pub(super) const DRIVER: &str = "eth_driver-1.2.0.hicmod";
/// Connections that carry data both ways meanwhile.
const PLAN: DuplexPlan = DuplexPlan { clients: 5, ..DuplexPlan::USUAL };

/// Publishes the version at a server that takes longer to send it than a step of an update may take, and updates to it; ends with the machine off and
/// nobody who has it.
pub(super) fn made(
    context: &mut TestContext,
    network: &Network,
    mirror: &Mirror,
    scene: &Scene<'_>,
    own: &Chain,
) -> Result<()> {
    let next = NEXT.to_string();
    let good = mirror.files()?.remove(&mirror::file_of(mirror::VERSION)).context("a module")?;
    let module = forge::other_version(&good, own, NEXT, |_| ())?;
    std::fs::write(mirror.repository.targets().join(mirror::file_of(&next)), module)?;
    mirror.publish()?;
    let slow = mirror::file_of(&next);
    let sent = mirror.files()?.into_iter().map(|(name, bytes)| {
        let manner = if name == slow { Manner::Slow } else { Manner::Good };
        (name, (manner, bytes))
    });
    let server = Server::start(network, sent.collect())?;
    ask(scene.console, &format!("repository add {}", server.source()))?;
    is(scene.console, "offered", "network")?;

    let load = load::duplex_clients(network, scene.vm.endpoint(Proto::Tcp, ECHO)?, PLAN)?;
    load.wait_for_everyone(SERVED)?;
    let status = update_to(scene.console, &next)?;
    ensure!(status.lost == 0, "{}", status.summary());
    only(scene.console, &next)?;
    is(scene.console, "verified", "network")?;
    load.wait_for_everyone(SERVED)?;
    let tally = load.finish()?;
    tally.ensure_no_failure("two-way clients")?;
    context.note(format!("an update to what only a server has: {}; {}", status.summary(), tally.summary()));
    power_off(scene.vm)
}

/// A plan whose other step only the server has, too: it is fetched for the plan, and nothing is changed.
pub(super) fn planned(
    context: &mut TestContext,
    mirror: &Mirror,
    scene: &Scene<'_>,
    (own, driver): (&Chain, &[u8]),
) -> Result<()> {
    const AHEAD: Version = Version::new(1, 5, 0);
    let good = mirror.files()?.remove(&mirror::file_of(mirror::VERSION)).context("a module")?;
    let module = forge::other_version(&good, own, AHEAD, |manifest| {
        manifest.dependencies = dependency("eth_driver", Version::new(1, 2, 0)).into_iter().collect();
    })?;
    let targets = mirror.repository.targets();
    std::fs::write(targets.join(mirror::file_of(&AHEAD.to_string())), module)?;
    std::fs::write(targets.join(DRIVER), driver)?;
    mirror.publish()?;
    scene.accepted(&mirror.good()?)?;
    let plan = ask(scene.console, &format!("update {SERVICE} {AHEAD} --plan"))?;
    let lines = plan["lines"].to_string();
    for due in ["fetched: eth_driver 1.2.0", "step 1 of 2: eth_driver", "step 2 of 2: netstack"] {
        ensure!(lines.contains(due), "the plan does not say {due:?}: {plan}");
    }
    context.note("a plan fetches the other module that it needs, which only a server has".to_owned());
    Ok(())
}

/// The machine after a reboot: nobody hands the version out any more.
pub(super) fn stays(vm: &Vm) -> Result<()> {
    let console = vm.console()?;
    until(SERVED, || only(&console, &NEXT.to_string())).context("after a reboot without the server")?;
    is(&console, "verified", "system-disk")
}

/// What `modules` says of the version.
fn is(console: &Console<'_>, state: &str, origin: &str) -> Result<()> {
    let known = ask(console, &format!("modules {SERVICE}"))?;
    let rows = known["modules"].as_array().context("no modules")?;
    let row = rows.iter().find(|row| row["version"] == NEXT.to_string());
    let row: &Value = row.with_context(|| format!("{SERVICE} {NEXT} is not there: {known}"))?;
    ensure!(row["state"] == state && row["origin"] == origin, "{state} from {origin} was due: {row}");
    Ok(())
}
