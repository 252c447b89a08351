//! A running QEMU: started, watched, ended by its own handle, and what its exit status says about the guest.

use std::ffi::OsString;
use std::fmt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::qemu::{Machine, PROGRAM};

/// What the kernel writes to `isa-debug-exit` when it panics (`EXIT_PANIC` in `kernel/src/arch/acpi.rs`).
pub const PANIC_VALUE: i32 = 0x15;

/// How long a QEMU may take to end by itself after it was asked to.
const GRACE: Duration = Duration::from_secs(2);

/// Pause between two looks at a child: the standard library offers no wait with a deadline.
const LOOK: Duration = Duration::from_millis(10);

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The guest powered off (or was reset, where a reset ends QEMU).
    PowerOff,
    /// The kernel panicked.
    Panic,
    /// The guest wrote another value to the exit device.
    GuestExit(i32),
    /// QEMU refused to start or failed.
    QemuFailed(i32),
    /// QEMU was ended by a signal.
    Signal(i32),
}

impl Outcome {
    /// Reads an exit status. `isa-debug-exit` turns the guest's value `v` into the status `(v << 1) | 1`, so QEMU's own
    /// failure, 1, is the value 0, which the kernel never writes.
    #[must_use]
    pub fn from_status(status: ExitStatus) -> Self {
        match (status.code(), status.signal()) {
            (Some(0), _) => Self::PowerOff,
            (Some(code), _) if code > 1 && code & 1 == 1 => match code >> 1 {
                PANIC_VALUE => Self::Panic,
                value => Self::GuestExit(value),
            },
            (Some(code), _) => Self::QemuFailed(code),
            (None, signal) => Self::Signal(signal.unwrap_or(0)),
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PowerOff => f.write_str("the guest powered off"),
            Self::Panic => f.write_str("the kernel panicked"),
            Self::GuestExit(value) => write!(f, "the guest ended QEMU with the value {value:#x}"),
            Self::QemuFailed(code) => write!(f, "QEMU failed with status {code}"),
            Self::Signal(signal) => write!(f, "QEMU was ended by signal {signal}"),
        }
    }
}

/// A handle that can end a QEMU from another thread, for a test that hangs.
#[derive(Clone, Debug)]
pub struct Killer(Arc<Mutex<Child>>);

impl Killer {
    /// Ends the process at once if it still runs.
    pub fn kill(&self) {
        // An error means that it has ended already.
        let _ = lock(&self.0).kill();
    }
}

/// A QEMU that this process started. Dropping it ends it.
#[derive(Debug)]
pub struct Qemu {
    child: Arc<Mutex<Child>>,
}

impl Qemu {
    /// Starts `machine`, inside the network namespace `netns` if one is named. What QEMU itself has to say goes to the
    /// file `messages`. The process dies with the thread that called this, so that no crash of ours leaves it behind:
    /// call it from a thread that lives as long as the machine.
    pub fn start(machine: &Machine, netns: Option<&str>, messages: &Path) -> Result<Self> {
        let mut words: Vec<OsString> = Vec::new();
        if let Some(name) = netns {
            words.extend(["ip", "netns", "exec", name].map(OsString::from));
        }
        words.push(PROGRAM.into());
        words.extend(machine.args());
        let output = std::fs::File::create(messages)
            .with_context(|| format!("cannot write {}", messages.display()))?;
        let (program, args) = words.split_first().context("an empty command")?;
        let mut command = Command::new(program);
        command.args(args).stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
        // SAFETY: the closure runs in the forked child before exec and only makes one async-signal-safe system call.
        unsafe {
            command.pre_exec(|| Ok(nix::sys::prctl::set_pdeathsig(Signal::SIGKILL)?));
        }
        let child = command.spawn().with_context(|| format!("cannot start {}", program.display()))?;
        Ok(Self { child: Arc::new(Mutex::new(child)) })
    }

    /// A handle for another thread.
    #[must_use]
    pub fn killer(&self) -> Killer {
        Killer(Arc::clone(&self.child))
    }

    /// How it ended, if it did.
    pub fn ended(&self) -> Result<Option<Outcome>> {
        Ok(lock(&self.child).try_wait()?.map(Outcome::from_status))
    }

    /// Waits for its end.
    pub fn wait(&self, timeout: Duration) -> Result<Outcome> {
        let deadline = Instant::now() + timeout;
        loop {
            if let Some(outcome) = self.ended()? {
                return Ok(outcome);
            }
            if Instant::now() >= deadline {
                bail!("QEMU still runs after {timeout:?}");
            }
            std::thread::sleep(LOOK);
        }
    }

    /// The whole emulator stands still for so long, as on a host that is overloaded: the guest's clocks go on.
    pub fn stall(&self, length: Duration) -> Result<()> {
        self.signal(Signal::SIGSTOP)?;
        std::thread::sleep(length);
        self.signal(Signal::SIGCONT)
    }

    /// Sends a signal, unless it has ended.
    fn signal(&self, signal: Signal) -> Result<()> {
        // Locked, so that nobody reaps it and its number stays its own.
        let mut child = lock(&self.child);
        if child.try_wait()?.is_none() {
            kill(Pid::from_raw(i32::try_from(child.id())?), signal)?;
        }
        Ok(())
    }

    /// Ends it: politely, then by force.
    fn stop(&self) {
        let _ = self.signal(Signal::SIGTERM);
        if self.wait(GRACE).is_err() {
            let mut child = lock(&self.child);
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Drop for Qemu {
    fn drop(&mut self) {
        self.stop();
    }
}

/// A panic of another holder leaves a child handle as good as it was.
fn lock(child: &Mutex<Child>) -> MutexGuard<'_, Child> {
    child.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_statuses_tell_the_guests_word_from_qemus() {
        let outcome = |code: i32| Outcome::from_status(ExitStatus::from_raw(code << 8));
        assert_eq!(outcome(0), Outcome::PowerOff);
        assert_eq!(outcome(1), Outcome::QemuFailed(1));
        assert_eq!(outcome(0x2b), Outcome::Panic);
        assert_eq!(outcome(7), Outcome::GuestExit(3));
        assert_eq!(Outcome::from_status(ExitStatus::from_raw(9)), Outcome::Signal(9));
    }
}
