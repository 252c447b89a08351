//! The decision about one module.

use core::fmt;

use hic_hicmod::manifest::{
    Authority, CpuPolicy, IoPortRange, List, MAX_DEVICES, MAX_IOPORTS, MAX_IRQS, MAX_NEEDS, MAX_PROVIDES,
    Manifest, Name, PciId,
};

use crate::{Allowed, asked_pages};

/// Most things that one module can be denied: every entry of every list of a manifest, memory, priority and processor time.
pub const MAX_DENIED: usize = 64;

const _: () = assert!(
    Authority::COUNT + MAX_NEEDS + MAX_PROVIDES + MAX_DEVICES + MAX_IOPORTS + MAX_IRQS + 3 <= MAX_DENIED
);

/// Something that a module asked for and does not get.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "each field is what the variant's line and its Display name")]
pub enum Denied {
    /// System-wide authority.
    Authority { authority: Authority, essential: bool },
    /// A port to a service.
    Service { service: Name, essential: bool },
    /// Being a service.
    Provides { service: Name },
    /// A device: none of the identities that it drives is allowed.
    Device { id: PciId },
    /// A range of I/O ports.
    IoPorts { range: IoPortRange },
    /// An interrupt line.
    Irq { irq: u8 },
    /// More memory than it may have.
    Memory { asked: u64, allowed: u32 },
    /// A higher priority than it may have; it runs at the highest that it may.
    Priority { asked: u8, allowed: u8 },
    /// More of the processor than it may be guaranteed, thousandths; it is guaranteed what is allowed.
    Processor { asked: u64, allowed: u16, essential: bool },
}

impl Denied {
    /// Whether the module cannot work without it. Not essential are optional needs, optional authority, a priority and a guarantee: with a lower
    /// one it works later, not differently.
    #[must_use]
    pub const fn is_essential(&self) -> bool {
        match self {
            Self::Authority { essential, .. }
            | Self::Service { essential, .. }
            | Self::Processor { essential, .. } => *essential,
            Self::Priority { .. } => false,
            _ => true,
        }
    }
}

impl fmt::Display for Denied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Authority { authority, .. } => write!(f, "authority {}", authority.name()),
            Self::Service { service, .. } => write!(f, "port to {service}"),
            Self::Provides { service } => write!(f, "being the service {service}"),
            Self::Device { id } => write!(f, "device {id}"),
            Self::IoPorts { range } => write!(f, "{} I/O ports from {:#x}", range.len, range.base),
            Self::Irq { irq } => write!(f, "interrupt {irq}"),
            Self::Memory { asked, allowed } => write!(f, "{asked} pages of memory (allowed: {allowed})"),
            Self::Priority { asked, allowed } => write!(f, "priority {asked} (allowed: {allowed})"),
            Self::Processor { asked, allowed, .. } => write!(
                f,
                "a guarantee of {}.{} % of the processor (allowed: {}.{} %)",
                asked / 10,
                asked % 10,
                allowed / 10,
                allowed % 10
            ),
        }
    }
}

/// What a module gets of what it asked for.
#[derive(Debug, Clone)]
pub struct Decision {
    /// The manifest with what was denied taken out: grant what it names.
    pub granted: Manifest,
    /// What was taken out.
    pub denied: List<Denied, MAX_DENIED>,
}

impl Decision {
    /// The first thing that was denied and that the module cannot do without; `None`: it may start.
    #[must_use]
    pub fn obstacle(&self) -> Option<&Denied> {
        self.denied.iter().find(|denied| denied.is_essential())
    }
}

/// What of the authority that `manifest` asks for is granted under `allowed`: the intersection, and what is outside of it. With `own_name` it may be the
/// service of its own name without being allowed to by name.
#[must_use]
pub fn decide(manifest: &Manifest, allowed: &Allowed, own_name: bool) -> Decision {
    let mut decision = Decision { granted: manifest.clone(), denied: List::new() };
    decision.authority(allowed);
    decision.services(manifest, allowed, own_name);
    decision.hardware(allowed);
    let asked = asked_pages(manifest);
    if asked > u64::from(allowed.memory_pages) {
        decision.deny(Denied::Memory { asked, allowed: allowed.memory_pages });
    }
    if manifest.priority > allowed.priority {
        decision.granted.priority = allowed.priority;
        decision.deny(Denied::Priority { asked: manifest.priority, allowed: allowed.priority });
    }
    decision.processor(allowed.processor);
    decision
}

impl Decision {
    fn deny(&mut self, denied: Denied) {
        // There is room: see the assertion at `MAX_DENIED`.
        let _ = self.denied.push(denied);
    }

    fn authority(&mut self, allowed: &Allowed) {
        let asked = core::mem::take(&mut self.granted.authority);
        for authority in asked {
            if allowed.authority.contains(&authority) {
                // As many as before at most.
                let _ = self.granted.authority.push(authority);
            } else {
                let essential = !self.granted.optional_authority.contains(&authority);
                self.deny(Denied::Authority { authority, essential });
            }
        }
    }

