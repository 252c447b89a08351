//! The verifier: the only program that reads modules, certificates, revocation lists and a repository's metadata before anybody vouched for them.
//!
//! ```text
//!   module manager ─ maps the bytes here, read-only; question in the channel, rings our endpoint ─▶ judge
//!                  ◀─ verdict in the channel, we ring its bell ───────────────────────────────────────┘
//!   anybody        ─ PING ─▶ OK
//! ```
//!
//! It holds no capability but its own memory, its endpoint and that bell: whoever takes it over with a crafted file can say
//! "good" of that file, and nothing else. Nothing is kept between two questions, and each may come twice.
//!
//! What it must never do: ask for more authority, or write to what it judges.
#![no_std]
#![no_main]

extern crate alloc;

use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use hic_channel::{Answerer, Message, PAYLOAD};
use hic_control::{OK, PING, Refusal as Label, grants};
use hic_hicmod::verdict::{Listing, MAX_VERDICT_BYTES, Question, Refusal, Span, VERIFY, Verdict};
use hic_rt::ipc::{self, Buffer, Received};
use hic_rt::{Error, Export, FOREVER, Handle, SELF, StartPage, cap, log, start, sys};
use hic_tuf::ask::{self, Answer, MAX_ANSWER_BYTES, METADATA};
use verifier::crumb::Crumb;
use verifier::{judge, metadata};

/// What it serves.
const SERVICE: Export = Export::new("verifier");

hic_rt::entry!(main, exports: [SERVICE]);

/// Exit code of a service that has no channel to be asked through.
const NO_CHANNEL: u64 = 1;
/// Exit code after an error of its own endpoint.
const NO_ENDPOINT: u64 = 2;

const _: () = assert!(MAX_VERDICT_BYTES <= PAYLOAD);

fn main(page: &'static StartPage) -> u64 {
    let endpoint = SERVICE.endpoint(page);
    match Channel::open(page, endpoint) {
        Ok(channel) => serve(endpoint, channel),
        Err(error) => {
            log!("channel: {error}");
            NO_CHANNEL
        }
    }
}

