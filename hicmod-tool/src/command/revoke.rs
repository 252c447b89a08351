//! `revoke`: a certificate is no longer to be believed.

use std::path::PathBuf;

use hicmod_tool::keys;

use crate::failure::Failure;
use crate::files::{now, read, write};

/// Add a certificate to the X.509 revocation list of its issuer.
#[derive(clap::Args)]
pub struct Arguments {
    /// The certificate that is no longer to be believed (PEM or DER).
    #[arg(long)]
    certificate: PathBuf,
    /// The certificate of its issuer (PEM or DER).
    #[arg(long)]
    issuer: PathBuf,
    /// The private key of its issuer (PKCS#8 PEM).
    #[arg(long)]
    key: PathBuf,
    /// The file of lists, DER; made if it is not there.
    #[arg(long)]
    list: PathBuf,
}

pub fn run(arguments: Arguments) -> Result<(), Failure> {
    let Arguments { certificate, issuer, key, list } = arguments;
    let lists = if list.exists() { read(&list)? } else { Vec::new() };
    let key = keys::read_key(&key).map_err(Failure::new)?;
    let revoked = keys::read_certificate(&certificate).map_err(Failure::new)?;
    let issuer = keys::read_certificate(&issuer).map_err(Failure::new)?;
    let lists = keys::revoke(&lists, &revoked, &issuer, &key, now()?)
        .map_err(|error| Failure::at(&certificate, error))?;
    write(&list, &lists)
}
