//! One GET and the reading of its answer (RFC 9110, 9112).
//!
//! An answer must say how long it is. One that is encoded, chunked, redirected or longer than what was asked for is refused before a byte of it is
//! kept; a range is kept only where it was asked for, and only if it belongs to the file that was begun.

use alloc::vec::Vec;
use core::fmt::{self, Write};

use crate::{Path, Validator};

/// Longest head of an answer, bytes.
pub const MAX_HEAD_BYTES: usize = 8192;
/// Most header fields of an answer.
pub const MAX_HEADERS: usize = 48;
/// Longest request, bytes: path, server, range, validator.
pub const MAX_REQUEST_BYTES: usize = 640;

/// A request as it is sent.
pub type RequestText = heapless::String<MAX_REQUEST_BYTES>;

/// Why an answer is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HttpError {
    /// Its head is longer than [`MAX_HEAD_BYTES`], or has more than [`MAX_HEADERS`] fields.
    LongHead,
    /// Its head is not one of HTTP/1.
    BadHead,
    /// It leads elsewhere.
    Redirect {
        /// Its status.
        status: u16,
    },
    /// 404 or 410.
    NotFound,
    /// Another status than 200, and than 206 where a part was asked for.
    Status {
        /// Its status.
        status: u16,
    },
    /// It does not say how long it is.
    NoLength,
    /// It is compressed or chunked, which was not asked for.
    Encoded,
    /// It is longer than there is room for.
    TooLong {
        /// Bytes as the server says.
        said: u64,
        /// Bytes that there is room for.
        room: u32,
    },
    /// It is not as long as the file is known to be.
    WrongLength {
        /// Bytes as the server says.
        said: u64,
        /// Bytes of the file.
        wanted: u32,
    },
    /// It is another part than was asked for.
    BadRange,
    /// The connection ended in the middle.
    CutOff {
        /// Bytes that came.
        at: u32,
        /// Bytes of the file; 0: the head did not come.
        of: u32,
    },
}

impl HttpError {
    /// Stable code.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::LongHead => "http-long-head",
            Self::BadHead => "http-bad-head",
            Self::Redirect { .. } => "http-redirect",
            Self::NotFound => "http-not-found",
            Self::Status { .. } => "http-status",
            Self::NoLength => "http-no-length",
            Self::Encoded => "http-encoded",
            Self::TooLong { .. } => "http-too-long",
            Self::WrongLength { .. } => "http-wrong-length",
            Self::BadRange => "http-bad-range",
            Self::CutOff { .. } => "http-cut-off",
        }
    }

    /// Whether another attempt may do better.
    #[must_use]
    pub const fn is_passing(&self) -> bool {
        matches!(self, Self::CutOff { .. } | Self::Status { status: 500..=599 | 408 | 429 })
    }
}

impl fmt::Display for HttpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LongHead => {
                write!(
                    f,
                    "the head of the answer is longer than {MAX_HEAD_BYTES} bytes or {MAX_HEADERS} fields"
                )
            }
            Self::BadHead => f.write_str("the answer is not one of HTTP/1"),
            Self::Redirect { status } => {
                write!(
                    f,
                    "the server sends us elsewhere (status {status}), which is not followed; give the right address"
                )
            }
            Self::NotFound => f.write_str("the server has no such file (status 404 or 410)"),
            Self::Status { status } => write!(f, "the server answers with status {status}"),
            Self::NoLength => f.write_str("the server does not say how long the file is"),
            Self::Encoded => {
                f.write_str("the server compresses or chunks the file, which it was not asked to do")
            }
            Self::TooLong { said, room } => {
                write!(f, "the server sends {said} bytes where at most {room} may be")
            }
            Self::WrongLength { said, wanted } => {
                write!(f, "the server says that the file has {said} bytes; it has {wanted}")
            }
            Self::BadRange => f.write_str("the server sends another part of the file than was asked for"),
            Self::CutOff { at, of: 0 } => {
                write!(f, "the connection ended after {at} bytes, before the answer's head was there")
            }
            Self::CutOff { at, of } => write!(f, "the connection ended after {at} of {of} bytes"),
        }
    }
}

