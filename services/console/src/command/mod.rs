//! What a line asks for.

mod usage;

use crate::error::CommandError;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::ops::RangeInclusive;
use hic_control::manager::WHOLE_SHARE;

use usage::wrong;
pub use usage::{USAGES, Usage};

/// Longest rollback window that can be asked for: a year. What is meant to be longer has no end, and that is the policy's to say.
const MAX_WATCH_SECONDS: u64 = 365 * 24 * 3600;

/// Which part of the time moving may take, thousandths.
const SHARE: RangeInclusive<u64> = 1..=WHOLE_SHARE;

/// The rules of an update that its operator sets; what is `None` is as the policy has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct PolicyOptions {
    /// Seconds of the rollback window.
    pub watch: Option<u64>,
    /// Thousandths of the time that moving may take.
    pub share: Option<u64>,
}

/// A command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// `help`
    Help,
    /// `status`
    Status,
    /// `services`
    Services,
    /// `ports`
    Ports,
    /// `caps <sandbox>`
    Caps(String),
    /// `connections`
    Connections,
    /// `net`
    Net,
    /// `memory`
    Memory,
    /// `processor`
    Processor,
    /// `modules`
    Modules,
    /// `modules <name> [version]`
    Module(String, Option<String>),
    /// `repository`
    Repository,
    /// What the module manager does while the console waits.
    Task(Task),
    /// `update <service> <version> [watch=SECONDS] [share=THOUSANDTHS]`
    Update {
        /// Which service.
        service: String,
        /// The version that is to serve.
        version: String,
        /// By which rules.
        policy: PolicyOptions,
    },
    /// `update status`
    UpdateStatus,
    /// `abort`
    Abort,
    /// `rollback <service>`
    Rollback(String),
    /// `commit`
    Commit,
    /// `restart <service>`
    Restart(String),
    /// `kill <service> [after=CALLS]`
    Kill {
        /// Which service, or which instance: `service@version`.
        service: String,
        /// System calls that it still makes; 0 = at once.
        after: u64,
    },
    /// `log`
    Log,
    /// `log -f`
    LogFollow,
    /// `audit`
    Audit,
    /// `audit verify`
    AuditVerify,
    /// `uptime`
    Uptime,
    /// `shutdown`
    Shutdown,
    /// `reboot`
    Reboot,
}

/// A task of the module manager.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Task {
    /// `modules refresh`
    Refresh,
    /// `install <module> <version>`
    Install(String, String),
    /// `remove <service>`
    Remove(String),
    /// `update <service> <version> restart`
    Replace(String, String),
    /// `update <service> <version> --plan`
    Plan(String, String),
    /// `repository add <address>`
    AddSource(String),
    /// `repository remove <address>`
    RemoveSource(String),
}

impl Task {
    /// What it is called in a document.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Refresh => "refresh",
            Self::Install(..) => "install",
            Self::Remove(_) => "remove",
            Self::Replace(..) => "update",
            Self::Plan(..) => "plan",
            Self::AddSource(_) => "repository-add",
            Self::RemoveSource(_) => "repository-remove",
        }
    }
}

/// A line that was understood, or why not, and in which form the answer is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// One JSON document on one line instead of text.
    pub json: bool,
    /// What to do.
    pub command: Result<Command, CommandError>,
}

/// Reads a line; `None` for one without words.
#[must_use]
pub fn parse(line: &str) -> Option<Request> {
    let mut words: Vec<&str> = line.split_ascii_whitespace().collect();
    let all = words.len();
    words.retain(|word| *word != "--json");
    let json = words.len() < all;
    let Some((name, arguments)) = words.split_first() else {
        return json.then(|| Request { json, command: Err(no_command()) });
    };
    Some(Request { json, command: command(name, arguments, json) })
}

