//! The hostile service on a kernel of which a check was taken out.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use hic_tests::cases::hostile;
use hic_tests::qemu::Machine;
use hic_tests::runner::BootFiles;
use hic_tests::vm::{Vm, VmOptions};

use super::Verdict;
use super::table::Mutation;
use crate::image::Builder;

/// The profile of the hostile service.
const PROFILE: &str = "hostile";

/// How long it may take on a kernel that does not say what it must; one without a check may hang.
const LIMIT: Duration = Duration::from_secs(120);

/// The hostile service, built once from the tree as it is.
pub struct Guest {
    archive: PathBuf,
    logs: PathBuf,
}

impl Guest {
    /// Builds it.
    pub fn new(builder: &mut Builder) -> Result<Self> {
        crate::deps::ensure(crate::deps::TEST)?;
        let logs = builder.workspace.target_directory.join("mutate").join("logs");
        Ok(Self { archive: builder.archive(PROFILE)?, logs })
    }

    fn run(&self, kernel: &Path, reason: &str) -> Result<()> {
        std::fs::create_dir_all(&self.logs)?;
        let files = BootFiles::bind(kernel, &self.archive, &self.logs.join("core0"))?;
        let mut machine = hostile::machine(Machine::new(&files.kernel));
        machine.archive = Some(files.archive);
        let options =
            VmOptions { machine, ports: Vec::new(), log_dir: self.logs.clone(), tag: String::new() };
        hostile::watch(&mut Vm::boot(options, None)?, reason, LIMIT)
    }

    /// An error if the test fails with this kernel.
    pub fn check_that_it_passes(&self, kernel: &Path) -> Result<()> {
        self.run(kernel, "not refused").context("the hostile service finds something without any mutation")
    }

    /// Whether the test fails with this kernel, and for the reason that the mutation names.
    pub fn notices(&self, kernel: &Path, mutation: &Mutation) -> Verdict {
        let Err(error) = self.run(kernel, mutation.test()) else {
            return Verdict::Survived("it passes".to_owned());
        };
        let why = format!("{error:#}");
        if why.contains(mutation.test()) {
            return Verdict::Killed;
        }
        let first: Vec<&str> = why.lines().take(8).collect();
        Verdict::Survived(format!("it fails for another reason: {}", first.join("; ")))
    }
}
