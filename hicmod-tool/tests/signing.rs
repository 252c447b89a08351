//! Keys, certificates and signatures, by the command; certificates are also shown to another implementation where it is
//! installed.

mod common;

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

use common::{Elf, MANIFEST};

fn tool(arguments: &str, folder: &Path) -> Output {
    let words = arguments.split_whitespace();
    Command::new(env!("CARGO_BIN_EXE_hicmod-tool")).args(words).current_dir(folder).output().unwrap()
}

fn good(arguments: &str, folder: &Path) -> String {
    let output = tool(arguments, folder);
    assert!(output.status.success(), "{arguments}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn refused(arguments: &str, folder: &Path) -> String {
    let output = tool(arguments, folder);
    assert!(!output.status.success(), "{arguments} was accepted");
    String::from_utf8(output.stderr).unwrap()
}

/// A folder with two chains, `dev` and `other`, and a module signed with the first; made once, since keys take time.
fn made() -> &'static Path {
    static FOLDER: OnceLock<(tempfile::TempDir, PathBuf)> = OnceLock::new();
    let (_, path) = FOLDER.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path().to_owned();
        std::fs::write(at.join("echo.elf"), Elf::good().bytes()).unwrap();
        std::fs::write(at.join("hicmod.toml"), MANIFEST).unwrap();
        good("chain --out dev --development --days 30", &at);
        good("chain --out other", &at);
        good("pack --elf echo.elf --manifest hicmod.toml --out plain.hicmod", &at);
        good(
            "sign --module plain.hicmod --key dev/signer.key.pem --chain dev/chain.pem --out echo.hicmod",
            &at,
        );
        (folder, at)
    });
    path
}

#[test]
fn a_signed_module_is_verified_with_its_root_and_with_no_other() {
    let at = made();
    for root in ["dev/root.pem", "dev/root.der"] {
        let text = good(&format!("verify --module echo.hicmod --root {root}"), at);
        assert!(text.contains("good: echo 0.1.0") && text.contains("a development root"), "{text}");
    }
    let text = refused("verify --module echo.hicmod --root other/root.pem", at);
    assert!(text.starts_with("error: echo.hicmod: refused by the check root: "), "{text}");
    assert!(refused("verify --module plain.hicmod --root dev/root.pem", at).contains("check unsigned"));
    assert!(refused("verify --module echo.hicmod --root dev/signer.pem", at).contains("not issue"));
}

#[test]
fn time_decides() {
    let at = made();
    let late = refused("verify --module echo.hicmod --root dev/root.pem --at 2099-01-01", at);
    assert!(late.contains("check validity") && late.contains("expired"), "{late}");
    let early = refused("verify --module echo.hicmod --root dev/root.pem --at 2001-01-01T00:00:00Z", at);
    assert!(early.contains("check validity"), "{early}");
    assert!(
        refused("verify --module echo.hicmod --root dev/root.pem --at tomorrow", at).contains("2027-01-15")
    );
}

#[test]
fn a_revoked_signer_is_refused() {
    let at = made();
    good(
        "revoke --certificate dev/signer.pem --issuer dev/intermediate.pem --key dev/intermediate.key.pem --list l.crl",
        at,
    );
    let text = refused("verify --module echo.hicmod --root dev/root.pem --revoked l.crl", at);
    assert!(text.contains("check revoked"), "{text}");
    let text = refused(
        "revoke --certificate dev/signer.pem --issuer dev/root.pem --key dev/root.key.pem --list m.crl",
        at,
    );
    assert!(text.contains("does not belong"), "{text}");
}

#[test]
fn keys_are_private_and_are_never_overwritten() {
    let at = made();
    for name in ["root", "intermediate", "signer"] {
        let mode = |file: String| std::fs::metadata(at.join(file)).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(format!("dev/{name}.key.pem")), 0o600);
        assert_eq!(mode(format!("dev/{name}.pem")) & 0o400, 0o400);
    }
    let before = std::fs::read(at.join("dev/root.key.pem")).unwrap();
    assert!(refused("chain --out dev", at).contains("never overwritten"));
    assert_eq!(std::fs::read(at.join("dev/root.key.pem")).unwrap(), before);
}

#[test]
fn wrong_files_are_named() {
    let at = made();
    let sign =
        |key, chain| refused(&format!("sign --module plain.hicmod --key {key} --chain {chain} --out x"), at);
    assert!(sign("dev/signer.pem", "dev/chain.pem").contains("dev/signer.pem: no private key"));
    assert!(sign("dev/signer.key.pem", "dev/signer.pem").contains("expected 2 X.509"));
    assert!(sign("nowhere", "dev/chain.pem").contains("nowhere"));
    assert!(refused("pack --elf echo.elf --manifest hicmod.toml --out x --key k", at).contains("--chain"));
}

#[test]
fn a_module_can_be_packed_and_signed_in_one_step_and_is_shown_with_its_signer() {
    let at = made();
    let keys = "--key other/signer.key.pem --chain other/chain.pem";
    good(&format!("pack --elf echo.elf --manifest hicmod.toml --out both.hicmod {keys}"), at);
    good("verify --module both.hicmod --root other/root.pem", at);
    let text = good("inspect both.hicmod", at);
    for part in ["uuid", "CN=HIC signer", "HIC root", "SHA-384", "valid", "section    signature (optional)"] {
        assert!(text.contains(part), "{part} in {text}");
    }
    let json: serde_json::Value = serde_json::from_str(&good("inspect --json both.hicmod", at)).unwrap();
    assert_eq!(json["signature"]["digest_fits"], true);
    assert_eq!(json["signature"]["digest"].as_str().unwrap().len(), 96);
    assert_eq!(json["uuid"].as_str().unwrap().len(), 36);
    let plain: serde_json::Value = serde_json::from_str(&good("inspect --json plain.hicmod", at)).unwrap();
    assert!(plain["signature"].is_null());
}

#[test]
fn openssl_agrees_with_the_chain_and_the_list() {
    let at = made();
    let openssl = |words: &str| {
        Command::new("openssl").args(words.split_whitespace()).current_dir(at).output().ok().map(|output| {
            assert!(output.status.success(), "{words}: {}", String::from_utf8_lossy(&output.stderr));
            String::from_utf8(output.stdout).unwrap()
        })
    };
    let Some(_) = openssl("version") else { return };
    let chain = "verify -x509_strict -CAfile dev/root.pem -untrusted dev/intermediate.pem -purpose any dev/signer.pem";
    assert!(openssl(chain).unwrap().contains("dev/signer.pem: OK"));
    let text = openssl("x509 -in dev/signer.pem -noout -text").unwrap();
    for part in ["sha384WithRSAEncryption", "3072 bit", "Digital Signature", "Code Signing", "CA:FALSE"] {
        assert!(text.contains(part), "{part} in {text}");
    }
    good(
        "revoke --certificate dev/intermediate.pem --issuer dev/root.pem --key dev/root.key.pem --list r.crl",
        at,
    );
    let list = openssl("crl -inform DER -in r.crl -CAfile dev/root.pem -noout -text").unwrap();
    assert!(list.contains("Revoked Certificates") && list.contains("Serial Number"), "{list}");
}
