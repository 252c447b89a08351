//! With which share of the processor an instance runs, and under which name beside another one (ledger P1.11, P2.1).

use core::fmt::Write;
use hic_abi::name_bytes;
use hic_abi::object::Share;
use hic_hicmod::manifest::{CpuPolicy, Manifest};
use hic_update::Quota;
use hic_update::processor::{WARM_UP_BUDGET, WARM_UP_PERIOD};

/// The share of an instance of a module whose manifest names what is granted. Beside the instance that serves it is the less important one, by one level.
#[must_use]
pub fn share(manifest: &Manifest, quota: Quota) -> Share {
    match quota {
        Quota::Service => Share {
            priority: manifest.priority.into(),
            budget: u64::from(manifest.budget_us) * 1000,
            period: u64::from(manifest.period_us) * 1000,
            hard_limit: manifest.cpu == CpuPolicy::Hard,
        },
        Quota::WarmUp | Quota::Beside => Share {
            priority: manifest.priority.saturating_sub(1).into(),
            budget: WARM_UP_BUDGET,
            period: WARM_UP_PERIOD,
            hard_limit: quota == Quota::WarmUp,
        },
    }
}

/// Name of a sandbox that an update makes: `netstack-v1.3.0-temp`.
#[must_use]
pub fn temporary_name(manifest: &Manifest) -> [u8; 32] {
    let mut text = heapless::String::<32>::new();
    // A longer name is cut; it is for people only.
    let _ = write!(text, "{}-v{}-temp", manifest.name, manifest.version);
    name_bytes(&text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use hic_abi::name_str;
    use hic_hicmod::manifest::{Kind, Version};

    fn netstack() -> Manifest {
        let mut manifest = Manifest::least("netstack".parse().unwrap(), Version::new(1, 3, 0), Kind::Service);
        (manifest.priority, manifest.budget_us, manifest.period_us) = (16, 5000, 10_000);
        manifest
    }

    #[test]
    fn a_new_instance_is_named_after_its_version_and_as_one_that_will_not_stay() {
        assert_eq!(name_str(&temporary_name(&netstack())), "netstack-v1.3.0-temp");
    }

    #[test]
    fn beside_the_one_that_serves_there_is_a_fifth_one_level_below() {
        let share = |quota| share(&netstack(), quota);
        let own = Share { priority: 16, budget: 5_000_000, period: 10_000_000, hard_limit: false };
        let beside = Share { priority: 15, budget: 2_000_000, ..own };
        assert_eq!(share(Quota::WarmUp), Share { hard_limit: true, ..beside });
        assert_eq!((share(Quota::Beside), share(Quota::Service)), (beside, own));
        let lowest = Manifest { priority: 0, ..netstack() };
        assert_eq!(super::share(&lowest, Quota::Beside).priority, 0);
    }
}
