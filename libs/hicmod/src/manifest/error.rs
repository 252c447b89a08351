//! What can be wrong with a manifest: the field at fault, and what would be right.

use core::fmt;

use super::codec::SCHEMA_VERSION;
use super::{Authority, MAX_SUMMARY_BYTES, Name, Version};

/// Why a manifest was refused. `field` is the field's name in `hicmod.toml`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "each field is what the variant's line and its Display name")]
pub enum ManifestError {
    /// The bytes are not an encoded manifest.
    Encoding,
    /// A schema that this build cannot read.
    Schema { found: u16 },
    /// The buffer to write to is too small. The caller's fault.
    BufferTooSmall,
    /// A name that is not valid.
    InvalidName { field: &'static str, value: Name },
    /// The summary holds a control character.
    Summary,
    /// A number outside its range.
    OutOfRange { field: &'static str, value: u64, min: u64, max: u64 },
    /// A list that names something twice.
    Duplicate { field: &'static str, value: Name },
    /// A list that holds a number, or a range that overlaps another, twice.
    DuplicateNumber { field: &'static str, value: u64 },
    /// An authority that is named twice.
    DuplicateAuthority { authority: Authority },
    /// An optional authority that is not asked for.
    OptionalAuthority { authority: Authority },
    /// The interrupt that cascades the second controller.
    CascadeIrq,
    /// A budget that is larger than its period, or only one of the two is zero.
    Budget { budget_us: u32, period_us: u32 },
    /// `cpu = "hard"` without a budget: it would never run.
    HardWithoutBudget,
    /// A port range that leaves the 64 Ki ports.
    IoPorts { base: u16, len: u16 },
    /// A device claim without an identity.
    NoDeviceId,
    /// A field that this kind of module may not use.
    NotForKind { field: &'static str, allowed: &'static str },
    /// The publisher holds a control character.
    Publisher,
    /// A dependency on the module itself.
    OnItself { module: Name },
    /// A version in `tested_with` that is named twice or is the module's own.
    TestedWith { version: Version },
}

impl fmt::Display for ManifestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Encoding => write!(f, "the bytes are not a manifest"),
            Self::Schema { found } => {
                write!(
                    f,
                    "manifest schema {found} cannot be read, only schema {SCHEMA_VERSION}; pack the module again with the tool of \
                     this system"
                )
            }
            Self::BufferTooSmall => write!(f, "the buffer for the encoded manifest is too small"),
            Self::InvalidName { field, value } => write!(
                f,
                "{field}: \"{}\" is not a name: 1 to 24 of a-z 0-9 _ - . starting with a letter or digit",
                value.escape_debug()
            ),
            Self::Summary => {
                write!(
                    f,
                    "summary: must be one line of at most {MAX_SUMMARY_BYTES} bytes, no control characters"
                )
            }
            Self::OutOfRange { field, value, min, max } => {
                write!(f, "{field}: {value} is outside {min} to {max}")
            }
            Self::Duplicate { field, value } => {
                write!(f, "{field}: \"{value}\" is named twice; name it once")
            }
            Self::DuplicateNumber { field, value } => {
                write!(f, "{field}: {value:#x} is claimed twice; claim it once")
            }
            Self::DuplicateAuthority { authority } => {
                write!(f, "authority: {authority:?} is named twice; name it once")
            }
            Self::OptionalAuthority { authority } => {
                write!(f, "optional_authority: {} is not in authority; name it there, too", authority.name())
            }
            Self::CascadeIrq => {
                write!(f, "irqs: 2 is the cascade and never fires; use 0 to 15 without 2")
            }
            Self::Budget { budget_us, period_us } => write!(
                f,
                "budget_us: {budget_us} in each period_us of {period_us}; the budget must be 1 to period_us, or both 0"
            ),
            Self::HardWithoutBudget => {
                write!(
                    f,
                    "cpu: \"hard\" needs budget_us and period_us, else the module would never run; or use \"conserving\""
                )
            }
            Self::IoPorts { base, len } => {
                write!(
                    f,
                    "ioports: base {base:#x} with len {len} must hold 1 or more ports and end by 0xffff"
                )
            }
            Self::NoDeviceId => {
                write!(f, "devices: each entry needs at least one identity, such as ids = [\"1af4:1041\"]")
            }
            Self::NotForKind { field, allowed } => {
                write!(f, "{field}: only for kind = {allowed}; change the kind or leave the field out")
            }
            Self::Publisher => write!(f, "publisher: must be one line without control characters"),
            Self::OnItself { module } => {
                write!(f, "dependencies: {module} is this module; leave it out")
            }
            Self::TestedWith { version } => {
                write!(
                    f,
                    "update.tested_with: {version} is named twice or is the module's own; name each other one once"
                )
            }
        }
    }
}

impl core::error::Error for ManifestError {}
