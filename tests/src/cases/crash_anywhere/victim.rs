//! Who is killed, how the death is ordered, and how one sees that it happened.

use std::time::Duration;

use anyhow::{Result, ensure};

use super::super::service::until;
use super::super::updating::{Instance, NEW, OLD, SERVICE, Status, ask, instances};
use crate::vm::Console;

/// Somebody who has a part in an update.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Victim {
    OldInstance,
    NewInstance,
    Driver,
    Manager,
    Monitor,
}

/// What was seen of a victim beforehand.
#[derive(Clone, Debug)]
pub(super) struct Seen(Vec<Instance>);

impl Victim {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::OldInstance, Self::NewInstance, Self::Driver, Self::Manager, Self::Monitor];

    /// What `kill` calls it.
    pub fn name(self) -> String {
        match self {
            Self::OldInstance => format!("{SERVICE}@{OLD}"),
            Self::NewInstance => format!("{SERVICE}@{NEW}"),
            other => other.service().to_owned(),
        }
    }

    fn service(self) -> &'static str {
        match self {
            Self::OldInstance | Self::NewInstance => SERVICE,
            Self::Driver => "eth_driver",
            Self::Manager => "module-manager",
            Self::Monitor => "monitor",
        }
    }

    /// Whether it is there before the update begins.
    pub fn exists_beforehand(self) -> bool {
        self != Self::NewInstance
    }

    /// Whether the report of an update tells of its death; the module manager does not hear of the monitor's.
    pub fn is_in_the_report(self) -> bool {
        self != Self::Monitor
    }

    /// Looks at it, alive.
    pub fn look(self, console: &Console<'_>) -> Result<Seen> {
        let all = instances(console, self.service())?;
        ensure!(all.iter().all(|one| one.at_work), "{} is not at work: {all:?}", self.name());
        Ok(Seen(all))
    }

    /// Orders its death at its `calls`th system call from now.
    pub fn arm(self, console: &Console<'_>, calls: u64) -> Result<()> {
        let order = ask(console, &format!("kill {} after={calls}", self.name()));
        match self {
            // Whoever takes the order may be the one who dies over it, before he can answer.
            Self::Manager => Ok(()),
            _ => order.map(drop),
        }
    }

    /// As [`Self::arm`], as soon as there is somebody to kill. The update may be over before that is noticed.
    pub fn arm_when_it_exists(self, console: &Console<'_>, calls: u64, limit: Duration) -> Result<()> {
        until(limit, || {
            let armed = self.arm(console, calls);
            if armed.is_err() && super::super::updating::status(console).is_ok_and(|status| !status.running) {
                return Ok(());
            }
            armed
        })
    }

    /// Whether it was started again since it was `seen`: asked while the update runs, since an instance that died, did its part
    /// all the same and is then taken away leaves no other trace.
    pub fn restarted(self, console: &Console<'_>, seen: &Seen) -> Result<bool> {
        Ok(self.restarts(&Seen(instances(console, self.service())?)) > self.restarts(seen))
    }

    fn restarts(self, seen: &Seen) -> u64 {
        seen.0.iter().filter(|one| self.is(one)).map(|one| one.restarts).sum()
    }

    /// Whether it has died since it was `seen`; `status` is how the update ended. An error while it is not at work again.
    pub fn was_hit(self, console: &Console<'_>, seen: &Seen, status: &Status) -> Result<bool> {
        let now = self.look(console)?;
        Ok(self.has_died(seen, &now, status))
    }

    fn has_died(self, seen: &Seen, now: &Seen, status: &Status) -> bool {
        let again = self.restarts(now) > self.restarts(seen);
        match self {
            // Nobody else dies here, so a rollback or a reason says that it did.
            Self::OldInstance => again || !status.reason.is_empty(),
            Self::NewInstance => again || status.outcome == "rolled-back" || !status.reason.is_empty(),
            _ => {
                let serial = |seen: &Seen| seen.0.first().map(|one| one.sandbox);
                again || serial(now) != serial(seen)
            }
        }
    }

    /// Takes back a death that did not come in time, so that it does not befall the next update: by a death right now.
    pub fn defuse(self, console: &Console<'_>, limit: Duration) -> Result<()> {
        let gone = |all: &[Instance]| !all.iter().any(|one| self.is(one));
        if gone(&instances(console, self.service())?) {
            return Ok(());
        }
        // The manager's own death may keep it from answering.
        let _ = console.json(&format!("kill {} --json", self.name()))?;
        until(limit, || self.look(console).map(drop))
    }

    fn is(self, instance: &Instance) -> bool {
        match self {
            Self::OldInstance => instance.version == OLD,
            Self::NewInstance => instance.version == NEW,
            _ => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(version: &str, sandbox: u64, restarts: u64) -> Seen {
        Seen(vec![Instance { version: version.to_owned(), at_work: true, sandbox, restarts }])
    }

    fn both(old: u64, new: u64) -> Seen {
        Seen(seen(OLD, 5, old).0.into_iter().chain(seen(NEW, 9, new).0).collect())
    }

    fn status(outcome: &str, reason: &str) -> Status {
        Status { outcome: outcome.to_owned(), reason: reason.to_owned(), ..Status::default() }
    }

    #[test]
    fn a_death_is_seen_by_what_it_leaves_behind() {
        let (before, same, again) = (seen("1", 5, 0), seen("1", 5, 0), seen("1", 5, 1));
        let completed = status("completed", "");
        assert!(!Victim::Driver.has_died(&before, &same, &completed));
        assert!(Victim::Driver.has_died(&before, &again, &completed));
        assert!(Victim::Manager.has_died(&before, &seen("1", 9, 0), &completed), "another sandbox");
        assert!(Victim::NewInstance.has_died(&before, &same, &status("rolled-back", "instance-died")));
        assert!(!Victim::NewInstance.has_died(&before, &same, &completed));
        assert!(Victim::OldInstance.has_died(&both(0, 0), &both(1, 0), &completed));
        assert!(!Victim::OldInstance.has_died(&both(0, 0), &both(0, 1), &completed), "the other one");
        assert!(Victim::OldInstance.has_died(&same, &same, &status("completed", "instance-died")));
    }
}
