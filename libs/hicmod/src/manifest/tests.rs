use std::string::ToString;
use std::vec;
use std::vec::Vec;

use proptest::prelude::*;

use super::*;

/// A valid manifest that uses most fields.
pub(crate) fn netstack() -> Manifest {
    Manifest {
        summary: "ARP, IPv4, UDP and TCP".parse().unwrap(),
        budget_us: 4000,
        period_us: 10_000,
        heap_pages: 256,
        state_regions: list([StateRegion { name: name("connections"), pages: 64 }]),
        authority: list([Authority::Clock, Authority::Entropy]),
        ..module("netstack", 4, &["eth_driver"])
    }
}

/// A driver with one of each kind of hardware.
fn driver() -> Manifest {
    Manifest {
        kind: Kind::Driver,
        devices: list([Device { ids: list([PciId { vendor: 0x1af4, device: 0x1041 }]), dma_pages: 64 }]),
        ioports: list([IoPortRange { base: 0x3f8, len: 8 }]),
        irqs: list([4]),
        ..module("eth_driver", 2, &[])
    }
}

/// The least valid manifest of a service that provides its own name.
fn module(text: &str, order: u8, needs: &[&str]) -> Manifest {
    Manifest {
        order,
        priority: 10,
        stack_pages: 4,
        cspace_slots: 64,
        provides: list([name(text)]),
        needs: needs.iter().map(|need| Need { service: name(need), optional: false }).collect(),
        ..Manifest::least(name(text), Version::new(1, 2, 0), Kind::Service)
    }
}

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn list<T, const K: usize, const N: usize>(items: [T; K]) -> List<T, N> {
    items.into_iter().collect()
}

fn encoded(manifest: &Manifest) -> Vec<u8> {
    encode(manifest, &mut [0; MAX_MANIFEST_BYTES]).unwrap().to_vec()
}

pub(super) fn refusal(mut manifest: Manifest, change: impl FnOnce(&mut Manifest)) -> ManifestError {
    change(&mut manifest);
    let error = manifest.check().unwrap_err();
    assert_eq!(encode(&manifest, &mut [0; MAX_MANIFEST_BYTES]).unwrap_err(), error, "encode checks too");
    error
}

#[test]
fn manifests_are_read_back() {
    for manifest in [netstack(), driver()] {
        assert_eq!(decode(&encoded(&manifest)), Ok(manifest));
    }
}

#[test]
fn numbers_out_of_range_are_refused_with_the_range() {
    let out_of = |change: fn(&mut Manifest)| match refusal(netstack(), change) {
        ManifestError::OutOfRange { field, min, max, .. } => (field, min, max),
        other => panic!("{other}"),
    };
    assert_eq!(out_of(|m| m.priority = 32), ("priority", 0, 31));
    assert_eq!(out_of(|m| m.order = 32), ("order", 0, 31));
    assert_eq!(out_of(|m| m.stack_pages = 0), ("stack_pages", 1, 256));
    assert_eq!(out_of(|m| m.heap_pages = 65_537), ("heap_pages", 0, 65_536));
    assert_eq!(out_of(|m| m.cspace_slots = 15), ("cspace_slots", 16, 65_536));
    assert_eq!(out_of(|m| m.state_regions[0].pages = 0), ("state_regions.pages", 1, 65_536));
    let short = out_of(|m| (m.budget_us, m.period_us) = (1, 999));
    assert_eq!(short, ("period_us", 1000, 1_000_000));
    assert_eq!(out_of(|m| m.period_us = 1_000_001), short);
    assert_eq!(
        out_of(|m| m.restart = Restart::Always { max: 0, window_s: 1 }),
        ("restart.always.max", 1, 65_535)
    );
    assert_eq!(
        out_of(|m| m.restart = Restart::Always { max: 1, window_s: 0 }),
        ("restart.always.window_s", 1, 86_400)
    );
}

#[test]
fn budgets_which_make_no_sense_are_refused() {
    let budget =
        |budget_us, period_us| refusal(netstack(), |m| (m.budget_us, m.period_us) = (budget_us, period_us));
    for (budget_us, period_us) in [(0, 1000), (1000, 0), (1001, 1000)] {
        assert_eq!(budget(budget_us, period_us), ManifestError::Budget { budget_us, period_us });
    }
    let hard = refusal(module("a", 1, &[]), |m| m.cpu = CpuPolicy::Hard);
    assert_eq!(hard, ManifestError::HardWithoutBudget);
}

