//! The path of somebody who writes a service for the first time, as the README's second chapter tells it: a skeleton outside of the checkout becomes
//! a program, a signed module, a service that answers over TCP, and then its own next version.
//!
//! Nothing here calls a library of ours: what a newcomer types is run, with the programs that a newcomer has.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::PORTS;
use super::install::{done, on_disk, say};
use super::service::{until, wait_until_served};
use super::updating::{instances, wait_for_repository};
use crate::net::Network;
use crate::qemu::Proto;
use crate::runner::TestContext;
use crate::vm::{Console, Vm};

/// The service.
const NAME: &str = "hello";
/// Where it listens, as the skeleton has it.
const PORT: u16 = 7100;
/// Where the development authority lies, from the folder of images (`xtask/src/signing.rs`).
const KEYS: &str = "keys";
/// Passphrase of the newcomer's key, and the variable that it comes in.
const SECRET: (&str, &str) = ("HELLO_PASSPHRASE", "correct horse battery staple");
/// Time within which a service answers after it was started.
const SERVED: Duration = Duration::from_secs(30);

/// A newcomer's desk.
struct Desk {
    /// The folder in which everything is typed.
    at: PathBuf,
    /// The command.
    tool: PathBuf,
    /// The authority whose root the machine trusts.
    authority: PathBuf,
}

impl Desk {
    /// A desk with an empty folder and the command, built.
    fn new(context: &TestContext, authority: PathBuf) -> Result<Self> {
        let checkout = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("a checkout")?;
        let at = context.file("desk")?;
        if at.exists() {
            std::fs::remove_dir_all(&at)?;
        }
        std::fs::create_dir_all(&at)?;
        let target =
            std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| checkout.join("target"), PathBuf::from);
        run(cargo(checkout).args(["build", "--quiet", "--package", "hicmod-tool"]))?;
        Ok(Self { at, tool: checkout.join(target).join("debug/hicmod-tool"), authority })
    }

    /// What `hicmod-tool` prints with these words.
    fn tool(&self, words: &str) -> Result<String> {
        let authority = self.authority.to_str().context("a path in UTF-8")?;
        let words = words.split_whitespace().map(|word| word.replace("AUTHORITY", authority));
        run(Command::new(&self.tool).args(words).current_dir(&self.at).env(SECRET.0, SECRET.1))
    }

    /// Builds the service, runs its tests on the host, packs, signs and verifies it; the file.
    fn release(&self, version: &str) -> Result<PathBuf> {
        let package = self.at.join(NAME);
        run(cargo(&package).args(["test", "--quiet", "--offline"]))?;
        run(cargo(&package).args([
            "build",
            "--quiet",
            "--offline",
            "--release",
            "--features",
            "freestanding",
        ]))?;
        let module = format!("{NAME}-{version}.hicmod");
        self.tool(&format!(
            "pack --elf {NAME}/target/release/{NAME} --manifest {NAME}/hicmod.toml --out {module}"
        ))?;
        self.tool(&format!(
            "sign --module {module} --key {NAME}.key.pem --chain {NAME}.pem --passphrase-env {}",
            SECRET.0
        ))?;
        let said = self.tool(&format!("verify --module {module} --root AUTHORITY/root.pem"))?;
        ensure!(said.contains(&format!("good: {NAME} {version}")), "{said}");
        Ok(self.at.join(module))
    }

    /// What an editor does to a file of the package.
    fn edit(&self, file: &str, from: &str, to: &str) -> Result<()> {
        let path = self.at.join(NAME).join(file);
        let text = std::fs::read_to_string(&path)?;
        ensure!(text.contains(from), "{file} has no {from:?}");
        Ok(std::fs::write(path, text.replace(from, to))?)
    }
}