    /// Cuts the budget to what is allowed. A hard limit is one, too: with nothing left of its budget, whoever limits itself would have no limit.
    fn processor(&mut self, allowed: u16) {
        let (asked, granted) = (self.granted.guarantee(), &mut self.granted);
        if asked <= u64::from(allowed) {
            return;
        }
        // Less than the budget was.
        granted.budget_us = (u64::from(granted.period_us) * u64::from(allowed) / 1000) as u32;
        let essential = granted.budget_us == 0 && granted.cpu == CpuPolicy::Hard;
        if granted.budget_us == 0 {
            (granted.period_us, granted.cpu) = (0, CpuPolicy::Conserving);
        }
        self.deny(Denied::Processor { asked, allowed, essential });
    }

    fn services(&mut self, manifest: &Manifest, allowed: &Allowed, own_name: bool) {
        self.granted.needs.retain(|need| allowed.services.contains(&need.service));
        for need in manifest.needs.iter().filter(|need| !allowed.services.contains(&need.service)) {
            self.deny(Denied::Service { service: need.service.clone(), essential: !need.optional });
        }
        let may_be =
            |service: &Name| own_name && *service == manifest.name || allowed.provides.contains(service);
        self.granted.provides.retain(may_be);
        for service in manifest.provides.iter().filter(|service| !may_be(service)) {
            self.deny(Denied::Provides { service: service.clone() });
        }
    }

