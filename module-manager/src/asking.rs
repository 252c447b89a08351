//! Questions to services through their channels: the manager asks, goes on, and is rung when there is an answer.
//!
//! Only at boot, when nobody is served yet, does it wait for one.

use crate::manager::Manager;
use hic_abi::{Nanos, Rights};
use hic_channel::{Asker, Message};
use hic_rt::region::Mapped;
use hic_rt::{clock, sys};

impl Manager {
    /// Opens the channel to the instance in a record; `None` if it has none.
    fn asker(&self, index: usize) -> Option<Asker> {
        let channel = self.journal.records.get(index)?.channel;
        let mapped = Mapped::map(channel, Rights::READ | Rights::WRITE).ok().filter(|_| channel != 0)?;
        // SAFETY: the region stays mapped while the record has it; the value lives for one operation, so there is no other in use.
        unsafe { Asker::attach(mapped.pointer(), mapped.bytes as usize) }.ok()
    }

    /// Asks an instance something. An earlier question that it has not answered is replaced.
    pub fn ask(&self, index: usize, message: &Message) -> bool {
        let Some(mut asker) = self.asker(index) else { return false };
        asker.ask(message);
        // Whoever is down looks at its channel when it comes back.
        let _ = sys::signal(self.journal.records[index].ring, hic_control::ASKED);
        true
    }

    /// The answer to what an instance was asked last.
    pub fn answer_of(&self, index: usize) -> Option<Message> {
        self.asker(index)?.answer()
    }

    /// The same with the number of the question.
    pub fn numbered_answer(&self, index: usize) -> Option<(u64, Message)> {
        let asker = self.asker(index)?;
        asker.answer().map(|answer| (asker.asked(), answer))
    }

    /// Asks and waits, at most this long. For the boot only.
    pub fn ask_and_wait(&self, index: usize, message: &Message, patience: Nanos) -> Option<Message> {
        if !self.ask(index, message) {
            return None;
        }
        let deadline = clock::now() + patience;
        loop {
            if let Some(answer) = self.answer_of(index) {
                return Some(answer);
            }
            // The bits are only a reason to look: nothing else is served yet.
            sys::wait(self.journal.bell, deadline).ok()?;
        }
    }
}
