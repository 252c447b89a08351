//! The record of what outlives power, as the vault keeps it: read at boot, written whenever it changed.

use super::{BOOT_PATIENCE, Job, VAULT, storage_question};
use crate::manager::Manager;
use hic_rt::log;
use hic_store::messages::{Reply, Request};
use hic_store::{Defaults, StoreError};
use module_manager::journal::Journal;

impl Manager {
    /// Writes the defaults to the disk; `repository.written` tells when it is done.
    pub fn write_defaults(&mut self) {
        (self.repository.dirty, self.repository.written) = (true, None);
        self.repository_turn();
    }

    pub(super) fn begin_writing(&mut self) -> Job {
        let mut buffer = [0; hic_store::MAX_RECORD_BYTES];
        let defaults = self.repository.defaults.get_or_insert_with(Defaults::default);
        let asked = match defaults.encode(&mut buffer) {
            Ok(record) => {
                keep_defaults(self.journal, record);
                self.ask_disk(VAULT, &Request::WriteState { record })
            }
            Err(_) => false,
        };
        if asked {
            return Job::Writing;
        }
        self.repository.written = Some(Err(StoreError::NoDisk));
        Job::Idle
    }

    pub(super) fn wrote(&mut self, result: Result<(), StoreError>) -> Job {
        // An answer to what was replaced meanwhile says nothing.
        if !self.repository.dirty {
            self.repository.written = Some(result);
        }
        Job::Idle
    }

    /// Reads the defaults. For the boot only: waits for the disk.
    pub fn read_defaults(&mut self) {
        let Some(vault) = self.journal.find(VAULT) else {
            return log!("no system disk: nothing outlives power");
        };
        let answer = self.ask_and_wait(vault, &storage_question(&Request::ReadState), BOOT_PATIENCE);
        let defaults = match answer.as_ref().map(|answer| Reply::decode(answer.payload())) {
            Some(Ok(Reply::State { record: Some(record) })) => {
                keep_defaults(self.journal, record);
                Defaults::decode(record)
            }
            Some(Ok(Reply::State { record: None })) => Ok(Defaults::default()),
            Some(Ok(Reply::Failed(error))) => return log!("defaults: {error}"),
            _ => return log!("defaults: the service vault did not answer"),
        };
        match defaults {
            Ok(defaults) => self.repository.defaults = Some(defaults),
            Err(error) => log!("defaults: {error}; the boot archive's versions are started"),
        }
    }
}

/// Keeps the defaults over a restart of the manager.
fn keep_defaults(journal: &mut Journal, record: &[u8]) {
    for (to, from) in journal.defaults.iter_mut().zip(record) {
        *to = *from;
    }
    journal.defaults_length = record.len() as u64;
}
