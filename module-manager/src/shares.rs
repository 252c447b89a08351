//! With which share of the processor an instance runs, and under which name beside another one (ledger P1.11, P2.1).

use core::fmt::Write;
use hic_abi::name_bytes;
use hic_abi::object::Share;
use hic_hicmod::manifest::{CpuPolicy, Manifest};
use hic_update::Quota;
use hic_update::processor::{WARM_UP_BUDGET, WARM_UP_PERIOD};

/// The share of an instance of a module whose manifest names what is granted. While it warms up it is the less important one, by one level; from the
/// first item on it serves, so clients of a service without a budget wait for it no longer than for the other one.
#[must_use]
pub fn share(manifest: &Manifest, quota: Quota) -> Share {
    let own = Share {
        priority: manifest.priority.into(),
        budget: u64::from(manifest.budget_us) * 1000,
        period: u64::from(manifest.period_us) * 1000,
        hard_limit: manifest.cpu == CpuPolicy::Hard,
    };
    let fifth = Share { budget: WARM_UP_BUDGET, period: WARM_UP_PERIOD, ..own };
    match quota {
        Quota::WarmUp => {
            Share { priority: manifest.priority.saturating_sub(1).into(), hard_limit: true, ..fifth }
        }
        Quota::Beside if own.budget != 0 => Share { hard_limit: false, ..fifth },
        Quota::Beside | Quota::Service => own,
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
    fn a_fifth_and_no_more_while_it_warms_up_and_what_was_reserved_for_it_while_both_serve() {
        let own = Share { priority: 16, budget: 5_000_000, period: 10_000_000, hard_limit: false };
        let fifth = Share { budget: 2_000_000, ..own };
        let of = |quota| share(&netstack(), quota);
        assert_eq!(of(Quota::WarmUp), Share { priority: 15, hard_limit: true, ..fifth });
        assert_eq!((of(Quota::Beside), of(Quota::Service)), (fifth, own));
        let lowest = Manifest { priority: 0, ..netstack() };
        assert_eq!(share(&lowest, Quota::WarmUp).priority, 0);
    }

    #[test]
    fn who_has_no_budget_serves_without_one_on_both_sides() {
        let free = Manifest { budget_us: 0, ..netstack() };
        assert_eq!(share(&free, Quota::Beside), share(&free, Quota::Service));
        assert!(share(&free, Quota::WarmUp).hard_limit);
    }
}
