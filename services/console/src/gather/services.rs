//! What the module manager knows and does.

use super::{Repeat, Sources};
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use console::error::CommandError;
use console::report::MAX_ROWS;
use console::report::services::{Service, Services};
use console::report::system::Done;
use hic_abi::{Error, name_str};
use hic_control::Refusal;
use hic_control::fault::Words;
use hic_control::manager::{KILL, LIST, RESTART, ServiceInfo, ServiceState};
use hic_control::monitor::{FAULTS, FaultInfo};
use hic_rt::ipc::Message;

const MANAGER: &str = "module-manager";
/// Faults that the console looks through for the last one of each service.
const MAX_FAULTS: u64 = 64;

impl Sources {
    /// `services`
    pub fn services(&mut self) -> Result<Services, CommandError> {
        let mut services = Vec::new();
        while services.len() < MAX_ROWS {
            let at = (LIST, services.len() as u64);
            let Some((info, _)) = self.record::<ServiceInfo>(MANAGER, at, Refusal::NotFound as u32)? else {
                break;
            };
            services.push(Service {
                name: name_str(&info.name).into(),
                version: name_str(&info.version).into(),
                state: ServiceState::name(info.state),
                sandbox: info.serial,
                restarts: info.restarts,
                last_fault: None,
            });
        }
        self.add_faults(&mut services);
        Ok(Services { services })
    }

    /// The list is worth showing without them when the monitor does not answer.
    fn add_faults(&mut self, services: &mut [Service]) {
        for index in 0..MAX_FAULTS {
            let fault = self.record::<FaultInfo>("monitor", (FAULTS, index), Refusal::NotFound as u32);
            let Ok(Some((fault, _))) = fault else { return };
            let service = usize::try_from(fault.service).ok().and_then(|i| services.get_mut(i));
            if let Some(service) = service.filter(|s| s.last_fault.is_none()) {
                service.last_fault = Some(Words(fault.words).to_string());
            }
        }
    }

    /// `restart <service>`
    pub fn restart(&mut self, service: &str) -> Result<Done, CommandError> {
        self.act(RESTART, "restart", service)
    }

    /// `kill <service>`
    pub fn kill(&mut self, service: &str) -> Result<Done, CommandError> {
        self.act(KILL, "kill", service)
    }

    fn act(&mut self, label: u32, done: &'static str, service: &str) -> Result<Done, CommandError> {
        let mut message = Message::new(label, [0; 4]);
        message.info = message.info.with_inline(self.buffer.put(service.as_bytes()));
        let finished = Ok(Done { done, service: Some(String::from(service)) });
        match self.ask(MANAGER, message, Repeat::Never) {
            Ok(answer) => match Refusal::from_label(answer.label()) {
                None => finished,
                Some(refusal) => Err(CommandError::refused(MANAGER, done, refusal)),
            },
            // It was asked to stop itself, and did before it could answer.
            Err(error) if service == MANAGER && error.code == Error::ServerDied.name() => finished,
            Err(error) => Err(error),
        }
    }
}
