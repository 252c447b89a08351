//! Install, replace and remove while the system runs: what is installed serves, survives a reboot, and leaves nothing behind when it is removed; what
//! cannot be installed or removed is refused with the reason.

mod crash;
mod wrong;

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use hic_hicmod::manifest::{Manifest, Version};
use serde_json::Value;

use super::PORTS;
use super::forge::{self, Chain};
use super::kill_each::quiet;
use super::memory::{settled, wait_for_baseline};
use super::service::{until, wait_until_served};
use super::updating::{Instance, ask, instances, refusal, wait_for_repository};
use crate::net::Network;
use crate::process::Outcome;
use crate::qemu::{Machine, Proto};
use crate::runner::TestContext;
use crate::vm::{Console, Vm};
use crate::{disk, load};

/// The module that is installed.
const MODULE: &str = "example_guestbook";
const VERSION: &str = "1.0.0";
/// A second version, which comes to the disk while the guest runs.
const NEXT: Version = Version::new(1, 1, 0);
/// Where it listens.
const PORT: u16 = 7000;
/// Time within which a service answers after it was started.
pub(super) const SERVED: Duration = Duration::from_secs(120);
/// Time within which what a removed service held is free again: its connections leave the stack first.
const RECLAIMED: Duration = Duration::from_secs(60);

/// A machine, and what is done to its disk.
struct Scene<'n> {
    network: &'n Network,
    machine: Machine,
    ports: Vec<(Proto, u16)>,
    good: Vec<u8>,
    own: Chain,
}

impl Scene<'_> {
    fn disk(&self) -> Result<&Path> {
        self.machine.disks.first().map(|disk| disk.as_path()).context("this profile has no repository disk")
    }

    /// The guest book with another manifest, signed well.
    fn other(&self, version: Version, change: impl Fn(&mut Manifest)) -> Result<Vec<u8>> {
        forge::other_version(&self.good, &self.own, version, change)
    }

    fn boot(&self, context: &mut TestContext) -> Result<Vm> {
        let vm = context.boot(self.machine.clone(), Some(self.network), &self.ports)?;
        wait_until_served(&vm, self.network, SERVED)?;
        Ok(vm)
    }

    /// Says a line to the guest book and returns its answer.
    fn say(&self, vm: &Vm, line: &str) -> Result<String> {
        let (address, line) = (vm.endpoint(Proto::Tcp, PORT)?, format!("{line}\n"));
        self.network.run(move || until(SERVED, || say(address, &line)))
    }
}

/// Says a line to whoever listens there, and returns the line that comes back.
pub(super) fn say(address: SocketAddr, line: &str) -> Result<String> {
    let mut stream = load::connect(address)?;
    stream.write_all(line.as_bytes())?;
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer).context("read")?;
    ensure!(answer.ends_with('\n'), "the answer was {answer:?}");
    Ok(answer)
}

pub(super) fn run(context: &mut TestContext) -> Result<()> {
    let network = Network::best()?;
    let machine = context.machine()?;
    let disk = machine.disks.first().context("this profile has no repository disk")?;
    let good = disk::get(disk, &format!("{MODULE}-{VERSION}.hicmod"))?;
    let own = Chain::development(&machine)?;
    let ports = PORTS.into_iter().chain([(Proto::Tcp, PORT)]).collect();
    let scene = Scene { network: &network, machine, ports, good, own };
    wrong::prepare(&scene)?;

    first_boot(context, &scene).context("the first boot")?;
    second_boot(context, &scene).context("after a reboot")?;
    third_boot(context, &scene).context("after it was removed")
}

/// Installs, talks, removes, finds the memory as before, installs again, and replaces it by a version that came meanwhile.
fn first_boot(context: &mut TestContext, scene: &Scene<'_>) -> Result<()> {
    let vm = scene.boot(context)?;
    let console = vm.console()?;
    wait_for_repository(&console)?;
    let before = baseline(&console)?;
    let refused = wrong::all(&vm, &console)?;
    wait_for_baseline(&console, &before, RECLAIMED).context("after wrong orders")?;
    context.note(format!("{refused} wrong orders refused, each with its reason"));

    install(&console)?;
    ensure!(scene.say(&vm, "add hello")? == "thank you, note 0\n");
    let twice = refusal(&console, &format!("install {MODULE} {VERSION}"))?;
    ensure!(twice.code == "already-installed", "{twice}");
    done(&console, &format!("remove {MODULE}"))?;
    absent(&console)?;
    let took = wait_for_baseline(&console, &before, RECLAIMED).context("after it was removed")?;
    context.note(format!("memory as before {} ms after it was removed", took.as_millis()));

    install(&console)?;
    ensure!(scene.say(&vm, "count")? == "0\n", "its notes outlived it");
    replace(&vm, &console, scene)?;
    let points = crash::sweep(&vm, &console, scene)?;
    context.note(points);
    power_off(&vm)
}

