//! Keys, certificates and signatures, by the command.

mod common;

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use common::tool::{bad, good, openssl, refused};
use common::{Elf, MANIFEST};

/// A folder with the authorities `dev` (development) and `other`, whose signers have the key of their folder and `chain.pem`, and the module
/// `plain.hicmod`, signed by the first as `echo.hicmod`. Made once, since keys take their time.
fn made() -> &'static Path {
    static MADE: OnceLock<(tempfile::TempDir, PathBuf)> = OnceLock::new();
    let (_, path) = MADE.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path().to_owned();
        std::fs::write(at.join("echo.elf"), Elf::good().bytes()).unwrap();
        std::fs::write(at.join("hicmod.toml"), MANIFEST).unwrap();
        good("ca init --out dev --development --no-passphrase", &at);
        good("ca init --out other --no-passphrase", &at);
        for ca in ["dev", "other"] {
            good(&format!("key --out {ca}/signer.key.pem --public {ca}/signer.pub.pem --no-passphrase"), &at);
            good(&format!("ca issue --ca {ca} --for {ca}/signer.pub.pem --out {ca}/chain.pem"), &at);
        }
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
    let (code, text) = bad("verify --module echo.hicmod --root other/root.pem", at);
    assert!(text.starts_with("error: echo.hicmod: refused by the check root: "), "{text}");
    assert_eq!(code, 3, "a module that is not good");
    assert!(refused("verify --module plain.hicmod --root dev/root.pem", at).contains("check unsigned"));
    let (code, text) = bad("verify --module echo.hicmod --root dev/intermediate.pem", at);
    assert!(text.contains("allows no such chain") && code == 1, "{code} {text}");
}

#[test]
fn time_decides() {
    let at = made();
    let late = refused("verify --module echo.hicmod --root dev/root.pem --at 2099-01-01", at);
    assert!(late.contains("check validity") && late.contains("expired"), "{late}");
    let early = refused("verify --module echo.hicmod --root dev/root.pem --at 2001-01-01T00:00:00Z", at);
    assert!(early.contains("check validity"), "{early}");
    let (code, text) = bad("verify --module echo.hicmod --root dev/root.pem --at tomorrow", at);
    assert!(text.contains("2027-01-15") && code == 2, "{code} {text}");
}

#[test]
fn a_revoked_signer_is_refused_and_an_overdue_list_is_said() {
    let at = made();
    good("ca init --out mine --no-passphrase", at);
    good("key --out mine/a.key.pem --no-passphrase", at);
    for signer in ["a", "b"] {
        good(&format!("ca issue --ca mine --for mine/a.key.pem --out mine/{signer}.pem"), at);
        let sign = format!("sign --module plain.hicmod --key mine/a.key.pem --chain mine/{signer}.pem");
        good(&format!("{sign} --out {signer}.hicmod"), at);
    }
    good("ca revoke --ca mine --certificate mine/a.pem --days 10", at);
    let verify =
        |module: &str| format!("verify --module {module} --root mine/root.pem --revoked mine/revoked.crl");
    assert!(refused(&verify("a.hicmod"), at).contains("check revoked"));
    let text = good(&verify("b.hicmod"), at);
    assert!(!text.contains("overdue"), "{text}");
    let later = (std::time::SystemTime::now() + std::time::Duration::from_secs(20 * 86_400))
        .duration_since(std::time::UNIX_EPOCH);
    let later = hicmod_tool::date(later.unwrap().as_secs());
    let text = good(&format!("{} --at {later}", verify("b.hicmod")), at);
    assert!(text.contains("overdue"), "{text}");
    let (code, text) = bad("verify --module b.hicmod --root mine/root.pem --revoked mine/revoked.pem", at);
    assert!(code == 1 && text.contains("mine/revoked.pem") && text.contains("revoked.crl"), "{code} {text}");
    good("ca refresh --ca mine --days 40", at);
    assert!(!good(&format!("{} --at {later}", verify("b.hicmod")), at).contains("overdue"));
    assert!(refused(&verify("a.hicmod"), at).contains("check revoked"), "still named");
    good("ca revoke --ca mine --certificate mine/intermediate.pem", at);
    assert!(refused(&verify("b.hicmod"), at).contains("certificate of the intermediate was revoked"));
    let text = refused("ca revoke --ca mine --certificate dev/chain.pem", at);
    assert!(text.contains("was not issued by"), "{text}");
}

