//! `hicmod-tool repo`: a repository of modules, made, filled, published, checked and served.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use clap::{Args, Subcommand};
use hic_hicmod::TrustRoot;
use hic_tuf::Role;
use hicmod_tool::date;
use hicmod_tool::keys::{KeyError, Passphrase, read_certificate};
use hicmod_tool::repo::{
    Checked, InitOptions, KeyFolder, Lives, Passphrases, RepoError, Repository, Server, default_keys,
};

use crate::failure::Failure;
use crate::files::{now, read};
use crate::output::say;
use crate::passphrase::{Protection, Unlock};
use crate::progress::Bar;

/// Make and tend a repository of modules: signed metadata that says what is offered today.
///
/// A repository is a folder that any web server can hand out, and whose files can be copied to a repository disk. Its keys lie beside it
/// and sign metadata, never modules.
#[derive(Args)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Make a repository without modules, and its keys.
    ///
    /// Give FOLDER/metadata/1.root.tuf to the systems that shall use it (boot archive, entry `repository-root`). Keep the keys root-*.key.pem on
    /// a machine without a network: publishing needs only the other three. All are PKCS#8, encrypted with one passphrase (`openssl pkey -in FILE` opens them).
    Init {
        #[command(flatten)]
        place: Place,
        /// Keys of the root.
        #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=8))]
        root_keys: u8,
        /// How many of them must sign a new root.
        #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=8))]
        threshold: u8,
        /// Let systems use modules that the repository does not list, too. For development.
        #[arg(long)]
        allow_unlisted: bool,
        #[command(flatten)]
        lives: Days,
        #[command(flatten)]
        protection: Protection,
    },
    /// Put modules into the repository; `publish` makes them known.
    Add {
        #[command(flatten)]
        place: Place,
        /// The modules, signed.
        #[arg(required = true)]
        modules: Vec<PathBuf>,
    },
    /// Sign what lies in FOLDER/targets: a new list, if it changed, and a new timestamp.
    ///
    /// To withdraw a module, delete its file there and publish. Publish before the timestamp expires, changed or not: systems refuse
    /// a repository that stands still.
    Publish {
        #[command(flatten)]
        place: Place,
        #[command(flatten)]
        lives: Days,
        #[command(flatten)]
        unlock: Unlock,
    },
    /// Exchange the keys of roles: after one was lost or stolen.
    ///
    /// Makes new keys and a new root, signed by the keys before it and its own, and publishes. Of the root's keys as many must be there as must sign; the
    /// others stay named, also where they are elsewhere. If it fails before the new root is written, all keys are where they were.
    /// Systems that know the old root accept the new one and start anew
    /// with the versions of timestamp, snapshot and targets if the key of timestamp or snapshot changed.
    Rotate {
        #[command(flatten)]
        place: Place,
        /// The roles: root, timestamp, snapshot, targets. None: a new root with the root's keys as before and the other keys that are there.
        #[arg(value_parser = role)]
        roles: Vec<Role>,
        /// Whether systems may use modules that the repository does not list; without it, as before.
        #[arg(long, value_name = "BOOL")]
        allow_unlisted: Option<bool>,
        #[command(flatten)]
        lives: Days,
        #[command(flatten)]
        protection: Protection,
    },
    /// Look at a repository as a system would: all signatures, versions, times and files.
    ///
    /// Ends with 0 if all of it is good, with 3 if a system would refuse it, with 1 if it could not be checked.
    Check {
        #[command(flatten)]
        place: Place,
        /// Check the modules' own signatures with this root certificate, too.
        #[arg(long)]
        root: Option<PathBuf>,
        /// The time to check for, instead of now.
        #[arg(long, value_name = "DATE", value_parser = hicmod_tool::parse_date)]
        at: Option<u64>,
        /// Print one JSON document on one line.
        #[arg(long)]
        json: bool,
    },
    /// Hand the repository out over HTTP, until interrupted. For development; any web server does the same.
    Serve {
        #[command(flatten)]
        place: Place,
        /// Where to listen.
        #[arg(long, default_value = "127.0.0.1:8080")]
        listen: SocketAddr,
    },
}

