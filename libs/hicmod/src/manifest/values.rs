//! Values with a written form: versions and PCI identities. Text for people (TOML, JSON), numbers in the module.

use core::fmt;
use core::str::FromStr;

use serde::de::Visitor;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A version by semantic versioning (semver.org 2.0.0), without pre-release and build parts: what is installed is a
/// release, and two releases must never compare as equal and yet differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version {
    /// Incompatible interface changes.
    pub major: u32,
    /// Compatible additions.
    pub minor: u32,
    /// Corrections.
    pub patch: u32,
}

impl Version {
    /// The version `major.minor.patch`.
    pub const fn new(major: u32, minor: u32, patch: u32) -> Self {
        Version { major, minor, patch }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

/// The text is not of the form that the value's type prints.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InvalidText {
    pub(super) expected: &'static str,
}

impl fmt::Display for InvalidText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "expected {}", self.expected)
    }
}

impl core::error::Error for InvalidText {}

const VERSION_FORM: InvalidText =
    InvalidText { expected: "a version of the form \"1.2.3\": three decimal numbers without leading zeroes" };
const PCI_ID_FORM: InvalidText = InvalidText {
    expected: "a PCI identity of the form \"1af4:1041\": vendor and device, four hex digits each",
};

impl FromStr for Version {
    type Err = InvalidText;

    fn from_str(text: &str) -> Result<Self, InvalidText> {
        let mut parts = text.split('.').map(decimal);
        let mut next = || parts.next().flatten().ok_or(VERSION_FORM);
        let version = Version::new(next()?, next()?, next()?);
        if parts.next().is_some() { Err(VERSION_FORM) } else { Ok(version) }
    }
}

/// A decimal number in its only written form: no sign, no leading zero.
pub(super) fn decimal(text: &str) -> Option<u32> {
    let canonical = text.bytes().all(|b| b.is_ascii_digit()) && (text.len() == 1 || !text.starts_with('0'));
    if canonical { text.parse().ok() } else { None }
}

/// Identity of a PCI function: the first two words of its configuration space (PCI Local Bus 3.0, 6.2.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PciId {
    /// Vendor identification.
    pub vendor: u16,
    /// Device identification.
    pub device: u16,
}

impl fmt::Display for PciId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04x}:{:04x}", self.vendor, self.device)
    }
}

impl FromStr for PciId {
    type Err = InvalidText;

    fn from_str(text: &str) -> Result<Self, InvalidText> {
        let (vendor, device) = text.split_once(':').ok_or(PCI_ID_FORM)?;
        Ok(PciId { vendor: hex16(vendor)?, device: hex16(device)? })
    }
}

fn hex16(text: &str) -> Result<u16, InvalidText> {
    if text.len() != 4 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err(PCI_ID_FORM);
    }
    u16::from_str_radix(text, 16).map_err(|_| PCI_ID_FORM)
}

/// Parses a `T` from the text of a human-readable format.
pub(super) struct TextVisitor<T>(pub(super) core::marker::PhantomData<T>, pub(super) InvalidText);

impl<T: FromStr<Err = InvalidText>> Visitor<'_> for TextVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.1.expected)
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<T, E> {
        text.parse().map_err(|_| E::invalid_value(serde::de::Unexpected::Str(text), &self))
    }
}

impl Serialize for Version {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.collect_str(self)
        } else {
            (self.major, self.minor, self.patch).serialize(serializer)
        }
    }
}

impl<'de> Deserialize<'de> for Version {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            deserializer.deserialize_str(TextVisitor(core::marker::PhantomData, VERSION_FORM))
        } else {
            let (major, minor, patch) = Deserialize::deserialize(deserializer)?;
            Ok(Version { major, minor, patch })
        }
    }
}

impl Serialize for PciId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.collect_str(self)
        } else {
            (self.vendor, self.device).serialize(serializer)
        }
    }
}

impl<'de> Deserialize<'de> for PciId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            deserializer.deserialize_str(TextVisitor(core::marker::PhantomData, PCI_ID_FORM))
        } else {
            let (vendor, device) = Deserialize::deserialize(deserializer)?;
            Ok(PciId { vendor, device })
        }
    }
}
