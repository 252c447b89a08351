//! What can go wrong in the proof.

use core::fmt;
use hic_rt::loader::LoadError;
use hic_store::StoreError;

/// Why the proof failed.
#[derive(Clone, Copy, Debug)]
pub enum Failure {
    /// Something could not be made or started, or the kernel refused an operation.
    Stage(hic_stage::Failure),
    /// The service refused a request.
    Store(StoreError),
    /// An answer is not what it must be.
    Wrong(&'static str),
    /// No answer came in time.
    Late,
}

impl From<hic_stage::Failure> for Failure {
    fn from(failure: hic_stage::Failure) -> Self {
        Self::Stage(failure)
    }
}

impl From<LoadError> for Failure {
    fn from(error: LoadError) -> Self {
        Self::Stage(error.into())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stage(failure) => failure.fmt(f),
            Self::Store(error) => error.fmt(f),
            Self::Wrong(what) => write!(f, "wrong: {what}"),
            Self::Late => f.write_str("no answer in time"),
        }
    }
}
