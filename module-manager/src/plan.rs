//! What an update would do, in words: which modules change, in which order, how, why, and what authority that gives or takes.
//!
//! A dry run: manifests and the policy's decisions come in, lines for an operator come out. Nothing here changes anything.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use hic_hicmod::manifest::{Manifest, PairError, Platform, Version, check_pair};
use hic_policy::{Decision, asked_pages};
use hic_resolve::{Candidate, Plan, Step, resolve};

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
    /// It ends, and the other version starts.
    Restart,
    /// It joins those that run.
    Install,
    /// Not while the system runs, for this reason.
    Offline(String),
}

impl How {
    fn text(&self, step: &Step<'_>) -> String {
        let (name, to) = (step.name, step.to);
        match self {
            Self::Live => "rolling update: it is replaced while it serves, and its clients go on".into(),
            Self::Restart => {
                format!("it ends and starts again in the new version: `update {name} {to} restart`")
            }
            Self::Install => format!("it starts beside the others: `install {name} {to}`"),
            Self::Offline(reason) => format!("NOT POSSIBLE while the system runs: {reason}"),
        }
    }
}

/// How a module comes from one version to another.
#[must_use]
pub fn how(from: Option<&Manifest>, to: &Manifest) -> How {
    let Some(from) = from else { return How::Install };
    match check_pair(from, to) {
        Ok(()) => How::Live,
        Err(PairError::NotUpdatable { .. }) if from.devices.is_empty() && to.devices.is_empty() => {
            How::Restart
        }
        Err(PairError::NotUpdatable { .. }) => How::Offline(
            "it drives a device; put the new version into the boot archive and restart the machine".into(),
        ),
        Err(error) => How::Offline(error.to_string()),
    }
}

