//! Requests to the storage service and its answers: the payload of messages in an asynchronous channel, whose labels and words are not used. Its
//! only client is the module manager.
//!
//! Every request may be repeated: it reads, or it writes the same record once more. So a client whose answer was lost with a killed
//! storage service asks again.

use core::fmt;

use serde::{Deserialize, Serialize};

use crate::MAX_RECORD_BYTES;

/// Longest name of a file, bytes of UTF-8. A file with a longer one is listed under its short name (`NETSTA~1.HIC`).
pub const MAX_FILE_NAME_BYTES: usize = 64;
/// Longest request or answer, bytes.
pub const MAX_MESSAGE_BYTES: usize = MAX_RECORD_BYTES + 128;

/// Modules that the system disk keeps: as many as the module manager keeps in memory.
pub const MAX_KEPT: u32 = 24;

/// The name of the file in which the system disk keeps a module: `KEPT07.HIC`. What is in it is said by its manifest.
#[must_use]
pub fn kept_name(place: u32) -> FileName {
    let mut name = FileName::new();
    // It is shorter than its room.
    let _ = fmt::Write::write_fmt(&mut name, format_args!("KEPT{:02}.HIC", place % 100));
    name
}

/// Name of a file.
pub type FileName = heapless::String<MAX_FILE_NAME_BYTES>;

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request<'a> {
    /// Forget what was read of the disk and look for module files again: a host may have written to it.
    Rescan,
    /// Module file number `index` of the repository.
    List {
        /// From 0; the order stays the same until the next [`Request::Rescan`].
        index: u32,
    },
    /// A part of a module file, to memory that the module manager mapped writable into the service.
    Read {
        /// A name as listed.
        name: &'a str,
        /// First byte of the part.
        offset: u32,
        /// Bytes. Less is read where the file ends.
        length: u32,
        /// Address at which the client mapped memory for `length` bytes into the service.
        destination: u64,
    },
    /// The newest whole record of `HIC/STATE.BIN`.
    ReadState,
    /// A new record; answered when it is on the disk, flushed.
    WriteState {
        /// At most [`MAX_RECORD_BYTES`].
        record: &'a [u8],
    },
    /// A part of a module that is kept on the system disk; answered when it is written, and flushed if it is the last one. The first part makes the file
    /// anew. No part at all (`length` 0, `last`) empties it.
    Keep {
        /// Which of the places for such files, below [`MAX_KEPT`].
        place: u32,
        /// First byte of the part: not beyond what was written so far.
        offset: u32,
        /// Bytes. Fewer may be written.
        length: u32,
        /// Address at which the client mapped them into the service, for reading.
        source: u64,
        /// Nothing follows.
        last: bool,
    },
}

/// What is answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reply<'a> {
    /// To [`Request::Rescan`].
    Scanned {
        /// Module files in the repository.
        count: u32,
    },
    /// To [`Request::List`].
    File {
        /// Module files in the repository.
        count: u32,
        /// Name of the one asked for.
        name: FileName,
        /// Its bytes.
        size: u32,
        /// When it was made and last written, as a number that only serves to see whether it is still the same.
        stamp: u64,
    },
    /// To [`Request::Read`].
    Read {
        /// Bytes that were written to the destination.
        length: u32,
    },
    /// To [`Request::ReadState`].
    State {
        /// `None`: none was ever written.
        record: Option<&'a [u8]>,
    },
    /// To [`Request::WriteState`].
    Written,
    /// To any request.
    Failed(StoreError),
    /// To [`Request::Keep`].
    Kept {
        /// Bytes that were written of the part.
        length: u32,
    },
}

/// Why a request could not be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum StoreError {
    /// There is no disk, or no file system on it that the service knows.
    NoDisk,
    /// No file of this name or number.
    NotFound,
    /// The disk reports an error, or does not answer.
    Device,
    /// No room for the record's file.
    Full,
    /// Neither half of the record's file holds, or the file system contradicts itself.
    Corrupt,
    /// The disk cannot be written.
    ReadOnly,
    /// The request is not of its form, or its record is too long.
    Malformed,
    /// The record could not be read at boot, so what it says is not known, and nothing is written over it.
    Unread,
}

impl StoreError {
    /// The stable code that the console prints: `error[CODE]`.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::NoDisk => "no-disk",
            Self::NotFound => "no-such-file",
            Self::Device => "disk-error",
            Self::Full => "disk-full",
            Self::Corrupt => "disk-corrupt",
            Self::ReadOnly => "disk-read-only",
            Self::Malformed => "malformed",
            Self::Unread => "record-unread",
        }
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoDisk => "no repository disk: attach one with a FAT partition and a folder HIC (the one with the serial number hic-system is the system disk, and is not looked at)",
            Self::NotFound => "no such file in the repository",
            Self::Device => "the disk reports an error or does not answer",
            Self::Full => "the disk is full",
            Self::Corrupt => "the disk's contents are damaged",
            Self::ReadOnly => "the disk cannot be written",
            Self::Malformed => "the request is malformed",
            Self::Unread => "the record on the system disk could not be read at boot and is not written over: `log` says why; reboot to have it read again",
        })
    }
}

