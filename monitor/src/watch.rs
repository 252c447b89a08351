//! Faults and liveness: carries out what [`monitor::liveness`] says.

use crate::manager::{Failure, Manager};
use alloc::vec::Vec;
use hic_abi::{Error, Handle, Nanos, name_str};
use hic_control::fault::Words;
use hic_control::manager::{ServiceInfo, ServiceState};
use hic_control::monitor::FaultInfo;
use hic_rt::{clock, log};
use monitor::liveness::{Liveness, Seen, Step};
use monitor::store::Store;

/// Not watched: the keeper provides nothing that could be asked, and the monitor cannot ask itself.
const UNWATCHED: [&str; 2] = ["keeper", "monitor"];

/// The services as last listed, and the watch over them.
pub struct Watch {
    manager: Manager,
    liveness: Liveness,
    services: Vec<ServiceInfo>,
    seen: Vec<Seen>,
    ports: Vec<Option<Handle>>,
    /// The start of each service of which the manager has heard that it answers: serial number and restarts.
    told: Vec<(u64, u64)>,
}

impl Watch {
    /// A watch that begins at once: what froze while the monitor was gone is started again.
    pub fn new(manager: Manager) -> Self {
        let (services, seen, ports, told) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        Self { manager, liveness: Liveness::new(clock::now()), services, seen, ports, told }
    }

    /// Services there are, and how many of them run and answer.
    pub fn health(&self) -> (u64, u64) {
        let present =
            || self.seen.iter().enumerate().filter(|(_, seen)| !matches!(seen.state, ServiceState::Absent));
        let healthy = |(index, seen): &(usize, &Seen)| {
            seen.state == ServiceState::Running && !self.liveness.is_late(*index)
        };
        (present().count() as u64, present().filter(healthy).count() as u64)
    }

    /// Does one step that is due; when the next one is.
    pub fn act(&mut self, store: &mut Store<'_>) -> Nanos {
        let now = clock::now();
        match self.liveness.next(now, &self.seen) {
            Step::Wait(until) => return until,
            Step::List => self.list(),
            Step::Ask(index) => self.ask(index, store),
            Step::Revive(index) => self.revive(index, [0; 4], store),
        }
        now
    }

    fn list(&mut self) {
        match self.manager.list() {
            Ok(services) => {
                self.services = services;
                self.find_ports();
                self.liveness.listed(&self.seen);
            }
            Err(failure) => {
                log!("cannot list the services: {failure}");
                let silent = matches!(failure, Failure::Unreached(Error::Timeout));
                if self.liveness.not_listed(clock::now(), silent) {
                    log!("module-manager does not answer: killed");
                    self.manager.kill_manager().unwrap_or_else(|failure| {
                        log!("module-manager cannot be killed: {failure}");
                    });
                }
            }
        }
    }

    fn find_ports(&mut self) {
        self.seen.clear();
        self.ports.clear();
        for (index, service) in self.services.iter().enumerate() {
            let watched = service.endpoints > 0 && !UNWATCHED.contains(&name_str(&service.name));
            let port = if watched {
                self.manager.health_port(index, service.serial)
            } else {
                self.manager.forget_port(index);
                None
            };
            let state = match service.state {
                n if n == ServiceState::Running as u64 => ServiceState::Running,
                n if n == ServiceState::Frozen as u64 => ServiceState::Frozen,
                n if n == ServiceState::Absent as u64 => ServiceState::Absent,
                _ => ServiceState::Stopped,
            };
            self.ports.push(port);
            self.seen.push(Seen { state, askable: port.is_some(), serial: service.serial });
        }
    }

    fn name(&self, index: usize) -> &str {
        self.services.get(index).map_or("a service not listed yet", |s| name_str(&s.name))
    }

    fn ask(&mut self, index: usize, store: &mut Store<'_>) {
        let Some(Some(port)) = self.ports.get(index) else { return };
        let error = match self.manager.ping(*port) {
            Ok(()) => return self.answered(index),
            Err(error) => error,
        };
        if error != Error::Timeout {
            log!("{} answers the liveness question wrongly: {error}", self.name(index));
        }
        store.history_mut().missed += 1;
        if !self.liveness.missed(index) {
            return;
        }
        log!("{} does not answer: killed", self.name(index));
        let Some(service) = self.services.get(index).copied() else { return };
        if let Err(failure) = self.manager.kill(&service) {
            log!("{} cannot be killed: {failure}", self.name(index));
        }
    }

    /// A service answers. The module manager hears it once for each start: a version that was just made the default has to prove itself.
    fn answered(&mut self, index: usize) {
        self.liveness.answered(index);
        let Some(service) = self.services.get(index) else { return };
        let start = (service.serial, service.restarts);
        self.told.resize(self.told.len().max(index + 1), (0, 0));
        if self.told.get(index) != Some(&start)
            && self.manager.answered(index, service).is_ok()
            && let Some(told) = self.told.get_mut(index)
        {
            *told = start;
        }
    }

    /// A fault came: says so, remembers it, has the service started again.
    pub fn fault(&mut self, badge: u64, words: [u64; 4], store: &mut Store<'_>) {
        let Some(service) = badge.checked_sub(1) else {
            return log!("a fault without a service: {}", Words(words));
        };
        let index = service as usize;
        // Asked for anew: another instance may have come to this index since the last round.
        let died = self.manager.service(service).ok();
        let name = died.as_ref().map_or_else(|| self.name(index), |died| name_str(&died.name));
        log!("{name} {}", Words(words));
        let serial = died.map_or(0, |died| died.serial);
        store.history_mut().note_fault(FaultInfo { nanos: clock::now(), service, serial, words });
        if !Words(words).is_restart() {
            self.revive(index, words, store);
        }
        self.liveness.answered(index);
    }

    fn revive(&mut self, index: usize, fault: [u64; 4], store: &mut Store<'_>) {
        match self.manager.revive(index, fault) {
            Ok(true) => store.history_mut().restarts += 1,
            Ok(false) => log!("{} was not started again", self.name(index)),
            Err(failure) => log!("{} cannot be started again: {failure}", self.name(index)),
        }
        self.liveness.answered(index);
    }
}
