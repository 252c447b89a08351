//! What a signature section says, as data, and whether two modules differ in more than it. Nothing here verifies.

use hic_hicmod::Container;
use hic_hicmod::container::SectionKind;
use hic_hicmod::signature::{SignatureBlock, content_digest};
use serde::Serialize;
use x509_cert::der::{DateTime, Decode};

/// What the signature section of a module says. Believe it only after `verify`.
#[derive(Debug, Serialize)]
pub struct SignatureReport {
    /// When it was signed.
    pub signed_at: String,
    /// SHA-384 of the content as the signer states it, hex digits.
    pub digest: String,
    /// Whether the content has this digest.
    pub digest_fits: bool,
    /// The signer's certificate.
    pub signer: CertificateReport,
    /// The certificate of its issuer.
    pub intermediate: CertificateReport,
    /// The certificate of a new root by the old one, if there is one.
    pub cross: Option<CertificateReport>,
}

/// What a certificate says.
#[derive(Debug, Serialize)]
pub struct CertificateReport {
    /// Whose it is.
    pub subject: String,
    /// Who issued it.
    pub issuer: String,
    /// Its serial number, hex digits.
    pub serial: String,
    /// When it becomes valid.
    pub valid_from: String,
    /// When it expires.
    pub valid_until: String,
}

/// The report on the signature of `container`; `None` if it has none that can be read.
pub(crate) fn report(container: &Container<'_>) -> Option<SignatureReport> {
    let block = SignatureBlock::find(container).ok()?;
    Some(SignatureReport {
        signed_at: date(block.signed_at),
        digest: hex(&block.digest),
        digest_fits: content_digest(container).is_ok_and(|digest| digest == block.digest),
        signer: certificate_report(block.signer)?,
        intermediate: certificate_report(block.intermediate)?,
        cross: block.cross.and_then(certificate_report),
    })
}

/// What the certificate in `bytes`, DER, says; `None` if it is none.
#[must_use]
pub fn certificate_report(bytes: &[u8]) -> Option<CertificateReport> {
    let fields = x509_cert::Certificate::from_der(bytes).ok()?.tbs_certificate;
    let valid = fields.validity;
    Some(CertificateReport {
        subject: fields.subject.to_string(),
        issuer: fields.issuer.to_string(),
        serial: hex(fields.serial_number.as_bytes()),
        valid_from: date(valid.not_before.to_unix_duration().as_secs()),
        valid_until: date(valid.not_after.to_unix_duration().as_secs()),
    })
}

/// Seconds since 1970 as `2027-01-15T08:00:00Z`.
#[must_use]
pub fn date(seconds: u64) -> String {
    let since = std::time::Duration::from_secs(seconds);
    DateTime::from_unix_duration(since)
        .map_or_else(|_| format!("{seconds} s after 1970"), |date| date.to_string())
}

/// The seconds since 1970 of `2027-01-15` (its first second) or `2027-01-15T08:00:00Z`.
pub fn parse_date(text: &str) -> Result<u64, String> {
    let full = if text.len() == "2027-01-15".len() { format!("{text}T00:00:00Z") } else { text.to_owned() };
    let date: Result<DateTime, _> = full.parse();
    date.map(|date| date.unix_duration().as_secs())
        .map_err(|_| "write a date as 2027-01-15 or 2027-01-15T08:00:00Z (UTC, 1970 or later)".to_owned())
}

/// Two hex digits for each byte.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Whether `signed` is `module` with a signature by the holder of `certificate` (DER): then there is no need to sign
/// again.
#[must_use]
pub fn is_signed_form_of(signed: &[u8], module: &[u8], certificate: &[u8]) -> bool {
    let (Ok(signed), Ok(module)) = (Container::parse(signed), Container::parse(module)) else { return false };
    let by_same = SignatureBlock::find(&signed).is_ok_and(|block| block.signer == certificate);
    let content = |container: &Container<'_>| -> Vec<(u16, Vec<u8>)> {
        let sections = container.sections().filter(|section| section.kind != SectionKind::Signature);
        sections.map(|section| (section.kind.code(), section.bytes.to_vec())).collect()
    };
    by_same && content(&signed) == content(&module)
}
