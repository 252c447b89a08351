//! How commands are written: what `help` lists and what a wrong line is answered with.

use crate::error::CommandError;
use alloc::format;
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
pub const USAGES: [Usage; 31] = [
    Usage { form: "help", does: "this list" },
    Usage { form: "status", does: "the system at a glance" },
    Usage { form: "services", does: "services, their versions, states and restarts" },
    Usage { form: "ports", does: "ports, whose they are and who waits" },
    Usage {
        form: "caps <sandbox>",
        does: "what a sandbox, or a service's, holds, and what the policy denied it",
    },
    Usage { form: "connections", does: "TCP connections, listeners and UDP sockets" },
    Usage { form: "net", does: "address, lease and counters" },
    Usage { form: "memory", does: "every frame, by use" },
    Usage {
        form: "processor",
        does: "what of the processor is guaranteed to whom, each one's quota and priority, and what is free",
    },
    Usage { form: "modules", does: "modules, who signed them, and which files were refused and why" },
    Usage {
        form: "modules <name> [version]",
        does: "all that is known of each version, also of those that are only offered; what it is granted, and what it asked for and is denied",
    },
    Usage {
        form: "modules refresh",
        does: "look through the repository again; tells what is new, gone or refused",
    },
    Usage { form: "repository", does: "where modules are looked for" },
    Usage {
        form: "repository add <address>",
        does: "look there, too: http://10.0.2.2:8000/ (an IPv4 address; there is no resolver of names)",
    },
    Usage { form: "repository remove <address>", does: "do not look there any more" },
    Usage {
        form: "install <module> <version>",
        does: "start a module of the repository, now and at each boot",
    },
    Usage { form: "remove <service>", does: "end a service for good and take back all that it holds" },
    Usage {
        form: "update <service> <version> [watch=SECONDS] [share=THOUSANDTHS]",
        does: "replace a service by another version, and first what that one needs: while it serves if it can; the way back stays open for SECONDS, moving takes no more than THOUSANDTHS of the time",
    },
    Usage {
        form: "update <service> <version> --plan",
        does: "what an update would do: steps, order, reasons, authority; changes nothing",
    },
    Usage {
        form: "update <service> <version> restart",
        does: "the same for a service that cannot be replaced while it serves, said aloud: end it and start this version in its place; refused for one that can",
    },
    Usage { form: "update status", does: "the update under way, or the last one" },
    Usage { form: "abort", does: "give the update under way up, before the new version serves" },
    Usage { form: "rollback <service>", does: "back to the version before, and show the steps" },
    Usage { form: "commit", does: "keep the new version: end the time in which the way back is open" },
    Usage { form: "restart <service>", does: "stop a service and start it again" },
    Usage {
        form: "kill <service> [after=CALLS]",
        does: "freeze a service, as a crash would, now or at its CALLS-th call; the monitor brings it back",
    },
    Usage { form: "log [-f]", does: "the system's log; -f follows it until a key is pressed" },
    Usage { form: "audit [verify]", does: "the latest audit records; verify checks their chain" },
    Usage { form: "uptime", does: "how long the system has run, and the time" },
    Usage { form: "shutdown", does: "power off" },
    Usage { form: "reboot", does: "reset the machine" },
];

/// What a line that begins with this word, and is no command, is answered with.
pub(super) fn wrong(name: &str) -> CommandError {
    let known = USAGES.iter().map(|usage| usage.form).filter(|form| form.split(' ').next() == Some(name));
    let forms: Vec<&str> = known.collect();
    if forms.is_empty() {
        let name = crate::report::clean(name);
        let message = format!("there is no command `{name}`; help lists them all");
        return CommandError::new("unknown-command", message);
    }
    CommandError::new("usage", format!("wrong arguments; right is: {} [--json]", forms.join(", or: ")))
}
