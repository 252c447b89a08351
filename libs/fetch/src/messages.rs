//! Requests to the fetcher and its answers: the payload of messages in an asynchronous channel, whose labels and words are not used. Its only client is
//! the module manager.
//!
//! A download is a row of requests: each says what is there already, and is answered after [`SLICE`] at the latest, with what came meanwhile. So every
//! request may be repeated, and a fetcher that died is asked to go on where the last answer was.

use core::fmt::{self, Write};

use hic_abi::Nanos;
use serde::{Deserialize, Serialize};

use crate::{Path, Validator};

/// An answer comes at the latest so long after its request.
pub const SLICE: Nanos = 1_000_000_000;
/// Longest sentence of a failure, bytes.
pub const MAX_TEXT_BYTES: usize = 160;
/// Longest code of a failure, bytes.
pub const MAX_CODE_BYTES: usize = 24;
/// Longest request or answer, bytes.
pub const MAX_MESSAGE_BYTES: usize = 512;

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(
    clippy::large_enum_variant,
    reason = "one at a time, made and taken apart at once; no heap is needed"
)]
pub enum Request {
    /// Go on with a file, or begin it.
    Get {
        /// Address of the server.
        server: [u8; 4],
        /// Its port.
        port: u16,
        /// The file.
        path: Path,
        /// Bytes that are there.
        from: u32,
        /// Names the version of the file that they are of.
        validator: Validator,
        /// Room for the file, bytes.
        room: u32,
        /// Bytes of the file, where that is known.
        length: Option<u32>,
        /// Address at which the client mapped memory for `room` bytes into the fetcher, for writing.
        destination: u64,
    },
    /// Forget the file and end the connection.
    Stop,
}

/// What is answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(
    clippy::large_enum_variant,
    reason = "one at a time, made and taken apart at once; no heap is needed"
)]
pub enum Reply {
    /// There is more to come; ask again.
    Part {
        /// Bytes that are there.
        at: u32,
        /// Names the version of the file that they are of.
        validator: Validator,
    },
    /// The file is there, whole.
    Done {
        /// Its bytes.
        length: u32,
    },
    /// It cannot be had, or not now. What was there is still there.
    Failed(Failure),
    /// To [`Request::Stop`].
    Stopped,
}

/// Why a file cannot be had.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// Stable code.
    pub code: heapless::String<MAX_CODE_BYTES>,
    /// A sentence.
    pub text: heapless::String<MAX_TEXT_BYTES>,
    /// Another attempt may do better.
    pub passing: bool,
    /// Bytes that are there.
    pub at: u32,
    /// Names the version of the file that they are of.
    pub validator: Validator,
}

impl Failure {
    /// A failure, both texts cut to their bounds.
    #[must_use]
    pub fn new(code: &str, why: &dyn fmt::Display, passing: bool) -> Self {
        Self { code: cut(&code), text: cut(why), passing, at: 0, validator: Validator::new() }
    }

    /// The same, with what is there of the file.
    #[must_use]
    pub fn with_part(self, at: u32, validator: Validator) -> Self {
        Self { at, validator, ..self }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.text)
    }
}

/// A sink that keeps whole characters as long as they fit and are printable.
struct Cut<const N: usize>(heapless::String<N>);

impl<const N: usize> Write for Cut<N> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut printable = text.chars().filter(|c| !c.is_control());
        printable.try_for_each(|c| self.0.push(c)).map_err(|_| fmt::Error)
    }
}

fn cut<const N: usize>(value: &dyn fmt::Display) -> heapless::String<N> {
    let mut text = Cut(heapless::String::new());
    // An error means that it is full, which is what cutting is.
    let _ = write!(text, "{value}");
    text.0
}

/// A message that is none, or a buffer too small for one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoMessage;

impl fmt::Display for NoMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a message of the fetcher")
    }
}

impl core::error::Error for NoMessage {}

