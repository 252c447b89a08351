//! The path of somebody who writes a service for the first time: what the README's second chapter has its reader type is typed here, line by line, and
//! what it shows is compared with what comes. A skeleton outside of the checkout becomes a program, a signed module, a module that a repository lists, a
//! service that answers over TCP, and then its own next version.
//!
//! Nothing here calls a library of ours, and no command stands here: the chapter cannot say what does not work. What is exchanged in its commands, because
//! a test has a machine and a folder of its own and no terminal, is in [`Desk::shell`].

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::PORTS;
use super::service::{until, wait_until_served};
use super::updating::{ask, instances, wait_for_repository};
use crate::net::Network;
use crate::qemu::Proto;
use crate::runner::TestContext;
use crate::vm::{Console, Vm};

/// The service.
const NAME: &str = "hello";
/// Where it listens, as the skeleton has it.
const PORT: u16 = 7100;
/// Between these lines the README tells the path.
const MARKS: [&str; 2] = ["<!-- newcomer: begin -->", "<!-- newcomer: end -->"];
/// The command with which the chapter starts the system.
const BOOT: &str = "(cd $HIC && cargo xtask run --forward 7100:7100)";
/// What only the reader's shell needs: here each command gets it from [`Desk::shell`].
const EXPORT: &str = "export ";
/// Commands that ask for a passphrase at a terminal.
const ASKS: [&str; 2] = ["hicmod-tool key ", "hicmod-tool sign "];
/// Passphrase of the newcomer's key, and the variable that it comes in.
const SECRET: (&str, &str) = ("HELLO_PASSPHRASE", "correct horse battery staple");
/// How the chapter reaches the service.
const SERVICE: &str = "telnet://127.0.0.1:7100";
/// Time within which a service answers after it was started.
const SERVED: Duration = Duration::from_secs(120);

/// Where something is typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    Shell,
    Console,
}

/// What the reader types, and what the chapter shows of the answer.
#[derive(Debug, PartialEq, Eq)]
struct Step {
    at: At,
    typed: String,
    shown: Vec<String>,
}

pub(super) fn run_test(context: &mut TestContext) -> Result<()> {
    let readme = checkout()?.join("README.md");
    let steps = chapter(&std::fs::read_to_string(&readme)?)?;
    let boot = steps.iter().position(|step| step.typed == BOOT).with_context(|| format!("no `{BOOT}`"))?;
    let (before, after) = steps.split_at(boot);

    let network = Network::best()?;
    let machine = context.machine()?;
    let images = machine.archive.as_deref().and_then(Path::parent).context("a boot archive")?.to_owned();
    let disk = machine.disks.first().context("this profile has no repository disk")?.clone();
    let mut desk = Desk::new(context.file("desk")?, images, disk)?;
    for step in before {
        desk.shell(step, None)?;
    }
    let ports: Vec<_> = PORTS.into_iter().chain([(Proto::Tcp, PORT)]).collect();
    let vm = context.boot(machine, Some(&network), &ports)?;
    wait_until_served(&vm, &network, SERVED)?;
    let console = vm.console()?;
    wait_for_repository(&console)?;
    for step in after.iter().skip(1) {
        match step.at {
            At::Shell => desk.shell(step, Some((&vm, &network)))?,
            At::Console => desk.console(step, &console)?,
        }
    }
    let all = instances(&console, NAME)?;
    ensure!(
        all.len() == 1 && all.iter().all(|one| one.version == "0.2.0"),
        "0.2.0 alone was to serve: {all:?}"
    );
    context.note(format!(
        "the README's chapter holds: {} lines were typed, and answered as it says",
        steps.len()
    ));
    vm.check_alive()
}

/// A newcomer's desk.
struct Desk {
    /// The folder in which everything is typed.
    at: PathBuf,
    /// The folder with what was built, `target/hic`.
    images: PathBuf,
    /// The machine's repository disk.
    disk: PathBuf,
    /// The list that was published last.
    published: Option<String>,
}