#[test]
fn a_guarantee_is_counted_in_thousandths_and_never_below_what_it_is() {
    let of = |budget_us, period_us| Manifest { budget_us, period_us, ..netstack() }.guarantee();
    assert_eq!([of(0, 0), of(4000, 10_000), of(10_000, 10_000), of(1, 3)], [0, 400, 1000, 334]);
    assert_eq!([of(1, 1_000_000), of(u32::MAX, u32::MAX)], [1, 1000]);
}

#[test]
fn bad_and_repeated_names_are_refused_with_their_field() {
    let bad = |field| ManifestError::InvalidName { field, value: name("No") };
    assert_eq!(refusal(netstack(), |m| m.name = name("No")), bad("name"));
    assert_eq!(refusal(netstack(), |m| m.provides[0] = name("No")), bad("provides"));
    assert_eq!(refusal(netstack(), |m| m.needs[0].service = name("No")), bad("needs.service"));
    let twice = refusal(netstack(), |m| m.provides.push(name("netstack")).unwrap());
    assert_eq!(twice, ManifestError::Duplicate { field: "provides", value: name("netstack") });
    let summary = refusal(netstack(), |m| m.summary = "two\nlines".parse().unwrap());
    assert_eq!(summary, ManifestError::Summary);
}

#[test]
fn hardware_is_for_drivers_only() {
    driver().check().unwrap();
    let as_service = refusal(driver(), |m| m.kind = Kind::Service);
    assert!(matches!(as_service, ManifestError::NotForKind { field: "devices", .. }));
    let irq = refusal(module("a", 1, &[]), |m| m.irqs = list([4]));
    assert!(matches!(irq, ManifestError::NotForKind { field: "irqs", .. }));
}

#[test]
fn hardware_claims_which_cannot_be_met_are_refused() {
    let ports = |base, len| refusal(driver(), |m| m.ioports = list([IoPortRange { base, len }]));
    assert_eq!(ports(0x3f8, 0), ManifestError::IoPorts { base: 0x3f8, len: 0 });
    assert_eq!(ports(0xffff, 2), ManifestError::IoPorts { base: 0xffff, len: 2 });
    let overlap = refusal(driver(), |m| m.ioports.push(IoPortRange { base: 0x3ff, len: 1 }).unwrap());
    assert_eq!(overlap, ManifestError::DuplicateNumber { field: "ioports", value: 0x3ff });
    assert_eq!(refusal(driver(), |m| m.irqs = list([2])), ManifestError::CascadeIrq);
    assert!(matches!(refusal(driver(), |m| m.irqs = list([16])), ManifestError::OutOfRange { .. }));
    assert!(matches!(refusal(driver(), |m| m.irqs = list([4, 4])), ManifestError::DuplicateNumber { .. }));
    assert_eq!(refusal(driver(), |m| m.devices[0].ids.clear()), ManifestError::NoDeviceId);
}

#[test]
fn only_what_is_asked_for_can_be_optional() {
    let power = refusal(netstack(), |m| m.optional_authority = list([Authority::Power]));
    assert_eq!(power, ManifestError::OptionalAuthority { authority: Authority::Power });
}

#[test]
fn an_application_has_no_power_over_others() {
    let error = refusal(module("game", 9, &[]), |m| {
        m.kind = Kind::Application;
        m.authority = list([Authority::Clock, Authority::Power]);
    });
    assert!(matches!(error, ManifestError::NotForKind { .. }));
    let twice = refusal(netstack(), |m| m.authority.push(Authority::Clock).unwrap());
    assert_eq!(twice, ManifestError::DuplicateAuthority { authority: Authority::Clock });
}

#[test]
fn versions_are_compared_by_number_and_written_in_one_way() {
    let version: Version = "1.10.0".parse().unwrap();
    assert!(version > Version::new(1, 9, 9));
    assert_eq!(version.to_string(), "1.10.0");
    for bad in [
        "",
        "1",
        "1.2",
        "1.2.3.4",
        "1.02.3",
        "1.2.x",
        "1.2.-3",
        "1.2.3-rc1",
        "+1.2.3",
        "1..3",
        "4294967296.0.0",
    ] {
        assert!(bad.parse::<Version>().is_err(), "{bad}");
    }
}

#[test]
fn pci_identities_are_four_and_four_hex_digits() {
    let id: PciId = "1AF4:1041".parse().unwrap();
    assert_eq!((id.vendor, id.device), (0x1af4, 0x1041));
    assert_eq!(id.to_string(), "1af4:1041");
    for bad in ["", "1af4", "1af4:104", "1af4:+041", "0x1af4:1041", "1af4:1041:2"] {
        assert!(bad.parse::<PciId>().is_err(), "{bad}");
    }
}

