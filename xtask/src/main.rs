//! The project's task runner: `cargo xtask run | test | soak | mutate | bench | ci | image | clean`.
//!
//! ```text
//!   cli       what can be asked for
//!   deps      the tools a command needs, installed or named
//!   cargo     what the workspace holds, and how cargo is called
//!   profiles  which modules make a boot archive (qemu/modules.toml)
//!   image     kernel and modules built, packed, archived
//!   iso       a medium that boots on a PC
//!   signing   the development chain that modules are signed with
//!   disk      the repository disk of a profile
//!   run       one machine for a person or a script
//!   test      formatting, lints, host tests, system tests, coverage
//!   coverage  does docs/coverage.md speak the truth
//!   mutate    does a test notice when a check of the kernel is gone
//!   bench     figures in guest instructions
//! ```
//!
//! What it must never do: report success for something that did not run.

mod bench;
mod cargo;
mod clean;
mod cli;
mod coverage;
mod deps;
mod disk;
mod image;
mod iso;
mod mutate;
mod profiles;
mod publish;
mod run;
mod signing;
mod test;

use std::process::ExitCode;

use clap::Parser;

use cli::{Cli, Command};

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Run(options) => run::run(&options),
        Command::Test(options) => return test::run(&options),
        Command::Soak(options) => test::soak(&options),
        Command::Ci => return test::run(&test::ci_options()),
        Command::Mutate(options) => mutate::run(&options),
        Command::Bench(options) => bench::run(&options),
        Command::Image(options) => image::run(&options),
        Command::Clean => clean::run(),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