impl Desk {
    /// An empty one.
    fn new(at: PathBuf, images: PathBuf, disk: PathBuf) -> Result<Self> {
        if at.exists() {
            std::fs::remove_dir_all(&at)?;
        }
        std::fs::create_dir_all(&at)?;
        Ok(Self { at, images, disk, published: None })
    }

    /// Runs a command as it stands in the README, but for the places of this machine and the passphrase, and compares what it prints.
    fn shell(&mut self, step: &Step, guest: Option<(&Vm, &Network)>) -> Result<()> {
        if step.typed.starts_with(EXPORT) {
            return Ok(());
        }
        let mut line = step
            .typed
            .replace("$HIC/target/hic/default/run.img", &self.disk.to_string_lossy())
            .replace("$HIC/target/hic", &self.images.to_string_lossy());
        if ASKS.iter().any(|asks| line.starts_with(asks)) {
            line = format!("{line} --passphrase-env {}", SECRET.0);
        }
        let said = match guest.filter(|_| line.contains(SERVICE)) {
            None => self.run(Command::new("sh"), &line)?,
            Some((vm, network)) => {
                let line = line.replace(SERVICE, &format!("telnet://{}", vm.endpoint(Proto::Tcp, PORT)?));
                until(SERVED, || {
                    let said = self.run(network.command("sh"), &line)?;
                    step.compare(&said).map(|()| said)
                })?
            }
        };
        if let Some((_, rest)) =
            said.split_once("published: ").and_then(|(_, rest)| rest.split_once(" list "))
        {
            self.published = rest.split_whitespace().next().map(str::to_owned);
        }
        step.compare(&said)
    }

    /// What a line prints, in a shell that has what the chapter's first line gives its reader.
    fn run(&self, mut shell: Command, line: &str) -> Result<String> {
        let checkout = checkout()?;
        let mut path = vec![checkout.join("target/debug")];
        path.extend(std::env::var_os("CARGO").and_then(|cargo| Some(Path::new(&cargo).parent()?.to_owned())));
        path.extend(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()));
        shell.args(["-ec", line]).current_dir(&self.at);
        shell.env("HIC", checkout).env("PATH", std::env::join_paths(path)?).env(SECRET.0, SECRET.1);
        // Each package builds into its own folder, as it does for the reader, and from what is here.
        shell.env_remove("CARGO_TARGET_DIR").env("CARGO_NET_OFFLINE", "true");
        let output = shell.output().with_context(|| format!("cannot run `{line}`"))?;
        let (said, errors) =
            (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        ensure!(output.status.success(), "`{line}`: {}: {said}{errors}", output.status);
        Ok(said.into_owned())
    }

    /// Types a line at the console and compares the answer.
    fn console(&self, step: &Step, console: &Console<'_>) -> Result<()> {
        let document = ask(console, &step.typed)?;
        ensure!(document["done"] == true, "`{}`: {document}", step.typed);
        // The console shows what happened on the way, then how it ended.
        let lines = document["lines"].as_array().into_iter().flatten().chain([&document["text"]]);
        step.compare(&lines.filter_map(Value::as_str).collect::<Vec<_>>().join("\n"))?;
        // The development root allows modules that nobody published: that this one is listed must be seen.
        if let Some(list) = self.published.as_ref().filter(|_| step.typed == "modules refresh") {
            let due = format!("metadata of targets {list} is good (disk)");
            ensure!(console.command("log")?.contains(&due), "the log has no {due:?}");
        }
        Ok(())
    }
}

impl Step {
    /// Whether every line that is shown is among those that were said, in this order.
    fn compare(&self, said: &str) -> Result<()> {
        let mut lines = said.lines();
        for shown in &self.shown {
            ensure!(
                lines.any(|line| is_alike(shown, line)),
                "the README shows {shown:?} after `{}`, which said:\n{said}",
                self.typed
            );
        }
        Ok(())
    }
}

