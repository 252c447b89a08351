//! The chain root (→ its successor) → intermediate → signer, each link checked before anything below it is believed (RFC 5280, 6.1).

use rsa::RsaPublicKey;

use super::certificate::{Certificate, Validity};
use super::revocation::Issuer;
use super::{
    CLOCK_TOLERANCE_S, DEVELOPMENT_ORGANISATION, RevocationList, Role, Signer, TrustRoot, VerifyError,
};
use crate::signature::SignatureBlock;

/// A signer whose chain was checked.
pub(super) struct ChainEnd {
    pub(super) key: RsaPublicKey,
    pub(super) name: Signer,
    validity: Validity,
    /// When the first certificate of the chain expires.
    pub(super) valid_until: u64,
    /// Whether the chain ends in a successor of the trusted root that is one for development.
    pub(super) development: bool,
}

/// Checks the certificates of `block` against `root` at the time `now`.
pub(super) fn check(
    root: &TrustRoot,
    block: &SignatureBlock<'_>,
    now: u64,
    revoked: &RevocationList<'_>,
) -> Result<ChainEnd, VerifyError> {
    root.validity.check(now)?;
    let intermediate = Certificate::parse(Role::Intermediate, block.intermediate)?;
    let successor = match block.cross {
        // A system that trusts the new root already has no use for the cross-certificate.
        Some(cross) if intermediate.fields.issuer != root.subject => {
            Some(check_successor(root, cross, now, revoked)?)
        }
        _ => None,
    };
    let top = match &successor {
        Some(new) => issuer(new),
        None => Issuer { name: &root.subject, key: &root.key, may_revoke: root.may_revoke },
    };
    // Told apart from a broken link, since the remedy differs: another chain, not another certificate.
    if successor.is_none() && intermediate.fields.issuer != root.subject {
        return Err(VerifyError::UnknownRoot);
    }
    intermediate.check_issuer(top.name, top.key)?;
    intermediate.validity().check(now)?;
    intermediate.check_authority(0)?;
    revoked.check(&top, &intermediate)?;

    let signer = Certificate::parse(Role::Signer, block.signer)?;
    signer.check_issuer(&intermediate.fields.subject, &intermediate.key)?;
    signer.validity().check(now)?;
    signer.check_code_signer()?;
    revoked.check(&issuer(&intermediate), &signer)?;

    let links = [successor.as_ref(), Some(&intermediate), Some(&signer)];
    let ends = links.into_iter().flatten().map(|link| link.validity().until);
    Ok(ChainEnd {
        name: signer.name(),
        validity: signer.validity(),
        valid_until: ends.fold(root.validity.until, u64::min),
        development: successor.is_some_and(|new| new.is_of(DEVELOPMENT_ORGANISATION)),
        key: signer.key,
    })
}

/// The new root in `cross`, which `root` accepts as its successor.
fn check_successor<'a>(
    root: &TrustRoot,
    cross: &'a [u8],
    now: u64,
    revoked: &RevocationList<'_>,
) -> Result<Certificate<'a>, VerifyError> {
    let successor = Certificate::parse(Role::NewRoot, cross)?;
    if successor.fields.issuer != root.subject {
        return Err(VerifyError::UnknownRoot);
    }
    if !root.may_be_succeeded() {
        return Err(VerifyError::PathLength { of: Role::Root });
    }
    successor.check_issuer(&root.subject, &root.key)?;
    successor.validity().check(now)?;
    successor.check_authority(1)?;
    let top = Issuer { name: &root.subject, key: &root.key, may_revoke: root.may_revoke };
    revoked.check(&top, &successor)?;
    Ok(successor)
}

fn issuer<'c>(certificate: &'c Certificate<'_>) -> Issuer<'c> {
    let may_revoke = certificate.may_revoke();
    Issuer { name: &certificate.fields.subject, key: &certificate.key, may_revoke }
}

/// That the module was signed while the signer's certificate was valid, and not in the future.
pub(super) fn check_timestamp(signer: &ChainEnd, signed_at: u64, now: u64) -> Result<(), VerifyError> {
    let Validity { from, until, .. } = signer.validity;
    if !(from..=until).contains(&signed_at) || signed_at > now.saturating_add(CLOCK_TOLERANCE_S) {
        return Err(VerifyError::Timestamp { signed_at, now });
    }
    Ok(())
}
