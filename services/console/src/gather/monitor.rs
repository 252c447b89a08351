//! The audit records that the monitor keeps.

use super::{Repeat, Sources};
use alloc::format;
use console::error::CommandError;
use console::report::audit::{Audit, Entry, Verified};
use hic_abi::audit::Record;
use hic_control::Refusal;
use hic_control::monitor::{AUDIT_READ, AUDIT_VERIFY};
use hic_rt::ipc::Message;

const MONITOR: &str = "monitor";
/// Records that `audit` shows.
const SHOWN: u64 = 24;
/// Verifications begun anew, at most, when the monitor is restarted under them.
const ATTEMPTS: usize = 3;

impl Sources {
    /// `audit`
    pub fn audit(&mut self) -> Result<Audit, CommandError> {
        let end = Refusal::NotFound as u32;
        let first = self.record::<Record>(MONITOR, (AUDIT_READ, 0), end)?;
        let mut audit = Audit { kept: first.map_or(0, |(_, kept)| kept), ..Audit::default() };
        let names = self.sandbox_names();
        let name = |serial| names.iter().find(|(s, _)| *s == serial).map(|(_, name)| name.clone());
        for index in audit.kept.saturating_sub(SHOWN)..audit.kept {
            let Some((record, kept)) = self.record::<Record>(MONITOR, (AUDIT_READ, index), end)? else {
                break;
            };
            audit.kept = kept;
            audit.records.push(Entry::new(&record, name));
        }
        Ok(audit)
    }

    /// `audit verify`: step by step, so that the monitor is free for faults between two of them.
    pub fn verify(&mut self) -> Result<Verified, CommandError> {
        let (mut checked, mut attempts) = (0, 0);
        loop {
            let answer = self.ask(MONITOR, Message::new(AUDIT_VERIFY, [checked, 0, 0, 0]), Repeat::Always)?;
            let [so_far, bad, more, _] = answer.words;
            match Refusal::from_label(answer.label()) {
                None if more == 0 => return Ok(Verified { records: so_far, whole: true }),
                None => checked = so_far,
                Some(Refusal::WrongState) if attempts < ATTEMPTS => (checked, attempts) = (0, attempts + 1),
                Some(Refusal::BrokenChain) => return Err(broken(so_far, bad)),
                Some(refusal) => return Err(CommandError::refused(MONITOR, "audit verify", refusal)),
            }
        }
    }
}

fn broken(checked: u64, bad: u64) -> CommandError {
    let message = format!(
        "record {bad} was changed, removed or moved, or the log is cut off there ({checked} records before it are good); \
         treat everything from there on as unproven"
    );
    CommandError::new(Refusal::BrokenChain.code(), message)
}
