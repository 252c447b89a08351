//! How long a client's bytes waited for the guest's acknowledgement, and how long the guest was silent, connection by connection, read
//! from a capture: the same freeze that the guest reports, seen from outside.
//!
//! A capture's clock is QEMU's virtual one, so a test says where its windows begin and end by marks on the wire itself
//! (`load::mark`).

use std::collections::{BTreeMap, VecDeque};
use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};

use super::{GUEST_ADDRESS, tshark};
use crate::load::MARK_BYTES;

/// What is asked of each packet, one column each.
const FIELDS: [&str; 9] = [
    "frame.time_epoch",
    "tcp.stream",
    "ip.src",
    "tcp.len",
    "tcp.nxtseq",
    "tcp.ack",
    "udp.length",
    "tcp.srcport",
    "tcp.dstport",
];

/// TCP, and the datagrams among which the marks are.
const FILTER: &str = "tcp or udp.dstport == 9";

/// Bytes of a UDP header, which its length field counts.
const UDP_HEADER: u16 = 8;

/// A time at which bytes of one connection waited, in seconds of the capture's clock.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Wait {
    stream: u32,
    from: f64,
    to: f64,
}

/// Shorter silences of the guest are not kept, seconds: most packets follow the one before sooner than this, and a capture has a million.
const KEPT_SILENCE: f64 = 0.001;

/// What the guest sent on one connection, as the times at which it sent nothing.
#[derive(Debug)]
struct Sent {
    last: f64,
    /// From one of its packets to the next, if longer than [`KEPT_SILENCE`], in ascending order.
    silences: Vec<(f64, f64)>,
}

/// A part of a capture, in seconds of its clock.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Window {
    from: f64,
    to: f64,
}

impl Window {
    /// How long it is.
    #[must_use]
    pub fn length(&self) -> Duration {
        Duration::from_secs_f64((self.to - self.from).max(0.0))
    }

    /// Its part between `from` and `to`.
    fn part(self, from: f64, to: f64) -> Self {
        Self { from: self.from.max(from), to: self.to.min(to) }
    }
}

/// All waits and silences of a capture, and its marks.
#[derive(Debug, Default)]
pub struct Gaps {
    waits: Vec<Wait>,
    marks: BTreeMap<u16, f64>,
    /// By the guest's port and the other end's.
    sent: BTreeMap<(u16, u16), Sent>,
    /// Bytes of each connection that were sent and are not acknowledged yet: when, and up to which number.
    unacknowledged: BTreeMap<u32, VecDeque<(f64, u32)>>,
}

/// The waits of one window.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GapReport {
    /// The longest wait of each connection (by tshark's number) that waited at all.
    pub longest: BTreeMap<u32, Duration>,
}

impl GapReport {
    /// The longest of all.
    #[must_use]
    pub fn worst(&self) -> Duration {
        self.longest.values().copied().max().unwrap_or_default()
    }

    /// One line.
    #[must_use]
    pub fn summary(&self) -> String {
        let worst = self.longest.iter().max_by_key(|(_, wait)| **wait);
        let worst = worst.map_or_else(String::new, |(stream, _)| format!(" (connection {stream})"));
        let all: crate::load::Latencies = self.longest.values().copied().collect();
        format!(
            "longest gap on the wire {:.1?}{worst}, of the longest of each of {} connections the median {:.1?}, p99 {:.1?}",
            self.worst(),
            all.count(),
            all.percentile(50),
            all.percentile(99)
        )
    }
}

/// Reads `capture`.
pub fn read_gaps(capture: &Path) -> Result<Gaps> {
    Gaps::parse(&tshark::fields(capture, FILTER, &FIELDS)?)
}