#[derive(Args)]
struct Place {
    /// The repository.
    #[arg(value_name = "FOLDER")]
    folder: PathBuf,
    /// The folder of its keys, never one in FOLDER; FOLDER.keys if nothing is said.
    #[arg(long, value_name = "DIR")]
    keys: Option<PathBuf>,
}

impl Place {
    fn keys(&self) -> PathBuf {
        self.keys.clone().unwrap_or_else(|| default_keys(&self.folder))
    }

    /// For commands that sign nothing.
    fn open(&self) -> Result<Repository, Failure> {
        let keys = KeyFolder::plain(&self.keys()).watched(Rc::new(Bar::default()));
        Repository::open(&self.folder, keys).map_err(Failure::new)
    }

    fn open_to_sign(&self, passphrases: impl Passphrases + 'static) -> Result<Repository, Failure> {
        Repository::open(&self.folder, self.keys_to_sign(passphrases)).map_err(Failure::new)
    }

    fn keys_to_sign(&self, passphrases: impl Passphrases + 'static) -> KeyFolder {
        KeyFolder::new(&self.keys(), Rc::new(passphrases)).watched(Rc::new(Bar::default()))
    }
}

/// One passphrase for all keys of a repository, asked for once.
struct Once<S> {
    source: S,
    known: RefCell<Option<Passphrase>>,
}

impl<S> Once<S> {
    fn new(source: S) -> Self {
        Self { source, known: RefCell::default() }
    }

    fn once(&self, unlock: &Unlock, path: &Path) -> Result<Passphrase, KeyError> {
        if let Some(known) = self.known.borrow().clone() {
            return Ok(known);
        }
        let asked = unlock.ask(path)?;
        *self.known.borrow_mut() = Some(asked.clone());
        Ok(asked)
    }
}

impl Passphrases for Once<Unlock> {
    fn of(&self, path: &Path) -> Result<Passphrase, KeyError> {
        self.once(&self.source, path)
    }

    fn for_new(&self, path: &Path) -> Result<Option<Passphrase>, KeyError> {
        self.of(path).map(Some)
    }
}

impl Passphrases for Once<Protection> {
    fn of(&self, path: &Path) -> Result<Passphrase, KeyError> {
        self.once(self.source.unlock(), path)
    }

    fn for_new(&self, path: &Path) -> Result<Option<Passphrase>, KeyError> {
        if self.source.is_plain() {
            return Ok(None);
        }
        // New keys beside old ones have the passphrase of those.
        if let Some(known) = self.known.borrow().clone() {
            return Ok(Some(known));
        }
        let asked = self.source.ask(path)?;
        self.known.borrow_mut().clone_from(&asked);
        Ok(asked)
    }
}

#[derive(Args)]
struct Days {
    /// Days for which a root is believed.
    #[arg(long, default_value_t = Lives::default().root, value_parser = clap::value_parser!(u32).range(1..=3650))]
    root_days: u32,
    /// Days for which a list of modules is believed.
    #[arg(long, default_value_t = Lives::default().targets, value_parser = clap::value_parser!(u32).range(1..=3650))]
    targets_days: u32,
    /// Days for which a snapshot is believed.
    #[arg(long, default_value_t = Lives::default().snapshot, value_parser = clap::value_parser!(u32).range(1..=3650))]
    snapshot_days: u32,
    /// Days for which a timestamp is believed: how long somebody can hold new releases back unnoticed.
    #[arg(long, default_value_t = Lives::default().timestamp, value_parser = clap::value_parser!(u32).range(1..=3650))]
    timestamp_days: u32,
}

impl Days {
    const fn lives(&self) -> Lives {
        Lives {
            root: self.root_days,
            targets: self.targets_days,
            snapshot: self.snapshot_days,
            timestamp: self.timestamp_days,
        }
    }
}

fn role(text: &str) -> Result<Role, String> {
    let found = Role::ALL.into_iter().find(|role| role.name() == text);
    found.ok_or_else(|| "expected root, timestamp, snapshot or targets".to_owned())
}

