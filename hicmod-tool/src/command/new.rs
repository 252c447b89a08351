//! `new`: the skeleton of a service.

use std::path::PathBuf;

use hicmod_tool::new::{NewError, Skeleton, find_checkout};

use crate::failure::Failure;
use crate::output::say;

/// Make the skeleton of a service: a package that builds, with tests, and answers over TCP.
///
/// It uses the libraries of a checkout of HIC: the one that --hic names, or the variable HIC, or the one that the new folder, the
/// current folder or this program lies in. Made in the folder `services` of the checkout it becomes a member of its
/// workspace, anywhere else a package of its own. The README in it says what comes next.
#[derive(clap::Args)]
pub struct Arguments {
    /// Name of the module.
    name: String,
    /// The folder to make; without it, NAME in the current one.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// The checkout of HIC.
    #[arg(long, value_name = "DIR")]
    hic: Option<PathBuf>,
    /// The TCP port on which it answers.
    #[arg(long, default_value_t = 7100, value_parser = clap::value_parser!(u16).range(1..))]
    port: u16,
}

pub fn run(arguments: Arguments) -> Result<(), Failure> {
    let Arguments { name, out, hic, port } = arguments;
    let folder = out.unwrap_or_else(|| PathBuf::from(&name));
    let hic = hic.or_else(|| std::env::var_os("HIC").map(PathBuf::from)).or_else(|| around(&folder));
    let hic = hic.ok_or_else(|| Failure::new(NewError::NoHic))?;
    let skeleton = Skeleton { name, folder, hic, port };
    for file in skeleton.write().map_err(Failure::new)? {
        say!("{}", file.display())?;
    }
    say!("{} says what comes next", skeleton.folder.join("README.md").display())?;
    Ok(())
}

/// The checkout that the new folder, the current one or this program lies in.
fn around(folder: &std::path::Path) -> Option<PathBuf> {
    let current = std::env::current_dir().ok();
    let new = current.as_ref().map(|current| current.join(folder));
    let places = [new, current, std::env::current_exe().ok()];
    find_checkout(places.iter().flatten().map(PathBuf::as_path))
}
