//! The `hicmod-tool` command: makes, signs, checks and shows HIC modules. Reads and writes files; the work is in the
//! library.
//!
//! - `arguments`: the families of commands.
//! - `command`: one file for each family, with its arguments.
//! - `failure`: what went wrong, and the exit code that says so to scripts.
//! - `files`: reading, writing and the clock, with errors that name the file.
//! - `output`: what is printed, also when nobody reads it.
//! - `passphrase`: where passphrases come from.
//! - `progress`: says on a terminal that something takes its time.
//! - `show`: reports as text for people.

mod arguments;
mod command;
mod failure;
mod files;
mod output;
mod passphrase;
mod progress;
mod show;

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    match arguments::Arguments::parse().command.run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            // Nobody may be there to read it; the code still says so.
            let _ = writeln!(std::io::stderr(), "error: {failure}");
            failure.exit_code()
        }
    }
}
