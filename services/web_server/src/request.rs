//! From the bytes that arrived to one request, or the status that says what is wrong with them (RFC 9112).

use crate::response::Status;

/// Longest request head in bytes; a longer one is refused with 431.
pub const MAX_HEAD: usize = 4096;
/// Most header fields.
const MAX_FIELDS: usize = 48;
/// Longest body that is skipped so that the connection can be kept.
pub const MAX_BODY: u64 = 64 * 1024;

/// What is asked of a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// The resource.
    Get,
    /// Its headers only.
    Head,
    /// Anything else.
    Other,
}

/// The resources there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// `/`
    Index,
    /// `/healthz`
    Health,
    /// Anything else.
    Unknown,
}

/// One request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// What is asked.
    pub method: Method,
    /// Of what.
    pub target: Target,
    /// Whether the connection goes on after it.
    pub keep_alive: bool,
    /// Bytes of the head.
    pub head_len: usize,
    /// Bytes of the body that follows.
    pub body_len: u64,
}

/// What the bytes are so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parsed {
    /// Not a whole head yet.
    Partial,
    /// A request.
    Whole(Request),
    /// No request that can be answered in any other way; the connection ends after it.
    Bad(Status),
}

/// Looks at what has arrived.
#[must_use]
pub fn parse(bytes: &[u8]) -> Parsed {
    let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
    let mut head = httparse::Request::new(&mut fields);
    match head.parse(bytes) {
        Ok(httparse::Status::Complete(len)) if len <= MAX_HEAD => whole(&head, len),
        Ok(httparse::Status::Partial) if bytes.len() < MAX_HEAD => Parsed::Partial,
        Ok(_) | Err(httparse::Error::TooManyHeaders) => Parsed::Bad(Status::HeadTooLarge),
        Err(httparse::Error::Version) => Parsed::Bad(Status::VersionNotSupported),
        Err(_) => Parsed::Bad(Status::BadRequest),
    }
}

fn whole(head: &httparse::Request<'_, '_>, head_len: usize) -> Parsed {
    let modern = head.version == Some(1);
    let (mut keep_alive, mut body_len, mut hosts) = (modern, None, 0);
    for field in head.headers.iter() {
        let name = field.name;
        if name.eq_ignore_ascii_case("content-length") {
            let Some(len) = decimal(field.value) else { return Parsed::Bad(Status::BadRequest) };
            // Two lengths that differ are an attack on whoever believes the other one (RFC 9112 6.3).
            if body_len.is_some_and(|other| other != len) {
                return Parsed::Bad(Status::BadRequest);
            }
            body_len = Some(len);
        } else if name.eq_ignore_ascii_case("transfer-encoding") {
            return Parsed::Bad(Status::NotImplemented);
        } else if name.eq_ignore_ascii_case("host") {
            hosts += 1;
        } else if name.eq_ignore_ascii_case("connection") {
            keep_alive = connection(field.value, keep_alive);
        }
    }
    // RFC 9112 3.2: exactly one Host field in HTTP/1.1.
    if modern && hosts != 1 {
        return Parsed::Bad(Status::BadRequest);
    }
    let body_len = body_len.unwrap_or(0);
    if body_len > MAX_BODY {
        return Parsed::Bad(Status::ContentTooLarge);
    }
    let method = match head.method {
        Some("GET") => Method::Get,
        Some("HEAD") => Method::Head,
        _ => Method::Other,
    };
    Parsed::Whole(Request { method, target: target(head.path.unwrap_or("")), keep_alive, head_len, body_len })
}

/// Digits only: no sign, no space, no overflow.
fn decimal(value: &[u8]) -> Option<u64> {
    if value.is_empty() {
        return None;
    }
    value.iter().try_fold(0u64, |sum, byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        sum.checked_mul(10)?.checked_add(digit)
    })
}

fn connection(value: &[u8], before: bool) -> bool {
    let options = value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
    options.fold(before, |keep, option| {
        if option.eq_ignore_ascii_case(b"close") {
            false
        } else {
            keep || option.eq_ignore_ascii_case(b"keep-alive")
        }
    })
}

/// A query does not change which resource is meant.
fn target(path: &str) -> Target {
    match path.split('?').next() {
        Some("/" | "/index.html") => Target::Index,
        Some("/healthz") => Target::Health,
        _ => Target::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::format;
    use std::string::String;

    fn get(text: &str) -> Request {
        match parse(text.as_bytes()) {
            Parsed::Whole(request) => request,
            other => panic!("{text:?}: {other:?}"),
        }
    }

    fn bad(text: &str) -> Status {
        match parse(text.as_bytes()) {
            Parsed::Bad(status) => status,
            other => panic!("{text:?}: {other:?}"),
        }
    }

    #[test]
    fn a_request_is_known_only_when_its_head_is_whole() {
        let text = "GET /healthz?probe=1 HTTP/1.1\r\nHost: hic\r\n\r\n";
        for cut in 0..text.len() {
            assert_eq!(parse(&text.as_bytes()[..cut]), Parsed::Partial, "{cut}");
        }
        let request = get(&format!("{text}GET / HTTP/1.1\r\n"));
        assert_eq!(request.head_len, text.len());
        assert_eq!((request.method, request.target, request.keep_alive), (Method::Get, Target::Health, true));
    }

    #[test]
    fn the_connection_is_kept_as_version_and_field_say() {
        assert!(!get("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").keep_alive);
        assert!(!get("GET / HTTP/1.0\r\n\r\n").keep_alive);
        assert!(get("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n").keep_alive);
        assert!(get("GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\n\r\n").keep_alive);
    }

    #[test]
    fn malformed_requests_are_refused_with_the_right_status() {
        assert_eq!(bad("\0\0\0\r\n\r\n"), Status::BadRequest);
        assert_eq!(bad("GET / HTTP/1.1\r\n\r\n"), Status::BadRequest);
        assert_eq!(bad("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"), Status::BadRequest);
        assert_eq!(bad("GET / HTTP/3.0\r\nHost: a\r\n\r\n"), Status::VersionNotSupported);
        assert_eq!(bad("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n"), Status::BadRequest);
        let lengths = "Content-Length: 4\r\nContent-Length: 5\r\n";
        assert_eq!(bad(&format!("POST / HTTP/1.1\r\nHost: a\r\n{lengths}\r\n")), Status::BadRequest);
        let huge = "Content-Length: 99999999999999999999\r\n";
        assert_eq!(bad(&format!("POST / HTTP/1.1\r\nHost: a\r\n{huge}\r\n")), Status::BadRequest);
        assert_eq!(
            bad("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n"),
            Status::ContentTooLarge
        );
        let chunked = "Transfer-Encoding: chunked\r\n";
        assert_eq!(bad(&format!("POST / HTTP/1.1\r\nHost: a\r\n{chunked}\r\n")), Status::NotImplemented);
    }

    #[test]
    fn a_head_that_never_ends_is_refused_at_the_bound() {
        let mut text = String::from("GET / HTTP/1.1\r\nX: ");
        text.push_str(&"y".repeat(MAX_HEAD));
        assert_eq!(parse(&text.as_bytes()[..MAX_HEAD - 1]), Parsed::Partial);
        assert_eq!(bad(&text[..MAX_HEAD]), Status::HeadTooLarge);
        let many = "a: b\r\n".repeat(MAX_FIELDS + 1);
        assert_eq!(bad(&format!("GET / HTTP/1.1\r\n{many}\r\n")), Status::HeadTooLarge);
    }
}
