//! What a release says about the world that it needs: other modules, interfaces, the runtime, the kernel; and what the build
//! recorded of it.
//!
//! Pure data and the checks that need nothing else. Which set of modules satisfies all of it is for the resolver.

use core::fmt;
use core::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::check::in_range;
use super::values::TextVisitor;
use super::{InvalidText, List, Manifest, ManifestError, Name, Requirement, Version};
use crate::name::is_valid_name;

/// Most modules that one module depends on by version.
pub const MAX_DEPENDENCIES: usize = 16;
/// Most interfaces that one module provides, and most that it needs.
pub const MAX_INTERFACES: usize = 8;
/// Most functional parts of one module.
pub const MAX_PARTS: usize = 8;
/// Longest name of a publisher, bytes.
pub const MAX_PUBLISHER_BYTES: usize = 48;
/// The name under which the runtime that every module links is installed: it can be depended on like a module.
pub const IPC_LIB: &str = "ipc_lib";
/// Longest time between two health checks, and longest time for an answer, milliseconds: a minute.
pub const MAX_HEALTH_MS: u32 = 60_000;

/// Another module that has to be installed, and in which versions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dependency {
    /// Its name.
    pub module: Name,
    /// Which versions will do.
    pub version: Requirement,
}

/// An interface with its version, written `tcp@1`: what a message means, not who answers it. Another number is another
/// interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interface {
    /// Its name.
    pub name: Name,
    /// Its version, from 1.
    pub version: u16,
}

/// Interfaces on both sides of a module.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Interfaces {
    /// What others can use.
    #[serde(default)]
    pub provides: List<Interface, MAX_INTERFACES>,
    /// What some installed module has to provide.
    #[serde(default)]
    pub needs: List<Interface, MAX_INTERFACES>,
}

/// A functional part of a module, with a version of its own: what a partial rollback can put back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Part {
    /// Its name, for example `tcp`.
    pub name: Name,
    /// Its version.
    pub version: Version,
}

/// A run of whole numbers, both ends included: versions of the Core-0 ABI, of the migration protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Span {
    /// The lowest.
    pub lowest: u16,
    /// The highest.
    pub highest: u16,
}

impl Span {
    /// One number.
    #[must_use]
    pub const fn only(number: u16) -> Self {
        Self { lowest: number, highest: number }
    }

    /// Whether `number` lies in it.
    #[must_use]
    pub const fn contains(&self, number: u16) -> bool {
        self.lowest <= number && number <= self.highest
    }

    /// Whether some number lies in both.
    #[must_use]
    pub const fn meets(&self, other: &Self) -> bool {
        self.lowest <= other.highest && other.lowest <= self.highest
    }

    pub(super) fn check(&self, field: &'static str) -> Result<(), ManifestError> {
        in_range(field, self.lowest, 1, u16::MAX)?;
        in_range(field, self.highest, self.lowest, u16::MAX)
    }
}

impl Default for Span {
    /// The first version, which is what a manifest that says nothing was written for.
    fn default() -> Self {
        Self::only(1)
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.lowest == self.highest {
            write!(f, "{}", self.lowest)
        } else {
            write!(f, "{} to {}", self.lowest, self.highest)
        }
    }
}

/// How its health is judged after an update. Times in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Health {
    /// From one check to the next while the rollback window is open, 100 to [`MAX_HEALTH_MS`].
    pub every_ms: u32,
    /// Checks in a row that must succeed before the window opens, 1 to 100.
    pub checks: u8,
}

/// What the build recorded; never written by an author.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Build {
    /// When it was built, seconds since 1970, UTC; 0: not recorded.
    #[serde(default)]
    pub time: u64,
    /// The runtime that was linked; `None`: none was found in the linked file.
    #[serde(default)]
    pub ipc_lib: Option<Version>,
}

/// What a system offers to every module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Platform {
    /// Version of the Core-0 ABI.
    pub abi: u16,
    /// Version of the runtime interface, which is installed as [`IPC_LIB`].
    pub ipc_lib: Version,
}

/// Why a module does not fit a system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "each field is what the variant's line and its Display name")]
pub enum PlatformError {
    /// It was made for other versions of the kernel's interface.
    Abi { needed: Span, offered: u16 },
    /// It links a runtime that this system does not speak.
    IpcLib { linked: Version, offered: Version },
}

impl PlatformError {
    /// The stable code that consoles and audit records show.
    #[must_use]
    pub const fn check_name(&self) -> &'static str {
        match self {
            Self::Abi { .. } => "abi",
            Self::IpcLib { .. } => IPC_LIB,
        }
    }
}

