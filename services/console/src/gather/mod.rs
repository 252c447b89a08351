//! Where answers come from: the kernel (by the right to inspect), the module manager, the monitor, the network stack.

mod kernel;
mod log;
mod monitor;
mod net;
mod services;
mod tasks;
mod update;

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use console::error::CommandError;
use console::report::MAX_ROWS;
use hic_abi::{Error, Handle, Nanos, Plain};
use hic_control::{Refusal, grants};
use hic_rt::ipc::{self, Buffer, Message};
use hic_rt::{StartPage, clock, start};
pub use tasks::{Followed, Seen};
pub use update::Begun;

/// How long a service may take to answer. Its own restart fits in, and some questions of the monitor's to a busy module manager, about services that
/// died before it comes to ours.
const PATIENCE: Nanos = 10_000_000_000;

/// Label of the answer beyond the last record.
const END: u32 = Refusal::NotFound as u32;

/// What the console may ask.
pub struct Sources {
    page: &'static StartPage,
    audit: Handle,
    buffer: Buffer,
    /// Byte number up to which `log -f` has shown the log.
    log_seen: u64,
}

/// Whether a request may be asked again when its server died under it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Repeat {
    /// It changes nothing.
    Always,
    /// It would act twice.
    Never,
}

impl Sources {
    /// The sources that the grants lead to.
    pub fn new(page: &'static StartPage) -> Self {
        let audit = start::require(page, grants::AUDIT).slot;
        Self { page, audit, buffer: Buffer::new(), log_seen: 0 }
    }

    /// The power grant.
    pub fn power(&self) -> Result<Handle, CommandError> {
        self.grant(grants::POWER)
    }

    fn grant(&self, name: &str) -> Result<Handle, CommandError> {
        start::find(self.page, name).map(|g| g.slot).ok_or_else(|| {
            CommandError::new(
                "not-available",
                format!("the console was not given `{name}` when it was started"),
            )
        })
    }

    /// Asks a service; the inline bytes are in the buffer already.
    fn ask(&mut self, whom: &str, message: Message, repeat: Repeat) -> Result<Message, CommandError> {
        let port = self.grant(&format!("{}{whom}", grants::PORT))?;
        let deadline = clock::now() + PATIENCE;
        loop {
            match ipc::call(port, message, &mut self.buffer, deadline) {
                Err(Error::ServerDied) if repeat == Repeat::Always => {}
                Err(error) => return Err(CommandError::call(whom, error)),
                Ok(answer) => return Ok(answer),
            }
        }
    }

    /// Asks for something to be done with what the name names; it is asked only once.
    fn request(
        &mut self,
        whom: &str,
        (label, [first, second]): (u32, [u64; 2]),
        name: &str,
        what: &str,
    ) -> Result<u64, CommandError> {
        let mut message = Message::new(label, [first, second, 0, 0]);
        message.info = message.info.with_inline(self.buffer.put(name.as_bytes()));
        let answer = self.ask(whom, message, Repeat::Never)?;
        self.check(whom, what, &answer)?;
        Ok(answer.words[0])
    }

    /// Whether the answer received last is a good one.
    fn check(&self, whom: &str, what: &str, answer: &Message) -> Result<(), CommandError> {
        match Refusal::from_label(answer.label()) {
            None => Ok(()),
            Some(Refusal::Refused) if answer.info.inline_len() > 0 => {
                Err(CommandError::told(&self.text(answer)))
            }
            Some(refusal) => Err(CommandError::refused(whom, what, refusal)),
        }
    }

    /// The text in the answer received last.
    fn text(&self, answer: &Message) -> String {
        String::from_utf8_lossy(self.buffer.data(answer.info.inline_len())).into_owned()
    }

    /// Asks for the record at an index, as all lists answer; `None` beyond the last, by the label `end`. With the answer's word 0.
    fn record<T: Plain>(
        &mut self,
        whom: &str,
        (label, index): (u32, u64),
        end: u32,
    ) -> Result<Option<(T, u64)>, CommandError> {
        let answer = self.ask(whom, Message::new(label, [index, 0, 0, 0]), Repeat::Always)?;
        if answer.label() == end {
            return Ok(None);
        }
        self.check(whom, "the question", &answer)?;
        if answer.info.inline_len() != size_of::<T>() {
            return Err(CommandError::refused(whom, "the question", Refusal::Malformed));
        }
        let mut record = T::zeroed();
        record.as_bytes_mut().copy_from_slice(self.buffer.data(size_of::<T>()));
        Ok(Some((record, answer.words[0])))
    }

    /// The texts that a service has under a label from a number on, at most [`MAX_ROWS`]; `about` and `word` (word 1) say of what.
    fn texts(
        &mut self,
        whom: &str,
        (label, from): (u32, u64),
        (word, about): (u64, &str),
    ) -> Result<Vec<String>, CommandError> {
        let mut texts = Vec::new();
        // A server that died may have taken the question from the buffer.
        let repeat = if about.is_empty() { Repeat::Always } else { Repeat::Never };
        while texts.len() < MAX_ROWS {
            let number = from.saturating_add(texts.len() as u64);
            let mut message = Message::new(label, [number, word, 0, 0]);
            message.info = message.info.with_inline(self.buffer.put(about.as_bytes()));
            let answer = self.ask(whom, message, repeat)?;
            if answer.label() == END {
                break;
            }
            self.check(whom, "the question", &answer)?;
            texts.push(self.text(&answer));
        }
        Ok(texts)
    }

    /// A record that is always there.
    fn the_record<T: Plain>(&mut self, whom: &str, label: u32) -> Result<T, CommandError> {
        let missing = || CommandError::refused(whom, "the question", Refusal::Malformed);
        self.record(whom, (label, 0), u32::MAX)?.map(|(record, _)| record).ok_or_else(missing)
    }
}
