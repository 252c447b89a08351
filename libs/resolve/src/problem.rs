//! Why there is no plan, in sentences for an operator: who needs what, what is there instead, and what to do.

use alloc::vec::Vec;
use core::fmt;

use hic_hicmod::manifest::{PlatformError, Version};

use crate::Need;

/// Why there is no plan.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "each field is what the variant's line and its Display name")]
pub enum Problem<'a> {
    /// Nobody knows a module of this name.
    UnknownModule { name: &'a str },
    /// The module is known, this version is not.
    UnknownVersion { name: &'a str, version: Version, newest: Option<Version> },
    /// The version that was asked for does not run on this system.
    Unfit { name: &'a str, version: Version, error: PlatformError },
    /// A need that nothing meets, and the way that led to it: each link is there because of the one before.
    Conflict { links: Vec<Link<'a>> },
    /// A set of versions that fit each other exists, but no way to it one change at a time: between these modules lies a circle.
    OneStroke { names: Vec<&'a str> },
    /// More modules would have to change than one plan may.
    TooManyChanges { limit: usize },
    /// The search was given up.
    TooHard { limit: u64 },
}

/// A need on the way to a conflict.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Link<'a> {
    /// Whose need it is.
    pub name: &'a str,
    /// In which version.
    pub version: Version,
    /// What it needs.
    pub need: Need<'a>,
    /// What came of it.
    pub stuck: Stuck<'a>,
}

/// What came of a need.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stuck<'a> {
    /// This version of this module was tried, and led to the next link.
    Tried(&'a str, Version),
    /// What is needed was decided in this version already, by the question or by another need.
    Decided(Version),
    /// What would meet it does not run on this system.
    Unfit(Version, PlatformError),
    /// This version is installed, and none that is newer can be had.
    Present(Version),
    /// A version is installed, and no newer one that can be had will do.
    #[allow(missing_docs, reason = "named by the line above and by Display")]
    Newest { present: Version, newest: Version },
    /// It is not installed, and of those that can be had, this newest one among them, none will do.
    NotThis(Version),
    /// This version of this module offers it, and cannot be taken: it would be a step back, or another version was decided on.
    Elsewhere(&'a str, Version),
    /// Nothing of it is known.
    Unknown,
}

impl Problem<'_> {
    /// The stable code that the console prints: `error[CODE]`.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::UnknownModule { .. } => "unknown-module",
            Self::UnknownVersion { .. } => "unknown-version",
            Self::Unfit { error, .. } => error.check_name(),
            Self::Conflict { .. } => "dependency-conflict",
            Self::OneStroke { .. } => "dependency-cycle",
            Self::TooManyChanges { .. } => "too-many-changes",
            Self::TooHard { .. } => "too-hard",
        }
    }
}

impl fmt::Display for Problem<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownModule { name } => {
                write!(f, "there is no module {name}; `modules` lists those that there are")
            }
            Self::UnknownVersion { name, version, newest: Some(newest) } => {
                write!(f, "there is no {name} {version}; the newest is {newest}")
            }
            Self::UnknownVersion { name, version, newest: None } => write!(f, "there is no {name} {version}"),
            Self::Unfit { name, version, error } => write!(f, "{name} {version}: {error}"),
            Self::Conflict { links } => {
                for (index, link) in links.iter().enumerate() {
                    if index > 0 {
                        f.write_str("; ")?;
                    }
                    write!(f, "{link}")?;
                }
                Ok(())
            }
            Self::OneStroke { names } => {
                let last = names.len().saturating_sub(1);
                for (index, name) in names.iter().enumerate() {
                    f.write_str(match index {
                        0 => "",
                        _ if index == last => " and ",
                        _ => ", ",
                    })?;
                    f.write_str(name)?;
                }
                f.write_str(
                    " need each other's new versions, so none of them can change first; a release of one of them that works with both \
                     versions of the others would open the way",
                )
            }
            Self::TooManyChanges { limit } => {
                write!(f, "more than {limit} modules would have to change; update some of them first")
            }
            Self::TooHard { limit } => write!(
                f,
                "no plan was found in {limit} comparisons; update what it depends on step by step, or remove old versions from the repository"
            ),
        }
    }
}

impl core::error::Error for Problem<'_> {}

impl fmt::Display for Link<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, version, need, stuck } = self;
        let what = match need {
            Need::Module(module, _) => module,
            Need::Interface(_) => "of those who offer it",
        };
        match stuck {
            Stuck::Tried(module, tried) => {
                write!(f, "{name} {version} needs {need}, which {module} {tried} would be for")
            }
            Stuck::Decided(other) => write!(f, "{name} {version} needs {need}, but {what} is to be {other}"),
            Stuck::Unfit(other, error) => {
                write!(f, "{name} {version} needs {need}, but {what} {other} cannot be used: {error}")
            }
            Stuck::Present(present) => {
                write!(
                    f,
                    "{name} {version} needs {need}, but {what} {present} is installed and the repository has none that is newer"
                )
            }
            Stuck::Newest { present, newest } => write!(
                f,
                "{name} {version} needs {need}, but {what} {present} is installed and no newer one in the repository will do, up to {newest}"
            ),
            Stuck::NotThis(newest) => {
                write!(
                    f,
                    "{name} {version} needs {need}, but the repository has only other versions, up to {newest}"
                )
            }
            Stuck::Elsewhere(other, tried) => write!(
                f,
                "{name} {version} needs {need}, which {other} {tried} offers, but {other} is to stay in another version"
            ),
            Stuck::Unknown => write!(
                f,
                "{name} {version} needs {need}, which no known module is or offers; add it to the repository"
            ),
        }
    }
}
