//! Why keys or certificates could not be made, read or used.

use std::fmt;
use std::path::PathBuf;
use std::process::ExitStatus;

use hic_hicmod::sign::SignError;

/// Why keys or certificates could not be made, read or used.
#[derive(Debug)]
pub enum KeyError {
    /// A file could not be read or written.
    File(PathBuf, std::io::Error),
    /// A file that would be overwritten.
    Exists(PathBuf),
    /// A file that holds no private key in PKCS#8 PEM.
    NoKey(PathBuf),
    /// A file that holds no key at all, nor a request for a certificate.
    NoSubject(PathBuf),
    /// A private key that is encrypted, where nobody can be asked for the passphrase.
    Encrypted(PathBuf),
    /// A private key that does not open with the passphrase.
    Passphrase(PathBuf),
    /// No passphrase could be had, and why.
    NoPassphrase(String),
    /// A file that does not hold the certificates that are expected.
    Certificates {
        /// The file.
        path: PathBuf,
        /// What it should hold.
        expected: &'static str,
    },
    /// A request for a certificate whose signature is not by the key that it names.
    Request(PathBuf),
    /// The private key and the first certificate do not belong together.
    KeyOfOther {
        /// The private key.
        key: PathBuf,
        /// The certificates.
        chain: PathBuf,
    },
    /// A certificate that neither root nor intermediate of this authority issued.
    NotIssuedHere(PathBuf),
    /// A root whose certificate does not let it accept another one.
    NoSuccessor(PathBuf),
    /// The command that signs could not be run.
    Command(String, std::io::Error),
    /// The command that signs ended like this.
    CommandFailed(String, ExitStatus),
    /// What the command that signs printed is no signature: bytes.
    NoSignature(String, usize),
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
                write!(f, "{} exists and is never overwritten; choose another place", path.display())
            }
            Self::NoKey(path) => write!(
                f,
                "{}: no private key in PKCS#8 PEM (\"BEGIN PRIVATE KEY\" or \"BEGIN ENCRYPTED PRIVATE KEY\"); `openssl pkey \
                 -in OLD -out NEW` turns other forms into it",
                path.display()
            ),
            Self::NoSubject(path) => write!(
                f,
                "{}: neither a public key (\"BEGIN PUBLIC KEY\"), nor a request (\"BEGIN CERTIFICATE REQUEST\"), nor a private key",
                path.display()
            ),
            Self::Encrypted(path) => write!(
                f,
                "{} is encrypted; give its passphrase with --passphrase-file or --passphrase-env, or type it at a terminal",
                path.display()
            ),
            Self::Passphrase(path) => write!(
                f,
                "{} does not open: a wrong passphrase, or an encryption other than PBES2 with AES (`openssl pkcs8 -topk8 -v2 \
                 aes-256-cbc` writes that)",
                path.display()
            ),
            Self::NoPassphrase(why) => write!(f, "no passphrase: {why}"),
            Self::Certificates { path, expected } => {
                write!(f, "{}: expected {expected}, X.509 in PEM or DER", path.display())
            }
            Self::Request(path) => write!(
                f,
                "{}: the request is not signed by the key that it names (RSA with SHA-256 or SHA-384 is understood); make it again",
                path.display()
            ),
            _ => self.write_use(f),
        }
    }
}

impl KeyError {
    fn write_use(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::KeyOfOther { key, chain } => write!(
                f,
                "{} is not the key of the first certificate in {}; give the key that it was issued for",
                key.display(),
                chain.display()
            ),
            Self::NotIssuedHere(path) => write!(
                f,
                "{} was not issued by the root or the intermediate of this folder; give the folder of its issuer with --ca",
                path.display()
            ),
            Self::NoSuccessor(path) => write!(
                f,
                "{}: its path length lets the root accept no successor, and every system would refuse what that signs; make a new authority with \
                 `hicmod-tool ca init`, and new systems with its root",
                path.display()
            ),
            Self::Command(command, error) => write!(f, "cannot run `{command}`: {error}"),
            Self::CommandFailed(command, status) => {
                write!(f, "`{command}` did not sign ({status}); what it said is above")
            }
            Self::NoSignature(command, bytes) => write!(
                f,
                "`{command}` printed {bytes} bytes that are no signature; it must print 384 bytes, or the same in Base64, and \
                 nothing else"
            ),
            Self::Sign(error) => write!(f, "{error}"),
            // Every other variant was written by the caller above.
            _ => write!(f, "a key or certificate could not be written as PEM"),
        }
    }
}

impl std::error::Error for KeyError {}

impl From<SignError> for KeyError {
    fn from(error: SignError) -> Self {
        Self::Sign(error)
    }
}