    fn hardware(&mut self, allowed: &Allowed) {
        let devices = core::mem::take(&mut self.granted.devices);
        for mut device in devices {
            let first = device.ids.first().copied();
            device.ids.retain(|id| allowed.devices.contains(id));
            match (device.ids.is_empty(), first) {
                (false, _) => drop(self.granted.devices.push(device)),
                (true, Some(id)) => self.deny(Denied::Device { id }),
                // A claim to no device is none.
                (true, None) => {}
            }
        }
        let inside = |range: &IoPortRange| {
            let end = |range: &IoPortRange| u32::from(range.base) + u32::from(range.len);
            allowed.ioports.iter().any(|other| other.base <= range.base && end(range) <= end(other))
        };
        let ioports = core::mem::take(&mut self.granted.ioports);
        for range in ioports {
            if inside(&range) {
                let _ = self.granted.ioports.push(range);
            } else {
                self.deny(Denied::IoPorts { range });
            }
        }
        let irqs = core::mem::take(&mut self.granted.irqs);
        for irq in irqs {
            if allowed.irqs.contains(&irq) {
                let _ = self.granted.irqs.push(irq);
            } else {
                self.deny(Denied::Irq { irq });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::string::ToString;
    use std::vec::Vec;

    use hic_hicmod::manifest::{Device, Kind, Need, Version};
    use proptest::prelude::*;

    use super::*;

    fn name(text: &str) -> Name {
        text.parse().unwrap()
    }

    fn greedy() -> Manifest {
        let mut manifest = Manifest::least(name("hello"), Version::new(0, 1, 0), Kind::Driver);
        manifest.priority = 20;
        manifest.heap_pages = 99;
        manifest.authority = [Authority::Clock, Authority::Power, Authority::LogRead].into_iter().collect();
        manifest.optional_authority = [Authority::LogRead].into_iter().collect();
        manifest.needs = [("netstack", false), ("storage", true), ("monitor", false)]
            .map(|(service, optional)| Need { service: name(service), optional })
            .into_iter()
            .collect();
        manifest.provides = [name("hello"), name("netstack")].into_iter().collect();
        let ids = [0x1041, 0x1042].map(|device| PciId { vendor: 0x1af4, device });
        manifest.devices =
            ids.map(|id| Device { ids: [id].into_iter().collect(), dma_pages: 0 }).into_iter().collect();
        manifest.ioports =
            [IoPortRange { base: 0x3f8, len: 8 }, IoPortRange { base: 0x70, len: 2 }].into_iter().collect();
        manifest.irqs = [4, 8].into_iter().collect();
        manifest.check().unwrap();
        manifest
    }

    fn some() -> Allowed {
        Allowed {
            authority: [Authority::Clock, Authority::Entropy].into_iter().collect(),
            services: [name("netstack"), name("console")].into_iter().collect(),
            devices: [PciId { vendor: 0x1af4, device: 0x1041 }].into_iter().collect(),
            ioports: [IoPortRange { base: 0x3f0, len: 16 }].into_iter().collect(),
            irqs: [4].into_iter().collect(),
            memory_pages: 100,
            priority: 8,
            ..Allowed::NOTHING
        }
    }

    #[test]
    fn what_is_granted_is_what_was_asked_for_and_allowed_and_the_rest_is_named() {
        let decision = decide(&greedy(), &some(), true);
        let granted = &decision.granted;
        assert_eq!(granted.authority, [Authority::Clock]);
        assert_eq!(granted.needs.iter().map(|n| n.service.as_str()).collect::<Vec<_>>(), ["netstack"]);
        assert_eq!(granted.provides, [name("hello")], "its own name, and no other service's");
        assert_eq!(granted.devices.len(), 1);
        assert_eq!((granted.ioports.len(), &granted.irqs[..], granted.priority), (1, &[4][..], 8));
        let denied: Vec<_> = decision.denied.iter().map(|d| (d.to_string(), d.is_essential())).collect();
        let expected = [
            ("authority power", true),
            ("authority log-read", false),
            ("port to storage", false),
            ("port to monitor", true),
            ("being the service netstack", true),
            ("device 1af4:1042", true),
            ("2 I/O ports from 0x70", true),
            ("interrupt 8", true),
            ("priority 20 (allowed: 8)", false),
        ];
        assert_eq!(denied, expected.map(|(text, essential)| (text.to_string(), essential)));
    }

    #[test]
    fn a_guarantee_is_cut_to_what_is_allowed_and_a_limit_never_to_none() {
        let decided = |cpu, allowed| {
            let mut manifest = Manifest::least(name("m"), Version::new(1, 0, 0), Kind::Service);
            (manifest.budget_us, manifest.period_us, manifest.cpu) = (4000, 10_000, cpu);
            let policy = Allowed { memory_pages: 9, priority: 31, processor: allowed, ..Allowed::NOTHING };
            let decision = decide(&manifest, &policy, true);
            decision.granted.check().unwrap();
            let denied: Vec<_> = decision.denied.iter().map(ToString::to_string).collect();
            (decision.granted.guarantee(), denied.join(", "), decision.obstacle().is_some())
        };
        use CpuPolicy::{Conserving, Hard};
        let of = |allowed| std::format!("a guarantee of 40.0 % of the processor (allowed: {allowed} %)");
        assert_eq!(decided(Conserving, 400), (400, "".into(), false));
        assert_eq!(decided(Conserving, 250), (250, of("25.0"), false));
        assert_eq!(decided(Hard, 1), (1, of("0.1"), false));
        assert_eq!(decided(Conserving, 0), (0, of("0.0"), false));
        assert!(decided(Hard, 0).2, "it would run without a limit");
    }

    #[test]
    fn a_module_starts_only_with_all_that_it_cannot_do_without() {
        let with = |change: fn(&mut Allowed)| {
            let asked = greedy();
            let mut allowed = Allowed {
                authority: asked.authority.clone(),
                services: asked.needs.iter().map(|need| need.service.clone()).collect(),
                provides: asked.provides.clone(),
                ioports: asked.ioports.clone(),
                irqs: asked.irqs.clone(),
                memory_pages: 100,
                priority: 31,
                ..Allowed::NOTHING
            };
            allowed.devices =
                [0x1041, 0x1042].map(|device| PciId { vendor: 0x1af4, device }).into_iter().collect();
            change(&mut allowed);
            decide(&greedy(), &allowed, true).obstacle().map(ToString::to_string)
        };
        assert_eq!(with(|_| {}), None);
        assert_eq!(with(|a| a.priority = 0), None, "it runs later, not differently");
        assert_eq!(
            with(|a| a.authority.retain(|a| *a != Authority::LogRead)),
            None,
            "it says that it works without"
        );
        assert_eq!(with(|a| a.services.retain(|s| s != "storage")), None, "an optional need");
        assert_eq!(with(|a| a.authority.retain(|a| *a != Authority::Power)), Some("authority power".into()));
        assert_eq!(with(|a| a.services.retain(|s| s != "monitor")), Some("port to monitor".into()));
        assert_eq!(with(|a| a.memory_pages = 99), Some("100 pages of memory (allowed: 99)".into()));
        assert_eq!(with(|a| a.memory_pages = 100), None);
    }

    proptest! {
        #[test]
        fn nothing_is_granted_that_is_not_both_asked_for_and_allowed(
            asked in prop::sample::subsequence(Authority::ALL.to_vec(), 0..=Authority::COUNT),
            allowed in prop::sample::subsequence(Authority::ALL.to_vec(), 0..=Authority::COUNT),
        ) {
            let mut manifest = Manifest::least(name("m"), Version::new(1, 0, 0), Kind::Service);
            manifest.authority = asked.iter().copied().collect();
            let policy = Allowed { authority: allowed.iter().copied().collect(), memory_pages: 9, priority: 31, ..Allowed::NOTHING };
            let decision = decide(&manifest, &policy, true);
            for authority in Authority::ALL {
                let both = asked.contains(&authority) && allowed.contains(&authority);
                prop_assert_eq!(decision.granted.has_authority(authority), both);
            }
            prop_assert_eq!(decision.granted.authority.len() + decision.denied.len(), asked.len());
        }
    }
}
