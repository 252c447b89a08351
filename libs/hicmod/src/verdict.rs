//! How the module manager asks the verifier about a module, and how the verifier answers.
//!
//! The question is eight words and, for a file of a repository with metadata, a [`Listing`]; the answer a few bytes: what was wrong, or what the module manager must know to load the
//! module. The manifest comes in its normal form and is checked again by [`Verdict::decode`], so that the asker never
//! parses a byte of the module itself. All fields of the answer are little-endian:
//!
//! | byte | good | refused |
//! | --- | --- | --- |
//! | 0 | 1 | 2 |
//! | 1 | bits: 1 the root is a development root, 2 the repository's metadata lists the module | 0 |
//! | 2 | `u16` length of the signer's name | `u16` length of the check's name |
//! | 4 | `u32` length of the manifest | `u32` length of the text |
//! | 8 | digest, 48 bytes; `signed_at: u64`; `valid_until: u64` | |
//! | .. | name of the signer, manifest | name of the check, text |

use core::fmt::{self, Write};

use serde::{Deserialize, Serialize};

use crate::bytes::{array_at, slice_at, u16_at, u32_at, u64_at};
use crate::manifest::{self, MAX_MANIFEST_BYTES, Manifest};

/// Label of the question.
pub const VERIFY: u64 = 1;
/// Words of a question.
pub const QUESTION_WORDS: usize = 8;
/// Longest answer, bytes; it fits the payload of a channel. With the largest manifest an answer takes some 3.3 KB.
pub const MAX_VERDICT_BYTES: usize = 3968;
/// Longest name of a signer or root that is kept, bytes (RFC 5280, ub-common-name).
pub const MAX_SIGNER_BYTES: usize = 64;
/// Longest name of a check, bytes.
pub const MAX_CHECK_BYTES: usize = 24;
/// Longest [`Listing`], bytes: two numbers and the name of a file.
pub const MAX_LISTING_BYTES: usize = 320;
/// Longest sentence; what is beyond is cut off.
pub const MAX_TEXT_BYTES: usize = 320;

const GOOD: u8 = 1;
const REFUSED: u8 = 2;
const DEVELOPMENT: u8 = 1;
const LISTED: u8 = 2;
const HEADER_BYTES: usize = 8;
const DIGEST_BYTES: usize = 48;
const FACTS_BYTES: usize = DIGEST_BYTES + 2 * size_of::<u64>();

/// A run of bytes in the verifier's memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Span {
    /// Where it starts.
    pub address: u64,
    /// Length in bytes; 0: there is none.
    pub length: u64,
}

/// The question: is this a module that may be loaded?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Question {
    /// The module.
    pub module: Span,
    /// The root certificate, DER.
    pub root: Span,
    /// The revocation lists; may be empty.
    pub revoked: Span,
    /// The time, seconds since 1970, UTC.
    pub now: u64,
}

impl Question {
    /// As words of a message.
    #[must_use]
    pub const fn to_words(&self) -> [u64; QUESTION_WORDS] {
        let Self { module, root, revoked, now } = *self;
        [module.address, module.length, root.address, root.length, revoked.address, revoked.length, now, 0]
    }

    /// Reads the words of a message; `None` if the last one is not zero.
    #[must_use]
    pub const fn from_words(words: [u64; QUESTION_WORDS]) -> Option<Self> {
        match words {
            [module, module_length, root, root_length, revoked, revoked_length, now, 0] => Some(Self {
                module: Span { address: module, length: module_length },
                root: Span { address: root, length: root_length },
                revoked: Span { address: revoked, length: revoked_length },
                now,
            }),
            _ => None,
        }
    }
}

/// What the verified metadata of a repository says about the file: the payload of a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listing<'a> {
    /// The targets file, whose signatures the verifier found good before.
    pub targets: Span,
    /// Name of the file in the repository.
    pub file: &'a str,
}

impl<'a> Listing<'a> {
    /// As the payload of a message, at most [`MAX_LISTING_BYTES`]; `None` if the name is too long.
    #[must_use]
    pub fn encode<'b>(&self, buffer: &'b mut [u8; MAX_LISTING_BYTES]) -> Option<&'b [u8]> {
        postcard::to_slice(self, buffer).ok().map(|used| &*used)
    }

    /// Reads a payload; `None` if it is none.
    #[must_use]
    pub fn decode(bytes: &'a [u8]) -> Option<Self> {
        postcard::from_bytes(bytes).ok()
    }
}