macro_rules! message {
    ($type:ty) => {
        impl $type {
            /// Writes it to `buffer`, for which [`MAX_MESSAGE_BYTES`] always suffice, and returns the part that was used.
            ///
            /// # Errors
            /// [`NoMessage`]: the buffer is too small.
            pub fn encode<'b>(&self, buffer: &'b mut [u8]) -> Result<&'b [u8], NoMessage> {
                postcard::to_slice(self, buffer).map(|bytes| &*bytes).map_err(|_| NoMessage)
            }

            /// Reads a message that takes up all of `bytes`.
            ///
            /// # Errors
            /// [`NoMessage`].
            pub fn decode(bytes: &[u8]) -> Result<Self, NoMessage> {
                match postcard::take_from_bytes::<Self>(bytes) {
                    Ok((message, [])) if message.is_shown() => Ok(message),
                    _ => Err(NoMessage),
                }
            }
        }
    };
}

message!(Request);
message!(Reply);

/// Whether a text may go to a log or into a request: without control characters.
fn is_shown(text: &str) -> bool {
    !text.chars().any(char::is_control)
}

impl Request {
    /// A line end in a path or validator would begin another header field.
    fn is_shown(&self) -> bool {
        match self {
            Self::Get { path, validator, .. } => is_shown(path) && is_shown(validator),
            Self::Stop => true,
        }
    }
}

impl Reply {
    /// The fetcher reads what strangers send, so its word for what they said is not taken.
    fn is_shown(&self) -> bool {
        match self {
            Self::Part { validator, .. } => is_shown(validator),
            Self::Failed(Failure { code, text, validator, .. }) => {
                [code.as_str(), text, validator].into_iter().all(is_shown)
            }
            Self::Done { .. } | Self::Stopped => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{MAX_PATH_BYTES, MAX_VALIDATOR_BYTES};
    use proptest::prelude::*;

    fn long<const N: usize>() -> heapless::String<N> {
        core::iter::repeat_n('x', N).collect()
    }

    #[test]
    fn the_longest_messages_fit_and_are_read_as_they_were_written() {
        let get = Request::Get {
            server: [255; 4],
            port: u16::MAX,
            path: long::<MAX_PATH_BYTES>(),
            from: u32::MAX,
            validator: long::<MAX_VALIDATOR_BYTES>(),
            room: u32::MAX,
            length: Some(u32::MAX),
            destination: u64::MAX,
        };
        let failure = Failure { code: long(), text: long(), passing: true, at: u32::MAX, validator: long() };
        let mut buffer = [0; MAX_MESSAGE_BYTES];
        for request in [get, Request::Stop] {
            let bytes = request.encode(&mut buffer).unwrap();
            assert_eq!(Request::decode(bytes).as_ref(), Ok(&request));
            assert!((0..bytes.len()).all(|cut| Request::decode(&bytes[..cut]).is_err()));
        }
        let part = Reply::Part { at: u32::MAX, validator: long() };
        for reply in [part, Reply::Done { length: u32::MAX }, Reply::Failed(failure), Reply::Stopped] {
            let bytes = reply.encode(&mut buffer).unwrap();
            assert_eq!(Reply::decode(bytes).as_ref(), Ok(&reply));
        }
    }

    #[test]
    fn what_a_server_said_reaches_no_console_with_its_control_characters() {
        let failure = Failure::new("http-status", &"a\x1b[2Jb\r\n", true);
        assert_eq!(failure.text, "a[2Jb");
    }

    #[test]
    fn a_fetcher_that_was_taken_over_cannot_write_to_the_console() {
        let mut buffer = [0; MAX_MESSAGE_BYTES];
        let validator = Validator::try_from("a\r\nX: y").unwrap();
        let bad = Failure { text: "\x1b[2J".try_into().unwrap(), ..Failure::new("c", &"t", false) };
        for reply in [Reply::Failed(bad), Reply::Part { at: 1, validator: validator.clone() }] {
            assert_eq!(Reply::decode(reply.encode(&mut buffer).unwrap()), Err(NoMessage));
        }
        let get = |path: &str, validator| Request::Get {
            server: [1; 4],
            port: 1,
            path: path.try_into().unwrap(),
            from: 0,
            validator,
            room: 1,
            length: None,
            destination: 0,
        };
        for request in [get("/a", validator), get("/a\r\nX: y", Validator::new())] {
            assert_eq!(Request::decode(request.encode(&mut buffer).unwrap()), Err(NoMessage));
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_decoders_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = Request::decode(&bytes);
            let _ = Reply::decode(&bytes);
        }
    }
}
