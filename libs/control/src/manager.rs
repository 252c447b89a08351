//! Requests to the module manager.

use core::fmt;
use hic_abi::Plain;

/// Word 0 = index; answers a [`ServiceInfo`] inline. [`crate::Refusal::NotFound`] beyond the last.
pub const LIST: u32 = 1;
/// Names are `service`, for the instance that callers reach, or `service@version`.
///
/// Inline = name: stop the service if it runs and start it again over its state.
pub const RESTART: u32 = 2;
/// Inline = name, word 0 = calls: freeze the service, as a crash would, at its `calls`th system call from now (0 = at once); the monitor
/// brings it back.
pub const KILL: u32 = 3;
/// Word 0 = index of a service whose sandbox froze, words 1 to 3 = cause, detail and address of its fault (0 if unknown): start it again if its
/// policy says so. For the monitor.
pub const REVIVE: u32 = 4;
/// Word 0 = index, word 1 = serial number of its sandbox, word 2 = how often it was started again: so it has answered the liveness question. For the
/// monitor, once for each start.
pub const ANSWERED: u32 = 33;
/// Word 0 = index; answers a port to the service's first endpoint as capability 0. For the monitor's liveness question.
pub const HEALTH_PORT: u32 = 5;

/// Inline = service and version, divided by a space; word 0 = seconds of the rollback window + 1, word 1 = thousandths of the time that moving may
/// take, at most [`WHOLE_SHARE`] (each 0 = as the policy has it): replace the service by that version. Answers at once. Word 0 = 0: it is one
/// rolling update, and [`UPDATE_STATUS`] and the log tell how it goes on; else it is a plan, the number of its task, and [`TASK`] tells. [`crate::Refusal::Refused`] with the reason inline: `code: sentence`.
pub const UPDATE: u32 = 6;
/// Answers an [`UpdateInfo`] inline: the update under way, or the last one. [`crate::Refusal::NotFound`] if there was none.
pub const UPDATE_STATUS: u32 = 7;
/// Word 0 = index; answers a line of the update's report inline. [`crate::Refusal::NotFound`] beyond the last.
pub const UPDATE_LINE: u32 = 8;
/// Give the update under way up; only before the switch. [`crate::Refusal::Refused`] as with [`UPDATE`].
pub const ABORT: u32 = 9;
/// Inline = service: back to the version before; in the update under way, or by a new one. Otherwise as [`UPDATE`].
pub const ROLLBACK: u32 = 10;
/// End the rollback window of the update under way now. [`crate::Refusal::Refused`] as with [`UPDATE`].
pub const COMMIT: u32 = 11;
/// Word 0 = index; answers a [`ModuleInfo`] inline. [`crate::Refusal::NotFound`] beyond the last.
pub const MODULES: u32 = 12;
/// Look through the repository again. Answers at once; word 0 = 1 while there are files that were not looked at yet.
pub const SCAN: u32 = 13;

/// Inline = name and version, divided by a space: start this module, now and at each boot. Answers at once; word 0 = the number of the task, and
/// [`TASK`] and the log tell how it goes on. [`crate::Refusal::Refused`] as with [`UPDATE`].
pub const INSTALL: u32 = 20;
/// Inline = name: end this service, now and for good. Otherwise as [`INSTALL`].
pub const REMOVE: u32 = 21;
/// Inline = name and version, divided by a space: end this service and start this version in its place; nothing passes from one to the other.
/// Otherwise as [`INSTALL`].
pub const REPLACE: u32 = 22;
/// Look through the repository again, at what was refused too, and tell what changed. Otherwise as [`INSTALL`].
pub const REFRESH: u32 = 23;
/// Answers a [`TaskInfo`] inline: the task under way, or the last one. [`crate::Refusal::NotFound`] if there was none.
pub const TASK: u32 = 24;
/// Word 0 = index; answers a line of the task's report inline. [`crate::Refusal::NotFound`] beyond the last.
pub const TASK_LINE: u32 = 25;

