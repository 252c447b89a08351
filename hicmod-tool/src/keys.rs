//! Keys and certificates as files: making a chain, reading it again.
//!
//! A chain is a folder. Private keys are PKCS#8 in PEM, readable by their owner only; certificates are there in PEM for
//! people and their tools, and in DER for the guest. Nothing that exists is ever overwritten: a key that is lost is lost.

use std::fmt;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use hic_hicmod::sign::{
    CertificateSpec, IssuerKey, RsaPrivateKey, SignError, SignerKey, Validity, generate_key, issue,
    random_serial, sign_module,
};
use rsa::pkcs8::{DecodePrivateKey, EncodePrivateKey, LineEnding};
use rsa::rand_core::OsRng;
use x509_cert::der::{Encode, EncodePem};

/// The certificate of the root, DER: what a system that shall trust the chain is given.
pub const ROOT_DER: &str = "root.der";
/// The certificate of the root, PEM.
pub const ROOT_PEM: &str = "root.pem";
/// The certificates of signer and intermediate, PEM, in this order: what travels with a module.
pub const CHAIN_PEM: &str = "chain.pem";
/// The private key that signs modules.
pub const SIGNER_KEY: &str = "signer.key.pem";
/// The private key of the root; belongs on a machine without a network.
pub const ROOT_KEY: &str = "root.key.pem";
/// The private key of the intermediate.
pub const INTERMEDIATE_KEY: &str = "intermediate.key.pem";

const DAY_S: u64 = 86_400;
/// An intermediate lives as long as so many signers.
const INTERMEDIATE_LIVES: u64 = 3;
/// A root lives as long as so many signers.
const ROOT_LIVES: u64 = 10;

/// What a new chain shall be.
#[derive(Debug, Clone, Copy)]
pub struct ChainOptions {
    /// For development: systems that trust it say so.
    pub development: bool,
    /// Days for which the signer is valid; the intermediate three times, the root ten times as long.
    pub days: u32,
    /// The time, seconds since 1970, UTC. Certificates are valid from the day before on, since clocks differ.
    pub now: u64,
}

/// Why keys or certificates could not be made, read or used.
#[derive(Debug)]
pub enum KeyError {
    /// A file could not be read or written.
    File(PathBuf, std::io::Error),
    /// A file that would be overwritten.
    Exists(PathBuf),
    /// A file that holds no private key in PKCS#8 PEM.
    NoKey(PathBuf),
    /// A file that does not hold the certificates that are expected.
    Certificates {
        /// The file.
        path: PathBuf,
        /// How many certificates it should hold.
        expected: usize,
    },
    /// Signing or issuing.
    Sign(SignError),
    /// A key or certificate could not be written as PEM.
    Pem,
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path, error) => write!(f, "{}: {error}", path.display()),
            Self::Exists(path) => {
                write!(f, "{} exists and is never overwritten; choose another folder", path.display())
            }
            Self::NoKey(path) => {
                write!(f, "{}: no private key in PKCS#8 PEM (\"BEGIN PRIVATE KEY\")", path.display())
            }
            Self::Certificates { path, expected } => {
                write!(f, "{}: expected {expected} X.509 certificate(s), PEM or DER", path.display())
            }
            Self::Sign(error) => write!(f, "{error}"),
            Self::Pem => write!(f, "a key or certificate could not be written as PEM"),
        }
    }
}

impl std::error::Error for KeyError {}

impl From<SignError> for KeyError {
    fn from(error: SignError) -> Self {
        Self::Sign(error)
    }
}

/// Makes a root, an intermediate and a signer in `folder`, which is made if it is not there.
pub fn make_chain(folder: &Path, options: ChainOptions) -> Result<(), KeyError> {
    std::fs::create_dir_all(folder).map_err(|error| KeyError::File(folder.to_owned(), error))?;
    let rng = &mut OsRng;
    let valid = |lives: u64| Validity {
        from: options.now.saturating_sub(DAY_S),
        until: options.now + u64::from(options.days) * DAY_S * lives,
    };
    let development = options.development;

    let root_key = generate_key(rng)?;
    let spec =
        CertificateSpec::root(&root_key.to_public_key(), development, valid(ROOT_LIVES), random_serial(rng))?;
    let own = IssuerKey { certificate: None, key: &root_key };
    let root = issue(&spec, &root_key.to_public_key(), own, rng)?;

    let middle_key = generate_key(rng)?;
    let public = middle_key.to_public_key();
    let spec =
        CertificateSpec::intermediate(&public, development, valid(INTERMEDIATE_LIVES), random_serial(rng))?;
    let middle = issue(&spec, &public, IssuerKey { certificate: Some(&root), key: &root_key }, rng)?;

    let signer_key = generate_key(rng)?;
    let public = signer_key.to_public_key();
    let spec = CertificateSpec::signer(&public, development, valid(1), random_serial(rng))?;
    let signer = issue(&spec, &public, IssuerKey { certificate: Some(&middle), key: &middle_key }, rng)?;

    for (name, key, certificate) in
        [("root", &root_key, &root), ("intermediate", &middle_key, &middle), ("signer", &signer_key, &signer)]
    {
        write_key(&folder.join(format!("{name}.key.pem")), key)?;
        write_new(&folder.join(format!("{name}.pem")), pem(certificate)?.as_bytes(), PUBLIC)?;
        write_new(&folder.join(format!("{name}.der")), certificate, PUBLIC)?;
    }
    let chain = pem(&signer)? + &pem(&middle)?;
    write_new(&folder.join(CHAIN_PEM), chain.as_bytes(), PUBLIC)
}

