//! Making and signing metadata, on the host.
//!
//! A private key is used with blinding (RUSTSEC-2023-0071); whoever holds it may also be another program: [`Signature`] is made from the
//! digest by anything that can sign. What it must never do: keep a private key, or run in the guest.

use alloc::vec::Vec;
use core::fmt;

use rsa::rand_core::CryptoRngCore;
use rsa::traits::PublicKeyParts;
use rsa::{Pkcs1v15Sign, RsaPrivateKey, RsaPublicKey};
use serde::Serialize;
use sha2::Sha384;

use crate::envelope::{MAGIC, MAX_SIGNATURES, statement};
use crate::key::{EXPONENT, RSA_BYTES};
use crate::metadata::{FileRef, Head, MAX_KEYS, Pointer, Role, RoleKeys, Root};
use crate::targets::{Target, Targets};
use crate::{Digest, Key, KeyId, MAX_ROOT_BYTES, MAX_SMALL_BYTES, MAX_TARGETS_BYTES};

/// Why nothing was written.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "each field is what the variant's line and its Display name")]
pub enum WriteError {
    /// A key that is not RSA-3072 with exponent 65537.
    Key,
    /// The private key operation failed.
    Rsa,
    /// More keys of all roles than fit a root.
    TooManyKeys,
    /// No signature, more than fit, or two of one key.
    Signatures { count: usize },
    /// The content contradicts itself.
    Content { problem: &'static str },
    /// The file would be longer than a client reads.
    TooLong { role: Role, bytes: usize, limit: usize },
}

impl fmt::Display for WriteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key => f.write_str("the key is not RSA-3072 with exponent 65537"),
            Self::Rsa => f.write_str("the private key could not be used; it is damaged"),
            Self::TooManyKeys => write!(f, "all roles together have more than {MAX_KEYS} keys"),
            Self::Signatures { count } => {
                write!(f, "{count} signatures; 1 to {MAX_SIGNATURES} of different keys are needed")
            }
            Self::Content { problem } => f.write_str(problem),
            Self::TooLong { role, bytes, limit } => {
                write!(f, "{role} would be {bytes} bytes long, the limit is {limit}")
            }
        }
    }
}

impl core::error::Error for WriteError {}

/// The modulus of a public key, as metadata carries it.
///
/// # Errors
/// [`WriteError::Key`].
pub fn modulus(key: &RsaPublicKey) -> Result<Vec<u8>, WriteError> {
    let modulus = key.n().to_bytes_be();
    if *key.e() != rsa::BigUint::from(EXPONENT) || !Key(&modulus).is_well_formed() {
        return Err(WriteError::Key);
    }
    Ok(modulus)
}

/// The keys of the roles root, timestamp, snapshot and targets, by their moduli, each with its threshold.
#[derive(Debug, Clone, Copy)]
pub struct RoleSpec<'a> {
    /// How many must sign.
    pub threshold: u8,
    /// Who may.
    pub keys: &'a [&'a [u8]],
}

/// A root that gives the roles of [`Role::ALL`] these keys.
///
/// # Errors
/// [`WriteError::TooManyKeys`], [`WriteError::Content`].
pub fn root<'a>(head: Head, unlisted: bool, roles: [RoleSpec<'a>; 4]) -> Result<Root<'a>, WriteError> {
    let mut all: Vec<&[u8]> = roles.iter().flat_map(|role| role.keys.iter().copied()).collect();
    all.sort_unstable();
    all.dedup();
    let number = |key: &&[u8]| all.binary_search(key).unwrap_or_default() as u8;
    let role_keys = roles.map(|role| {
        let mut keys: Vec<u8> = role.keys.iter().map(number).collect();
        keys.sort_unstable();
        keys.dedup();
        RoleKeys { threshold: role.threshold, keys: keys.into_iter().take(MAX_KEYS).collect() }
    });
    if all.len() > MAX_KEYS {
        return Err(WriteError::TooManyKeys);
    }
    let root = Root { head, unlisted, keys: all.into_iter().map(Key).collect(), roles: role_keys };
    root.problem().map_or(Ok(root), |problem| Err(WriteError::Content { problem }))
}

/// A payload that waits for its signatures.
#[derive(Debug, Clone)]
pub struct Draft {
    role: Role,
    payload: Vec<u8>,
}

impl Draft {
    /// Of a root.
    #[must_use]
    pub fn root(root: &Root<'_>) -> Self {
        Self { role: Role::Root, payload: bytes(root) }
    }

    /// Of the timestamp or snapshot that names `file`.
    #[must_use]
    pub fn pointer(role: Role, head: Head, file: FileRef) -> Self {
        Self { role, payload: bytes(&Pointer { head, file }) }
    }

