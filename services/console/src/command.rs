//! What a line asks for.

use crate::error::CommandError;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

/// One command and how it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// Its name and arguments.
    pub form: &'static str,
    /// What it does.
    pub does: &'static str,
}

/// All commands, in the order in which `help` lists them.
pub const USAGES: [Usage; 15] = [
    Usage { form: "help", does: "this list" },
    Usage { form: "status", does: "the system at a glance" },
    Usage { form: "services", does: "services, their versions, states and restarts" },
    Usage { form: "ports", does: "ports, whose they are and who waits" },
    Usage { form: "caps <sandbox>", does: "what a sandbox holds" },
    Usage { form: "connections", does: "TCP connections, listeners and UDP sockets" },
    Usage { form: "net", does: "address, lease and counters" },
    Usage { form: "memory", does: "every frame, by use" },
    Usage { form: "restart <service>", does: "stop a service and start it again" },
    Usage { form: "kill <service>", does: "freeze a service, as a crash would; the monitor brings it back" },
    Usage { form: "log [-f]", does: "the system's log; -f follows it until a key is pressed" },
    Usage { form: "audit [verify]", does: "the latest audit records; verify checks their chain" },
    Usage { form: "uptime", does: "how long the system has run, and the time" },
    Usage { form: "shutdown", does: "power off" },
    Usage { form: "reboot", does: "reset the machine" },
];

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
    /// `restart <service>`
    Restart(String),
    /// `kill <service>`
    Kill(String),
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
        ("restart", [service]) => Command::Restart(service.to_string()),
        ("kill", [service]) => Command::Kill(service.to_string()),
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

fn wrong(name: &str) -> CommandError {
    let known = USAGES.iter().find(|u| u.form.split(' ').next() == Some(name));
    match known {
        Some(usage) => {
            CommandError::new("usage", format!("wrong arguments; right is: {} [--json]", usage.form))
        }
        None => {
            let name = crate::report::clean(name);
            CommandError::new("unknown-command", format!("there is no command `{name}`; help lists them all"))
        }
    }
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

    fn code(line: &str) -> &'static str {
        parse(line).expect("words").command.expect_err("wrong").code
    }

    #[test]
    fn every_form_of_the_help_is_a_command() {
        for usage in USAGES {
            let line = usage.form.replace("<sandbox>", "x").replace("<service>", "x");
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
