//! One question answered.

use hic_hicmod::verdict::{Facts, Listing, Question, Refusal, Span, Verdict};
use hic_hicmod::{RevocationList, TrustRoot, Verified, VerifyError, verify};
use hic_tuf::{TargetError, Targets};

/// Why there is no good verdict.
enum Problem {
    /// A span, named here, that cannot be memory of the asker's.
    Outside(&'static str),
    /// There is no root certificate.
    NoRoot,
    /// A check failed.
    Failed(VerifyError),
    /// The file is not what the repository's metadata says.
    Target(TargetError),
    /// The list of modules, found good before, is not where the asker says.
    NoList,
}

impl From<Problem> for Refusal {
    fn from(problem: Problem) -> Self {
        match problem {
            Problem::Outside(what) => {
                Self::new("question", &format_args!("the {what} lies outside the memory of programs"))
            }
            Problem::NoRoot => {
                Self::new("root", &"this system trusts no root; build the image with a root certificate")
            }
            Problem::Failed(error) => Self::new(error.check_name(), &error),
            Problem::Target(error) => Self::new(error.name(), &error),
            Problem::NoList => Self::new("question", &"there is no list of modules where the question says"),
        }
    }
}

/// Answers `question`. `memory` gives the bytes of a span, or `None` for one that cannot be memory of the asker's. With a `listing`, the file must
/// be what the metadata says of it, if it names it.
pub fn judge<'m>(
    question: &Question,
    listing: Option<Listing<'_>>,
    memory: impl Fn(Span) -> Option<&'m [u8]>,
) -> Verdict {
    match check(question, listing, memory) {
        Ok(facts) => Verdict::Good(facts),
        Err(problem) => Verdict::Refused(problem.into()),
    }
}

/// Since when a revocation list is overdue, if one is and it can be read.
pub fn overdue<'m>(question: &Question, memory: impl Fn(Span) -> Option<&'m [u8]>) -> Option<u64> {
    RevocationList::parse(memory(question.revoked)?).ok()?.overdue_since(question.now)
}

fn check<'m>(
    question: &Question,
    listing: Option<Listing<'_>>,
    memory: impl Fn(Span) -> Option<&'m [u8]>,
) -> Result<Facts, Problem> {
    let bytes = |span, what| memory(span).ok_or(Problem::Outside(what));
    let module = bytes(question.module, "module")?;
    let root = bytes(question.root, "root certificate")?;
    let revoked = bytes(question.revoked, "revocation list")?;
    if root.is_empty() {
        return Err(Problem::NoRoot);
    }
    let target = match listing {
        None => None,
        Some(Listing { targets, file }) => {
            let list = Targets::of_verified(bytes(targets, "list of modules")?).ok_or(Problem::NoList)?;
            list.find(file)
        }
    };
    if let Some(target) = &target {
        target.check_bytes(module).map_err(Problem::Target)?;
    }
    let root = TrustRoot::parse(root).map_err(Problem::Failed)?;
    let revoked = RevocationList::parse(revoked).map_err(Problem::Failed)?;
    let verified = verify(module, &root, question.now, &revoked).map_err(Problem::Failed)?;
    if let Some(target) = &target {
        target.check_module(&verified.module().manifest, verified.signer()).map_err(Problem::Target)?;
    }
    Ok(facts(verified, target.is_some()))
}

fn facts(verified: Verified<'_>, listed: bool) -> Facts {
    Facts {
        digest: *verified.digest(),
        signer: verified.signer().clone(),
        development: verified.is_development(),
        listed,
        signed_at: verified.signed_at(),
        valid_until: verified.valid_until(),
        manifest: verified.module().manifest.clone(),
    }
}

#[cfg(test)]
mod tests {
    use std::vec;
    use std::vec::Vec;

