//! Answers: what the console and the monitor ask.

use crate::manager::Manager;
use hic_abi::inspect::{SandboxInfo, What};
use hic_abi::{Error, Plain, name_str};
use hic_control::manager::{self as request, ServiceInfo, ServiceState};
use hic_control::{OK, PING, Refusal, grants, keeper};
use hic_rt::ipc::{self, Buffer, Message};
use hic_rt::{cap, clock, log, start, sys};
use module_manager::journal::{Phase, Record};

/// How long the keeper may take; it only freezes and looks up.
const KEEPER_TIMEOUT: u64 = 2_000_000_000;

impl Manager {
    /// Answers one request.
    pub fn answer(&mut self, message: Message, buffer: &mut Buffer) -> Message {
        let index = message.words[0] as usize;
        let result = match message.label() {
            PING => Ok(Message::new(OK, [0; 4])),
            request::LIST => self.list(index, buffer),
            request::RESTART => self.named(&message, buffer).and_then(|i| self.restart_request(i)),
            request::KILL => self.named(&message, buffer).and_then(|i| self.kill(i)),
            request::REVIVE => self.revive_request(index),
            request::HEALTH_PORT => self.health_port(index, buffer),
            _ => Err(Refusal::UnknownRequest),
        };
        result.unwrap_or_else(|refusal| Message::new(refusal as u32, [0; 4]))
    }

    fn named(&self, message: &Message, buffer: &Buffer) -> Result<usize, Refusal> {
        let name =
            core::str::from_utf8(buffer.data(message.info.inline_len())).map_err(|_| Refusal::Malformed)?;
        self.journal.find(name).ok_or(Refusal::NotFound)
    }

    fn record(&self, index: usize) -> Result<&Record, Refusal> {
        self.journal.services().get(index).ok_or(Refusal::NotFound)
    }

    fn list(&self, index: usize, buffer: &mut Buffer) -> Result<Message, Refusal> {
        let record = self.record(index)?;
        let mut info: ServiceInfo = record.info;
        info.endpoints = record.endpoint_count;
        info.serial = record.instance.serial;
        let sandbox = self.sandbox_named(name_str(&info.name));
        if record.phase == Phase::KEPT {
            info.serial = sandbox.map_or(0, |s| s.serial);
            info.restarts = self.kept_restarts(name_str(&info.name));
        }
        info.state = match (record.phase, sandbox) {
            (Phase::STOPPED, _) => ServiceState::Stopped as u64,
            (_, Some(s)) if s.frozen == 0 => ServiceState::Running as u64,
            _ => ServiceState::Frozen as u64,
        };
        let len = buffer.put(info.as_bytes());
        let mut answer = Message::new(OK, [self.journal.count, 0, 0, 0]);
        answer.info = answer.info.with_inline(len);
        Ok(answer)
    }

    fn sandbox_named(&self, name: &str) -> Option<SandboxInfo> {
        let audit = start::find(self.page, grants::AUDIT)?.slot;
        (0..)
            .map_while(|i| sys::inspect::<SandboxInfo>(audit, What::Sandbox, i).ok())
            .find(|s| s.serial != 0 && name_str(&s.name) == name)
    }

    fn ask_keeper(&self, label: u32, which: u64) -> Result<Message, Refusal> {
        let port = start::find(self.page, "port:keeper").ok_or(Refusal::NotAllowed)?.slot;
        let deadline = clock::now() + KEEPER_TIMEOUT;
        let answer = ipc::call_words(port, Message::new(label, [which, 0, 0, 0]), deadline)
            .map_err(|_| Refusal::WrongState)?;
        Refusal::from_label(answer.label()).map_or(Ok(answer), Err)
    }

    fn kept_restarts(&self, name: &str) -> u64 {
        kept_number(name).and_then(|n| self.ask_keeper(keeper::STATUS, n)).map_or(0, |m| m.words[1])
    }

    fn kill(&mut self, index: usize) -> Result<Message, Refusal> {
        let record = self.record(index)?;
        let name = name_str(&record.info.name);
        log!("kill {name}: asked for");
        if record.phase == Phase::KEPT {
            return self.ask_keeper(keeper::FREEZE, kept_number(name)?);
        }
        match sys::sandbox_freeze(record.instance.sandbox, 1) {
            Ok(()) => Ok(Message::new(OK, [0; 4])),
            Err(_) => Err(Refusal::WrongState),
        }
    }

    /// Stops the service if it runs and starts it again, whatever its policy says.
    fn restart_request(&mut self, index: usize) -> Result<Message, Refusal> {
        if self.record(index)?.phase == Phase::KEPT {
            return self.kill(index);
        }
        match sys::sandbox_freeze(self.journal.records[index].instance.sandbox, 0) {
            Ok(()) | Err(Error::WrongState) => {}
            Err(_) => return Err(Refusal::WrongState),
        }
        self.report(index, |manager| manager.restart(index))
    }

    fn revive_request(&mut self, index: usize) -> Result<Message, Refusal> {
        if self.record(index)?.phase == Phase::KEPT {
            return Err(Refusal::NotAllowed);
        }
        self.report(index, |manager| manager.revive(index))
    }

    fn report(
        &mut self,
        index: usize,
        act: impl FnOnce(&mut Self) -> Result<bool, crate::manager::StartError>,
    ) -> Result<Message, Refusal> {
        match act(self) {
            Ok(restarted) => Ok(Message::new(OK, [u64::from(restarted), 0, 0, 0])),
            Err(error) => {
                log!("service {index} cannot be started again: {error}");
                Err(Refusal::NoResources)
            }
        }
    }

    /// A port to the service's first endpoint, for the monitor's liveness question; the manager keeps nothing of it.
    fn health_port(&self, index: usize, buffer: &mut Buffer) -> Result<Message, Refusal> {
        let endpoint = self.record(index)?.provided().first().ok_or(Refusal::NotFound)?.slot;
        let slot = cap::allocate().ok_or(Refusal::NoResources)?;
        if sys::create_port(self.account, slot, endpoint, 0).is_err() {
            cap::release(slot);
            return Err(Refusal::NoResources);
        }
        buffer.send_move(0, slot);
        cap::release(slot);
        let mut answer = Message::new(OK, [0; 4]);
        answer.info = answer.info.with_caps(1);
        Ok(answer)
    }
}

fn kept_number(name: &str) -> Result<u64, Refusal> {
    match name {
        "module-manager" => Ok(keeper::MANAGER),
        "monitor" => Ok(keeper::MONITOR),
        _ => Err(Refusal::NotAllowed),
    }
}
