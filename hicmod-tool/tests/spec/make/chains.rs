//! Modules that the wrong people signed, or the right ones at the wrong time.

use hicmod_tool::keys::private;

use super::*;
use crate::common::tool::openssl;

pub(super) fn chains(maker: &mut Maker) {
    let (top, middle, end) = (maker.root.clone(), maker.intermediate.clone(), maker.signer.clone());
    let stranger = root(&key(), 50, |_| ());
    let of_stranger = intermediate(&middle.key, &stranger, 51, |_| ());
    maker.by("signed under another root", &signer(&end.key, &of_stranger, 52, |_| ()), &of_stranger, "root");
    let namesake = root(&stranger.key, 53, |spec| spec.subject = subject(&top.certificate));
    let forged = intermediate(&middle.key, &namesake, 54, |_| ());
    maker.by("an issuer of the same name", &signer(&end.key, &forged, 55, |_| ()), &forged, "chain");
    let elsewhere = intermediate(&stranger.key, &top, 65, |_| ());
    maker.by("a signer of another intermediate", &signer(&end.key, &elsewhere, 56, |_| ()), &middle, "chain");
    let other = Holder { key: stranger.key.clone(), certificate: end.certificate.clone() };
    maker.by("signed with another key", &other, &middle, "signature");
    let past = Validity { from: NOW - 90 * DAY, until: NOW - 1 };
    let coming = Validity { from: NOW + 1, until: NOW + DAY };
    maker.by(
        "a signer that expired",
        &signer(&end.key, &middle, 57, |spec| spec.validity = past),
        &middle,
        "validity",
    );
    maker.by(
        "a signer of tomorrow",
        &signer(&end.key, &middle, 58, |spec| spec.validity = coming),
        &middle,
        "validity",
    );
    let old = intermediate(&middle.key, &top, 59, |spec| spec.validity = past);
    maker.by("an intermediate that expired", &end, &old, "validity");
    maker.of("a time before everything", "plain.hicmod", "validity").now = Some(VALID.from - 1);
    maker.of("a time after everything", "plain.hicmod", "validity").now = Some(VALID.until + 1);
    maker.of("the last second", "plain.hicmod", "good").now = Some(VALID.until);
    let authority =
        signer(&end.key, &middle, 60, |spec| spec.constraints = Constraints::Authority { path: 0 });
    maker.by("a signer that is an authority", &authority, &middle, "chain");
    let none = intermediate(&middle.key, &top, 61, |spec| spec.constraints = Constraints::None);
    maker.by("an intermediate that is no authority", &end, &none, "chain");
    let plain = signer(&end.key, &middle, 62, |spec| spec.code_signing = false);
    maker.by("a signer that may not sign code", &plain, &middle, "key-usage");
    let usage = signer(&end.key, &middle, 63, |spec| {
        spec.usage = x509_cert::ext::pkix::KeyUsages::KeyEncipherment.into()
    });
    maker.by("a signer that may not sign", &usage, &middle, "key-usage");
    let usage = intermediate(&middle.key, &top, 64, |spec| {
        spec.usage = x509_cert::ext::pkix::KeyUsages::CRLSign.into()
    });
    maker.by("an intermediate that may not issue", &end, &usage, "key-usage");
    let module = unsigned(&encoded(&least()), &image());
    maker.file("signed in the future", &sign(&module, &end, &middle, None, NOW + 3601), "timestamp");
    maker.file("signed within the hour", &sign(&module, &end, &middle, None, NOW + 3600), "good");
    maker.file(
        "signed before its certificate",
        &sign(&module, &end, &middle, None, VALID.from - 1),
        "timestamp",
    );
}

fn subject(certificate: &[u8]) -> String {
    use x509_cert::der::Decode;
    x509_cert::Certificate::from_der(certificate).expect("a certificate").tbs_certificate.subject.to_string()
}

pub(super) fn rotated(maker: &mut Maker) {
    let (top, end) = (maker.root.clone(), maker.signer.clone());
    let new = root(&key(), 70, |_| ());
    maker.write("new-root.der", &new.certificate);
    let middle = intermediate(&maker.intermediate.key.clone(), &new, 71, |_| ());
    let last = signer(&end.key, &middle, 72, |_| ());
    let cross = |by: &Holder, change: fn(&mut CertificateSpec)| {
        let spec = CertificateSpec::cross(&new.certificate, VALID, vec![73]).expect("a spec");
        certified(&new.key, Some(by), spec, change)
    };
    let module = unsigned(&encoded(&least()), &image());
    let accepted = cross(&top, |_| ());
    maker.file("a new root", &sign(&module, &last, &middle, Some(&accepted), NOW), "good");
    maker.of("a new root that is trusted itself", "a-new-root.hicmod", "good").root =
        Some("new-root.der".to_owned());
    maker.file("a new root without acceptance", &sign(&module, &last, &middle, None, NOW), "root");
    let by_stranger = cross(&root(&key(), 74, |_| ()), |_| ());
    maker.file(
        "a new root accepted by a stranger",
        &sign(&module, &last, &middle, Some(&by_stranger), NOW),
        "root",
    );
    let short = cross(&top, |spec| spec.constraints = Constraints::Authority { path: 0 });
    maker.file("an acceptance without room", &sign(&module, &last, &middle, Some(&short), NOW), "chain");
    let over = cross(&top, |spec| spec.validity.until = NOW - 1);
    maker.file("an acceptance that expired", &sign(&module, &last, &middle, Some(&over), NOW), "validity");
    let shallow = root(&top.key, 75, |spec| spec.constraints = Constraints::Authority { path: 1 });
    maker.write("shallow-root.der", &shallow.certificate);
    maker.of("a root without room for a successor", "a-new-root.hicmod", "chain").root =
        Some("shallow-root.der".to_owned());
    let dates = ListDates { now: NOW, next: NOW + DAY };
    let lists = revoke(&[], &accepted.certificate, top.as_issuer(), dates, &mut OsRng).expect("a list");
    maker.write("taken-back.crl", &lists);
    maker.of("an acceptance that was taken back", "a-new-root.hicmod", "revoked").revoked =
        Some("taken-back.crl".to_owned());
}