fn serve(endpoint: Handle, mut channel: Channel) -> u64 {
    // A question that an earlier start did not answer is still open.
    channel.answer_open();
    let mut buffer = Buffer::new();
    let mut next = ipc::receive(endpoint, &mut buffer, FOREVER);
    loop {
        next = match next {
            Ok(Received::Call { message, .. }) => {
                let label = if message.label() == PING { OK } else { Label::UnknownRequest as u32 };
                ipc::reply_receive(endpoint, ipc::Message::new(label, [0; 4]), &mut buffer, FOREVER)
            }
            Ok(Received::Signal(_)) => {
                channel.answer_open();
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

/// The way to the module manager, and what is under way.
struct Channel {
    questions: Answerer,
    bell: Handle,
    bell_bits: u64,
    crumb: &'static CrumbMemory,
}

/// A [`Crumb`] in the state region.
#[repr(C)]
struct CrumbMemory {
    number: AtomicU64,
    attempts: AtomicU64,
}

impl Channel {
    /// Opens the channel and lets the manager's ring end a receive.
    fn open(page: &'static StartPage, endpoint: Handle) -> Result<Self, Error> {
        let ring = cap::allocate().ok_or(Error::PoolFull)?;
        // A later start finds the notification of the earlier one in the same slot, since slots are taken in the same order.
        if sys::cap_info(SELF, ring).is_err() {
            sys::create_notification(start::require(page, grants::ACCOUNT).slot, ring)?;
        }
        sys::endpoint_notify(endpoint, ring)?;
        sys::bind_notification(ring)?;
        let region = start::require(page, grants::CHANNEL);
        let bell = start::require(page, grants::BELL);
        // SAFETY: the module manager mapped the region for this service as its side of the channel, for reading and writing; the
        // program attaches once.
        let questions = unsafe { Answerer::attach(region.address as *mut u8, region.length as usize) };
        let questions = questions.map_err(|_| Error::InvalidArgument)?;
        let state = start::require(page, "state:crumb");
        // SAFETY: the module manager mapped at least a page there for this program alone, page aligned, and it stays; every value
        // is one of an atomic.
        let crumb = unsafe { &*(state.address as *const CrumbMemory) };
        Ok(Self { questions, bell: bell.slot, bell_bits: bell.address, crumb })
    }

    /// Answers the open question, if there is one, and rings.
    fn answer_open(&mut self) {
        let Some((number, message)) = self.questions.question() else { return };
        let dead = || Refusal::new("verifier-died", &"the verifier died of it twice; do not use it");
        let alive = self.begin(number);
        // Empty bytes are no verdict, so the asker refuses the module; the buffers are always large enough.
        if message.label == METADATA {
            let answer = match alive {
                true => answer_metadata(&message),
                false => Answer::Refused { refusal: dead(), absent: false, unlisted: false },
            };
            let mut buffer = [0; MAX_ANSWER_BYTES];
            let bytes = answer.encode(&mut buffer).unwrap_or_default();
            self.questions.reply(number, &Message::new(METADATA, [0; _]).with_payload(bytes));
        } else {
            let verdict = if alive { answer(&message) } else { Verdict::Refused(dead()) };
            let mut buffer = [0; MAX_VERDICT_BYTES];
            let bytes = verdict.encode(&mut buffer).unwrap_or_default();
            self.questions.reply(number, &Message::new(VERIFY, [0; _]).with_payload(bytes));
        }
        if let Err(error) = sys::signal(self.bell, self.bell_bits) {
            log!("cannot ring the module manager: {error}");
        }
    }

    /// Writes down that question `number` is looked at; `false` if it is not to be any more.
    fn begin(&self, number: u64) -> bool {
        let CrumbMemory { number: place, attempts } = self.crumb;
        let last =
            Crumb { number: place.load(Ordering::Relaxed), attempts: attempts.load(Ordering::Relaxed) };
        let Some(next) = last.begin(number) else { return false };
        place.store(next.number, Ordering::Relaxed);
        attempts.store(next.attempts, Ordering::Relaxed);
        // The next start must see both, whatever happens after this line.
        core::sync::atomic::compiler_fence(Ordering::SeqCst);
        true
    }
}

fn unknown() -> Refusal {
    Refusal::new("question", &"the question is not one that the verifier knows")
}

fn answer(message: &Message) -> Verdict {
    let listing = match message.payload() {
        [] => Some(None),
        bytes => Listing::decode(bytes).map(Some),
    };
    let question = Question::from_words(message.words).filter(|_| message.label == VERIFY);
    match (question, listing) {
        (Some(question), Some(listing)) => {
            hang_in_a_test(listing);
            tell_overdue(&question);
            judge(&question, listing, asker_memory)
        }
        _ => Verdict::Refused(unknown()),
    }
}

/// What a file could do that nobody thought of, for the test of what is done about it; in no other build.
fn hang_in_a_test(listing: Option<Listing<'_>>) {
    let hangs =
        cfg!(feature = "fault_hang") && listing.is_some_and(|listing| listing.file.starts_with("hang"));
    if hangs {
        loop {
            core::hint::spin_loop();
        }
    }
}

fn answer_metadata(message: &Message) -> Answer {
    match ask::Question::decode(message.payload()) {
        Some(question) => metadata::walk(&question, asker_memory),
        None => Answer::Refused { refusal: unknown(), absent: false, unlisted: false },
    }
}

/// Tells an operator once in a life of this program that a newer revocation list is due.
fn tell_overdue(question: &Question) {
    static TOLD: AtomicBool = AtomicBool::new(false);
    if TOLD.load(Ordering::Relaxed) {
        return;
    }
    if let Some(since) = judge::overdue(question, asker_memory) {
        TOLD.store(true, Ordering::Relaxed);
        let days = question.now.saturating_sub(since) / 86_400;
        log!(
            "a revocation list is overdue by {days} days; what it names stays revoked, put a newer one into the boot archive"
        );
    }
}

/// The asker's memory at an address that it named.
fn asker_memory(span: Span) -> Option<&'static [u8]> {
    let Span { address, length } = span;
    if length == 0 {
        return Some(&[]);
    }
    let end = address.checked_add(length)?;
    if address < hic_abi::USER_BASE || end > i64::MAX as u64 {
        return None;
    }
    // SAFETY: the only asker is the module manager, which mapped these bytes here for reading, lets nobody write them, and keeps them
    // mapped until it has the answer. An address that is not mapped ends this program and nothing else.
    Some(unsafe { core::slice::from_raw_parts(address as *const u8, length as usize) })
}
