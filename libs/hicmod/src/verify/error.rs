//! Why a module was refused: one variant for each check, a stable code, and a sentence for an operator.

use core::fmt;
use core::time::Duration;

use x509_cert::der::DateTime;

use crate::container::{ContainerError, ExportsError, ModuleError};
use crate::image::ImageError;
use crate::manifest::ManifestError;
use crate::signature::BlockError;

/// A place in the chain of certificates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The root that this system trusts.
    Root,
    /// A new root, issued by the one that this system trusts.
    NewRoot,
    /// Issued by the root; issues to signers.
    Intermediate,
    /// Signs modules.
    Signer,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Root => "root",
            Self::NewRoot => "new root",
            Self::Intermediate => "intermediate",
            Self::Signer => "signer",
        })
    }
}

/// Why a module was refused. `of` is the certificate at fault; times are seconds since 1970, UTC.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "each field is what the variant's line and its Display name")]
pub enum VerifyError {
    /// The container: cut off, not a module, damaged.
    Container(ContainerError),
    /// The signature section: missing or malformed.
    Block(BlockError),
    /// The content is not what the signature section says.
    Digest,
    /// The signature does not fit the content and the signer's key.
    Signature,
    /// The bytes are not a certificate as RFC 5280 has it.
    Certificate { of: Role },
    /// Another algorithm than RSA with SHA-384.
    Algorithm { of: Role },
    /// A key that is not RSA-3072 with the exponent 65537.
    KeySize { of: Role },
    /// The root is not one that this system trusts: the issuer that the intermediate names is another.
    UnknownRoot,
    /// The certificate was not issued by the one above it.
    Chain { of: Role },
    /// Not valid yet.
    NotYetValid { of: Role, from: u64, now: u64 },
    /// No longer valid.
    Expired { of: Role, until: u64, now: u64 },
    /// Signed at a time at which the signer's certificate was not valid, or that is yet to come.
    Timestamp { signed_at: u64, now: u64 },
    /// The key may not be used for this.
    KeyUsage { of: Role, needed: &'static str },
    /// An issuer that is not a certificate authority, or a signer that is one.
    BasicConstraints { of: Role },
    /// More certificates below this one than it allows.
    PathLength { of: Role },
    /// An extension that must be understood, and is not.
    CriticalExtension { of: Role },
    /// Named by the revocation list.
    Revoked { of: Role },
    /// The revocation list itself is damaged or forged.
    RevocationList { problem: &'static str },
    /// Signed, but without one of the sections that a module needs.
    Incomplete { section: &'static str },
    /// Signed, but its manifest makes no sense.
    Manifest(ManifestError),
    /// Signed, but the image points outside itself.
    Image(ImageError),
    /// Signed, but the program serves something else than the manifest says.
    Exports(ExportsError),
}

impl From<ModuleError> for VerifyError {
    fn from(error: ModuleError) -> Self {
        match error {
            ModuleError::Container(error) => Self::Container(error),
            ModuleError::NoManifest => Self::Incomplete { section: "manifest" },
            ModuleError::NoImage => Self::Incomplete { section: "image" },
            ModuleError::Manifest(error) => Self::Manifest(error),
            ModuleError::Image(error) => Self::Image(error),
            ModuleError::Exports(error) => Self::Exports(error),
        }
    }
}

impl VerifyError {
    /// The stable code of the check that failed, for consoles, audit records and tests.
    #[must_use]
    pub const fn check_name(&self) -> &'static str {
        match self {
            Self::Container(error) => match error {
                ContainerError::Truncated { .. } => "truncated",
                ContainerError::TableChecksum { .. } | ContainerError::SectionChecksum { .. } => "checksum",
                _ => "format",
            },
            Self::Block(BlockError::Missing) => "unsigned",
            Self::Block(_) => "format",
            Self::Digest => "digest",
            Self::Signature => "signature",
            Self::Certificate { .. } | Self::CriticalExtension { .. } => "certificate",
            Self::Algorithm { .. } => "algorithm",
            Self::KeySize { .. } => "key-size",
            Self::UnknownRoot => "root",
            Self::Chain { .. } | Self::PathLength { .. } | Self::BasicConstraints { .. } => "chain",
            Self::NotYetValid { .. } | Self::Expired { .. } => "validity",
            Self::Timestamp { .. } => "timestamp",
            Self::KeyUsage { .. } => "key-usage",
            Self::Revoked { .. } => "revoked",
            Self::RevocationList { .. } => "revocation-list",
            Self::Incomplete { .. } => "format",
            Self::Manifest(_) => "manifest",
            Self::Image(error) => image_check(error),
            Self::Exports(_) => "exports",
        }
    }
}

const fn image_check(error: &ImageError) -> &'static str {
    match error {
        ImageError::TooManyRelocations { .. }
        | ImageError::RelocationUnaligned { .. }
        | ImageError::RelocationOutside { .. }
        | ImageError::RelocationOrder { .. }
        | ImageError::AddendOutside { .. } => "relocation",
        ImageError::TooManyExports { .. }
        | ImageError::ExportsPlace { .. }
        | ImageError::ExportName { .. }
        | ImageError::ExportTwice { .. } => "exports",
        ImageError::TooLarge { .. } | ImageError::NothingToExecute | ImageError::Entry { .. } => "segment",
        _ => "image",
    }
}

/// Seconds since 1970 as a date, or as the number where the calendar of certificates ends.
struct Date(u64);

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match DateTime::from_unix_duration(Duration::from_secs(self.0)) {
            Ok(date) => write!(f, "{date}"),
            Err(_) => write!(f, "{} s after 1970", self.0),
        }
    }
}