fn command(name: &str, arguments: &[&str], json: bool) -> Result<Command, CommandError> {
    Ok(match (name, arguments) {
        ("help", []) => Command::Help,
        ("status", []) => Command::Status,
        ("services", []) => Command::Services,
        ("ports", []) => Command::Ports,
        ("caps", [sandbox]) => Command::Caps(sandbox.to_string()),
        ("connections", []) => Command::Connections,
        ("net", []) => Command::Net,
        ("memory", []) => Command::Memory,
        ("processor", []) => Command::Processor,
        ("modules", []) => Command::Modules,
        ("modules", ["refresh"]) => Command::Task(Task::Refresh),
        ("modules", [name]) => Command::Module(name.to_string(), None),
        ("modules", [name, version]) => Command::Module(name.to_string(), Some(version.to_string())),
        ("repository", []) => Command::Repository,
        ("repository", ["add", address]) => Command::Task(Task::AddSource(address.to_string())),
        ("repository", ["remove", address]) => Command::Task(Task::RemoveSource(address.to_string())),
        ("install", [module, version]) => {
            Command::Task(Task::Install(module.to_string(), version.to_string()))
        }
        ("remove", [service]) => Command::Task(Task::Remove(service.to_string())),
        ("update", ["status"]) => Command::UpdateStatus,
        ("update", [service, version, "restart"]) => {
            Command::Task(Task::Replace(service.to_string(), version.to_string()))
        }
        ("update", [service, version, "--plan"]) => {
            Command::Task(Task::Plan(service.to_string(), version.to_string()))
        }
        ("update", [service, version, options @ ..]) => update(service, version, policy(name, options)?),
        ("abort", []) => Command::Abort,
        ("rollback", [service]) => Command::Rollback(service.to_string()),
        ("commit", []) => Command::Commit,
        ("restart", [service]) => Command::Restart(service.to_string()),
        ("kill", [service]) => Command::Kill { service: service.to_string(), after: 0 },
        ("kill", [service, option]) => {
            let after = number(name, option, "after=", 0..=u64::MAX)?;
            Command::Kill { service: service.to_string(), after }
        }
        ("log", []) => Command::Log,
        ("log", ["-f"]) if json => {
            return Err(CommandError::new("usage", "log -f has no end, so no JSON document; use log --json"));
        }
        ("log", ["-f"]) => Command::LogFollow,
        ("audit", []) => Command::Audit,
        ("audit", ["verify"]) => Command::AuditVerify,
        ("uptime", []) => Command::Uptime,
        ("shutdown", []) => Command::Shutdown,
        ("reboot", []) => Command::Reboot,
        _ => return Err(wrong(name)),
    })
}

fn update(service: &str, version: &str, policy: PolicyOptions) -> Command {
    Command::Update { service: service.to_string(), version: version.to_string(), policy }
}

/// The options of an update, each at most once.
fn policy(command: &str, options: &[&str]) -> Result<PolicyOptions, CommandError> {
    let mut policy = PolicyOptions::default();
    for option in options {
        let (place, key, range) = match option.split_once('=') {
            Some(("watch", _)) => (&mut policy.watch, "watch=", 0..=MAX_WATCH_SECONDS),
            Some(("share", _)) => (&mut policy.share, "share=", SHARE),
            _ => return Err(wrong(command)),
        };
        if place.replace(number(command, option, key, range)?).is_some() {
            return Err(CommandError::new("usage", format!("`{key}` is there twice")));
        }
    }
    Ok(policy)
}

/// The number of an option `key=NUMBER`.
fn number(command: &str, option: &str, key: &str, range: RangeInclusive<u64>) -> Result<u64, CommandError> {
    let value = option.strip_prefix(key).ok_or_else(|| wrong(command))?;
    let parsed = value.parse().ok().filter(|number| range.contains(number));
    parsed.ok_or_else(|| {
        let (value, (least, most)) = (crate::report::clean(value), (range.start(), range.end()));
        CommandError::new("usage", format!("`{key}{value}`: a number from {least} to {most} is wanted"))
    })
}

