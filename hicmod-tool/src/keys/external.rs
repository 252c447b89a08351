//! A command that signs, so that the private key may lie in a hardware token or with a service. The protocol is in the README.

use std::io::Write;
use std::process::{Command, Stdio};

use sha2::{Digest, Sha384};

use super::KeyError;

/// Bytes of a signature.
const SIGNATURE_BYTES: usize = 384;
/// SHA-384 of what is to be signed, hex digits, for commands that want no more than that.
const DIGEST_VARIABLE: &str = "HICMOD_SHA384";
/// What kind of signature it must be.
const ALGORITHM_VARIABLE: &str = "HICMOD_ALGORITHM";
const ALGORITHM: &str = "rsa-pkcs1v15-sha384";

/// What `command`, run by the shell, returns as the signature over `message`. Whether it is one is for the caller to verify.
pub(super) fn sign(command: &str, message: &[u8]) -> Result<Vec<u8>, KeyError> {
    let failed = |error| KeyError::Command(command.to_owned(), error);
    let digest: String = Sha384::digest(message).iter().map(|byte| format!("{byte:02x}")).collect();
    let mut child = Command::new("sh")
        .args(["-c", command])
        .env(ALGORITHM_VARIABLE, ALGORITHM)
        .env(DIGEST_VARIABLE, digest)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    // A few kilobytes, less than a pipe holds, so this never waits. A command that needs no more than the digest may not read them.
    if let Some(mut input) = child.stdin.take()
        && let Err(error) = input.write_all(message)
        && error.kind() != std::io::ErrorKind::BrokenPipe
    {
        return Err(failed(error));
    }
    let output = child.wait_with_output().map_err(failed)?;
    if !output.status.success() {
        return Err(KeyError::CommandFailed(command.to_owned(), output.status));
    }
    read(&output.stdout).ok_or_else(|| KeyError::NoSignature(command.to_owned(), output.stdout.len()))
}

/// 384 bytes, or the same in Base64 with any white space.
fn read(printed: &[u8]) -> Option<Vec<u8>> {
    if printed.len() == SIGNATURE_BYTES {
        return Some(printed.to_vec());
    }
    let mut bits = 0u32;
    let (mut held, mut out) = (0, Vec::with_capacity(SIGNATURE_BYTES));
    for &character in printed.iter().filter(|byte| !byte.is_ascii_whitespace()) {
        let value = match character {
            b'A'..=b'Z' => character - b'A',
            b'a'..=b'z' => character - b'a' + 26,
            b'0'..=b'9' => character - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(value);
        held += 6;
        if held >= 8 {
            held -= 8;
            out.push((bits >> held) as u8);
            bits &= (1 << held) - 1;
        }
    }
    // 384 bytes are 512 digits, without padding.
    (out.len() == SIGNATURE_BYTES && held == 0).then_some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signatures_are_read_as_bytes_and_as_base64() {
        let bytes: Vec<u8> = (0..SIGNATURE_BYTES).map(|n| (n * 7) as u8).collect();
        assert_eq!(read(&bytes), Some(bytes.clone()));
        let digits = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let mut text = Vec::new();
        for three in bytes.chunks(3) {
            let word = u32::from_be_bytes([0, three[0], three[1], three[2]]);
            text.extend([18, 12, 6, 0].map(|shift| digits[(word >> shift & 63) as usize]));
        }
        text.insert(64, b'\n');
        text.push(b'\n');
        assert_eq!(read(&text), Some(bytes));
        assert_eq!(read(&text[..500]), None);
        assert_eq!(read(b"signed!"), None);
    }

    #[test]
    fn a_command_that_fails_or_says_something_else_is_named() {
        assert!(matches!(sign("exit 3", b"m"), Err(KeyError::CommandFailed(..))));
        let said = sign("echo no", b"m").expect_err("no signature").to_string();
        assert!(said.contains("`echo no`") && said.contains("384 bytes"), "{said}");
        let digest =
            sign("printf %s \"$HICMOD_SHA384\" | tr -d '\\n'; printf '%0288d' 0", b"m").expect("384 digits");
        assert!(digest.starts_with(b"") && digest.len() == 384);
    }
}