    /// Of the list of these modules, in any order.
    ///
    /// # Errors
    /// [`WriteError::Content`]: an entry is not valid, or two have one file.
    pub fn targets(head: Head, targets: &[Target<'_>]) -> Result<Self, WriteError> {
        let mut sorted: Vec<&Target<'_>> = targets.iter().collect();
        sorted.sort_unstable_by_key(|target| target.file);
        let mut payload = bytes(&(head, sorted.len() as u32));
        sorted.iter().for_each(|target| payload.extend(bytes(target)));
        match Targets::parse(&payload) {
            Ok(_) => Ok(Self { role: Role::Targets, payload }),
            Err(crate::Check::Form { problem }) => Err(WriteError::Content { problem }),
            Err(_) => Err(WriteError::Content { problem: "the list cannot be read back" }),
        }
    }

    /// Another payload, for tests of what a client refuses.
    #[must_use]
    pub fn raw(role: Role, payload: Vec<u8>) -> Self {
        Self { role, payload }
    }

    /// What signatures are made over: a SHA-384 digest.
    #[must_use]
    pub fn statement(&self) -> Digest {
        statement(self.role as u8, &self.payload)
    }

    /// The file with these signatures.
    ///
    /// # Errors
    /// [`WriteError::Signatures`], [`WriteError::TooLong`].
    pub fn finish(&self, mut signatures: Vec<Signature>) -> Result<Vec<u8>, WriteError> {
        signatures.sort_unstable_by_key(|signature| signature.key);
        let count = signatures.len();
        let repeated = signatures.windows(2).any(|pair| pair[0].key == pair[1].key);
        if !(1..=MAX_SIGNATURES).contains(&count) || repeated {
            return Err(WriteError::Signatures { count });
        }
        let mut file = Vec::from(MAGIC);
        file.extend(self.role.format().to_le_bytes());
        file.extend([self.role as u8, count as u8]);
        file.extend((self.payload.len() as u32).to_le_bytes());
        file.extend(&self.payload);
        for signature in signatures {
            file.extend(signature.key.as_bytes());
            file.extend(signature.bytes);
        }
        let (role, bytes, limit) = (self.role, file.len(), limit_of(self.role));
        if bytes > limit { Err(WriteError::TooLong { role, bytes, limit }) } else { Ok(file) }
    }

    /// The file, signed by `keys`.
    ///
    /// # Errors
    /// [`WriteError`].
    pub fn sign(&self, keys: &[&RsaPrivateKey], rng: &mut impl CryptoRngCore) -> Result<Vec<u8>, WriteError> {
        let statement = self.statement();
        let mut signatures = Vec::new();
        for key in keys {
            signatures.push(Signature::make(key, &statement, rng)?);
        }
        self.finish(signatures)
    }
}

/// A signature with the identifier of its key.
#[derive(Debug, Clone)]
pub struct Signature {
    key: KeyId,
    bytes: [u8; RSA_BYTES],
}

impl Signature {
    /// Signs a statement. `rng` blinds the private key.
    ///
    /// # Errors
    /// [`WriteError::Key`], [`WriteError::Rsa`].
    pub fn make(
        key: &RsaPrivateKey,
        statement: &Digest,
        rng: &mut impl CryptoRngCore,
    ) -> Result<Self, WriteError> {
        let modulus = modulus(&key.to_public_key())?;
        let made = key.sign_with_rng(rng, Pkcs1v15Sign::new::<Sha384>(), statement.as_bytes());
        let bytes = made.map_err(|_| WriteError::Rsa)?.try_into().map_err(|_| WriteError::Rsa)?;
        Ok(Self { key: Key(&modulus).id(), bytes })
    }
}

/// How another file names `file`.
#[must_use]
pub fn reference(version: u32, file: &[u8]) -> FileRef {
    FileRef { version, length: file.len() as u32, digest: Digest::of(file) }
}

/// Most bytes of a file of this role.
#[must_use]
pub const fn limit_of(role: Role) -> usize {
    match role {
        Role::Root => MAX_ROOT_BYTES,
        Role::Timestamp | Role::Snapshot => MAX_SMALL_BYTES,
        Role::Targets => MAX_TARGETS_BYTES,
    }
}

fn bytes(value: &impl Serialize) -> Vec<u8> {
    let size = postcard::experimental::serialized_size(value).unwrap_or_default();
    let mut buffer = alloc::vec![0; size];
    // The buffer is as long as the value, and these types cannot fail otherwise.
    let used = postcard::to_slice(value, &mut buffer).map_or(0, |used| used.len());
    buffer.truncate(used);
    buffer
}

/// Reads the parts of a file for a person or a tool: role, version and times, whether anybody believes it or not.
#[must_use]
pub fn peek(role: Role, file: &[u8]) -> Option<Head> {
    let payload = crate::envelope::Envelope::parse(role, file).ok()?.payload();
    postcard::take_from_bytes::<Head>(payload).ok().map(|(head, _)| head)
}

/// A root file of one's own, whether anybody believes it or not.
#[must_use]
pub fn root_of(file: &[u8]) -> Option<Root<'_>> {
    Root::parse(crate::envelope::Envelope::parse(Role::Root, file).ok()?.payload()).ok()
}

/// Whether as many keys as must have signed the file of `role`, for clients that know `root`.
#[must_use]
pub fn is_signed(root: &Root<'_>, role: Role, file: &[u8]) -> bool {
    crate::envelope::Envelope::parse(role, file).is_ok_and(|file| root.check_signed(role, &file).is_ok())
}
