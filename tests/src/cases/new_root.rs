//! A system that trusts the old root believes a module of the new one, because the old root accepted it; and no longer once the old root took that
//! back.

use std::path::Path;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, anyhow, ensure};
use hic_hicmod::sign::ListDates;
use hicmod_tool::SigningSet;
use hicmod_tool::keys::authority::{Authority, AuthorityOptions, Issuer, LISTS_DER, Subject};
use hicmod_tool::keys::{self, KeyError};

use super::PORTS;
use super::bad_modules::with_revocation;
use super::forge;
use super::service::wait_until_served;
use super::updating::{NEW, SERVICE, ask, wait_for_repository};
use crate::disk;
use crate::net::Network;
use crate::qemu::Machine;
use crate::runner::TestContext;
use crate::vm::Console;

/// Time after boot within which the services must answer.
const SERVED: Duration = Duration::from_secs(120);
/// The file of the module that was signed anew.
const SIGNED_ANEW: &str = "signed-anew.hicmod";
/// Days for which certificates and lists are valid.
const DAYS: u32 = 30;

pub(super) fn run(context: &mut TestContext) -> Result<()> {
    let network = Network::best()?;
    let machine = context.machine()?;
    let folder = context.file("authorities")?;
    let signer = sign_anew(&machine, &folder).context("the new root")?;

    let vm = context.boot(machine.clone(), Some(&network), &PORTS)?;
    wait_until_served(&vm, &network, SERVED)?;
    let row = newest(&vm.console()?)?;
    ensure!(row["state"] == "verified" && row["signer"] == signer.as_str(), "signed by {signer}: {row}");
    drop(vm);

    let mut taken_back = machine;
    let archive = taken_back.archive.clone().context("a boot archive")?;
    let lists = std::fs::read(folder.join("old").join(LISTS_DER))?;
    context.boot_archive(&mut taken_back, &with_revocation(&archive, &lists)?)?;
    let vm = context.boot(taken_back, Some(&network), &PORTS)?;
    wait_until_served(&vm, &network, SERVED)?;
    let row = newest(&vm.console()?)?;
    ensure!(row["state"] == "refused" && row["reason"]["code"] == "revoked", "taken back: {row}");
    vm.check_alive()
}

/// Signs the newer version on the machine's disk under a successor of the development root, and takes the acceptance back in the list of
/// `folder/old`. The common name of the new signer.
fn sign_anew(machine: &Machine, folder: &Path) -> Result<String> {
    let keys_folder = forge::keys_of(machine)?;
    let (old, next) = (folder.join("old"), folder.join("next"));
    if folder.exists() {
        std::fs::remove_dir_all(folder)?;
    }
    copy(&keys_folder, &old)?;
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_secs();
    let failed = |error: KeyError| anyhow!("{error}");
    let encrypted = &mut |path: &Path| Err(KeyError::Encrypted(path.to_owned()));

    let mut authority = Authority::open(&old).map_err(failed)?;
    authority.unlock(Issuer::Root, encrypted).map_err(failed)?;
    let options = AuthorityOptions { development: true, days: DAYS, now };
    let successor = authority.rotate(&next, options, &mut |_| Ok(None)).map_err(failed)?;
    let key = keys::read_key(&old.join(keys::SIGNER_KEY)).map_err(failed)?;
    let certificate = successor.issue(&Subject::of_key(&key), DAYS, now).map_err(failed)?;
    let chain = next.join(keys::CHAIN_PEM);
    keys::write_chain(&chain, &successor.chain(&certificate).map_err(failed)?).map_err(failed)?;
    let set = SigningSet::load(&old.join(keys::SIGNER_KEY), &chain, encrypted).map_err(failed)?;

    let image = machine.disks.first().context("this profile has no repository disk")?;
    let file = format!("{SERVICE}-{NEW}.hicmod");
    let signed = set.sign(&disk::get(image, &file)?, now).map_err(failed)?;
    // Under a name that the repository's metadata does not list: under its own it would be another file than is listed.
    disk::remove(image, &file)?;
    disk::put(image, SIGNED_ANEW, &signed)?;

    let cross = keys::read_certificate(&next.join("cross.der")).map_err(failed)?;
    let dates = ListDates { now, next: now + u64::from(DAYS) * 86_400 };
    authority.update_list(Issuer::Root, Some(&cross), dates).map_err(failed)?;
    common_name(&certificate)
}

/// The development authority is the machine's; what is done here is done to a copy.
fn copy(from: &Path, to: &Path) -> Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from).with_context(|| format!("cannot read {}", from.display()))? {
        let entry = entry?;
        std::fs::copy(entry.path(), to.join(entry.file_name()))?;
    }
    Ok(())
}

fn common_name(certificate: &[u8]) -> Result<String> {
    let report = hicmod_tool::certificate_report(certificate).context("a certificate")?;
    let name = report.subject.split(',').find_map(|part| part.strip_prefix("CN="));
    name.map(str::to_owned).with_context(|| format!("no common name in {}", report.subject))
}

/// What `modules` says of the newer version.
fn newest(console: &Console<'_>) -> Result<serde_json::Value> {
    wait_for_repository(console)?;
    let document = ask(console, "modules")?;
    let rows = document["modules"].as_array().with_context(|| format!("no modules in {document}"))?;
    let is_it = |row: &&serde_json::Value| {
        let name = row["name"].as_str().unwrap_or_default();
        (name == SERVICE && row["version"] == NEW) || name.eq_ignore_ascii_case(SIGNED_ANEW)
    };
    rows.iter()
        .find(is_it)
        .cloned()
        .with_context(|| format!("`modules` does not list {SERVICE} {NEW}: {document}"))
}