/// Word 0 = index; answers the address of a repository on the network inline. [`crate::Refusal::NotFound`] beyond the last.
pub const SOURCE: u32 = 26;
/// Inline = address: look for modules in this repository, too, now and after each boot. Otherwise as [`INSTALL`].
pub const SOURCE_ADD: u32 = 27;
/// Inline = address: do not look there any more. Otherwise as [`INSTALL`].
pub const SOURCE_REMOVE: u32 = 28;

/// Inline = service and version, divided by a space: tell what an update to that version would do, in the lines of the task; changes nothing.
/// Otherwise as [`INSTALL`].
pub const PLAN: u32 = 30;

/// Inline = name and version, divided by a space; word 0 = index: answers inline, as `what: text`, a line of what this module is, is granted and is
/// denied. [`crate::Refusal::NotFound`] beyond the last line, and for a module that is not in memory.
pub const MODULE_LINE: u32 = 31;
/// Word 0 = index, word 1 = serial number of a sandbox: answers inline what the service in it asked for and was denied.
/// [`crate::Refusal::NotFound`] beyond the last.
pub const DENIED: u32 = 32;

/// What an operator asked for that takes a while: [`INSTALL`] and the like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct TaskInfo {
    /// Another one for each task, also after the module manager was started again.
    pub number: u64,
    /// 1 while it is under way.
    pub running: u64,
    /// 1 if it came to a good end.
    pub done: u64,
    /// What came of it; of one that failed `code: sentence`.
    pub text: [u8; 448],
}

// SAFETY: `repr(C)`, three words and 448 bytes, no padding.
unsafe impl Plain for TaskInfo {}

/// An update, as [`UPDATE_STATUS`] answers. Times in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct UpdateInfo {
    /// Name of the service.
    pub service: [u8; 32],
    /// Version that served when it began.
    pub from: [u8; 16],
    /// Version that is to serve.
    pub to: [u8; 16],
    /// Name of the step: `migrate`, `watch`, `done`.
    pub step: [u8; 32],
    /// How it ended: `completed`, `rolled-back`, `refused`; empty while it runs.
    pub outcome: [u8; 32],
    /// Code of the reason of a rollback or a refusal; empty without one.
    pub reason: [u8; 32],
    /// 1 while it runs.
    pub running: u64,
    /// Number of the step, from 1, of `steps`.
    pub step_number: u64,
    /// Steps of the way forward.
    pub steps: u64,
    /// Items (connections, listeners, sockets) that the service had.
    pub total: u64,
    /// Items moved so far.
    pub moved: u64,
    /// Items given up.
    pub lost: u64,
    /// Batches so far.
    pub batches: u64,
    /// Longest time that one item was not served.
    pub longest_freeze: u64,
    /// Mean of these times.
    pub mean_freeze: u64,
    /// Time during which new callers were not served.
    pub downtime: u64,
    /// Thousandths of the time that moving may take.
    pub share: u64,
    /// Time that moving took so far.
    pub moving: u64,
    /// When it began, monotonic.
    pub began: u64,
    /// When it ended, monotonic; 0 while it runs.
    pub ended: u64,
}

/// The share of moving that is all of the time: its unit is the thousandth.
pub const WHOLE_SHARE: u64 = 1000;

/// What of the processor may be guaranteed to services, together, thousandths. The rest is for those who have no guarantee: Core-0, the keeper, the module
/// manager and the monitor, without whom no guarantee is kept.
pub const PROCESSOR_LIMIT: u64 = 950;

/// Thousandths, as people read them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Percent(pub u64);

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{} %", self.0 / 10, self.0 % 10)
    }
}

