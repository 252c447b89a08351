//! The fetcher: files over HTTP, for the module manager alone.
//!
//! ```text
//!   module manager ─ question in the channel, rings our endpoint ─▶ Transfer ─▶ netstack ─▶ server
//!                  ◀─ answer in the channel, we ring its bell ─────────┘
//!   anybody        ─ PING ─▶ OK
//! ```
//! A question is answered after [`SLICE`] at the latest, with what came meanwhile; the connection stays open for the next one. It holds a port to the
//! stack, its channel, and for the time of a question the memory that the file goes to: whoever takes it over with a crafted answer can deliver a wrong
//! file, which the verifier refuses, and nothing else.
//!
//! What it must never do: touch that memory after its answer, or wait for a server without a deadline.
#![no_std]
#![no_main]
#![allow(
    clippy::result_large_err,
    reason = "a reply ends a question; one at a time, on a stack of 64 KiB, and no heap is needed"
)]

extern crate alloc;

use core::net::{Ipv4Addr, SocketAddrV4};

use fetcher::transfer::{Progress, Transfer};
use hic_channel::{Answerer, Message};
use hic_control::grants;
use hic_fetch::http::Wanted;
use hic_fetch::messages::{MAX_MESSAGE_BYTES, SLICE};
use hic_fetch::{Failure, Path, Reply, Request};
use hic_netclient::{Client, TcpStream};
use hic_rt::{Error, Export, FOREVER, Handle, StartPage, clock, log, start, sys};

/// What it serves.
const SERVICE: Export = Export::new("fetcher");

hic_rt::entry!(main, exports: [SERVICE]);

/// Bytes of each ring of the connection.
const RING: u32 = 65_536;
/// What the stack signals for the connection.
const CONNECTION: u64 = 1;
/// Exit code of a service that cannot begin.
const CANNOT_START: u64 = 1;

const _: () = assert!(MAX_MESSAGE_BYTES <= hic_channel::PAYLOAD);

fn main(page: &'static StartPage) -> u64 {
    let endpoint = SERVICE.endpoint(page);
    let client = match Client::new(page) {
        Ok(client) => client,
        Err(error) => {
            log!("cannot start: {error}");
            return CANNOT_START;
        }
    };
    match Channel::open(page, endpoint, client.notification()) {
        Ok(channel) => Fetcher { client, channel, work: None }.run(endpoint),
        Err(error) => {
            log!("channel: {error}");
            CANNOT_START
        }
    }
}

/// A connection and what comes over it.
struct Work {
    file: (SocketAddrV4, Path),
    memory: (u64, u32),
    stream: TcpStream,
    transfer: Transfer,
}

/// The question that is being answered, and until when.
struct Asked {
    number: u64,
    until: u64,
}

struct Fetcher {
    client: Client,
    channel: Channel,
    work: Option<Work>,
}

impl Fetcher {
    fn run(&mut self, endpoint: Handle) -> u64 {
        let mut asked = None;
        loop {
            let deadline = self.turn(&mut asked);
            self.client.wait(Some(endpoint), deadline);
        }
    }

    /// Does what can be done now; until when to wait for more.
    fn turn(&mut self, asked: &mut Option<Asked>) -> u64 {
        let Some((number, message)) = self.channel.questions.question() else { return FOREVER };
        let now = clock::now();
        if asked.as_ref().is_none_or(|asked| asked.number != number) {
            *asked = Some(Asked { number, until: now + SLICE });
            if let Err(reply) = self.begin(&message) {
                return self.answer(number, &reply);
            }
        }
        let until = asked.as_ref().map_or(now, |asked| asked.until);
        match self.go_on(until, now) {
            Ok(deadline) => deadline,
            Err(reply) => self.answer(number, &reply),
        }
    }

    /// Takes a new question: goes on with the connection that is there if it is about the same file, at the same place.
    fn begin(&mut self, message: &Message) -> Result<(), Reply> {
        let (server, port, path, destination, wanted) = match Request::decode(message.payload()) {
            Ok(Request::Get { server, port, path, from, validator, room, length, destination }) => {
                let wanted = Wanted { path: path.clone(), from, validator, room, length };
                (server, port, path, destination, wanted)
            }
            Ok(Request::Stop) => {
                self.work = None;
                return Err(Reply::Stopped);
            }
            Err(_) => return Err(Reply::Failed(Failure::new("malformed", &"the question is none", false))),
        };
        let server = SocketAddrV4::new(Ipv4Addr::from(server), port);
        let goes_on = self.work.as_ref().is_some_and(|work| {
            let get = work.transfer.get();
            let (file, memory) = (&work.file, work.memory);
            file.0 == server
                && file.1 == path
                && memory == (destination, wanted.room)
                && get.at() == wanted.from
                && *get.validator() == wanted.validator
        });
        if !goes_on {
            self.work = None;
            self.work = Some(self.connect(server, path, (destination, wanted.room), wanted)?);
        }
        Ok(())
    }

