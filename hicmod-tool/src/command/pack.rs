//! `pack`: the linker's output and `hicmod.toml` become a module.

use std::path::PathBuf;

use hicmod_tool::pack_built;

use super::sign::sign;
use crate::failure::Failure;
use crate::files::{built, read, write};

/// Make a module of a static-pie ELF file and its manifest; with --key and --chain, sign it too.
#[derive(clap::Args)]
pub struct Arguments {
    /// The linked binary.
    #[arg(long)]
    elf: PathBuf,
    /// The manifest, usually hicmod.toml beside the module's Cargo.toml.
    #[arg(long)]
    manifest: PathBuf,
    /// Where to write the module.
    #[arg(long)]
    out: PathBuf,
    /// The signer's private key, as for `sign`.
    #[arg(long, requires = "chain")]
    key: Option<PathBuf>,
    /// The certificates, as for `sign`.
    #[arg(long, requires = "key")]
    chain: Option<PathBuf>,
}

pub fn run(arguments: Arguments) -> Result<(), Failure> {
    let Arguments { elf, manifest, out, key, chain } = arguments;
    let text = String::from_utf8(read(&manifest)?).map_err(|error| Failure::at(&manifest, error))?;
    let mut module = pack_built(&read(&elf)?, &text, built()?).map_err(|error| {
        Failure::new(format_args!("{} with {}: {error}", elf.display(), manifest.display()))
    })?;
    if let (Some(key), Some(chain)) = (key, chain) {
        module = sign(&module, &key, &chain)?;
    }
    write(&out, &module)
}
