//! A boot archive of which anything was changed does not start: the kernel says which check failed, which digest was due and which
//! was found, and ends.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use hic_hicmod::Archive;

use crate::process::Outcome;
use crate::qemu::Machine;
use crate::runner::TestContext;
use crate::text;

/// What `isa-debug-exit` reports when the kernel refuses to start (`EXIT_FAILED` in `kernel/src/arch/acpi.rs`).
const REFUSED: Outcome = Outcome::GuestExit(0x11);

/// How long a boot may take to be refused.
const LIMIT: Duration = Duration::from_secs(300);

pub(super) fn run(context: &mut TestContext) -> Result<()> {
    let good = context.machine()?;
    let archive = std::fs::read(good.archive.as_deref().context("a boot archive")?)?;
    let places = places(&archive)?;
    let count = places.len();
    for (what, bytes) in places {
        let file = context.file("tampered.archive")?;
        std::fs::write(&file, bytes)?;
        let machine = Machine { archive: Some(file), ..good.clone() };
        refused(context, machine).with_context(|| what)?;
    }
    let without = refusal(context, Machine { archive: None, ..good })?;
    ensure!(without.contains("no boot archive"), "without an archive:\n{without}");
    context.note(format!("{count} changes of the boot archive refused, and its absence"));
    Ok(())
}

/// The archive, changed in each of several places.
fn places(archive: &[u8]) -> Result<Vec<(String, Vec<u8>)>> {
    let parsed = Archive::parse(archive).map_err(|error| anyhow::anyhow!("{error}"))?;
    let mut at = vec![("the first byte".to_owned(), 0), ("the table".to_owned(), 30)];
    for entry in parsed.iter().filter(|entry| ["keeper", "netstack", "trust-root"].contains(&entry.name)) {
        at.push((format!("the middle of {}", entry.name), entry.offset + entry.len() / 2));
    }
    let last = parsed.iter().last().context("an empty archive")?;
    // Covered by no checksum of the archive itself.
    at.push(("the padding before the last file".to_owned(), last.offset - 1));
    at.push(("the last byte".to_owned(), archive.len() - 1));
    ensure!(archive.get(last.offset - 1) == Some(&0), "no padding before the last file");
    let changed = |(what, at): (String, usize)| {
        let mut bytes = archive.to_vec();
        flip(&mut bytes, at);
        (what, bytes)
    };
    let mut places: Vec<_> = at.into_iter().map(changed).collect();
    let cut = archive.get(..archive.len() - 1).context("an empty archive")?;
    places.push(("one byte short".to_owned(), cut.to_vec()));
    Ok(places)
}

/// Changes one bit of the byte at `at`.
pub(super) fn flip(bytes: &mut [u8], at: usize) {
    if let Some(byte) = bytes.get_mut(at) {
        *byte ^= 1 << (at % 8);
    }
}

/// `machine` must refuse its archive by its digest, and name the digest that is due.
pub(super) fn refused(context: &mut TestContext, machine: Machine) -> Result<()> {
    let said = refusal(context, machine)?;
    let digest = |name| {
        let line = text::lines(&said).into_iter().find_map(|line| line.trim().strip_prefix(name));
        line.with_context(|| format!("no line `{name}` in:\n{said}")).map(str::to_owned)
    };
    let (expected, found) = (digest("expected SHA-384 ")?, digest("found    SHA-384 ")?);
    ensure!(expected != found && expected.len() > 96, "expected {expected}, found {found}");
    for part in ["boot refused: check archive-digest", "`cargo xtask image`"] {
        ensure!(said.contains(part), "no `{part}` in:\n{said}");
    }
    Ok(())
}

/// What `machine` says before it ends without having started anything.
pub(super) fn refusal(context: &mut TestContext, machine: Machine) -> Result<String> {
    let vm = context.boot(machine, None, &[])?;
    let said = vm.serial().until_closed(LIMIT)?;
    let outcome = vm.wait_exit(LIMIT)?;
    ensure!(outcome == REFUSED, "{outcome}:\n{said}");
    ensure!(!said.contains("keeper: "), "something was started:\n{said}");
    Ok(said)
}