#[test]
fn a_new_root_is_accepted_by_the_old_one() {
    let at = made();
    good("ca rotate-root --ca other --out next --no-passphrase", at);
    good("ca issue --ca next --for other/signer.pub.pem --out next/chain.pem", at);
    good(
        "sign --module plain.hicmod --key other/signer.key.pem --chain next/chain.pem --out next.hicmod",
        at,
    );
    for root in ["other/root.pem", "next/root.pem"] {
        good(&format!("verify --module next.hicmod --root {root}"), at);
    }
    assert!(refused("verify --module next.hicmod --root dev/root.pem", at).contains("check root"));
    let text = good("inspect next.hicmod", at);
    assert!(text.contains("new root"), "{text}");
    // What the old root signed is not the new one's: it is signed again.
    good(
        "sign --module plain.hicmod --key other/signer.key.pem --chain other/chain.pem --out before.hicmod",
        at,
    );
    assert!(refused("verify --module before.hicmod --root next/root.pem", at).contains("check root"));
}

#[test]
fn a_root_that_can_have_no_successor_is_not_given_one() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    good("ca init --out ca --no-passphrase", at);
    openssl(
        "req -x509 -new -key ca/root.key.pem -subj /CN=old -sha384 -days 30 -addext basicConstraints=critical,CA:TRUE,pathlen:1 \
         -addext keyUsage=critical,keyCertSign,cRLSign -outform DER -out ca/root.der",
        at,
    );
    let said = refused("ca rotate-root --ca ca --out next --no-passphrase", at);
    assert!(said.contains("no successor") && said.contains("hicmod-tool ca init"), "{said}");
    assert!(!at.join("next").exists(), "something was made");
}

#[test]
fn keys_are_private_and_are_never_overwritten() {
    let at = made();
    let mode = |file: &str| std::fs::metadata(at.join(file)).unwrap().permissions().mode() & 0o777;
    for name in ["root", "intermediate", "signer"] {
        assert_eq!(mode(&format!("dev/{name}.key.pem")), 0o600);
    }
    for name in ["root.pem", "root.der", "intermediate.pem", "chain.pem", "signer.pub.pem"] {
        assert_eq!(mode(&format!("dev/{name}")) & 0o444, 0o444 & mode(&format!("dev/{name}")), "{name}");
        assert_eq!(mode(&format!("dev/{name}")) & 0o400, 0o400);
    }
    let before = std::fs::read(at.join("dev/root.key.pem")).unwrap();
    for again in [
        "ca init --out dev --no-passphrase",
        "key --out dev/root.key.pem --no-passphrase",
        "ca rotate-root --ca other --out dev --no-passphrase",
        "ca issue --ca dev --for dev/signer.pub.pem --out dev/root.key.pem",
    ] {
        assert!(refused(again, at).contains("never overwritten"), "{again}");
    }
    assert_eq!(std::fs::read(at.join("dev/root.key.pem")).unwrap(), before);
}

#[test]
fn what_would_end_halfway_begins_with_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let count = |folder: &Path| std::fs::read_dir(folder).unwrap().count();
    // The root's key is elsewhere, as it should be: another one would not fit the certificate that is there.
    good("ca init --out ca --no-passphrase", at);
    std::fs::rename(at.join("ca/root.key.pem"), at.join("safe")).unwrap();
    let files = count(&at.join("ca"));
    assert!(refused("ca init --out ca --no-passphrase", at).contains("never overwritten"));
    assert_eq!(count(&at.join("ca")), files, "something was written");
    std::fs::write(at.join("public"), "another's").unwrap();
    for public in ["public", "key"] {
        let said = refused(&format!("key --out key --public {public} --no-passphrase"), at);
        assert!(said.contains(&format!("{public} exists")) || said.contains("one file"), "{said}");
        assert!(!at.join("key").exists(), "a key without its public part");
    }
}

