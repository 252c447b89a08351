//! What can go wrong in a proof.

use core::fmt;
use hic_abi::Error;
use hic_rt::loader::LoadError;

/// Why a proof failed.
#[derive(Clone, Copy, Debug)]
pub enum Failure {
    /// Something could not be made, started or ended.
    Load(LoadError),
    /// The kernel refused an operation.
    Refused {
        /// Which.
        what: &'static str,
        /// Why.
        error: Error,
    },
    /// A number is not what it must be.
    Wrong {
        /// Which.
        what: &'static str,
        /// What it must be.
        expected: u64,
        /// What it is.
        found: u64,
    },
    /// Something did not happen within the time allowed.
    Late(&'static str),
}

impl From<LoadError> for Failure {
    fn from(error: LoadError) -> Self {
        Self::Load(error)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Load(error) => error.fmt(f),
            Self::Refused { what, error } => write!(f, "{what}: {error}"),
            Self::Wrong { what, expected, found } => write!(f, "{what}: {found}, must be {expected}"),
            Self::Late(what) => write!(f, "{what}: not within the time allowed"),
        }
    }
}

/// Names the operation that the kernel refused.
pub fn refused(what: &'static str) -> impl Fn(Error) -> Failure {
    move |error| Failure::Refused { what, error }
}

/// Compares a number with what it must be.
///
/// # Errors
/// [`Failure::Wrong`] when it is another.
pub fn check(what: &'static str, found: u64, expected: u64) -> Result<(), Failure> {
    if found == expected { Ok(()) } else { Err(Failure::Wrong { what, expected, found }) }
}
