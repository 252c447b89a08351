//! Files of keys and certificates.

use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use x509_cert::der::Encode;

use super::{KeyError, pem};

/// Readable by everyone.
pub(super) const PUBLIC: u32 = 0o644;
/// Readable by the owner alone.
pub(super) const PRIVATE: u32 = 0o600;

/// The only certificate in the file `path`, as DER.
///
/// # Errors
/// [`KeyError`].
pub fn read_certificate(path: &Path) -> Result<Vec<u8>, KeyError> {
    match <[Vec<u8>; 1]>::try_from(read_certificates(path)?) {
        Ok([certificate]) => Ok(certificate),
        Err(_) => Err(KeyError::Certificates { path: path.to_owned(), expected: "one certificate" }),
    }
}

/// The certificates in the file `path`, PEM or DER, as DER; at least one.
///
/// # Errors
/// [`KeyError`].
pub fn read_certificates(path: &Path) -> Result<Vec<Vec<u8>>, KeyError> {
    let bytes = read(path)?;
    if !bytes.starts_with(b"-----BEGIN") {
        return Ok(vec![bytes]);
    }
    let wrong = || KeyError::Certificates { path: path.to_owned(), expected: "certificates" };
    let chain = x509_cert::Certificate::load_pem_chain(&bytes).map_err(|_| wrong())?;
    let all: Result<Vec<_>, _> =
        chain.iter().map(|certificate| certificate.to_der().map_err(|_| wrong())).collect();
    all.and_then(|all| if all.is_empty() { Err(wrong()) } else { Ok(all) })
}

pub(super) fn read(path: &Path) -> Result<Vec<u8>, KeyError> {
    std::fs::read(path).map_err(|error| KeyError::File(path.to_owned(), error))
}

/// `certificate`, DER, as `NAME.pem` and `NAME.der` in `folder`.
pub(super) fn write_certificate(folder: &Path, name: &str, certificate: &[u8]) -> Result<(), KeyError> {
    write_new(&folder.join(format!("{name}.pem")), pem(certificate)?.as_bytes(), PUBLIC)?;
    write_new(&folder.join(format!("{name}.der")), certificate, PUBLIC)
}

/// Writes a file that is not there yet: all of it, or nothing.
pub(super) fn write_new(path: &Path, bytes: &[u8], mode: u32) -> Result<(), KeyError> {
    let mut options = std::fs::OpenOptions::new();
    let mut file =
        options.write(true).create_new(true).mode(mode).open(path).map_err(|error| match error.kind() {
            ErrorKind::AlreadyExists => KeyError::Exists(path.to_owned()),
            _ => KeyError::File(path.to_owned(), error),
        })?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(|error| {
        // Part of a file would stand in the way of the next attempt.
        let _ = std::fs::remove_file(path);
        KeyError::File(path.to_owned(), error)
    })
}

/// Replaces a file as a whole.
pub(super) fn replace(path: &Path, bytes: &[u8]) -> Result<(), KeyError> {
    crate::replace(path, bytes).map_err(|error| KeyError::File(path.to_owned(), error))
}
