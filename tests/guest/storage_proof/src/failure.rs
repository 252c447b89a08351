//! What can go wrong in the proof.

use core::fmt;
use hic_abi::Error;
use hic_rt::loader::LoadError;
use hic_store::StoreError;

/// Why the proof failed.
#[derive(Clone, Copy, Debug)]
pub enum Failure {
    /// Something could not be made or started.
    Load(LoadError),
    /// The kernel refused an operation.
    Refused {
        /// Which.
        what: &'static str,
        /// Why.
        error: Error,
    },
    /// The service refused a request.
    Store(StoreError),
    /// An answer is not what it must be.
    Wrong(&'static str),
    /// No answer came in time.
    Late,
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
            Self::Store(error) => error.fmt(f),
            Self::Wrong(what) => write!(f, "wrong: {what}"),
            Self::Late => f.write_str("no answer in time"),
        }
    }
}

/// Names the operation that the kernel refused.
pub fn refused(what: &'static str) -> impl Fn(Error) -> Failure {
    move |error| Failure::Refused { what, error }
}
