//! The `hicmod-tool` command: makes, checks and shows HIC modules. Reads and writes files; the work is in the library.

mod show;

use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use hicmod_tool::{archive, inspect, pack};

/// Makes, checks and shows HIC modules.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Make a module of a static-pie ELF file and its manifest.
    Pack {
        /// The linked binary.
        #[arg(long)]
        elf: PathBuf,
        /// The manifest, usually hicmod.toml beside the module's Cargo.toml.
        #[arg(long)]
        manifest: PathBuf,
        /// Where to write the module.
        #[arg(long)]
        out: PathBuf,
    },
    /// Show what a module or a boot archive holds.
    Inspect {
        /// The module or archive.
        file: PathBuf,
        /// Print one JSON document on one line.
        #[arg(long)]
        json: bool,
    },
    /// Put files into a boot archive, in the given order.
    Archive {
        /// Where to write the archive.
        #[arg(long)]
        out: PathBuf,
        /// The files, each with its name in the archive.
        #[arg(value_name = "NAME=PATH", required = true, value_parser = named_file)]
        files: Vec<(String, PathBuf)>,
    },
}

fn main() -> ExitCode {
    match run(Arguments::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("error: {message}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<(), String> {
    match command {
        Command::Pack { elf, manifest, out } => {
            let text = String::from_utf8(read(&manifest)?).map_err(|error| at(&manifest, error))?;
            let module = pack(&read(&elf)?, &text)
                .map_err(|error| format!("{} with {}: {error}", elf.display(), manifest.display()))?;
            write(&out, &module)
        }
        Command::Inspect { file, json } => {
            let report = inspect(&read(&file)?).map_err(|error| at(&file, error))?;
            let text = if json {
                serde_json::to_string(&report).map_err(|error| at(&file, error))?
            } else {
                show::report(&report)
            };
            println!("{}", text.trim_end());
            Ok(())
        }
        Command::Archive { out, files } => {
            let contents: Vec<Vec<u8>> =
                files.iter().map(|(_, path)| read(path)).collect::<Result<_, _>>()?;
            let named: Vec<(&str, &[u8])> = files
                .iter()
                .zip(&contents)
                .map(|((name, _), bytes)| (name.as_str(), bytes.as_slice()))
                .collect();
            write(&out, &archive(&named).map_err(|error| at(&out, error))?)
        }
    }
}

/// Splits `NAME=PATH`.
fn named_file(argument: &str) -> Result<(String, PathBuf), String> {
    let (name, path) =
        argument.split_once('=').ok_or("expected NAME=PATH, for example netstack=target/netstack.hicmod")?;
    Ok((name.to_owned(), PathBuf::from(path)))
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    std::fs::read(path).map_err(|error| format!("cannot read {}: {error}", path.display()))
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), String> {
    std::fs::write(path, bytes).map_err(|error| format!("cannot write {}: {error}", path.display()))
}

fn at(path: &Path, error: impl Display) -> String {
    format!("{}: {error}", path.display())
}
