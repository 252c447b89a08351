//! The system as a whole: help, status, memory, uptime, log, and what was done.

use super::{Report, table::Table};
use crate::command::USAGES;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt::Write;
use serde::Serialize;
use time::OffsetDateTime;

/// `help`
#[derive(Clone, Debug, Serialize)]
pub struct Help {
    /// The commands.
    pub commands: Vec<HelpLine>,
}

/// One command of the help.
#[derive(Clone, Debug, Serialize)]
pub struct HelpLine {
    /// How it is written.
    pub usage: &'static str,
    /// What it does.
    pub does: &'static str,
}

impl Default for Help {
    fn default() -> Self {
        Self { commands: USAGES.iter().map(|u| HelpLine { usage: u.form, does: u.does }).collect() }
    }
}

/// Width of the help's first column; a longer form has a line of its own.
const FORM: usize = 28;

impl Report for Help {
    fn text(&self, out: &mut String) {
        for HelpLine { usage, does } in &self.commands {
            let _ = match usage.len() <= FORM {
                true => writeln!(out, "  {usage:FORM$}  {does}"),
                false => writeln!(out, "  {usage}\n  {:FORM$}  {does}", ""),
            };
        }
        out.push_str("Each takes --json: one JSON document on one line.\n");
    }
}

/// `status`
#[derive(Clone, Debug, Default, Serialize)]
pub struct Status {
    /// Version of the console, which is that of the system.
    pub version: String,
    /// Seconds since boot.
    pub uptime_seconds: u64,
    /// Services watched by the monitor.
    pub services: u64,
    /// Of these, at work.
    pub healthy: u64,
    /// Faults since boot.
    pub faults: u64,
    /// Restarts by the monitor since boot.
    pub restarts: u64,
    /// Liveness questions without an answer since boot.
    pub missed_answers: u64,
    /// Frames of memory.
    pub frames: u64,
    /// Free frames.
    pub free_frames: u64,
    /// Of these, frames that wait to be zeroed.
    pub dirty_frames: u64,
    /// Sandboxes.
    pub sandboxes: u64,
    /// Threads.
    pub threads: u64,
    /// Ports.
    pub ports: u64,
    /// Endpoints.
    pub endpoints: u64,
    /// Regions.
    pub regions: u64,
    /// Capabilities.
    pub capabilities: u64,
    /// System calls since boot.
    pub system_calls: u64,
    /// Interrupts since boot.
    pub interrupts: u64,
    /// Thread switches since boot.
    pub thread_switches: u64,
    /// Idle time since boot, per cent.
    pub idle_percent: u64,
    /// Audit records since boot.
    pub audit_records: u64,
    /// Audit records dropped by the rate cap.
    pub audit_dropped: u64,
    /// Whether an IOMMU confines devices to what their drivers map into them.
    pub dma_confined: bool,
    /// Accesses and interrupts of devices that it refused.
    pub dma_refused: u64,
    /// Whether a device raises its own interrupts and no other.
    pub interrupts_remapped: bool,
}

impl Report for Status {
    fn text(&self, out: &mut String) {
        let _ = writeln!(out, "HIC {}, up {}", self.version, duration(self.uptime_seconds));
        let _ = writeln!(
            out,
            "services    {} of {} healthy; {} faults, {} restarts, {} questions missed since boot",
            self.healthy, self.services, self.faults, self.restarts, self.missed_answers
        );
        let _ = writeln!(
            out,
            "memory      {} of {} frames free, {} of them not zeroed yet",
            self.free_frames, self.frames, self.dirty_frames
        );
        let _ = writeln!(
            out,
            "objects     {} sandboxes, {} threads, {} ports, {} endpoints, {} regions, {} capabilities",
            self.sandboxes, self.threads, self.ports, self.endpoints, self.regions, self.capabilities
        );
        let _ = writeln!(
            out,
            "since boot  {} system calls, {} interrupts, {} thread switches, {} % idle",
            self.system_calls, self.interrupts, self.thread_switches, self.idle_percent
        );
        let _ = writeln!(out, "audit       {} records, {} dropped", self.audit_records, self.audit_dropped);
        let _ = match self.dma_confined {
            true => writeln!(
                out,
                "dma         confined by an IOMMU, interrupts {}remapped, {} refusals",
                if self.interrupts_remapped { "" } else { "not " },
                self.dma_refused
            ),
            false => writeln!(out, "dma         not confined: devices reach all memory, drivers are trusted"),
        };
    }
}

