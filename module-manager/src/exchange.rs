//! Exchange in place: the instance of a driver goes on from another image, with all that it holds (docs/adr/0034).
//!
//! ```text
//!   the new image is placed beside ─▶ Forward: frozen, reset, started from it ─▶ Watch ─▶ Recording ─▶ Keeping: the old image ends
//!                                          └─ cannot be started ─┐                └─ died, hangs
//!                                                                └──────▶ Back: frozen, reset, started from the old image; the new one ends
//! ```
//! It is a restart in place (docs/adr/0006) but for the image: sandbox, capabilities, state regions, devices, ports and queued calls stay. So a
//! device is never without its driver for longer than a restart takes. The journal says how far it is; a manager that died does the step over.

use crate::boot::version_of;
use crate::manager::{Manager, StartError, at};
use crate::modules::is_version;
use crate::services::Purpose;
use alloc::format;
use alloc::string::String;
use hic_abi::object::AccountSpec;
use hic_abi::{FOREVER, Nanos, PAGE_SIZE, SELF, name_bytes, name_str};
use hic_control::fault;
use hic_hicmod::manifest::{Name, Version};
use hic_rt::loader::new_slot;
use hic_rt::{cap, clock, log, sys};
use hic_store::defaults::Said;
use hic_store::{Defaults, StoreError};
use hic_update::Phase as UpdatePhase;
use module_manager::journal::{ExchangeRecord, ImagePlace, Phase, Seen, Stage, Turn};
use module_manager::plan::{How, how, in_place};

/// How long the old image is kept: a service that answers nothing is noticed within two questions of the monitor, which come every 5 s and take
/// 2 s at most (`monitor/src/liveness.rs`).
const WATCH: Nanos = 20_000_000_000;
/// From one look at the processor time of a watched instance to the next.
const LOOK: Nanos = 3_000_000_000;
/// Thousandths of the processor between two looks above which a driver has nobody let work: it hangs. The monitor's questions alone would find that out
/// late, since whoever is less important does not answer them either.
const MAX_LOAD: u64 = 950;
/// Frames of a new image's account beyond the image: the region's bookkeeping.
const SPARE_FRAMES: u64 = 8;
/// Kernel objects of that account: the region.
const OBJECTS: u64 = 2;
/// Code of the notes in the audit log.
const NOTE_EXCHANGE: u64 = 5;

/// What of an exchange need not outlive the manager.
#[derive(Debug, Default)]
pub struct Exchanging {
    /// How the last one ended, until somebody asks; of one that failed `code: sentence`.
    pub outcome: Option<Result<String, String>>,
    /// When the watched instance was looked at last, and the processor time that it had used.
    looked: Option<(Nanos, Nanos)>,
    /// What the record of defaults said before the new default was to be written; `None`: this start of the manager did not ask for that.
    before: Option<Said>,
}

impl Manager {
    /// Begins the exchange of a driver. `exchanging.outcome` tells how it ended.
    ///
    /// # Errors
    /// `code: sentence`; nothing was touched, or it runs from the old image again.
    pub fn begin_exchange(&mut self, name: &Name, version: Version, module: usize) -> Result<(), String> {
        let index =
            self.journal.find(name).ok_or_else(|| format!("not-found: there is no service {name}"))?;
        self.may_exchange(index, module)?;
        self.granted(module, Purpose::Replace).map_err(|error| crate::tasks::start_failed(&error))?;
        let made = self.place_image(index, module);
        made.map_err(|error| crate::tasks::start_failed(&error))?;
        self.note(NOTE_EXCHANGE, 0, format_args!("exchange {name} {version}"));
        let began = clock::now();
        // Of one whose task ended with the manager, nobody asked.
        self.exchanging.outcome = None;
        self.journal.exchange.enter(Stage::FORWARD);
        if let Err(error) = self.put(index, self.journal.exchange.to) {
            return Err(self.put_back(&crate::tasks::start_failed(&error)));
        }
        let now = clock::now();
        self.journal.exchange.watch(now.saturating_add(WATCH));
        self.exchanging.looked = None;
        self.tell_task(format!(
            "{name} {version} goes on with what the version before held, after {} us; watched for {} s",
            now.saturating_sub(began) / 1000,
            WATCH / 1_000_000_000
        ));
        Ok(())
    }