/// One module, as [`MODULES`] answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct ModuleInfo {
    /// Its name; of a refused one the name of its file.
    pub name: [u8; 64],
    /// Its version; empty for a refused one.
    pub version: [u8; 16],
    /// A [`ModuleState`] number.
    pub state: u64,
    /// A [`ModuleOrigin`] number.
    pub origin: u64,
    /// Instances that run it.
    pub instances: u64,
    /// 1 if its chain ends in a development root.
    pub development: u64,
    /// Bytes of its file; 0 for a refused one.
    pub bytes: u64,
    /// Its anti-rollback epoch.
    pub epoch: u64,
    /// The identifier of the release (RFC 9562); zero for a refused one.
    pub uuid: [u8; 16],
    /// SHA-384 of its content; of one that is only offered, of its file.
    pub digest: [u8; 48],
    /// Who signed it; of one that is only offered, who the list that names it says has signed it.
    pub signer: [u8; 64],
    /// Who publishes it, as its manifest says, or that list.
    pub publisher: [u8; 48],
    /// Why it was refused: code and sentence, divided by a colon.
    pub reason: [u8; 352],
    /// What it needs, in words.
    pub needs: [u8; 160],
    /// Of one that is offered, where the list was found that names it.
    pub source: [u8; 72],
}

/// Where a module is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum ModuleOrigin {
    /// In the boot archive.
    Archive = 1,
    /// On the repository disk.
    Disk = 2,
    /// It came over the network, or can be had there.
    Network = 3,
    /// It came over the network, and is kept on the system disk while it is installed.
    System = 4,
}

impl ModuleOrigin {
    /// The name printed on the console.
    #[must_use]
    pub const fn name(number: u64) -> &'static str {
        match number {
            1 => "archive",
            2 => "repository",
            3 => "network",
            4 => "system-disk",
            _ => "unknown",
        }
    }
}

/// What was found about a module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum ModuleState {
    /// Every check passed.
    Verified = 1,
    /// Nobody is there to verify it (an image without a verifier).
    Unverified = 2,
    /// A check failed: it cannot be started.
    Refused = 3,
    /// The signed list of a repository names it; it was not fetched, so nobody looked at its own signature yet.
    Offered = 4,
}

impl ModuleState {
    /// The name printed on the console.
    #[must_use]
    pub const fn name(number: u64) -> &'static str {
        match number {
            1 => "verified",
            2 => "unverified",
            3 => "refused",
            4 => "offered",
            _ => "unknown",
        }
    }
}

// SAFETY: `repr(C)`, 272 bytes of integers, no padding: 160 bytes of names, fourteen words.
unsafe impl Plain for UpdateInfo {}
// SAFETY: `repr(C)`, 856 bytes of integers, no padding: 80 bytes of names, six words, 728 bytes of names and digests.
unsafe impl Plain for ModuleInfo {}

/// What a service is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum ServiceState {
    /// Nothing is at this index (any more).
    Absent = 0,
    /// Its sandbox runs.
    Running = 1,
    /// Its sandbox is frozen and waits to be started again.
    Frozen = 2,
    /// It ended and its policy does not start it again.
    Stopped = 3,
}

impl ServiceState {
    /// The name printed on the console.
    #[must_use]
    pub const fn name(number: u64) -> &'static str {
        match number {
            0 => "absent",
            1 => "running",
            2 => "frozen",
            3 => "stopped",
            _ => "unknown",
        }
    }
}

/// One service, as [`LIST`] answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct ServiceInfo {
    /// Its name.
    pub name: [u8; 32],
    /// Its version.
    pub version: [u8; 16],
    /// A [`ServiceState`] number.
    pub state: u64,
    /// Serial number of its sandbox.
    pub serial: u64,
    /// How often it was started again.
    pub restarts: u64,
    /// Endpoints that it provides.
    pub endpoints: u64,
    /// Cause of its last fault ([`hic_abi::message::Fault`] number), 0 = none.
    pub last_cause: u64,
    /// Detail of its last fault.
    pub last_detail: u64,
    /// Part of the processor that is reserved for it, thousandths.
    pub guarantee: u64,
}

// SAFETY: `repr(C)`, 104 bytes of integers, 8-aligned, no padding (48 bytes of names are a multiple of 8).
unsafe impl Plain for ServiceInfo {}