/// What signs modules: a private key and the two certificates that travel with them.
pub struct SigningSet {
    key: RsaPrivateKey,
    signer: Vec<u8>,
    intermediate: Vec<u8>,
}

impl SigningSet {
    /// Reads the private key in `key` and the certificates of signer and intermediate in `chain`.
    pub fn load(key: &Path, chain: &Path) -> Result<Self, KeyError> {
        let certificates = read_certificates(chain)?;
        match <[Vec<u8>; 2]>::try_from(certificates) {
            Ok([signer, intermediate]) => Ok(Self { key: read_key(key)?, signer, intermediate }),
            Err(_) => Err(KeyError::Certificates { path: chain.to_owned(), expected: 2 }),
        }
    }

    /// Reads the set in a folder that [`make_chain`] made.
    pub fn load_folder(folder: &Path) -> Result<Self, KeyError> {
        Self::load(&folder.join(SIGNER_KEY), &folder.join(CHAIN_PEM))
    }

    /// `module` signed at `signed_at`, seconds since 1970, UTC. The private key is blinded with the system's randomness.
    pub fn sign(&self, module: &[u8], signed_at: u64) -> Result<Vec<u8>, KeyError> {
        let signer =
            SignerKey { key: &self.key, certificate: &self.signer, intermediate: &self.intermediate };
        Ok(sign_module(module, signer, signed_at, &mut OsRng)?)
    }

    /// The signer's certificate, DER.
    #[must_use]
    pub fn certificate(&self) -> &[u8] {
        &self.signer
    }
}

/// `lists` (may be empty) with `certificate` added to the list of its issuer, dated `now`.
pub fn revoke(
    lists: &[u8],
    certificate: &[u8],
    issuer: &[u8],
    issuer_key: &RsaPrivateKey,
    now: u64,
) -> Result<Vec<u8>, KeyError> {
    let issuer = IssuerKey { certificate: Some(issuer), key: issuer_key };
    Ok(hic_hicmod::sign::revoke(lists, certificate, issuer, now, &mut OsRng)?)
}

/// When `certificate`, DER, expires: seconds since 1970, UTC. `None` if it is no certificate.
#[must_use]
pub fn valid_until(certificate: &[u8]) -> Option<u64> {
    use x509_cert::der::Decode;
    let certificate = x509_cert::Certificate::from_der(certificate).ok()?;
    Some(certificate.tbs_certificate.validity.not_after.to_unix_duration().as_secs())
}

/// The private key in the file `path`.
pub fn read_key(path: &Path) -> Result<RsaPrivateKey, KeyError> {
    let text = std::fs::read_to_string(path).map_err(|error| KeyError::File(path.to_owned(), error))?;
    RsaPrivateKey::from_pkcs8_pem(&text).map_err(|_| KeyError::NoKey(path.to_owned()))
}

/// The only certificate in the file `path`, as DER.
pub fn read_certificate(path: &Path) -> Result<Vec<u8>, KeyError> {
    match <[Vec<u8>; 1]>::try_from(read_certificates(path)?) {
        Ok([certificate]) => Ok(certificate),
        Err(_) => Err(KeyError::Certificates { path: path.to_owned(), expected: 1 }),
    }
}

/// The certificates in the file `path`, PEM or DER, as DER.
fn read_certificates(path: &Path) -> Result<Vec<Vec<u8>>, KeyError> {
    let bytes = std::fs::read(path).map_err(|error| KeyError::File(path.to_owned(), error))?;
    if !bytes.starts_with(b"-----BEGIN") {
        return Ok(vec![bytes]);
    }
    let wrong = |_| KeyError::Certificates { path: path.to_owned(), expected: 1 };
    let chain = x509_cert::Certificate::load_pem_chain(&bytes).map_err(wrong)?;
    chain.iter().map(|certificate| certificate.to_der().map_err(wrong)).collect()
}

fn pem(certificate: &[u8]) -> Result<String, KeyError> {
    use x509_cert::der::Decode;
    let certificate = x509_cert::Certificate::from_der(certificate).map_err(|_| KeyError::Pem)?;
    certificate.to_pem(LineEnding::LF).map_err(|_| KeyError::Pem)
}

/// Readable by everyone, and by the owner alone.
const PUBLIC: u32 = 0o644;
const PRIVATE: u32 = 0o600;

fn write_key(path: &Path, key: &RsaPrivateKey) -> Result<(), KeyError> {
    let text = key.to_pkcs8_pem(LineEnding::LF).map_err(|_| KeyError::Pem)?;
    write_new(path, text.as_bytes(), PRIVATE)
}

fn write_new(path: &Path, bytes: &[u8], mode: u32) -> Result<(), KeyError> {
    let mut options = std::fs::OpenOptions::new();
    let opened = options.write(true).create_new(true).mode(mode).open(path);
    let written = opened.and_then(|mut file| file.write_all(bytes));
    written.map_err(|error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => KeyError::Exists(path.to_owned()),
        _ => KeyError::File(path.to_owned(), error),
    })
}
