//! Where passphrases come from: a file, a variable of the environment, or somebody at a terminal.
//!
//! What it must never do: take one from the command line, where every process can read it, or print one.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use hicmod_tool::keys::{KeyError, Passphrase};

/// How the passphrase of a key that exists is had. Without an option it is asked for at the terminal.
#[derive(clap::Args, Clone)]
pub struct Unlock {
    /// The file whose first line is the passphrase of the private key.
    #[arg(long, value_name = "FILE", conflicts_with = "passphrase_env", help_heading = "Passphrase")]
    passphrase_file: Option<PathBuf>,
    /// The variable of the environment that holds the passphrase of the private key.
    #[arg(long, value_name = "VARIABLE", help_heading = "Passphrase")]
    passphrase_env: Option<String>,
}

/// How a new key is protected. Without an option a passphrase is asked for at the terminal.
#[derive(clap::Args)]
pub struct Protection {
    #[command(flatten)]
    source: Unlock,
    /// Do not encrypt: whoever reads the file has the key.
    #[arg(long, conflicts_with_all = ["passphrase_file", "passphrase_env"], help_heading = "Passphrase")]
    no_passphrase: bool,
}

/// Shortest passphrase of a new key, characters.
const SHORTEST: usize = 8;

impl Unlock {
    /// By the first line of a file.
    pub fn by_file(path: PathBuf) -> Self {
        Self { passphrase_file: Some(path), passphrase_env: None }
    }

    /// The passphrase of the key in `path`.
    pub fn ask(&self, path: &Path) -> Result<Passphrase, KeyError> {
        match self.given()? {
            Some(passphrase) => Ok(passphrase),
            None if std::io::stdin().is_terminal() => prompt(&format!("Passphrase of {}: ", path.display())),
            None => Err(KeyError::Encrypted(path.to_owned())),
        }
    }

    fn given(&self) -> Result<Option<Passphrase>, KeyError> {
        if let Some(path) = &self.passphrase_file {
            let text = std::fs::read_to_string(path).map(Passphrase::new);
            let text = text.map_err(|error| KeyError::File(path.clone(), error))?;
            return Ok(Some(Passphrase::new(text.lines().next().unwrap_or_default().to_owned())));
        }
        let Some(name) = &self.passphrase_env else { return Ok(None) };
        let value =
            std::env::var(name).map_err(|error| KeyError::NoPassphrase(format!("{name}: {error}")))?;
        Ok(Some(Passphrase::new(value)))
    }
}

impl Protection {
    /// The passphrase for the new key in `path`; `None` if it is not to be encrypted.
    pub fn ask(&self, path: &Path) -> Result<Option<Passphrase>, KeyError> {
        if self.no_passphrase {
            return Ok(None);
        }
        let passphrase = match self.source.given()? {
            Some(passphrase) => passphrase,
            None if std::io::stdin().is_terminal() => prompt_twice(path)?,
            None => {
                let remedy = "give --passphrase-file or --passphrase-env, or --no-passphrase for a key that is not encrypted";
                return Err(KeyError::NoPassphrase(format!("there is no terminal to ask at; {remedy}")));
            }
        };
        if passphrase.chars().count() < SHORTEST {
            return Err(KeyError::NoPassphrase(format!("it must have at least {SHORTEST} characters")));
        }
        Ok(Some(passphrase))
    }

    /// Whether new keys are not to be encrypted.
    pub const fn is_plain(&self) -> bool {
        self.no_passphrase
    }

    /// The same passphrase for an existing key.
    pub fn unlock(&self) -> &Unlock {
        &self.source
    }
}

fn prompt(text: &str) -> Result<Passphrase, KeyError> {
    let typed = rpassword::prompt_password(text);
    typed.map(Passphrase::new).map_err(|error| KeyError::NoPassphrase(error.to_string()))
}

fn prompt_twice(path: &Path) -> Result<Passphrase, KeyError> {
    let first = prompt(&format!("New passphrase for {}: ", path.display()))?;
    let second = prompt("The same again: ")?;
    if first == second { Ok(first) } else { Err(KeyError::NoPassphrase("the two were different".to_owned())) }
}
