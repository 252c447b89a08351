//! A look through the disk: which module files there are, which of them changed, and what became of those of the last look.

use super::Job;
use super::fetch::Fetch;
use crate::cache::ModuleName;
use crate::manager::Manager;
use alloc::boxed::Box;
use alloc::vec::Vec;
use hic_channel::Message;
use hic_hicmod::verdict::Refusal;
use hic_rt::clock;
use hic_store::messages::{Reply, Request};
use hic_store::{FileName, StoreError};

/// A file of the repository.
#[derive(Clone)]
pub struct File {
    /// Its name.
    pub name: FileName,
    /// Its bytes.
    pub(super) size: u32,
    /// Changes when it is written anew.
    pub(super) stamp: u64,
    /// The module in it, or why it cannot be used.
    pub content: Result<ModuleName, Box<Refusal>>,
}

impl File {
    /// Why it cannot be used.
    pub fn refusal(&self) -> Option<&Refusal> {
        self.content.as_ref().err().map(|refusal| &**refusal)
    }

    pub(super) fn is(&self, fetch: &Fetch) -> bool {
        self.name == fetch.name && self.size == fetch.size && self.stamp == fetch.stamp
    }
}

/// What looks through the repository brought.
#[derive(Default)]
pub struct Changes {
    /// Files that were not there before, or not like this.
    pub new: Vec<File>,
    /// Files that are not there any more.
    pub gone: Vec<File>,
    /// Why the last look came to no end.
    pub error: Option<StoreError>,
}

impl Changes {
    fn add_new(&mut self, file: File) {
        self.forget(&file);
        self.new.push(file);
    }

    fn add_gone(&mut self, file: File) {
        self.forget(&file);
        self.gone.push(file);
    }

    /// What was found out about a file of this name is overtaken.
    fn forget(&mut self, file: &File) {
        self.new.retain(|other| other.name != file.name);
        self.gone.retain(|other| other.name != file.name);
    }
}

impl Manager {
    pub(super) fn rescanned(&mut self, answer: &Message) -> Job {
        match Reply::decode(answer.payload()) {
            Ok(Reply::Scanned { count }) => self.begin_walk(count),
            Ok(Reply::Failed(error)) => self.stop_scan(error),
            _ => self.stop_scan(StoreError::Malformed),
        }
    }

    /// Lists the module files, from the first one on.
    pub(super) fn list_from_start(&mut self, files: u32) -> Job {
        self.repository.begin_listing();
        if files == 0 { self.finish_scan() } else { self.list_file(0) }
    }

    pub(super) fn list_file(&mut self, index: u32) -> Job {
        if self.ask_storage(&Request::List { index }) {
            return Job::Listing { index };
        }
        self.stop_scan(StoreError::NoDisk)
    }

    pub(super) fn listed(&mut self, index: u32, answer: &Message) -> Job {
        let (count, name, size, stamp) = match Reply::decode(answer.payload()) {
            Ok(Reply::File { count, name, size, stamp }) => (count, name, size, stamp),
            Ok(Reply::Failed(error)) => return self.stop_scan(error),
            _ => return self.stop_scan(StoreError::Malformed),
        };
        let (region, address, done, remote, began) = (0, 0, 0, false, clock::now());
        let fetch =
            Fetch { index, count, name, size, stamp, region, address, done, remote, began, shown: began };
        let known = self.repository.before.iter().position(|file| file.is(&fetch));
        let known = known.filter(|&known| self.is_settled(&self.repository.before[known]));
        if let Some(known) = known {
            let before = self.repository.before.swap_remove(known);
            return self.next(&fetch, before.content, false);
        }
        match self.make_room(fetch.clone()) {
            Ok(fetch) => {
                self.ask_part(&fetch);
                Job::Reading(fetch)
            }
            Err(refusal) => self.next(&fetch, Err(refusal), true),
        }
    }

    /// Whether a file that looks as before need not be read again.
    fn is_settled(&self, file: &File) -> bool {
        if self.repository.metadata_changed {
            return false;
        }
        match &file.content {
            Err(_) => !self.repository.thorough,
            Ok((name, version)) => self.is_loaded(name, *version) || !self.is_wanted(name, *version),
        }
    }

    /// Notes what a file holds and goes on with the next one.
    pub(super) fn next(
        &mut self,
        fetch: &Fetch,
        content: Result<ModuleName, Box<Refusal>>,
        read: bool,
    ) -> Job {
        if fetch.remote {
            self.arrival_judged(content);
            return Job::Idle;
        }
        let Fetch { name, size, stamp, .. } = fetch.clone();
        let file = File { name, size, stamp, content };
        if read {
            let known = self.repository.before.iter().position(|before| before.is(fetch));
            let before = known.map(|known| self.repository.before.swap_remove(known));
            if let (Some(Ok((name, version))), Err(_)) =
                (before.as_ref().map(|before| &before.content), &file.content)
            {
                // It was good, and the metadata says otherwise now.
                self.forget_module(name, *version);
            }
            // One that was only read again, since its module was not in memory any more, is no news.
            if before.is_none_or(|before| before.content != file.content) {
                self.repository.changes.add_new(file.clone());
            }
        }
        self.repository.files.push(file);
        let following = fetch.index + 1;
        if following >= fetch.count {
            return self.finish_scan();
        }
        if self.repository.dirty {
            self.repository.rest = Some(following);
            return Job::Idle;
        }
        self.list_file(following)
    }

    /// All files were looked at: what is left of those of the last scan is gone, or was written anew.
    fn finish_scan(&mut self) -> Job {
        let before = core::mem::take(&mut self.repository.before);
        for file in before {
            if let Ok((name, version)) = &file.content
                && !self.repository.files.iter().any(|other| other.content == file.content)
            {
                self.forget_module(name, *version);
            }
            if !self.repository.files.iter().any(|other| other.name == file.name) {
                self.repository.changes.add_gone(file);
            }
        }
        self.end_scan()
    }

    /// Ends a scan that cannot go on; what was known stays known.
    pub(super) fn stop_scan(&mut self, error: StoreError) -> Job {
        let before = core::mem::take(&mut self.repository.before);
        self.repository.files.extend(before);
        self.repository.changes.error = Some(error);
        self.end_scan()
    }

    fn end_scan(&mut self) -> Job {
        // What the first look finds was there before anybody could ask.
        if !self.repository.complete && !self.repository.thorough {
            (self.repository.changes.new, self.repository.changes.gone) = (Vec::new(), Vec::new());
        }
        (self.repository.complete, self.repository.thorough) = (true, false);
        self.repository.metadata_changed = false;
        self.repository.rest = None;
        Job::Idle
    }
}
