//! What a version says about replacing another one while it runs, and whether two versions fit together.
//!
//! State passes between two versions in records of a numbered schema. A pair can be exchanged, in either direction and
//! back again from any step, when each can read what the other publishes during the move (ledger P2.7 and "readable
//! backwards" in the architecture). Pure: says whether, never how.

use core::fmt;

use serde::{Deserialize, Serialize};

use super::{Kind, List, Manifest, ManifestError, Name, Span, Version};

/// Most versions that one version states to have been tested with.
pub const MAX_TESTED_WITH: usize = 16;
/// Highest schema number: leaves room to tell a schema from a mistake.
pub const MAX_SCHEMA: u16 = 9999;

/// The section `[update]` of a manifest. A module without it is replaced only by stopping it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Update {
    /// State schema in which it publishes once it is committed, 1 to [`MAX_SCHEMA`].
    pub schema: u16,
    /// Oldest schema whose readers understand what it publishes until it is committed, and again before it is replaced
    /// by an older version. 1 to `schema`.
    pub readable_by: u16,
    /// Oldest schema that it reads, 1 to `schema`.
    pub reads: u16,
    /// Versions between which and this one moves both ways were tested.
    #[serde(default)]
    pub tested_with: List<Version, MAX_TESTED_WITH>,
    /// Versions of the migration protocol that it speaks.
    #[serde(default)]
    pub protocols: Span,
}

impl Update {
    /// Checks the numbers and that no version is named twice or is the module's `own`.
    pub(super) fn check(&self, own: Version) -> Result<(), ManifestError> {
        super::check::in_range("update.schema", self.schema, 1, MAX_SCHEMA)?;
        super::check::in_range("update.readable_by", self.readable_by, 1, self.schema)?;
        super::check::in_range("update.reads", self.reads, 1, self.schema)?;
        self.protocols.check("update.protocols")?;
        for (index, &version) in self.tested_with.iter().enumerate() {
            if version == own || self.tested_with.iter().take(index).any(|&earlier| earlier == version) {
                return Err(ManifestError::TestedWith { version });
            }
        }
        Ok(())
    }

    /// Whether some schema in which `self` can publish is one that `reader` reads.
    fn is_read_by(&self, reader: &Update) -> bool {
        self.readable_by <= reader.schema && reader.reads <= self.schema
    }
}

/// How a module is exchanged for another version of itself. It follows from its manifest, so nobody has to say it twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exchange {
    /// Both versions run side by side, and its state moves from one to the other while it serves: a manifest with `[update]`.
    Rolling,
    /// The new image starts over what the old one holds, since nobody else can hold it meanwhile: a driver with `[update]`. Its state regions are
    /// what passes, so `schema`, `readable_by` and `reads` are about them; there is no migration protocol.
    InPlace,
    /// The old version ends, with what it keeps in memory, and the new one starts: a manifest without `[update]`.
    Restart,
}

impl Manifest {
    /// How this module is exchanged.
    #[must_use]
    pub const fn exchange(&self) -> Exchange {
        match (&self.update, self.kind) {
            (None, _) => Exchange::Restart,
            (Some(_), Kind::Driver) => Exchange::InPlace,
            (Some(_), Kind::Service | Kind::Application) => Exchange::Rolling,
        }
    }
}

/// Why one version cannot replace another while it runs.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "each field is what the variant's line and its Display name")]
pub enum PairError {
    /// The two are different modules.
    DifferentModules { from: Name, to: Name },
    /// Both are the same version.
    SameVersion { name: Name, version: Version },
    /// A version whose manifest has no section `[update]`.
    NotUpdatable { name: Name, version: Version },
    /// The new version does not read what the running one publishes.
    Forward { from: Version, schemas: (u16, u16), to: Version, reads: (u16, u16) },
    /// The running version would not read what the new one publishes, so that nothing could be put back.
    Backward { to: Version, schemas: (u16, u16), from: Version, reads: (u16, u16) },
    /// There is no migration protocol that both speak.
    Protocol { from: Version, spoken: Span, to: Version, understood: Span },
    /// Neither version names the other as tested.
    Untested { name: Name, from: Version, to: Version },
}

impl PairError {
    /// The stable code that consoles and audit records show.
    #[must_use]
    pub const fn check_name(&self) -> &'static str {
        match self {
            Self::DifferentModules { .. } => "different-modules",
            Self::SameVersion { .. } => "same-version",
            Self::NotUpdatable { .. } => "not-updatable",
            Self::Forward { .. } => "schema-forward",
            Self::Backward { .. } => "schema-backward",
            Self::Protocol { .. } => "migration-protocol",
            Self::Untested { .. } => "untested-pair",
        }
    }
}

impl fmt::Display for PairError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DifferentModules { from, to } => {
                write!(f, "{to} is not a version of {from}; name a version of the running module")
            }
            Self::SameVersion { name, version } => {
                write!(f, "{name} {version} is what runs already; name another version")
            }
            Self::NotUpdatable { name, version } => write!(
                f,
                "{name} {version} cannot be replaced while it runs: its manifest has no [update]; stop it and start the \
                 other version"
            ),
            Self::Forward { from, schemas: (oldest, newest), to, reads: (low, high) } => write!(
                f,
                "{to} reads state schema {low} to {high}, but {from} publishes {oldest} to {newest}; update by way of a \
                 version that reads both"
            ),
            Self::Backward { to, schemas: (oldest, newest), from, reads: (low, high) } => write!(
                f,
                "{to} publishes state schema {oldest} to {newest}, but {from} reads {low} to {high}, so there would be no \
                 way back; update by way of a version whose state {from} reads"
            ),
            Self::Protocol { from, spoken, to, understood } => write!(
                f,
                "{from} speaks migration protocol {spoken}, {to} speaks {understood}; update by way of a version that speaks both"
            ),
            Self::Untested { name, from, to } => write!(
                f,
                "moving {name} between {from} and {to} was never tested; test it both ways and add the other version to \
                 tested_with of one of them"
            ),
        }
    }
}