#[test]
fn an_encrypted_key_opens_with_its_passphrase_alone() {
    let at = made();
    std::fs::write(at.join("pass"), "correct horse\n").unwrap();
    std::fs::write(at.join("wrong"), "battery staple\n").unwrap();
    good("key --out locked.key.pem --passphrase-file pass", at);
    let text = std::fs::read_to_string(at.join("locked.key.pem")).unwrap();
    assert!(text.starts_with("-----BEGIN ENCRYPTED PRIVATE KEY-----"), "{text}");
    good("ca issue --ca dev --for locked.key.pem --passphrase-env SECRET --out locked.pem", at);
    let sign = "sign --module plain.hicmod --key locked.key.pem --chain locked.pem --out locked.hicmod";
    good(&format!("{sign} --passphrase-file pass"), at);
    good("verify --module locked.hicmod --root dev/root.pem", at);
    assert!(
        refused(&format!("{sign} --passphrase-file wrong"), at).contains("does not open: a wrong passphrase")
    );
    assert!(refused(sign, at).contains("--passphrase-file"), "nobody to ask");
    assert!(refused(&format!("{sign} --passphrase-env NOWHERE"), at).contains("NOWHERE"));
    assert!(refused("key --out x.key.pem", at).contains("--no-passphrase"), "no terminal");
    std::fs::write(at.join("short"), "pass\n").unwrap();
    assert!(refused("key --out x.key.pem --passphrase-file short", at).contains("at least 8"));
    assert!(!at.join("x.key.pem").exists());
}

#[test]
fn a_command_that_has_the_key_signs() {
    let at = made();
    let sign = |command: &str, chain: &str| {
        format!("sign --module plain.hicmod --signer '{command}' --chain {chain} --out far.hicmod")
    };
    let openssl = "openssl dgst -sha384 -sign dev/signer.key.pem";
    good(&sign(openssl, "dev/chain.pem"), at);
    good("verify --module far.hicmod --root dev/root.pem", at);
    good(&sign(&format!("{openssl} | openssl base64"), "dev/chain.pem"), at);
    good("verify --module far.hicmod --root dev/root.pem", at);
    // A service that is sent no more than the digest.
    let by_digest = "openssl pkeyutl -sign -inkey dev/signer.key.pem -pkeyopt digest:sha384 -in digest.bin";
    let by_digest = format!(
        "printf %s $HICMOD_SHA384 | sed s/../\\\\\\\\x\\&/g | xargs -0 printf %b > digest.bin; {by_digest}"
    );
    good(&sign(&by_digest, "dev/chain.pem"), at);
    good("verify --module far.hicmod --root dev/root.pem", at);
    std::fs::remove_file(at.join("far.hicmod")).unwrap();
    let foreign = refused(&sign("openssl dgst -sha384 -sign other/signer.key.pem", "dev/chain.pem"), at);
    assert!(foreign.contains("by the key of the signer's certificate"), "{foreign}");
    assert!(refused(&sign("exit 7", "dev/chain.pem"), at).contains("did not sign"));
    assert!(refused(&sign("echo hello", "dev/chain.pem"), at).contains("6 bytes that are no signature"));
    assert!(!at.join("far.hicmod").exists(), "nothing was written");
}

#[test]
fn wrong_files_are_named() {
    let at = made();
    let sign =
        |key, chain| refused(&format!("sign --module plain.hicmod --key {key} --chain {chain} --out x"), at);
    assert!(sign("dev/root.pem", "dev/chain.pem").contains("dev/root.pem: no private key"));
    assert!(sign("dev/signer.key.pem", "dev/root.pem").contains("signer and intermediate"));
    assert!(sign("other/signer.key.pem", "dev/chain.pem").contains("not the key of the first certificate"));
    assert!(sign("nowhere", "dev/chain.pem").contains("nowhere"));
    assert!(refused("ca issue --ca dev --for echo.elf --out x", at).contains("neither a public key"));
    assert!(
        refused("ca issue --ca nowhere --for dev/signer.pub.pem --out x", at).contains("nowhere/root.der")
    );
    let (code, text) = bad("sign --module plain.hicmod --chain dev/chain.pem", at);
    assert!(text.contains("--key") && code == 2, "{code} {text}");
    assert!(!at.join("x").exists());
}

#[test]
fn a_signed_module_is_shown_with_its_signer() {
    let at = made();
    good(
        "sign --module plain.hicmod --key other/signer.key.pem --chain other/chain.pem --out both.hicmod",
        at,
    );
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
