//! Repositories on the network: which ones are asked.

use super::{Answer, Before, Stage};
use crate::manager::Manager;
use crate::metadata::Metadata;
use crate::repository::Place;
use alloc::boxed::Box;
use alloc::format;
use alloc::string::{String, ToString};
use hic_control::Refusal;
use hic_fetch::Source;
use hic_store::Defaults;
use hic_store::defaults::MAX_SOURCES;

pub(super) fn parse(text: &str) -> Answer<Source> {
    text.parse().map_err(|error| format!("malformed: {error}"))
}

impl Manager {
    /// Adds or removes a repository and has that written.
    pub(super) fn record_source(&mut self, source: &Source, add: bool) -> Answer<()> {
        let defaults = self.repository.defaults.get_or_insert_with(Defaults::default);
        let before = defaults.sources.clone();
        let text = hic_store::Source::try_from(source.to_string().as_str());
        let text = text.map_err(|_| "malformed: the address is too long".to_string())?;
        let known = before.contains(&text);
        match add {
            true if known => return Err(format!("already-there: {source} is asked already")),
            false if !known => {
                return Err(format!("not-found: {source} is not asked; `repository` lists those that are"));
            }
            true => {
                let full =
                    |_| format!("no-room: at most {MAX_SOURCES} repositories are asked; remove one first");
                defaults.sources.push(text).map_err(full)?;
            }
            false => defaults.sources.retain(|known| *known != text),
        }
        if let Some(task) = &mut self.task {
            task.stage = Stage::Recording { index: 0, before: Before::Sources(Box::new(before)) };
        }
        self.write_defaults();
        Ok(())
    }

    /// What was found in a repository that is asked from now on.
    pub(super) fn tell_source(&self, source: &Source) -> String {
        let asked = format!("modules that the disk does not have are looked for in {source}");
        let place = Place::Network(Box::new(source.clone()));
        let Some(mirror) = self.repository.mirrors.at(&place) else { return asked };
        match (&mirror.metadata, &mirror.failure) {
            (None, None) => asked,
            (_, Some(refusal)) | (Some(Metadata::Refused(refusal)), None) => {
                format!("{asked}; but now: {refusal}")
            }
            (Some(Metadata::Absent { .. }), None) => {
                format!("{asked}; it has no metadata, so nobody says what it offers")
            }
            (Some(Metadata::Good(good)), None) => {
                format!("{asked}; it offers {} modules (targets {})", good.offers.len(), good.trusted.targets)
            }
        }
    }

    /// The address of a repository.
    pub fn source_text(&self, index: usize) -> Result<&str, Refusal> {
        let sources = self.repository.defaults.as_ref().map(|defaults| &defaults.sources);
        sources.and_then(|sources| sources.get(index)).map(|source| source.as_str()).ok_or(Refusal::NotFound)
    }
}