    use hic_hicmod::container::{NewSection, SectionKind, encode};
    use hic_hicmod::image::{ImageParts, PAGE_SIZE};
    use hic_hicmod::manifest::{self, MAX_MANIFEST_BYTES, Manifest};
    use hic_hicmod::sign::{
        CertificateSpec, Certificates, IssuerKey, ListDates, SignerKey, Validity, generate_key, issue,
        refresh, sign_module,
    };
    use hic_hicmod::verdict::MAX_VERDICT_BYTES;
    use rsa::rand_core::OsRng;

    use super::*;

    const NOW: u64 = 1_800_000_000;

    /// A signed module and the root that vouches for it.
    fn signed() -> (Vec<u8>, Vec<u8>) {
        let valid = Validity { from: NOW - 10, until: NOW + 10 };
        let [root, middle, signer] = [(); 3].map(|()| generate_key(&mut OsRng).unwrap());
        let own = IssuerKey { certificate: None, key: &root };
        let public = root.to_public_key();
        let root_der =
            issue(&CertificateSpec::root(&public, true, valid, vec![1]).unwrap(), &public, own, &mut OsRng)
                .unwrap();
        let by_root = IssuerKey { certificate: Some(&root_der), key: &root };
        let public = middle.to_public_key();
        let spec = CertificateSpec::intermediate(&public, true, valid, vec![2]).unwrap();
        let middle_der = issue(&spec, &public, by_root, &mut OsRng).unwrap();
        let by_middle = IssuerKey { certificate: Some(&middle_der), key: &middle };
        let public = signer.to_public_key();
        let spec = CertificateSpec::signer(&public, true, valid, vec![3]).unwrap();
        let signer_der = issue(&spec, &public, by_middle, &mut OsRng).unwrap();
        let chain = Certificates { signer: &signer_der, intermediate: &middle_der, cross: None };
        (sign_module(&module(), SignerKey { key: &signer, chain }, NOW, &mut OsRng).unwrap(), root_der)
    }

    fn module() -> Vec<u8> {
        let image = ImageParts { rx_pages: 1, body: vec![0x90; PAGE_SIZE], ..ImageParts::default() };
        let mut buffer = [0; MAX_MANIFEST_BYTES];
        let manifest = manifest::encode(&echo(), &mut buffer).unwrap();
        encode(&[
            NewSection { kind: SectionKind::Manifest, critical: true, bytes: manifest },
            NewSection { kind: SectionKind::Image, critical: true, bytes: &image.encode().unwrap() },
        ])
        .unwrap()
    }

    fn echo() -> Manifest {
        let version = manifest::Version::new(1, 0, 0);
        Manifest::least("echo".parse().unwrap(), version, manifest::Kind::Service)
    }

    /// Spans whose address is 1 (module), 2 (root) or 3 (no list); all others are nobody's.
    fn ask(module: &[u8], root: &[u8], now: u64) -> Verdict {
        let span = |address, bytes: &[u8]| Span { address, length: bytes.len() as u64 };
        let question = Question { module: span(1, module), root: span(2, root), revoked: span(3, &[]), now };
        judge(&question, None, |span| match span.address {
            1 => Some(module),
            2 => Some(root),
            3 => Some(&[]),
            _ => None,
        })
    }

    fn check_of(verdict: &Verdict) -> &str {
        match verdict {
            Verdict::Good(_) => "good",
            Verdict::Refused(refusal) => &refusal.check,
        }
    }

    #[test]
    fn a_good_module_is_described_and_a_bad_one_refused_with_the_check() {
        let (file, root) = signed();
        let good = ask(&file, &root, NOW);
        let Verdict::Good(facts) = &good else { panic!("{good:?}") };
        assert_eq!((&facts.manifest, facts.signed_at, facts.development), (&echo(), NOW, true));
        let mut buffer = [0; MAX_VERDICT_BYTES];
        assert_eq!(Verdict::decode(good.encode(&mut buffer).unwrap()), Some(good.clone()));

        assert_eq!(check_of(&ask(&file, &root, NOW + 11)), "validity");
        assert_eq!(check_of(&ask(&file[..100], &root, NOW)), "truncated");
        assert_eq!(check_of(&ask(&[], &root, NOW)), "truncated");
        assert_eq!(check_of(&ask(&file, &[], NOW)), "root");
        assert_eq!(check_of(&ask(&file, b"no certificate", NOW)), "certificate");
    }

