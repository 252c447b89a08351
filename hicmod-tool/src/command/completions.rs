//! `completions` and `man`: what shells and people want to know about the command.

use std::path::PathBuf;

use clap::CommandFactory;
use clap_complete::Shell;

use crate::arguments;
use crate::failure::Failure;
use crate::output::{self, say};

/// Print the completions of a shell: `hicmod-tool completions bash > ~/.local/share/bash-completion/completions/hicmod-tool`.
#[derive(clap::Args)]
pub struct Completions {
    /// The shell.
    shell: Shell,
}

/// Write the man pages of the command and of each family.
#[derive(clap::Args)]
pub struct Man {
    /// The folder to write to, for example ~/.local/share/man/man1; made if it is not there.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

pub fn completions(arguments: Completions) -> Result<(), Failure> {
    let mut command = arguments::Arguments::command();
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut command, "hicmod-tool", &mut script);
    output::bytes(&script)
}

pub fn man(arguments: Man) -> Result<(), Failure> {
    let Man { out } = arguments;
    let written = std::fs::create_dir_all(&out)
        .and_then(|()| clap_mangen::generate_to(arguments::Arguments::command(), &out));
    written.map_err(|error| Failure::at(&out, error))?;
    say!("man pages written to {}; try: man -M {}/.. hicmod-tool", out.display(), out.display())?;
    Ok(())
}
