//! What an operator asks about modules and updates, and the answers.

use crate::manager::Manager;
use crate::modules::{NOTE_REFUSED, Origin};
use core::fmt::Write;
use hic_abi::{Plain, name_bytes, name_str};
use hic_control::manager::{self as request, ModuleInfo, ModuleState, UpdateInfo};
use hic_control::{OK, Refusal};
use hic_hicmod::verdict::{MAX_CHECK_BYTES, MAX_TEXT_BYTES};
use hic_rt::ipc::{Buffer, Message};
use hic_update::check::Refused;
use hic_update::{Event, Policy};

const SECOND: u64 = 1_000_000_000;
/// Longest sentence of a refusal, bytes.
const MAX_TEXT: usize = 512;

fn inline(buffer: &mut Buffer, bytes: &[u8]) -> Message {
    let len = buffer.put(bytes);
    let answer = Message::new(OK, [0; 4]);
    Message { info: answer.info.with_inline(len), ..answer }
}

fn refused(buffer: &mut Buffer, text: &str) -> Message {
    let len = buffer.put(text.as_bytes());
    let answer = Message::new(Refusal::Refused as u32, [0; 4]);
    Message { info: answer.info.with_inline(len), ..answer }
}

impl Manager {
    /// Answers a request about modules or updates; `None` if it is about something else.
    pub fn order(&mut self, message: Message, buffer: &mut Buffer) -> Option<Result<Message, Refusal>> {
        let [word, share, ..] = message.words;
        let text = core::str::from_utf8(buffer.data(message.info.inline_len()))
            .map(heapless::String::<96>::try_from);
        let text = move || text.ok().and_then(Result::ok).ok_or(Refusal::Malformed);
        Some(match message.label() {
            request::UPDATE => text().map(|text| self.order_update(&text, [word, share], buffer)),
            request::ROLLBACK if self.is_updating() => Ok(self.order_event(Event::RollbackRequested, buffer)),
            request::ROLLBACK => text().map(|service| {
                let result = self.roll_back(&service);
                self.accepted(result, (&service, ""), buffer)
            }),
            request::ABORT => Ok(self.order_event(Event::AbortRequested, buffer)),
            request::COMMIT => Ok(self.order_event(Event::CommitRequested, buffer)),
            request::UPDATE_STATUS => self.update_info().map(|info| inline(buffer, info.as_bytes())),
            request::UPDATE_LINE => self.update_line(word as usize, buffer),
            request::MODULES => self.module_info(word as usize).map(|info| inline(buffer, info.as_bytes())),
            request::SCAN => {
                if self.repository.is_idle() {
                    self.scan_repository();
                }
                Ok(Message::new(OK, [u64::from(self.repository.is_reading()), 0, 0, 0]))
            }
            request::INSTALL
            | request::REMOVE
            | request::REPLACE
            | request::PLAN
            | request::REFRESH
            | request::SOURCE_ADD
            | request::SOURCE_REMOVE => text().map(|text| match self.begin_task(message.label(), &text) {
                Ok(number) => Message::new(OK, [number, 0, 0, 0]),
                Err(refusal) => refused(buffer, &refusal),
            }),
            request::SOURCE => self.source_text(word as usize).map(|text| inline(buffer, text.as_bytes())),
            request::TASK => self.task_info().map(|info| inline(buffer, info.as_bytes())),
            request::TASK_LINE => self.task_line(word as usize).map(|line| inline(buffer, line.as_bytes())),
            _ => return None,
        })
    }

    fn order_update(&mut self, text: &str, [watch, share]: [u64; 2], buffer: &mut Buffer) -> Message {
        let Some((service, version)) = text.split_once(' ') else {
            return Message::new(Refusal::Malformed as u32, [0; 4]);
        };
        let mut policy = Policy::default();
        if let Some(seconds) = watch.checked_sub(1) {
            policy.watch = seconds.saturating_mul(SECOND);
        }
        if share != 0 {
            policy.share = share;
        }
        if let Some(objection) = self.objection(service, version) {
            self.note(NOTE_REFUSED, 0, format_args!("{}: {service} {version}", objection.check));
            let mut text = heapless::String::<MAX_TEXT>::new();
            // Cut where the answer has no more room.
            let _ = write!(text, "{objection}");
            return refused(buffer, &text);
        }
        let result = self.begin_update(service, version, policy);
        if let Err(error) = &result {
            self.note(NOTE_REFUSED, 0, format_args!("{}: {service} {version}", error.code()));
        }
        self.accepted(result, (service, version), buffer)
    }