/// `memory`. It holds only what returns to the same value when the same work is done again: a test compares it.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Memory {
    /// Bytes of a frame.
    pub frame_bytes: u64,
    /// Frames of usable memory.
    pub total: u64,
    /// Frames of the kernel, its table of all capability spaces included.
    pub kernel: u64,
    /// Frames of that table which accounts pay for: those of live capability spaces.
    pub capability_spaces: u64,
    /// Free frames.
    pub free: u64,
    /// Frames in use outside the kernel, as the kernel counts them as a whole.
    pub charged: u64,
    /// The accounts.
    pub accounts: Vec<Account>,
    /// Whether (kernel - capability spaces) + accounts + free = total.
    pub adds_up: bool,
}

/// One account.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Account {
    /// Its name.
    pub name: String,
    /// Frames charged to it, page tables included.
    pub frames: u64,
    /// Of these, page tables: they depend on where regions lie.
    pub page_tables: u64,
    /// How many it may have.
    pub frames_limit: u64,
    /// Kernel objects charged to it.
    pub objects: u64,
    /// How many it may have.
    pub objects_limit: u64,
}

/// Slots of a capability space for which an account pays one frame: a slot takes 64 bytes of the kernel's table.
pub const SLOTS_PER_FRAME: u64 = 64;

impl Memory {
    /// Adds everything up.
    #[must_use]
    pub fn checked(mut self) -> Self {
        let accounts: u64 = self.accounts.iter().map(|a| a.frames).sum();
        let outside = accounts.checked_sub(self.capability_spaces);
        let all = outside.map(|outside| self.kernel + outside + self.free);
        self.adds_up = outside == Some(self.charged) && all == Some(self.total);
        self
    }
}

impl Report for Memory {
    fn text(&self, out: &mut String) {
        let mut table = Table::new(["frames", "tables", "limit", "objects", "whose"]);
        let own = self.kernel.saturating_sub(self.capability_spaces);
        let total = |frames: u64, whose: &str| {
            [frames.to_string(), String::new(), String::new(), String::new(), whose.into()]
        };
        table.row(total(own, "the kernel"));
        for a in &self.accounts {
            let [frames, tables, limit, objects] =
                [a.frames, a.page_tables, a.frames_limit, a.objects].map(|n| n.to_string());
            table.row([frames, tables, limit, objects, super::clean(&a.name)]);
        }
        table.row(total(self.free, "free"));
        table.row(total(self.total, "all"));
        table.print(out);
        let sum = if self.adds_up { "adds up" } else { "DOES NOT ADD UP" };
        let _ =
            writeln!(out, "kernel + accounts + free = all: {sum}; a frame has {} bytes", self.frame_bytes);
    }
}

/// `uptime`
#[derive(Clone, Debug, Default, Serialize)]
pub struct Uptime {
    /// Seconds since boot.
    pub seconds: u64,
    /// The same in nanoseconds.
    pub nanoseconds: u64,
    /// Unix time in seconds, if there is a clock.
    pub unix_seconds: Option<u64>,
}

impl Report for Uptime {
    fn text(&self, out: &mut String) {
        let _ = write!(out, "up {}", duration(self.seconds));
        if let Some(unix) = self.unix_seconds {
            let _ = write!(out, ", it is {}", utc(unix));
        }
        out.push('\n');
    }
}

/// `log`
#[derive(Clone, Debug, Default, Serialize)]
pub struct Log {
    /// The latest lines, oldest first.
    pub lines: Vec<String>,
}

impl Report for Log {
    fn text(&self, out: &mut String) {
        for line in &self.lines {
            out.push_str(line);
            out.push('\n');
        }
        if self.lines.is_empty() {
            out.push_str("the log is empty\n");
        }
    }
}

