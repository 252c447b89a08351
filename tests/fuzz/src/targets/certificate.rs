//! Certificates and revocation lists.

use hic_hicmod::verify::{MAX_LISTS, RevocationList, TrustRoot};
use hicmod_tool::certificate_report;

use super::assert_sentence;

/// Tries the bytes as a certificate and as revocation lists.
pub fn run(bytes: &[u8]) {
    match TrustRoot::parse(bytes) {
        Ok(root) => {
            assert_name(root.name());
            assert!(TrustRoot::parse(&bytes[..bytes.len() - 1]).is_err(), "a certificate that is cut off");
            assert!(TrustRoot::parse(&[bytes, &[0]].concat()).is_err(), "a certificate with a byte more");
            assert!(certificate_report(bytes).is_some(), "believed, but the tool cannot show it");
        }
        Err(error) => assert_sentence(&error, 400),
    }
    match RevocationList::parse(bytes) {
        Ok(lists) => {
            assert!(lists.len() <= MAX_LISTS);
            assert_eq!(lists.is_empty(), bytes.is_empty());
            assert_eq!(lists.overdue_since(0), None);
            assert!(
                bytes.is_empty() || RevocationList::parse(&bytes[..bytes.len() - 1]).is_err(),
                "lists that are cut off"
            );
        }
        Err(error) => assert_sentence(&error, 400),
    }
    if let Some(report) = certificate_report(bytes) {
        serde_json::to_string(&report).expect("a report is a document");
    }
}

/// A name that may go to a console.
pub fn assert_name(name: &str) {
    assert!(name.len() <= 64 && name.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{name:?}");
}
