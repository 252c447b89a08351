//! The file: every bit of it, every length of it, and what a signer must not vouch for.

use proptest::prelude::*;
use std::string::ToString;

use super::*;
use crate::bytes::{slice_at, u16_at, u32_at};
use crate::container::{CRC_AT, HEADER_BYTES, ROW_BYTES, table_checksum};
use crate::image::{Image, ImageError};
use crate::signature::{BLOCK_HEADER_BYTES, DIGEST_BYTES, RSA_BYTES, uuid};

#[test]
fn a_signed_module_is_accepted_with_all_that_is_known_of_it() {
    let verified = verify(good_module(), good_root(), NOW, &RevocationList::none()).unwrap();
    assert_eq!(verified.module().manifest, manifest::tests::netstack());
    assert_eq!((verified.signed_at(), verified.valid_until()), (SIGNED_AT, UNTIL));
    assert!(verified.is_development());
    assert!(verified.signer().starts_with("HIC development signer "), "{}", verified.signer());
    assert!(good_root().name().starts_with("HIC development root "));
    let container = Container::parse(good_module()).unwrap();
    assert_eq!(*verified.digest(), content_digest(&container).unwrap());
    assert_eq!(uuid(&verified.module().manifest).to_string().len(), 36);
}

#[test]
fn signing_again_replaces_the_signature_and_keeps_the_digest_of_the_content() {
    let again = signed_by(good_module(), good_chain(), &keys().signer, SIGNED_AT + 1);
    let verified = verify(&again, good_root(), NOW, &RevocationList::none()).unwrap();
    assert_eq!(verified.signed_at(), SIGNED_AT + 1);
    assert_eq!(again.len(), good_module().len());
    let first = verify(good_module(), good_root(), NOW, &RevocationList::none()).unwrap();
    assert_eq!(first.digest(), verified.digest());
}

#[test]
fn every_truncation_is_refused() {
    for length in 0..good_module().len() {
        assert!(verify_now(&good_module()[..length], good_root()).is_err(), "cut to {length}");
    }
    let cut = verify_now(&good_module()[..1000], good_root()).unwrap_err();
    assert_eq!(cut.check_name(), "truncated");
    let mut longer = good_module().to_vec();
    longer.push(0);
    assert_eq!(verify_now(&longer, good_root()).unwrap_err().check_name(), "format");
}

#[test]
fn every_flipped_bit_is_refused() {
    let mut bytes = good_module().to_vec();
    for bit in 0..bytes.len() * 8 {
        bytes[bit / 8] ^= 1 << (bit % 8);
        assert!(verify_now(&bytes, good_root()).is_err(), "bit {bit}");
        bytes[bit / 8] ^= 1 << (bit % 8);
    }
}

/// Makes all checksums right again, as whoever changes a module on purpose does.
fn reseal(bytes: &mut [u8]) {
    let count = usize::from(u16_at(bytes, 10).unwrap());
    for row in (0..count).map(|index| HEADER_BYTES + index * ROW_BYTES) {
        let (offset, length) = (u32_at(bytes, row + 4).unwrap(), u32_at(bytes, row + 8).unwrap());
        let Some(content) = slice_at(bytes, offset as usize, length as usize) else { return };
        let crc = crc32fast::hash(content);
        bytes[row + 12..row + 16].copy_from_slice(&crc.to_le_bytes());
    }
    let Some(table) = slice_at(bytes, HEADER_BYTES, count * ROW_BYTES) else { return };
    let crc = table_checksum(&bytes[..CRC_AT], table);
    bytes[CRC_AT..CRC_AT + 4].copy_from_slice(&crc.to_le_bytes());
}

/// Flips one bit of the good module and repairs the checksums. `None` if the repair undid the flip.
fn forged(bit: usize) -> Option<VerifyError> {
    let mut bytes = good_module().to_vec();
    bytes[bit / 8] ^= 1 << (bit % 8);
    reseal(&mut bytes);
    (bytes != good_module()).then(|| verify_now(&bytes, good_root()).expect_err("a forged module"))
}

#[test]
fn every_flipped_bit_is_refused_even_with_the_checksums_repaired() {
    let block = block_start();
    // Where the digest decides, every bit; in the certificates and the signature, where RSA does, one bit of each byte.
    let bits =
        (0..(block + BLOCK_HEADER_BYTES) * 8).chain((block..good_module().len()).map(|at| at * 8 + at % 8));
    let undone = bits.filter(|&bit| forged(bit).is_none()).count();
    let checksums = 32 + 32 * 3;
    assert_eq!(undone, checksums, "only the bits of the checksums themselves were repaired");
}

fn block_start() -> usize {
    Container::parse(good_module()).unwrap().sections().last().unwrap().offset
}

#[test]
fn a_repaired_forgery_is_refused_by_the_check_that_guards_the_place() {
    let block = block_start();
    let check = |at: usize| forged(at * 8).unwrap().check_name();
    assert_eq!(check(block - 100), "digest", "image");
    assert_eq!(check(block + 8), "signature", "time of signing");
    assert_eq!(check(block + 16), "digest", "stated digest");
    assert_eq!(check(good_module().len() - 1), "signature", "signature");
    assert_eq!(check(block), "format", "magic");
}