    fn connect(
        &mut self,
        server: SocketAddrV4,
        path: Path,
        memory: (u64, u32),
        wanted: Wanted,
    ) -> Result<Work, Reply> {
        let (from, validator) = (wanted.from, wanted.validator.clone());
        let failed = |code: &str, why: &dyn core::fmt::Display, passing| {
            Reply::Failed(Failure::new(code, why, passing).with_part(from, validator.clone()))
        };
        let transfer = Transfer::begin(wanted, &server);
        let transfer = transfer.map_err(|_| failed("malformed", &"the request is too long", false))?;
        let stream = self.client.connect(server, RING, CONNECTION);
        let stream = stream.map_err(|error| failed("connection", &error, true))?;
        Ok(Work { file: (server, path), memory, stream, transfer })
    }

    fn go_on(&mut self, until: u64, now: u64) -> Result<u64, Reply> {
        let Some(Work { stream, transfer, memory: (address, room), .. }) = &mut self.work else {
            return Err(Reply::Stopped);
        };
        let file = client_memory(*address, *room as usize);
        let file =
            file.ok_or_else(|| Reply::Failed(Failure::new("malformed", &"this is no memory", false)))?;
        let progress = transfer.step(stream.side(), file);
        stream.flush();
        match progress {
            Progress::Done => {
                let length = transfer.get().at();
                self.work = None;
                Err(Reply::Done { length })
            }
            Progress::Failed(failure) => {
                self.work = None;
                Err(Reply::Failed(failure))
            }
            Progress::Goes | Progress::Waits if now >= until => {
                Err(Reply::Part { at: transfer.get().at(), validator: transfer.get().validator().clone() })
            }
            Progress::Goes => Ok(0),
            Progress::Waits => {
                let side = stream.side();
                Ok(if side.sleep_until(transfer.wants(side), 1, 1) { until } else { 0 })
            }
        }
    }

    /// Answers, and waits for the next question.
    fn answer(&mut self, number: u64, reply: &Reply) -> u64 {
        self.channel.answer(number, reply);
        FOREVER
    }
}

/// The way to the module manager.
struct Channel {
    questions: Answerer,
    bell: Handle,
    bell_bits: u64,
}

impl Channel {
    /// Opens the channel and lets the manager's ring end a wait.
    fn open(page: &'static StartPage, endpoint: Handle, notification: Handle) -> Result<Self, Error> {
        sys::endpoint_notify(endpoint, notification)?;
        sys::bind_notification(notification)?;
        let region = start::require(page, grants::CHANNEL);
        let bell = start::require(page, grants::BELL);
        // SAFETY: the module manager mapped the region for this service as its side of the channel, for reading and writing; the program attaches once.
        let questions = unsafe { Answerer::attach(region.address as *mut u8, region.length as usize) };
        let questions = questions.map_err(|_| Error::InvalidArgument)?;
        Ok(Self { questions, bell: bell.slot, bell_bits: bell.address })
    }

    fn answer(&mut self, number: u64, reply: &Reply) {
        let mut bytes = [0; MAX_MESSAGE_BYTES];
        // Every reply fits by the definition of the bound.
        let encoded = reply.encode(&mut bytes).unwrap_or_default();
        self.questions.reply(number, &Message::new(0, [0; _]).with_payload(encoded));
        if let Err(error) = sys::signal(self.bell, self.bell_bits) {
            log!("cannot ring the module manager: {error}");
        }
    }
}

/// Memory of the client's at an address that it named.
fn client_memory(address: u64, length: usize) -> Option<&'static mut [u8]> {
    let end = address.checked_add(length as u64)?;
    if address < hic_abi::USER_BASE || end > i64::MAX as u64 {
        return None;
    }
    // SAFETY: the only client is the module manager, which has power over all of this program anyway: it mapped a region here for the answer, keeps it
    // mapped, and leaves it alone until it is told of the answer. An address that is not mapped ends this program and nothing else. The slice is used
    // within one step of an open question and not kept.
    Some(unsafe { core::slice::from_raw_parts_mut(address as *mut u8, length) })
}
