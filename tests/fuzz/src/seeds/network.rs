//! Seeds of what services say to each other, of records, and of frames.

use hic_channel::Message;
use hic_fetch::messages as fetch;
use hic_fetch::{Failure, Source};
use hic_hicmod::manifest::{Kind, Manifest, Version};
use hic_hicmod::verdict::{Facts, Refusal, Span, Verdict};
use hic_migrate::{Protocols, Question, Share, Side, Wave};
use hic_netapi::message::tcp;
use hic_store::messages as store;
use hic_store::{Defaults, pair};
use hic_tuf::{Trusted, ask};

use super::Seeds;
use crate::targets::records;

/// Adds them.
pub fn add(seeds: &mut Seeds) {
    let mut put = |target: &'static str, name: &str, kind: u8, bytes: &[u8]| {
        seeds.insert((target, name.to_owned()), [&[kind], bytes].concat());
    };
    messages(&mut |name, kind, bytes| put("messages", name, kind, bytes));
    let mut record = Defaults::default();
    for (name, patch) in [("netstack", 0), ("console", 1)] {
        let name = name.try_into().unwrap_or_default();
        // A fresh record has room for two services.
        let _ = record.install(&name, Version::new(1, 2, patch));
    }
    let mut buffer = [0; hic_store::MAX_RECORD_BYTES];
    let bytes = record.encode(&mut buffer).unwrap_or_default();
    put("records", "defaults", 0, bytes);
    let mut half = [0; pair::HALF_BYTES];
    if pair::next(pair::Contents::Empty, bytes, &mut half).is_ok() {
        let length = half.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        let piece = [&(length as u16).to_le_bytes(), &half[..length]].concat();
        put("records", "halves", 1, &[&piece[..], &piece].concat());
    }
    for (kind, name, bytes) in records::examples() {
        put("records", name, kind, &bytes);
    }
    for (name, bytes) in crate::targets::frames::examples() {
        put("frames", name, bytes.0, &bytes.1);
    }
}

fn messages(put: &mut impl FnMut(&str, u8, &[u8])) {
    let protocols = Protocols { lowest: 1, highest: 1 };
    let peer_state = hic_migrate::Place { address: 1 << 32, bytes: 8192 };
    let prepare = hic_migrate::Prepare {
        side: Side::Importer,
        lane: 1,
        peer_state,
        peer_serial: 9,
        token: 7,
        protocols,
        schema: 2,
    };
    put("prepare", 0, &channel(&Question::Prepare(prepare).encode()));
    let share = Share::Items { wave: Wave::ALL[1], max: 32 };
    put("export", 0, &channel(&Question::Export { batch: 3, share }.encode()));
    let words: Vec<u8> = [17u64, 1 << 32 | 18].iter().flat_map(|word| word.to_le_bytes()).collect();
    put("imported", 0, &channel(&Message::new(0, [1, 0, 1, 0, 0, 0, 0, 0]).with_payload(&words)));

    let mut buffer = [0; store::MAX_MESSAGE_BYTES];
    let source: Option<Source> = "http://10.0.2.2:8000/".parse().ok();
    let path = source.and_then(|source| source.path("timestamp.tuf")).unwrap_or_default();
    let get = fetch::Request::Get {
        server: [10, 0, 2, 2],
        port: 8000,
        path,
        from: 0,
        validator: Default::default(),
        room: 8192,
        length: None,
        destination: 1 << 32,
    };
    put("get", 1, get.encode(&mut buffer).unwrap_or_default());
    let failed =
        fetch::Reply::Failed(Failure::new("http-status", &"the server answers with status 500", true));
    put("failed", 1, failed.encode(&mut buffer).unwrap_or_default());
    put(
        "write-state",
        2,
        store::Request::WriteState { record: b"a record" }.encode(&mut buffer).unwrap_or_default(),
    );
    let file = store::Reply::File {
        count: 3,
        name: "echo-1.0.0.hicmod".try_into().unwrap_or_default(),
        size: 70_000,
        stamp: 5,
    };
    put("file", 2, file.encode(&mut buffer).unwrap_or_default());

    let manifest =
        Manifest::least("echo".try_into().unwrap_or_default(), Version::new(1, 0, 0), Kind::Service);
    let facts = Facts {
        digest: [7; 48],
        signer: "HIC signer".try_into().unwrap_or_default(),
        development: true,
        listed: false,
        signed_at: 1,
        valid_until: 2,
        manifest,
    };
    for (name, verdict) in [
        ("good", Verdict::Good(facts)),
        ("refused", Verdict::Refused(Refusal::new("digest", &"it was changed"))),
    ] {
        put(name, 3, verdict.encode(&mut buffer).unwrap_or_default());
    }
    let span = Span { address: 1 << 32, length: 4096 };
    let question = ask::Question {
        root: span,
        seen: Trusted::default(),
        now: 1_800_000_000,
        files: [Some(span), None].into_iter().collect(),
    };
    put("metadata-question", 4, question.encode(&mut [0; ask::MAX_QUESTION_BYTES]).unwrap_or_default());
    let answer = ask::Answer::Refused {
        refusal: Refusal::new("metadata-expired", &"its time is over"),
        absent: false,
        unlisted: true,
    };
    put("metadata-answer", 4, answer.encode(&mut [0; ask::MAX_ANSWER_BYTES]).unwrap_or_default());
    let listen =
        tcp::ServiceCommand::Listen { seq: 1, local_port: 80, backlog: 8, buffer_size: 16384, signal: 1 }
            .encode();
    put("listen", 5, &plain(listen.label, &listen.words));
    let attach = hic_nic::Request::Attach { version: 1, signal: 2 }.encode();
    put("attach", 6, &plain(attach.label, &attach.words));
    put("question", 7, &[1; 56]);
}

/// As the target reads a message of a channel: the label, each word with a mark that it is whole, the payload.
fn channel(message: &Message) -> Vec<u8> {
    let words = message.words.iter().flat_map(|word| [&[1][..], &word.to_le_bytes()].concat());
    [message.label as u8].into_iter().chain(words).chain(message.payload().iter().copied()).collect()
}

/// The same for a message of a call.
fn plain(label: u32, words: &[u64]) -> Vec<u8> {
    let all = [u64::from(label)].into_iter().chain(words.iter().copied());
    all.flat_map(|word| [&[1][..], &word.to_le_bytes()].concat()).collect()
}
