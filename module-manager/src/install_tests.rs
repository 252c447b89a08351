use super::*;
use hic_hicmod::manifest::{Device, Need, PciId};
use std::format;
use std::string::ToString;
use std::vec::Vec;

/// A module of this name that provides a service of the same name; what is not said here is as in a manifest that does not say it.
fn module(name: &str, order: u8, needs: &[&str]) -> Manifest {
    let needs: Vec<_> = needs.iter().map(|need| serde_json::json!({ "service": need })).collect();
    let manifest = serde_json::json!({
        "name": name, "version": "1.0.0", "kind": "service", "order": order, "priority": 10, "stack_pages": 1, "cspace_slots": 64,
        "provides": [name], "needs": needs,
    });
    serde_json::from_str(&manifest.to_string()).unwrap()
}

const ROOM: Room = Room { free_memory: 100, wanted_memory: 100, free_processor: 50, guarantee: 50 };

fn code(running: &[&Manifest], candidate: &Manifest) -> &'static str {
    may_join(running, candidate, &ROOM).map_or_else(|refused| refused.code(), |()| "joins")
}

#[test]
fn a_module_joins_when_its_needs_are_there_below_it() {
    let (driver, stack) = (module("driver", 1, &[]), module("stack", 2, &["driver"]));
    let running = [&driver, &stack];
    assert_eq!(code(&running, &module("app", 6, &["stack"])), "joins");
    assert_eq!(code(&running, &module("app", 6, &["stack", "dns"])), "missing-need");
    assert_eq!(code(&running, &module("app", 2, &["stack"])), "wrong-order");
    assert_eq!(code(&running, &module("stack", 6, &["driver"])), "service-taken");
    assert_eq!(code(&running, &Manifest { priority: 11, ..module("app", 6, &["stack"]) }), "wrong-priority");
    let mut cyclic = module("x", 0, &["stack"]);
    cyclic.provides = driver.provides.clone();
    assert_eq!(code(&[&stack], &cyclic), "cycle");
    let optional = Need { service: Name::try_from("dns").unwrap(), optional: true };
    let mut app = module("app", 6, &["stack"]);
    app.needs.push(optional).unwrap();
    assert_eq!(code(&running, &app), "joins");
}

#[test]
fn short_memory_is_refused_with_what_is_missing() {
    let app = module("app", 6, &[]);
    let room = Room { free_memory: 1 << 20, wanted_memory: 3 << 20, ..ROOM };
    let refused = may_join(&[], &app, &room).unwrap_err();
    assert_eq!(refused.code(), "memory");
    assert!(
        refused
            .to_string()
            .starts_with("2048 KiB of memory are short: 1024 KiB are free, 3072 KiB are wanted")
    );
}

#[test]
fn a_guarantee_for_which_there_is_no_room_is_refused_with_what_is_missing() {
    let refused = may_join(&[], &module("app", 6, &[]), &Room { guarantee: 75, ..ROOM }).unwrap_err();
    assert_eq!(refused.code(), "processor");
    assert!(refused.to_string().starts_with("2.5 % of the processor are short: 5.0 % of"), "{refused}");
}

#[test]
fn what_others_need_stays_and_they_are_named() {
    let (driver, stack) = (module("driver", 1, &[]), module("stack", 2, &["driver"]));
    let (one, two) = (module("one", 6, &["stack"]), module("two", 6, &["stack"]));
    let mut three = module("three", 6, &["stack"]);
    three.needs[0].optional = true;
    let running = [&driver, &stack, &one, &two, &three];
    let refused = may_leave(&running, "stack").unwrap_err();
    assert_eq!(
        (refused.code(), format!("{refused}").as_str()),
        ("needed", "it is needed by one, two; remove them first")
    );
    assert_eq!(may_leave(&[&driver, &stack, &three], "stack"), Ok(()));
    assert_eq!(may_leave(&running, "one"), Ok(()));
}

#[test]
fn what_the_system_needs_and_what_drives_a_device_stays() {
    for (name, _) in ESSENTIAL {
        assert_eq!(may_leave(&[], name).unwrap_err().code(), "essential");
    }
    let mut driver = module("driver", 1, &[]);
    driver
        .devices
        .push(Device { ids: [PciId { vendor: 1, device: 2 }].into_iter().collect(), dma_pages: 1 })
        .unwrap();
    assert_eq!(may_leave(&[&driver], "driver"), Err(Refused::HoldsDevice));
}

#[test]
fn a_boot_leaves_out_what_does_not_fit_and_starts_the_rest() {
    let (driver, app) = (module("driver", 1, &[]), module("app", 6, &["stack"]));
    let (client, twin) = (module("client", 7, &["app"]), module("driver", 1, &[]));
    let all = [&client, &app, &driver, &twin];
    let BootOrder { order, left_out } = boot_order(&all);
    assert_eq!(order.as_slice(), [2]);
    // Nobody provides `stack`, so `app` cannot be started, and then neither can `client`; the second `driver` is one too many.
    let mut names: Vec<usize> = left_out.iter().map(|(at, _)| *at).collect();
    names.sort_unstable();
    assert_eq!(names, [0, 1, 3]);
    assert!(left_out.iter().any(|(at, error)| *at == 3 && matches!(error, OrderError::Duplicate { .. })));
}

#[test]
fn a_boot_with_everything_in_place_leaves_nothing_out() {
    let (driver, stack, app) =
        (module("driver", 1, &[]), module("stack", 2, &["driver"]), module("app", 6, &["stack"]));
    let BootOrder { order, left_out } = boot_order(&[&app, &stack, &driver]);
    assert_eq!((order.as_slice(), left_out.len()), (&[2, 1, 0][..], 0));
}
