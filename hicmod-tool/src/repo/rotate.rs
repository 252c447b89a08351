//! Roots: the first one, and the step to the next when keys are exchanged.
//!
//! A new root is made and signed in memory; only then are files moved. What it must never do: lose a private key, or write a root that the
//! systems which know the one before it refuse.

use hic_tuf::write::{self, Draft, RoleSpec};
use hic_tuf::{FileName, Head, Role, Root};
use rsa::RsaPrivateKey;
use rsa::rand_core::OsRng;

use super::keys::Exchange;
use super::{Lives, Publishing, RepoError, Repository, head};

/// The roles whose keys sign with every publication, in the order of a root.
const ONLINE: [Role; 3] = [Role::Timestamp, Role::Snapshot, Role::Targets];

impl Repository {
    /// The first root, for the keys that are there.
    pub(super) fn first_root(&self, head: Head, unlisted: bool, threshold: u8) -> Result<Vec<u8>, RepoError> {
        let keys = self.keys.roots()?;
        let roots = keys.iter().map(modulus).collect::<Result<_, _>>()?;
        let content = Content { unlisted, threshold, roots, online: self.online(&Exchange::default())? };
        content.signed(head, keys.iter().collect())
    }

    /// Exchanges the keys of `roles` and publishes: what to do when one was lost or stolen. With `unlisted`, the new root also says whether systems
    /// may use modules that are not listed. The new root is signed by those of the old root's keys that are there, and by its own. It names the root's
    /// keys as before, also those that are elsewhere, unless they are exchanged.
    ///
    /// # Errors
    /// [`RepoError`]. Until the new root is written all keys stay where they are.
    pub fn rotate(
        &self,
        roles: &[Role],
        unlisted: Option<bool>,
        now: u64,
        lives: Lives,
    ) -> Result<u32, RepoError> {
        let anew = [Role::Timestamp, Role::Snapshot].iter().any(|role| roles.contains(role));
        // Whoever cannot publish afterwards is told before keys move.
        self.next_timestamp(anew)?;
        let version = self.with_root(|old| self.next_root(old, roles, unlisted, head(0, now, lives.root)))?;
        self.publish_files(now, lives, Publishing { anew, ..Publishing::default() })
            .map_err(|error| RepoError::NotPublished(version, Box::new(error)))?;
        Ok(version)
    }

    /// Writes the root after `old`, with the times of `head`, and exchanges the keys of `roles`. Returns its version.
    fn next_root(
        &self,
        old: &Root<'_>,
        roles: &[Role],
        unlisted: Option<bool>,
        head: Head,
    ) -> Result<u32, RepoError> {
        let version = self.next_version(Role::Root)?;
        let before = self.keys_of_root(old)?;
        let exchange = self.keys.exchange(roles, &self.numbers(old, &before), version)?;
        let mut signers: Vec<&RsaPrivateKey> = before.iter().map(|(_, key)| key).collect();
        signers.extend(exchange.of(Role::Root));
        let fresh = exchange.of(Role::Root).map(modulus).collect::<Result<Vec<_>, _>>()?;
        let kept = || old.keys_of(Role::Root).map(|key| key.0.to_vec()).collect();
        let content = Content {
            unlisted: unlisted.unwrap_or(old.unlisted),
            threshold: old.role(Role::Root).threshold,
            roots: if fresh.is_empty() { kept() } else { fresh },
            online: self.online(&exchange)?,
        };
        let root = content.signed(Head { version, ..head }, signers)?;
        exchange.carry_out(|| self.put(FileName(Role::Root, version), &root))?;
        Ok(version)
    }

    /// The keys of the root `old` that are there, with their numbers: at least as many as must sign the next one.
    fn keys_of_root(&self, old: &Root<'_>) -> Result<Vec<(u8, RsaPrivateKey)>, RepoError> {
        let mut there = Vec::new();
        for (number, key) in self.keys.numbered_roots()? {
            let modulus = modulus(&key)?;
            if old.keys_of(Role::Root).any(|known| known.0 == modulus) {
                there.push((number, key));
            }
        }
        let (found, needed) = (there.len(), old.role(Role::Root).threshold);
        if found < usize::from(needed) {
            return Err(RepoError::FewKeys {
                folder: self.keys.folder().to_owned(),
                root: old.head.version,
                found,
                needed,
            });
        }
        Ok(there)
    }

    /// Numbers for as many keys as the root `old` has: those of its keys that are there, and others that no file has.
    fn numbers(&self, old: &Root<'_>, there: &[(u8, RsaPrivateKey)]) -> Vec<u8> {
        let mut numbers: Vec<u8> = there.iter().map(|(number, _)| *number).collect();
        let free = (1..=u8::MAX).filter(|number| !self.keys.root(*number).exists());
        numbers.extend(free.take(old.role(Role::Root).keys.len().saturating_sub(there.len())));
        numbers
    }

    /// The moduli of the other roles' keys: new ones, or those that are there.
    fn online(&self, exchange: &Exchange) -> Result<[Vec<u8>; 3], RepoError> {
        let [timestamp, snapshot, targets] = ONLINE.map(|role| match exchange.of(role).next() {
            Some(key) => modulus(key),
            None => modulus(&self.keys.of(role)?),
        });
        Ok([timestamp?, snapshot?, targets?])
    }
}

/// What a root says beside its version and times.
struct Content {
    unlisted: bool,
    /// How many of the root's keys must sign the next one.
    threshold: u8,
    /// Moduli of the root's keys.
    roots: Vec<Vec<u8>>,
    /// Those of the keys of [`ONLINE`].
    online: [Vec<u8>; 3],
}

impl Content {
    fn signed(&self, head: Head, signers: Vec<&RsaPrivateKey>) -> Result<Vec<u8>, RepoError> {
        let Self { unlisted, threshold, roots, online: [timestamp, snapshot, targets] } = self;
        let (timestamp, snapshot, targets) = ([&timestamp[..]], [&snapshot[..]], [&targets[..]]);
        let roots: Vec<&[u8]> = roots.iter().map(Vec::as_slice).collect();
        let one = |keys| RoleSpec { threshold: 1, keys };
        let root = RoleSpec { threshold: *threshold, keys: &roots };
        let root = write::root(head, *unlisted, [root, one(&timestamp), one(&snapshot), one(&targets)])?;
        Ok(Draft::root(&root).sign(&signers, &mut OsRng)?)
    }
}

fn modulus(key: &RsaPrivateKey) -> Result<Vec<u8>, RepoError> {
    Ok(write::modulus(&key.to_public_key())?)
}
