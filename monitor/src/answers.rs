//! Answers to the console.

use crate::Monitor;
use hic_abi::Plain;
use hic_control::monitor::{AUDIT_READ, AUDIT_VERIFY, FAULTS, Health, STATUS};
use hic_control::{OK, PING, Refusal};
use hic_rt::ipc::{Buffer, Message};
use hic_rt::log;
use monitor::chain::{Progress, Verification};

impl Monitor {
    /// Answers one request.
    pub fn answer(&mut self, message: Message) -> Message {
        let index = message.words[0];
        let refused = |refusal: Refusal| Message::new(refusal as u32, [0; 4]);
        match message.label() {
            PING => Message::new(OK, [0; 4]),
            STATUS => {
                let health = self.health();
                inline(&mut self.buffer, &health, 0)
            }
            AUDIT_READ => {
                let kept = self.audit.store.header().count;
                self.audit
                    .store
                    .get(index)
                    .map_or(refused(Refusal::NotFound), |record| inline(&mut self.buffer, record, kept))
            }
            AUDIT_VERIFY => self.verify(index),
            FAULTS => {
                let history = self.audit.store.history();
                let known = history.faults;
                history
                    .fault(index)
                    .map_or(refused(Refusal::NotFound), |fault| inline(&mut self.buffer, fault, known))
            }
            _ => refused(Refusal::UnknownRequest),
        }
    }

    fn health(&self) -> Health {
        let (services, healthy) = self.watch.health();
        let history = self.audit.store.history();
        let (faults, restarts, missed) = (history.faults, history.restarts, history.missed);
        Health { services, healthy, faults, restarts, missed }
    }

    /// One step of a verification; `checked` says which.
    fn verify(&mut self, checked: u64) -> Message {
        if checked == 0 {
            let appended = self.audit.appended();
            self.audit.drain();
            self.audit.verification = Some(Verification::begin(&self.audit.store, appended));
        }
        let Some(mut verification) = self.audit.verification.take().filter(|v| v.checked() == checked) else {
            return Message::new(Refusal::WrongState as u32, [0; 4]);
        };
        match verification.step(&self.audit.store) {
            Ok(Progress::Good(all)) => Message::new(OK, [all, 0, 0, 0]),
            Ok(Progress::More(so_far)) => {
                self.audit.verification = Some(verification);
                Message::new(OK, [so_far, 0, 1, 0])
            }
            Err(broken) => {
                log!("{broken}");
                Message::new(Refusal::BrokenChain as u32, [verification.checked(), broken.sequence(), 0, 0])
            }
        }
    }
}

fn inline<T: Plain>(buffer: &mut Buffer, record: &T, word: u64) -> Message {
    let mut answer = Message::new(OK, [word, 0, 0, 0]);
    answer.info = answer.info.with_inline(buffer.put(record.as_bytes()));
    answer
}
