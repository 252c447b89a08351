//! `chain`: a root, an intermediate and a signer.

use std::path::PathBuf;

use hicmod_tool::{ChainOptions, make_chain};

use crate::failure::Failure;
use crate::files::now;

/// Make a root, an intermediate and a signer: RSA-3072 keys and X.509 certificates.
///
/// Writes NAME.key.pem (PKCS#8, readable by you alone), NAME.pem and NAME.der for each of the three, and chain.pem with
/// the certificates that travel with a module. Overwrites nothing. Keep root.key.pem and intermediate.key.pem on a
/// machine without a network: signing modules needs only signer.key.pem and chain.pem.
#[derive(clap::Args)]
pub struct Arguments {
    /// The folder to write to.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Mark the chain as one for development: systems that trust it say so.
    #[arg(long)]
    development: bool,
    /// Days for which the signer is valid; the intermediate three times, the root ten times as long.
    #[arg(long, default_value_t = 365, value_parser = clap::value_parser!(u32).range(1..=3650))]
    days: u32,
}

pub fn run(arguments: Arguments) -> Result<(), Failure> {
    let Arguments { out, development, days } = arguments;
    make_chain(&out, ChainOptions { development, days, now: now()? }).map_err(Failure::new)?;
    println!("root, intermediate and signer made in {}", out.display());
    Ok(())
}
