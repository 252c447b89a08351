//! `pack`: the linker's output and `hicmod.toml` become a module.

use std::path::PathBuf;

use hicmod_tool::pack_built;

use crate::failure::Failure;
use crate::files::{built, read, replace};

/// Make a module of a static-pie ELF file and its manifest. It is not signed: `sign` does that.
#[derive(clap::Args)]
pub struct Arguments {
    /// The linked binary.
    #[arg(long, value_name = "FILE")]
    elf: PathBuf,
    /// The manifest, usually hicmod.toml beside the module's Cargo.toml.
    #[arg(long, value_name = "FILE")]
    manifest: PathBuf,
    /// Where to write the module.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

pub fn run(arguments: Arguments) -> Result<(), Failure> {
    let Arguments { elf, manifest, out } = arguments;
    let text = String::from_utf8(read(&manifest)?).map_err(|error| Failure::at(&manifest, error))?;
    let module = pack_built(&read(&elf)?, &text, built()?).map_err(|error| {
        Failure::new(format_args!("{} with {}: {error}", elf.display(), manifest.display()))
    })?;
    replace(&out, &module)
}
