//! The chain root → intermediate → signer, each link checked before anything below it is believed (RFC 5280, 6.1).

use rsa::RsaPublicKey;

use super::certificate::{Certificate, Validity};
use super::revocation::Issuer;
use super::{CLOCK_TOLERANCE_S, RevocationList, Role, Signer, TrustRoot, VerifyError};
use crate::signature::SignatureBlock;

/// A signer whose chain was checked.
pub(super) struct ChainEnd {
    pub(super) key: RsaPublicKey,
    pub(super) name: Signer,
    validity: Validity,
    /// When the first certificate of the chain expires.
    pub(super) valid_until: u64,
}

/// Checks both certificates of `block` against `root` at the time `now`.
pub(super) fn check(
    root: &TrustRoot,
    block: &SignatureBlock<'_>,
    now: u64,
    revoked: &RevocationList<'_>,
) -> Result<ChainEnd, VerifyError> {
    root.validity.check(now)?;
    let intermediate = Certificate::parse(Role::Intermediate, block.intermediate)?;
    // Told apart from a broken link, since the remedy differs: another chain, not another certificate.
    if intermediate.fields.issuer != root.subject {
        return Err(VerifyError::UnknownRoot);
    }
    intermediate.check_issuer(&root.subject, &root.key)?;
    intermediate.validity().check(now)?;
    intermediate.check_authority(0)?;
    let top = Issuer { name: &root.subject, key: &root.key, may_revoke: root.may_revoke };
    revoked.check(&top, &intermediate)?;

    let signer = Certificate::parse(Role::Signer, block.signer)?;
    signer.check_issuer(&intermediate.fields.subject, &intermediate.key)?;
    signer.validity().check(now)?;
    signer.check_code_signer()?;
    let may_revoke = intermediate.may_revoke();
    let middle = Issuer { name: &intermediate.fields.subject, key: &intermediate.key, may_revoke };
    revoked.check(&middle, &signer)?;

    let (a, b, c) = (root.validity.until, intermediate.validity().until, signer.validity().until);
    Ok(ChainEnd {
        name: signer.name(),
        validity: signer.validity(),
        valid_until: a.min(b).min(c),
        key: signer.key,
    })
}

/// That the module was signed while the signer's certificate was valid, and not in the future.
pub(super) fn check_timestamp(signer: &ChainEnd, signed_at: u64, now: u64) -> Result<(), VerifyError> {
    let Validity { from, until, .. } = signer.validity;
    if !(from..=until).contains(&signed_at) || signed_at > now.saturating_add(CLOCK_TOLERANCE_S) {
        return Err(VerifyError::Timestamp { signed_at, now });
    }
    Ok(())
}
