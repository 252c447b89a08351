//! The engine's actions, each as questions and system calls.

use super::{AT_CREATE, AT_RECORD, AT_RESTART, AT_START, NOTE_UPDATE, load_failed};
use crate::manager::Manager;
use crate::repository::VAULT;
use alloc::format;
use alloc::string::String;
use hic_abi::{Handle, Rights, name_str};
use hic_control::{fault, grants};
use hic_hicmod::manifest::Version;
use hic_migrate::{Place, Prepare, Protocols, Question, Side};
use hic_rt::{log, sys};
use hic_store::Defaults;
use hic_update::{Action, Event, Failed, Who};
use module_manager::journal::Phase;

impl Manager {
    pub(super) fn carry_out(&mut self, action: Action) -> Option<Event<'static>> {
        match action {
            Action::CheckModule => Some(Event::Checked(self.checked())),
            Action::CreateInstance => Some(Event::Created(self.create_new())),
            Action::StartInstance => Some(Event::Started(self.start_new())),
            Action::Prepare { who, side } => {
                self.ask_party(who, &Question::Prepare(self.plan(who, side)?));
                None
            }
            Action::Ask { to, question } => {
                self.ask_party(to, &question);
                None
            }
            Action::PlaceToken { at } => Some(Event::Placed(self.place_token(at))),
            Action::Transact { from, to, caps, slots, switch_service_ports, .. } => {
                Some(Event::Transacted(self.transact(from, to, &caps, &slots, switch_service_ports)))
            }
            Action::Restart(who) => Some(Event::Restarted { who, result: self.restart_party(who) }),
            Action::Destroy(who) => {
                self.destroy_party(who);
                Some(Event::Destroyed(who))
            }
            Action::RecordDefault(who) => self.record_default(who),
            Action::Share { who, quota } => {
                self.set_share(who, quota);
                None
            }
            Action::Freeze(who) => {
                self.freeze_party(who);
                None
            }
            Action::DropToken => {
                self.drop_token();
                None
            }
            Action::Log(note) => {
                self.tell_update(format!("{note}"));
                None
            }
            Action::Finish(outcome) => {
                let report = self.update.as_ref()?.engine.report();
                let took = report.ended.unwrap_or(report.started).saturating_sub(report.started) / 1_000_000;
                // A manager that is started again says the end again: by its start one sees that it is the same update.
                self.note(
                    NOTE_UPDATE,
                    report.started,
                    format_args!("update {} in {took} ms", outcome.code()),
                );
                self.note(NOTE_UPDATE, report.started, format_args!("items given up: {}", report.lost));
                format!("{report}").lines().for_each(|line| self.tell_update(String::from(line)));
                None
            }
        }
    }

    /// A line for the log and for whoever follows the update.
    pub fn tell_update(&mut self, line: String) {
        if let Some(running) = &mut self.update {
            running.report.add(line.clone());
            self.journal.update.told = running.report.told() as u64;
        }
        // Those who follow a plan, too.
        self.tell_moving(&line);
        // After the line is there: the log's news is what wakes those who follow.
        log!("update: {line}");
    }

    pub(super) fn ask_party(&self, who: Who, question: &Question) {
        if let Some(index) = self.party(who) {
            self.ask(index, &question.encode());
        }
    }

    pub(super) fn create_new(&mut self) -> Result<(), Failed> {
        self.destroy_party(Who::New);
        let (old, module) =
            self.party(Who::Old).zip(self.new_module()).ok_or(Failed { code: 0, at: AT_CREATE })?;
        let made = self.create_successor(module, old);
        let new = made.map_err(|error| load_failed(AT_CREATE, &error))?;
        self.set_party(Who::New, Some(new));
        for (one, other) in [(old, new), (new, old)] {
            let state = self.state_of(other).map_or(0, |(slot, _)| slot);
            self.journal.records[one].peer = state;
            if self.runs(one) {
                self.show(one, state, Rights::READ).map_err(|error| load_failed(AT_CREATE, &error))?;
            }
        }
        Ok(())
    }

    pub(super) fn start_new(&mut self) -> Result<(), Failed> {
        let lost = Failed { code: 0, at: AT_START };
        let new = self.party(Who::New).ok_or(lost)?;
        if self.sandbox_info(new).is_some_and(|info| info.threads > 0) {
            return Ok(());
        }
        // A start that was cut off left mappings behind; without a thread nobody hears of the freeze.
        let sandbox = self.journal.records[new].instance.sandbox;
        let _ = (sys::sandbox_freeze(sandbox, fault::REASON_RESTART), sys::sandbox_reset(sandbox));
        self.launch_record(new).map_err(|error| load_failed(AT_START, &error))?;
        if let Some((name, calls)) = self.fuse.take() {
            if self.journal.find(&name) == Some(new) {
                let _ = sys::sandbox_fuse(self.journal.records[new].instance.sandbox, calls, 1);
            } else {
                self.fuse = Some((name, calls));
            }
        }
        Ok(())
    }

    /// The state region of an instance: the manager's slot, and where it lies.
    pub(super) fn state_of(&self, index: usize) -> Option<(Handle, Place)> {
        let record = self.journal.records.get(index)?;
        let grant = record.granted().iter().find(|grant| name_str(&grant.name).starts_with(grants::STATE))?;
        let mine =
            |slot: &&Handle| sys::region_info(**slot).is_ok_and(|(address, _)| address == grant.address);
        let slot = record.mapped_regions().iter().find(mine)?;
        Some((*slot, Place { address: grant.address, bytes: grant.length }))
    }

    pub(super) fn plan(&self, who: Who, side: Side) -> Option<Prepare> {
        let (own, peer) = self.party(who).zip(self.party(who.other()))?;
        let sections = [own, peer].map(|index| {
            let module = self.module_of(&self.journal.records[index]).ok().and_then(|m| self.modules.get(m));
            module.and_then(|m| m.module.manifest.update.as_ref())
        });
        let schemas = sections.map(|section| section.map_or(1, |update| update.schema));
        let spoken = sections[1].map(|update| update.protocols).unwrap_or_default();
        Some(Prepare {
            side,
            lane: if who == Who::Old { 0 } else { 1 },
            peer_state: self.state_of(peer)?.1,
            peer_serial: self.journal.records[peer].instance.serial,
            token: self.journal.records[own].token,
            protocols: Protocols { lowest: spoken.lowest, highest: spoken.highest },
            schema: schemas.into_iter().min().unwrap_or(1),
        })
    }

    pub(super) fn restart_party(&mut self, who: Who) -> Result<(), Failed> {
        let index = self.party(who).ok_or(Failed { code: 0, at: AT_RESTART })?;
        let _ = sys::sandbox_freeze(self.journal.records[index].instance.sandbox, fault::REASON_RESTART);
        match self.restart(index) {
            Ok(_) => Ok(()),
            Err(error) => Err(load_failed(AT_RESTART, &error)),
        }
    }

    pub(super) fn freeze_party(&mut self, who: Who) {
        if let Some(index) = self.party(who) {
            // Its phase first: the monitor, which hears of the freeze, must not have it started again.
            self.journal.records[index].phase = Phase::STOPPED;
            let _ = sys::sandbox_freeze(self.journal.records[index].instance.sandbox, fault::REASON_RESTART);
        }
    }

    pub(super) fn destroy_party(&mut self, who: Who) {
        let Some(index) = self.party(who) else { return };
        // The survivor must not be shown memory that is going.
        if let Some(other) = self.party(who.other()) {
            let record = &mut self.journal.records[other];
            let peer = core::mem::replace(&mut record.peer, 0);
            let _ = sys::region_unmap(record.instance.sandbox, peer);
        }
        self.discard_instance(index);
        self.set_party(who, None);
    }

    pub(super) fn record_default(&mut self, who: Who) -> Option<Event<'static>> {
        if self.journal.find(VAULT).is_none() {
            log!("update: no system disk; after a boot the archive's version is the default");
            return Some(Event::Recorded(Ok(())));
        }
        if self.enter_default(who).is_none() {
            return Some(Event::Recorded(Err(Failed { code: 0, at: AT_RECORD })));
        }
        if let Some(running) = &mut self.update {
            running.recording = true;
        }
        self.write_defaults();
        None
    }

    /// Enters a version as the default, or has the record say again what it said before that. `None`: it cannot be entered.
    fn enter_default(&mut self, who: Who) -> Option<()> {
        let request = self.request()?;
        let (version, other) = match who {
            Who::Old => (&request.from, &request.to),
            Who::New => (&request.to, &request.from),
        };
        let module = self.module(name_str(&request.service), name_str(version));
        let epoch = module.map_or(0, |module| self.modules[module].module.manifest.epoch);
        let name = name_str(&request.service).parse().ok()?;
        let [version, other] = [version, other].map(|text| name_str(text).parse::<Version>().ok());
        let (version, other) = version.zip(other)?;
        let defaults = self.repository.defaults.get_or_insert_with(Defaults::default);
        let running = self.update.as_mut()?;
        match running.before.clone().filter(|_| who == Who::Old) {
            // Not by the older version's own epoch: the newer one raised it, and whoever is below it would not be started. A manager that dies
            // between the two does not know any more what was said, and leaves the epoch raised.
            Some(before) => defaults.restore(before),
            None => {
                let said =
                    defaults.choose(&name, epoch, |defaults| defaults.set_default(&name, version, other));
                // Of two tries, what was said before the first.
                running.before.get_or_insert(said.ok()?);
            }
        }
        Some(())
    }

    pub(super) fn finish_record(&mut self) {
        let Some(result) = self.repository.written else { return };
        let Some(running) = &mut self.update else { return };
        if core::mem::take(&mut running.recording) {
            let result = result.map_err(|error| {
                log!("update: the default is not recorded: {error}");
                Failed { code: error as u64, at: AT_RECORD }
            });
            self.drive(Event::Recorded(result));
        }
    }
}
