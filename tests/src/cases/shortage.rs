//! What is short is told before anything is made: an update for which the processor or the memory does not suffice is refused with the shortfall, and the
//! service notices nothing. What an update reserved is free again when it is aborted, rolled back or committed. While it warms up, the new
//! instance has its quota and no more.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use hic_hicmod::manifest::{Manifest, Version};
use serde_json::Value;

use super::forge::{self, Chain};
use super::install::done;
use super::service::{until, wait_until_served};
use super::updating::{
    Instance, NEW, OLD, SERVICE, Update, ask, last_note, only, refusal, wait_for_repository,
};
use super::{ECHO, PORTS, memory};
use crate::net::Network;
use crate::qemu::{Machine, Proto};
use crate::runner::TestContext;
use crate::vm::{Console, Vm};
use crate::{disk, load};

/// Asks for 60 % of the processor, which the policy allows, and for which there is no room beside the verifier's 20 % and the 20 % of an update.
const HUNGRY: Version = Version::new(1, 4, 0);
/// Asks for nearly all of the memory that the policy allows: there is no room for twice as much.
const LARGE: Version = Version::new(1, 4, 1);
/// Asks for 50 % of the processor.
const FITS: Version = Version::new(1, 4, 2);
/// Computes for ever when it is told its side (`services/netstack/src/fault.rs`).
const BUSY: &str = "1.3.2";
/// Another service, which asks for 10 %.
const OTHER: &str = "example_guestbook";
const OTHER_VERSION: Version = Version::new(1, 1, 0);
/// Memory of the machine: less of it is free than twice what the large version needs, and more than all accounts may take.
const MEMORY: &str = "250M";
/// Thousandths that the verifier holds in this system, and all that can be held (`hic_control::manager::PROCESSOR_LIMIT`).
const VERIFIER: u64 = 200;
const LIMIT: u64 = 950;
/// Thousandths that are reserved for an instance beside the default.
const BESIDE: u64 = 200;
/// Microseconds of each period that it has while it warms up, and its priority then.
const QUOTA: (u64, u64, u64) = (2000, 10_000, 15);
/// Rollback window, seconds: longer than what is done in it.
const WATCH_S: u32 = 600;
/// Time within which services answer, or what was held is free.
const SERVED: Duration = Duration::from_secs(120);
/// How long the new instance is watched while it warms up; its deadline is 6 s in the guest.
const LOOK: Duration = Duration::from_millis(500);

pub(super) fn run(context: &mut TestContext) -> Result<()> {
    let network = Network::best()?;
    let mut machine = context.machine()?;
    machine.memory = MEMORY.to_owned();
    prepare(&machine)?;
    let vm = context.boot(machine, Some(&network), &PORTS)?;
    let console = vm.console()?;
    wait_until_served(&vm, &network, SERVED)?;
    wait_for_repository(&console)?;
    until(SERVED, || only(&console, OLD))?;
    let scene = Scene { vm: &vm, network: &network, console: &console };
    sums(&console, VERIFIER)?;

    scene.refused(
        HUNGRY,
        "processor",
        &["5.0 % of the processor are short", "80.0 % are wanted", "verifier 20.0 %"],
    )?;
    scene.refused(LARGE, "memory", &["MiB of memory are short"])?;
    let quota = scene.warm_up().context("while it warms up")?;
    context.note(format!("refused for processor and memory; {quota}"));
    scene.rolled_back().context("a rollback")?;
    scene.committed().context("a commit")?;
    wait_until_served(&vm, &network, SERVED)?;
    vm.check_alive()
}

/// Puts the modules on the disk.
fn prepare(machine: &Machine) -> Result<()> {
    let image = machine.disks.first().context("a repository disk")?;
    let good = disk::get(image, &format!("{SERVICE}-{NEW}.hicmod"))?;
    let own = Chain::development(machine)?;
    let other = forge::archived(machine, OTHER)?;
    let put = |name: &str, from: &[u8], version, change: &dyn Fn(&mut Manifest)| {
        let module = forge::other_version(from, &own, version, change)?;
        disk::put(image, &format!("{name}-{version}.hicmod"), &module)
    };
    let guarantee = |budget_us| {
        move |manifest: &mut Manifest| (manifest.budget_us, manifest.period_us) = (budget_us, 10_000)
    };
    put(SERVICE, &good, HUNGRY, &guarantee(6000))?;
    put(SERVICE, &good, FITS, &guarantee(5000))?;
    put(SERVICE, &good, LARGE, &|manifest| (manifest.heap_pages, manifest.account_pages) = (20_000, 16))?;
    put(OTHER, &other, OTHER_VERSION, &guarantee(1000))
}

