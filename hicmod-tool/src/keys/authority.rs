//! A folder with a root and an intermediate: who may sign modules, and who may no longer.
//!
//! ```text
//!   root.key.pem  root.pem  root.der                            the root
//!   intermediate.key.pem  intermediate.pem  intermediate.der    issued by it, issues signers
//!   cross.pem  cross.der                                        the root as its predecessor accepts it, if it has one
//!   revoked.crl  revoked.pem                                    both revocation lists: for the guest, for other tools
//! ```

use std::path::{Path, PathBuf};

use hic_hicmod::sign::{
    CertificateSpec, IssuerKey, KEY_BITS, ListDates, RsaPrivateKey, RsaPublicKey, SignError, generate_key,
    refresh,
};
use rsa::pkcs8::DecodePublicKey;
use rsa::rand_core::OsRng;
use rsa::traits::PublicKeyParts;
use rsa::{Pkcs1v15Sign, pkcs8::LineEnding};
use sha2::{Digest, Sha256, Sha384};
use x509_cert::der::asn1::ObjectIdentifier;
use x509_cert::der::pem::encode_string;
use x509_cert::der::referenced::OwnedToRef;
use x509_cert::der::{Decode, DecodePem, Encode, Reader, SliceReader};
use x509_cert::request::CertReq;

use super::private::{self, Ask, Passphrase};
use super::{INTERMEDIATE_KEY, KeyError, ROOT_KEY, files, issue, pem, serial, validity};

/// The public exponent of every key.
const EXPONENT: u32 = 65_537;
/// An intermediate lives as long as so many signers.
const INTERMEDIATE_LIVES: u64 = 3;
/// A root lives as long as so many signers.
const ROOT_LIVES: u64 = 10;
/// Revocation lists of both issuers, DER, one behind the other: what the guest reads.
pub const LISTS_DER: &str = "revoked.crl";
/// The same as PEM: what other tools read.
pub const LISTS_PEM: &str = "revoked.pem";
/// What an authority consists of. Where one of them is, none is made.
const FILES: [&str; 9] = [
    ROOT_KEY,
    "root.pem",
    "root.der",
    INTERMEDIATE_KEY,
    "intermediate.pem",
    "intermediate.der",
    "cross.pem",
    "cross.der",
    LISTS_DER,
];
/// `sha256WithRSAEncryption` and `sha384WithRSAEncryption` (RFC 4055, 5): what requests are signed with.
const SHA256_WITH_RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.11");
const SHA384_WITH_RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.12");

/// What a new authority shall be.
#[derive(Debug, Clone, Copy)]
pub struct AuthorityOptions {
    /// For development: systems that trust it say so.
    pub development: bool,
    /// Days for which its signers will be valid; the intermediate is three times, the root ten times as long.
    pub days: u32,
    /// The time, seconds since 1970, UTC.
    pub now: u64,
}

/// Whoever is asked for the passphrase of a new key, by the name of its file; `None`: it is not encrypted.
pub type AskNew<'a> = &'a mut dyn FnMut(&Path) -> Result<Option<Passphrase>, KeyError>;

/// Whom a certificate is for.
#[derive(Debug, Clone)]
pub struct Subject(RsaPublicKey);

impl Subject {
    /// The holder of `key`.
    #[must_use]
    pub fn of_key(key: &RsaPrivateKey) -> Self {
        Self(key.to_public_key())
    }

    /// Whoever the file `path` names: a public key, a request (PKCS#10) by the holder of the key, or a private key.
    ///
    /// # Errors
    /// [`KeyError::NoSubject`], [`KeyError::Request`], and as [`private::read`].
    pub fn read(path: &Path, ask: Ask<'_>) -> Result<Self, KeyError> {
        let bytes = files::read(path)?;
        let no_subject = || KeyError::NoSubject(path.to_owned());
        let text = std::str::from_utf8(&bytes).map_err(|_| no_subject())?;
        if text.contains("PRIVATE KEY-----") {
            return private::read(path, ask).map(|key| Self::of_key(&key));
        }
        if text.contains("CERTIFICATE REQUEST-----") {
            return request_key(text).map(Self).ok_or_else(|| KeyError::Request(path.to_owned()));
        }
        RsaPublicKey::from_public_key_pem(text).map(Self).map_err(|_| no_subject())
    }
}

/// The key that a request names, if the request is signed by it (RFC 2986, 4.2).
fn request_key(text: &str) -> Option<RsaPublicKey> {
    let request = CertReq::from_pem(text).ok()?;
    let key = RsaPublicKey::try_from(request.info.public_key.owned_to_ref()).ok()?;
    let (signed, signature) = (request.info.to_der().ok()?, request.signature.as_bytes()?);
    let verified = match request.algorithm.oid {
        SHA384_WITH_RSA => key.verify(Pkcs1v15Sign::new::<Sha384>(), &Sha384::digest(signed), signature),
        SHA256_WITH_RSA => key.verify(Pkcs1v15Sign::new::<Sha256>(), &Sha256::digest(signed), signature),
        _ => return None,
    };
    verified.ok().map(|()| key)
}

