//! Private keys: PKCS#8 in PEM (RFC 5958, RFC 7468), encrypted with PBES2 (RFC 8018) if there is a passphrase: AES-256-CBC under a key
//! that scrypt derives. `openssl` reads and writes the same files.
//!
//! What it must never do: write a private key that others than its owner can read.

use std::path::Path;

use hic_hicmod::sign::RsaPrivateKey;
use rsa::pkcs8::pkcs5::{pbes2, scrypt};
use rsa::pkcs8::{DecodePrivateKey, EncodePrivateKey, EncodePublicKey, LineEnding, PrivateKeyInfo};
use rsa::rand_core::{OsRng, RngCore};
use zeroize::Zeroizing;

use super::KeyError;
use super::files::{PRIVATE, PUBLIC, read as read_file, write_new};

/// What guessing a passphrase costs: 16 MiB and five passes. openssl opens nothing that takes more than 32 MiB, so the passes make up for
/// the memory.
const SCRYPT_LOG_N: u8 = 14;
const SCRYPT_R: u32 = 8;
const SCRYPT_P: u32 = 5;
/// Bytes of an AES-256 key.
const DERIVED_BYTES: usize = 32;

/// A passphrase; wiped from memory when it is dropped.
pub type Passphrase = Zeroizing<String>;

/// Whoever is asked for the passphrase of the key in a file.
pub type Ask<'a> = &'a mut dyn FnMut(&Path) -> Result<Passphrase, KeyError>;

/// Writes `key` to the new file `path`, encrypted if there is a passphrase.
///
/// # Errors
/// [`KeyError::Exists`], [`KeyError::File`], [`KeyError::Pem`].
pub fn write(path: &Path, key: &RsaPrivateKey, passphrase: Option<&Passphrase>) -> Result<(), KeyError> {
    let text = match passphrase {
        Some(passphrase) => encrypted(key, passphrase),
        None => key.to_pkcs8_pem(LineEnding::LF).ok(),
    };
    write_new(path, text.ok_or(KeyError::Pem)?.as_bytes(), PRIVATE)
}

/// As PEM, encrypted.
fn encrypted(key: &RsaPrivateKey, passphrase: &Passphrase) -> Option<Zeroizing<String>> {
    let (mut salt, mut iv) = ([0; 16], [0; 16]);
    OsRng.fill_bytes(&mut salt);
    OsRng.fill_bytes(&mut iv);
    let cost = scrypt::Params::new(SCRYPT_LOG_N, SCRYPT_R, SCRYPT_P, DERIVED_BYTES).ok()?;
    let cipher = pbes2::Parameters::scrypt_aes256cbc(cost, &salt, &iv).ok()?;
    let plain = key.to_pkcs8_der().ok()?;
    let plain = PrivateKeyInfo::try_from(plain.as_bytes()).ok()?;
    let sealed = plain.encrypt_with_params(cipher, passphrase.as_bytes()).ok()?;
    sealed.to_pem("ENCRYPTED PRIVATE KEY", LineEnding::LF).ok()
}

/// Writes the public part of `key` to the new file `path`.
///
/// # Errors
/// As [`write`].
pub fn write_public(path: &Path, key: &RsaPrivateKey) -> Result<(), KeyError> {
    let text = key.to_public_key().to_public_key_pem(LineEnding::LF).map_err(|_| KeyError::Pem)?;
    write_new(path, text.as_bytes(), PUBLIC)
}

/// The private key in the file `path`; `ask` is asked for its passphrase if it is encrypted.
///
/// # Errors
/// [`KeyError::NoKey`], [`KeyError::Passphrase`], [`KeyError::File`], and what `ask` returns.
pub fn read(path: &Path, ask: Ask<'_>) -> Result<RsaPrivateKey, KeyError> {
    let no_key = || KeyError::NoKey(path.to_owned());
    let bytes = Zeroizing::new(read_file(path)?);
    let text = std::str::from_utf8(&bytes).map_err(|_| no_key())?;
    if !text.contains("-----BEGIN ENCRYPTED PRIVATE KEY-----") {
        return RsaPrivateKey::from_pkcs8_pem(text).map_err(|_| no_key());
    }
    let passphrase = ask(path)?;
    RsaPrivateKey::from_pkcs8_encrypted_pem(text, passphrase.as_bytes())
        .map_err(|_| KeyError::Passphrase(path.to_owned()))
}
