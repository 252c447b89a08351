//! Modules over HTTP from a server that behaves, and from one that does not: what is whole and signed is installed, whatever it took to get it; the rest is
//! given up within its bounds, with the reason, and leaves nothing behind.

pub(super) mod server;

use std::path::Path;

use anyhow::{Context, Result, anyhow, ensure};
use hic_hicmod::manifest::{Name, Version};

use super::PORTS;
use super::forge::{self, Chain};
use super::install::{SERVED, done, power_off, say};
use super::kill_each::quiet;
use super::memory::{settled, wait_for_baseline};
use super::service::{until, wait_until_served};
use super::updating::{ask, instances, refusal, wait_for_repository};
use crate::disk;
use crate::net::Network;
use crate::qemu::Proto;
use crate::runner::TestContext;
use crate::vm::{Console, Vm};
use server::{Files, Manner, Server};

/// The module that is served under many names.
const MODULE: &str = "example_guestbook";
/// Where it listens.
const PORT: u16 = 7000;
/// Time within which what was fetched and not kept is free again.
const RECLAIMED: std::time::Duration = std::time::Duration::from_secs(60);

/// Time after boot within which what is installed and on no disk but the system's runs.
const STARTED: std::time::Duration = std::time::Duration::from_secs(120);
/// Bytes of the module that is installed for good: longer than what was once the limit of one from the network.
const LARGE: usize = 5_200_000;

/// Servers that do not give a module: name of the module, manner, code of the refusal.
const WRONG: [(&str, Manner, &str); 11] = [
    ("cutoff", Manner::CutOff(50), "http-cut-off"),
    ("endless", Manner::Endless, "http-too-long"),
    ("endless-head", Manner::EndlessHead, "http-long-head"),
    ("short", Manner::Short, "truncated"),
    ("drips", Manner::Drips, "http-stalled"),
    ("redirect", Manner::Redirect, "http-redirect"),
    ("chunked", Manner::Chunked, "http-encoded"),
    ("noise", Manner::Noise, "format"),
    ("broken", Manner::Broken, "http-status"),
    // A good module under a name that is not its own.
    ("other", Manner::Good, "wrong-module"),
    // Nobody has it.
    ("absent", Manner::Good, "unknown-module"),
];

/// Servers from which a module is had after all.
const RIGHT: [(&str, Manner); 4] =
    [("good", Manner::Good), ("parts", Manner::Parts), ("changed", Manner::Changed), ("more", Manner::More)];

pub(super) fn run(context: &mut TestContext) -> Result<()> {
    let network = Network::best()?;
    let machine = context.machine()?;
    let disk = machine.disks.first().context("this profile has no repository disk")?;
    let original = disk::get(disk, &format!("{MODULE}-1.0.0.hicmod"))?;
    let own = Chain::development(&machine)?;
    let server = Server::start(&network, files(&original, &own)?)?;
    // Nobody has metadata: modules are had by their names, as the development root allows.
    for (name, _) in disk::list(disk)?.iter().filter(|(name, _)| name.ends_with(".tuf")) {
        disk::remove(disk, name)?;
    }

    let ports: Vec<_> = PORTS.into_iter().chain([(Proto::Tcp, PORT)]).collect();
    let vm = context.boot(machine.clone(), Some(&network), &ports)?;
    let console = vm.console()?;
    wait_until_served(&vm, &network, SERVED)?;
    wait_for_repository(&console)?;
    let alone = refusal(&console, "install good 1.0.0")?;
    ensure!(alone.code == "unknown-module", "without a repository on the network: {alone}");
    silent_server(&console, disk, &original, &own).context("a server that is not there")?;
    done(&console, &format!("repository add {}", server.source()))?;

    gives_up(&vm, &console).context("a server that does not give a module")?;
    context.note(format!(
        "{} ways of not giving a module, each given up with its reason, nothing left over",
        WRONG.len()
    ));
    for (name, _) in RIGHT {
        installs(&vm, &console, &network, name).with_context(|| format!("the server's manner: {name}"))?;
    }
    let parts = server.requests_for("/parts-1.0.0.hicmod");
    ensure!(
        parts.len() >= 5 && parts.iter().skip(1).all(|head| head.contains("If-Range: \"one\"")),
        "{parts:?}"
    );
    context.note(format!(
        "a file that came in {} connections, and one that changed in the middle, are whole",
        parts.len()
    ));
    dies_in_the_middle(&vm, &console)?;
    done(&console, "install good 1.0.0")?;
    power_off(&vm)?;
    let asked = server.requests_for("/good-1.0.0.hicmod").len();

    let vm = context.boot(machine.clone(), Some(&network), &ports)?;
    starts_from_the_system_disk(&vm, &network)?;
    let again = server.requests_for("/good-1.0.0.hicmod").len();
    ensure!(again == asked, "the server was asked for it {} times more", again - asked);
    context
        .note(format!("{LARGE} bytes that came over the network start from the system disk after a reboot"));
    let console = vm.console()?;
    done(&console, "remove good")?;
    power_off(&vm)?;

    let vm = context.boot(machine, Some(&network), &ports)?;
    wait_until_served(&vm, &network, SERVED)?;
    let console = vm.console()?;
    ensure!(instances(&console, "good")?.is_empty(), "it was removed and runs again");
    let gone = refusal(&console, "modules good")?;
    ensure!(gone.code == "unknown-module", "it was removed and is still there: {gone}");
    power_off(&vm)
}

