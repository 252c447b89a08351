//! What the module manager knows and does.

use super::Sources;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use console::error::CommandError;
use console::report::MAX_ROWS;
use console::report::processor::{Processor, Share};
use console::report::services::{Service, Services};
use console::report::system::Done;
use hic_abi::inspect::{SandboxInfo, What};
use hic_abi::{Error, name_str};
use hic_control::Refusal;
use hic_control::fault::Words;
use hic_control::manager::{KILL, LIST, RESTART, ServiceInfo, ServiceState};
use hic_control::monitor::{FAULTS, FaultInfo};

pub(super) const MANAGER: &str = "module-manager";
/// Faults that the console looks through for the last one of each service.
const MAX_FAULTS: u64 = 64;

impl Sources {
    /// The module manager's records of all instances, with their indices.
    fn instances(&mut self) -> Result<Vec<(u64, ServiceInfo)>, CommandError> {
        let mut instances = Vec::new();
        for index in 0..MAX_ROWS as u64 {
            let at = (LIST, index);
            let Some((info, _)) = self.record::<ServiceInfo>(MANAGER, at, Refusal::NotFound as u32)? else {
                break;
            };
            if info.state != ServiceState::Absent as u64 {
                instances.push((index, info));
            }
        }
        Ok(instances)
    }

    /// `processor`
    pub fn processor(&mut self) -> Result<Processor, CommandError> {
        let instances = self.instances()?;
        let sandboxes: Vec<(u64, SandboxInfo)> = self.look_at_all(What::Sandbox).collect();
        let share = |info: &ServiceInfo| {
            // One that has just ended shares in nothing any more.
            let sandbox = sandboxes.iter().map(|(_, sandbox)| sandbox).find(|s| s.serial == info.serial)?;
            Some(Share {
                name: name_str(&info.name).into(),
                version: name_str(&info.version).into(),
                sandbox: info.serial,
                sandbox_name: name_str(&sandbox.name).into(),
                guarantee: info.guarantee,
                budget_us: sandbox.budget / 1000,
                period_us: sandbox.period / 1000,
                hard: sandbox.hard_limit != 0,
                priority: sandbox.priority,
                used_nanoseconds: sandbox.cpu_nanos,
            })
        };
        Ok(Processor::of(instances.iter().filter_map(|(_, info)| share(info)).collect()))
    }

    /// `services`
    pub fn services(&mut self) -> Result<Services, CommandError> {
        let mut services = Vec::new();
        for (index, info) in self.instances()? {
            let service = Service {
                name: name_str(&info.name).into(),
                version: name_str(&info.version).into(),
                state: ServiceState::name(info.state),
                sandbox: info.serial,
                restarts: info.restarts,
                last_fault: None,
            };
            services.push((index, service));
        }
        self.add_faults(&mut services);
        Ok(Services { services: services.into_iter().map(|(_, service)| service).collect() })
    }

    /// Serial number of the sandbox of a service (`service` or `service@version`).
    pub(super) fn sandbox_of(&mut self, name: &str) -> Option<u64> {
        let (service, version) =
            name.split_once('@').map_or((name, None), |(name, version)| (name, Some(version)));
        let services = self.services().ok()?.services;
        let is_it = |s: &&Service| s.name == service && version.is_none_or(|version| s.version == version);
        services.iter().find(is_it).map(|service| service.sandbox)
    }

    /// Faults name services by index and serial number. The list is worth showing without them when the monitor does not answer.
    fn add_faults(&mut self, services: &mut [(u64, Service)]) {
        for index in 0..MAX_FAULTS {
            let fault = self.record::<FaultInfo>("monitor", (FAULTS, index), Refusal::NotFound as u32);
            let Ok(Some((fault, _))) = fault else { return };
            let died = |(index, service): &&mut (u64, Service)| {
                (*index, service.sandbox) == (fault.service, fault.serial)
            };
            let at = services.iter_mut().find(died);
            if let Some((_, service)) = at.filter(|(_, service)| service.last_fault.is_none()) {
                service.last_fault = Some(Words(fault.words).to_string());
            }
        }
    }

    /// `restart <service>`
    pub fn restart(&mut self, service: &str) -> Result<Done, CommandError> {
        self.act((RESTART, 0), "restart", service)
    }

    /// `kill <service>`, at its `after`th system call; 0 = at once.
    pub fn kill(&mut self, service: &str, after: u64) -> Result<Done, CommandError> {
        let done = self.act((KILL, after), "kill", service)?;
        Ok(Done { after: Some(after).filter(|calls| *calls > 0), ..done })
    }

    fn act(
        &mut self,
        (label, word): (u32, u64),
        done: &'static str,
        service: &str,
    ) -> Result<Done, CommandError> {
        let finished = Done { done, service: Some(String::from(service)), after: None };
        match self.request(MANAGER, (label, [word, 0]), service, done) {
            // It was asked to stop itself, and did before it could answer.
            Err(error) if service != MANAGER || error.code != Error::ServerDied.name() => Err(error),
            _ => Ok(finished),
        }
    }
}