impl core::error::Error for HttpError {}

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The file.
    pub path: Path,
    /// Bytes that are there already, of the version that `validator` names.
    pub from: u32,
    /// Names the version of the file; empty if nothing is there or the server named none.
    pub validator: Validator,
    /// Room for the file, bytes.
    pub room: u32,
    /// Bytes of the file, where that is known.
    pub length: Option<u32>,
}

impl Wanted {
    /// Whether what is there can be continued: without a validator two versions of a file would be glued together.
    #[must_use]
    pub fn resumes(&self) -> bool {
        self.from > 0 && !self.validator.is_empty()
    }
}

/// Where the reading is.
#[derive(Debug)]
enum State {
    Head(Vec<u8>),
    Body,
}

/// A request and the answer to it so far.
#[derive(Debug)]
pub struct Get {
    wanted: Wanted,
    state: State,
    at: u32,
    total: u32,
    validator: Validator,
}

impl Get {
    /// Begins a request.
    #[must_use]
    pub fn new(wanted: Wanted) -> Self {
        let at = if wanted.resumes() { wanted.from } else { 0 };
        let validator = wanted.validator.clone();
        Self { wanted, state: State::Head(Vec::new()), at, total: 0, validator }
    }

    /// The request to send; `host` as it was written in the address.
    ///
    /// # Errors
    /// [`fmt::Error`]: it is longer than [`MAX_REQUEST_BYTES`], which no path and validator within their bounds makes it.
    pub fn request(&self, host: &dyn fmt::Display) -> Result<RequestText, fmt::Error> {
        let mut out = RequestText::new();
        let Wanted { path, from, validator, .. } = &self.wanted;
        write!(
            out,
            "GET {path} HTTP/1.1\r\nHost: {host}\r\nAccept-Encoding: identity\r\nConnection: close\r\n"
        )?;
        if self.wanted.resumes() {
            write!(out, "Range: bytes={from}-\r\nIf-Range: {validator}\r\n")?;
        }
        out.write_str("\r\n")?;
        Ok(out)
    }

    /// Bytes of the file that are there.
    #[must_use]
    pub fn at(&self) -> u32 {
        self.at
    }

    /// Bytes of the file as the server says; 0 before it did.
    #[must_use]
    pub fn total(&self) -> u32 {
        self.total
    }

    /// Names the version of the file that is there; empty if the server named none.
    #[must_use]
    pub fn validator(&self) -> &Validator {
        &self.validator
    }

    /// Whether the file is there, whole. What the server sends beyond is not looked at.
    #[must_use]
    pub fn is_done(&self) -> bool {
        matches!(self.state, State::Body) && self.at == self.total
    }

    /// Takes bytes of the answer in; those of the file go to their place in `file`, which is [`Wanted::room`] long.
    ///
    /// # Errors
    /// [`HttpError`]: the connection is to be ended.
    pub fn feed(&mut self, bytes: &[u8], file: &mut [u8]) -> Result<(), HttpError> {
        let State::Head(head) = &mut self.state else { return self.body(bytes, file) };
        let before = head.len();
        head.extend(bytes.iter().take(MAX_HEAD_BYTES.saturating_sub(head.len()).saturating_add(1)));
        let taken = core::mem::take(head);
        match self.head(&taken)? {
            None if taken.len() > MAX_HEAD_BYTES => Err(HttpError::LongHead),
            None => {
                self.state = State::Head(taken);
                Ok(())
            }
            Some(length) => {
                self.state = State::Body;
                self.body(bytes.get(length.saturating_sub(before)..).unwrap_or_default(), file)
            }
        }
    }

    /// The connection has ended.
    ///
    /// # Errors
    /// [`HttpError::CutOff`] if something is missing.
    pub fn end(&self) -> Result<(), HttpError> {
        if self.is_done() { Ok(()) } else { Err(HttpError::CutOff { at: self.at, of: self.total }) }
    }

    fn body(&mut self, bytes: &[u8], file: &mut [u8]) -> Result<(), HttpError> {
        let left = (self.total - self.at) as usize;
        let bytes = bytes.get(..left.min(bytes.len())).unwrap_or_default();
        let start = self.at as usize;
        let too_long = HttpError::TooLong { said: self.total.into(), room: self.wanted.room };
        file.get_mut(start..start + bytes.len()).ok_or(too_long)?.copy_from_slice(bytes);
        self.at += bytes.len() as u32;
        Ok(())
    }