/// Does what was asked for.
pub fn run(arguments: Arguments) -> Result<(), Failure> {
    match arguments.command {
        Command::Init { place, root_keys, threshold, allow_unlisted: unlisted, lives, protection } => {
            let options = InitOptions { root_keys, threshold, unlisted, lives: lives.lives(), now: now()? };
            let keys = place.keys_to_sign(Once::new(protection));
            Repository::init(&place.folder, keys, options).map_err(Failure::new)?;
            say!("repository made in {}, its keys in {}", place.folder.display(), place.keys().display())?;
            say!("systems that shall use it get {}/metadata/1.root.tuf", place.folder.display())?;
            Ok(())
        }
        Command::Add { place, modules } => {
            let repository = place.open()?;
            let bar = Bar::default();
            for (before, module) in modules.iter().enumerate() {
                bar.show("adding module", before.saturating_add(1), modules.len());
                let file = repository.add(module, &read(module)?).map_err(Failure::new)?;
                bar.clear();
                say!("{file} added; `publish` makes it known")?;
            }
            Ok(())
        }
        Command::Publish { place, lives, unlock } => {
            let repository = place.open_to_sign(Once::new(unlock))?;
            let done = repository.publish(now()?, lives.lives()).map_err(Failure::new)?;
            let list = if done.changed { "new" } else { "unchanged" };
            say!(
                "published: timestamp {}, list {} ({list}, {} modules)",
                done.timestamp,
                done.targets,
                done.modules
            )?;
            Ok(())
        }
        Command::Rotate { place, roles, allow_unlisted, lives, protection } => {
            let repository = place.open_to_sign(Once::new(protection))?;
            let version =
                repository.rotate(&roles, allow_unlisted, now()?, lives.lives()).map_err(Failure::new)?;
            say!(
                "root {version} made; the keys before it stay beside the new ones, destroy them when every system has seen it"
            )?;
            Ok(())
        }
        Command::Check { place, root, at, json } => {
            check(&place, root.as_deref(), at.map_or_else(now, Ok)?, json)
        }
        Command::Serve { place, listen } => {
            place.open()?;
            let server = Server::bind(listen, &place.folder)
                .map_err(|error| Failure::new(format_args!("cannot listen on {listen}: {error}")))?;
            let address = server.address().map_err(Failure::new)?;
            say!("serving {} on http://{address}/", place.folder.display())?;
            // Whoever reads the answers may stop reading: that is no reason to stop serving.
            server.run(|status, line| drop(say!("{status} {line}")));
            Ok(())
        }
    }
}

fn check(place: &Place, root: Option<&Path>, now: u64, json: bool) -> Result<(), Failure> {
    let root = match root {
        None => None,
        Some(path) => {
            let der = read_certificate(path).map_err(Failure::new)?;
            Some(TrustRoot::parse(&der).map_err(|error| Failure::at(path, error))?)
        }
    };
    let refused = |error: RepoError| match error.is_refusal() {
        true => Failure::refused(&place.folder, error),
        false => Failure::new(error),
    };
    let checked = place.open()?.check(now, root.as_ref()).map_err(refused)?;
    if json {
        say!("{}", serde_json::to_string(&checked).map_err(Failure::new)?)?;
    } else {
        print(&checked)?;
    }
    Ok(())
}

fn print(checked: &Checked) -> Result<(), Failure> {
    let Checked { root, timestamp, snapshot, targets, .. } = checked;
    say!("good: root {root}, timestamp {timestamp}, snapshot {snapshot}, targets {targets}")?;
    say!("believed until {}", date(checked.expires))?;
    for module in &checked.modules {
        let signer = module.signer.as_ref().map_or(String::new(), |signer| format!(", signed by {signer}"));
        say!("  {} {} ({}, {} bytes{signer})", module.name, module.version, module.file, module.length)?;
    }
    for file in &checked.not_published {
        say!("not published: {file}")?;
    }
    if checked.unlisted_allowed {
        say!("warning: systems may use modules that are not listed (development)")?;
    }
    Ok(())
}
