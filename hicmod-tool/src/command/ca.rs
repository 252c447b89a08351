//! `ca`: who may sign modules, who may no longer, and the step from one root to the next.

use std::path::{Path, PathBuf};

use hic_hicmod::sign::ListDates;
use hicmod_tool::keys::authority::{Authority, AuthorityOptions, Issuer, LISTS_DER, LISTS_PEM, Subject};
use hicmod_tool::keys::{KeyError, Passphrase, read_certificates};

use crate::failure::Failure;
use crate::files::now;
use crate::output::say;
use crate::passphrase::{Protection, Unlock};
use crate::progress::Busy;

/// Issue and revoke certificates of signers: a root and an intermediate in a folder.
#[derive(clap::Subcommand)]
pub enum Command {
    Init(Init),
    Issue(Issue),
    Revoke(Revoke),
    Refresh(Refresh),
    RotateRoot(RotateRoot),
}

/// Make a root and an intermediate: RSA-3072 keys and X.509 certificates.
///
/// Writes NAME.key.pem (PKCS#8, encrypted, readable by you alone), NAME.pem and NAME.der for both. Overwrites nothing. Keep root.key.pem
/// on a machine without a network: it is needed to revoke the intermediate and to accept a new root, and for nothing else. Systems that
/// shall trust the modules of your signers get root.der into their boot archive.
#[derive(clap::Args)]
pub struct Init {
    /// The folder to write to.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    #[command(flatten)]
    life: Life,
    #[command(flatten)]
    protection: Protection,
}

/// What `init` and `rotate-root` share.
#[derive(clap::Args)]
struct Life {
    /// Mark it as one for development: systems that trust it say so.
    #[arg(long)]
    development: bool,
    /// Days for which signers will be valid; the intermediate is three times, the root ten times as long.
    #[arg(long, default_value_t = 365, value_parser = clap::value_parser!(u32).range(1..=3650))]
    days: u32,
}

/// Issue the certificate of a signer, by the intermediate.
///
/// Writes one file with all that travels with a module: the certificates of signer and intermediate, and of the root by its predecessor
/// if it has one. `sign --chain` takes it.
#[derive(clap::Args)]
pub struct Issue {
    /// The folder of the authority.
    #[arg(long, value_name = "DIR")]
    ca: PathBuf,
    /// Whom it is for: a public key, a request (PKCS#10), or a private key, PEM.
    #[arg(long = "for", value_name = "FILE")]
    subject: PathBuf,
    /// Where to write the certificates, PEM.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Days for which it is valid.
    #[arg(long, default_value_t = 365, value_parser = clap::value_parser!(u32).range(1..=3650))]
    days: u32,
    #[command(flatten)]
    unlock: Unlock,
}

/// Revoke a certificate: put it on the X.509 revocation list of its issuer, root or intermediate.
///
/// The lists are in revoked.crl (for a boot archive, as `revoked`) and revoked.pem (the same for other tools). What a list names stays
/// revoked, however old the list is.
#[derive(clap::Args)]
pub struct Revoke {
    /// The folder of the authority.
    #[arg(long, value_name = "DIR")]
    ca: PathBuf,
    /// The certificate that is no longer to be believed; of several in a file, the first.
    #[arg(long, value_name = "FILE")]
    certificate: PathBuf,
    #[command(flatten)]
    next: Next,
    #[command(flatten)]
    unlock: Unlock,
}

/// Sign the revocation lists of root and intermediate anew, before they are due.
#[derive(clap::Args)]
pub struct Refresh {
    /// The folder of the authority.
    #[arg(long, value_name = "DIR")]
    ca: PathBuf,
    /// Only the list of the intermediate: the key of the root is elsewhere.
    #[arg(long)]
    without_root: bool,
    #[command(flatten)]
    next: Next,
    #[command(flatten)]
    unlock: Unlock,
}

/// When a list is due.
#[derive(clap::Args)]
struct Next {
    /// Days until a newer list is promised. A system goes on with a list that is overdue, and says so.
    #[arg(long, default_value_t = 90, value_parser = clap::value_parser!(u32).range(1..=3650))]
    days: u32,
}

/// Make a new authority whose root the old one accepts.
///
/// Systems that trust the old root believe modules of the new one, since their chain carries a certificate of the new root by the old
/// (cross.pem). Systems that are made with the new root no longer need the old one. A root that is known to others cannot be
/// replaced in this way: whoever has it could accept a root, too. Nor can one whose certificate leaves no room for a successor (a
/// path length below 2). Then make a new one with `init` and new systems with it.
#[derive(clap::Args)]
pub struct RotateRoot {
    /// The folder of the old authority, with the key of its root.
    #[arg(long, value_name = "DIR")]
    ca: PathBuf,
    /// The folder of the new one.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    #[command(flatten)]
    life: Life,
    #[command(flatten)]
    protection: Protection,
    /// The file whose first line is the passphrase of the old root's key; without it, that of the new keys.
    #[arg(long, value_name = "FILE", help_heading = "Passphrase")]
    old_passphrase_file: Option<PathBuf>,
}

