//! The storage service: modules from the repository disk; and, built with the feature `vault`, the record on the system disk and the modules that came
//! over the network and are installed.
//!
//! ```text
//!   module manager ─ question in the channel, rings our endpoint ─▶ answer ─▶ Repository ─▶ disk
//!                  ◀─ answer in the channel, we ring its bell ─────────┘
//!   anybody        ─ PING ─▶ OK
//! ```
//!
//! Nothing is kept between two requests, and every request may come twice: whoever starts this program again after it died resets the disk and goes
//! on. The record is flushed before its write is answered.
//!
//! | module | what |
//! | --- | --- |
//! | `setup` | from grants to a disk |
//! | `transport` | the disk's registers |
//! | `dma` | the memory that the disk may reach |
//! | `virtio_disk` | the disk |
//!
//! What it must never do: give the disk an address outside its own DMA memory.
#![no_std]
#![no_main]

extern crate alloc;

mod dma;
mod setup;
mod transport;
mod virtio_disk;

use hic_channel::{Answerer, Message};
use hic_control::{OK, PING, Refusal, grants};
use hic_rt::ipc::{self, Buffer, Received};
use hic_rt::{Error, Export, FOREVER, Handle, StartPage, log, start, sys};
use hic_store::{MAX_RECORD_BYTES, Reply, Request, StoreError};
use storage::answer::{Memory, answer};
use storage::{Repository, Role};
use virtio_disk::VirtioDisk;

/// What it was built for: one program, two modules.
const ROLE: Role = if cfg!(feature = "vault") { Role::Vault } else { Role::Repository };
/// What it serves.
const SERVICE: Export = Export::new(ROLE.service());

hic_rt::entry!(main, exports: [SERVICE]);

/// Exit code of a service that has no channel to be asked through.
const NO_CHANNEL: u64 = 1;
/// Exit code after an error of its own endpoint.
const NO_ENDPOINT: u64 = 2;

/// The disk, or why there is none: then each request is answered with that.
type Store = Result<Repository<VirtioDisk>, StoreError>;

fn main(page: &'static StartPage) -> u64 {
    let endpoint = SERVICE.endpoint(page);
    let channel = match Channel::open(page, endpoint) {
        Ok(channel) => channel,
        Err(error) => {
            log!("channel: {error}");
            return NO_CHANNEL;
        }
    };
    let store = open_store(page, ROLE);
    serve(endpoint, channel, ROLE, store)
}

fn open_store(page: &'static StartPage, role: Role) -> Store {
    let mut disk = setup::disk(page).map_err(|error| {
        log!("no disk: {error}");
        StoreError::Device
    })?;
    if !disk.serial_is(|serial| role.takes(serial)) {
        log!(
            "this disk is not for this service: the system disk has the serial number hic-system, no other has it"
        );
        return Err(StoreError::NoDisk);
    }
    let mut repository = Repository::new(disk);
    match repository.rescan() {
        Ok(()) => log!("ready: {} files", repository.count()),
        // Each request tries again.
        Err(error) => log!("{error}"),
    }
    if repository.left_out() > 0 {
        log!("{} files are too many and left out", repository.left_out());
    }
    Ok(repository)
}

fn serve(endpoint: Handle, mut channel: Channel, role: Role, mut store: Store) -> u64 {
    // A question that an earlier start did not answer is still open.
    channel.answer_open(role, &mut store);
    let mut buffer = Buffer::new();
    let mut next = ipc::receive(endpoint, &mut buffer, FOREVER);
    loop {
        next = match next {
            Ok(Received::Call { message, .. }) => {
                let label = if message.label() == PING { OK } else { Refusal::UnknownRequest as u32 };
                ipc::reply_receive(endpoint, ipc::Message::new(label, [0; 4]), &mut buffer, FOREVER)
            }
            Ok(Received::Signal(_)) => {
                channel.answer_open(role, &mut store);
                ipc::receive(endpoint, &mut buffer, FOREVER)
            }
            Ok(Received::Fault { .. })
            | Err(Error::Timeout | Error::WouldBlock | Error::CallerGone | Error::NoReceiveSlot) => {
                ipc::receive(endpoint, &mut buffer, FOREVER)
            }
            Err(error) => {
                log!("receive: {error}");
                return NO_ENDPOINT;
            }
        };
    }
}

/// The way to the module manager.
struct Channel {
    questions: Answerer,
    bell: Handle,
    bell_bits: u64,
}

impl Channel {
    /// Opens the channel and lets the manager's ring end a receive.
    fn open(page: &'static StartPage, endpoint: Handle) -> Result<Self, Error> {
        let account = start::require(page, grants::ACCOUNT).slot;
        let ring = setup::ensure(|slot| sys::create_notification(account, slot))?;
        sys::endpoint_notify(endpoint, ring)?;
        sys::bind_notification(ring)?;
        let region = start::require(page, grants::CHANNEL);
        let bell = start::require(page, grants::BELL);
        // SAFETY: the module manager mapped the region for this service as its side of the channel, for reading and writing; the program attaches once.
        let questions = unsafe { Answerer::attach(region.address as *mut u8, region.length as usize) };
        let questions = questions.map_err(|_| Error::InvalidArgument)?;
        Ok(Self { questions, bell: bell.slot, bell_bits: bell.address })
    }

    /// Answers the open question, if there is one, and rings.
    fn answer_open(&mut self, role: Role, store: &mut Store) {
        let Some((number, question)) = self.questions.question() else { return };
        let mut record = [0; MAX_RECORD_BYTES];
        let mut bytes = [0; hic_channel::PAYLOAD];
        let reply = match Request::decode(question.payload()) {
            Ok(request) => answer(role, store, request, &ClientMemory, &mut record),
            Err(_) => Reply::Failed(StoreError::Malformed),
        };
        // The payload is longer than the longest answer.
        let encoded = reply.encode(&mut bytes).unwrap_or_default();
        self.questions.reply(number, &Message::new(0, [0; _]).with_payload(encoded));
        if let Err(error) = sys::signal(self.bell, self.bell_bits) {
            log!("cannot ring the module manager: {error}");
        }
    }
}

const _: () = assert!(hic_store::messages::MAX_MESSAGE_BYTES <= hic_channel::PAYLOAD);

/// Memory of the module manager's at addresses that it named.
struct ClientMemory;

impl ClientMemory {
    /// Whether there can be memory of a program's.
    fn holds(address: u64, length: usize) -> bool {
        address >= hic_abi::USER_BASE
            && address.checked_add(length as u64).is_some_and(|end| end <= i64::MAX as u64)
    }
}

impl Memory for ClientMemory {
    fn to_write(&self, address: u64, length: usize) -> Option<&'static mut [u8]> {
        if !Self::holds(address, length) {
            return None;
        }
        // SAFETY: the only client is the module manager, which has power over all of this program anyway: it mapped a region here for the answer, keeps it
        // mapped, and leaves it alone until it is told of the answer. An address that is not mapped ends this program and nothing else.
        Some(unsafe { core::slice::from_raw_parts_mut(address as *mut u8, length) })
    }

    fn to_read(&self, address: u64, length: usize) -> Option<&'static [u8]> {
        if length == 0 {
            return Some(&[]);
        }
        if !Self::holds(address, length) {
            return None;
        }
        // SAFETY: as in `to_write`, of a region that is mapped for reading and that nobody writes.
        Some(unsafe { core::slice::from_raw_parts(address as *const u8, length) })
    }
}