impl<'a> Known<'a> {
    fn plan(&self, name: &'a str, version: Version) -> Result<Plan<'a>, String> {
        let candidates = |list: &[&'a Manifest]| list.iter().map(|m| Candidate::from(*m)).collect::<Vec<_>>();
        let (installed, available) = (candidates(self.installed), candidates(self.available));
        resolve(&installed, &available, &self.platform, (name, version))
            .map_err(|problem| format!("{}: {problem}", problem.code()))
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
                lines.push(format!("  how: {}", how(from, to).text(step)));
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
    for denied in &decision.denied {
        let essential = if denied.is_essential() { "it does not start without" } else { "it works without" };
        lines.push(format!("  denied by the policy: {denied}; {essential}"));
    }
}

/// What a manifest gives authority over, each as a few words.
fn things(manifest: &Manifest) -> Vec<String> {
    let mut things: Vec<String> = manifest.authority.iter().map(|a| a.name().to_string()).collect();
    things.extend(manifest.needs.iter().map(|need| format!("port to {}", need.service)));
    things.extend(manifest.provides.iter().map(|name| format!("service {name}")));
    things.extend(manifest.devices.iter().flat_map(|device| &device.ids).map(|id| format!("device {id}")));
    things.extend(manifest.ioports.iter().map(|r| format!("{} I/O ports from {:#x}", r.len, r.base)));
    things.extend(manifest.irqs.iter().map(|irq| format!("interrupt {irq}")));
    things.push(format!("{} pages of memory", asked_pages(manifest)));
    things.push(format!("priority {}", manifest.priority));
    things
}

#[cfg(test)]
mod tests {
    use super::*;
    use hic_hicmod::manifest::update::Update;
    use hic_hicmod::manifest::{Authority, Dependency, Device, Kind, PciId, Requirement, Span};
    use hic_policy::{Allowed, decide};

    const PLATFORM: Platform = Platform { abi: 1, ipc_lib: Version::new(2, 0, 0) };

    fn module(name: &str, minor: u32) -> Manifest {
        let mut manifest = Manifest::least(name.parse().unwrap(), Version::new(1, minor, 0), Kind::Service);
        manifest.heap_pages = 10;
        manifest
    }

    fn live(mut manifest: Manifest) -> Manifest {
        let tested_with = [2, 3].map(|minor| Version::new(1, minor, 0));
        let tested_with = tested_with.into_iter().filter(|v| *v != manifest.version).collect();
        let protocols = Span::default();
        manifest.update = Some(Update { schema: 1, readable_by: 1, reads: 1, tested_with, protocols });
        manifest
    }

    fn driver(minor: u32) -> Manifest {
        let mut manifest = module("eth_driver", minor);
        let id = PciId { vendor: 0x1af4, device: 0x1041 };
        manifest.kind = Kind::Driver;
        manifest.devices.push(Device { ids: [id].into_iter().collect(), dma_pages: 0 }).unwrap();
        manifest
    }

    fn needing(mut manifest: Manifest, module: &str, from: Version) -> Manifest {
        let version = Requirement::new(from, None).unwrap();
        manifest.dependencies.push(Dependency { module: module.parse().unwrap(), version }).unwrap();
        manifest
    }

    fn all(manifest: &Manifest) -> Decision {
        Decision { granted: manifest.clone(), denied: Default::default() }
    }

    #[test]
    fn a_plan_shows_order_way_reason_and_what_changes_in_authority() {
        let (old, driver_old, driver_new) = (live(module("netstack", 2)), driver(1), driver(2));
        let mut new = needing(live(module("netstack", 3)), "eth_driver", Version::new(1, 2, 0));
        new.authority.push(Authority::Entropy).unwrap();
        let known =
            Known { installed: &[&driver_old, &old], available: &[&new, &driver_new], platform: PLATFORM };
        let lines = known.describe("netstack", Version::new(1, 3, 0), &all).unwrap();
        assert_eq!(
            lines,
            [
                "step 1 of 2: eth_driver 1.1.0 -> 1.2.0",
                "  why: netstack 1.3.0 needs eth_driver >=1.2.0",
                "  how: NOT POSSIBLE while the system runs: it drives a device; put the new version into the boot archive and \
                 restart the machine",
                "  authority: as before",
                "step 2 of 2: netstack 1.2.0 -> 1.3.0",
                "  why: it was asked for",
                "  how: rolling update: it is replaced while it serves, and its clients go on",
                "  needs: eth_driver >=1.2.0",
                "  authority: + entropy",
            ]
        );
        let error = known.can_go_alone("netstack", Version::new(1, 3, 0)).unwrap_err();
        assert!(
            error.starts_with(
                "needs-first: eth_driver must come to 1.2.0 first, now 1.1.0: netstack 1.3.0 needs"
            ),
            "{error}"
        );
        assert_eq!(known.can_go_alone("eth_driver", Version::new(1, 2, 0)), Ok(()));
    }

    #[test]
    fn what_the_policy_denies_is_in_the_plan_and_whether_the_module_starts_without() {
        let old = module("hello", 1);
        let mut new = module("hello", 2);
        new.authority = [Authority::Clock, Authority::Power].into_iter().collect();
        new.optional_authority = [Authority::Power].into_iter().collect();
        let known = Known { installed: &[&old], available: &[&new], platform: PLATFORM };
        let policy = Allowed {
            authority: [Authority::Clock].into_iter().collect(),
            memory_pages: 11,
            priority: 31,
            ..Allowed::NOTHING
        };
        let lines = known.describe("hello", Version::new(1, 2, 0), &|m| decide(m, &policy)).unwrap();
        assert!(lines.contains(&"  authority: + clock".into()), "{lines:?}");
        assert!(
            lines.contains(&"  denied by the policy: authority power; it works without".into()),
            "{lines:?}"
        );
        assert!(lines.contains(
            &"  how: it ends and starts again in the new version: `update hello 1.2.0 restart`".into()
        ));
    }

    #[test]
    fn what_has_no_plan_is_told_with_its_code() {
        let old = module("hello", 1);
        let new = needing(module("hello", 2), "nobody", Version::new(1, 0, 0));
        let known = Known { installed: &[&old], available: &[&new], platform: PLATFORM };
        let error = known.can_go_alone("hello", Version::new(1, 2, 0)).unwrap_err();
        assert!(error.starts_with("dependency-conflict: hello 1.2.0 needs nobody >=1.0.0"), "{error}");
        let same = known.describe("hello", Version::new(1, 1, 0), &all).unwrap();
        assert_eq!(same, ["hello 1.1.0 is installed, and all that it needs is there"]);
    }
}
