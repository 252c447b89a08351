//! How long a client's bytes waited for the guest's acknowledgement, connection by connection, read from a capture: the same
//! freeze that the guest reports, seen from outside.
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

/// All waits of a capture, and its marks.
#[derive(Debug, Default)]
pub struct Gaps {
    waits: Vec<Wait>,
    marks: BTreeMap<u16, f64>,
    /// By the guest's port and the other end's: when the guest sent last, and the longest time between two of its packets.
    silences: BTreeMap<(u16, u16), (f64, f64)>,
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
    let mut gaps = Gaps::default();
    let text = tshark::fields(capture, FILTER, &FIELDS)?;
    for line in text.lines() {
        gaps.add(line).with_context(|| format!("tshark printed {line:?}"))?;
    }
    Ok(gaps)
}

impl Gaps {
    /// What waited between the marks `first` and `last`, in whole or in part. What was never acknowledged does not count:
    /// the capture may have ended.
    pub fn between(&self, first: u16, last: u16) -> Result<GapReport> {
        let mark = |number| {
            self.marks.get(&number).copied().with_context(|| format!("mark {number} is not in the capture"))
        };
        let (from, to) = (mark(first)?, mark(last)?);
        let mut report = GapReport::default();
        for wait in self.waits.iter().filter(|wait| wait.from <= to && wait.to >= from) {
            let time = Duration::from_secs_f64((wait.to - wait.from).max(0.0));
            let longest = report.longest.entry(wait.stream).or_default();
            *longest = time.max(*longest);
        }
        Ok(report)
    }

    /// The longest time in which the guest sent nothing on the connection from its port `local` to the port `remote`; `None` if it never
    /// sent two packets there.
    #[must_use]
    pub fn longest_silence(&self, local: u16, remote: u16) -> Option<Duration> {
        let (_, longest) = self.silences.get(&(local, remote))?;
        (*longest > 0.0).then(|| Duration::from_secs_f64(*longest))
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
            let (last, longest) = self.silences.entry(ports.into()).or_insert((time, 0.0));
            (*last, *longest) = (time, longest.max(time - *last));
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
        let mut gaps = Gaps::default();
        lines.iter().for_each(|line| gaps.add(line).expect("well-formed"));
        gaps
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
        assert_eq!(found.longest_silence(7, 4000), Some(Duration::from_secs(1)));
        assert_eq!((found.longest_silence(7, 4001), found.longest_silence(7, 4002)), (None, None));
    }

    #[test]
    fn other_datagrams_are_no_marks() {
        assert_eq!(mark_number(608), Some(0));
        assert_eq!(mark_number(20), None);
    }
}