impl fmt::Display for PlatformError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Abi { needed, offered } => write!(
                f,
                "it needs version {needed} of the Core-0 interface and this system has {offered}; build the module for this system"
            ),
            Self::IpcLib { linked, offered } => write!(
                f,
                "it links {IPC_LIB} {linked} and this system speaks {offered}; build the module with a runtime of this system"
            ),
        }
    }
}

impl core::error::Error for PlatformError {}

impl Platform {
    /// Whether a module that was made for these versions of the kernel's interface and links this runtime can run here: the range holds the
    /// system's version, and the runtime is of the same major version and not newer.
    pub fn check(&self, needed: Span, linked: Option<Version>) -> Result<(), PlatformError> {
        let Self { abi, ipc_lib: offered } = *self;
        if !needed.contains(abi) {
            return Err(PlatformError::Abi { needed, offered: abi });
        }
        match linked {
            Some(linked) if linked.major != offered.major || linked > offered => {
                Err(PlatformError::IpcLib { linked, offered })
            }
            _ => Ok(()),
        }
    }
}

impl Manifest {
    /// Whether the module can run on such a system.
    pub fn check_platform(&self, platform: &Platform) -> Result<(), PlatformError> {
        platform.check(self.abi, self.build.ipc_lib)
    }

    /// The fields of this file.
    pub(super) fn check_release(&self) -> Result<(), ManifestError> {
        use super::check::names;
        if self.publisher.chars().any(char::is_control) {
            return Err(ManifestError::Publisher);
        }
        names("dependencies.module", || self.dependencies.iter().map(|dependency| &dependency.module))?;
        if let Some(own) = self.dependencies.iter().find(|dependency| dependency.module == self.name) {
            return Err(ManifestError::OnItself { module: own.module.clone() });
        }
        interfaces("interfaces.provides", &self.interfaces.provides)?;
        interfaces("interfaces.needs", &self.interfaces.needs)?;
        names("parts.name", || self.parts.iter().map(|part| &part.name))?;
        self.abi.check("abi")?;
        if let Some(health) = self.health {
            in_range("health.every_ms", health.every_ms, 100, MAX_HEALTH_MS)?;
            in_range("health.checks", health.checks, 1, 100)?;
        }
        Ok(())
    }
}

/// Each valid and none twice; the same name in two versions is two interfaces.
fn interfaces(field: &'static str, list: &[Interface]) -> Result<(), ManifestError> {
    for (index, interface) in list.iter().enumerate() {
        super::check::name(field, &interface.name)?;
        in_range(field, interface.version, 1, u16::MAX)?;
        if list.iter().take(index).any(|earlier| earlier == interface) {
            return Err(ManifestError::Duplicate { field, value: interface.name.clone() });
        }
    }
    Ok(())
}

const INTERFACE_FORM: InvalidText =
    InvalidText { expected: "an interface of the form \"tcp@1\": a name, @ and a version from 1 to 65535" };

impl fmt::Display for Interface {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.name, self.version)
    }
}

impl FromStr for Interface {
    type Err = InvalidText;

    fn from_str(text: &str) -> Result<Self, InvalidText> {
        let (name, version) = text.split_once('@').ok_or(INTERFACE_FORM)?;
        let version = super::values::decimal(version).and_then(|version| u16::try_from(version).ok());
        match (is_valid_name(name).then(|| name.parse().ok()).flatten(), version) {
            (Some(name), Some(version)) if version != 0 => Ok(Self { name, version }),
            _ => Err(INTERFACE_FORM),
        }
    }
}

impl Serialize for Interface {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.collect_str(self)
        } else {
            (&self.name, self.version).serialize(serializer)
        }
    }
}

impl<'de> Deserialize<'de> for Interface {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            deserializer.deserialize_str(TextVisitor(core::marker::PhantomData, INTERFACE_FORM))
        } else {
            let (name, version) = Deserialize::deserialize(deserializer)?;
            Ok(Self { name, version })
        }
    }
}

#[cfg(test)]
mod tests {
    use std::string::ToString;

    use super::super::tests::{netstack, refusal};
    use super::*;

    fn interface(text: &str) -> Interface {
        text.parse().unwrap()
    }