#[test]
fn values_are_text_for_people() {
    let json = serde_json::to_string(&driver()).unwrap();
    assert!(json.contains(r#""version":"1.2.0""#) && json.contains(r#""ids":["1af4:1041"]"#), "{json}");
    assert_eq!(serde_json::from_str::<Manifest>(&json).unwrap(), driver());
}

#[test]
fn every_truncation_and_extension_of_the_encoding_is_refused() {
    let good = encoded(&netstack());
    for length in 0..good.len() {
        assert!(decode(&good[..length]).is_err(), "cut to {length}");
    }
    let mut longer = good.clone();
    longer.push(0);
    assert_eq!(decode(&longer), Err(ManifestError::Encoding));
    longer.resize(MAX_MANIFEST_BYTES + 1, 0);
    assert_eq!(decode(&longer), Err(ManifestError::Encoding));
}

#[test]
fn what_was_written_without_the_checks_is_refused_when_it_is_read() {
    let mut bytes = encoded(&netstack());
    // Behind schema and length: the first letter of the name.
    bytes[3] = b'N';
    assert_eq!(decode(&bytes), Err(ManifestError::InvalidName { field: "name", value: name("Netstack") }));
}

/// As large as a manifest can be.
pub(crate) fn largest() -> Manifest {
    let numbered = |n: usize| name(&std::format!("a-name-of-twenty-four-{n:02}"));
    let mut largest = driver();
    largest.name = numbered(0);
    largest.version = Version::new(u32::MAX, u32::MAX, u32::MAX);
    largest.summary = core::iter::repeat_n('x', MAX_SUMMARY_BYTES).collect();
    largest.state_regions =
        (0..MAX_STATE_REGIONS).map(|n| StateRegion { name: numbered(n), pages: 65_536 }).collect();
    largest.provides = (0..MAX_PROVIDES).map(numbered).collect();
    largest.needs = (0..MAX_NEEDS).map(|n| Need { service: numbered(n), optional: true }).collect();
    let id = PciId { vendor: 0xffff, device: 0xffff };
    let device = Device { ids: (0..MAX_DEVICE_IDS).map(|_| id).collect(), dma_pages: 65_536 };
    largest.devices = (0..MAX_DEVICES).map(|_| device.clone()).collect();
    let tested_with =
        (0..update::MAX_TESTED_WITH).map(|n| Version::new(u32::MAX, u32::MAX, n as u32)).collect();
    let protocols = Span::only(u16::MAX);
    largest.update = Some(Update { schema: 9999, readable_by: 9999, reads: 9999, tested_with, protocols });
    fill_release(&mut largest, numbered);
    largest
}

#[test]
fn the_largest_manifest_fits_the_bound_and_a_small_buffer_is_an_error() {
    let largest = largest();
    assert_eq!(decode(&encoded(&largest)), Ok(largest.clone()));
    assert_eq!(encode(&largest, &mut [0; 100]), Err(ManifestError::BufferTooSmall));
    assert_eq!(encode(&largest, &mut [0; 1]), Err(ManifestError::BufferTooSmall));
}

/// The fields of `release.rs`, as large as they can be.
fn fill_release(largest: &mut Manifest, numbered: impl Fn(usize) -> Name) {
    let last = Version::new(u32::MAX, u32::MAX, u32::MAX);
    let version = Requirement::new(Version::new(u32::MAX, u32::MAX, u32::MAX - 1), Some(last)).unwrap();
    largest.publisher = core::iter::repeat_n('x', release::MAX_PUBLISHER_BYTES).collect();
    largest.dependencies =
        (1..=release::MAX_DEPENDENCIES).map(|n| Dependency { module: numbered(n), version }).collect();
    let interfaces: List<Interface, { release::MAX_INTERFACES }> =
        (0..release::MAX_INTERFACES).map(|n| Interface { name: numbered(n), version: u16::MAX }).collect();
    largest.interfaces = Interfaces { provides: interfaces.clone(), needs: interfaces };
    largest.parts = (0..release::MAX_PARTS).map(|n| Part { name: numbered(n), version: last }).collect();
    largest.health = Some(Health { every_ms: release::MAX_HEALTH_MS, checks: 100 });
    (largest.epoch, largest.abi) = (u32::MAX, Span::only(u16::MAX));
    largest.build = Build { time: u64::MAX, ipc_lib: Some(last) };
}

fn names_in_order(modules: &[Manifest]) -> Vec<&str> {
    start_order(modules).unwrap().iter().map(|&index| modules[index].name.as_str()).collect()
}

#[test]
fn what_is_needed_starts_first() {
    let modules = [
        module("web_server", 6, &["netstack"]),
        module("netstack", 4, &["eth_driver"]),
        module("console", 2, &[]),
        module("eth_driver", 2, &[]),
    ];
    assert_eq!(names_in_order(&modules), ["console", "eth_driver", "netstack", "web_server"]);
    assert!(start_order::<Manifest>(&[]).unwrap().is_empty());
}

#[test]
fn a_missing_service_is_an_error_unless_it_is_optional() {
    let mut modules = [module("netstack", 4, &["eth_driver"])];
    let missing = OrderError::Missing { module: name("netstack"), service: name("eth_driver") };
    assert_eq!(start_order(&modules), Err(missing));
    modules[0].needs[0].optional = true;
    assert_eq!(names_in_order(&modules), ["netstack"]);
}

#[test]
fn a_cycle_is_told_apart_from_a_wrong_level() {
    let cycle = [module("a", 3, &["b"]), module("b", 2, &["c"]), module("c", 1, &["a"])];
    let expected = OrderError::Cycle { module: name("a"), service: name("b") };
    assert_eq!(start_order(&cycle), Err(expected));
    let own = [module("a", 1, &["a"])];
    assert_eq!(start_order(&own), Err(OrderError::Cycle { module: name("a"), service: name("a") }));
    for service_level in [2, 3] {
        let upward = [module("low", 2, &["high"]), module("high", service_level, &[])];
        let expected =
            OrderError::NotBelow { module: name("low"), level: 2, service: name("high"), service_level };
        assert_eq!(start_order(&upward), Err(expected));
    }
}

#[test]
fn nobody_waits_for_a_provider_of_lower_priority() {
    let modules = |provider, client| {
        let with = |priority, manifest| Manifest { priority, ..manifest };
        [with(provider, module("server", 1, &[])), with(client, module("client", 2, &["server"]))]
    };
    assert!(start_order(&modules(10, 10)).is_ok() && start_order(&modules(20, 10)).is_ok());
    let expected = OrderError::Inverted {
        module: name("client"),
        priority: 11,
        service: name("server"),
        service_priority: 10,
    };
    assert_eq!(start_order(&modules(10, 11)), Err(expected));
}

#[test]
fn two_providers_of_one_service_are_refused() {
    let mut other = module("netstack-next", 4, &[]);
    other.provides = list([name("netstack")]);
    let modules = [module("netstack", 4, &[]), other];
    assert_eq!(start_order(&modules), Err(OrderError::Duplicate { name: name("netstack") }));
    let same = vec![module("a", 1, &[]); MAX_MODULES + 1];
    assert_eq!(start_order(&same), Err(OrderError::TooMany { count: MAX_MODULES + 1 }));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn numbers_survive_the_encoding(
        version: (u32, u32, u32), priority in 0u8..32, stack in 1u32..257, heap in 0u32..65_537, slots in 16u32..65_537,
    ) {
        let mut manifest = netstack();
        manifest.version = Version::new(version.0, version.1, version.2);
        (manifest.priority, manifest.stack_pages) = (priority, stack);
        (manifest.heap_pages, manifest.cspace_slots) = (heap, slots);
        prop_assert_eq!(decode(&encoded(&manifest)), Ok(manifest));
    }

    #[test]
    fn random_bytes_never_panic_and_what_is_accepted_is_valid(mut bytes in prop::collection::vec(any::<u8>(), 2..300)) {
        bytes[..2].copy_from_slice(&SCHEMA_VERSION.to_le_bytes());
        if let Ok(manifest) = decode(&bytes) {
            prop_assert_eq!(manifest.check(), Ok(()));
        }
    }

    #[test]
    fn flipped_bits_never_panic(at: prop::sample::Index, bit in 0u8..8, of_driver: bool) {
        let mut bytes = encoded(&if of_driver { driver() } else { netstack() });
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        if let Ok(manifest) = decode(&bytes) {
            prop_assert_eq!(manifest.check(), Ok(()));
        }
    }

    #[test]
    fn a_start_order_has_each_module_once_and_after_its_needs(
        levels in prop::collection::vec((0u8..8, prop::collection::vec(0usize..20, 0..3)), 0..20)
    ) {
        let names: Vec<_> = (0..levels.len()).map(|n| std::format!("m{n}")).collect();
        let modules: Vec<_> = levels.iter().enumerate().map(|(n, (level, needs))| {
            let mut needs: Vec<&str> =
                needs.iter().filter_map(|&need| names.get(need)).map(|name| name.as_str()).collect();
            needs.dedup();
            module(&names[n], *level, &needs)
        }).collect();
        let Ok(order) = start_order(&modules) else { return Ok(()) };
        let mut started: Vec<&str> = vec![];
        for index in order {
            let needs = &modules[index].needs;
            prop_assert!(needs.iter().all(|need| started.contains(&need.service.as_str())));
            started.push(&modules[index].name);
        }
        prop_assert_eq!(started.len(), modules.len());
    }
}
