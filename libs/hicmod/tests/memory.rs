//! What verifying takes of the heap: as much for a large module as for a small one, and a stated bound.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use hic_hicmod::container::{NewSection, SectionKind, encode};
use hic_hicmod::image::{ImageParts, PAGE_SIZE};
use hic_hicmod::manifest::{self, Kind, MAX_MANIFEST_BYTES, Manifest, Version};
use hic_hicmod::sign::{
    CertificateSpec, Certificates, IssuerKey, SignerKey, Validity, generate_key, issue, sign_module,
};
use hic_hicmod::{RevocationList, TrustRoot, verify};
use rsa::rand_core::OsRng;

/// The bound that the specification of the verifier's heap relies on, bytes, without revocation lists.
const BOUND: usize = 64 * 1024;
/// Pages of the large module: 5.2 MB.
const LARGE: u32 = 1270;

static NOW: AtomicUsize = AtomicUsize::new(0);
static MOST: AtomicUsize = AtomicUsize::new(0);

/// The system's allocator, counted.
struct Counted;

// SAFETY: every call is passed on to the system's allocator as it came; the counters hold no memory.
unsafe impl GlobalAlloc for Counted {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let now = NOW.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        MOST.fetch_max(now, Ordering::Relaxed);
        // SAFETY: the caller's promise about `layout` is the one that the system's allocator asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        NOW.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: `pointer` came from `alloc` above with this layout, so from the system's allocator.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counted = Counted;

/// What `work` takes of the heap at most beyond what is there before.
fn taken<T>(work: impl FnOnce() -> T) -> usize {
    let before = NOW.load(Ordering::Relaxed);
    MOST.store(before, Ordering::Relaxed);
    drop(work());
    MOST.load(Ordering::Relaxed) - before
}

fn module(pages: u32) -> Vec<u8> {
    let body = vec![0x90; pages as usize * PAGE_SIZE];
    let image = ImageParts { rx_pages: pages, body, ..ImageParts::default() }.encode().expect("an image");
    let manifest = Manifest::least("large".parse().expect("a name"), Version::new(1, 0, 0), Kind::Service);
    let mut buffer = [0; MAX_MANIFEST_BYTES];
    let manifest = manifest::encode(&manifest, &mut buffer).expect("encoded");
    encode(&[
        NewSection { kind: SectionKind::Manifest, critical: true, bytes: manifest },
        NewSection { kind: SectionKind::Image, critical: true, bytes: &image },
    ])
    .expect("a module")
}

// The only test of this program: another one beside it would be counted, too.
#[test]
fn a_large_module_takes_no_more_memory_than_a_small_one() {
    let (now, validity) = (1_800_000_000, Validity { from: 1_700_000_000, until: 1_900_000_000 });
    let [top, middle, end] = [(); 3].map(|()| generate_key(&mut OsRng).expect("a key"));
    let public = top.to_public_key();
    let spec = CertificateSpec::root(&public, true, validity, vec![1]).expect("a spec");
    let root = issue(&spec, &public, IssuerKey { certificate: None, key: &top }, &mut OsRng).expect("issued");
    let public = middle.to_public_key();
    let spec = CertificateSpec::intermediate(&public, true, validity, vec![2]).expect("a spec");
    let by_root = IssuerKey { certificate: Some(&root), key: &top };
    let intermediate = issue(&spec, &public, by_root, &mut OsRng).expect("issued");
    let public = end.to_public_key();
    let spec = CertificateSpec::signer(&public, true, validity, vec![3]).expect("a spec");
    let by_middle = IssuerKey { certificate: Some(&intermediate), key: &middle };
    let signer = issue(&spec, &public, by_middle, &mut OsRng).expect("issued");
    let chain = Certificates { signer: &signer, intermediate: &intermediate, cross: None };
    let [small, large] = [1, LARGE].map(|pages| {
        sign_module(&module(pages), SignerKey { key: &end, chain }, now, &mut OsRng).expect("signed")
    });

    let verified = |file: &[u8]| {
        taken(|| {
            let root = TrustRoot::parse(&root).expect("a root");
            verify(file, &root, now, &RevocationList::none()).map(drop).expect("good");
        })
    };
    // The first one also takes what is made once.
    verified(&small);
    let (small, large) = (verified(&small), verified(&large));
    assert!(large <= small + 1024, "{small} bytes for a small module, {large} for one of 5.2 MB");
    assert!(large <= BOUND, "{large} bytes");
}
