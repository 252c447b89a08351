//! One file until it is there or given up: what to ask next, and for how long.
//!
//! A connection that ends in the middle is taken up again where it was, if the server names the version of the file; else the file is begun again. Four
//! attempts that bring nothing are enough, half a minute without a byte is, a minute at a snail's pace, and so is a quarter of an hour for the whole file, or less where the
//! file is one of many ([`Download::by`]).

use hic_abi::Nanos;

use crate::messages::{Failure, Reply, Request};
use crate::{Path, Source, Validator};

const SECOND: Nanos = 1_000_000_000;
/// Without a byte for so long a download is given up.
pub const STALL: Nanos = 30 * SECOND;
/// So long a download takes at most.
pub const WHOLE: Nanos = 900 * SECOND;
/// After so long a download must have come on at [`SLOWEST`] at least.
pub const GRACE: Nanos = 60 * SECOND;
/// Bytes a second, on the average from its begin: a server that drips bytes would keep others waiting for [`WHOLE`], once for each file.
pub const SLOWEST: u64 = 1024;
/// Failed attempts in a row, without a new byte between them, after which a download is given up.
pub const ATTEMPTS: u32 = 4;
/// Times that a file may be begun again because the server does not go on with it: each costs the whole file.
pub const FRESH_STARTS: u32 = 8;

/// What to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(
    clippy::large_enum_variant,
    reason = "one at a time, made and taken apart at once; no heap is needed"
)]
pub enum Step {
    /// Ask with [`Download::request`].
    Ask,
    /// The file is there, with so many bytes.
    Done(u32),
    /// It is given up.
    GiveUp(Failure),
}

/// A download.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Download {
    source: Source,
    path: Path,
    room: u32,
    length: Option<u32>,
    at: u32,
    best: u32,
    validator: Validator,
    began: Nanos,
    deadline: Nanos,
    progress: Nanos,
    failures: u32,
    fresh: u32,
}

impl Download {
    /// Begins the download of a file of a source into `room` bytes; `length` where it is known.
    #[must_use]
    pub fn begin(source: Source, path: Path, room: u32, length: Option<u32>, now: Nanos) -> Self {
        Self {
            source,
            path,
            room,
            length,
            at: 0,
            best: 0,
            validator: Validator::new(),
            began: now,
            deadline: now.saturating_add(WHOLE),
            progress: now,
            failures: 0,
            fresh: 0,
        }
    }

