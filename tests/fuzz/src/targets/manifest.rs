//! Manifests: as a module holds them, as authors write them, and many at once.

use hic_hicmod::manifest::{
    MAX_MANIFEST_BYTES, MAX_MODULES, Manifest, Platform, Version, check_pair, decode, encode, start_order,
};
use hic_hicmod::signature::uuid;
use hicmod_tool::parse_manifest;

use super::assert_sentence;
use crate::input::Input;

/// A system that manifests are tried on.
const PLATFORM: Platform = Platform { abi: 1, ipc_lib: Version::new(2, 1, 0) };

/// Tries the bytes as the manifest of a module.
pub fn binary(bytes: &[u8]) {
    match decode(bytes) {
        Ok(manifest) => survives(&manifest),
        Err(error) => assert_sentence(&error, 300),
    }
}

/// Tries the bytes as the text of a manifest.
pub fn text(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    match parse_manifest(text) {
        Ok(manifest) => survives(&manifest),
        // The parser of TOML shows the line at fault, on lines of its own.
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

/// What is accepted has one form, in which it is read back, and asks for nothing that has no bound.
fn survives(manifest: &Manifest) {
    let mut buffer = [0; MAX_MANIFEST_BYTES];
    let written = encode(manifest, &mut buffer).expect("what was read can be written");
    assert_eq!(decode(written).as_ref(), Ok(manifest));
    assert!(hic_hicmod::is_valid_name(&manifest.name));
    assert!(
        !manifest.summary.chars().any(char::is_control) && !manifest.publisher.chars().any(char::is_control)
    );
    assert!(manifest.extra_pages() < 1 << 20, "more memory than any machine of ours has");
    assert!(manifest.optional_authority.iter().all(|authority| manifest.has_authority(*authority)));
    assert_eq!(uuid(manifest), uuid(&manifest.clone()));
    if let Err(error) = manifest.check_platform(&PLATFORM) {
        assert_sentence(&error, 300);
    }
}

/// Tries the bytes as some manifests one behind the other, each with its length before it.
pub fn set(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let mut manifests = Vec::new();
    while !input.is_empty() && manifests.len() <= MAX_MODULES {
        manifests.extend(decode(input.piece()).ok());
    }
    order(&manifests);
    for (from, to) in manifests.iter().zip(manifests.iter().skip(1)) {
        pair(from, to);
    }
}

fn order(manifests: &[Manifest]) {
    match start_order(manifests) {
        Ok(order) => {
            let mut sorted = order.to_vec();
            sorted.sort_unstable();
            assert!(sorted.iter().copied().eq(0..manifests.len()), "each once");
            for (place, index) in order.iter().enumerate() {
                for need in manifests[*index].needs.iter().filter(|need| !need.optional) {
                    let before = &order[..place];
                    assert!(
                        before.iter().any(|earlier| manifests[*earlier].provides_service(&need.service)),
                        "{} starts before {}",
                        manifests[*index].name,
                        need.service
                    );
                }
            }
        }
        Err(error) => assert_sentence(&error, 2000),
    }
}

/// A pair that can be exchanged can be exchanged back.
fn pair(from: &Manifest, to: &Manifest) {
    match check_pair(from, to) {
        Ok(()) => {
            assert_eq!(check_pair(to, from), Ok(()), "no way back from {} to {}", to.version, from.version)
        }
        Err(error) => {
            assert_sentence(&error, 500);
            assert!(!error.check_name().is_empty());
        }
    }
}