/// A server that cannot be reached says nothing: what is put on the disk meanwhile is used as without it.
fn silent_server(console: &Console<'_>, disk: &Path, original: &[u8], own: &Chain) -> Result<()> {
    const NOBODY: &str = "http://10.0.2.2:9/";
    const FILE: &str = "fresh-1.0.0.hicmod";
    let added = ask(console, &format!("repository add {NOBODY}"))?;
    ensure!(added["text"].as_str().is_some_and(|text| text.contains("but now: ")), "{added}");
    let fresh = forge::other_version(original, own, Version::new(1, 0, 0), |manifest| {
        manifest.name = Name::try_from("fresh").unwrap_or_default();
        manifest.provides = [manifest.name.clone()].into_iter().collect();
    })?;
    disk::put(disk, FILE, &fresh)?;
    let lines = done(console, "modules refresh")?;
    ensure!(lines.iter().any(|line| line.starts_with("new: fresh 1.0.0")), "{lines:?}");
    disk::remove(disk, FILE)?;
    done(console, "modules refresh")?;
    done(console, &format!("repository remove {NOBODY}"))?;
    Ok(())
}

/// What was installed runs again, from the system disk, and says so.
fn starts_from_the_system_disk(vm: &Vm, network: &Network) -> Result<()> {
    let console = vm.console()?;
    until(STARTED, || {
        let all = instances(&console, "good")?;
        ensure!(all.len() == 1 && all.iter().all(|one| one.at_work), "it was to be started: {all:?}");
        Ok(())
    })
    .context("after a reboot")?;
    let known = ask(&console, "modules good")?;
    let module = &known["modules"][0];
    ensure!(module["origin"] == "system-disk" && module["state"] == "verified", "{module}");
    ensure!(module["bytes"].as_u64().is_some_and(|bytes| bytes >= LARGE as u64), "{module}");
    let address = vm.endpoint(Proto::Tcp, PORT)?;
    let answer = network.run(move || until(SERVED, || say(address, "add after a reboot\n")))?;
    ensure!(answer == "thank you, note 0\n", "the answer was {answer:?}");
    Ok(())
}

fn files(good: &[u8], own: &Chain) -> Result<Files> {
    let named = |name: &str| {
        forge::other_version(good, own, Version::new(1, 0, 0), |manifest| {
            manifest.name = Name::try_from(name).unwrap_or_default();
            manifest.provides = [manifest.name.clone()].into_iter().collect();
        })
    };
    let mut files = Files::new();
    for (name, manner) in WRONG.into_iter().map(|(name, manner, _)| (name, manner)).chain(RIGHT) {
        let inside = if name == "other" { "another" } else { name };
        let mut module = named(inside)?;
        if name == "good" {
            module = forge::padded(&module, own, LARGE)?;
        }
        files.insert(format!("{name}-1.0.0.hicmod"), (manner, module));
    }
    files.remove("absent-1.0.0.hicmod");
    Ok(files)
}

fn gives_up(vm: &Vm, console: &Console<'_>) -> Result<()> {
    until(RECLAIMED, || quiet(console))?;
    let before = settled(console)?;
    for (name, manner, code) in WRONG {
        let refused = refusal(console, &format!("install {name} 1.0.0"))?;
        ensure!(refused.code == code, "{name} ({manner:?}): {refused}, {code} was due");
        ensure!(instances(console, name)?.is_empty(), "{name} runs all the same");
        vm.check_alive()?;
    }
    wait_for_baseline(console, &before, RECLAIMED)?;
    Ok(())
}

/// Installs, talks, removes.
fn installs(vm: &Vm, console: &Console<'_>, network: &Network, name: &str) -> Result<()> {
    let lines = done(console, &format!("install {name} 1.0.0"))?;
    ensure!(lines.iter().any(|line| line.starts_with(&format!("fetched: {name} 1.0.0"))), "{lines:?}");
    let address = vm.endpoint(Proto::Tcp, PORT)?;
    let answer = network.run(move || until(SERVED, || say(address, "add over the wire\n")))?;
    ensure!(answer == "thank you, note 0\n", "the answer was {answer:?}");
    done(console, &format!("remove {name}"))?;
    Ok(())
}

/// The fetcher and the stack die under a download; it goes on.
fn dies_in_the_middle(vm: &Vm, console: &Console<'_>) -> Result<()> {
    for victim in ["fetcher", "netstack"] {
        console.command("modules")?;
        console.command(&format!("kill {victim} after=40"))?;
        done(console, "install parts 1.0.0")
            .map_err(|error| anyhow!("{victim} died in the middle: {error:#}"))?;
        done(console, "remove parts")?;
        vm.check_alive()?;
    }
    Ok(())
}