/// What the verifier found.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(clippy::large_enum_variant, reason = "made and taken apart once for each module; no heap is needed")]
pub enum Verdict {
    /// Every check passed.
    Good(Facts),
    /// One did not.
    Refused(Refusal),
}

/// What is known of a good module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// SHA-384 of its content.
    pub digest: [u8; DIGEST_BYTES],
    /// Common name of the signer.
    pub signer: heapless::String<MAX_SIGNER_BYTES>,
    /// Whether the chain ends in a development root.
    pub development: bool,
    /// Whether the repository's metadata names the file, and says the same of it.
    pub listed: bool,
    /// When it was signed, seconds since 1970, UTC.
    pub signed_at: u64,
    /// When its chain expires, seconds since 1970, UTC.
    pub valid_until: u64,
    /// What it is and what it asks for.
    pub manifest: Manifest,
}

/// Why a module was refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// Stable code of the check that failed.
    pub check: heapless::String<MAX_CHECK_BYTES>,
    /// What was wrong and what to do, for an operator.
    pub text: heapless::String<MAX_TEXT_BYTES>,
}

impl Refusal {
    /// A refusal by the check `check`, explained by `why`; both are cut to their bounds.
    pub fn new(check: &str, why: &dyn fmt::Display) -> Self {
        Self { check: cut(&check), text: cut(why) }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.check, self.text)
    }
}

/// A sink that keeps the first `N` bytes, whole characters only.
struct Cut<const N: usize>(heapless::String<N>);

impl<const N: usize> Write for Cut<N> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        text.chars().try_for_each(|c| self.0.push(c).map_err(|_| fmt::Error))
    }
}

fn cut<const N: usize>(value: &dyn fmt::Display) -> heapless::String<N> {
    let mut text = Cut(heapless::String::new());
    // An error means that it is full, which is what cutting is.
    let _ = write!(text, "{value}");
    text.0
}

/// Appends to a buffer; once it is full, stays failed.
struct Out<'b> {
    buffer: &'b mut [u8],
    used: usize,
}

impl Out<'_> {
    fn put(&mut self, bytes: &[u8]) -> Option<()> {
        let end = self.used.checked_add(bytes.len())?;
        self.buffer.get_mut(self.used..end)?.copy_from_slice(bytes);
        self.used = end;
        Some(())
    }

    fn header(&mut self, tag: u8, flags: u8, short: usize, long: usize) -> Option<()> {
        self.put(&[tag, flags])?;
        self.put(&u16::try_from(short).ok()?.to_le_bytes())?;
        self.put(&u32::try_from(long).ok()?.to_le_bytes())
    }
}

impl Verdict {
    /// Writes it to `buffer` and returns the part that was used; `None` if the buffer is too small or the manifest is
    /// not valid. [`MAX_VERDICT_BYTES`] are always enough.
    #[must_use]
    pub fn encode<'b>(&self, buffer: &'b mut [u8]) -> Option<&'b [u8]> {
        let mut out = Out { buffer, used: 0 };
        match self {
            Self::Good(facts) => {
                let mut manifest = [0; MAX_MANIFEST_BYTES];
                let manifest = manifest::encode(&facts.manifest, &mut manifest).ok()?;
                let flags = (u8::from(facts.development) * DEVELOPMENT) | (u8::from(facts.listed) * LISTED);
                out.header(GOOD, flags, facts.signer.len(), manifest.len())?;
                out.put(&facts.digest)?;
                out.put(&facts.signed_at.to_le_bytes())?;
                out.put(&facts.valid_until.to_le_bytes())?;
                out.put(facts.signer.as_bytes())?;
                out.put(manifest)?;
            }
            Self::Refused(refusal) => {
                out.header(REFUSED, 0, refusal.check.len(), refusal.text.len())?;
                out.put(refusal.check.as_bytes())?;
                out.put(refusal.text.as_bytes())?;
            }
        }
        let Out { buffer, used } = out;
        buffer.get(..used)
    }

    /// Reads a verdict which takes up all of `bytes`; `None` if it is none, or its manifest is not valid.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let [tag, flags] = array_at(bytes, 0)?;
        let (short, long) = (usize::from(u16_at(bytes, 2)?), u32_at(bytes, 4)? as usize);
        let facts = if tag == GOOD { FACTS_BYTES } else { 0 };
        let at = HEADER_BYTES + facts;
        if bytes.len() != at.checked_add(short)?.checked_add(long)? {
            return None;
        }
        let name = core::str::from_utf8(slice_at(bytes, at, short)?).ok()?;
        let rest = slice_at(bytes, at + short, long)?;
        match (tag, flags) {
            (GOOD, 0..=3) => Some(Self::Good(Facts {
                digest: array_at(bytes, HEADER_BYTES)?,
                signed_at: u64_at(bytes, HEADER_BYTES + DIGEST_BYTES)?,
                valid_until: u64_at(bytes, HEADER_BYTES + DIGEST_BYTES + size_of::<u64>())?,
                signer: shown(name)?,
                development: flags & DEVELOPMENT != 0,
                listed: flags & LISTED != 0,
                manifest: manifest::decode(rest).ok()?,
            })),
            (REFUSED, 0) => Some(Self::Refused(Refusal {
                check: shown(name)?,
                text: shown(core::str::from_utf8(rest).ok()?)?,
            })),
            _ => None,
        }
    }
}

