//! How the module manager asks the verifier to walk through metadata, and how the verifier answers.
//!
//! The verifier keeps nothing between two questions, so each question has all files that were fetched so far, in the order in which they were
//! asked for; the walk begins anew, and its answer is the next file, the new state, or a refusal. The manager fetches bytes and parses none of
//! them.
//!
//! ```text
//!   manager  ─ files: none ─▶ verifier: 2.root.tuf?  ─ not there ─▶ timestamp.tuf? ─▶ ... ─▶ Good
//! ```

use heapless::{String, Vec};
use hic_hicmod::verdict::{Refusal, Span, is_shown};
use serde::{Deserialize, Serialize};

use crate::{MAX_ROOT_UPDATES, Trusted};

/// Label of the question.
pub const METADATA: u64 = 2;
/// Most files of one walk: the roots, the one that is not there, and the three others.
pub const MAX_FILES: usize = MAX_ROOT_UPDATES as usize + 4;
/// Longest question, bytes: each file takes up to fifteen.
pub const MAX_QUESTION_BYTES: usize = 2048;
/// Longest answer, bytes.
pub const MAX_ANSWER_BYTES: usize = 512;
/// Longest name of a metadata file: `4294967295.timestamp.tuf`.
pub const MAX_NAME_BYTES: usize = 24;

/// The question.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Question {
    /// The installed root.
    pub root: Span,
    /// What was seen before.
    pub seen: Trusted,
    /// The time, seconds since 1970, UTC.
    pub now: u64,
    /// The files that were asked for so far; `None` for one that is not there.
    pub files: Vec<Option<Span>, MAX_FILES>,
}

/// The answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(
    clippy::large_enum_variant,
    reason = "made and taken apart once for each question; no heap is needed"
)]
pub enum Answer {
    /// Another file is wanted.
    Fetch {
        /// Its name.
        name: String<MAX_NAME_BYTES>,
        /// Most bytes that it may have; one more is read, to see that it ends.
        limit: u32,
    },
    /// The metadata is good; the last file is the list of modules.
    Good {
        /// What is to be kept.
        trusted: Trusted,
        /// The last second at which it is believed, since 1970, UTC.
        expires: u64,
        /// Whether modules that it does not list may be used.
        unlisted: bool,
        /// How many it lists.
        modules: u32,
    },
    /// It is not.
    Refused {
        /// The check, and a sentence.
        refusal: Refusal,
        /// Whether there is no metadata at all: the first file of it is not there.
        absent: bool,
        /// Whether the root says that modules which are not listed may be used.
        unlisted: bool,
    },
}

impl Question {
    /// As the payload of a message.
    #[must_use]
    pub fn encode<'b>(&self, buffer: &'b mut [u8; MAX_QUESTION_BYTES]) -> Option<&'b [u8]> {
        postcard::to_slice(self, buffer).ok().map(|used| &*used)
    }

    /// Reads a payload; `None` if it is none.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        postcard::from_bytes(bytes).ok()
    }
}

impl Answer {
    /// As the payload of a message.
    #[must_use]
    pub fn encode<'b>(&self, buffer: &'b mut [u8; MAX_ANSWER_BYTES]) -> Option<&'b [u8]> {
        postcard::to_slice(self, buffer).ok().map(|used| &*used)
    }

    /// Reads a payload; `None` if it is none, or has text that a console must not see: whoever took the verifier over wrote it.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        postcard::from_bytes(bytes).ok().filter(Self::is_shown)
    }

    fn is_shown(&self) -> bool {
        match self {
            Self::Fetch { name, .. } => is_shown(name),
            Self::Refused { refusal, .. } => is_shown(&refusal.check) && is_shown(&refusal.text),
            Self::Good { .. } => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Digest;

    #[test]
    fn the_longest_question_and_answer_fit_and_are_read_back() {
        let span = Span { address: u64::MAX, length: u64::from(u32::MAX) };
        let trusted = Trusted {
            root: u32::MAX,
            root_digest: Digest::from_bytes([255; 48]),
            online_keys: Digest::from_bytes([255; 48]),
            timestamp: u32::MAX,
            snapshot: u32::MAX,
            targets: u32::MAX,
        };
        let files = core::iter::repeat_n(Some(span), MAX_FILES).collect();
        let question = Question { root: span, seen: trusted, now: u64::MAX, files };
        let mut buffer = [0; MAX_QUESTION_BYTES];
        assert_eq!(Question::decode(question.encode(&mut buffer).unwrap()), Some(question));
        let text = std::string::String::from("x").repeat(hic_hicmod::verdict::MAX_TEXT_BYTES);
        let refused = Answer::Refused { refusal: Refusal::new(&text, &text), absent: true, unlisted: true };
        let good = Answer::Good { trusted, expires: u64::MAX, unlisted: true, modules: u32::MAX };
        let fetch = Answer::Fetch { name: "4294967295.snapshot.tuf".try_into().unwrap(), limit: u32::MAX };
        for answer in [refused, good, fetch] {
            let mut buffer = [0; MAX_ANSWER_BYTES];
            assert_eq!(Answer::decode(answer.encode(&mut buffer).unwrap()), Some(answer));
        }
        assert_eq!((Question::decode(&[1; 9]), Answer::decode(&[9])), (None, None));
    }

    #[test]
    fn what_a_console_must_not_see_is_refused() {
        let refused = |check: &str, text: &str| {
            let refusal = Refusal::new(check, &text);
            Answer::Refused { refusal, absent: false, unlisted: false }
        };
        let fetch = |name: &str| Answer::Fetch { name: name.try_into().unwrap(), limit: 1 };
        let mut buffer = [0; MAX_ANSWER_BYTES];
        let mut is_read = |answer: Answer| Answer::decode(answer.encode(&mut buffer).unwrap()).is_some();
        assert!(is_read(refused("size", "too long")) && is_read(fetch("timestamp.tuf")));
        assert!(!is_read(refused("size", "\x1b[2J")) && !is_read(refused("si\nze", "too long")));
        assert!(!is_read(fetch("\rtimestamp.tuf")));
    }
}
