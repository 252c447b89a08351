//! The whole verification, root to image: whatever is changed, in a module or in the certificates that travel with it, nothing is believed but the
//! test vectors that were signed.

use std::collections::BTreeSet;
use std::sync::OnceLock;

use hic_hicmod::signature::{SignatureBlock, content_digest};
use hic_hicmod::{Container, RevocationList, TrustRoot, verify};

use super::assert_sentence;
use super::certificate::assert_name;
use super::container::repaired;
use crate::corpus::vectors;

/// What is trusted, when, and the files that may be believed.
struct Vectors {
    root: TrustRoot,
    now: u64,
    files: BTreeSet<Vec<u8>>,
}

/// Read once; nothing here changes with the bytes that are tried.
fn known() -> &'static Vectors {
    static KNOWN: OnceLock<Vectors> = OnceLock::new();
    KNOWN.get_or_init(|| {
        let read = |name: &str| std::fs::read(vectors().join(name)).expect("a test vector");
        let table: serde_json::Value = serde_json::from_slice(&read("vectors.json")).expect("JSON");
        let listed = table["vectors"].as_array().expect("a list");
        let files = listed
            .iter()
            .filter_map(|vector| vector["file"].as_str())
            .filter(|name| name.ends_with(".hicmod"));
        let root = read(table["root"].as_str().expect("a root"));
        let mut known = Vectors {
            root: TrustRoot::parse(&root).expect("the root is one"),
            now: table["now"].as_u64().expect("a time"),
            files: files.map(read).collect(),
        };
        known.files =
            std::mem::take(&mut known.files).into_iter().filter(|file| is_good(&known, file)).collect();
        assert!(known.files.len() > 4, "good files among the vectors");
        known
    })
}

fn is_good(known: &Vectors, file: &[u8]) -> bool {
    verify(file, &known.root, known.now, &RevocationList::none()).is_ok()
}

/// Tries the bytes as they are, with their checksums made right, and with checksums and digest made right.
pub fn run(bytes: &[u8]) {
    let known = known();
    one(known, bytes);
    let Some(repaired) = repaired(bytes) else { return };
    one(known, &repaired);
    if let Some(digested) = with_digest(&repaired) {
        one(known, &digested);
    }
}

fn one(known: &Vectors, bytes: &[u8]) {
    match verify(bytes, &known.root, known.now, &RevocationList::none()) {
        Ok(verified) => {
            assert!(known.files.contains(bytes), "believed, and nobody signed it");
            assert_name(verified.signer());
            super::image::place(&verified.module().image);
        }
        Err(error) => {
            assert!(!known.files.contains(bytes), "signed, and not believed: {error}");
            assert_sentence(&error, 400);
        }
    }
}

/// Where a signature section has the digest of the content.
const DIGEST_AT: usize = 16;

/// The file with the digest in its signature section made that of its content; `None` if it has no such section.
fn with_digest(bytes: &[u8]) -> Option<Vec<u8>> {
    let container = Container::parse(bytes).ok()?;
    let block = SignatureBlock::find(&container).ok()?;
    let section = container.sections().last()?;
    let mut out = bytes.to_vec();
    let digest = content_digest(&container).ok()?;
    if digest == block.digest {
        return None;
    }
    out[section.offset + DIGEST_AT..][..digest.len()].copy_from_slice(&digest);
    repaired(&out)
}