impl fmt::Display for VerifyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Container(ref error) => write!(f, "{error}; fetch the module again"),
            Self::Block(ref error) => write!(f, "{error}"),
            Self::Digest => {
                write!(f, "the module was changed after it was signed: digests differ; fetch it again")
            }
            Self::Signature => write!(
                f,
                "the signature does not fit the signer's key: the module was changed or someone else signed it; fetch it \
                 again, or sign it with the key of the certificate"
            ),
            Self::Incomplete { section } => {
                write!(f, "the signed file has no {section} section; pack the module again")
            }
            Self::Manifest(ref error) => write!(f, "manifest: {error}"),
            Self::Image(ref error) => write!(f, "{error}; pack the module again and sign it"),
            Self::Exports(ref error) => {
                write!(
                    f,
                    "{error}; make the two name the same services, then pack the module again and sign it"
                )
            }
            Self::RevocationList { problem } => {
                write!(f, "revocation list: {problem}; install the list again")
            }
            _ => self.write_chain(f),
        }
    }
}

impl VerifyError {
    fn write_chain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Certificate { of } => write!(f, "certificate of the {of} is malformed; issue it again"),
            Self::Algorithm { of } => {
                write!(
                    f,
                    "certificate of the {of} uses another algorithm than RSA with SHA-384; issue it again"
                )
            }
            Self::KeySize { of } => {
                write!(
                    f,
                    "key of the {of} is not RSA-3072 with exponent 65537; make a new key and certificate"
                )
            }
            Self::UnknownRoot => write!(
                f,
                "the chain does not end in the root that this system trusts; sign the module with a chain of that root"
            ),
            Self::Chain { of } => {
                write!(
                    f,
                    "certificate of the {of} was not issued by the one above it; sign with the right chain"
                )
            }
            Self::BasicConstraints { of: Role::Signer } => write!(
                f,
                "certificate of the signer is one of an authority; sign with a certificate that may not issue others"
            ),
            Self::BasicConstraints { of } => {
                write!(
                    f,
                    "certificate of the {of} may not issue others: it is no authority; issue it again as one"
                )
            }
            Self::PathLength { of } => {
                write!(
                    f,
                    "certificate of the {of} allows no such chain below it; issue it with a longer path"
                )
            }
            Self::CriticalExtension { of } => {
                write!(f, "certificate of the {of} has a critical extension unknown here; issue it without")
            }
            Self::Revoked { of } => {
                write!(f, "certificate of the {of} was revoked; sign the module with one that was not")
            }
            Self::KeyUsage { of, needed } => {
                write!(
                    f,
                    "certificate of the {of} does not allow its key the use {needed}; issue it again with it"
                )
            }
            _ => self.write_time(f),
        }
    }

    fn write_time(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::NotYetValid { of, from, now } => write!(
                f,
                "certificate of the {of} is valid from {} on, and it is {}; set the clock or wait",
                Date(from),
                Date(now)
            ),
            Self::Expired { of, until, now } => write!(
                f,
                "certificate of the {of} expired at {}, and it is {}; sign the module with a new certificate, or set the clock if that \
                 is wrong",
                Date(until),
                Date(now)
            ),
            Self::Timestamp { signed_at, now } => write!(
                f,
                "signed at {}, when the signer's certificate was not valid, or in the future (it is {}); set the clock \
                 right and sign again",
                Date(signed_at),
                Date(now)
            ),
            // Every other variant was written by the two callers above.
            _ => f.write_str(self.check_name()),
        }
    }
}

impl core::error::Error for VerifyError {}