pub fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::Init(arguments) => init(arguments),
        Command::Issue(arguments) => issue(arguments),
        Command::Revoke(arguments) => revoke(arguments),
        Command::Refresh(arguments) => refresh(arguments),
        Command::RotateRoot(arguments) => rotate_root(arguments),
    }
    .map_err(|problem| match problem {
        Problem::Key(error) => Failure::new(error),
        Problem::Failure(failure) => failure,
    })
}

/// A problem with keys, or another one.
enum Problem {
    Key(KeyError),
    Failure(Failure),
}

impl From<KeyError> for Problem {
    fn from(error: KeyError) -> Self {
        Self::Key(error)
    }
}

impl From<Failure> for Problem {
    fn from(failure: Failure) -> Self {
        Self::Failure(failure)
    }
}

impl Life {
    fn options(&self) -> Result<AuthorityOptions, Failure> {
        Ok(AuthorityOptions { development: self.development, days: self.days, now: now()? })
    }
}

impl Next {
    fn dates(&self) -> Result<ListDates, Failure> {
        let now = now()?;
        Ok(ListDates { now, next: now + u64::from(self.days) * 86_400 })
    }
}

/// Asks once for all keys that are made together.
fn once(protection: &Protection, busy: &Busy) -> impl FnMut(&Path) -> Result<Option<Passphrase>, KeyError> {
    let mut known: Option<Option<Passphrase>> = None;
    move |path| {
        if known.is_none() {
            known = Some(busy.suspend(|| protection.ask(path))?);
        }
        Ok(known.clone().flatten())
    }
}

fn init(arguments: Init) -> Result<(), Problem> {
    let Init { out, life, protection } = arguments;
    let busy = Busy::new("making two RSA-3072 keys");
    Authority::create(&out, life.options()?, &mut once(&protection, &busy))?;
    drop(busy);
    say!("root and intermediate made in {}", out.display())?;
    Ok(())
}

fn issue(arguments: Issue) -> Result<(), Problem> {
    let Issue { ca, subject, out, days, unlock } = arguments;
    let mut ask = |path: &Path| unlock.ask(path);
    let subject = Subject::read(&subject, &mut ask)?;
    let mut authority = Authority::open(&ca)?;
    authority.unlock(Issuer::Intermediate, &mut ask)?;
    let signer = authority.issue(&subject, days, now()?)?;
    let chain = authority.chain(&signer)?;
    hicmod_tool::keys::write_chain(&out, &chain)?;
    say!("certificate of a signer for {days} days, with its chain, in {}", out.display())?;
    Ok(())
}

fn revoke(arguments: Revoke) -> Result<(), Problem> {
    let Revoke { ca, certificate: path, next, unlock } = arguments;
    let mut authority = Authority::open(&ca)?;
    let certificates = read_certificates(&path)?;
    let certificate = certificates.first().map(Vec::as_slice).unwrap_or_default();
    let issuer = authority.issuer_of(certificate).ok_or_else(|| KeyError::NotIssuedHere(path.clone()))?;
    authority.unlock(issuer, &mut |path| unlock.ask(path))?;
    authority.update_list(issuer, Some(certificate), next.dates()?)?;
    say_lists(&ca)
}

fn refresh(arguments: Refresh) -> Result<(), Problem> {
    let Refresh { ca, without_root, next, unlock } = arguments;
    let mut authority = Authority::open(&ca)?;
    let issuers = [(Issuer::Intermediate, true), (Issuer::Root, !without_root)];
    for (issuer, _) in issuers.into_iter().filter(|(_, wanted)| *wanted) {
        authority.unlock(issuer, &mut |path| unlock.ask(path))?;
        authority.update_list(issuer, None, next.dates()?)?;
    }
    say_lists(&ca)
}

fn say_lists(ca: &Path) -> Result<(), Problem> {
    say!("revocation lists in {} and {}", ca.join(LISTS_DER).display(), ca.join(LISTS_PEM).display())?;
    Ok(())
}

fn rotate_root(arguments: RotateRoot) -> Result<(), Problem> {
    let RotateRoot { ca, out, life, protection, old_passphrase_file } = arguments;
    let mut old = Authority::open(&ca)?;
    let unlock = old_passphrase_file.map_or_else(|| protection.unlock().clone(), Unlock::by_file);
    old.unlock(Issuer::Root, &mut |path| unlock.ask(path))?;
    let busy = Busy::new("making two RSA-3072 keys");
    old.rotate(&out, life.options()?, &mut once(&protection, &busy))?;
    drop(busy);
    say!("new root and intermediate in {}; the old root accepts it by cross.pem", out.display())?;
    say!(
        "issue new certificates to the signers with --ca {}, and sign with them from now on",
        out.display()
    )?;
    Ok(())
}