    /// The same, given up at this time if it is before [`WHOLE`] is over.
    #[must_use]
    pub fn by(self, deadline: Nanos) -> Self {
        Self { deadline: self.deadline.min(deadline), ..self }
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Bytes that are there.
    #[must_use]
    pub fn at(&self) -> u32 {
        self.at
    }

    /// What to ask the fetcher, for which the memory lies at `destination`.
    #[must_use]
    pub fn request(&self, destination: u64) -> Request {
        Request::Get {
            server: self.source.server.ip().octets(),
            port: self.source.server.port(),
            path: self.path.clone(),
            from: self.at,
            validator: self.validator.clone(),
            room: self.room,
            length: self.length,
            destination,
        }
    }

    /// Takes an answer. The fetcher is not believed: more bytes than there is room for are a failure of its own.
    pub fn answered(&mut self, reply: Reply, now: Nanos) -> Step {
        match reply {
            Reply::Done { length }
                if length <= self.room && self.length.is_none_or(|wanted| wanted == length) =>
            {
                Step::Done(length)
            }
            Reply::Part { at, validator } if at <= self.room => {
                self.advance(at, validator, now);
                self.go_on(now)
            }
            Reply::Failed(failure) if failure.passing && failure.at <= self.room => {
                self.failures += 1;
                self.advance(failure.at, failure.validator.clone(), now);
                if self.failures >= ATTEMPTS { Step::GiveUp(failure) } else { self.go_on(now) }
            }
            Reply::Failed(failure) => Step::GiveUp(failure),
            Reply::Done { .. } | Reply::Part { .. } | Reply::Stopped => {
                Step::GiveUp(Failure::new("fetcher", &"the fetcher gives an answer that cannot be", false))
            }
        }
    }

    fn advance(&mut self, at: u32, validator: Validator, now: Nanos) {
        if at < self.at {
            self.fresh += 1;
        }
        // Only what was never there before is progress: a server that begins again and again makes none.
        if at > self.best {
            (self.best, self.progress, self.failures) = (at, now, 0);
        }
        (self.at, self.validator) = (at, validator);
    }

    fn go_on(&self, now: Nanos) -> Step {
        let seconds = |since: Nanos| now.saturating_sub(since) / SECOND;
        if now.saturating_sub(self.progress) >= STALL {
            let why = format_args!("{} bytes came, and none for {} s", self.at, seconds(self.progress));
            return Step::GiveUp(Failure::new("http-stalled", &why, true));
        }
        let due = seconds(self.began) * SLOWEST;
        let is_slow = now.saturating_sub(self.began) >= GRACE && u64::from(self.best) < due;
        if is_slow || now >= self.deadline {
            let why = format_args!("{} bytes came in {} s", self.at, seconds(self.began));
            return Step::GiveUp(Failure::new("http-slow", &why, true));
        }
        if self.fresh >= FRESH_STARTS {
            let why = "the server begins the file again and again";
            return Step::GiveUp(Failure::new("http-again", &why, true));
        }
        Step::Ask
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn begin() -> Download {
        Download::begin(
            "http://10.0.2.2/".parse().unwrap(),
            Path::try_from("/x").unwrap(),
            1000,
            Some(1000),
            0,
        )
    }

    fn part(at: u32) -> Reply {
        Reply::Part { at, validator: Validator::try_from("\"v\"").unwrap() }
    }

    fn cut_off(at: u32) -> Reply {
        Reply::Failed(Failure::new("http-cut-off", &"x", true).with_part(at, Validator::new()))
    }

    #[test]
    fn a_download_goes_on_where_it_was() {
        let mut download = begin();
        assert_eq!(download.answered(part(300), SECOND), Step::Ask);
        let Request::Get { from, validator, .. } = download.request(7) else { panic!("no request") };
        assert_eq!((from, validator.as_str()), (300, "\"v\""));
        assert_eq!(download.answered(cut_off(400), 2 * SECOND), Step::Ask);
        assert_eq!(download.at(), 400);
        assert_eq!(download.answered(Reply::Done { length: 1000 }, 3 * SECOND), Step::Done(1000));
    }

    #[test]
    fn attempts_that_bring_nothing_are_counted_and_progress_forgives_them() {
        let mut download = begin();
        for at in [0, 0, 0, 10, 10, 10, 10] {
            assert_eq!(download.answered(cut_off(at), SECOND), Step::Ask, "at {at}");
        }
        assert!(
            matches!(download.answered(cut_off(10), SECOND), Step::GiveUp(failure) if failure.code == "http-cut-off")
        );
    }

    #[test]
    fn a_slow_server_has_a_deadline_and_one_that_drips_another() {
        let mut download = begin();
        assert_eq!(download.answered(part(1), STALL - 1), Step::Ask);
        assert_eq!(download.answered(part(1), 2 * STALL - 2), Step::Ask);
        assert!(
            matches!(download.answered(part(1), 2 * STALL), Step::GiveUp(failure) if failure.code == "http-stalled")
        );
        let given_up = |room: u32, rate: u32| {
            let path = Path::try_from("/x").unwrap();
            let mut download = Download::begin("http://10.0.2.2/".parse().unwrap(), path, room, None, 0);
            (1..).map(|n| n * 20).find_map(|second| {
                match download.answered(part(rate * second), u64::from(second) * SECOND) {
                    Step::Ask => None,
                    step => Some((u64::from(second) * SECOND, step)),
                }
            })
        };
        let slow = |step: &Step| matches!(step, Step::GiveUp(failure) if failure.code == "http-slow");
        assert!(matches!(given_up(1000, 1), Some((GRACE, step)) if slow(&step)), "a byte a second");
        let below = SLOWEST as u32 - 1;
        assert!(matches!(given_up(u32::MAX, below), Some((GRACE, step)) if slow(&step)), "just too slow");
        assert!(matches!(given_up(u32::MAX, below + 1), Some((WHOLE, step)) if slow(&step)), "for ever");
    }

    #[test]
    fn a_file_has_no_longer_than_what_it_is_part_of() {
        let steps = |by: Nanos| {
            let mut download = begin().by(by);
            [1, 2].map(|second| download.answered(part(300 + second), u64::from(second) * SECOND))
        };
        assert_eq!(steps(3 * SECOND), [Step::Ask, Step::Ask]);
        let [in_time, late] = steps(2 * SECOND);
        assert_eq!(in_time, Step::Ask);
        assert!(matches!(late, Step::GiveUp(failure) if failure.code == "http-slow"));
        let path = Path::try_from("/x").unwrap();
        let download = Download::begin("http://10.0.2.2/".parse().unwrap(), path, u32::MAX, None, 0);
        let ends = |download: Download, at| {
            let reply = Reply::Part { at: u32::MAX, validator: Validator::new() };
            matches!(download.clone().answered(reply, at), Step::GiveUp(_))
        };
        assert!(ends(download.clone().by(u64::MAX), WHOLE), "it is no way to have longer");
        assert!(!ends(download.by(u64::MAX), WHOLE - 1));
    }

    #[test]
    fn what_cannot_be_is_not_believed() {
        for reply in [part(1001), Reply::Done { length: 1001 }, Reply::Done { length: 999 }, Reply::Stopped] {
            assert!(matches!(begin().answered(reply, 0), Step::GiveUp(failure) if failure.code == "fetcher"));
        }
    }

    proptest! {
        /// Whatever the fetcher says, a download comes to an end.
        #[test]
        fn no_server_keeps_a_download_going_for_ever(places in proptest::collection::vec((any::<bool>(), 0..1000u32), 1..40)) {
            let mut download = begin();
            let mut now = 0;
            let ended = (0..10_000).find_map(|n: usize| {
                let (fails, at) = places[n % places.len()];
                now += SECOND;
                let step = download.answered(if fails { cut_off(at) } else { part(at) }, now);
                (step != Step::Ask).then_some(())
            });
            prop_assert!(ended.is_some() && now <= WHOLE + SECOND);
        }
    }
}