/// A root and an intermediate in a folder.
pub struct Authority {
    folder: PathBuf,
    root: Vec<u8>,
    intermediate: Vec<u8>,
    cross: Option<Vec<u8>>,
    keys: Keys,
}

/// The private keys that are there: each is read when it is used.
#[derive(Default)]
struct Keys {
    root: Option<RsaPrivateKey>,
    intermediate: Option<RsaPrivateKey>,
}

impl Authority {
    /// Makes one in `folder`, which is made if it is not there.
    ///
    /// # Errors
    /// [`KeyError`]; nothing that exists is overwritten.
    pub fn create(folder: &Path, options: AuthorityOptions, ask: AskNew<'_>) -> Result<Self, KeyError> {
        // All at once: a key that was moved away leaves its certificate, and another one beside that would belong to nothing.
        if let Some(path) = FILES.iter().map(|name| folder.join(name)).find(|path| path.exists()) {
            return Err(KeyError::Exists(path));
        }
        std::fs::create_dir_all(folder).map_err(|error| KeyError::File(folder.to_owned(), error))?;
        let AuthorityOptions { development, days, now } = options;
        let valid = |lives: u64| validity(now, u64::from(days) * lives);

        let root_key = Self::new_key(folder, ROOT_KEY, ask)?;
        let public = root_key.to_public_key();
        let spec = CertificateSpec::root(&public, development, valid(ROOT_LIVES), serial())?;
        let root = issue(&spec, &public, IssuerKey { certificate: None, key: &root_key })?;
        files::write_certificate(folder, "root", &root)?;

        let key = Self::new_key(folder, INTERMEDIATE_KEY, ask)?;
        let public = key.to_public_key();
        let spec = CertificateSpec::intermediate(&public, development, valid(INTERMEDIATE_LIVES), serial())?;
        let intermediate = issue(&spec, &public, IssuerKey { certificate: Some(&root), key: &root_key })?;
        files::write_certificate(folder, "intermediate", &intermediate)?;

        let keys = Keys { root: Some(root_key), intermediate: Some(key) };
        Ok(Self { folder: folder.to_owned(), root, intermediate, cross: None, keys })
    }

    fn new_key(folder: &Path, name: &str, ask: AskNew<'_>) -> Result<RsaPrivateKey, KeyError> {
        let path = folder.join(name);
        if path.exists() {
            return Err(KeyError::Exists(path));
        }
        let passphrase = ask(&path)?;
        let key = generate_key(&mut OsRng)?;
        private::write(&path, &key, passphrase.as_ref())?;
        Ok(key)
    }

    /// Opens the one in `folder`. Its private keys need not be there: they are read by what needs them.
    ///
    /// # Errors
    /// [`KeyError::File`], [`KeyError::Certificates`].
    pub fn open(folder: &Path) -> Result<Self, KeyError> {
        let certificate = |name: &str| files::read_certificate(&folder.join(name));
        let cross = folder.join("cross.der");
        let cross = if cross.exists() { Some(files::read_certificate(&cross)?) } else { None };
        let (root, intermediate) = (certificate("root.der")?, certificate("intermediate.der")?);
        Ok(Self { folder: folder.to_owned(), root, intermediate, cross, keys: Keys::default() })
    }

    /// Reads the private key of the root, or of the intermediate.
    ///
    /// # Errors
    /// As [`private::read`].
    pub fn unlock(&mut self, who: Issuer, ask: Ask<'_>) -> Result<(), KeyError> {
        let (name, place) = match who {
            Issuer::Root => (ROOT_KEY, &mut self.keys.root),
            Issuer::Intermediate => (INTERMEDIATE_KEY, &mut self.keys.intermediate),
        };
        *place = Some(private::read(&self.folder.join(name), ask)?);
        Ok(())
    }

    /// A signer's certificate, DER, for `subject`, valid for `days`, by the unlocked intermediate.
    ///
    /// # Errors
    /// [`KeyError::Sign`].
    pub fn issue(&self, subject: &Subject, days: u32, now: u64) -> Result<Vec<u8>, KeyError> {
        let Subject(public) = subject;
        if public.size() * 8 != KEY_BITS || *public.e() != EXPONENT.into() {
            return Err(SignError::Key.into());
        }
        let development = self.is_development();
        let spec = CertificateSpec::signer(public, development, validity(now, days.into()), serial())?;
        issue(&spec, public, self.issuer(Issuer::Intermediate)?)
    }