struct Scene<'a> {
    vm: &'a Vm,
    network: &'a Network,
    console: &'a Console<'a>,
}

impl Scene<'_> {
    /// An update to this version is refused with these words; it is on record, and nothing was made or changed.
    fn refused(&self, version: Version, code: &str, words: &[&str]) -> Result<()> {
        let console = self.console;
        let (held, running) = (memory::settled(console)?, only(console, OLD)?);
        let (note, shares) = (last_note(console)?, rows(console)?);
        let refused = refusal(console, &format!("update {SERVICE} {version}"))?;
        ensure!(refused.code == code, "{refused}; {code} was due");
        for word in words {
            ensure!(refused.message.contains(word), "{refused} does not say {word:?}");
        }
        until(SERVED, || {
            ensure!(last_note(console)? > note, "no note of it in the audit log");
            Ok(())
        })?;
        let audit = ask(console, "audit")?.to_string();
        ensure!(
            audit.contains(&format!("{code}: {SERVICE} {version}")),
            "the audit log does not say what: {audit}"
        );
        self.untouched(&running, &held)?;
        let now = rows(console)?;
        ensure!(
            now.len() == shares.len() && sums(console, VERIFIER).is_ok(),
            "{shares:?} before, {now:?} now"
        );
        Ok(())
    }

    fn untouched(&self, running: &Instance, held: &Value) -> Result<()> {
        let now = only(self.console, OLD)?;
        ensure!(now == *running, "{running:?} before, {now:?} now");
        memory::wait_for_baseline(self.console, held, SERVED)?;
        self.vm.check_alive()
    }

    /// A new version that computes for ever gets its quota and no more, and the old one serves meanwhile. Aborted, it leaves nothing behind: neither
    /// the memory that was reserved for it nor its part of the processor is held any more.
    fn warm_up(&self) -> Result<String> {
        let console = self.console;
        let (held, running) = (memory::settled(console)?, only(console, OLD)?);
        let update = Update::start(console, BUSY, 0)?;
        let temporary = format!("{SERVICE}-v{BUSY}-temp");
        // Before others follow: the console shows the newest records alone.
        until(SERVED, || on_record(console, &temporary))?;
        let new = until(SERVED, || {
            let new = row(console, BUSY)?;
            ensure!(new["used_nanoseconds"].as_u64() > Some(0), "it does not run yet");
            Ok(new)
        })?;
        ensure!(new["sandbox_name"] == temporary.as_str(), "{new}");
        ensure!(quota(&new) == QUOTA && new["hard"] == true && new["guarantee"] == BESIDE, "{new}");
        sums(console, VERIFIER + BESIDE)?;
        let (served, part) = self.used_while_serving()?;
        ensure!((50..500).contains(&part), "it got {part} of 1000 of the time, {BESIDE} were due");
        let _: Value = ask(console, "abort")?;
        let status = update.ended(console)?;
        ensure!(status.outcome == "rolled-back" && status.reason == "aborted", "{}", status.summary());
        self.untouched(&running, &held)?;
        sums(console, VERIFIER)?;
        Ok(format!("warming up it got {part} of 1000 of the time, while {served} requests were served"))
    }

    /// Requests that the old version served, and thousandths of the time in the guest that the new one used meanwhile.
    fn used_while_serving(&self) -> Result<(usize, u64)> {
        let used =
            || Ok::<_, anyhow::Error>(row(self.console, BUSY)?["used_nanoseconds"].as_u64().unwrap_or(0));
        let now = || ask(self.console, "uptime")?["nanoseconds"].as_u64().context("no time");
        let before = (now()?, used()?);
        let echo = self.vm.endpoint(Proto::Tcp, ECHO)?;
        let served = self.network.run(move || {
            let (began, mut served) = (std::time::Instant::now(), 0);
            while began.elapsed() < LOOK {
                load::echo_once(echo, 64)?;
                served += 1;
            }
            Ok::<_, anyhow::Error>(served)
        })?;
        let after = (used()?, now()?);
        ensure!(served > 0, "nobody was served");
        let elapsed = after.1.saturating_sub(before.0).max(1);
        Ok((served, after.0.saturating_sub(before.1).saturating_mul(1000) / elapsed))
    }

    /// The two exchange their shares with the role, and again on the way back.
    fn rolled_back(&self) -> Result<()> {
        let console = self.console;
        let update = Update::start(console, &FITS.to_string(), WATCH_S)?;
        update.watched(console)?;
        let (old, new) = (row(console, OLD)?, row(console, &FITS.to_string())?);
        // The old version has no budget, so it serves without one while it is not the default, too.
        ensure!(quota(&old).0 == 0 && old["priority"] == 16 && old["guarantee"] == BESIDE, "{old}");
        ensure!(quota(&new) == (5000, 10_000, 16) && new["guarantee"] == 500, "{new}");
        sums(console, VERIFIER + BESIDE + 500)?;
        let _: Value = ask(console, &format!("rollback {SERVICE}"))?;
        let status = update.ended(console)?;
        ensure!(status.outcome == "rolled-back" && status.lost == 0, "{}", status.summary());
        let old = row(console, OLD)?;
        ensure!(quota(&old).0 == 0 && old["priority"] == 16 && old["guarantee"] == 0, "{old}");
        sums(console, VERIFIER)
    }

    /// Until the commit there is no room for somebody else's guarantee, afterwards there is.
    fn committed(&self) -> Result<()> {
        let console = self.console;
        done(console, &format!("remove {OTHER}"))?;
        let update = Update::start(console, &FITS.to_string(), WATCH_S)?;
        update.watched(console)?;
        let install = format!("install {OTHER} {OTHER_VERSION}");
        let refused = refusal(console, &install)?;
        ensure!(refused.code == "processor", "{refused}");
        for word in ["5.0 % of the processor are short", "netstack 50.0 %", "the update of netstack 20.0 %"] {
            ensure!(refused.message.contains(word), "{refused} does not say {word:?}");
        }
        let _: Value = ask(console, "commit")?;
        let status = update.ended(console)?;
        ensure!(status.outcome == "completed" && status.lost == 0, "{}", status.summary());
        sums(console, VERIFIER + 500)?;
        done(console, &install)?;
        sums(console, VERIFIER + 600)
    }
}

