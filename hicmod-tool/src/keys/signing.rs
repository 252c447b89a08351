//! What signs modules: a private key or a command that has one, and the certificates that travel with them.

use std::path::Path;

use hic_hicmod::sign::{Certificates, Draft, RsaPrivateKey, RsaPublicKey, SignerKey, sign_module};
use rsa::rand_core::OsRng;
use x509_cert::der::Decode;
use x509_cert::der::referenced::OwnedToRef;

use super::private::{self, Ask};
use super::{CHAIN_PEM, KeyError, SIGNER_KEY, external, files, same_key};

/// Who holds the private key.
enum Holder {
    /// This process.
    Key(Box<RsaPrivateKey>),
    /// A command of the shell.
    Command(String),
}

/// A signer: who holds its private key, and its certificates.
pub struct SigningSet {
    holder: Holder,
    signer: Vec<u8>,
    intermediate: Vec<u8>,
    cross: Option<Vec<u8>>,
}

impl SigningSet {
    /// Reads the private key in `key` and the certificates in `chain`: of signer and intermediate, and of a new root by the old one if it
    /// has one.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn load(key: &Path, chain: &Path, ask: Ask<'_>) -> Result<Self, KeyError> {
        let certificates = chain_of(chain)?;
        let private = private::read(key, ask)?;
        let set = Self::new(Holder::Key(Box::new(private.clone())), certificates);
        match certified_key(&set.signer) {
            Some(certified) if same_key(&certified, &private.to_public_key()) => Ok(set),
            _ => Err(KeyError::KeyOfOther { key: key.to_owned(), chain: chain.to_owned() }),
        }
    }

    /// A set whose private key `command` holds: see `--signer`.
    ///
    /// # Errors
    /// [`KeyError::Certificates`], [`KeyError::File`].
    pub fn with_command(command: &str, chain: &Path) -> Result<Self, KeyError> {
        Ok(Self::new(Holder::Command(command.to_owned()), chain_of(chain)?))
    }

    /// Reads the set in a folder that [`super::make_chain`] made.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn load_folder(folder: &Path) -> Result<Self, KeyError> {
        let encrypted = &mut |path: &Path| Err(KeyError::Encrypted(path.to_owned()));
        Self::load(&folder.join(SIGNER_KEY), &folder.join(CHAIN_PEM), encrypted)
    }

    fn new(holder: Holder, certificates: Vec<Vec<u8>>) -> Self {
        let mut certificates = certificates.into_iter();
        let mut next = || certificates.next();
        // `chain_of` returned two or three.
        Self {
            holder,
            signer: next().unwrap_or_default(),
            intermediate: next().unwrap_or_default(),
            cross: next(),
        }
    }

    /// `module` signed at `signed_at`, seconds since 1970, UTC. A private key that is here is blinded with the system's randomness.
    ///
    /// # Errors
    /// [`KeyError::Sign`], and those of a command.
    pub fn sign(&self, module: &[u8], signed_at: u64) -> Result<Vec<u8>, KeyError> {
        let (signer, intermediate) = (self.signer.as_slice(), self.intermediate.as_slice());
        let chain = Certificates { signer, intermediate, cross: self.cross.as_deref() };
        match &self.holder {
            Holder::Key(key) => Ok(sign_module(module, SignerKey { key, chain }, signed_at, &mut OsRng)?),
            Holder::Command(command) => {
                let draft = Draft::new(module, chain, signed_at)?;
                let signature = external::sign(command, &draft.message())?;
                Ok(draft.finish(&signature)?)
            }
        }
    }

    /// The signer's certificate, DER.
    #[must_use]
    pub fn certificate(&self) -> &[u8] {
        &self.signer
    }
}

/// Two or three certificates.
fn chain_of(chain: &Path) -> Result<Vec<Vec<u8>>, KeyError> {
    let certificates = files::read_certificates(chain)?;
    if (2..=3).contains(&certificates.len()) {
        return Ok(certificates);
    }
    let expected =
        "the certificates of signer and intermediate (and of a new root by the old one), in this order";
    Err(KeyError::Certificates { path: chain.to_owned(), expected })
}

fn certified_key(certificate: &[u8]) -> Option<RsaPublicKey> {
    let certificate = x509_cert::Certificate::from_der(certificate).ok()?.tbs_certificate;
    RsaPublicKey::try_from(certificate.subject_public_key_info.owned_to_ref()).ok()
}
