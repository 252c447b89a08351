//! The `hicmod-tool` command: makes, signs, checks and shows HIC modules. Reads and writes files; the work is in the
//! library.

mod arguments;
mod show;

use std::fmt::Display;
use std::path::Path;
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use arguments::{Arguments, Command};
use clap::Parser;
use hic_hicmod::{RevocationList, TrustRoot, Verified, verify};
use hicmod_tool::keys::{self, ChainOptions};
use hicmod_tool::{SigningSet, archive, bind, date, hex, inspect, make_chain, pack};

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
        Command::Pack { elf, manifest, out, key, chain } => {
            let text = String::from_utf8(read(&manifest)?).map_err(|error| at(&manifest, error))?;
            let mut module = pack(&read(&elf)?, &text)
                .map_err(|error| format!("{} with {}: {error}", elf.display(), manifest.display()))?;
            if let (Some(key), Some(chain)) = (key, chain) {
                module = sign(&module, &key, &chain)?;
            }
            write(&out, &module)
        }
        Command::Chain { out, development, days } => {
            let options = ChainOptions { development, days, now: now()? };
            make_chain(&out, options).map_err(|error| error.to_string())?;
            println!("root, intermediate and signer made in {}", out.display());
            Ok(())
        }
        Command::Sign { module, key, chain, out } => {
            let signed = sign(&read(&module)?, &key, &chain).map_err(|error| at(&module, error))?;
            write(out.as_ref().unwrap_or(&module), &signed)
        }
        Command::Verify { module, root, revoked, at } => {
            check(&module, &root, revoked.as_deref(), at.map_or_else(now, Ok)?)
        }
        Command::Revoke { certificate, issuer, key, list } => revoke(&certificate, &issuer, &key, &list),
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
        Command::Bind { kernel, archive, out } => {
            let bound = bind(&read(&kernel)?, &read(&archive)?)
                .map_err(|error| format!("{} with {}: {error}", kernel.display(), archive.display()))?;
            write(&out, &bound)
        }
    }
}

fn sign(module: &[u8], key: &Path, chain: &Path) -> Result<Vec<u8>, String> {
    let set = SigningSet::load(key, chain).map_err(|error| error.to_string())?;
    set.sign(module, now()?).map_err(|error| error.to_string())
}

fn check(module: &Path, root: &Path, revoked: Option<&Path>, now: u64) -> Result<(), String> {
    let root_der = keys::read_certificate(root).map_err(|error| error.to_string())?;
    let trusted = TrustRoot::parse(&root_der).map_err(|error| at(root, error))?;
    let lists = revoked.map_or_else(|| Ok(Vec::new()), read)?;
    let lists = RevocationList::parse(&lists).map_err(|error| error.to_string())?;
    let file = read(module)?;
    let verified = verify(&file, &trusted, now, &lists)
        .map_err(|error| at(module, format_args!("refused by the check {}: {error}", error.check_name())))?;
    print_good(&verified, &trusted);
    Ok(())
}

fn print_good(verified: &Verified<'_>, root: &TrustRoot) {
    let manifest = &verified.module().manifest;
    println!("good: {} {}", manifest.name, manifest.version);
    println!("signed {} by {}", date(verified.signed_at()), verified.signer());
    println!("chain valid until {}, root {}", date(verified.valid_until()), root.name());
    println!("SHA-384 {}", hex(verified.digest()));
    if verified.is_development() {
        println!("warning: a development root; its key is on some developer's disk");
    }
}

fn revoke(certificate: &Path, issuer: &Path, key: &Path, list: &Path) -> Result<(), String> {
    let read_certificate = |path| keys::read_certificate(path).map_err(|error| error.to_string());
    let lists = if list.exists() { read(list)? } else { Vec::new() };
    let key = keys::read_key(key).map_err(|error| error.to_string())?;
    let lists =
        keys::revoke(&lists, &read_certificate(certificate)?, &read_certificate(issuer)?, &key, now()?)
            .map_err(|error| at(certificate, error))?;
    write(list, &lists)
}

/// Seconds since 1970, UTC.
fn now() -> Result<u64, String> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since
        .map(|since| since.as_secs())
        .map_err(|_| "the clock of this machine is before 1970; set it".to_owned())
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
