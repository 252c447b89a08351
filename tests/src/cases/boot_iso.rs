//! The ISO image boots from BIOS and from UEFI to a prompt and a page over HTTP, and again after a reset; with one bit of its boot archive changed, it does not.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::cpu_models::resets;
use super::service::{healthy, until};
use super::tampering::{flip, refused};
use super::updating::{NEW, wait_for_module};
use super::{HTTP, PORTS};
use crate::net::Network;
use crate::process::Outcome;
use crate::qemu::{Machine, Medium, Proto, UEFI};
use crate::runner::TestContext;

/// Time after the prompt within which the web server must answer: it needs an address first.
const SERVED: Duration = Duration::from_secs(120);

/// How long the guest may take to power off.
const POWER_OFF: Duration = Duration::from_secs(120);

pub(super) fn run(context: &mut TestContext) -> Result<()> {
    let iso = context.medium()?.to_owned();
    for (name, firmware) in [("BIOS", None), ("UEFI", Some(PathBuf::from(UEFI)))] {
        let medium = Medium { iso: iso.clone(), firmware };
        let machine = Machine { medium: Some(medium), ..context.machine()? };
        serves(context, machine.clone()).with_context(|| format!("booted by {name}"))?;
        resets(context, machine).with_context(|| format!("booted by {name}"))?;
    }
    let mut machine = context.machine()?;
    let iso = tampered(context, &iso, machine.archive.as_deref().context("a boot archive")?)?;
    machine.medium = Some(Medium { iso, firmware: None });
    refused(context, machine).context("a changed medium")
}

/// Boots `machine`, asks for a page, waits for a module that is on its disk, and switches off; what it wrote to the serial line.
pub(super) fn serves(context: &mut TestContext, machine: Machine) -> Result<String> {
    let vm = context.boot(machine, Some(&Network::User), &PORTS)?;
    let console = vm.console()?;
    let http = vm.endpoint(Proto::Tcp, HTTP)?;
    until(SERVED, || healthy(http)).context("web server")?;
    wait_for_module(&console, NEW).context("repository disk")?;
    console.type_line("shutdown")?;
    let outcome = vm.wait_exit(POWER_OFF)?;
    ensure!(outcome == Outcome::PowerOff, "`shutdown`: {outcome}");
    Ok(vm.serial_text())
}

/// A copy of the image with one bit of the boot archive changed, which lies in it in one piece.
fn tampered(context: &TestContext, iso: &Path, archive: &Path) -> Result<PathBuf> {
    let (mut bytes, archive) = (std::fs::read(iso)?, std::fs::read(archive)?);
    let start = bytes.windows(archive.len()).position(|window| window == archive);
    let start = start.context("the archive is not on the medium")?;
    flip(&mut bytes, start + archive.len() / 2);
    let copy = context.file("tampered.iso")?;
    std::fs::write(&copy, bytes)?;
    Ok(copy)
}
