//! What an operator asks about modules and updates, and the answers.

use crate::manager::Manager;
use crate::metadata::{Offer, needs_of};
use crate::modules::{NOTE_REFUSED, Origin};
use alloc::string::String;
use core::fmt::Write;
use hic_abi::{Plain, name_bytes, name_str};
use hic_control::manager::{self as request, ModuleInfo, ModuleOrigin, ModuleState, UpdateInfo};
use hic_control::{OK, Refusal};
use hic_hicmod::signature::release_uuid;
use hic_hicmod::verdict::{MAX_CHECK_BYTES, MAX_TEXT_BYTES};
use hic_rt::ipc::{Buffer, Message};
use hic_update::check::Refused;
use hic_update::{Event, Policy};
use module_manager::journal::CachedModule;

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

fn begun_task(begun: Result<u64, String>, buffer: &mut Buffer) -> Message {
    match begun {
        Ok(number) => Message::new(OK, [number, 0, 0, 0]),
        Err(refusal) => refused(buffer, &refusal),
    }
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
            request::ROLLBACK => text().map(|service| self.order_rollback(&service, buffer)),
            request::ABORT => Ok(self.order_event(Event::AbortRequested, buffer)),
            request::COMMIT => Ok(self.order_event(Event::CommitRequested, buffer)),
            request::UPDATE_STATUS => self.update_info().map(|info| inline(buffer, info.as_bytes())),
            request::UPDATE_LINE => self.update_line(word as usize, buffer),
            request::MODULES => {
                if word == 0 {
                    self.count_offers();
                }
                self.module_info(word as usize).map(|info| inline(buffer, info.as_bytes()))
            }
            request::MODULE_LINE => text()
                .and_then(|text| self.module_line(&text, word as usize))
                .map(|line| inline(buffer, line.as_bytes())),
            request::DENIED => self.denial(share, word as usize).map(|line| inline(buffer, line.as_bytes())),
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
            | request::SOURCE_REMOVE => {
                text().map(|text| begun_task(self.begin_task(message.label(), &text), buffer))
            }
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
        self.order_exchange(service, version, policy, buffer)
    }

    fn order_exchange(
        &mut self,
        service: &str,
        version: &str,
        policy: Policy,
        buffer: &mut Buffer,
    ) -> Message {
        if let Some(refusal) = self.objected(service, version, buffer) {
            return refusal;
        }
        self.note_downgrade(service, version);
        if !self.moves_alone(service, version)
            && let Ok(wanted) = version.parse()
            && self.journal.find(service).is_some()
        {
            return begun_task(self.begin_planned(service, wanted, policy), buffer);
        }
        let result = self.begin_update(service, version, policy);
        if let Err(error) = &result {
            let file = match error {
                Refused::Module { .. } => self.refused_file(service, version).and_then(|file| file.refusal()),
                _ => None,
            };
            let check = file.map_or(error.code(), |refusal| &refusal.check);
            self.note(NOTE_REFUSED, 0, format_args!("{check}: {service} {version}"));
        }
        self.accepted(result, (service, version), buffer)
    }

    /// The answer to who wants a version that is not put to use any more.
    fn objected(&self, service: &str, version: &str, buffer: &mut Buffer) -> Option<Message> {
        let objection = self.objection(service, version)?;
        self.note(NOTE_REFUSED, 0, format_args!("{}: {service} {version}", objection.check));
        let mut text = heapless::String::<MAX_TEXT>::new();
        // Cut where the answer has no more room.
        let _ = write!(text, "{objection}");
        Some(refused(buffer, &text))
    }

    fn order_rollback(&mut self, service: &str, buffer: &mut Buffer) -> Message {
        if self.is_updating_that(service) {
            return self.order_event(Event::RollbackRequested, buffer);
        }
        // After the commit it is an update of its own.
        match self.version_before(service) {
            Ok((version, policy)) => self.order_exchange(service, name_str(&version), policy, buffer),
            Err(error) => self.accepted(Err(error), (service, ""), buffer),
        }
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
            moved: report.migrated.saturating_add(report.moved_back),
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
        let line = running.report.line(index).ok_or(Refusal::NotFound)?;
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
                origin: self.origin_of(loaded.origin) as u64,
                uuid: release_uuid(&manifest.name, manifest.version).0,
                epoch: manifest.epoch.into(),
                needs: name_bytes(&needs_of(&manifest.needs, &manifest.dependencies)),
                instances: instances as u64,
                development: loaded.trust.development,
                bytes: loaded.file.length,
                digest: loaded.trust.digest,
                signer: loaded.trust.signer,
                publisher: name_bytes(&manifest.publisher),
                ..ModuleInfo::zeroed()
            });
        }
        let rest = index - self.modules.len();
        let mut refused = self.repository.files().filter_map(|file| Some((file, file.refusal()?)));
        let Some((file, refusal)) = refused.nth(rest) else {
            let refused = self.repository.files().filter(|file| file.refusal().is_some()).count();
            let number = self.repository.offered.get(rest - refused).ok_or(Refusal::NotFound)?;
            let list = self.repository.mirrors.list().ok_or(Refusal::NotFound)?;
            return list.offers.get(*number).map(|offer| self.offer_info(offer)).ok_or(Refusal::NotFound);
        };
        let mut reason = heapless::String::<{ MAX_CHECK_BYTES + MAX_TEXT_BYTES + 2 }>::new();
        // It fits: both parts have their bounds.
        let _ = write!(reason, "{refusal}");
        Ok(ModuleInfo {
            name: name_bytes(&file.name),
            state: ModuleState::Refused as u64,
            origin: ModuleOrigin::Disk as u64,
            reason: name_bytes(&reason),
            ..ModuleInfo::zeroed()
        })
    }

    /// Notes which offers a listing that begins now shows: to find that out for each row anew would take the square of them.
    fn count_offers(&mut self) {
        let offered = self.offered().map(|(number, _)| number).collect();
        self.repository.offered = offered;
    }

    fn origin_of(&self, origin: Origin) -> ModuleOrigin {
        let Origin::Repository(place) = origin else { return ModuleOrigin::Archive };
        match self.journal.cached.get(place).map(|cached| cached.from) {
            Some(CachedModule::NETWORK) => ModuleOrigin::Network,
            Some(CachedModule::SYSTEM) => ModuleOrigin::System,
            _ => ModuleOrigin::Disk,
        }
    }

    /// A module that the repository's list names and that was not fetched yet: what is known of it before a byte of it is here.
    fn offer_info(&self, offer: &Offer) -> ModuleInfo {
        let mut source = heapless::String::<72>::new();
        if let Some(place) = self.repository.mirrors.leading_place() {
            // An address is shorter.
            let _ = write!(source, "{place}");
        }
        ModuleInfo {
            name: name_bytes(&offer.name),
            version: crate::boot::version_of(offer.version),
            state: ModuleState::Offered as u64,
            origin: ModuleOrigin::Network as u64,
            bytes: offer.length.into(),
            digest: offer.digest,
            uuid: release_uuid(&offer.name, offer.version).0,
            epoch: offer.epoch.into(),
            needs: name_bytes(&offer.needs),
            source: name_bytes(&source),
            signer: name_bytes(&offer.names.signer),
            publisher: name_bytes(&offer.names.publisher),
            ..ModuleInfo::zeroed()
        }
    }
}
