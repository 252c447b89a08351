//! The policy of a system: as people write it, and as it lies in the boot archive.
//!
//! In the archive: `HICP`, a two-byte schema number, two zero bytes, then in postcard the entry of `[default]` and, for each module in the
//! order of their names, its name and its entry. The guest reads entries one after the other until it has the one that it looks for, so that
//! memory for one is enough.

use core::fmt;

use hic_hicmod::manifest::{Manifest, Name};
use serde::Deserialize;

use crate::{Allowed, Decision, decide};

/// Name of the policy in a boot archive.
pub const POLICY: &str = "policy";
/// Longest policy, bytes; some three hundred modules.
pub const MAX_POLICY_BYTES: usize = 64 * 1024;

const MAGIC: [u8; 4] = *b"HICP";
const SCHEMA: u16 = 3;
const HEADER_BYTES: usize = 8;

/// What is wrong with a policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "each field is what the variant's line and its Display name")]
pub enum PolicyError {
    /// The bytes are no policy.
    NotAPolicy,
    /// A schema that this build cannot read.
    Schema { found: u16 },
    /// Longer than [`MAX_POLICY_BYTES`].
    TooLong,
    /// An entry cannot be read.
    Entry { number: usize },
    /// The entries are not in the order of their names, or two have one name.
    Order { number: usize },
}

impl fmt::Display for PolicyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAPolicy => {
                f.write_str("the archive's entry \"policy\" is no policy; build the image again")
            }
            Self::Schema { found } => {
                write!(f, "policy schema {found} cannot be read, only {SCHEMA}; build the image again")
            }
            Self::TooLong => write!(f, "a policy is at most {MAX_POLICY_BYTES} bytes"),
            Self::Entry { number } => write!(f, "entry {number} of the policy cannot be read"),
            Self::Order { number } => write!(
                f,
                "entry {number} of the policy is out of order; names ascend and none is named twice"
            ),
        }
    }
}

impl core::error::Error for PolicyError {}

/// A policy as it lies in the archive. Every entry was read once when it was opened.
#[derive(Debug, Clone)]
pub struct Policy<'a> {
    default: Allowed,
    entries: &'a [u8],
}

fn take<'a, T: Deserialize<'a>>(bytes: &'a [u8], number: usize) -> Result<(T, &'a [u8]), PolicyError> {
    postcard::take_from_bytes(bytes).map_err(|_| PolicyError::Entry { number })
}

impl<'a> Policy<'a> {
    /// A policy that allows nothing to anybody.
    pub const NOTHING: Self = Self { default: Allowed::NOTHING, entries: &[] };

    /// Reads and checks a policy which takes up all of `bytes`.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, PolicyError> {
        if bytes.len() > MAX_POLICY_BYTES {
            return Err(PolicyError::TooLong);
        }
        let (header, body) = bytes.split_first_chunk::<HEADER_BYTES>().ok_or(PolicyError::NotAPolicy)?;
        let [m0, m1, m2, m3, low, high, 0, 0] = *header else { return Err(PolicyError::NotAPolicy) };
        if [m0, m1, m2, m3] != MAGIC {
            return Err(PolicyError::NotAPolicy);
        }
        let found = u16::from_le_bytes([low, high]);
        if found != SCHEMA {
            return Err(PolicyError::Schema { found });
        }
        let (default, entries) = take(body, 0)?;
        let policy = Self { default, entries };
        policy.check()?;
        Ok(policy)
    }

    fn check(&self) -> Result<(), PolicyError> {
        let (mut rest, mut number, mut before) = (self.entries, 0, None::<Name>);
        while !rest.is_empty() {
            number += 1;
            let ((name, _), next) = take::<(Name, Allowed)>(rest, number)?;
            if before.is_some_and(|before| before >= name) {
                return Err(PolicyError::Order { number });
            }
            (rest, before) = (next, Some(name));
        }
        Ok(())
    }

    /// What a module of this name is allowed, and whether the policy names it.
    #[must_use]
    pub fn allowed(&self, module: &str) -> (Allowed, bool) {
        let mut rest = self.entries;
        while let Ok(((name, allowed), next)) = take::<(Name, Allowed)>(rest, 0) {
            if name == module {
                return (allowed, true);
            }
            rest = next;
        }
        (self.default.clone(), false)
    }

    /// What of the authority that a manifest asks for is granted.
    #[must_use]
    pub fn decide(&self, manifest: &Manifest) -> Decision {
        let (allowed, _) = self.allowed(&manifest.name);
        decide::decide(manifest, &allowed, !self.is_promised(&manifest.name))
    }

    /// Whether a module is allowed to be the service of this name that has another name itself.
    fn is_promised(&self, service: &Name) -> bool {
        let mut rest = self.entries;
        while let Ok(((name, allowed), next)) = take::<(Name, Allowed)>(rest, 0) {
            if name != *service && allowed.provides.contains(service) {
                return true;
            }
            rest = next;
        }
        false
    }
}

#[cfg(feature = "text")]
mod text {
    use alloc::collections::BTreeMap;
    use alloc::vec::Vec;

    use super::*;

    /// A policy as people write it: `[default]`, and `[module.NAME]` for each module with rules of its own.
    #[derive(Debug, Clone, Deserialize)]
    #[serde(deny_unknown_fields)]
    pub struct Rules {
        /// For every module that is not named.
        pub default: Allowed,
        /// By the names of modules.
        #[serde(default)]
        pub module: BTreeMap<Name, Allowed>,
    }

