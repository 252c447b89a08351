//! `archive`: files become a boot archive.

use std::path::PathBuf;

use hicmod_tool::{BUILT, archive, built};

use crate::failure::Failure;
use crate::files::{read, replace};

/// Put files into a boot archive, in the given order.
///
/// Two names mean something to the system: `trust-root` is the root certificate that it trusts (DER), `revoked` the revocation lists
/// (revoked.crl). The file `built` is added unless it is given: when the newest module was signed. A system never believes that it is
/// earlier, whatever its clock says.
#[derive(clap::Args)]
pub struct Arguments {
    /// Where to write the archive.
    #[arg(long)]
    out: PathBuf,
    /// The files, each with its name in the archive.
    #[arg(value_name = "NAME=PATH", required = true, value_parser = named_file)]
    files: Vec<(String, PathBuf)>,
}

pub fn run(arguments: Arguments) -> Result<(), Failure> {
    let Arguments { out, files } = arguments;
    let contents: Vec<Vec<u8>> = files.iter().map(|(_, path)| read(path)).collect::<Result<_, _>>()?;
    let mut named: Vec<(&str, &[u8])> =
        files.iter().zip(&contents).map(|((name, _), bytes)| (name.as_str(), bytes.as_slice())).collect();
    let built = built(&named).filter(|_| named.iter().all(|(name, _)| *name != BUILT));
    if let Some(built) = &built {
        named.push((BUILT, built));
    }
    replace(&out, &archive(&named).map_err(|error| Failure::at(&out, error))?)
}

/// Splits `NAME=PATH`.
fn named_file(argument: &str) -> Result<(String, PathBuf), String> {
    let (name, path) =
        argument.split_once('=').ok_or("expected NAME=PATH, for example netstack=target/netstack.hicmod")?;
    Ok((name.to_owned(), PathBuf::from(path)))
}
