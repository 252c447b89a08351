//! Whether a module may be believed: every check between bytes from outside and a manifest that someone acts on.
//!
//! ```text
//!   bytes → container → digest → chain (root → intermediate → signer) → signature → manifest → image → exports
//! ```
//!
//! Cheap checks come first, and nothing in the manifest or the image is read before the signature was found good. The
//! outcome is a [`Verified`], which cannot be made in any other way, or a [`VerifyError`] that names the check.
//!
//! Pure: the time, the root and the revocation list are given. The work is bounded: three certificates of bounded size,
//! a bounded list, each byte of the module hashed once where it lies, at most seven RSA operations with a small exponent. It needs a
//! heap, since the X.509 types own their parts. What it must never do: panic, or accept what it does not understand.

mod certificate;
mod chain;
mod error;
mod revocation;
mod root;

pub use error::{Role, VerifyError};
pub use revocation::{MAX_LISTS, MAX_REVOCATION_BYTES, RevocationList};
pub use root::{DEVELOPMENT_ORGANISATION, TrustRoot};

#[cfg(feature = "sign")]
pub(crate) use certificate::{CODE_SIGNING, SHA384_WITH_RSA, exact_key};

use rsa::{Pkcs1v15Sign, RsaPublicKey};
use sha2::Sha384;

use crate::container::{Container, Module};
use crate::signature::{ModuleDigest, SignatureBlock, content_digest};
use crate::verdict::MAX_SIGNER_BYTES;

/// How far ahead of our clock a signature may be dated, seconds: two clocks that are set by hand differ.
pub const CLOCK_TOLERANCE_S: u64 = 3600;

/// The common name in a certificate, in printable ASCII.
pub type Signer = heapless::String<MAX_SIGNER_BYTES>;

/// The name in the signer's certificate that travels with a module. It is a claim: only [`verify`] finds out whether that certificate made the signature, and
/// whether anybody vouches for it.
///
/// # Errors
/// The certificate cannot be read.
pub fn stated_signer(block: &SignatureBlock<'_>) -> Result<Signer, VerifyError> {
    certificate::Certificate::parse(Role::Signer, block.signer).map(|certificate| certificate.name())
}

/// A module that passed every check.
#[derive(Debug, Clone)]
pub struct Verified<'a> {
    module: Module<'a>,
    digest: ModuleDigest,
    signer: Signer,
    signed_at: u64,
    valid_until: u64,
    development: bool,
}

impl<'a> Verified<'a> {
    /// What may be loaded.
    #[must_use]
    pub const fn module(&self) -> &Module<'a> {
        &self.module
    }

    /// SHA-384 of the content, as [`content_digest`] defines it.
    #[must_use]
    pub const fn digest(&self) -> &ModuleDigest {
        &self.digest
    }

    /// Common name of the signer.
    #[must_use]
    pub const fn signer(&self) -> &Signer {
        &self.signer
    }

    /// The signed time of signing, seconds since 1970, UTC.
    #[must_use]
    pub const fn signed_at(&self) -> u64 {
        self.signed_at
    }

    /// When the first certificate of the chain expires, seconds since 1970, UTC.
    #[must_use]
    pub const fn valid_until(&self) -> u64 {
        self.valid_until
    }

    /// Whether the chain ends in a development root, whose keys lie on some developer's disk.
    #[must_use]
    pub const fn is_development(&self) -> bool {
        self.development
    }
}

/// Verifies the module which takes up all of `file`, at the time `now` (seconds since 1970, UTC).
pub fn verify<'a>(
    file: &'a [u8],
    root: &TrustRoot,
    now: u64,
    revoked: &RevocationList<'_>,
) -> Result<Verified<'a>, VerifyError> {
    let container = Container::parse(file).map_err(VerifyError::Container)?;
    let block = SignatureBlock::find(&container).map_err(VerifyError::Block)?;
    let digest = content_digest(&container).map_err(VerifyError::Block)?;
    if digest != block.digest {
        return Err(VerifyError::Digest);
    }
    let signer = chain::check(root, &block, now, revoked)?;
    if !is_signed_by(&signer.key, &block.statement(), block.signature) {
        return Err(VerifyError::Signature);
    }
    // Only now is the time that the signer states more than a claim.
    chain::check_timestamp(&signer, block.signed_at, now)?;
    let module = Module::of(&container).map_err(VerifyError::from)?;
    Ok(Verified {
        module,
        digest,
        signer: signer.name,
        signed_at: block.signed_at,
        valid_until: signer.valid_until,
        development: root.is_development() || signer.development,
    })
}

/// RSASSA-PKCS1-v1_5 with SHA-384. The encoded message is compared as a whole, so that no padding but the right one fits.
pub(crate) fn is_signed_by(key: &RsaPublicKey, hash: &[u8], signature: &[u8]) -> bool {
    key.verify(Pkcs1v15Sign::new::<Sha384>(), hash, signature).is_ok()
}

#[cfg(test)]
mod tests;