    impl Rules {
        /// The form for the boot archive.
        pub fn encode(&self) -> Result<Vec<u8>, PolicyError> {
            let mut bytes = Vec::from(MAGIC);
            bytes.extend_from_slice(&SCHEMA.to_le_bytes());
            bytes.extend_from_slice(&[0; 2]);
            let mut buffer = [0; 4096];
            let default = postcard::to_slice(&self.default, &mut buffer)
                .map_err(|_| PolicyError::Entry { number: 0 })?;
            bytes.extend_from_slice(default);
            for (number, entry) in self.module.iter().enumerate() {
                let number = number + 1;
                let entry =
                    postcard::to_slice(&entry, &mut buffer).map_err(|_| PolicyError::Entry { number })?;
                bytes.extend_from_slice(entry);
            }
            Policy::parse(&bytes)?;
            Ok(bytes)
        }
    }
}
#[cfg(feature = "text")]
pub use text::Rules;

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use hic_hicmod::manifest::{Authority, Kind, Version};
    use proptest::prelude::*;

    use super::*;

    const TEXT: &str = r#"
        [default]
        memory_pages = 64
        services = ["netstack"]

        [module.netstack]
        authority = ["clock", "entropy"]
        services = ["eth_driver"]
        memory_pages = 9000
        downgrade = ["1.2.0"]
        priority = 16

        [module.console]
        authority = ["power"]
        ioports = [{ base = 0x3f8, len = 8 }]
    "#;

    fn encoded() -> Vec<u8> {
        toml::from_str::<Rules>(TEXT).unwrap().encode().unwrap()
    }

    #[test]
    fn a_module_has_its_own_rules_and_a_newcomer_the_default() {
        let bytes = encoded();
        let policy = Policy::parse(&bytes).unwrap();
        let (netstack, named) = policy.allowed("netstack");
        assert_eq!(netstack.downgrade, [Version::new(1, 2, 0)]);
        assert!(named && netstack.authority == [Authority::Clock, Authority::Entropy]);
        assert_eq!(policy.allowed("console").0.ioports.len(), 1);
        let (newcomer, named) = policy.allowed("hello");
        assert_eq!((newcomer.memory_pages, newcomer.authority.is_empty(), named), (64, true, false));
    }

    #[test]
    fn a_name_that_is_promised_to_one_module_is_no_other_s_by_its_own_name() {
        let text = std::format!("{TEXT}\n[module.resolver]\nprovides = [\"dns\"]\nmemory_pages = 64\n");
        let bytes = toml::from_str::<Rules>(&text).unwrap().encode().unwrap();
        let policy = Policy::parse(&bytes).unwrap();
        let denied = |module: &str, service: &str| {
            let version = Version::new(1, 0, 0);
            let mut manifest = Manifest::least(module.parse().unwrap(), version, Kind::Service);
            manifest.provides = [service.parse().unwrap()].into_iter().collect();
            let decision = policy.decide(&manifest);
            assert_eq!(decision.granted.provides.is_empty(), decision.obstacle().is_some());
            decision.obstacle().map(std::string::ToString::to_string)
        };
        assert_eq!(denied("resolver", "dns"), None, "it was promised that name");
        assert_eq!(denied("resolver", "resolver"), None, "nobody was promised its own");
        assert_eq!(denied("dns", "dns"), Some("being the service dns".into()), "a squatter");
        assert_eq!(denied("hello", "hello"), None);
        assert_eq!(denied("hello", "dns"), Some("being the service dns".into()));
    }

    #[test]
    fn a_policy_that_is_cut_extended_or_shuffled_is_refused() {
        let good = encoded();
        for length in 0..good.len() {
            // What ends after a whole entry is a shorter policy; the archive's checksum and the kernel's digest rule it out.
            if let Ok(policy) = Policy::parse(&good[..length]) {
                assert!(policy.entries.len() < good.len());
            }
        }
        assert_eq!(Policy::parse(&good[..4]).unwrap_err(), PolicyError::NotAPolicy);
        let mut other = good.clone();
        other[4] = 9;
        assert_eq!(Policy::parse(&other).unwrap_err(), PolicyError::Schema { found: 9 });
        let entries = Policy::parse(&good).unwrap().entries;
        let twice = [&good[..], entries].concat();
        assert_eq!(Policy::parse(&twice).unwrap_err(), PolicyError::Order { number: 3 });
        let long = [&good[..], &[0; MAX_POLICY_BYTES]].concat();
        assert_eq!(Policy::parse(&long).unwrap_err(), PolicyError::TooLong);
    }

    #[test]
    fn a_field_that_is_misspelt_is_refused_and_not_taken_for_nothing() {
        assert!(toml::from_str::<Rules>("[default]\nautority = []").is_err());
        assert!(toml::from_str::<Rules>("[modules.netstack]").is_err());
    }

    proptest! {
        #[test]
        fn damaged_policies_never_panic_and_never_name_a_module_twice(
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        ) {
            let mut bytes = encoded();
            for (at, value) in changes {
                let at = at.index(bytes.len());
                bytes[at] = value;
            }
            if let Ok(policy) = Policy::parse(&bytes) {
                let _ = policy.allowed("netstack");
            }
        }
    }
}