    #[test]
    fn interfaces_are_a_name_and_a_number() {
        assert_eq!(interface("tcp@1").to_string(), "tcp@1");
        for text in ["tcp", "tcp@", "tcp@0", "tcp@65536", "TCP@1", "@1", "tcp@01", "tcp@1@2"] {
            assert!(text.parse::<Interface>().is_err(), "{text}");
        }
        assert_eq!(serde_json::to_string(&interface("tcp@1")).unwrap(), "\"tcp@1\"");
        assert_eq!(serde_json::from_str::<Interface>("\"tcp@1\"").unwrap(), interface("tcp@1"));
    }

    #[test]
    fn a_module_is_refused_by_a_system_whose_kernel_or_runtime_it_does_not_know() {
        let platform = Platform { abi: 3, ipc_lib: Version::new(2, 1, 0) };
        let of = |lowest, highest, linked: Option<(u32, u32)>| {
            let mut manifest = netstack();
            manifest.abi = Span { lowest, highest };
            manifest.build.ipc_lib = linked.map(|(major, minor)| Version::new(major, minor, 0));
            manifest.check_platform(&platform).map_err(|error| {
                assert!(error.to_string().contains(';'), "says what to do: {error}");
                error.check_name()
            })
        };
        assert_eq!(of(3, 3, None), Ok(()));
        assert_eq!(of(2, 4, Some((2, 1))), Ok(()));
        assert_eq!(of(1, 3, Some((2, 0))), Ok(()), "an older runtime of the same major version");
        assert_eq!(of(1, 2, None), Err("abi"));
        assert_eq!(of(4, 4, None), Err("abi"));
        assert_eq!(of(3, 3, Some((2, 2))), Err("ipc_lib"));
        assert_eq!(of(3, 3, Some((1, 9))), Err("ipc_lib"));
    }

    #[test]
    fn what_a_release_says_about_others_is_checked() {
        let dependency =
            |module: &str| Dependency { module: module.parse().unwrap(), version: Requirement::ANY };
        let own = refusal(netstack(), |m| m.dependencies.push(dependency("netstack")).unwrap());
        assert_eq!(own, ManifestError::OnItself { module: "netstack".parse().unwrap() });
        let twice = |m: &mut Manifest| {
            m.dependencies = [dependency("a"), dependency("a")].into_iter().collect();
        };
        assert!(matches!(
            refusal(netstack(), twice),
            ManifestError::Duplicate { field: "dependencies.module", .. }
        ));
        let twice = |m: &mut Manifest| {
            m.interfaces.needs = [interface("a@1"), interface("a@1")].into_iter().collect()
        };
        assert!(matches!(
            refusal(netstack(), twice),
            ManifestError::Duplicate { field: "interfaces.needs", .. }
        ));
        let mut both = netstack();
        both.interfaces.provides = [interface("tcp@1"), interface("tcp@2")].into_iter().collect();
        assert_eq!(both.check(), Ok(()), "one version beside the other");
        let twice = |m: &mut Manifest| {
            m.interfaces.provides = [interface("a@1"), interface("a@1")].into_iter().collect()
        };
        assert!(matches!(
            refusal(netstack(), twice),
            ManifestError::Duplicate { field: "interfaces.provides", .. }
        ));
        let part = |name: &str| Part { name: name.parse().unwrap(), version: Version::new(1, 0, 0) };
        let twice = |m: &mut Manifest| m.parts = [part("tcp"), part("tcp")].into_iter().collect();
        assert!(matches!(refusal(netstack(), twice), ManifestError::Duplicate { field: "parts.name", .. }));
        let unnamed = |version, name: &str| {
            let name = name.parse().unwrap();
            refusal(netstack(), |m| m.interfaces.needs.push(Interface { name, version }).unwrap())
        };
        assert!(matches!(unnamed(1, "Tcp"), ManifestError::InvalidName { .. }));
        assert!(matches!(unnamed(0, "tcp"), ManifestError::OutOfRange { .. }));
        let publisher = refusal(netstack(), |m| m.publisher = "a\nb".parse().unwrap());
        assert_eq!(publisher, ManifestError::Publisher);
        let field = |change: fn(&mut Manifest)| match refusal(netstack(), change) {
            ManifestError::OutOfRange { field, .. } => field,
            other => panic!("{other}"),
        };
        assert_eq!(field(|m| m.abi = Span { lowest: 2, highest: 1 }), "abi");
        assert_eq!(field(|m| m.abi = Span { lowest: 0, highest: 1 }), "abi");
        assert_eq!(field(|m| m.health = Some(Health { every_ms: 99, checks: 1 })), "health.every_ms");
        assert_eq!(field(|m| m.health = Some(Health { every_ms: 100, checks: 0 })), "health.checks");
    }
}
