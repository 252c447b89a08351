//! The one rule for names of modules, services and archive entries.
//!
//! Names appear on the console, in paths and in the audit log, so the alphabet is closed: what a name may contain can
//! never be mistaken for a separator, an escape sequence or a different name that looks the same.

/// Longest name in bytes: the width of the name field of an archive entry.
pub const MAX_NAME_BYTES: usize = 24;
/// Most services that one module exports: a program's table of them and the list in its manifest have the same bound.
pub const MAX_EXPORTS: usize = 8;

/// Whether `name` is 1 to [`MAX_NAME_BYTES`] bytes of `a-z 0-9 _ - .`, starting with a letter or digit.
///
/// `const`, so that the names which a program exports are checked while it is compiled.
pub const fn is_valid_name(name: &str) -> bool {
    let mut rest = name.as_bytes();
    if rest.is_empty() || rest.len() > MAX_NAME_BYTES || matches!(rest, [b'_' | b'-' | b'.', ..]) {
        return false;
    }
    while let [byte, more @ ..] = rest {
        if !matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-' | b'.') {
            return false;
        }
        rest = more;
    }
    true
}

#[cfg(test)]
mod tests {
    use super::is_valid_name;

    #[test]
    fn names_of_our_services_are_valid() {
        for name in ["keeper", "eth_driver", "module-manager", "netstack-1.3.0", "a"] {
            assert!(is_valid_name(name), "{name}");
        }
    }

    #[test]
    fn names_that_could_be_mistaken_for_something_else_are_refused() {
        for name in ["", "Keeper", "a b", "../x", ".hidden", "-x", "é", "a\0", "a-name-of-twenty-five-byte"]
        {
            assert!(!is_valid_name(name), "{name}");
        }
    }
}
