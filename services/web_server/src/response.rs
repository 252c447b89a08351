//! Responses as bytes (RFC 9112): status line, the few fields that are needed, body.

use alloc::string::String;
use core::fmt::Write;

/// The statuses that this server answers with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// 200
    Ok,
    /// 400
    BadRequest,
    /// 404
    NotFound,
    /// 405
    MethodNotAllowed,
    /// 408
    RequestTimeout,
    /// 413
    ContentTooLarge,
    /// 431
    HeadTooLarge,
    /// 501
    NotImplemented,
    /// 505
    VersionNotSupported,
}

impl Status {
    /// Number and reason.
    #[must_use]
    pub const fn line(self) -> &'static str {
        match self {
            Self::Ok => "200 OK",
            Self::BadRequest => "400 Bad Request",
            Self::NotFound => "404 Not Found",
            Self::MethodNotAllowed => "405 Method Not Allowed",
            Self::RequestTimeout => "408 Request Timeout",
            Self::ContentTooLarge => "413 Content Too Large",
            Self::HeadTooLarge => "431 Request Header Fields Too Large",
            Self::NotImplemented => "501 Not Implemented",
            Self::VersionNotSupported => "505 HTTP Version Not Supported",
        }
    }
}

/// A response's parts.
#[derive(Clone, Copy, Debug)]
pub struct Response<'a> {
    /// What happened.
    pub status: Status,
    /// Its media type.
    pub content_type: &'a str,
    /// The body.
    pub body: &'a str,
    /// Whether the body itself goes out (not for HEAD).
    pub with_body: bool,
    /// Whether the connection goes on.
    pub keep_alive: bool,
}

impl Response<'_> {
    /// As text.
    #[must_use]
    pub fn encode(&self) -> String {
        let Self { status, content_type, body, with_body, keep_alive } = *self;
        let mut out = String::with_capacity(body.len() + 192);
        // Writing to a string cannot fail.
        let _ = write!(
            out,
            "HTTP/1.1 {}\r\nServer: hic\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\n",
            status.line(),
            body.len()
        );
        if status == Status::MethodNotAllowed {
            out.push_str("Allow: GET, HEAD\r\n");
        }
        out.push_str(if keep_alive { "Connection: keep-alive\r\n\r\n" } else { "Connection: close\r\n\r\n" });
        if with_body {
            out.push_str(body);
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_response_says_the_length_and_leaves_the_body_out() {
        let response = Response {
            status: Status::Ok,
            content_type: "text/plain",
            body: "ok\n",
            with_body: false,
            keep_alive: true,
        };
        let text = response.encode();
        assert!(text.starts_with("HTTP/1.1 200 OK\r\n") && text.ends_with("\r\n\r\n"));
        assert!(text.contains("Content-Length: 3\r\n"));
    }

    #[test]
    fn a_refused_method_names_the_allowed_ones() {
        let status = Status::MethodNotAllowed;
        let response =
            Response { status, content_type: "text/plain", body: "", with_body: true, keep_alive: false };
        let text = response.encode();
        assert!(text.contains("\r\nAllow: GET, HEAD\r\n") && text.contains("\r\nConnection: close\r\n"));
    }
}
