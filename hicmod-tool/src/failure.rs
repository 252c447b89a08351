//! What went wrong: a sentence for people, and an exit code for scripts.

use std::fmt::{self, Display};
use std::path::Path;
use std::process::ExitCode;

/// Why a command did not do what it was asked for.
#[derive(Debug)]
pub struct Failure {
    kind: Kind,
    message: String,
}

/// What a script can tell apart. A wrong command line ends with 2, as `clap` has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// It could not be done: a file, a key, an input that is not what it should be.
    Failed = 1,
    /// It was done, and the answer is no: what was checked is not good.
    Refused = 3,
    /// `diff` found what it was to look for.
    Differs = 4,
}

impl Failure {
    /// It could not be done.
    pub fn new(message: impl Display) -> Self {
        Self { kind: Kind::Failed, message: message.to_string() }
    }

    /// It could not be done because of the file `path`.
    pub fn at(path: &Path, message: impl Display) -> Self {
        Self::new(format_args!("{}: {message}", path.display()))
    }

    /// What lies in `path` was checked, and is not good.
    pub fn refused(path: &Path, message: impl Display) -> Self {
        Self { kind: Kind::Refused, message: format!("{}: {message}", path.display()) }
    }

    /// What lies in `path` differs in a way that was asked for.
    pub fn differs(path: &Path, message: impl Display) -> Self {
        Self { kind: Kind::Differs, message: format!("{}: {message}", path.display()) }
    }

    /// The same, with the file that it is about.
    pub fn about(self, path: &Path) -> Self {
        Self { kind: self.kind, message: format!("{}: {self}", path.display()) }
    }

    /// What the process ends with.
    pub fn exit_code(&self) -> ExitCode {
        ExitCode::from(self.kind as u8)
    }
}

impl Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}
