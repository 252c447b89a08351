//! The record of what outlives power, as the vault keeps it: read at boot, written whenever it changed.

use super::{BOOT_PATIENCE, Job, VAULT, storage_question};
use crate::manager::Manager;
use hic_rt::log;
use hic_store::defaults::{RecordError, Said};
use hic_store::messages::{Reply, Request};
use hic_store::{Defaults, MAX_RECORD_BYTES, StoreError};

impl Manager {
    /// Writes the defaults to the disk; `repository.written` tells when it is done.
    pub fn write_defaults(&mut self) {
        (self.repository.dirty, self.repository.written) = (true, None);
        self.repository_turn();
    }

    /// Puts back what the record said of a module before a change that came to nothing, on the disk, too: it may have the change all the same.
    pub fn take_back(&mut self, before: Said) {
        self.repository.defaults.get_or_insert_with(Defaults::default).restore(before);
        self.write_defaults();
    }

    pub(super) fn begin_writing(&mut self) -> Job {
        let mut buffer = [0; MAX_RECORD_BYTES];
        let defaults = self.repository.defaults.get_or_insert_with(Defaults::default);
        // Every record fits by the definition of `MAX_RECORD_BYTES`.
        let record = defaults.encode(&mut buffer).unwrap_or_default();
        if self.journal.defaults.is_unread() {
            return self.wrote(record, Err(StoreError::Unread));
        }
        match self.ask_disk(VAULT, &Request::WriteState { record }) {
            true => Job::Writing(record.to_vec()),
            false => self.wrote(record, Err(StoreError::NoDisk)),
        }
    }

    pub(super) fn wrote(&mut self, record: &[u8], result: Result<(), StoreError>) -> Job {
        self.journal.defaults.written(record, result);
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
            Some(Ok(Reply::State { record: Some(record) })) => Defaults::decode(record),
            Some(Ok(Reply::State { record: None })) => Ok(Defaults::default()),
            // There is nothing to keep: what is to be remembered from now on is written anew.
            Some(Ok(Reply::Failed(error @ (StoreError::NoDisk | StoreError::Corrupt)))) => {
                return log!("defaults: {error}");
            }
            Some(Ok(Reply::Failed(error))) => return self.leave_unread(&error),
            _ => return self.leave_unread(&"the service vault did not answer"),
        };
        match defaults {
            Ok(defaults) => {
                // Of an empty disk, too: what it comes to have and nobody hears of is not to be.
                if let Ok(record) = defaults.encode(&mut [0; MAX_RECORD_BYTES]) {
                    self.journal.defaults.keep(record);
                }
                self.repository.defaults = Some(defaults);
            }
            // A system with another schema wrote it, and may want it back.
            Err(error @ RecordError::Schema { .. }) => self.leave_unread(&error),
            Err(error) => log!("defaults: {error}; the boot archive's versions are started"),
        }
    }

    fn leave_unread(&mut self, why: &dyn core::fmt::Display) {
        self.journal.defaults.could_not_be_read();
        log!(
            "defaults: {why}; the boot archive's versions are started, and nothing is recorded until the next boot"
        );
    }
}