    #[test]
    fn an_overdue_list_is_told() {
        let key = generate_key(&mut OsRng).unwrap();
        let public = key.to_public_key();
        let spec = CertificateSpec::root(&public, true, Validity { from: 0, until: NOW }, vec![1]).unwrap();
        let root = issue(&spec, &public, IssuerKey { certificate: None, key: &key }, &mut OsRng).unwrap();
        let issuer = IssuerKey { certificate: Some(&root), key: &key };
        let list = refresh(&[], issuer, ListDates { now: NOW - 9, next: NOW }, &mut OsRng).unwrap();
        let told = |now| {
            let (module, root) = (Span { address: 0, length: 0 }, Span { address: 0, length: 0 });
            let revoked = Span { address: 3, length: list.len() as u64 };
            overdue(&Question { module, root, revoked, now }, |_| Some(&list))
        };
        assert_eq!((told(NOW), told(NOW + 1)), (None, Some(NOW)));
    }

    #[test]
    fn memory_that_is_nobody_s_is_not_looked_at() {
        let nowhere = Span { address: 99, length: 1 };
        let question = Question { module: nowhere, root: nowhere, revoked: nowhere, now: NOW };
        assert_eq!(check_of(&judge(&question, None, |_| None)), "question");
    }

    #[test]
    fn a_listed_file_must_be_what_the_list_says() {
        use hic_tuf::write::Draft;
        use hic_tuf::{Head, Target};
        let (file, root) = signed();
        let Verdict::Good(facts) = ask(&file, &root, NOW) else { panic!("a good module is refused") };
        let key = generate_key(&mut OsRng).unwrap();
        let head = Head { version: 1, issued: NOW, expires: NOW };
        let list_by = |name: &str, bytes: &[u8], manifest: &Manifest, signer: &str| {
            let target = Target::describe(name, bytes, manifest, signer).unwrap();
            Draft::targets(head, &[target]).unwrap().sign(&[&key], &mut OsRng).unwrap()
        };
        let span = |address, bytes: &[u8]| Span { address, length: bytes.len() as u64 };
        let ask = |list: &[u8]| {
            let question =
                Question { module: span(1, &file), root: span(2, &root), revoked: span(3, &[]), now: NOW };
            let listing = Listing { targets: span(4, list), file: "echo-1.0.0.hicmod" };
            // The bytes of the list are on the stack of this closure: nothing of the verdict refers to them.
            judge(&question, Some(listing), |span| match span.address {
                1 => Some(&file[..]),
                2 => Some(&root[..]),
                3 => Some(&[]),
                _ => Some(list),
            })
        };
        let listed = |verdict: &Verdict| matches!(verdict, Verdict::Good(facts) if facts.listed);
        let list =
            |name: &str, bytes: &[u8], manifest: &Manifest| list_by(name, bytes, manifest, &facts.signer);
        let name = "echo-1.0.0.hicmod";
        assert!(listed(&ask(&list(name, &file, &echo()))));
        let other = ask(&list("other-1.0.0.hicmod", &file, &echo()));
        assert!(matches!(&other, Verdict::Good(facts) if !facts.listed), "{other:?}");
        assert_eq!(check_of(&ask(&list(name, &file[1..], &echo()))), "target-length");
        let mut changed = file.clone();
        changed[200] ^= 1;
        assert_eq!(check_of(&ask(&list(name, &changed, &echo()))), "target-digest");
        let manifest = Manifest { version: manifest::Version::new(1, 0, 1), ..echo() };
        assert_eq!(check_of(&ask(&list(name, &file, &manifest))), "target-identity");
        assert_eq!(check_of(&ask(&list_by(name, &file, &echo(), "somebody else"))), "target-signer");
        assert_eq!(check_of(&ask(b"no list")), "question");
    }
}