/// Whether two lines differ in nothing but white space and whole numbers, which are others in each run.
fn is_alike(shown: &str, said: &str) -> bool {
    let words = |line: &str| -> Vec<String> {
        let is_number = |word: &str| word.trim_matches(['(', ')', ',', ':', ';']).parse::<u64>().is_ok();
        line.split_whitespace().map(|word| if is_number(word) { "N".into() } else { word.into() }).collect()
    };
    words(shown) == words(said)
}

/// What the README's chapter has its reader type, in this order.
fn chapter(readme: &str) -> Result<Vec<Step>> {
    let [begin, end] = MARKS;
    let text = readme.split_once(begin).and_then(|(_, rest)| rest.split_once(end));
    let (text, _) = text.with_context(|| format!("the README has no {begin} and {end}"))?;
    let mut steps: Vec<Step> = Vec::new();
    for line in text.lines().filter_map(|line| line.strip_prefix("    ")) {
        let typed = |at, typed: &str| Step { at, typed: typed.to_owned(), shown: Vec::new() };
        if let Some(command) = line.strip_prefix("$ ") {
            steps.push(typed(At::Shell, command));
        } else if let Some(command) = line.strip_prefix("hic> ") {
            steps.push(typed(At::Console, command));
        } else if is_answer(line) {
            steps
                .last_mut()
                .with_context(|| format!("{line:?} answers nothing"))?
                .shown
                .push(line.to_owned());
        }
    }
    Ok(steps)
}

/// Whether a line was printed; the others are left out, prompts of the console, or what asks for a passphrase.
fn is_answer(line: &str) -> bool {
    !["...", "hic>"].contains(&line) && !line.ends_with(':')
}

fn checkout() -> Result<&'static Path> {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("a checkout")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_chapter_tells_the_whole_path_in_order() {
        let readme = checkout().expect("a checkout").join("README.md");
        let steps = chapter(&std::fs::read_to_string(readme).expect("read")).expect("a chapter");
        let mut steps = steps.iter();
        for due in [
            "hicmod-tool new hello",
            "cargo build --release",
            "hicmod-tool key",
            "hicmod-tool ca issue",
            "hicmod-tool pack",
            "hicmod-tool sign",
            "hicmod-tool verify",
            "hicmod-tool repo add",
            "hicmod-tool repo publish",
            BOOT,
            "mcopy",
            "modules refresh",
            "install hello 0.1.0",
            SERVICE,
            "cargo build --release",
            "hicmod-tool pack",
            "hicmod-tool sign",
            "hicmod-tool diff",
            "hicmod-tool repo add",
            "hicmod-tool repo publish",
            "mcopy",
            "modules refresh",
            "update hello 0.2.0 --plan",
            "update hello 0.2.0",
            SERVICE,
        ] {
            assert!(
                steps.any(|step| step.typed.contains(due)),
                "the chapter has no `{due}` where it belongs"
            );
        }
    }

    #[test]
    fn what_is_typed_is_told_from_what_is_shown() {
        let [begin, end] = MARKS;
        let text = "    $ key\n    New passphrase for x:\n    made 3 keys\n    ...\n\nWords.\n\n    hic> a b\n      c\n";
        let steps = chapter(&format!("    $ other\n{begin}\n{text}{end}\n    $ more")).expect("a chapter");
        let step = |at, typed: &str, shown: &str| Step { at, typed: typed.into(), shown: vec![shown.into()] };
        assert_eq!(steps, [step(At::Shell, "key", "made 3 keys"), step(At::Console, "a b", "  c")]);
        assert!(steps[0].compare("one\nmade 14 keys\n").is_ok());
        assert!(steps[0].compare("made 3 locks\n").is_err());
        assert!(steps[1].compare("").is_err());
        assert!(!is_alike("hello 0.1.0", "hello 0.2.0"));
    }
}
