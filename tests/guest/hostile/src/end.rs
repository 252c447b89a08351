//! How one run of a sandbox under trial ended, and whether that is how it must end.

use core::fmt;
use hic_abi::Error;
use hic_abi::message::Fault;

/// What a run says of itself by the code with which it ends.
pub mod outcome {
    use hic_abi::Error;

    /// What was tried was done.
    pub const DONE: u64 = 0;
    /// The processor ignored it.
    pub const NO_EFFECT: u64 = 900;
    /// What came back was not what the run expected: see the board.
    pub const STRANGE: u64 = 901;
    const REFUSED: u64 = 1000;

    /// The kernel refused it with this error.
    #[must_use]
    pub const fn refused(error: Error) -> u64 {
        REFUSED + (error as i32).unsigned_abs() as u64
    }

    /// What a result says.
    #[must_use]
    pub const fn of(result: Result<(), Error>) -> u64 {
        match result {
            Ok(()) => DONE,
            Err(error) => refused(error),
        }
    }

    /// The error behind a code.
    #[must_use]
    pub fn error(code: u64) -> Option<Error> {
        Error::ALL.into_iter().find(|error| refused(*error) == code)
    }
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// With this code.
    Exit(u64),
    /// By an exception of the processor.
    Exception {
        /// Its vector.
        vector: u64,
        /// Its error code.
        error: u64,
        /// The address that was touched (page faults), or the instruction's.
        address: u64,
        /// The instruction.
        rip: u64,
    },
    /// Something else froze it.
    Frozen,
    /// It went on until the director's patience ended.
    Stalled,
}

impl End {
    /// Reads the words of a fault message.
    #[must_use]
    pub const fn from_words(words: [u64; 4]) -> Self {
        match Fault::from_word(words[0]) {
            Some(Fault::Exit) => Self::Exit(words[1]),
            Some(Fault::Exception) => Self::Exception {
                vector: words[1] & 0xff,
                error: words[1] >> 8,
                address: words[2],
                rip: words[3],
            },
            _ => Self::Frozen,
        }
    }

    const fn numbers(self) -> [u64; 4] {
        match self {
            Self::Exception { vector, error, address, rip } => [vector, error, address, rip],
            _ => [0; 4],
        }
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Exit(outcome::DONE) => f.write_str("it was done"),
            Self::Exit(outcome::NO_EFFECT) => f.write_str("it had no effect"),
            Self::Exit(outcome::STRANGE) => f.write_str("what came back is wrong"),
            Self::Exit(code) => match outcome::error(code) {
                Some(error) => write!(f, "refused with {error}"),
                None => write!(f, "ended with code {code}"),
            },
            Self::Exception { vector, error, address, rip } => {
                write!(f, "vector {vector}, error {error:#x}, address {address:#x}, rip {rip:#x}")
            }
            Self::Frozen => f.write_str("frozen"),
            Self::Stalled => f.write_str("it goes on"),
        }
    }
}

/// A number of an exception that is not compared: the emulator's differs from the processor's.
pub const ANY: u64 = u64::MAX;

/// How a run must end.
#[derive(Clone, Copy, Debug)]
pub enum Expect {
    /// It is done.
    Done,
    /// The processor ignores it.
    NoEffect,
    /// The kernel refuses it with this error.
    Refused(Error),
    /// An exception: vector, error code, address, instruction.
    Dies {
        /// Vector.
        vector: u64,
        /// Error code.
        error: u64,
        /// Address.
        address: u64,
        /// Instruction.
        rip: u64,
    },
}

impl Expect {
    /// Whether a run that ended so ended as it must.
    #[must_use]
    pub fn is_met(&self, end: End) -> bool {
        match (*self, end) {
            (Self::Dies { vector, error, address, rip }, End::Exception { .. }) => end
                .numbers()
                .into_iter()
                .zip([vector, error, address, rip])
                .all(|(is, must)| must == ANY || is == must),
            (Self::Done, _) => end == End::Exit(outcome::DONE),
            (Self::NoEffect, _) => end == End::Exit(outcome::NO_EFFECT),
            (Self::Refused(error), _) => end == End::Exit(outcome::refused(error)),
            (Self::Dies { .. }, _) => false,
        }
    }
}

impl fmt::Display for Expect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Done => f.write_str("it must be done"),
            Self::NoEffect => f.write_str("it must have no effect"),
            Self::Refused(error) => write!(f, "it must be refused with {error}"),
            Self::Dies { vector, error, address, rip } => {
                write!(
                    f,
                    "it must die of vector {vector}, error {error:#x}, address {address:#x}, rip {rip:#x}"
                )
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Error::{MissingRights, NoMemory};

    #[test]
    fn only_the_right_end_meets_an_expectation() {
        assert!(Expect::Done.is_met(End::from_words([Fault::Exit as u64, outcome::DONE, 0, 0])));
        let refused = End::Exit(outcome::of(Err(MissingRights)));
        assert!(Expect::Refused(MissingRights).is_met(refused));
        assert!(!Expect::Refused(NoMemory).is_met(refused) && !Expect::NoEffect.is_met(refused));
        let words = [Fault::Exception as u64, 14 | 0x15 << 8, 0x1000, 0x1000];
        let dies = |error| Expect::Dies { vector: 14, error, address: 0x1000, rip: 0x1000 };
        assert!(dies(0x15).is_met(End::from_words(words)) && !dies(0x4).is_met(End::from_words(words)));
        assert!(!Expect::Done.is_met(End::from_words([Fault::Frozen as u64, 0, 0, 0])));
        assert!(!Expect::Done.is_met(End::Stalled));
        let somehow = Expect::Dies { vector: ANY, error: ANY, address: ANY, rip: 0x1000 };
        assert!(somehow.is_met(End::from_words(words)) && !somehow.is_met(End::Exit(0)));
    }

    #[test]
    fn every_error_has_a_code_of_its_own() {
        for error in Error::ALL {
            assert_eq!(outcome::error(outcome::refused(error)), Some(error));
        }
        assert_eq!(outcome::error(outcome::DONE), None);
    }
}
