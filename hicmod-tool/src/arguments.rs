//! What can be asked for on the command line: one variant for each family of commands. The arguments of a family and what it does
//! are in its file under `command`.

use clap::{Parser, Subcommand};

use crate::command::{archive, bind, chain, inspect, pack, repo, revoke, sign, verify};
use crate::failure::Failure;

/// Makes, signs, checks and shows HIC modules.
#[derive(Parser)]
#[command(version, max_term_width = 100)]
pub struct Arguments {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Subcommand)]
pub enum Command {
    Pack(pack::Arguments),
    Chain(chain::Arguments),
    Sign(sign::Arguments),
    Verify(verify::Arguments),
    Revoke(revoke::Arguments),
    Inspect(inspect::Arguments),
    Archive(archive::Arguments),
    Bind(bind::Arguments),
    Repo(repo::Arguments),
}

impl Command {
    /// Does what was asked for.
    pub fn run(self) -> Result<(), Failure> {
        match self {
            Self::Pack(arguments) => pack::run(arguments),
            Self::Chain(arguments) => chain::run(arguments),
            Self::Sign(arguments) => sign::run(arguments),
            Self::Verify(arguments) => verify::run(arguments),
            Self::Revoke(arguments) => revoke::run(arguments),
            Self::Inspect(arguments) => inspect::run(arguments),
            Self::Archive(arguments) => archive::run(arguments),
            Self::Bind(arguments) => bind::run(arguments),
            Self::Repo(arguments) => repo::run(arguments),
        }
    }
}