    fn accepted(
        &self,
        result: Result<(), Refused>,
        (service, version): (&str, &str),
        buffer: &mut Buffer,
    ) -> Message {
        match result {
            Ok(()) => Message::new(OK, [0; 4]),
            Err(error) => {
                let mut text = heapless::String::<MAX_TEXT>::new();
                self.explain(&error, service, version, &mut text);
                refused(buffer, &text)
            }
        }
    }

    fn order_event(&mut self, event: Event<'_>, buffer: &mut Buffer) -> Message {
        let Some(running) = self.update.as_ref().filter(|running| !running.engine.is_over()) else {
            return refused(buffer, "no-update: no update is under way");
        };
        if running.engine.accepts(&event) {
            self.drive(event);
            return Message::new(OK, [0; 4]);
        }
        let mut text = heapless::String::<MAX_TEXT>::new();
        // Cut where the answer has no more room.
        let _ =
            write!(text, "too-late: this is not possible any more, or not yet; {}", running.engine.status());
        refused(buffer, &text)
    }

    fn update_info(&self) -> Result<UpdateInfo, Refusal> {
        let running = self.update.as_ref().ok_or(Refusal::NotFound)?;
        let (report, status) = (running.engine.report(), running.engine.status());
        let outcome = report.outcome.as_ref();
        let reason = match outcome {
            Some(hic_update::Outcome::AbortedBeforeStart { refusal }) => refusal.code(),
            _ => report.reason.as_ref().map_or("", |reason| reason.code()),
        };
        Ok(UpdateInfo {
            service: report.request.service,
            from: report.request.from,
            to: report.request.to,
            step: name_bytes(status.phase.name()),
            outcome: name_bytes(outcome.map_or("", |outcome| outcome.code())),
            reason: name_bytes(reason),
            running: outcome.is_none().into(),
            step_number: status.number().unwrap_or(0),
            steps: hic_update::STEPS,
            total: report.total,
            moved: report.migrated + report.moved_back,
            lost: report.lost,
            batches: report.batches,
            longest_freeze: report.longest_freeze,
            mean_freeze: report.mean_freeze,
            downtime: report.downtime,
            share: report.request.policy.share,
            moving: report.moving,
            began: report.started,
            ended: report.ended.unwrap_or(0),
        })
    }

    /// A line of the report.
    fn update_line(&self, index: usize, buffer: &mut Buffer) -> Result<Message, Refusal> {
        let running = self.update.as_ref().ok_or(Refusal::NotFound)?;
        let line = running.lines.get(index).ok_or(Refusal::NotFound)?;
        Ok(inline(buffer, line.as_bytes()))
    }

    fn module_info(&self, index: usize) -> Result<ModuleInfo, Refusal> {
        if let Some(loaded) = self.modules.get(index) {
            let manifest = &loaded.module.manifest;
            let version = crate::boot::version_of(manifest.version);
            let is_it = |info: &request::ServiceInfo| {
                name_str(&info.name) == manifest.name && info.version == version
            };
            let instances = self.journal.services().iter().filter(|r| r.is_used() && is_it(&r.info)).count();
            let state = if loaded.trust.state == module_manager::journal::Trust::UNVERIFIED {
                ModuleState::Unverified
            } else {
                ModuleState::Verified
            };
            return Ok(ModuleInfo {
                name: name_bytes(&manifest.name),
                version,
                state: state as u64,
                origin: if loaded.origin == Origin::Archive { 1 } else { 2 },
                instances: instances as u64,
                development: loaded.trust.development,
                bytes: loaded.file.length,
                digest: loaded.trust.digest,
                signer: loaded.trust.signer,
                ..ModuleInfo::zeroed()
            });
        }
        let mut refused = self.repository.files().filter_map(|file| Some((file, file.refusal()?)));
        let (file, refusal) = refused.nth(index - self.modules.len()).ok_or(Refusal::NotFound)?;
        let mut reason = heapless::String::<{ MAX_CHECK_BYTES + MAX_TEXT_BYTES + 2 }>::new();
        // It fits: both parts have their bounds.
        let _ = write!(reason, "{refusal}");
        Ok(ModuleInfo {
            name: name_bytes(&file.name),
            state: ModuleState::Refused as u64,
            origin: 2,
            reason: name_bytes(&reason),
            ..ModuleInfo::zeroed()
        })
    }
}
