//! `sign`: somebody vouches for a module.

use std::path::PathBuf;

use hicmod_tool::SigningSet;

use crate::failure::Failure;
use crate::files::{now, read, replace};
use crate::passphrase::Unlock;

/// Sign a module: RSA-3072 (PKCS#1 v1.5) over SHA-384, with the time. An earlier signature is replaced.
///
/// A private key in a file is used with blinding against timing attacks (RUSTSEC-2023-0071); sign where nobody else runs programs, or
/// leave the key in a token or with a service and use --signer.
///
/// --signer COMMAND is run by the shell. It gets the bytes to be signed on its standard input, their SHA-384 as hex digits in
/// HICMOD_SHA384 and rsa-pkcs1v15-sha384 in HICMOD_ALGORITHM, and prints the signature: 384 bytes, or the same in Base64. The
/// signature is checked against the certificate before anything is written. With openssl: --signer 'openssl dgst -sha384 -sign key.pem'.
#[derive(clap::Args)]
pub struct Arguments {
    /// The module.
    #[arg(long, value_name = "FILE")]
    module: PathBuf,
    #[command(flatten)]
    signer: Signer,
    /// Where to write the signed module; without it, in place.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// Who signs.
#[derive(clap::Args)]
pub struct Signer {
    /// The signer's private key (PKCS#8 PEM).
    #[arg(long, value_name = "FILE", required_unless_present = "signer", conflicts_with = "signer")]
    key: Option<PathBuf>,
    /// A command that signs with a key of its own.
    #[arg(long, value_name = "COMMAND")]
    signer: Option<String>,
    /// The certificates that travel with the module, as `ca issue` writes them (PEM).
    #[arg(long, value_name = "FILE")]
    chain: PathBuf,
    #[command(flatten)]
    unlock: Unlock,
}

impl Signer {
    /// `module`, signed now.
    pub fn sign(&self, module: &[u8]) -> Result<Vec<u8>, Failure> {
        let Self { key, signer, chain, unlock } = self;
        let set = match (key, signer) {
            (Some(key), _) => SigningSet::load(key, chain, &mut |path| unlock.ask(path)),
            (None, command) => SigningSet::with_command(command.as_deref().unwrap_or_default(), chain),
        };
        let now = now()?;
        set.and_then(|set| set.sign(module, now)).map_err(Failure::new)
    }
}

pub fn run(arguments: Arguments) -> Result<(), Failure> {
    let Arguments { module, signer, out } = arguments;
    let signed = signer.sign(&read(&module)?).map_err(|error| error.about(&module))?;
    replace(out.as_ref().unwrap_or(&module), &signed)
}