    /// What travels with a module that `signer` (DER) signs, PEM.
    ///
    /// # Errors
    /// [`KeyError::Pem`].
    pub fn chain(&self, signer: &[u8]) -> Result<String, KeyError> {
        let cross = self.cross.as_deref().map_or_else(|| Ok(String::new()), pem)?;
        Ok(pem(signer)? + &pem(&self.intermediate)? + &cross)
    }

    /// Who of the two issued `certificate`, DER.
    #[must_use]
    pub fn issuer_of(&self, certificate: &[u8]) -> Option<Issuer> {
        let parse = |bytes: &[u8]| Some(x509_cert::Certificate::from_der(bytes).ok()?.tbs_certificate);
        let name = parse(certificate)?.issuer;
        let is = |issuer: &[u8]| parse(issuer).is_some_and(|issuer| issuer.subject == name);
        match (is(&self.intermediate), is(&self.root)) {
            (true, _) => Some(Issuer::Intermediate),
            (_, true) => Some(Issuer::Root),
            _ => None,
        }
    }

    /// The list of the unlocked issuer `who` signed anew, with `certificate` (DER) added if there is one.
    ///
    /// # Errors
    /// [`KeyError`]; the files are as before.
    pub fn update_list(
        &self,
        who: Issuer,
        certificate: Option<&[u8]>,
        dates: ListDates,
    ) -> Result<(), KeyError> {
        let path = self.folder.join(LISTS_DER);
        let lists = if path.exists() { files::read(&path)? } else { Vec::new() };
        let issuer = self.issuer(who)?;
        let lists = match certificate {
            Some(certificate) => hic_hicmod::sign::revoke(&lists, certificate, issuer, dates, &mut OsRng)?,
            None => refresh(&lists, issuer, dates, &mut OsRng)?,
        };
        files::replace(&path, &lists)?;
        files::replace(&self.folder.join(LISTS_PEM), lists_pem(&lists).ok_or(KeyError::Pem)?.as_bytes())
    }

    /// Makes a new authority in `folder` whose root this one's unlocked root accepts: it gets `cross.pem`, valid as long as this root.
    ///
    /// # Errors
    /// [`KeyError::NoSuccessor`]: its certificate leaves no room for one. [`KeyError`]; nothing that exists is overwritten.
    pub fn rotate(
        &self,
        folder: &Path,
        options: AuthorityOptions,
        ask: AskNew<'_>,
    ) -> Result<Self, KeyError> {
        if !self.may_be_succeeded() {
            return Err(KeyError::NoSuccessor(self.folder.join("root.der")));
        }
        let old = self.issuer(Issuer::Root)?;
        let mut new = Self::create(folder, options, ask)?;
        let public = new.issuer(Issuer::Root)?.key.to_public_key();
        let mut valid = validity(options.now, 0);
        valid.until = super::valid_until(&self.root).unwrap_or(valid.until);
        let cross = issue(&CertificateSpec::cross(&new.root, valid, serial())?, &public, old)?;
        files::write_certificate(folder, "cross", &cross)?;
        new.cross = Some(cross);
        Ok(new)
    }

    /// Whether its root may accept another one as its successor.
    #[must_use]
    pub fn may_be_succeeded(&self) -> bool {
        hic_hicmod::TrustRoot::parse(&self.root).is_ok_and(|root| root.may_be_succeeded())
    }

    /// Whether its root is one for development.
    #[must_use]
    pub fn is_development(&self) -> bool {
        hic_hicmod::TrustRoot::parse(&self.root).is_ok_and(|root| root.is_development())
    }

    fn issuer(&self, who: Issuer) -> Result<IssuerKey<'_>, KeyError> {
        let (name, certificate, key) = match who {
            Issuer::Root => (ROOT_KEY, &self.root, &self.keys.root),
            Issuer::Intermediate => (INTERMEDIATE_KEY, &self.intermediate, &self.keys.intermediate),
        };
        let key = key.as_ref().ok_or_else(|| KeyError::NoKey(self.folder.join(name)))?;
        Ok(IssuerKey { certificate: Some(certificate), key })
    }
}

/// Root or intermediate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Issuer {
    /// Issues intermediates, and accepts a new root.
    Root,
    /// Issues signers.
    Intermediate,
}

/// Lists, DER, one behind the other, as PEM; `None` if they are none.
fn lists_pem(lists: &[u8]) -> Option<String> {
    let mut reader = SliceReader::new(lists).ok()?;
    let mut text = String::new();
    while !reader.is_finished() {
        text += &encode_string("X509 CRL", LineEnding::LF, reader.tlv_bytes().ok()?).ok()?;
    }
    Some(text)
}
