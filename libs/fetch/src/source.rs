//! The address of a repository: `http://10.0.2.2:8000/some/folder/`. A host is an IPv4 address, since the system has no resolver of names.

use core::fmt;
use core::net::{Ipv4Addr, SocketAddrV4};
use core::str::FromStr;

use crate::{MAX_PATH_BYTES, Path};

/// Longest address, bytes.
pub const MAX_SOURCE_BYTES: usize = 64;
/// Where HTTP is served when the address does not say.
const HTTP_PORT: u16 = 80;

/// A repository on the network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// The server.
    pub server: SocketAddrV4,
    /// The folder, with `/` at both ends.
    pub folder: Path,
}

/// Why an address is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourceError {
    /// It is longer than [`MAX_SOURCE_BYTES`].
    TooLong,
    /// It does not begin with `http://`.
    Scheme,
    /// The host is not an IPv4 address.
    Host,
    /// The port is not a number from 1 to 65535.
    Port,
    /// The path has other characters than `a-z A-Z 0-9 - . _ ~ /`.
    Path,
}

impl fmt::Display for SourceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong => write!(f, "an address has at most {MAX_SOURCE_BYTES} characters"),
            Self::Scheme => {
                f.write_str("an address is written http://10.0.2.2:8000/ (no https: modules are signed)")
            }
            Self::Host => f.write_str(
                "the host must be an IPv4 address, such as 10.0.2.2: there is no resolver of names",
            ),
            Self::Port => f.write_str("the port must be a number from 1 to 65535"),
            Self::Path => f.write_str("the path may have the characters a-z A-Z 0-9 - . _ ~ / only"),
        }
    }
}

impl core::error::Error for SourceError {}

impl FromStr for Source {
    type Err = SourceError;

    fn from_str(text: &str) -> Result<Self, SourceError> {
        if text.len() > MAX_SOURCE_BYTES {
            return Err(SourceError::TooLong);
        }
        let rest = text.strip_prefix("http://").ok_or(SourceError::Scheme)?;
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (host, port) = match authority.split_once(':') {
            None => (authority, HTTP_PORT),
            Some((host, port)) => {
                (host, port.parse().ok().filter(|port| *port != 0).ok_or(SourceError::Port)?)
            }
        };
        let host: Ipv4Addr = host.parse().map_err(|_| SourceError::Host)?;
        let of_paths = |c: char| c.is_ascii_alphanumeric() || "-._~/".contains(c);
        if !path.chars().all(of_paths) || path.split('/').any(|part| part == "..") {
            return Err(SourceError::Path);
        }
        let mut folder = Path::new();
        for part in ["/", path, if path.is_empty() || path.ends_with('/') { "" } else { "/" }] {
            folder.push_str(part).map_err(|_| SourceError::TooLong)?;
        }
        Ok(Self { server: SocketAddrV4::new(host, port), folder })
    }
}

impl Source {
    /// The path of a file in the folder; `None` if it is too long.
    #[must_use]
    pub fn path(&self, file: &str) -> Option<Path> {
        let mut path = self.folder.clone();
        path.push_str(file).ok()?;
        Some(path)
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}{}", self.server, self.folder)
    }
}

const _: () = assert!(MAX_SOURCE_BYTES < MAX_PATH_BYTES);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::string::ToString;

    #[test]
    fn addresses_are_read_and_written_in_one_form() {
        for (text, form) in [
            ("http://10.0.2.2:8000/", "http://10.0.2.2:8000/"),
            ("http://10.0.2.2", "http://10.0.2.2:80/"),
            ("http://10.0.2.2/hic/stable", "http://10.0.2.2:80/hic/stable/"),
        ] {
            let source: Source = text.parse().unwrap();
            assert_eq!(source.to_string(), form);
            assert_eq!(form.parse(), Ok(source));
        }
        let source: Source = "http://10.0.2.2/hic".parse().unwrap();
        assert_eq!(source.path("metadata/timestamp.tuf").unwrap(), "/hic/metadata/timestamp.tuf");
        assert_eq!(source.path(&"x".repeat(MAX_PATH_BYTES)), None);
    }

    #[test]
    fn what_cannot_be_reached_is_refused_with_what_would_be_right() {
        let error = |text: &str| text.parse::<Source>().unwrap_err();
        assert_eq!(error("https://10.0.2.2/"), SourceError::Scheme);
        assert_eq!(error("10.0.2.2:8000"), SourceError::Scheme);
        assert_eq!(error("http://example.org/"), SourceError::Host);
        assert_eq!(error("http://[::1]/"), SourceError::Port);
        assert_eq!(error("http://10.0.2.2:0/"), SourceError::Port);
        assert_eq!(error("http://10.0.2.2:99999/"), SourceError::Port);
        assert_eq!(error("http://10.0.2.2/a b"), SourceError::Path);
        assert_eq!(error("http://10.0.2.2/a\r\nHost: x"), SourceError::Path);
        assert_eq!(error("http://10.0.2.2/../x"), SourceError::Path);
        assert_eq!(error(&std::format!("http://10.0.2.2/{}", "x".repeat(60))), SourceError::TooLong);
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic_and_what_it_takes_it_takes_again(text in "(http://)?[0-9.]{0,12}(:[0-9]{0,6})?(/[ -~]{0,20})?|\\PC*") {
            if let Ok(source) = text.parse::<Source>() {
                let form = source.to_string();
                if form.len() <= MAX_SOURCE_BYTES {
                    prop_assert_eq!(form.parse::<Source>(), Ok(source));
                }
                prop_assert!(!form.contains(char::is_whitespace), "{}", form);
            }
        }
    }
}
