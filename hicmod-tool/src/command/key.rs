//! `key`: a new private key.

use std::path::PathBuf;

use hicmod_tool::keys::private;
use rsa::rand_core::OsRng;

use crate::failure::Failure;
use crate::output::say;
use crate::passphrase::Protection;
use crate::progress::Busy;

/// Make a private key: RSA-3072 as PKCS#8 in PEM, encrypted with your passphrase, readable by you alone.
///
/// The file opens in openssl (`openssl pkey -in FILE`), and keys that openssl made can be used here (`openssl genpkey -algorithm RSA
/// -pkeyopt rsa_keygen_bits:3072 -aes-256-cbc`). Overwrites nothing.
#[derive(clap::Args)]
pub struct Arguments {
    /// The file to write.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Write the public key too, for `ca issue` on another machine.
    #[arg(long, value_name = "FILE")]
    public: Option<PathBuf>,
    #[command(flatten)]
    protection: Protection,
}

pub fn run(arguments: Arguments) -> Result<(), Failure> {
    let Arguments { out, public, protection } = arguments;
    // Both before the first is written: a key without its public part is of no use.
    if public.as_ref() == Some(&out) {
        return Err(Failure::new(
            "--out and --public name one file; the private key and the public one need two",
        ));
    }
    if let Some(taken) = public.iter().chain([&out]).find(|path| path.exists()) {
        return Err(Failure::new(hicmod_tool::KeyError::Exists(taken.clone())));
    }
    let passphrase = protection.ask(&out).map_err(Failure::new)?;
    let busy = Busy::new("making an RSA-3072 key");
    let key = hic_hicmod::sign::generate_key(&mut OsRng).map_err(Failure::new)?;
    private::write(&out, &key, passphrase.as_ref()).map_err(Failure::new)?;
    if let Some(public) = public {
        private::write_public(&public, &key).map_err(Failure::new)?;
    }
    drop(busy);
    say!("private key in {}; keep it to yourself", out.display())?;
    Ok(())
}