    fn may_exchange(&self, index: usize, module: usize) -> Result<(), String> {
        if self.journal.exchange.is_open() {
            return Err("busy: another driver is being exchanged; ask again when that is over".into());
        }
        let moving = self.update.as_ref().filter(|running| !running.engine.is_over());
        if moving.is_some_and(|running| running.engine.status().phase != UpdatePhase::Watch) {
            return Err("update-running: connections are being moved; ask again when that is over".into());
        }
        let record = &self.journal.records[index];
        if !self.runs(index) {
            return Err("not-serving: the service does not run; start it first".into());
        }
        let running = self.module_of(record).map_err(|error| crate::tasks::start_failed(&error))?;
        let [from, to] = [running, module].map(|at| &self.modules[at].module.manifest);
        match how(Some(from), to) {
            How::InPlace => in_place(&self.decide(from).granted, &self.decide(to).granted)
                .map_err(|reason| format!("not-possible: {reason}"))?,
            How::Offline(reason) => return Err(format!("not-possible: {reason}")),
            other => return Err(format!("not-possible: {other}")),
        }
        let image = &self.modules[module].module.image;
        let pages =
            image.memory_pages() as u64 + u64::from(to.stack_pages) + u64::from(to.heap_pages) + SPARE_FRAMES;
        // Twice the need, as for every update (ledger P1.10).
        let (free, wanted) = (self.free_memory(), 2 * pages * PAGE_SIZE);
        if free < wanted {
            return Err(crate::tasks::refused(&module_manager::install::Refused::Memory { free, wanted }));
        }
        Ok(())
    }

    /// Places the image of a module beside the one that the instance runs from.
    fn place_image(&mut self, index: usize, module: usize) -> Result<(), StartError> {
        let (image, manifest) = (self.modules[module].module.image, &self.modules[module].module.manifest);
        let (stack, heap) = (u64::from(manifest.stack_pages), u64::from(manifest.heap_pages));
        let (name, version) = (name_bytes(&manifest.name), version_of(manifest.version));
        let (account, region) = (new_slot()?, new_slot()?);
        let from = self.journal.records[index].image();
        let to = ImagePlace { account, region, version, stack_pages: stack, heap_pages: heap, address: 0 };
        self.journal.exchange.begin(index, from, to);
        let frames = image.memory_pages() as u64 + stack + heap + 1 + SPARE_FRAMES;
        let spec = AccountSpec { frames, objects: OBJECTS, name };
        let account_made = sys::create_account(self.account, account, &spec).map_err(at("account"));
        let instance = self.journal.records[index].instance;
        let placed = account_made
            .and_then(|()| Ok(instance.with_image((account, region), &image, (stack, heap))?))
            .inspect_err(|_| self.end_image(index, &to))?;
        self.journal.exchange.to.address = placed.address;
        Ok(())
    }

    /// Starts the instance from this image, over all that it holds; can be done over after a crash at any point.
    fn put(&mut self, index: usize, place: ImagePlace) -> Result<(), StartError> {
        let sandbox = self.journal.records[index].instance.sandbox;
        self.journal.records[index].phase = Phase::RESTARTING;
        let _ = sys::sandbox_freeze(sandbox, fault::REASON_RESTART);
        self.journal.records[index].set_image(&place);
        let module = self.module_of(&self.journal.records[index])?;
        let image = self.modules[module].module.image;
        self.journal.records[index].instance.reset(&image)?;
        self.launch_record(index)?;
        let record = &mut self.journal.records[index];
        record.info.restarts += 1;
        record.phase = Phase::LIVE;
        Ok(())
    }

    /// Ends an image that nobody runs from any more, and closes the exchange if it was the new one.
    fn end_image(&mut self, index: usize, place: &ImagePlace) {
        let own = self.journal.records[index].instance.account;
        let _ = sys::destroy(SELF, place.region);
        cap::drop_slot(place.region);
        if place.account != own {
            let _ = sys::destroy(SELF, place.account);
            cap::drop_slot(place.account);
        }
        self.journal.exchange.enter(Stage::NONE);
    }

