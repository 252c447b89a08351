//! Everything the command writes opens in the real `openssl`, and the reverse.

mod common;

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use common::tool::{good, openssl, openssl_says, refused};
use common::{Elf, MANIFEST};
use hic_hicmod::Container;
use hic_hicmod::container::SectionKind;
use hic_hicmod::signature::{DOMAIN, RSA_BYTES};

/// A folder with the authority `ca`, its successor `next`, a signer's key and chains by both, and a module signed by the first.
fn made() -> &'static Path {
    static MADE: OnceLock<(tempfile::TempDir, PathBuf)> = OnceLock::new();
    let (_, path) = MADE.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path().to_owned();
        std::fs::write(at.join("echo.elf"), Elf::good().bytes()).unwrap();
        std::fs::write(at.join("hicmod.toml"), MANIFEST).unwrap();
        good("ca init --out ca --passphrase-env SECRET", &at);
        good("ca rotate-root --ca ca --out next --passphrase-env SECRET", &at);
        good("key --out key.pem --public key.pub.pem --passphrase-env SECRET", &at);
        for ca in ["ca", "next"] {
            good(&format!("ca issue --ca {ca} --for key.pub.pem --out {ca}.pem --passphrase-env SECRET"), &at);
        }
        good("pack --elf echo.elf --manifest hicmod.toml --out plain.hicmod", &at);
        good("sign --module plain.hicmod --key key.pem --chain ca.pem --out echo.hicmod --passphrase-env SECRET", &at);
        (folder, at)
    });
    path
}

#[test]
fn openssl_reads_our_keys_and_checks_them() {
    let at = made();
    for key in ["key.pem", "ca/root.key.pem", "ca/intermediate.key.pem"] {
        let text = openssl(&format!("pkey -in {key} -passin 'pass:correct horse' -check -noout -text"), at);
        assert!(text.contains("Key is valid") && text.contains("3072 bit"), "{text}");
        assert!(!openssl_says(&format!("pkey -in {key} -passin pass:wrong -noout"), at).0);
    }
    let ours = std::fs::read_to_string(at.join("key.pub.pem")).unwrap();
    assert_eq!(openssl("pkey -in key.pem -passin 'pass:correct horse' -pubout", at), ours);
}

#[test]
fn keys_of_openssl_sign_encrypted_or_not() {
    let at = made();
    let make = "genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:3072 -quiet";
    openssl(&format!("{make} -out o.key.pem"), at);
    openssl("pkcs8 -topk8 -in o.key.pem -out o-scrypt.key.pem -scrypt -passout 'pass:correct horse'", at);
    openssl(
        "pkcs8 -topk8 -in o.key.pem -out o-pbkdf2.key.pem -v2 aes-256-cbc -passout 'pass:correct horse'",
        at,
    );
    openssl("pkey -in o.key.pem -pubout -out o.pub.pem", at);
    good("ca issue --ca ca --for o.pub.pem --out o.pem --passphrase-env SECRET", at);
    for key in ["o.key.pem", "o-scrypt.key.pem", "o-pbkdf2.key.pem"] {
        good(
            &format!(
                "sign --module plain.hicmod --key {key} --chain o.pem --out o.hicmod --passphrase-env SECRET"
            ),
            at,
        );
        good("verify --module o.hicmod --root ca/root.pem", at);
    }
}

#[test]
fn a_request_of_openssl_is_answered_if_it_is_by_the_key_that_it_names() {
    let at = made();
    let make = "req -new -newkey rsa:3072 -noenc -subj /CN=token";
    openssl(&format!("{make} -sha384 -keyout r.key.pem -out r.csr"), at);
    good("ca issue --ca ca --for r.csr --out r.pem --passphrase-env SECRET", at);
    good("sign --module plain.hicmod --key r.key.pem --chain r.pem --out r.hicmod", at);
    good("verify --module r.hicmod --root ca/root.pem", at);
    openssl(&format!("{make} -sha256 -keyout s.key.pem -out s.csr"), at);
    good("ca issue --ca ca --for s.csr --out s.pem --passphrase-env SECRET", at);
    let mut der = {
        openssl("req -in r.csr -outform DER -out r.der", at);
        std::fs::read(at.join("r.der")).unwrap()
    };
    *der.last_mut().unwrap() ^= 1;
    std::fs::write(at.join("forged.der"), der).unwrap();
    openssl("req -inform DER -in forged.der -out forged.csr", at);
    let text = refused("ca issue --ca ca --for forged.csr --out f.pem --passphrase-env SECRET", at);
    assert!(text.contains("not signed by the key that it names"), "{text}");
    openssl("req -new -newkey rsa:2048 -noenc -subj /CN=small -keyout t.key.pem -out t.csr", at);
    let text = refused("ca issue --ca ca --for t.csr --out t.pem --passphrase-env SECRET", at);
    assert!(text.contains("not RSA-3072"), "{text}");
}