pub(super) fn run_test(context: &mut TestContext) -> Result<()> {
    let network = Network::best()?;
    let machine = context.machine()?;
    let disk = machine.disks.first().context("this profile has no repository disk")?.clone();
    let authority = machine.archive.as_deref().and_then(Path::parent).context("a boot archive")?.join(KEYS);
    let desk = Desk::new(context, authority)?;
    let first = make(&desk).context("on the host")?;

    let ports: Vec<_> = PORTS.into_iter().chain([(Proto::Tcp, PORT)]).collect();
    let vm = context.boot(machine, Some(&network), &ports)?;
    wait_until_served(&vm, &network, SERVED)?;
    let console = vm.console()?;
    wait_for_repository(&console)?;

    arrives(&console, &disk, &first, "0.1.0")?;
    done(&console, &format!("install {NAME} 0.1.0"))?;
    answers(&vm, &network, "hello, world (0.1.0)\n")?;

    let second = change(&desk).context("the second version")?;
    arrives(&console, &disk, &second, "0.2.0")?;
    let way = "hello 0.1.0 -> 0.2.0";
    let planned = done(&console, &format!("update {NAME} 0.2.0 --plan"))?;
    ensure!(
        planned.iter().any(|line| line.contains("end and start: it ends, with its connections")),
        "{planned:?}"
    );
    answers(&vm, &network, "hello, world (0.1.0)\n").context("after the plan")?;
    let steps = done(&console, &format!("update {NAME} 0.2.0"))?;
    ensure!(steps.iter().any(|line| line.contains(way) && line.contains("end and start")), "{steps:?}");
    answers(&vm, &network, "good day, world (0.2.0)\n")?;
    let all = instances(&console, NAME)?;
    ensure!(
        all.len() == 1 && all.iter().all(|one| one.version == "0.2.0"),
        "0.2.0 alone was to serve: {all:?}"
    );
    context.note("a new service was built, signed, installed, spoken to, changed and exchanged".to_owned());
    vm.check_alive()
}

/// Skeleton, key, certificate, first release.
fn make(desk: &Desk) -> Result<PathBuf> {
    let checkout = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("a checkout")?;
    desk.tool(&format!("new {NAME} --hic {}", checkout.display()))?;
    desk.tool(&format!("key --out {NAME}.key.pem --public {NAME}.pub.pem --passphrase-env {}", SECRET.0))?;
    desk.tool(&format!("ca issue --ca AUTHORITY --for {NAME}.pub.pem --out {NAME}.pem"))?;
    desk.release("0.1.0")
}

/// Another greeting and another version; a look at what a reviewer will see.
fn change(desk: &Desk) -> Result<PathBuf> {
    desk.edit("src/lib.rs", "GREETING: &str = \"hello\"", "GREETING: &str = \"good day\"")?;
    desk.edit("src/lib.rs", "b\"hello, world (0.1.0)", "b\"good day, world (0.1.0)")?;
    desk.edit("hicmod.toml", "version = \"0.1.0\"", "version = \"0.2.0\"")?;
    let second = desk.release("0.2.0")?;
    let words = format!("diff {NAME}-0.1.0.hicmod {NAME}-0.2.0.hicmod --fail-on may-break");
    let said = desk.tool(&words)?;
    ensure!(said.starts_with("hello 0.1.0 -> hello 0.2.0"), "{said}");
    Ok(second)
}

/// Puts the module on the disk under the running guest, which sees it when it is told to look.
fn arrives(console: &Console<'_>, disk: &Path, module: &Path, version: &str) -> Result<()> {
    let file = format!("{NAME}-{version}.hicmod");
    on_disk("mcopy", disk, Some(module), &file)?;
    let lines = done(console, "modules refresh")?;
    let told = format!("new: {NAME} {version} ({file})");
    ensure!(lines.contains(&told), "`modules refresh` said {lines:?}");
    Ok(())
}

fn answers(vm: &Vm, network: &Network, due: &str) -> Result<()> {
    let (address, due) = (vm.endpoint(Proto::Tcp, PORT)?, due.to_owned());
    network.run(move || {
        until(SERVED, || {
            let answer = say(address, "world\n")?;
            ensure!(answer == due, "it said {answer:?}, and {due:?} was due");
            Ok(())
        })
    })
}

fn cargo(folder: &Path) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(folder);
    if !folder.join("xtask").is_dir() {
        // A newcomer's package has a folder of its own for what is built.
        command.env("CARGO_TARGET_DIR", folder.join("target"));
    }
    command
}

/// What a command prints when it succeeds.
fn run(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("cannot run {command:?}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?}: {}: {said}", output.status);
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
