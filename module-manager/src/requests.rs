//! Answers: what the console and the monitor ask.

use crate::manager::Manager;
use alloc::format;
use hic_abi::inspect::{SandboxInfo, What};
use hic_abi::{Error, Plain, name_str};
use hic_control::manager::{self as request, ServiceInfo, ServiceState};
use hic_control::{OK, PING, Refusal, fault, grants, keeper};
use hic_rt::ipc::{self, Buffer, Message};
use hic_rt::{cap, clock, log, start, sys};
use module_manager::journal::{Phase, Record};

/// How long the keeper may take; it only freezes and looks up.
const KEEPER_TIMEOUT: u64 = 2_000_000_000;

impl Manager {
    /// Answers one request.
    pub fn answer(&mut self, message: Message, buffer: &mut Buffer) -> Message {
        let index = message.words[0] as usize;
        if let Some(result) = self.order(message, buffer) {
            return result.unwrap_or_else(|refusal| Message::new(refusal as u32, [0; 4]));
        }
        let result = match message.label() {
            PING => Ok(Message::new(OK, [0; 4])),
            request::LIST => self.list(index, buffer),
            request::RESTART => self.named(&message, buffer).and_then(|i| self.restart_request(i)),
            request::KILL => self.kill_request(&message, buffer),
            request::REVIVE => self.revive_request(index, message.words),
            request::ANSWERED => self.answered_request(index, message.words),
            request::HEALTH_PORT => self.health_port(index, buffer),
            _ => Err(Refusal::UnknownRequest),
        };
        result.unwrap_or_else(|refusal| Message::new(refusal as u32, [0; 4]))
    }

    fn answered_request(
        &mut self,
        index: usize,
        [_, serial, restarts, _]: [u64; 4],
    ) -> Result<Message, Refusal> {
        self.record(index)?;
        self.journal.records[index].answer(serial, restarts);
        Ok(Message::new(OK, [0; 4]))
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
        info.guarantee = self.promised(index);
        let sandbox = match record.phase {
            Phase::KEPT => self.sandbox(|s| name_str(&s.name) == name_str(&info.name)),
            _ => self.sandbox(|s| s.serial == record.instance.serial),
        };
        if record.phase == Phase::KEPT {
            info.serial = sandbox.map_or(0, |s| s.serial);
            info.restarts = self.kept_restarts(name_str(&info.name));
        }
        info.state = match (record.phase, sandbox) {
            (Phase::EMPTY, _) => ServiceState::Absent as u64,
            (Phase::STOPPED, _) => ServiceState::Stopped as u64,
            (_, Some(s)) if s.frozen == 0 => ServiceState::Running as u64,
            _ => ServiceState::Frozen as u64,
        };
        let len = buffer.put(info.as_bytes());
        let mut answer = Message::new(OK, [self.journal.count, 0, 0, 0]);
        answer.info = answer.info.with_inline(len);
        Ok(answer)
    }

    fn sandbox(&self, wanted: impl Fn(&SandboxInfo) -> bool) -> Option<SandboxInfo> {
        let audit = start::find(self.page, grants::AUDIT)?.slot;
        (0..)
            .map_while(|i| sys::inspect::<SandboxInfo>(audit, What::Sandbox, i).ok())
            .find(|s| s.serial != 0 && wanted(s))
    }

    fn ask_keeper(&self, label: u32, which: u64, calls: u64) -> Result<Message, Refusal> {
        let port = start::find(self.page, "port:keeper").ok_or(Refusal::NotAllowed)?.slot;
        let deadline = clock::now() + KEEPER_TIMEOUT;
        let answer = ipc::call_words(port, Message::new(label, [which, calls, 0, 0]), deadline)
            .map_err(|_| Refusal::WrongState)?;
        Refusal::from_label(answer.label()).map_or(Ok(answer), Err)
    }

    fn kept_restarts(&self, name: &str) -> u64 {
        kept_number(name).and_then(|n| self.ask_keeper(keeper::STATUS, n, 0)).map_or(0, |m| m.words[1])
    }

    /// A version that does not run yet can be named too, with a number of calls: it will be killed at that call after its start.
    fn kill_request(&mut self, message: &Message, buffer: &Buffer) -> Result<Message, Refusal> {
        let calls = message.words[0];
        match self.named(message, buffer) {
            Ok(index) => self.kill(index, calls),
            Err(Refusal::NotFound) if calls > 0 => {
                let text = core::str::from_utf8(buffer.data(message.info.inline_len())).unwrap_or_default();
                let (name, version) = text.split_once('@').ok_or(Refusal::NotFound)?;
                self.module(name, version).ok_or(Refusal::NotFound)?;
                self.fuse = heapless::String::try_from(text).ok().map(|text| (text, calls));
                Ok(Message::new(OK, [0; 4]))
            }
            Err(refusal) => Err(refusal),
        }
    }

    fn kill(&mut self, index: usize, calls: u64) -> Result<Message, Refusal> {
        let record = self.record(index)?;
        let name = name_str(&record.info.name);
        match calls {
            0 => log!("kill {name}: asked for"),
            calls => log!("kill {name} at its system call {calls} from now: asked for"),
        }
        if record.phase == Phase::KEPT {
            return self.ask_keeper(keeper::FREEZE, kept_number(name)?, calls);
        }
        let sandbox = record.instance.sandbox;
        let done = match calls {
            0 => sys::sandbox_freeze(sandbox, 1),
            calls => sys::sandbox_fuse(sandbox, calls, 1),
        };
        match done {
            Ok(()) => Ok(Message::new(OK, [0; 4])),
            Err(_) => Err(Refusal::WrongState),
        }
    }

    /// Stops the service if it runs and starts it again, whatever its policy says.
    fn restart_request(&mut self, index: usize) -> Result<Message, Refusal> {
        if self.record(index)?.phase == Phase::KEPT {
            return self.kill(index, 0);
        }
        if let Some(who) = self.side_of(index) {
            // The engine starts it again and tells it where it is.
            let restart = [hic_abi::message::Fault::Frozen as u64, fault::REASON_RESTART, 0, 0];
            let _ = sys::sandbox_freeze(self.journal.records[index].instance.sandbox, fault::REASON_RESTART);
            self.party_died(who, restart);
            return Ok(Message::new(OK, [1, 0, 0, 0]));
        }
        match sys::sandbox_freeze(self.journal.records[index].instance.sandbox, fault::REASON_RESTART) {
            Ok(()) | Err(Error::WrongState) => {}
            Err(_) => return Err(Refusal::WrongState),
        }
        self.report(index, |manager| manager.restart(index))
    }

    fn revive_request(
        &mut self,
        index: usize,
        [_, cause, detail, address]: [u64; 4],
    ) -> Result<Message, Refusal> {
        if self.record(index)?.phase == Phase::KEPT {
            return Err(Refusal::NotAllowed);
        }
        if let Some(who) = self.side_of(index) {
            let before = self.journal.records[index].info.restarts;
            let killed = hic_abi::message::Fault::Frozen as u64;
            let fault = if cause == 0 { [killed, 1, 0, 0] } else { [cause, detail, address, 0] };
            self.party_died(who, fault);
            let restarted = self.journal.records[index].info.restarts != before;
            return Ok(Message::new(OK, [u64::from(restarted), 0, 0, 0]));
        }
        let answer = self.report(index, |manager| manager.revive(index))?;
        if answer.words[0] != 0 && self.may_tell_aside() {
            let name = self.journal.records[index].info.name;
            self.tell_update(format!("{} died meanwhile and was started again", name_str(&name)));
        }
        Ok(answer)
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