    /// Reads the head, if it is whole; its length.
    fn head(&mut self, bytes: &[u8]) -> Result<Option<usize>, HttpError> {
        let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
        let mut response = httparse::Response::new(&mut headers);
        let length = match response.parse(bytes) {
            Ok(httparse::Status::Partial) => return Ok(None),
            Ok(httparse::Status::Complete(length)) if length <= MAX_HEAD_BYTES => length,
            Ok(_) | Err(httparse::Error::TooManyHeaders) => return Err(HttpError::LongHead),
            Err(_) => return Err(HttpError::BadHead),
        };
        let status = response.code.unwrap_or(0);
        let field = |name: &str| {
            let mut found = response.headers.iter().filter(|header| header.name.eq_ignore_ascii_case(name));
            let first =
                found.next().map(|header| core::str::from_utf8(header.value).unwrap_or_default().trim());
            // The same field twice is how two readers come to see two answers (RFC 9112, 6.3).
            if found.next().is_some() { Err(HttpError::BadHead) } else { Ok(first) }
        };
        match status {
            200 => {}
            206 if self.wanted.resumes() => {}
            300..=399 => return Err(HttpError::Redirect { status }),
            404 | 410 => return Err(HttpError::NotFound),
            _ => return Err(HttpError::Status { status }),
        }
        let identity =
            field("content-encoding")?.is_none_or(|coding| coding.eq_ignore_ascii_case("identity"));
        if field("transfer-encoding")?.is_some() || !identity {
            return Err(HttpError::Encoded);
        }
        let said = field("content-length")?.ok_or(HttpError::NoLength)?;
        let said = decimal(said).ok_or(HttpError::BadHead)?;
        let total = match status {
            206 => self.range(field("content-range")?.ok_or(HttpError::BadRange)?, said)?,
            _ => {
                // The whole file, also where a part was asked for: it was changed, or the server knows no parts.
                self.at = 0;
                self.validator = validator(field("etag")?, field("last-modified")?);
                said
            }
        };
        self.total = self.admit(total)?;
        Ok(Some(length))
    }

    fn admit(&self, total: u64) -> Result<u32, HttpError> {
        let Wanted { room, length, .. } = self.wanted;
        if let Some(wanted) = length.filter(|wanted| u64::from(*wanted) != total) {
            return Err(HttpError::WrongLength { said: total, wanted });
        }
        u32::try_from(total)
            .ok()
            .filter(|total| *total <= room)
            .ok_or(HttpError::TooLong { said: total, room })
    }

    /// `bytes FIRST-LAST/TOTAL` of a part that is `length` bytes long; the total.
    fn range(&self, text: &str, length: u64) -> Result<u64, HttpError> {
        let read = || {
            let (part, total) = text.strip_prefix("bytes ")?.split_once('/')?;
            let (first, last) = part.split_once('-')?;
            Some((decimal(first)?, decimal(last)?, decimal(total)?))
        };
        let (first, last, total) = read().ok_or(HttpError::BadRange)?;
        let fits = first == u64::from(self.wanted.from)
            && last.checked_add(1) == Some(total)
            && first.checked_add(length) == Some(total);
        if fits { Ok(total) } else { Err(HttpError::BadRange) }
    }
}

/// A number without sign or blanks, which is all that a length may be.
fn decimal(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| digits)
}

/// What names this version of the file for `If-Range`: a strong entity tag, or the date of its last change; empty if it must not be used.
fn validator(tag: Option<&str>, modified: Option<&str>) -> Validator {
    let strong = tag.filter(|tag| tag.starts_with('"') && tag.ends_with('"') && tag.len() > 1);
    let text = strong.or(modified.filter(|_| tag.is_none())).unwrap_or_default();
    if text.chars().any(char::is_control) {
        Validator::new()
    } else {
        Validator::try_from(text).unwrap_or_default()
    }
}

#[cfg(test)]
#[path = "http_tests.rs"]
mod tests;