    /// Starts the instance from the old image again and ends the new one; why, and what became of it.
    fn put_back(&mut self, reason: &str) -> String {
        self.journal.exchange.enter(Stage::BACK);
        let ExchangeRecord { index, from, to, .. } = self.journal.exchange;
        let index = index as usize;
        let put = self.put(index, from);
        self.end_image(index, &to);
        let title = self.titled(index);
        let became = match put {
            Ok(()) => format!("{title} runs again, with what it held"),
            Err(error) => format!("{title} cannot be started from its old image: {error}"),
        };
        self.note(NOTE_EXCHANGE, 2, format_args!("back to {title}"));
        log!("back to {title}: {reason}; {became}");
        format!("{reason}; {became}")
    }

    /// The same for an exchange that somebody may be waiting for.
    fn go_back(&mut self, reason: &str) {
        self.exchanging.outcome = Some(Err(self.put_back(reason)));
    }

    /// Ends the old image: there is no way back any more but another exchange.
    fn keep_image(&mut self) {
        self.journal.exchange.enter(Stage::KEEPING);
        let ExchangeRecord { index, from, to, .. } = self.journal.exchange;
        let index = index as usize;
        let record = &mut self.journal.records[index];
        for slot in [from.region, from.account, to.account, to.region] {
            if slot != record.instance.account {
                record.let_go(slot);
            }
        }
        // Destroyed the other way round: the account can only go when its region has.
        let held = record.hold(to.account) && record.hold(to.region);
        if !held {
            log!("service {index} holds too much: its image stays when it ends");
        }
        self.end_image(index, &from);
    }

    /// Goes on with an exchange; when to look again.
    pub fn exchange_turn(&mut self) -> Nanos {
        if !self.journal.exchange.is_open() {
            return FOREVER;
        }
        let index = self.journal.exchange.index as usize;
        let is_watched = self.journal.exchange.stage() == Stage::WATCH;
        let seen = Seen {
            now: clock::now(),
            runs: self.runs(index),
            hangs: is_watched && self.is_hanging(index),
            asked: self.exchanging.before.as_ref().map(|_| self.repository.written),
        };
        match self.journal.exchange.next(seen) {
            Turn::Wait(until) if is_watched => return until.min(seen.now.saturating_add(LOOK)),
            Turn::Wait(until) => return until,
            Turn::Hangs => {
                let title = self.titled(index);
                self.go_back(&format!(
                    "hangs: {title} kept the processor to itself for {} s",
                    LOOK / 1_000_000_000
                ));
            }
            Turn::NotServing => self.go_back(&format!("not-serving: {} does not run", self.titled(index))),
            Turn::Record => self.record_exchange(),
            Turn::Recorded(written) => self.exchange_recorded(written),
        }
        FOREVER
    }

    /// Whether the instance used more of the processor since the last look than one that works with others does.
    fn is_hanging(&mut self, index: usize) -> bool {
        let (now, used) = (clock::now(), self.sandbox_info(index).map_or(0, |info| info.cpu_nanos));
        let (then, before) = *self.exchanging.looked.get_or_insert((now, used));
        if now.saturating_sub(then) < LOOK {
            return false;
        }
        self.exchanging.looked = Some((now, used));
        used.saturating_sub(before).saturating_mul(1000) / now.saturating_sub(then) > MAX_LOAD
    }

    fn titled(&self, index: usize) -> String {
        let info = &self.journal.records[index].info;
        format!("{} {}", name_str(&info.name), name_str(&info.version))
    }

    /// It has proved healthy: that it is the default is written down before anybody is told.
    fn record_exchange(&mut self) {
        let ExchangeRecord { index, from, to, .. } = self.journal.exchange;
        let record = &self.journal.records[index as usize];
        let epoch = self.module_of(record).map_or(0, |module| self.modules[module].module.manifest.epoch);
        let parse = |text: &[u8; 16]| name_str(text).parse::<Version>().ok();
        let name = name_str(&record.info.name).parse::<Name>().ok();
        let Some(((name, to), from)) = name.zip(parse(&to.version)).zip(parse(&from.version)) else {
            return self.go_back("malformed: a version cannot be read");
        };
        let defaults = self.repository.defaults.get_or_insert_with(Defaults::default);
        match defaults.choose(&name, epoch, |defaults| defaults.set_default(&name, to, from)) {
            Ok(before) => self.exchanging.before = Some(before),
            Err(error) => return self.go_back(&format!("no-room: {error}")),
        }
        self.journal.exchange.enter(Stage::RECORDING);
        self.write_defaults();
    }