impl core::error::Error for StoreError {}

/// A message that is no message, or a buffer too small for one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoMessage;

impl fmt::Display for NoMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a message of the storage service")
    }
}

impl core::error::Error for NoMessage {}

fn encode<'b>(message: &impl Serialize, buffer: &'b mut [u8]) -> Result<&'b [u8], NoMessage> {
    postcard::to_slice(message, buffer).map(|bytes| &*bytes).map_err(|_| NoMessage)
}

fn decode<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, NoMessage> {
    match postcard::take_from_bytes(bytes) {
        Ok((message, [])) => Ok(message),
        _ => Err(NoMessage),
    }
}

impl<'a> Request<'a> {
    /// Writes it to `buffer`, for which [`MAX_MESSAGE_BYTES`] always suffice, and returns the part that was used.
    ///
    /// # Errors
    /// [`NoMessage`]: the buffer is too small.
    pub fn encode<'b>(&self, buffer: &'b mut [u8]) -> Result<&'b [u8], NoMessage> {
        encode(self, buffer)
    }

    /// Reads a request that takes up all of `bytes`.
    ///
    /// # Errors
    /// [`NoMessage`].
    pub fn decode(bytes: &'a [u8]) -> Result<Self, NoMessage> {
        decode(bytes)
    }
}

impl<'a> Reply<'a> {
    /// As [`Request::encode`].
    ///
    /// # Errors
    /// [`NoMessage`]: the buffer is too small.
    pub fn encode<'b>(&self, buffer: &'b mut [u8]) -> Result<&'b [u8], NoMessage> {
        encode(self, buffer)
    }

    /// As [`Request::decode`]. A name with control characters is none: it goes to logs, and comes from whoever wrote the disk.
    ///
    /// # Errors
    /// [`NoMessage`].
    pub fn decode(bytes: &'a [u8]) -> Result<Self, NoMessage> {
        decode(bytes).and_then(|reply| match &reply {
            Self::File { name, .. } if name.chars().any(char::is_control) => Err(NoMessage),
            _ => Ok(reply),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn request_survives(request: Request<'_>) {
        let mut buffer = [0; MAX_MESSAGE_BYTES];
        let bytes = request.encode(&mut buffer).unwrap();
        assert_eq!(Request::decode(bytes), Ok(request));
        for cut in 0..bytes.len() {
            assert_eq!(Request::decode(&bytes[..cut]), Err(NoMessage));
        }
    }

    fn reply_survives(reply: &Reply<'_>) {
        let mut buffer = [0; MAX_MESSAGE_BYTES];
        let bytes = reply.encode(&mut buffer).unwrap();
        assert_eq!(Reply::decode(bytes).as_ref(), Ok(reply));
    }

    #[test]
    fn every_message_is_read_as_it_was_written_up_to_the_longest() {
        let name = core::str::from_utf8(&[b'x'; MAX_FILE_NAME_BYTES]).unwrap();
        let record = &[0xff; MAX_RECORD_BYTES][..];
        request_survives(Request::Rescan);
        request_survives(Request::List { index: u32::MAX });
        request_survives(Request::Read { name, offset: u32::MAX, length: u32::MAX, destination: u64::MAX });
        request_survives(Request::ReadState);
        request_survives(Request::WriteState { record });
        let keep = |last| Request::Keep {
            place: MAX_KEPT,
            offset: u32::MAX,
            length: u32::MAX,
            source: u64::MAX,
            last,
        };
        request_survives(keep(true));
        request_survives(keep(false));
        reply_survives(&Reply::File {
            count: u32::MAX,
            name: FileName::try_from(name).unwrap(),
            size: u32::MAX,
            stamp: u64::MAX,
        });
        reply_survives(&Reply::Scanned { count: u32::MAX });
        reply_survives(&Reply::Read { length: u32::MAX });
        reply_survives(&Reply::State { record: None });
        reply_survives(&Reply::State { record: Some(record) });
        reply_survives(&Reply::Written);
        reply_survives(&Reply::Failed(StoreError::Full));
        reply_survives(&Reply::Kept { length: u32::MAX });
    }

    #[test]
    fn a_name_that_a_console_must_not_see_is_none() {
        let file = |name: &str| Reply::File { count: 1, name: name.try_into().unwrap(), size: 1, stamp: 1 };
        let mut buffer = [0; MAX_MESSAGE_BYTES];
        let bytes = file("echo.hicmod").encode(&mut buffer).unwrap();
        assert_eq!(Reply::decode(bytes), Ok(file("echo.hicmod")));
        let bytes = file("\x1b[2J.hicmod").encode(&mut buffer).unwrap();
        assert_eq!(Reply::decode(bytes), Err(NoMessage));
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_decoders_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = Request::decode(&bytes);
            let _ = Reply::decode(&bytes);
        }
    }
}