pub(super) fn revoked(maker: &mut Maker) {
    let (top, middle, end) = (maker.root.clone(), maker.intermediate.clone(), maker.signer.clone());
    let dates = ListDates { now: NOW - 9 * DAY, next: NOW - 8 * DAY };
    let list = |certificate: &[u8], by: &Holder| {
        revoke(&[], certificate, by.as_issuer(), dates, &mut OsRng).expect("a list")
    };
    let colleague = signer(&end.key, &middle, 80, |_| ());
    let mut lists = vec![
        ("nobody.crl", Vec::new(), "good"),
        ("colleague.crl", list(&colleague.certificate, &middle), "good"),
        ("signer.crl", list(&end.certificate, &middle), "revoked"),
        ("intermediate.crl", list(&middle.certificate, &top), "revoked"),
    ];
    let both = [lists[1].1.clone(), lists[3].1.clone()].concat();
    lists.push(("both.crl", both, "revoked"));
    let mut forged = lists[1].1.clone();
    *forged.last_mut().expect("a byte") ^= 1;
    lists.push(("forged.crl", forged, "revocation-list"));
    lists.push(("cut.crl", lists[1].1[..100].to_vec(), "revocation-list"));
    lists.push(("text.crl", b"no list".to_vec(), "revocation-list"));
    for (file, bytes, expect) in lists {
        maker.write(file, &bytes);
        maker.of(&format!("with the list {file}"), "plain.hicmod", expect).revoked = Some(file.to_owned());
    }
}

/// Certificates that our tool does not make: other algorithms, extensions, names.
pub(super) fn by_openssl(maker: &mut Maker) {
    let at = maker.scratch.path().to_owned();
    private::write(&at.join("root.key"), &maker.root.key, None).expect("written");
    private::write(&at.join("middle.key"), &maker.intermediate.key, None).expect("written");
    private::write(&at.join("end.key"), &maker.signer.key, None).expect("written");
    std::fs::write(at.join("root.der"), &maker.root.certificate).expect("written");
    std::fs::write(at.join("middle.der"), &maker.intermediate.certificate).expect("written");
    for name in ["root", "middle"] {
        openssl(&format!("x509 -inform DER -in {name}.der -out {name}.pem"), &at);
    }
    openssl("genrsa -out small.key 2048", &at);
    let end = "basicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature\nextendedKeyUsage=critical,codeSigning\n";
    let ca = "basicConstraints=critical,CA:TRUE,pathlen:0\nkeyUsage=critical,keyCertSign,cRLSign\n";
    let issued = |key: &str, by: &str, subject: &str, hash: &str, extensions: &str| {
        std::fs::write(at.join("extensions"), extensions).expect("written");
        openssl(&format!("req -new -key {key}.key -subj '{subject}' -out request"), &at);
        openssl(
            &format!(
                "x509 -req -in request -CA {by}.pem -CAkey {by}.key -set_serial {} -days 36000 -{hash} -extfile extensions -outform DER -out out.der",
                900 + extensions.len()
            ),
            &at,
        );
        std::fs::read(at.join("out.der")).expect("made")
    };
    let middle = maker.intermediate.clone();
    let mut ends = vec![
        ("openssl signer", issued("end", "middle", "/CN=by openssl", "sha384", end), "good"),
        ("openssl signer with SHA-256", issued("end", "middle", "/CN=x", "sha256", end), "algorithm"),
        ("openssl signer with a small key", issued("small", "middle", "/CN=x", "sha384", end), "key-size"),
        ("openssl signer without a name", issued("end", "middle", "/", "sha384", end), "certificate"),
    ];
    let unknown = format!("{end}1.2.3.4=critical,ASN1:UTF8String:what");
    ends.push((
        "openssl signer with an unknown critical extension",
        issued("end", "middle", "/CN=x", "sha384", &unknown),
        "certificate",
    ));
    let unknown = format!("{end}1.2.3.4=ASN1:UTF8String:what");
    ends.push((
        "openssl signer with an unknown extension",
        issued("end", "middle", "/CN=x", "sha384", &unknown),
        "good",
    ));
    for (name, certificate, expect) in ends {
        maker.by(name, &Holder { key: maker.signer.key.clone(), certificate }, &middle, expect);
    }
    for (name, uses, expect) in [("web servers", "serverAuth", "key-usage"), ("code", "codeSigning", "good")]
    {
        let certificate = issued(
            "middle",
            "root",
            "/CN=openssl intermediate",
            "sha384",
            &format!("{ca}extendedKeyUsage={uses}\n"),
        );
        let holder = Holder { key: middle.key.clone(), certificate };
        let last = signer(&maker.signer.key.clone(), &holder, 90, |_| ());
        maker.by(&format!("openssl intermediate for {name}"), &last, &holder, expect);
    }
}