/// The sandbox that the update made is in the audit log, under its name and with its purpose.
fn on_record(console: &Console<'_>, name: &str) -> Result<()> {
    let document = ask(console, "audit")?;
    let records = document["records"].as_array().with_context(|| format!("no records in {document}"))?;
    let made = records.iter().position(|r| r["event"] == "sandbox-created" && r["text"] == name);
    let at = made.with_context(|| format!("the audit log does not name {name}: {document}"))?;
    let purpose = records.get(at + 1).context("nothing follows")?;
    ensure!(purpose["event"] == "purpose" && purpose["text"] == "rolling update", "{purpose}");
    ensure!(purpose["subject"] == records[at]["subject"], "of another sandbox: {purpose}");
    Ok(())
}

fn rows(console: &Console<'_>) -> Result<Vec<Value>> {
    let mut document = ask(console, "processor")?;
    let rows = document["instances"].as_array_mut().map(std::mem::take);
    rows.with_context(|| format!("no instances in {document}"))
}

/// The row of this version of the service.
fn row(console: &Console<'_>, version: &str) -> Result<Value> {
    let rows = rows(console)?;
    let found = rows.iter().find(|row| row["name"] == SERVICE && row["version"] == version);
    found.cloned().with_context(|| format!("no {SERVICE} {version} in {rows:?}"))
}

fn quota(row: &Value) -> (u64, u64, u64) {
    let number = |key: &str| row[key].as_u64().unwrap_or(u64::MAX);
    (number("budget_us"), number("period_us"), number("priority"))
}

/// So many thousandths are held, and all the others are free.
fn sums(console: &Console<'_>, held: u64) -> Result<()> {
    let document = ask(console, "processor")?;
    let sums = ["guaranteed", "limit", "free"].map(|key| document[key].as_u64().unwrap_or(u64::MAX));
    ensure!(sums == [held, LIMIT, LIMIT - held], "{held} were to be held: {document}");
    Ok(())
}
