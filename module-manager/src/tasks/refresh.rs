//! What a look through the repository brought, in words.

use super::Answer;
use crate::manager::Manager;
use crate::repository::Changes;
use alloc::format;
use alloc::string::String;

impl Manager {
    /// What is new, what is gone, what is refused and why.
    pub(super) fn tell_changes(&mut self) -> Answer<String> {
        let Changes { new, gone, error } = core::mem::take(&mut self.repository.changes);
        for file in &new {
            if let Ok((name, version)) = &file.content {
                self.add_line(format!("new: {name} {version} ({})", file.name));
            }
        }
        for file in &gone {
            let Ok((name, version)) = &file.content else {
                self.add_line(format!("gone: {}", file.name));
                continue;
            };
            let stays = match self.is_loaded(name, *version) {
                true => "; it is in use and stays in memory, the next boot does not find it",
                false => "",
            };
            self.add_line(format!("gone: {name} {version} ({}){stays}", file.name));
        }
        let refused: alloc::vec::Vec<_> = self
            .repository
            .files()
            .filter_map(|file| Some(format!("refused: {}: {}", file.name, file.refusal()?)))
            .collect();
        let counts = (new.iter().filter(|file| file.content.is_ok()).count(), gone.len(), refused.len());
        refused.into_iter().for_each(|line| self.add_line(line));
        let complaints: alloc::vec::Vec<_> = self
            .repository
            .mirrors
            .complaints()
            .map(|(place, refusal)| format!("metadata refused: {place}: {refusal}"))
            .collect();
        complaints.into_iter().for_each(|line| self.add_line(line));
        let offered: alloc::vec::Vec<_> = self
            .offered()
            .map(|(_, offer)| format!("offered: {} {} ({} bytes)", offer.name, offer.version, offer.length))
            .collect();
        let offers = match offered.len() {
            0 => String::new(),
            count => format!(", {count} offered that are not in memory"),
        };
        offered.into_iter().for_each(|line| self.add_line(line));
        if let Some(error) = error {
            return Err(format!("{}: the repository was not read to its end: {error}", error.code()));
        }
        let files = self.repository.files().count();
        Ok(format!("{files} files: {} new, {} gone, {} refused{offers}", counts.0, counts.1, counts.2))
    }
}
