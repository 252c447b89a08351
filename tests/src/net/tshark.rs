//! What tshark has to say about a capture of the guest's wire.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::closing::{Closings, Segment};
use super::pcap;

/// Packets of a kind that are named in a report; more are only counted.
const NAMED: usize = 10;

/// The fields that are asked for, in this order, one column each; the first two only name the packet.
const FIELDS: [&str; 16] = [
    "frame.number",
    "_ws.col.Info",
    "tcp.flags.reset",
    "tcp.analysis.lost_segment",
    "tcp.analysis.ack_lost_segment",
    "tcp.analysis.retransmission",
    "tcp.analysis.out_of_order",
    "tcp.analysis.zero_window",
    "_ws.malformed",
    "tcp.analysis.window_full",
    "tcp.flags.fin",
    "tcp.stream",
    "tcp.srcport",
    "tcp.seq",
    "tcp.len",
    "tcp.ack",
];

/// What was found, as counts of packets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WireReport {
    /// TCP packets in all.
    pub packets: u64,
    /// Packets with RST, but for late ones.
    pub resets: u64,
    /// Packets with RST after both ends had closed and each knew it: what a late duplicate gets.
    pub late_resets: u64,
    /// Packets whose sequence number leaves a gap behind the previous one's end.
    pub lost_segments: u64,
    /// Acknowledgements of data that was never seen.
    pub ack_lost_segments: u64,
    /// Retransmissions, of any kind.
    pub retransmissions: u64,
    /// Packets behind a later one.
    pub out_of_order: u64,
    /// Announcements of a zero window.
    pub zero_windows: u64,
    /// Packets that tshark cannot read.
    pub malformed: u64,
    /// Packets that fill the receiver's window to the brim.
    pub window_full: u64,
    /// Resets, gaps and malformed packets by number and summary, the first ten.
    pub named: Vec<String>,
    closings: Closings,
}

impl WireReport {
    /// Gaps in the sequence space, seen from either side.
    #[must_use]
    pub fn gaps(&self) -> u64 {
        self.lost_segments + self.ack_lost_segments
    }

    /// An error unless the capture has TCP traffic with neither a reset nor a gap nor an unreadable packet.
    pub fn ensure_clean(&self) -> Result<()> {
        ensure!(self.packets > 0, "the capture holds no TCP packet");
        let bad = self.resets + self.gaps() + self.malformed;
        ensure!(bad == 0, "{}; first ones:\n{}", self.summary(), self.named.join("\n"));
        Ok(())
    }

    /// One line.
    #[must_use]
    pub fn summary(&self) -> String {
        format!(
            "{} TCP packets, {} resets, {} late ones, {} sequence gaps, {} malformed, {} retransmissions, {} out of order, {} zero windows",
            self.packets,
            self.resets,
            self.late_resets,
            self.gaps(),
            self.malformed,
            self.retransmissions,
            self.out_of_order,
            self.zero_windows
        )
    }

    fn add(&mut self, line: &str) {
        let columns: Vec<&str> = line.split('\t').collect();
        let set = |index: usize| u64::from(is_set(&columns, index));
        self.packets += 1;
        let segment = segment(&columns);
        let is_late = segment.is_some_and(|segment| self.closings.is_over(segment.stream));
        let (reset, late) = if is_late { (0, set(2)) } else { (set(2), 0) };
        self.resets += reset;
        self.late_resets += late;
        segment.into_iter().for_each(|segment| self.closings.add(segment));
        self.lost_segments += set(3);
        let unseen = segment.is_none_or(|segment| self.closings.acknowledges_unseen(segment));
        let ack_lost = if unseen { set(4) } else { 0 };
        self.ack_lost_segments += ack_lost;
        self.retransmissions += set(5);
        self.out_of_order += set(6);
        self.zero_windows += set(7);
        self.malformed += set(8);
        self.window_full += set(9);
        if reset + set(3) + ack_lost + set(8) > 0 && self.named.len() < NAMED {
            self.named.push(columns.get(..2).unwrap_or_default().join(" "));
        }
    }
}

/// Whether a flag is there and not off; the columns of an expert note are text.
fn is_set(columns: &[&str], index: usize) -> bool {
    columns.get(index).is_some_and(|value| !["", "0", "False"].contains(value))
}

/// `None` if one of its fields is missing or, as in an ICMP error that quotes a segment, there twice.
fn segment(columns: &[&str]) -> Option<Segment> {
    let number = |index: usize| columns.get(index)?.parse::<u64>().ok();
    let fin = is_set(columns, 10);
    let (stream, source_port, acknowledges) = (number(11)?, number(12)?, number(15).unwrap_or(0));
    let end = number(13)? + number(14)?;
    Some(Segment { stream, source_port, end, acknowledges, fin })
}

/// Reads the TCP packets of `capture`.
pub fn check_capture(capture: &Path) -> Result<WireReport> {
    let mut report = WireReport::default();
    fields(capture, "tcp", &FIELDS)?.lines().for_each(|line| report.add(line));
    Ok(report)
}

/// The packets of `capture` that `filter` selects: a line each, with a tab between the `wanted` fields.
pub(super) fn fields(capture: &Path, filter: &str, wanted: &[&str]) -> Result<String> {
    let bare = capture.with_extension("frames.pcap");
    pcap::make_bare(capture, &bare)?;
    let mut command = Command::new("tshark");
    command.arg("-r").arg(&bare).args(["-n", "-Y", filter, "-T", "fields"]);
    command.args(["-o", "tcp.desegment_tcp_streams:FALSE"]);
    for field in wanted {
        command.args(["-e", field]);
    }
    let output = command.output().context("cannot run tshark")?;
    let message = String::from_utf8_lossy(&output.stderr);
    // A capture whose writer was ended in the middle of a packet is read up to there.
    let cut_short = message.contains("cut short in the middle of a packet");
    ensure!(output.status.success() || cut_short, "tshark failed: {}", message.trim());
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_counted_and_offenders_named() {
        let mut report = WireReport::default();
        report.add("1\t7 -> 80 [SYN]\t0\t\t\t\t\t\t\t");
        report.add("2\t80 -> 7 [RST]\t1\t\t\t\t\t\t\t");
        report.add("3\tgap\t0\t1\t\t1\t\t1\t\t");
        assert_eq!((report.packets, report.resets, report.gaps()), (3, 1, 1));
        assert_eq!((report.retransmissions, report.zero_windows), (1, 1));
        assert_eq!(report.named, ["2 80 -> 7 [RST]", "3 gap"]);
        assert!(report.ensure_clean().is_err());
    }

    #[test]
    fn a_reset_counts_unless_the_connection_is_over() {
        let mut report = WireReport::default();
        let line = |info: &str, reset, fin, port, [seq, len, ack]: [u32; 3]| {
            format!("9\t{info}\t{reset}\t\t\t\t\t\t\t\t{fin}\t5\t{port}\t{seq}\t{len}\t{ack}")
        };
        report.add(&line("data and FIN", "False", "True", 7, [1, 40, 1]));
        report.add(&line("FIN", "0", "1", 4000, [1, 0, 42]));
        report.add(&line("too early", "1", "0", 4000, [2, 0, 0]));
        report.add(&line("ACK", "0", "0", 7, [42, 0, 2]));
        report.add(&line("late", "True", "0", 4000, [2, 0, 0]));
        assert_eq!((report.resets, report.late_resets), (1, 1));
        assert_eq!(report.named, ["9 too early"]);
    }

    #[test]
    fn an_empty_capture_proves_nothing() {
        assert!(WireReport::default().ensure_clean().is_err());
    }
}