impl Gaps {
    /// Reads what tshark printed of [`FIELDS`].
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let mut gaps = Self::default();
        for line in text.lines() {
            gaps.add(line).with_context(|| format!("tshark printed {line:?}"))?;
        }
        Ok(gaps)
    }

    /// From the mark `first` to the mark `last`.
    pub fn window(&self, first: u16, last: u16) -> Result<Window> {
        let mark = |number| {
            self.marks.get(&number).copied().with_context(|| format!("mark {number} is not in the capture"))
        };
        Ok(Window { from: mark(first)?, to: mark(last)? })
    }

    /// As much time before `window` as it takes itself, or as much as there is since the mark before it; `None` if there is no such mark.
    #[must_use]
    pub fn before(&self, window: Window) -> Option<Window> {
        let marks = self.marks.values().copied().filter(|mark| *mark < window.from);
        let since = marks.max_by(f64::total_cmp)?;
        Some(Window { from: since.max(2.0 * window.from - window.to), to: window.from })
    }

    /// What waited between the marks `first` and `last`, in whole or in part. What was never acknowledged does not count:
    /// the capture may have ended.
    pub fn between(&self, first: u16, last: u16) -> Result<GapReport> {
        let Window { from, to } = self.window(first, last)?;
        let mut report = GapReport::default();
        for wait in self.waits.iter().filter(|wait| wait.from <= to && wait.to >= from) {
            let time = Duration::from_secs_f64((wait.to - wait.from).max(0.0));
            let longest = report.longest.entry(wait.stream).or_default();
            *longest = time.max(*longest);
        }
        Ok(report)
    }

    /// The longest part of `window` in which the guest sent nothing on the connection from its port `local` to the port `remote`; zero if it
    /// never waited for longer than [`KEPT_SILENCE`]; `None` if it never sent anything there. Behind its last packet it is silent for good.
    #[must_use]
    pub fn longest_silence(&self, local: u16, remote: u16, window: Window) -> Option<Duration> {
        let Sent { last, silences } = self.sent.get(&(local, remote))?;
        let all = silences.iter().copied().chain([(*last, f64::INFINITY)]);
        let parts = all.map(|(from, to)| window.part(from, to).length());
        Some(parts.max().unwrap_or_default())
    }

    fn add(&mut self, line: &str) -> Result<()> {
        let mut columns = line.split('\t');
        let mut next = || columns.next().unwrap_or_default();
        let (time, stream, source) = (next().parse::<f64>().context("time")?, next(), next());
        let numbers = [next(), next(), next(), next()];
        let ports = [next(), next()].map(|text| text.parse::<u16>().unwrap_or(0));
        let [length, end, acknowledged, udp] = numbers.map(|text| text.parse::<u32>().ok());
        let Ok(stream) = stream.parse() else {
            if let Some(number) = udp.and_then(mark_number) {
                self.marks.entry(number).or_insert(time);
            }
            return Ok(());
        };
        let queue = self.unacknowledged.entry(stream).or_default();
        if source.parse() == Ok(Ipv4Addr::from(GUEST_ADDRESS)) {
            let acknowledged = acknowledged.unwrap_or(0);
            let none = Sent { last: time, silences: Vec::new() };
            let sent = self.sent.entry(ports.into()).or_insert(none);
            if time - sent.last > KEPT_SILENCE {
                sent.silences.push((sent.last, time));
            }
            sent.last = time;
            while let Some((from, _)) = queue.pop_front_if(|(_, end)| *end <= acknowledged) {
                self.waits.push(Wait { stream, from, to: time });
            }
        } else if let (Some(1..), Some(end)) = (length, end)
            && queue.back().is_none_or(|(_, last)| end > *last)
        {
            queue.push_back((time, end));
        }
        Ok(())
    }
}

