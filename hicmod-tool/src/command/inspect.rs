//! `inspect`: what a file holds.

use std::path::PathBuf;

use hicmod_tool::inspect;

use crate::failure::Failure;
use crate::files::read;
use crate::output::say;
use crate::show;

/// Show what a module or a boot archive holds. Verifies nothing but checksums.
#[derive(clap::Args)]
pub struct Arguments {
    /// The module or archive.
    file: PathBuf,
    /// Print one JSON document on one line.
    #[arg(long)]
    json: bool,
}

pub fn run(arguments: Arguments) -> Result<(), Failure> {
    let Arguments { file, json } = arguments;
    let report = inspect(&read(&file)?).map_err(|error| Failure::at(&file, error))?;
    let text = if json {
        serde_json::to_string(&report).map_err(|error| Failure::at(&file, error))?
    } else {
        show::report(&report)
    };
    say!("{}", text.trim_end())?;
    Ok(())
}
