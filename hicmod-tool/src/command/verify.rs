//! `verify`: the checks of the guest, on the host.

use std::path::PathBuf;

use hic_hicmod::{RevocationList, TrustRoot, Verified, verify};
use hicmod_tool::{date, hex, keys};

use crate::failure::Failure;
use crate::files::{now, read};
use crate::output::say;

/// Check a module as the system does: every byte, the chain, validity, key usage, revocation, manifest and image.
///
/// Ends with 0 if the module is good, with 3 if it was refused, with 1 if it could not be checked.
#[derive(clap::Args)]
pub struct Arguments {
    /// The module.
    #[arg(long)]
    module: PathBuf,
    /// The trusted root certificate (PEM or DER).
    #[arg(long)]
    root: PathBuf,
    /// The revocation lists, DER: revoked.crl as `ca` writes it, not revoked.pem.
    #[arg(long)]
    revoked: Option<PathBuf>,
    /// The time to check for, instead of now: 2027-01-15 or 2027-01-15T08:00:00Z.
    #[arg(long, value_name = "DATE", value_parser = hicmod_tool::parse_date)]
    at: Option<u64>,
}

pub fn run(arguments: Arguments) -> Result<(), Failure> {
    let Arguments { module, root, revoked, at } = arguments;
    let root_der = keys::read_certificate(&root).map_err(Failure::new)?;
    let trusted = TrustRoot::parse(&root_der).map_err(|error| Failure::at(&root, error))?;
    let bytes = revoked.as_deref().map_or_else(|| Ok(Vec::new()), read)?;
    let lists = RevocationList::parse(&bytes).map_err(|error| {
        let pem = if bytes.starts_with(b"-----BEGIN") {
            "; this is PEM, the lists are read as DER (revoked.crl)"
        } else {
            ""
        };
        Failure::at(revoked.as_deref().unwrap_or(&root), format_args!("{error}{pem}"))
    })?;
    let file = read(&module)?;
    let now = at.map_or_else(now, Ok)?;
    let verified = verify(&file, &trusted, now, &lists).map_err(|error| {
        Failure::refused(&module, format_args!("refused by the check {}: {error}", error.check_name()))
    })?;
    print_good(&verified, &trusted)?;
    if let Some(since) = lists.overdue_since(now) {
        say!("warning: a revocation list is overdue since {}; get a newer one", date(since))?;
    }
    Ok(())
}

fn print_good(verified: &Verified<'_>, root: &TrustRoot) -> Result<(), Failure> {
    let manifest = &verified.module().manifest;
    say!("good: {} {}", manifest.name, manifest.version)?;
    say!("signed {} by {}", date(verified.signed_at()), verified.signer())?;
    say!("chain valid until {}, root {}", date(verified.valid_until()), root.name())?;
    say!("SHA-384 {}", hex(verified.digest()))?;
    if verified.is_development() {
        say!("warning: a development root; its key is on some developer's disk")?;
    }
    Ok(())
}