#[test]
fn openssl_agrees_with_the_chain() {
    let at = made();
    std::fs::write(at.join("signer.pem"), first_pem(&at.join("ca.pem"))).unwrap();
    let chain = "verify -x509_strict -CAfile ca/root.pem -untrusted ca.pem -purpose any signer.pem";
    assert!(openssl(chain, at).contains("signer.pem: OK"));
    let text = openssl("x509 -in signer.pem -noout -text", at);
    for part in ["sha384WithRSAEncryption", "3072 bit", "Digital Signature", "Code Signing", "CA:FALSE"] {
        assert!(text.contains(part), "{part} in {text}");
    }
}

#[test]
fn openssl_agrees_with_the_new_root_under_the_old_one() {
    let at = made();
    std::fs::write(at.join("under-next.pem"), first_pem(&at.join("next.pem"))).unwrap();
    for root in ["ca/root.pem", "next/root.pem"] {
        let words =
            format!("verify -x509_strict -CAfile {root} -untrusted next.pem -purpose any under-next.pem");
        assert!(openssl(&words, at).contains("under-next.pem: OK"), "{root}");
    }
    assert!(openssl("verify -x509_strict -CAfile ca/root.pem next/cross.pem", at).contains("OK"));
}

#[test]
fn openssl_agrees_with_the_lists() {
    let at = made();
    good("ca issue --ca ca --for key.pub.pem --out gone.pem --passphrase-env SECRET", at);
    good("ca refresh --ca ca --passphrase-env SECRET", at);
    let check =
        "verify -crl_check_all -CRLfile ca/revoked.pem -CAfile ca/root.pem -untrusted ca.pem -purpose any";
    std::fs::write(at.join("gone-alone.pem"), first_pem(&at.join("gone.pem"))).unwrap();
    openssl(&format!("{check} gone-alone.pem"), at);
    good("ca revoke --ca ca --certificate gone.pem --passphrase-env SECRET", at);
    let (well, said, _) = openssl_says(&format!("{check} gone-alone.pem"), at);
    assert!(!well && said.contains("certificate revoked"), "{said}");
    // Its first list is that of the root: the other one was changed last.
    let list = openssl("crl -inform DER -in ca/revoked.crl -CAfile ca/root.pem -noout -text", at);
    for part in ["CRL Number", "Next Update", "Authority Key Identifier"] {
        assert!(list.contains(part), "{part} in {list}");
    }
}

#[test]
fn openssl_finds_the_signature_over_the_signed_bytes() {
    let at = made();
    let module = std::fs::read(at.join("echo.hicmod")).unwrap();
    let section = Container::parse(&module).unwrap().find(SectionKind::Signature).unwrap().to_vec();
    let (signed, signature) = section.split_at(section.len() - RSA_BYTES);
    std::fs::write(at.join("signed"), [DOMAIN, signed].concat()).unwrap();
    std::fs::write(at.join("signature"), signature).unwrap();
    let verified = openssl("dgst -sha384 -verify key.pub.pem -signature signature signed", at);
    assert!(verified.contains("Verified OK"), "{verified}");
    std::fs::write(at.join("signed"), [DOMAIN, signed, b"x"].concat()).unwrap();
    assert!(!openssl_says("dgst -sha384 -verify key.pub.pem -signature signature signed", at).0);
}

/// The first certificate of a PEM file.
fn first_pem(path: &Path) -> String {
    const END: &str = "-----END CERTIFICATE-----\n";
    let text = std::fs::read_to_string(path).unwrap();
    let end = text.find(END).expect("a certificate") + END.len();
    text[..end].to_owned()
}