/// Whether `text` may go to a log or a console: without control characters.
#[must_use]
pub fn is_shown(text: &str) -> bool {
    !text.chars().any(char::is_control)
}

/// Text that may go to a console: bounded, without control characters.
fn shown<const N: usize>(text: &str) -> Option<heapless::String<N>> {
    if is_shown(text) { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use proptest::prelude::*;

    use super::*;
    use crate::manifest::tests::{largest, netstack};

    fn good() -> Verdict {
        Verdict::Good(Facts {
            digest: [7; DIGEST_BYTES],
            signer: "HIC signer".parse().unwrap(),
            development: true,
            listed: true,
            signed_at: 1_800_000_000,
            valid_until: 1_900_000_000,
            manifest: netstack(),
        })
    }

    fn encoded(verdict: &Verdict) -> Vec<u8> {
        verdict.encode(&mut [0; MAX_VERDICT_BYTES]).unwrap().to_vec()
    }

    #[test]
    fn the_largest_manifest_and_the_longest_names_fit_a_verdict() {
        let Verdict::Good(facts) = good() else { panic!("not good") };
        let signer = core::iter::repeat_n('x', MAX_SIGNER_BYTES).collect();
        let verdict = Verdict::Good(Facts { signer, manifest: largest(), ..facts });
        assert_eq!(Verdict::decode(&encoded(&verdict)), Some(verdict));
    }

    #[test]
    fn questions_and_verdicts_are_read_back() {
        let span = |address, length| Span { address, length };
        let question = Question { module: span(1, 2), root: span(3, 4), revoked: span(5, 6), now: 7 };
        assert_eq!(Question::from_words(question.to_words()), Some(question));
        assert_eq!(Question::from_words([1; QUESTION_WORDS]), None);
        let refused = Verdict::Refused(Refusal::new("signature", &"it does not fit"));
        for verdict in [good(), refused] {
            assert_eq!(Verdict::decode(&encoded(&verdict)), Some(verdict));
        }
    }

    #[test]
    fn long_texts_are_cut_at_a_character() {
        let text: std::string::String = core::iter::repeat_n('é', MAX_TEXT_BYTES).collect();
        assert_eq!(Refusal::new("x", &text).text.len(), MAX_TEXT_BYTES / 2 * 2);
    }

    #[test]
    fn truncated_and_extended_verdicts_are_refused() {
        let mut bytes = encoded(&good());
        for length in 0..bytes.len() {
            assert_eq!(Verdict::decode(&bytes[..length]), None, "cut to {length}");
        }
        bytes.push(0);
        assert_eq!(Verdict::decode(&bytes), None);
    }

    #[test]
    fn what_a_console_must_not_see_is_refused() {
        let refused = encoded(&Verdict::Refused(Refusal::new("signature", &"\x1b[2J")));
        assert_eq!(Verdict::decode(&refused), None);
    }

    proptest! {
        #[test]
        fn random_and_flipped_bytes_never_panic(
            bytes in prop::collection::vec(any::<u8>(), 0..200), at: prop::sample::Index, bit in 0u8..8,
        ) {
            let _ = Verdict::decode(&bytes);
            let mut flipped = encoded(&good());
            let at = at.index(flipped.len());
            flipped[at] ^= 1 << bit;
            if let Some(Verdict::Good(facts)) = Verdict::decode(&flipped) {
                prop_assert_eq!(facts.manifest.check(), Ok(()));
            }
        }
    }
}
