//! What an update would do, in words: which modules change, in which order, how, why, and what authority that gives or takes.
//!
//! A dry run: manifests and the policy's decisions come in, lines for an operator come out. Nothing here changes anything.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

use hic_control::manager::Percent;
use hic_hicmod::manifest::{Exchange, Manifest, PairError, Platform, Requirement, Version, check_pair};
use hic_policy::{Decision, asked_pages};
use hic_resolve::{Candidate, Link, Need, Plan, Problem, Step, Stuck, resolve};

use crate::describe::denials;
use crate::rollout::Leg;

/// What there is.
#[derive(Clone, Copy, Debug)]
pub struct Known<'a> {
    /// The modules that run.
    pub installed: &'a [&'a Manifest],
    /// The modules that can be had.
    pub available: &'a [&'a Manifest],
    /// What this system offers to all of them.
    pub platform: Platform,
}

/// How a step is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum How {
    /// While it serves.
    Live,
    /// The new image starts over what the old one holds.
    InPlace,
    /// It ends, and the other version starts.
    Restart,
    /// It joins those that run.
    Install,
    /// Not while the system runs, for this reason.
    Offline(String),
}

impl fmt::Display for How {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Live => f.write_str("rolling update: it is replaced while it serves, and its clients go on"),
            Self::InPlace => f.write_str(
                "in place: it stands still for a moment, and the new version goes on with what the old one holds; if that fails, the old one does",
            ),
            Self::Restart => f.write_str(
                "end and start: it ends, with its connections and what it keeps in memory, and the new version starts",
            ),
            Self::Install => f.write_str("it starts beside the others"),
            Self::Offline(reason) => write!(f, "NOT POSSIBLE while the system runs: {reason}"),
        }
    }
}

/// How a module comes from one version to another.
#[must_use]
pub fn how(from: Option<&Manifest>, to: &Manifest) -> How {
    let Some(from) = from else { return How::Install };
    match check_pair(from, to) {
        Ok(()) => match (from.exchange(), to.exchange()) {
            (Exchange::Rolling, Exchange::Rolling) => How::Live,
            (Exchange::InPlace, Exchange::InPlace) => in_place(from, to).map_or_else(How::Offline, |()| How::InPlace),
            _ => How::Offline("one of the two versions is a driver and the other is not".into()),
        },
        Err(PairError::NotUpdatable { .. }) if !from.devices.is_empty() || !to.devices.is_empty() => How::Offline(
            "it drives a device, and a manifest of the pair has no section [update], so nothing says that one version can go on with what the \
             other holds; put the new version into the boot archive and restart the machine"
                .into(),
        ),
        // What hands over its state is not ended for a version that would begin with nothing.
        Err(PairError::NotUpdatable { .. }) if from.update.is_none() => How::Restart,
        Err(error) => How::Offline(error.to_string()),
    }
}

/// Whether the image of `to` can go on with what an instance of `from` holds: its capabilities, state regions and devices stay where they are, so
/// both must have asked for the same. Give it what the policy grants.
///
/// # Errors
/// What differs, and what to do.
pub fn in_place(from: &Manifest, to: &Manifest) -> Result<(), String> {
    let same = [
        ("state_regions", from.state_regions == to.state_regions),
        ("devices", from.devices == to.devices),
        ("ioports", from.ioports == to.ioports),
        ("irqs", from.irqs == to.irqs),
        ("provides", from.provides == to.provides),
        ("needs", from.needs == to.needs),
        ("authority", from.authority == to.authority),
        ("cspace_slots", from.cspace_slots == to.cspace_slots),
        ("account_pages", from.account_pages == to.account_pages),
        ("priority", from.priority == to.priority),
        ("cpu, budget_us or period_us", {
            (from.cpu, from.budget_us, from.period_us) == (to.cpu, to.budget_us, to.period_us)
        }),
    ];
    match same.into_iter().find(|(_, same)| !same) {
        None => Ok(()),
        Some((field, _)) => Err(format!(
            "{} {} and {} differ in {field}, and what a driver holds stays as it is when it is exchanged; put the new version into the boot \
             archive and restart the machine",
            to.name, from.version, to.version
        )),
    }
}