    fn exchange_recorded(&mut self, written: Result<(), StoreError>) {
        let ExchangeRecord { index, from, to, .. } = self.journal.exchange;
        let Some(before) = self.exchanging.before.take() else { return };
        let title = self.titled(index as usize);
        let durable = match written {
            Ok(()) => "",
            Err(StoreError::NoDisk) => "; until the next boot only, since there is no disk to keep it on",
            // An earlier start of the manager wrote it.
            Err(_) if before.version().is_some_and(|version| is_version(version, name_str(&to.version))) => {
                ""
            }
            Err(error) => {
                self.take_back(before);
                return self.go_back(&format!("{}: it could not be recorded: {error}", error.code()));
            }
        };
        self.keep_image();
        self.note(NOTE_EXCHANGE, 1, format_args!("exchanged {title}"));
        let old = name_str(&from.version);
        let text = format!("{title} serves in place of {old}{durable}");
        log!("{text}");
        self.exchanging.outcome = Some(Ok(text));
    }

    /// An instance died. If it runs from an image that is being watched, it goes on from the one before; `true` then.
    pub fn exchanged_died(&mut self, index: usize) -> bool {
        let exchange = &self.journal.exchange;
        if exchange.stage() != Stage::WATCH || exchange.index != index as u64 {
            return false;
        }
        self.go_back(&format!("instance-died: {} died while it was watched", self.titled(index)));
        true
    }

    /// Has a dead driver go on from the image of another version, which the record of defaults says already; `true` if it does.
    pub fn exchange_dead(&mut self, dead: usize, module: usize) -> bool {
        if self.journal.exchange.is_open() {
            return false;
        }
        let placed = self.place_image(dead, module);
        let put = placed.and_then(|()| {
            self.journal.exchange.enter(Stage::FORWARD);
            self.put(dead, self.journal.exchange.to)
        });
        match put {
            Ok(()) => self.keep_image(),
            Err(error) => {
                log!("{} cannot go on in another version: {error}", self.titled(dead));
                self.leave_dead();
            }
        }
        self.runs(dead)
    }

    /// Ends the new image of an exchange that is open. The instance stays dead: whether it is started again from the old one is for the policy to say.
    fn leave_dead(&mut self) {
        if !self.journal.exchange.is_open() {
            return;
        }
        self.journal.exchange.enter(Stage::BACK);
        let ExchangeRecord { index, from, to, .. } = self.journal.exchange;
        let record = &mut self.journal.records[index as usize];
        // A start that was cut off left it between frozen and running; what is to be reset is frozen.
        let _ = sys::sandbox_freeze(record.instance.sandbox, fault::REASON_RESTART);
        record.set_image(&from);
        self.end_image(index as usize, &to);
    }

    /// Whether this module is one of the two of an exchange that is under way.
    pub fn is_exchanged(&self, name: &str, version: Version) -> bool {
        let ExchangeRecord { index, from, to, .. } = self.journal.exchange;
        self.journal.exchange.is_open()
            && name_str(&self.journal.records[index as usize].info.name) == name
            && [from, to].iter().any(|place| is_version(version, name_str(&place.version)))
    }

    /// After a restart of the manager: the step that was cut off is done over.
    pub fn resume_exchange(&mut self) {
        let ExchangeRecord { index, to, .. } = self.journal.exchange;
        let index = index as usize;
        match self.journal.exchange.stage() {
            Stage::MAKING => self.end_image(index, &to),
            Stage::FORWARD => match self.put(index, to) {
                Ok(()) => self.journal.exchange.watch(clock::now().saturating_add(WATCH)),
                Err(error) => self.go_back(&crate::tasks::start_failed(&error)),
            },
            Stage::KEEPING => self.keep_image(),
            Stage::BACK => self.go_back("interrupted: the module manager died on the way back"),
            // [`Self::exchange_turn`] goes on.
            _ => {}
        }
    }
}
