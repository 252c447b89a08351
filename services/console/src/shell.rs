//! One line: understood, carried out, answered.

use crate::gather::{Begun, Followed, Seen, Sources};
use crate::terminal::{Terminal, Woken};
use alloc::format;
use alloc::string::String;
use console::command::{Command, Request, parse};
use console::error::CommandError;
use console::report::follow::Follow;
use console::report::system::{Done, Help};
use console::report::{Report, clean, render};

/// An answer in the form that was asked for, or why there is none.
type Answer = Result<String, CommandError>;

/// Power-off and reset, as [`hic_abi::syscall::Syscall::Power`] numbers them.
const POWER_OFF: u64 = 0;
const RESET: u64 = 1;

/// The shell.
pub struct Shell {
    sources: Sources,
    version: &'static str,
}

impl Shell {
    /// A shell that asks these sources.
    pub fn new(sources: Sources, version: &'static str) -> Self {
        Self { sources, version }
    }

    /// Carries out a line and prints the answer.
    pub fn run(&mut self, line: &str, terminal: &mut Terminal) {
        let Some(Request { json, command }) = parse(line) else { return };
        let answer = command.and_then(|command| match command {
            Command::LogFollow => self.follow_log(terminal),
            Command::Update { service, version, policy } => {
                let begun = self.sources.update(&service, &version, policy)?;
                self.follow(begun, json, terminal)
            }
            Command::Rollback(service) => {
                let begun = self.sources.rollback(&service)?;
                self.follow(begun, json, terminal)
            }
            Command::Task(task) => {
                let followed = self.sources.begin_task(&task)?;
                self.follow_task(followed, json, terminal)
            }
            Command::Shutdown => self.end(POWER_OFF, "power off", json, terminal),
            Command::Reboot => self.end(RESET, "reset", json, terminal),
            command => self.answer(&command, json),
        });
        match answer {
            Ok(text) => terminal.print(&text),
            Err(error) => terminal.print(&error.render(json)),
        }
    }

    fn answer(&mut self, command: &Command, json: bool) -> Answer {
        let sources = &mut self.sources;
        match command {
            Command::Help => form(Ok(Help::default()), json),
            Command::Status => form(sources.status(self.version), json),
            Command::Services => form(sources.services(), json),
            Command::Ports => form(sources.ports(), json),
            Command::Caps(sandbox) => form(sources.caps(sandbox), json),
            Command::Connections => form(sources.connections(), json),
            Command::Net => form(sources.net(), json),
            Command::Memory => form(sources.memory(), json),
            Command::Processor => form(sources.processor(), json),
            Command::Modules => form(sources.modules(), json),
            Command::Module(name, version) => form(sources.versions(name, version.as_deref()), json),
            Command::Repository => form(sources.repository(), json),
            Command::UpdateStatus => form(sources.update_status(), json),
            Command::Abort => form(sources.abort(), json),
            Command::Commit => form(sources.commit(), json),
            Command::Restart(service) => form(sources.restart(service), json),
            Command::Kill { service, after } => form(sources.kill(service, *after), json),
            Command::Log => form(sources.log(), json),
            Command::Audit => form(sources.audit(), json),
            Command::AuditVerify => form(sources.verify(), json),
            Command::Uptime => form(Ok(sources.uptime()), json),
            // Carried out by `run`, since they need the terminal.
            Command::Task(_)
            | Command::Update { .. }
            | Command::Rollback(_)
            | Command::LogFollow
            | Command::Shutdown
            | Command::Reboot => Ok(String::new()),
        }
    }

    /// Prints log lines as they come, until a key is pressed.
    fn follow_log(&mut self, terminal: &mut Terminal) -> Answer {
        loop {
            let lines = self.sources.new_log_text()?;
            terminal.print(&lines);
            if terminal.key_or_log() == Woken::Key {
                return Ok(String::new());
            }
        }
    }

    /// A rolling update is shown as it goes; whoever wants a document asks for its status. A plan is waited for.
    fn follow(&mut self, begun: Begun, json: bool, terminal: &mut Terminal) -> Answer {
        match begun {
            Begun::Moving(_, started) if json => form(Ok(started), json),
            Begun::Moving(follow, _) => self.follow_update(follow, terminal),
            Begun::Planned(followed) => self.follow_task(followed, json, terminal),
        }
    }

    /// Prints the lines of an update's report as they come, until there is nothing more to wait for, or a key is pressed. The module manager
    /// logs every step, so news of the log are news of the update.
    fn follow_update(&mut self, mut follow: Follow, terminal: &mut Terminal) -> Answer {
        loop {
            let look = self.sources.look_at_update(&mut follow)?;
            terminal.print(&look.text);
            if let Some(end) = look.end {
                return end;
            }
            if terminal.key_or_log() == Woken::Key {
                return Ok("the update goes on; `update status` shows how far it is\n".into());
            }
        }
    }

    /// Prints the lines of a task's report as they come (in a document they come together), and waits for its end. The module manager
    /// logs that, so news of the log are news of the task.
    fn follow_task(&mut self, mut followed: Followed, json: bool, terminal: &mut Terminal) -> Answer {
        loop {
            let Seen { lines, end } = self.sources.look_at_task(&mut followed)?;
            for line in lines.iter().filter(|_| !json) {
                terminal.print(&format!("{}\n", clean(line)));
            }
            if let Some(end) = end {
                return form(end, json);
            }
            if terminal.key_or_log() == Woken::Key {
                let message = "it goes on; `log` and `services` show what comes of it";
                return Err(CommandError::new("not-waited-for", message));
            }
        }
    }

    /// Ends the system; comes back only when that is refused.
    fn end(&mut self, action: u64, done: &'static str, json: bool, terminal: &mut Terminal) -> Answer {
        let power = self.sources.power()?;
        terminal.print(&render(&Done { done, service: None, after: None }, json));
        terminal.flush();
        match hic_rt::sys::power(power, action) {
            Ok(()) => Ok(String::new()),
            Err(error) => Err(CommandError::call("the kernel", error)),
        }
    }
}

fn form<R: Report>(report: Result<R, CommandError>, json: bool) -> Answer {
    report.map(|report| render(&report, json))
}
