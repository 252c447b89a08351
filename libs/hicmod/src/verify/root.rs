//! The root that a system trusts.

use rsa::RsaPublicKey;
use x509_cert::name::Name;

use super::certificate::{Certificate, Validity};
use super::{Role, Signer, VerifyError};

/// Organisation in the subject of a development root: made on a developer's machine, with a key that nobody guards.
pub const DEVELOPMENT_ORGANISATION: &str = "HIC development";
/// Authorities between the root and a signer.
const INTERMEDIATES: u8 = 1;

/// A root certificate that was installed with the system.
///
/// Its own signature is not verified: it is trusted because it was installed (RFC 5280, 6.1.1 d), not because it vouches
/// for itself.
#[derive(Debug, Clone)]
pub struct TrustRoot {
    pub(super) subject: Name,
    pub(super) key: RsaPublicKey,
    pub(super) validity: Validity,
    pub(super) may_revoke: bool,
    /// Most authorities below it; `None`: any number.
    pub(super) path: Option<u8>,
    name: Signer,
    development: bool,
}

impl TrustRoot {
    /// Reads the certificate, DER, which takes up all of `bytes`.
    pub fn parse(bytes: &[u8]) -> Result<Self, VerifyError> {
        let certificate = Certificate::parse(Role::Root, bytes)?;
        certificate.check_authority(INTERMEDIATES)?;
        Ok(Self {
            validity: certificate.validity(),
            may_revoke: certificate.may_revoke(),
            path: certificate.path(),
            name: certificate.name(),
            development: certificate.is_of(DEVELOPMENT_ORGANISATION),
            key: certificate.key,
            subject: certificate.fields.subject,
        })
    }

    /// Its common name.
    #[must_use]
    pub const fn name(&self) -> &Signer {
        &self.name
    }

    /// Whether it may accept a successor: its path has room for one more authority.
    #[must_use]
    pub fn may_be_succeeded(&self) -> bool {
        self.path.is_none_or(|most| most > INTERMEDIATES)
    }

    /// Whether it is a development root, by [`DEVELOPMENT_ORGANISATION`].
    #[must_use]
    pub const fn is_development(&self) -> bool {
        self.development
    }
}