#[test]
fn padding_of_another_shape_is_refused() {
    // Signatures which are valid numbers, and valid powers of the right hash, but not the one encoding that is right.
    use rsa::{Pkcs1v15Sign, Pss, traits::SignatureScheme};
    let container = Container::parse(good_module()).unwrap();
    let statement = SignatureBlock::find(&container).unwrap().statement();
    let key = &keys().signer;
    let with = |signature: &[u8]| {
        let mut bytes = good_module().to_vec();
        let at = bytes.len() - RSA_BYTES;
        bytes[at..].copy_from_slice(signature);
        reseal(&mut bytes);
        verify_now(&bytes, good_root()).map_err(|error| error.check_name())
    };
    let other_hash =
        Pkcs1v15Sign::new::<sha2::Sha256>().sign(Some(&mut OsRng), key, &statement[..32]).unwrap();
    let no_hash_name = Pkcs1v15Sign::new_unprefixed().sign(Some(&mut OsRng), key, &statement).unwrap();
    let pss = Pss::new::<Sha384>().sign(Some(&mut OsRng), key, &statement).unwrap();
    for signature in [other_hash, no_hash_name, pss, vec![0; RSA_BYTES], vec![0xFF; RSA_BYTES]] {
        assert_eq!(with(&signature), Err("signature"));
    }
    let mut one = vec![0; RSA_BYTES];
    one[RSA_BYTES - 1] = 1;
    assert_eq!(with(&one), Err("signature"), "1 is its own cube");
}

#[test]
fn an_unsigned_module_is_refused_and_a_section_after_the_signature_too() {
    let plain = unsigned(&image());
    assert_eq!(verify_now(&plain, good_root()).unwrap_err().check_name(), "unsigned");
    let container = Container::parse(good_module()).unwrap();
    let mut sections: Vec<_> = container
        .sections()
        .map(|s| NewSection { kind: s.kind, critical: s.critical, bytes: s.bytes })
        .collect();
    sections.push(NewSection { kind: SectionKind::Unknown(99), critical: false, bytes: b"more" });
    let longer = encode(&sections).unwrap();
    assert_eq!(verify_now(&longer, good_root()).unwrap_err().check_name(), "format");
    assert_eq!(
        verify_now(b"\x7fELF\x02\x01\x01\0 and more", good_root()).unwrap_err().check_name(),
        "format"
    );
}

#[test]
fn a_signature_does_not_make_a_bad_image_or_manifest_good() {
    let mut outside = image();
    let last = outside.len() - 8;
    outside[last..].copy_from_slice(&u64::MAX.to_le_bytes());
    let signed = |module: &[u8]| signed_by(module, good_chain(), &keys().signer, SIGNED_AT);
    let error = verify_now(&signed(&unsigned(&outside)), good_root()).unwrap_err();
    assert!(matches!(error, VerifyError::Image(ImageError::AddendOutside { .. })), "{error}");
    assert_eq!(error.check_name(), "relocation");

    let mut entry = image();
    entry[24..28].copy_from_slice(&0x9000u32.to_le_bytes());
    assert_eq!(verify_now(&signed(&unsigned(&entry)), good_root()).unwrap_err().check_name(), "segment");

    let mut many = image();
    many[36..40].fill(9);
    assert_eq!(verify_now(&signed(&unsigned(&many)), good_root()).unwrap_err().check_name(), "exports");

    let image = image();
    let manifest = [9, 9, 9];
    let section = |kind, bytes| NewSection { kind, critical: true, bytes };
    let bad =
        encode(&[section(SectionKind::Manifest, &manifest), section(SectionKind::Image, &image)]).unwrap();
    assert_eq!(verify_now(&signed(&bad), good_root()).unwrap_err().check_name(), "manifest");
    let without = encode(&[section(SectionKind::Image, &image)]).unwrap();
    assert_eq!(verify_now(&signed(&without), good_root()).unwrap_err().check_name(), "format");
}

#[test]
fn a_signature_does_not_make_good_a_program_that_serves_something_else_than_its_manifest_says() {
    let signed = |exports: &[&str]| {
        let image = image();
        let mut parts = ImageParts::from(&Image::parse(&image).unwrap());
        parts.exports = exports.iter().map(ToString::to_string).collect();
        signed_by(&unsigned(&parts.encode().unwrap()), good_chain(), &keys().signer, SIGNED_AT)
    };
    assert_eq!(verify_now(&signed(&["netstack"]), good_root()), Ok(()));
    for (exports, words) in [
        (&[][..], "provides the service netstack, which the program does not export"),
        (&["netstack", "clock"], "exports the service clock, which its manifest does not provide"),
    ] {
        let error = verify_now(&signed(exports), good_root()).unwrap_err();
        assert_eq!(error.check_name(), "exports");
        assert!(error.to_string().contains(words), "{error}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn random_bytes_in_any_section_never_panic(
        noise in prop::collection::vec(any::<u8>(), 0..600), at: prop::sample::Index, in_block: bool,
    ) {
        prop_assert!(verify_now(&noise, good_root()).is_err());
        let _ = TrustRoot::parse(&noise);
        let _ = RevocationList::parse(&noise);
        let mut bytes = good_module().to_vec();
        let from = if in_block { block_start() } else { 0 };
        let start = from + at.index(bytes.len() - from);
        for (to, byte) in bytes[start..].iter_mut().zip(&noise) {
            *to = *byte;
        }
        reseal(&mut bytes);
        if bytes != good_module() {
            prop_assert!(verify_now(&bytes, good_root()).is_err());
        }
    }

    #[test]
    fn random_certificates_never_panic(at: prop::sample::Index, noise in prop::collection::vec(any::<u8>(), 1..40)) {
        for good in [&good_chain().root, &good_chain().signer] {
            let mut bytes = good.clone();
            let start = at.index(bytes.len());
            for (to, byte) in bytes[start..].iter_mut().zip(&noise) {
                *to = *byte;
            }
            let _ = TrustRoot::parse(&bytes);
        }
    }
}

#[test]
fn the_digest_has_the_length_of_sha_384() {
    assert_eq!(DIGEST_BYTES * 8, 384);
}
