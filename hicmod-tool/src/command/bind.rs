//! `bind`: a kernel is told which archive it starts.

use std::path::PathBuf;

use hicmod_tool::bind;

use crate::failure::Failure;
use crate::files::{read, replace};

/// Write into a kernel which boot archive it starts: it refuses every other one.
#[derive(clap::Args)]
pub struct Arguments {
    /// The kernel, as it was linked or bound before.
    #[arg(long)]
    kernel: PathBuf,
    /// The boot archive.
    #[arg(long)]
    archive: PathBuf,
    /// Where to write the bound kernel.
    #[arg(long)]
    out: PathBuf,
}

pub fn run(arguments: Arguments) -> Result<(), Failure> {
    let Arguments { kernel, archive, out } = arguments;
    let bound = bind(&read(&kernel)?, &read(&archive)?).map_err(|error| {
        Failure::new(format_args!("{} with {}: {error}", kernel.display(), archive.display()))
    })?;
    replace(&out, &bound)
}
