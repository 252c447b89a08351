//! `diff`: what a reviewer has to say yes to.

use std::path::PathBuf;

use hicmod_tool::diff::{Difference, Weight, diff};

use crate::failure::Failure;
use crate::files::read;
use crate::output::{self, say};

/// Show what changed from one module to another, the most dangerous first.
///
/// Compared is what the files say: authority, hardware, memory, dependencies, interfaces, state schemas, parts, sizes, signer. Nothing is
/// verified but checksums. With --fail-on it ends with 4 if there is such a change, so that a release can wait for a reviewer.
#[derive(clap::Args)]
pub struct Arguments {
    /// The old module.
    old: PathBuf,
    /// The new module.
    new: PathBuf,
    /// Print one JSON document on one line.
    #[arg(long)]
    json: bool,
    /// End with 4 if there is a change of this weight, or a heavier one.
    #[arg(long, value_name = "WEIGHT")]
    fail_on: Option<Limit>,
}

/// The lightest change to fail on.
#[derive(clap::ValueEnum, Clone, Copy)]
enum Limit {
    /// The new one asks for more, or somebody else signed it.
    AsksForMore,
    /// What others rely on is gone, or the way back is.
    MayBreak,
    /// Anything.
    Changed,
}

impl Limit {
    fn heaviest(self) -> Weight {
        match self {
            Self::AsksForMore => Weight::AsksForMore,
            Self::MayBreak => Weight::MayBreak,
            Self::Changed => Weight::Harmless,
        }
    }
}

pub fn run(arguments: Arguments) -> Result<(), Failure> {
    let Arguments { old, new, json, fail_on } = arguments;
    let difference = diff(&read(&old)?, &read(&new)?)
        .map_err(|error| Failure::new(format_args!("{} and {}: {error}", old.display(), new.display())))?;
    if json {
        say!("{}", serde_json::to_string(&difference).map_err(Failure::new)?)?;
    } else {
        output::bytes(text(&difference).as_bytes())?;
    }
    let heavy = |limit: Limit| difference.changes.iter().any(|change| change.weight <= limit.heaviest());
    match fail_on {
        Some(limit) if heavy(limit) => {
            Err(Failure::differs(&new, "changes that somebody must agree to; see above"))
        }
        _ => Ok(()),
    }
}

fn text(difference: &Difference) -> String {
    let Difference { from, to, changes } = difference;
    let mut lines = format!("{from} -> {to}\n");
    let mut last = None;
    for change in changes {
        if last != Some(change.weight) {
            lines += match change.weight {
                Weight::AsksForMore => "ASKS FOR MORE\n",
                Weight::MayBreak => "MAY BREAK WHAT RELIES ON IT\n",
                Weight::Changed => "changed\n",
                Weight::Harmless => "asks for less, or offers more\n",
            };
            last = Some(change.weight);
        }
        lines += &format!("  {:<14} {}\n", change.field, change.text);
    }
    if changes.is_empty() {
        lines += "no difference but the code\n";
    }
    lines
}
