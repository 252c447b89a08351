//! The development chain: made on first use under `target/hic/keys/`, never committed, and made again when it expires.
//!
//! Every module that is built here is signed with it, and a system that trusts it says that its root is one for
//! development. What it must never do: sign a release. Whoever ships modules makes an authority with `hicmod-tool ca init`.

use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, anyhow};
use hicmod_tool::{ChainOptions, SigningSet, is_signed_form_of, keys, make_chain};

/// Revocation lists of the development chain, if somebody made some; they go into the boot archives.
const REVOKED: &str = "revoked.crl";
/// Days for which the development signer is valid.
const DAYS: u32 = 365;
/// A chain that expires sooner is made again: a machine that is booted now may run for a while.
const SPARE_S: u64 = 7 * 86_400;

/// The development chain.
pub struct Signing {
    folder: PathBuf,
    set: SigningSet,
}

impl std::fmt::Debug for Signing {
    /// Without the key.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Signing({})", self.folder.display())
    }
}

impl Signing {
    /// Reads the chain in `folder`, or makes it.
    pub fn open(folder: &Path) -> Result<Self> {
        let now = now()?;
        if !folder.join(keys::ROOT_DER).exists() || expires(folder)? < now + SPARE_S || !is_current(folder)? {
            make(folder, now)?;
        }
        let set = SigningSet::load_folder(folder).map_err(|error| anyhow!("development keys: {error}"))?;
        Ok(Self { folder: folder.to_owned(), set })
    }

    /// The root certificate, DER.
    pub fn root(&self) -> Result<Vec<u8>> {
        let path = self.folder.join(keys::ROOT_DER);
        std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))
    }

    /// The revocation lists, if there are any.
    pub fn revoked(&self) -> Result<Option<Vec<u8>>> {
        let path = self.folder.join(REVOKED);
        match std::fs::read(&path) {
            Ok(lists) => Ok(Some(lists)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
        }
    }

    /// `module` signed now; or `before`, what an earlier build made, when only its signature would change.
    pub fn sign(&self, module: &[u8], before: Option<Vec<u8>>) -> Result<Vec<u8>> {
        match before.filter(|before| is_signed_form_of(before, module, self.set.certificate())) {
            Some(before) => Ok(before),
            None => self.set.sign(module, now()?).map_err(|error| anyhow!("signing: {error}")),
        }
    }
}

/// Makes a chain beside `folder` and moves it there as a whole, so that nobody ever reads half of one.
fn make(folder: &Path, now: u64) -> Result<()> {
    let fresh = folder.with_extension(format!("new-{}", std::process::id()));
    let options = ChainOptions { development: true, days: DAYS, now };
    println!("making a development chain in {}", folder.display());
    make_chain(&fresh, options).map_err(|error| anyhow!("development keys: {error}"))?;
    if folder.exists() {
        let old = folder.with_extension(format!("old-{}", std::process::id()));
        std::fs::rename(folder, &old).with_context(|| format!("cannot move {}", folder.display()))?;
        std::fs::remove_dir_all(&old).with_context(|| format!("cannot remove {}", old.display()))?;
    }
    std::fs::rename(&fresh, folder).with_context(|| format!("cannot move {}", fresh.display()))
}

/// Whether the root can be succeeded by another one; those of earlier releases cannot.
fn is_current(folder: &Path) -> Result<bool> {
    let authority = keys::Authority::open(folder).map_err(|error| anyhow!("development keys: {error}"))?;
    Ok(authority.may_be_succeeded())
}

/// When the signer's certificate expires, seconds since 1970.
fn expires(folder: &Path) -> Result<u64> {
    let path = folder.join("signer.der");
    let certificate = keys::read_certificate(&path).map_err(|error| anyhow!("development keys: {error}"))?;
    keys::valid_until(&certificate).with_context(|| format!("{} is no certificate", path.display()))
}

/// Seconds since 1970.
pub fn now() -> Result<u64> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    Ok(since.context("the clock of this machine is before 1970")?.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chain_is_made_once_and_again_when_it_expires() {
        let folder = tempfile::tempdir().expect("a folder");
        let keys = folder.path().join("keys");
        let root = Signing::open(&keys).expect("made").root().expect("there");
        assert_eq!(Signing::open(&keys).expect("read").root().expect("there"), root);
        let long_ago = ChainOptions { development: true, days: 1, now: 1_000_000_000 };
        let old = folder.path().join("old");
        make_chain(&old, long_ago).expect("made");
        let stale = std::fs::read(old.join(keys::ROOT_DER)).expect("there");
        assert_ne!(Signing::open(&old).expect("made again").root().expect("there"), stale);
        let left: Vec<_> = std::fs::read_dir(folder.path()).expect("listed").flatten().collect();
        assert_eq!(left.len(), 2, "nothing is left beside the chains: {left:?}");
    }
}