impl<'a> Known<'a> {
    fn resolve(&self, name: &'a str, version: Version) -> Result<Plan<'a>, Problem<'a>> {
        let candidates = |list: &[&'a Manifest]| list.iter().map(|m| Candidate::from(*m)).collect::<Vec<_>>();
        let (installed, available) = (candidates(self.installed), candidates(self.available));
        resolve(&installed, &available, &self.platform, (name, version))
    }

    fn plan(&self, name: &'a str, version: Version) -> Result<Plan<'a>, String> {
        self.resolve(name, version).map_err(|problem| format!("{}: {problem}", problem.code()))
    }

    /// What there is no plan for want of: the module, and the versions of it that would do. Somebody who is not asked here may have one.
    #[must_use]
    pub fn lacking(&self, name: &'a str, version: Version) -> Option<(&'a str, Requirement)> {
        let Err(Problem::Conflict { links }) = self.resolve(name, version) else { return None };
        let Link { need: Need::Module(module, versions), stuck, .. } = *links.last()? else { return None };
        // One that was decided on is there.
        (!matches!(stuck, Stuck::Decided(_))).then_some((module, versions))
    }

    fn find(&self, name: &str, version: Version) -> Option<&'a Manifest> {
        let all = self.installed.iter().chain(self.available);
        all.copied().find(|manifest| manifest.name == name && manifest.version == version)
    }

    /// Whether this module can come to this version by itself.
    ///
    /// # Errors
    /// `code: sentence`: why it cannot at all, or what must be changed first.
    pub fn can_go_alone(&self, name: &'a str, version: Version) -> Result<(), String> {
        let plan = self.plan(name, version)?;
        let Some(first) = plan.steps.iter().find(|step| step.name != name) else { return Ok(()) };
        let Step { name: other, to, why, .. } = first;
        let from = first.from.map_or("which is not installed".into(), |from| format!("now {from}"));
        Err(format!(
            "needs-first: {other} must come to {to} first, {from}: {why}; `update {name} {version} --plan` shows every step"
        ))
    }

    /// The steps by which this module comes to this version, in their order.
    ///
    /// # Errors
    /// `code: sentence`: why there is no way, or which step cannot be made while the system runs.
    pub fn legs(&self, name: &'a str, version: Version) -> Result<Vec<Leg>, String> {
        let plan = self.plan(name, version)?;
        plan.steps.iter().map(|step| self.leg(step)).collect()
    }

    fn leg(&self, step: &Step<'a>) -> Result<Leg, String> {
        let Step { name, from, to, why } = step;
        let from_manifest = from.and_then(|from| self.find(name, from));
        let to_manifest = self
            .find(name, *to)
            .ok_or_else(|| format!("unknown-module: {name} {to} is not there any more"))?;
        match how(from_manifest, to_manifest) {
            How::Offline(reason) => {
                let from = from.map_or("new".into(), |from| from.to_string());
                Err(format!("not-possible: {name} {from} -> {to} ({why}): {reason}"))
            }
            how => Ok(Leg { name: to_manifest.name.clone(), from: *from, to: Some(*to), how }),
        }
    }

    /// Every step on the way of this module to this version.
    ///
    /// # Errors
    /// `code: sentence`: why there is no way.
    pub fn describe(
        &self,
        name: &'a str,
        version: Version,
        decide: &dyn Fn(&Manifest) -> Decision,
    ) -> Result<Vec<String>, String> {
        let plan = self.plan(name, version)?;
        let mut lines = Vec::new();
        if plan.steps.is_empty() {
            lines.push(format!("{name} {version} is installed, and all that it needs is there"));
        }
        let count = plan.steps.len();
        for (number, step) in plan.steps.iter().enumerate() {
            let from = step.from.map_or("new".into(), |from| from.to_string());
            lines.push(format!("step {} of {count}: {} {from} -> {}", number + 1, step.name, step.to));
            lines.push(format!("  why: {}", step.why));
            let from = step.from.and_then(|from| self.find(step.name, from));
            if let Some(to) = self.find(step.name, step.to) {
                lines.push(format!("  how: {}", how(from, to)));
                self.needs(to, &mut lines);
                authority(from, to, decide, &mut lines);
            }
        }
        Ok(lines)
    }

    fn needs(&self, to: &Manifest, lines: &mut Vec<String>) {
        let dependencies = to.dependencies.iter().map(|d| format!("{} {}", d.module, d.version));
        let needs: Vec<String> =
            dependencies.chain(to.interfaces.needs.iter().map(ToString::to_string)).collect();
        if !needs.is_empty() {
            lines.push(format!("  needs: {}", needs.join(", ")));
        }
    }
}

/// What of the authority that is granted changes from one version to the next, and what is asked for and denied.
fn authority(
    from: Option<&Manifest>,
    to: &Manifest,
    decide: &dyn Fn(&Manifest) -> Decision,
    lines: &mut Vec<String>,
) {
    let decision = decide(to);
    let before = from.map(|from| things(&decide(from).granted)).unwrap_or_default();
    let after = things(&decision.granted);
    let gained = after.iter().filter(|thing| !before.contains(thing)).map(|thing| format!("+ {thing}"));
    let lost = before.iter().filter(|thing| !after.contains(thing)).map(|thing| format!("- {thing}"));
    let changes: Vec<String> = gained.chain(lost).collect();
    lines.push(match (changes.is_empty(), from) {
        (true, Some(_)) => "  authority: as before".into(),
        (true, None) => "  authority: none".into(),
        (false, _) => format!("  authority: {}", changes.join(", ")),
    });
    for denied in denials(&decision) {
        lines.push(format!("  denied by the policy: {denied}"));
    }
}

/// What a manifest gives authority over, each as a few words.
#[must_use]
pub fn things(manifest: &Manifest) -> Vec<String> {
    let mut things: Vec<String> = manifest.authority.iter().map(|a| a.name().to_string()).collect();
    things.extend(manifest.needs.iter().map(|need| format!("port to {}", need.service)));
    things.extend(manifest.provides.iter().map(|name| format!("service {name}")));
    things.extend(manifest.devices.iter().flat_map(|device| &device.ids).map(|id| format!("device {id}")));
    things.extend(manifest.ioports.iter().map(|r| format!("{} I/O ports from {:#x}", r.len, r.base)));
    things.extend(manifest.irqs.iter().map(|irq| format!("interrupt {irq}")));
    things.push(format!("{} pages of memory", asked_pages(manifest)));
    things.push(format!("priority {}", manifest.priority));
    if manifest.guarantee() != 0 {
        things.push(format!("{} of the processor", Percent(manifest.guarantee())));
    }
    things
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
