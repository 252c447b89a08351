//! Messages between services: each side reads what the other wrote as if it came from outside. What was understood is written again and means
//! the same; text in it can be shown.

use std::fmt::Debug;

use hic_channel::Message;
use hic_fetch::{Failure, messages as fetch};
use hic_hicmod::verdict::{
    Listing, MAX_LISTING_BYTES, MAX_VERDICT_BYTES, Question as ModuleQuestion, Refusal, Verdict,
};
use hic_migrate::{Exported, Health, Imported, MAX_CAPS, Migrated, Question, Ready};
use hic_netapi::message::{tcp, udp};
use hic_nic::message as nic;
use hic_store::messages as store;
use hic_tuf::ask;

use crate::input::Input;

/// Tries the bytes behind the first as a message; the first says of whom.
pub fn run(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    match input.below(8) {
        0 => migration(&mut input),
        1 => fetcher(input.rest()),
        2 => storage(input.rest()),
        3 => verifier(input.rest()),
        4 => metadata(input.rest()),
        5 => sockets(&mut input),
        6 => driver(&mut input),
        _ => question(&mut input),
    }
}

/// What was read is what is read again after it was written.
fn again<T: PartialEq + Debug>(value: &T, read: Option<T>) {
    assert_eq!(read.as_ref(), Some(value));
}

fn shown(text: &str) {
    assert!(!text.chars().any(char::is_control), "control characters in {text:?}");
}

fn refusal(Refusal { check, text }: &Refusal) {
    shown(check);
    shown(text);
}

fn channel(input: &mut Input<'_>) -> Message {
    let label = u64::from(input.byte());
    let words = [(); 8].map(|()| if input.byte() & 1 == 0 { input.byte().into() } else { input.u64() });
    Message::new(label, words).with_payload(input.rest())
}

fn migration(input: &mut Input<'_>) {
    let message = channel(input);
    if let Ok(question) = Question::decode(&message) {
        again(&question, Question::decode(&question.encode()).ok());
    }
    if let Ok(exported) = Exported::decode(&message) {
        assert!(exported.caps.len() <= MAX_CAPS);
    }
    if let Ok(imported) = Imported::decode(&message) {
        assert!(
            imported.slots.len() <= MAX_CAPS && imported.from.len() <= MAX_CAPS,
            "more than one batch moves"
        );
    }
    let _ = (Migrated::decode(&message), Ready::decode(&message), Health::decode(&message));
}

fn fetcher(bytes: &[u8]) {
    let mut buffer = [0; fetch::MAX_MESSAGE_BYTES];
    if let Ok(request) = fetch::Request::decode(bytes) {
        again(&request, fetch::Request::decode(request.encode(&mut buffer).expect("it fits")).ok());
    }
    if let Ok(reply) = fetch::Reply::decode(bytes) {
        again(&reply, fetch::Reply::decode(reply.encode(&mut buffer).expect("it fits")).ok());
        if let fetch::Reply::Failed(Failure { code, text, validator, .. }) = &reply {
            [code.as_str(), text, validator].into_iter().for_each(shown);
        }
    }
}

fn storage(bytes: &[u8]) {
    let mut buffer = [0; store::MAX_MESSAGE_BYTES];
    if let Ok(request) = store::Request::decode(bytes)
        && let Ok(written) = request.encode(&mut buffer)
    {
        again(&request, store::Request::decode(written).ok());
    }
    if let Ok(reply) = store::Reply::decode(bytes)
        && let Ok(written) = reply.encode(&mut buffer)
    {
        again(&reply, store::Reply::decode(written).ok());
        if let store::Reply::File { name, .. } = &reply {
            shown(name);
        }
    }
}

fn verifier(bytes: &[u8]) {
    if let Some(verdict) = Verdict::decode(bytes) {
        let mut buffer = [0; MAX_VERDICT_BYTES];
        again(&verdict, Verdict::decode(verdict.encode(&mut buffer).expect("it fits")));
        match &verdict {
            Verdict::Good(facts) => {
                shown(&facts.signer);
                facts.manifest.check().expect("the manifest was checked");
            }
            Verdict::Refused(why) => refusal(why),
        }
    }
    if let Some(listing) = Listing::decode(bytes) {
        let mut buffer = [0; MAX_LISTING_BYTES];
        if let Some(written) = listing.encode(&mut buffer) {
            again(&listing, Listing::decode(written));
        }
    }
}

fn metadata(bytes: &[u8]) {
    if let Some(question) = ask::Question::decode(bytes) {
        let mut buffer = [0; ask::MAX_QUESTION_BYTES];
        again(&question, ask::Question::decode(question.encode(&mut buffer).expect("it fits")));
    }
    if let Some(answer) = ask::Answer::decode(bytes) {
        let mut buffer = [0; ask::MAX_ANSWER_BYTES];
        again(&answer, ask::Answer::decode(answer.encode(&mut buffer).expect("it fits")));
        match &answer {
            ask::Answer::Fetch { name, .. } => shown(name),
            ask::Answer::Refused { refusal: why, .. } => refusal(why),
            ask::Answer::Good { .. } => {}
        }
    }
}

fn question(input: &mut Input<'_>) {
    let words = [(); 8].map(|()| input.u64());
    if let Some(question) = ModuleQuestion::from_words(words) {
        assert_eq!(question.to_words(), words);
    }
}

/// A number below 256 or any, so that labels and small fields are met.
fn word(input: &mut Input<'_>) -> u64 {
    if input.byte() & 1 == 0 { input.byte().into() } else { input.u64() }
}

fn sockets(input: &mut Input<'_>) {
    let label = word(input) as u32;
    let words = [(); 4].map(|()| word(input));
    let message = hic_netapi::message::Message { label, words };
    macro_rules! commands {
        ($($command:ty),*) => {$(
            if let Ok(command) = <$command>::decode(&message) {
                again(&command, <$command>::decode(&command.encode()).ok());
            }
        )*};
    }
    commands!(
        tcp::ServiceCommand,
        tcp::ListenerCommand,
        tcp::ConnectionCommand,
        udp::ServiceCommand,
        udp::SocketCommand
    );
    macro_rules! replies {
        ($($reply:ty),*) => {$(
            if let Ok(reply) = <$reply>::decode(&words) {
                again(&reply, <$reply>::decode(&reply.encode().words).ok());
            }
        )*};
    }
    replies!(tcp::Listening, tcp::Opened, tcp::Info, udp::Bound);
}

fn driver(input: &mut Input<'_>) {
    let label = word(input) as u32;
    let words = [(); 4].map(|()| word(input));
    if let Ok(request) = nic::Request::decode(&nic::Message { label, words }) {
        again(&request, nic::Request::decode(&request.encode()).ok());
    }
    let count = u32::from(input.byte());
    let bytes = input.rest();
    if let Ok(keys) = nic::FlowKeys::read(count, bytes) {
        assert_eq!(keys.as_slice().len(), count as usize);
        let mut written = vec![0; bytes.len()];
        assert_eq!(nic::write_keys(keys.as_slice(), &mut written), Some(bytes.len()));
        assert_eq!(written, bytes, "two forms of one key");
    }
}