/// The number of a mark whose UDP header says this length.
fn mark_number(udp_length: u32) -> Option<u16> {
    let first = u16::try_from(MARK_BYTES).ok()? + UDP_HEADER;
    u16::try_from(udp_length).ok()?.checked_sub(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gaps(lines: &[&str]) -> Gaps {
        Gaps::parse(&lines.join("\n")).expect("well-formed")
    }

    #[test]
    fn bytes_wait_until_they_are_acknowledged_whatever_comes_in_between() {
        let found = gaps(&[
            "1.0\t\t10.0.2.2\t\t\t\t608",
            "2.0\t5\t10.0.2.2\t100\t101\t1\t",
            "2.5\t5\t10.0.2.2\t100\t101\t1\t",
            "2.6\t5\t10.0.2.15\t20\t21\t1\t",
            "3.0\t5\t10.0.2.15\t0\t21\t101\t",
            "4.0\t\t10.0.2.2\t\t\t\t609",
        ]);
        let report = found.between(0, 1).expect("both marks");
        assert_eq!(report.longest, [(5, Duration::from_secs(1))].into());
        assert!(report.summary().contains("1.0s (connection 5)"), "{}", report.summary());
    }

    #[test]
    fn a_wait_outside_the_window_does_not_count_and_one_across_its_edge_does() {
        let found = gaps(&[
            "1.0\t1\t10.0.2.2\t10\t11\t1\t",
            "1.5\t1\t10.0.2.15\t0\t1\t11\t",
            "2.0\t2\t10.0.2.2\t10\t11\t1\t",
            "2.1\t\t10.0.2.2\t\t\t\t610",
            "2.4\t2\t10.0.2.15\t0\t1\t11\t",
            "3.0\t\t10.0.2.2\t\t\t\t611",
        ]);
        let report = found.between(2, 3).expect("both marks");
        assert_eq!(report.longest.keys().copied().collect::<Vec<_>>(), [2]);
        assert!(found.between(2, 9).is_err(), "no such mark");
    }

    #[test]
    fn a_silence_is_the_time_between_two_packets_of_the_guest_on_one_connection() {
        let found = gaps(&[
            "1.0\t1\t10.0.2.15\t10\t11\t1\t\t7\t4000",
            "1.5\t1\t10.0.2.2\t10\t11\t11\t\t4000\t7",
            "1.6\t2\t10.0.2.15\t10\t11\t1\t\t7\t4001",
            "2.0\t1\t10.0.2.15\t10\t21\t11\t\t7\t4000",
            "2.25\t1\t10.0.2.15\t0\t21\t11\t\t7\t4000",
        ]);
        let longest = |port, from, to| found.longest_silence(7, port, Window { from, to });
        assert_eq!(longest(4000, 0.0, 2.25), Some(Duration::from_secs(1)));
        assert_eq!(longest(4000, 2.0, 2.25), Some(Duration::from_millis(250)));
        assert_eq!(longest(4001, 0.0, 1.5), Some(Duration::ZERO), "it did not exist yet");
        assert_eq!(longest(4001, 2.0, 5.0), Some(Duration::from_secs(3)), "it sent its last packet before");
        assert_eq!(longest(4002, 0.0, 9.0), None);
    }

    #[test]
    fn of_a_silence_across_the_edge_of_a_window_the_part_inside_counts() {
        let found = gaps(&[
            "1.0\t1\t10.0.2.15\t10\t11\t1\t\t7\t4000",
            "2.0\t\t10.0.2.2\t\t\t\t608",
            "4.0\t1\t10.0.2.15\t10\t21\t11\t\t7\t4000",
            "4.5\t\t10.0.2.2\t\t\t\t609",
        ]);
        let window = found.window(0, 1).expect("both marks");
        assert_eq!(found.longest_silence(7, 4000, window), Some(Duration::from_secs(2)));
        assert!(found.window(0, 2).is_err(), "no such mark");
    }

    #[test]
    fn the_window_before_another_is_as_long_unless_a_mark_cuts_it_short() {
        let found = gaps(&[
            "1.0\t\t10.0.2.2\t\t\t\t608",
            "5.0\t\t10.0.2.2\t\t\t\t609",
            "7.0\t\t10.0.2.2\t\t\t\t610",
            "9.0\t\t10.0.2.2\t\t\t\t611",
            "19.0\t\t10.0.2.2\t\t\t\t612",
        ]);
        let before = |first, last| found.before(found.window(first, last).expect("both marks"));
        assert_eq!(before(1, 2), Some(Window { from: 3.0, to: 5.0 }));
        assert_eq!(before(3, 4), Some(Window { from: 7.0, to: 9.0 }), "cut short");
        assert_eq!(before(0, 1), None);
    }

    #[test]
    fn other_datagrams_are_no_marks() {
        assert_eq!(mark_number(608), Some(0));
        assert_eq!(mark_number(20), None);
    }
}
