//! What can be asked for on the command line: one variant for each family of commands. The arguments of a family and what it does
//! are in its file under `command`.

use clap::{Parser, Subcommand};

use crate::command::{archive, bind, ca, completions, diff, inspect, key, new, pack, repo, sign, verify};
use crate::failure::Failure;

/// Makes, signs, checks and shows HIC modules.
#[derive(Parser)]
#[command(version, max_term_width = 100, after_help = EXIT_CODES)]
pub struct Arguments {
    #[command(subcommand)]
    pub command: Command,
}

/// Where people look for them.
const EXIT_CODES: &str = "Exit codes: 0 done; 1 it could not be done; 2 the command line is wrong; 3 what was checked is not good \
    (verify, repo check); 4 diff --fail-on found such a change.";

#[derive(Subcommand)]
pub enum Command {
    New(new::Arguments),
    Key(key::Arguments),
    #[command(subcommand)]
    Ca(ca::Command),
    Pack(pack::Arguments),
    Sign(sign::Arguments),
    Verify(verify::Arguments),
    Inspect(inspect::Arguments),
    Diff(diff::Arguments),
    Archive(archive::Arguments),
    Bind(bind::Arguments),
    Repo(repo::Arguments),
    Completions(completions::Completions),
    Man(completions::Man),
}

impl Command {
    /// Does what was asked for.
    pub fn run(self) -> Result<(), Failure> {
        match self {
            Self::Pack(arguments) => pack::run(arguments),
            Self::Key(arguments) => key::run(arguments),
            Self::Ca(command) => ca::run(command),
            Self::Sign(arguments) => sign::run(arguments),
            Self::Verify(arguments) => verify::run(arguments),
            Self::Inspect(arguments) => inspect::run(arguments),
            Self::Archive(arguments) => archive::run(arguments),
            Self::Bind(arguments) => bind::run(arguments),
            Self::Repo(arguments) => repo::run(arguments),
            Self::Diff(arguments) => diff::run(arguments),
            Self::New(arguments) => new::run(arguments),
            Self::Completions(arguments) => completions::completions(arguments),
            Self::Man(arguments) => completions::man(arguments),
        }
    }
}
