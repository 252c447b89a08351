//! Asks the service, and starts it again when it dies over a question.

use crate::failure::Failure;
use crate::service::{Service, WINDOW};
use hic_channel::{Asker, Message, PAYLOAD};
use hic_control::ASKED;
use hic_rt::ipc::{self, Buffer, Received};
use hic_rt::sys;
use hic_stage::refused;
use hic_store::{Reply, Request};

/// How long an answer may take, nanoseconds: far beyond a start of the service.
const PATIENCE: u64 = 30_000_000_000;

/// The module manager's side.
pub struct Client {
    /// The service.
    pub service: Service,
    asker: Asker,
    buffer: Buffer,
}

impl Client {
    /// Takes the service.
    pub fn new(service: Service) -> Result<Self, Failure> {
        let (base, len) = (service.channel.pointer(), service.channel.bytes as usize);
        // SAFETY: the region is mapped here for ever; this is the only asker.
        let asker = unsafe { Asker::attach(base, len) }.map_err(|_| Failure::Wrong("channel too short"))?;
        Ok(Self { service, asker, buffer: Buffer::new() })
    }

    /// Asks, and hands the answer to `take`.
    pub fn ask<T>(
        &mut self,
        request: Request<'_>,
        take: impl FnOnce(Reply<'_>) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        self.post(request)?;
        self.wait()?;
        let answer = self.asker.answer().ok_or(Failure::Wrong("the answer went away"))?;
        match Reply::decode(answer.payload()).map_err(|_| Failure::Wrong("an answer that is none"))? {
            Reply::Failed(error) => Err(Failure::Store(error)),
            reply => take(reply),
        }
    }

    // A message takes a page and the first sandbox's stack has eight: each function below has its own, and gives it back.

    #[inline(never)]
    fn post(&mut self, request: Request<'_>) -> Result<(), Failure> {
        let mut bytes = [0; PAYLOAD];
        let encoded = request.encode(&mut bytes).map_err(|_| Failure::Wrong("request too long"))?;
        self.asker.ask(&Message::new(0, [0; _]).with_payload(encoded));
        Ok(sys::signal(self.service.port, ASKED).map_err(refused("ring the service"))?)
    }

    #[inline(never)]
    fn is_answered(&self) -> bool {
        self.asker.answer().is_some()
    }

    #[inline(never)]
    fn wait(&mut self) -> Result<(), Failure> {
        let deadline = sys::now() + PATIENCE;
        while !self.is_answered() {
            match ipc::receive(self.service.faults, &mut self.buffer, deadline) {
                Ok(Received::Fault { .. }) => self.service.restart()?,
                Ok(_) => {}
                Err(_) => return Err(Failure::Late),
            }
        }
        Ok(())
    }

    /// The first `length` bytes that the service read.
    pub fn window(&self, length: u32) -> &[u8] {
        let length = u64::from(length).min(WINDOW) as usize;
        // SAFETY: the region is mapped here for ever; the service writes to it only while a question is open, and none is.
        unsafe { core::slice::from_raw_parts(self.service.window.pointer(), length) }
    }
}
