//! The policy: nobody gets what it does not name, or what was not asked for.

use hic_hicmod::manifest::{MAX_DEVICES, Manifest};
use hic_policy::{MAX_DENIED, MAX_POLICY_BYTES, Policy, Rules, decide};
use hicmod_tool::parse_manifest;

use super::assert_sentence;

/// Asks for something of each kind.
const GREEDY: &str = r#"
name = "greedy"
version = "1.0.0"
kind = "driver"
order = 9
priority = 31
stack_pages = 256
heap_pages = 4096
account_pages = 100000
cspace_slots = 64
state_regions = [{ name = "a", pages = 64 }]
provides = ["greedy", "other", "storage"]
needs = [{ service = "netstack" }, { service = "log", optional = true }]
devices = [{ ids = ["1af4:1041", "8086:100e"], dma_pages = 64 }]
ioports = [{ base = 0x3f8, len = 8 }, { base = 0x60, len = 1 }]
irqs = [4, 1]
authority = ["clock", "entropy", "audit", "inspect", "log-read", "power", "manage", "channel"]
optional_authority = ["entropy"]
"#;

/// Tries the bytes as a policy of a boot archive.
pub fn binary(bytes: &[u8]) {
    match Policy::parse(bytes) {
        Ok(policy) => allows(&policy),
        Err(error) => assert_sentence(&error, 300),
    }
}

/// Tries the bytes as the text of a policy.
pub fn text(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Ok(rules) = toml::from_str::<Rules>(text) else { return };
    match rules.encode() {
        Ok(bytes) => {
            assert!(bytes.len() <= MAX_POLICY_BYTES);
            let policy = Policy::parse(&bytes).expect("what was written can be read");
            for (name, allowed) in &rules.module {
                assert_eq!(policy.allowed(name), (allowed.clone(), true));
            }
            assert_eq!(policy.allowed("nobody by this name"), (rules.default, false));
            allows(&policy);
        }
        Err(error) => assert_sentence(&error, 300),
    }
}

fn allows(policy: &Policy<'_>) {
    let mut manifest = parse_manifest(GREEDY).expect("a manifest");
    for name in ["greedy", "netstack", "storage"] {
        manifest.name = name.parse().expect("a name");
        let (allowed, _) = policy.allowed(name);
        let decision = decide(&manifest, &allowed, true);
        assert!(decision.denied.len() <= MAX_DENIED);
        for denied in &decision.denied {
            assert_sentence(denied, 300);
        }
        let granted = &decision.granted;
        granted_was_asked_for(granted, &manifest);
        assert!(granted.authority.iter().all(|authority| allowed.authority.contains(authority)));
        assert!(granted.needs.iter().all(|need| allowed.services.contains(&need.service)));
        assert!(granted.irqs.iter().all(|irq| allowed.irqs.contains(irq)));
        assert!(granted.priority <= allowed.priority.max(manifest.priority.min(allowed.priority)));
        let ids = granted.devices.iter().flat_map(|device| &device.ids);
        assert!(
            ids.into_iter().all(|id| allowed.devices.contains(id)) && granted.devices.len() <= MAX_DEVICES
        );
        let same = granted == &manifest;
        assert_eq!(
            decision.denied.is_empty(),
            same && hic_policy::asked_pages(&manifest) <= allowed.memory_pages.into()
        );
        assert!(decision.obstacle().is_none() || !decision.denied.is_empty());
    }
}

fn granted_was_asked_for(granted: &Manifest, asked: &Manifest) {
    assert!(granted.authority.iter().all(|authority| asked.has_authority(*authority)));
    assert!(granted.needs.iter().all(|need| asked.needs.contains(need)));
    assert!(granted.provides.iter().all(|name| asked.provides.contains(name)));
    assert!(granted.ioports.iter().all(|ports| asked.ioports.contains(ports)));
    assert!(granted.irqs.iter().all(|irq| asked.irqs.contains(irq)));
    assert!(granted.priority <= asked.priority);
}
