//! `sign`: somebody vouches for a module.

use std::path::{Path, PathBuf};

use hicmod_tool::SigningSet;

use crate::failure::Failure;
use crate::files::{now, read, write};

/// Sign a module: RSA-3072 (PKCS#1 v1.5) over SHA-384, with the time. An earlier signature is replaced.
///
/// The private key is used with blinding against timing attacks (RUSTSEC-2023-0071); still, sign where nobody else runs
/// programs.
#[derive(clap::Args)]
pub struct Arguments {
    /// The module.
    #[arg(long)]
    module: PathBuf,
    /// The signer's private key (PKCS#8 PEM).
    #[arg(long)]
    key: PathBuf,
    /// The certificates of signer and intermediate, in this order (PEM).
    #[arg(long)]
    chain: PathBuf,
    /// Where to write the signed module; without it, in place.
    #[arg(long)]
    out: Option<PathBuf>,
}

pub fn run(arguments: Arguments) -> Result<(), Failure> {
    let Arguments { module, key, chain, out } = arguments;
    let signed = sign(&read(&module)?, &key, &chain).map_err(|error| Failure::at(&module, error))?;
    write(out.as_ref().unwrap_or(&module), &signed)
}

/// `module` signed now with the private key in `key` and the certificates in `chain`.
pub fn sign(module: &[u8], key: &Path, chain: &Path) -> Result<Vec<u8>, Failure> {
    let set = SigningSet::load(key, chain).map_err(Failure::new)?;
    set.sign(module, now()?).map_err(Failure::new)
}
