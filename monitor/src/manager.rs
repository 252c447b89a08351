//! What the monitor asks of the module manager, and through it of the services.

use alloc::format;
use alloc::vec::Vec;
use hic_abi::{Error, Handle, Nanos, ObjectType, Plain, SELF, name_str};
use hic_control::manager::{ANSWERED, HEALTH_PORT, KILL, LIST, REVIVE, ServiceInfo};
use hic_control::{OK, PING, Refusal, keeper};
use hic_rt::ipc::{self, Buffer, Message};
use hic_rt::{StartPage, cap, clock, start, sys};
use monitor::liveness::{ANSWER, MAX_SERVICES};

/// How long the module manager may take, its own restart by the keeper included.
const PATIENCE: Nanos = 3_000_000_000;

/// Why a request came to nothing.
#[derive(Clone, Copy, Debug)]
pub enum Failure {
    /// The manager refused it.
    Refused(Refusal),
    /// It did not reach the manager, or no answer came.
    Unreached(Error),
}

impl core::fmt::Display for Failure {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Refused(refusal) => write!(f, "refused: {}", refusal.code()),
            Self::Unreached(error) => write!(f, "module manager: {error}"),
        }
    }
}

/// The way to the module manager, and a port to each service.
///
/// The port of service `n` always lies in slot `first_slot + n`; a restarted monitor asks for all of them again.
pub struct Manager {
    port: Handle,
    keeper: Option<Handle>,
    first_slot: Handle,
    buffer: Buffer,
    /// Serial number of the instance at each index whose port is held; 0 = none.
    asked: Vec<u64>,
}

impl Manager {
    /// Finds the grants and claims the slots for the services' ports.
    pub fn new(page: &'static StartPage) -> Self {
        let first_slot = page.first_free_slot as Handle;
        for slot in (first_slot..).take(MAX_SERVICES) {
            cap::claim(slot);
        }
        Self {
            port: start::require(page, "port:module-manager").slot,
            keeper: start::find(page, "port:keeper").map(|g| g.slot),
            first_slot,
            buffer: Buffer::new(),
            asked: Vec::new(),
        }
    }

    /// All requests here may be repeated: the second of two finds the work done.
    fn ask(&mut self, message: Message) -> Result<Message, Failure> {
        let deadline = clock::now() + PATIENCE;
        loop {
            match ipc::call(self.port, message, &mut self.buffer, deadline) {
                Ok(answer) => {
                    return Refusal::from_label(answer.label())
                        .map_or(Ok(answer), |r| Err(Failure::Refused(r)));
                }
                Err(Error::ServerDied) => {}
                Err(error) => return Err(Failure::Unreached(error)),
            }
        }
    }

    /// All services.
    pub fn list(&mut self) -> Result<Vec<ServiceInfo>, Failure> {
        let mut services = Vec::new();
        while services.len() < MAX_SERVICES {
            match self.service(services.len() as u64) {
                Ok(info) => services.push(info),
                Err(Failure::Refused(Refusal::NotFound)) => break,
                Err(failure) => return Err(failure),
            }
        }
        Ok(services)
    }

    /// The one at this index.
    pub fn service(&mut self, index: u64) -> Result<ServiceInfo, Failure> {
        self.ask(Message::new(LIST, [index, 0, 0, 0]))?;
        let mut info = ServiceInfo::zeroed();
        let size = size_of::<ServiceInfo>();
        info.as_bytes_mut().copy_from_slice(self.buffer.data(size));
        Ok(info)
    }

    /// Has a frozen service started again; whether it was. `fault` are the words of its fault, 0 if they are not known.
    pub fn revive(&mut self, index: usize, fault: [u64; 4]) -> Result<bool, Failure> {
        let [cause, detail, address, _] = fault;
        self.ask(Message::new(REVIVE, [index as u64, cause, detail, address]))
            .map(|answer| answer.words[0] != 0)
    }

    /// Has the module manager frozen that does not answer. It cannot do that to itself: the keeper is asked, who starts it again.
    pub fn kill_manager(&self) -> Result<(), Failure> {
        let keeper = self.keeper.ok_or(Failure::Refused(Refusal::NotAllowed))?;
        let freeze = Message::new(keeper::FREEZE, [keeper::MANAGER, 0, 0, 0]);
        ipc::call_retry(keeper, freeze, clock::now() + PATIENCE).map(|_| ()).map_err(Failure::Unreached)
    }

    /// Has a service frozen that does not answer.
    pub fn kill(&mut self, service: &ServiceInfo) -> Result<(), Failure> {
        let name = name_str(&service.name);
        if name == "module-manager" {
            return self.kill_manager();
        }
        // Of two instances of one service, this one.
        let instance = format!("{name}@{}", name_str(&service.version));
        let mut message = Message::new(KILL, [0; 4]);
        message.info = message.info.with_inline(self.buffer.put(instance.as_bytes()));
        self.ask(message).map(|_| ())
    }

    /// The port on which the instance `serial` at an index is asked; `None` for one that provides nothing. Another instance may have been at
    /// that index before: its port is of no use.
    pub fn health_port(&mut self, index: usize, serial: u64) -> Option<Handle> {
        let slot = self.first_slot + index as Handle;
        let holds_port = || sys::cap_info(SELF, slot).is_ok_and(|(kind, _)| kind == ObjectType::Port as u64);
        self.asked.resize(self.asked.len().max(index + 1), 0);
        if self.asked.get(index) != Some(&serial) {
            self.forget_port(index);
        }
        if let Some(asked) = self.asked.get_mut(index) {
            *asked = serial;
        }
        if holds_port() {
            return Some(slot);
        }
        self.buffer.offer(&[slot]);
        let answer = self.ask(Message::new(HEALTH_PORT, [index as u64, 0, 0, 0]));
        self.buffer.offer(&[]);
        answer.ok().filter(|_| holds_port()).map(|_| slot)
    }

    /// Tells that a service has answered since it was started.
    pub fn answered(&mut self, index: usize, service: &ServiceInfo) -> Result<(), Failure> {
        self.ask(Message::new(ANSWERED, [index as u64, service.serial, service.restarts, 0])).map(|_| ())
    }

    /// Lets the port of whatever was at an index go.
    pub fn forget_port(&mut self, index: usize) {
        if let Some(asked) = self.asked.get_mut(index) {
            *asked = 0;
        }
        let _ = sys::cap_delete(SELF, self.first_slot + index as Handle);
    }

    /// Asks a service for a sign of life.
    pub fn ping(&self, port: Handle) -> Result<(), Error> {
        let answer = ipc::call_retry(port, Message::new(PING, [0; 4]), clock::now() + ANSWER)?;
        if answer.label() == OK { Ok(()) } else { Err(Error::WrongState) }
    }
}