/// `restart`, `kill`, `shutdown`, `reboot`
#[derive(Clone, Debug, Serialize)]
pub struct Done {
    /// What was done.
    pub done: &'static str,
    /// To which service.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// At which of its system calls from now on; `None`: at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<u64>,
}

impl Report for Done {
    fn text(&self, out: &mut String) {
        let _ = match (&self.service, self.after) {
            (Some(service), None) => writeln!(out, "{} {}: done", self.done, super::clean(service)),
            (Some(service), Some(calls)) => {
                writeln!(out, "{} {}: at its system call {calls} from now", self.done, super::clean(service))
            }
            (None, _) => writeln!(out, "{}", self.done),
        };
    }
}

/// Seconds as days, hours, minutes, seconds.
fn duration(seconds: u64) -> String {
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    let time = format!("{:02}:{:02}:{:02}", rest / 3600, rest / 60 % 60, rest % 60);
    if days > 0 { format!("{days} d {time}") } else { time }
}

/// Unix time in seconds as a date and time; as the number that it is, past the year 9999.
fn utc(unix: u64) -> String {
    let Some(date) = i64::try_from(unix).ok().and_then(|unix| OffsetDateTime::from_unix_timestamp(unix).ok())
    else {
        return format!("{unix} s after 1970-01-01 00:00:00 UTC");
    };
    let (hour, minute, second) = date.to_hms();
    format!("{} {hour:02}:{minute:02}:{second:02} UTC", date.date())
}

#[cfg(test)]
mod tests {
    use super::super::testing::both;
    use super::*;

    #[test]
    fn help_names_the_json_option() {
        let (json, text) = both(&Help::default());
        assert!(text.contains("caps <sandbox>") && text.contains("--json"));
        assert_eq!(json["commands"].as_array().map(Vec::len), Some(USAGES.len()));
        let column = text.lines().filter_map(|line| line.find("  this list"));
        assert_eq!(column.collect::<Vec<_>>(), [2 + FORM], "{text}");
    }

    #[test]
    fn memory_says_whether_every_frame_is_accounted_for() {
        let account = |frames| Account { name: "a".into(), frames, ..Account::default() };
        let memory = Memory {
            total: 100,
            kernel: 10,
            capability_spaces: 2,
            free: 62,
            charged: 28,
            accounts: alloc::vec![account(20), account(10)],
            ..Memory::default()
        };
        let (json, text) = both(&memory.clone().checked());
        assert!(json["adds_up"] == true && text.contains("adds up"));
        let kernel = text.lines().find(|line| line.ends_with("the kernel")).unwrap_or_default();
        assert!(kernel.starts_with("8 "), "what accounts pay for is theirs: {text}");
        let (json, text) = both(&Memory { free: 61, ..memory }.checked());
        assert!(json["adds_up"] == false && text.contains("DOES NOT"));
    }

    #[test]
    fn dates_are_those_of_the_calendar() {
        assert_eq!(utc(0), "1970-01-01 00:00:00 UTC");
        assert_eq!(utc(u64::MAX), "18446744073709551615 s after 1970-01-01 00:00:00 UTC");
        assert_eq!(utc(951_782_399), "2000-02-28 23:59:59 UTC");
        assert_eq!(utc(951_782_400), "2000-02-29 00:00:00 UTC");
        assert_eq!(utc(1_767_225_599), "2025-12-31 23:59:59 UTC");
        assert_eq!(duration(90_061), "1 d 01:01:01");
    }

    #[test]
    fn the_others_have_both_forms() {
        assert_eq!(both(&Status::default()).0["free_frames"], 0);
        assert_eq!(both(&Uptime { seconds: 61, ..Uptime::default() }).1, "up 00:01:01\n");
        assert_eq!(both(&Log::default()).1, "the log is empty\n");
        let done =
            |service: Option<&str>, after| Done { done: "kill", service: service.map(Into::into), after };
        assert_eq!(both(&done(Some("x"), None)).1, "kill x: done\n");
        assert_eq!(both(&done(Some("x"), Some(120))).1, "kill x: at its system call 120 from now\n");
        assert_eq!(both(&done(Some("x"), Some(120))).0["after"], 120);
        let (json, _) = both(&done(None, None));
        assert!(json.get("service").is_none() && json.get("after").is_none());
    }
}