fn no_command() -> CommandError {
    CommandError::new("usage", "--json alone asks for nothing; right is for example: status --json")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn good(line: &str) -> (Command, bool) {
        let request = parse(line).expect("words");
        (request.command.expect("a command"), request.json)
    }

    fn code(line: &str) -> String {
        parse(line).expect("words").command.expect_err("wrong").code.into()
    }

    #[test]
    fn every_form_of_the_help_is_a_command() {
        for usage in USAGES {
            let line = usage.form.replace("<sandbox>", "x").replace("<service>", "x");
            let line = line.replace("<module>", "x").replace("<version>", "1.3.0").replace("<address>", "x");
            let bare = line.split(" [").next().unwrap_or_default();
            good(bare);
            assert!(good(&std::format!("{bare} --json")).1);
        }
    }

    #[test]
    fn arguments_and_options_are_read() {
        assert_eq!(good("  caps   netstack "), (Command::Caps("netstack".into()), false));
        assert_eq!(good("--json audit verify"), (Command::AuditVerify, true));
        assert_eq!(good("log -f"), (Command::LogFollow, false));
    }

    #[test]
    fn an_update_names_service_version_and_maybe_its_rules() {
        let update = |watch, share| super::update("netstack", "1.3.0", PolicyOptions { watch, share });
        assert_eq!(good("update netstack 1.3.0"), (update(None, None), false));
        assert_eq!(good("update netstack 1.3.0 watch=0 --json"), (update(Some(0), None), true));
        assert_eq!(good("update netstack 1.3.0 share=1000"), (update(None, Some(1000)), false));
        assert_eq!(good("update netstack 1.3.0 share=1 watch=9"), (update(Some(9), Some(1)), false));
        assert_eq!(good("update status"), (Command::UpdateStatus, false));
        assert_eq!(good("rollback netstack"), (Command::Rollback("netstack".into()), false));
        assert_eq!(code("update netstack 1.3.0 watch=31536001"), "usage");
        for wrong in ["update", "update netstack", "update netstack 1.3.0 for=3", "update a b watch=1 c"] {
            let error = parse(wrong).expect("words").command.expect_err(wrong);
            let right =
                "update <service> <version> [watch=SECONDS] [share=THOUSANDTHS], or: update <service> ";
            assert!(error.message.contains(right));
            assert!(error.message.contains(" restart, or: update status"));
        }
        for wrong in ["share=0", "share=1001", "share=-1", "share=", "share=8 share=8", "watch=1 watch=2"] {
            assert_eq!(code(&std::format!("update netstack 1.3.0 {wrong}")), "usage", "{wrong}");
        }
        let error = parse("update netstack 1.3.0 share=1001").expect("words").command.expect_err("too much");
        assert_eq!(error.message, "`share=1001`: a number from 1 to 1000 is wanted");
    }

    #[test]
    fn tasks_name_a_module_and_its_version() {
        let task = |task| (Command::Task(task), false);
        assert_eq!(good("install hello 0.1.0"), task(Task::Install("hello".into(), "0.1.0".into())));
        assert_eq!(good("remove hello"), task(Task::Remove("hello".into())));
        assert_eq!(good("update hello 0.2.0 restart"), task(Task::Replace("hello".into(), "0.2.0".into())));
        assert_eq!(good("modules refresh"), task(Task::Refresh));
        assert_eq!(good("modules hello"), (Command::Module("hello".into(), None), false));
        let old = Command::Module("hello".into(), Some("0.1.0".into()));
        assert_eq!(good("modules hello 0.1.0"), (old, false));
        let address = "http://10.0.2.2:8000/";
        assert_eq!(good(&std::format!("repository add {address}")), task(Task::AddSource(address.into())));
        assert_eq!(
            good(&std::format!("repository remove {address}")),
            task(Task::RemoveSource(address.into()))
        );
        for wrong in [
            "install",
            "install a",
            "install a b c",
            "remove",
            "remove a b",
            "modules hello 0.1.0 now",
            "repository add",
        ] {
            assert_eq!(code(wrong), "usage", "{wrong}");
        }
    }

    #[test]
    fn a_kill_may_wait_for_a_number_of_calls() {
        let kill = |service: &str, after| (Command::Kill { service: service.into(), after }, false);
        assert_eq!(good("kill netstack"), kill("netstack", 0));
        assert_eq!(good("kill netstack@1.3.0 after=120"), kill("netstack@1.3.0", 120));
        for wrong in ["kill", "kill a b", "kill a after=", "kill a after=-1", "kill a after=1 b"] {
            assert_eq!(code(wrong), "usage", "{wrong}");
        }
    }

    #[test]
    fn wrong_lines_say_what_would_be_right() {
        assert_eq!(code("nonsense"), "unknown-command");
        assert_eq!(code("caps"), "usage");
        assert_eq!(code("restart a b"), "usage");
        assert_eq!(code("audit check"), "usage");
        assert_eq!(code("log -f --json"), "usage");
        assert_eq!(code("--json"), "usage");
        assert!(parse("   ").is_none());
    }

    proptest! {
        #[test]
        fn no_line_is_too_strange(line in any::<String>()) {
            if let Some(Request { command: Err(error), .. }) = parse(&line) {
                prop_assert_eq!(error.render(false).lines().count(), 1);
            }
        }
    }
}