impl core::error::Error for PairError {}

/// Whether `to` can replace the running `from`, and be replaced by it again at any step.
pub fn check_pair(from: &Manifest, to: &Manifest) -> Result<(), PairError> {
    if from.name != to.name {
        return Err(PairError::DifferentModules { from: from.name.clone(), to: to.name.clone() });
    }
    if from.version == to.version {
        return Err(PairError::SameVersion { name: to.name.clone(), version: to.version });
    }
    let section = |manifest: &'_ Manifest| {
        let (name, version) = (manifest.name.clone(), manifest.version);
        manifest.update.clone().ok_or(PairError::NotUpdatable { name, version })
    };
    let (old, new) = (section(from)?, section(to)?);
    let (from, to, name) = (from.version, to.version, &to.name);
    if !old.is_read_by(&new) {
        let (schemas, reads) = ((old.readable_by, old.schema), (new.reads, new.schema));
        return Err(PairError::Forward { from, schemas, to, reads });
    }
    if !new.is_read_by(&old) {
        let (schemas, reads) = ((new.readable_by, new.schema), (old.reads, old.schema));
        return Err(PairError::Backward { to, schemas, from, reads });
    }
    if !old.protocols.meets(&new.protocols) {
        let (spoken, understood) = (old.protocols, new.protocols);
        return Err(PairError::Protocol { from, spoken, to, understood });
    }
    if !old.tested_with.contains(&to) && !new.tested_with.contains(&from) {
        return Err(PairError::Untested { name: name.clone(), from, to });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::string::ToString;

    use super::super::tests::{netstack, refusal};
    use super::*;

    fn update(schema: u16, readable_by: u16, reads: u16, tested: &[Version]) -> Option<Update> {
        let tested_with = tested.iter().copied().collect();
        Some(Update { schema, readable_by, reads, tested_with, protocols: Span::only(1) })
    }

    fn version(minor: u32, update: Option<Update>) -> Manifest {
        Manifest { version: Version::new(1, minor, 0), update, ..netstack() }
    }

    const OLD: Version = Version::new(1, 2, 0);

    #[test]
    fn a_version_that_reads_and_is_read_by_the_older_one_is_exchanged_both_ways() {
        let (old, new) = (version(2, update(1, 1, 1, &[])), version(3, update(2, 1, 1, &[OLD])));
        assert_eq!(check_pair(&old, &new), Ok(()));
        assert_eq!(check_pair(&new, &old), Ok(()), "a rollback is a move, too");
    }

    #[test]
    fn how_a_module_is_exchanged_follows_from_its_kind_and_its_section() {
        let rolling = version(2, update(1, 1, 1, &[]));
        assert_eq!(rolling.exchange(), Exchange::Rolling);
        assert_eq!(Manifest { kind: Kind::Driver, ..rolling }.exchange(), Exchange::InPlace);
        assert_eq!(version(2, None).exchange(), Exchange::Restart);
    }

    fn refused(from: &Manifest, to: &Manifest) -> &'static str {
        let error = check_pair(from, to).unwrap_err();
        assert!(error.to_string().contains(';'), "says what to do: {error}");
        error.check_name()
    }

    #[test]
    fn each_reason_why_a_pair_does_not_fit_has_its_own_name() {
        let old = version(2, update(2, 2, 2, &[]));
        assert_eq!(refused(&old, &old), "same-version");
        assert_eq!(refused(&old, &version(3, None)), "not-updatable");
        assert_eq!(refused(&version(1, None), &old), "not-updatable");
        assert_eq!(refused(&old, &version(3, update(3, 2, 3, &[OLD]))), "schema-forward");
        assert_eq!(refused(&old, &version(3, update(3, 3, 2, &[OLD]))), "schema-backward");
        assert_eq!(refused(&old, &version(3, update(3, 2, 2, &[]))), "untested-pair");
        let newer = Span { lowest: 2, highest: 3 };
        let spoken = update(2, 2, 2, &[OLD]).map(|section| Update { protocols: newer, ..section });
        assert_eq!(refused(&old, &version(3, spoken)), "migration-protocol");
        let other = Manifest { name: "inetd".parse().unwrap(), ..version(3, update(2, 2, 2, &[OLD])) };
        assert_eq!(refused(&old, &other), "different-modules");
    }

    #[test]
    fn numbers_that_make_no_sense_are_refused_with_their_field() {
        let field = |section| match refusal(netstack(), |m| m.update = section) {
            ManifestError::OutOfRange { field, .. } => field,
            other => panic!("{other}"),
        };
        assert_eq!(field(update(0, 1, 1, &[])), "update.schema");
        assert_eq!(field(update(1, 2, 1, &[])), "update.readable_by");
        assert_eq!(field(update(1, 1, 2, &[])), "update.reads");
        let backwards = Span { lowest: 2, highest: 1 };
        let section = update(1, 1, 1, &[]).map(|section| Update { protocols: backwards, ..section });
        assert_eq!(field(section), "update.protocols");
        let own = refusal(netstack(), |m| m.update = update(1, 1, 1, &[OLD]));
        assert_eq!(own, ManifestError::TestedWith { version: OLD });
        let other = Version::new(1, 3, 0);
        let twice = refusal(netstack(), |m| m.update = update(1, 1, 1, &[other, other]));
        assert_eq!(twice, ManifestError::TestedWith { version: other });
    }
}
