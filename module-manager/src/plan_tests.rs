use super::*;
use hic_hicmod::manifest::update::Update;
use hic_hicmod::manifest::{Authority, Dependency, Device, Kind, PciId, Requirement, Span, StateRegion};
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
fn what_a_plan_lacks_is_named_so_that_it_can_be_fetched() {
    let new = needing(live(module("netstack", 4)), "eth_driver", Version::new(1, 2, 0));
    let (old, present, newer) = (live(module("netstack", 2)), driver(1), driver(2));
    let lacking = |available: &[&Manifest]| {
        let known = Known { installed: &[&old, &present], available, platform: PLATFORM };
        known.lacking("netstack", new.version).map(|(module, versions)| (module.to_string(), versions))
    };
    let (module, versions) = lacking(&[&new]).unwrap();
    assert_eq!(module, "eth_driver");
    assert!(versions.matches(newer.version) && !versions.matches(present.version));
    assert_eq!(lacking(&[&new, &newer]), None, "nothing is lacking once it was fetched");
    assert_eq!(lacking(&[]), None, "a version that nobody knows is no need of another one");
}

#[test]
fn a_plan_shows_order_way_reason_and_what_changes_in_authority() {
    let (old, driver_old, driver_new) = (live(module("netstack", 2)), live(driver(1)), live(driver(2)));
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
            "  how: in place: it stands still for a moment, and the new version goes on with what the old one holds; if that fails, \
             the old one does",
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
        error
            .starts_with("needs-first: eth_driver must come to 1.2.0 first, now 1.1.0: netstack 1.3.0 needs"),
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
    let lines = known.describe("hello", Version::new(1, 2, 0), &|m| decide(m, &policy, true)).unwrap();
    assert!(lines.contains(&"  authority: + clock".into()), "{lines:?}");
    assert!(lines.contains(&"  denied by the policy: authority power; it works without".into()), "{lines:?}");
    assert!(lines.contains(
        &"  how: end and start: it ends, with its connections and what it keeps in memory, and the new version starts".into()
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

#[test]
fn a_driver_is_exchanged_in_place_if_both_versions_hold_the_same() {
    let (old, new) = (live(driver(2)), live(driver(3)));
    assert_eq!(how(Some(&old), &new), How::InPlace);
    let changes: [fn(&mut Manifest); 4] = [
        |m| m.authority.push(Authority::Entropy).unwrap(),
        |m| m.state_regions.push(StateRegion { name: "more".parse().unwrap(), pages: 1 }).unwrap(),
        |m| m.cspace_slots += 1,
        |m| m.devices[0].dma_pages += 1,
    ];
    for (change, field) in changes.into_iter().zip(["authority", "state_regions", "cspace_slots", "devices"])
    {
        let mut other = new.clone();
        change(&mut other);
        assert!(in_place(&old, &other).unwrap_err().contains(field), "{field}");
        assert!(matches!(how(Some(&old), &other), How::Offline(_)));
    }
    let mut unread = new.clone();
    unread.update.as_mut().unwrap().readable_by = 2;
    unread.update.as_mut().unwrap().schema = 2;
    assert!(matches!(how(Some(&old), &unread), How::Offline(reason) if reason.contains("no way back")));
}

#[test]
fn a_plan_is_a_list_of_steps_or_the_step_that_cannot_be_made() {
    let (old, driver_old, driver_new) = (live(module("netstack", 2)), live(driver(1)), live(driver(2)));
    let new = needing(live(module("netstack", 3)), "eth_driver", Version::new(1, 2, 0));
    let known =
        Known { installed: &[&driver_old, &old], available: &[&new, &driver_new], platform: PLATFORM };
    let legs = known.legs("netstack", Version::new(1, 3, 0)).unwrap();
    let text: Vec<String> = legs.iter().map(|leg| format!("{leg} {:?}", leg.how)).collect();
    assert_eq!(text, ["eth_driver 1.1.0 -> 1.2.0 InPlace", "netstack 1.2.0 -> 1.3.0 Live"]);
    let plain = driver(2);
    let known = Known { installed: &[&driver_old, &old], available: &[&new, &plain], platform: PLATFORM };
    let refused = known.legs("netstack", Version::new(1, 3, 0)).unwrap_err();
    assert!(
        refused.starts_with("not-possible: eth_driver 1.1.0 -> 1.2.0 (netstack 1.3.0 needs"),
        "{refused}"
    );
}

#[test]
fn what_hands_its_state_over_is_not_ended_for_what_cannot_take_it() {
    let (old, new) = (live(module("netstack", 2)), module("netstack", 3));
    assert!(matches!(how(Some(&old), &new), How::Offline(_)));
    assert_eq!(how(Some(&new), &old), How::Restart);
}