/// A new version comes to the disk while the guest runs, by an ordinary tool of the host.
fn replace(vm: &Vm, console: &Console<'_>, scene: &Scene<'_>) -> Result<()> {
    let file = format!("{MODULE}-{NEXT}.hicmod");
    mtools("mcopy", scene, &file, Some(&scene.other(NEXT, |_| ())?))?;
    let lines = done(console, "modules refresh")?;
    let told = format!("new: {MODULE} {NEXT} ({file})");
    ensure!(lines.contains(&told), "`modules refresh` said {lines:?}");
    let again = done(console, "modules refresh")?;
    ensure!(!again.contains(&told), "`modules refresh` said {again:?} the second time");

    done(console, &format!("update {MODULE} {NEXT} restart"))?;
    ensure!(scene.say(vm, "add again")? == "thank you, note 0\n");
    only(console, &NEXT.to_string()).map(|_| ())
}

/// What was installed is there, in the version that it had; what is archived is removed; both for good.
fn second_boot(context: &mut TestContext, scene: &Scene<'_>) -> Result<()> {
    let vm = scene.boot(context)?;
    let console = vm.console()?;
    until(SERVED, || only(&console, &NEXT.to_string()))?;
    ensure!(scene.say(&vm, "add after a boot")? == "thank you, note 0\n");
    mtools("mdel", scene, &format!("{MODULE}-{VERSION}.hicmod"), None)?;
    let lines = done(&console, "modules refresh")?;
    ensure!(lines.iter().any(|line| line.starts_with(&format!("gone: {MODULE} {VERSION}"))), "{lines:?}");
    done(&console, &format!("remove {MODULE}"))?;
    absent(&console)?;
    done(&console, "remove web_server")?;
    power_off(&vm)
}

fn third_boot(context: &mut TestContext, scene: &Scene<'_>) -> Result<()> {
    let vm = context.boot(scene.machine.clone(), Some(scene.network), &scene.ports)?;
    let console = vm.console()?;
    wait_for_repository(&console)?;
    absent(&console)?;
    ensure!(instances(&console, "web_server")?.is_empty(), "web_server is there though it was removed");
    done(&console, "install web_server 1.0.0")?;
    wait_until_served(&vm, scene.network, SERVED)?;
    power_off(&vm)?;
    let vm = scene.boot(context)?;
    power_off(&vm)
}

/// Time for the machine to end, with its disk images flushed to the host's disk.
const STOPPED: Duration = Duration::from_secs(120);

/// The memory now, once no connection is left and nothing of the module.
fn baseline(console: &Console<'_>) -> Result<Value> {
    until(RECLAIMED, || quiet(console))?;
    let memory = settled(console)?;
    let accounts = memory["accounts"].as_array().with_context(|| format!("no accounts in {memory}"))?;
    ensure!(accounts.iter().all(|account| account["name"] != MODULE), "{MODULE} still holds something");
    Ok(memory)
}

fn install(console: &Console<'_>) -> Result<()> {
    done(console, &format!("install {MODULE} {VERSION}"))?;
    only(console, VERSION).map(|_| ())
}

/// The lines of a task that came to a good end.
pub(super) fn done(console: &Console<'_>, command: &str) -> Result<Vec<String>> {
    let document = ask(console, command)?;
    ensure!(document["done"] == true, "`{command}`: {document}");
    let lines = document["lines"].as_array().with_context(|| format!("no lines in {document}"))?;
    Ok(lines.iter().filter_map(Value::as_str).map(str::to_owned).collect())
}

/// The module's only instance, at work, in this version.
fn only(console: &Console<'_>, version: &str) -> Result<Instance> {
    let all = instances(console, MODULE)?;
    match all.as_slice() {
        [one] if one.at_work && one.version == version => Ok(one.clone()),
        _ => Err(anyhow!("{MODULE} {version} alone was to serve: {all:?}")),
    }
}

fn absent(console: &Console<'_>) -> Result<()> {
    let all = instances(console, MODULE)?;
    ensure!(all.is_empty(), "{MODULE} is still there: {all:?}");
    Ok(())
}

/// Changes the disk under the guest that runs, with the tools that an operator would take.
fn mtools(tool: &str, scene: &Scene<'_>, file: &str, bytes: Option<&[u8]>) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let source = folder.path().join(file);
    if let Some(bytes) = bytes {
        std::fs::write(&source, bytes)?;
    }
    on_disk(tool, scene.disk()?, bytes.map(|_| source.as_path()), file)
}

/// Runs a tool of the mtools on the file `file` of a repository disk, with the file `source` of the host if there is one.
pub(super) fn on_disk(tool: &str, image: &Path, source: Option<&Path>, file: &str) -> Result<()> {
    let mut command = Command::new(tool);
    command.args(["-i", &format!("{}@@1M", image.display())]);
    if let Some(source) = source {
        command.arg("-o").arg(source);
    }
    let target = format!("::{}/{file}", disk::FOLDER);
    let output = command.arg(&target).output().with_context(|| format!("cannot run {tool}"))?;
    ensure!(output.status.success(), "{tool}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

pub(super) fn power_off(vm: &Vm) -> Result<()> {
    vm.console()?.type_line("shutdown")?;
    let outcome = vm.wait_exit(STOPPED)?;
    ensure!(outcome == Outcome::PowerOff, "`shutdown`: {outcome}");
    Ok(())
}
