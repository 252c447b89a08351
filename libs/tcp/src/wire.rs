//! A segment's bytes, by smoltcp's packet formats. Everything read here came from a stranger.
//!
//! It must never panic on a packet, and must never decide what a segment means.

use crate::connection::TxData;
use crate::segment::{Flags, Options, SACK_BLOCKS, Segment, SegmentOut, Timestamp, Tuple};
use crate::seq::Seq;
use core::fmt;
use smoltcp::wire::{IpAddress, Ipv4Address, TcpOption, TcpPacket, TcpSeqNumber};

/// Octets of a TCP header without options.
const HEADER_LEN: usize = 20;

/// Why bytes are not a segment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ParseError {
    /// The header does not fit into the packet.
    Length,
    /// The checksum is wrong.
    Checksum,
    /// A port is zero.
    Port,
    /// An option is cut off or has an impossible length.
    Option,
    /// SYN with FIN or RST, which nobody means well (RFC 9293 3.10.7 leaves them undefined).
    Flags,
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Length => "the header does not fit into the packet",
            Self::Checksum => "wrong checksum",
            Self::Port => "port zero",
            Self::Option => "malformed option",
            Self::Flags => "SYN together with FIN or RST",
        })
    }
}

impl core::error::Error for ParseError {}

/// Reads the segment in an IPv4 payload that went from `source` to `destination`; the tuple is as its receiver sees it.
/// `verify` is false when the network card checked the sum.
///
/// # Errors
/// See [`ParseError`]; such a packet is counted and dropped.
pub fn parse(
    bytes: &[u8],
    source: [u8; 4],
    destination: [u8; 4],
    verify: bool,
) -> Result<(Tuple, Segment<'_>), ParseError> {
    let packet = TcpPacket::new_checked(bytes).map_err(|_| ParseError::Length)?;
    if verify && !packet.verify_checksum(&address(source), &address(destination)) {
        return Err(ParseError::Checksum);
    }
    if packet.src_port() == 0 || packet.dst_port() == 0 {
        return Err(ParseError::Port);
    }
    let flags = flags_of(&packet);
    if flags.contains(Flags::SYN) && flags.intersects(Flags::FIN | Flags::RST) {
        return Err(ParseError::Flags);
    }
    let tuple = Tuple {
        local_addr: destination,
        local_port: packet.dst_port(),
        remote_addr: source,
        remote_port: packet.src_port(),
    };
    let segment = Segment {
        seq: Seq(packet.seq_number().0 as u32),
        ack: packet.ack().then(|| Seq(packet.ack_number().0 as u32)),
        flags,
        window: packet.window_len(),
        options: parse_options(packet.options())?,
        payload: packet.payload(),
    };
    Ok((tuple, segment))
}

const fn address(octets: [u8; 4]) -> IpAddress {
    IpAddress::Ipv4(Ipv4Address::from_octets(octets))
}

fn flags_of(packet: &TcpPacket<&[u8]>) -> Flags {
    let mut flags = Flags::empty();
    flags.set(Flags::FIN, packet.fin());
    flags.set(Flags::SYN, packet.syn());
    flags.set(Flags::RST, packet.rst());
    flags.set(Flags::PSH, packet.psh());
    flags.set(Flags::ACK, packet.ack());
    flags
}

fn parse_options(mut bytes: &[u8]) -> Result<Options, ParseError> {
    let mut options = Options::default();
    while !bytes.is_empty() {
        let (rest, option) = TcpOption::parse(bytes).map_err(|_| ParseError::Option)?;
        match option {
            TcpOption::EndOfList => break,
            TcpOption::MaxSegmentSize(mss) => options.mss = Some(mss),
            // RFC 7323 2.3: a larger shift is used as 14.
            TcpOption::WindowScale(shift) => options.window_scale = Some(shift.min(14)),
            TcpOption::SackPermitted => options.sack_permitted = true,
            TcpOption::SackRange(blocks) => {
                options.sack = blocks.map(|block| block.map(|(left, right)| (Seq(left), Seq(right))));
            }
            TcpOption::TimeStamp { tsval, tsecr } => {
                options.timestamp = Some(Timestamp { value: tsval, echo: tsecr });
            }
            TcpOption::NoOperation | TcpOption::Unknown { .. } => {}
        }
        bytes = rest;
    }
    Ok(options)
}

/// Octets that `segment` takes on the wire above IP.
#[must_use]
pub fn len(segment: &SegmentOut) -> usize {
    HEADER_LEN + segment.options.len() + payload_len(segment)
}

fn payload_len(segment: &SegmentOut) -> usize {
    segment.payload.end.saturating_sub(segment.payload.start) as usize
}

/// `frame` is shorter than [`len`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FrameTooShort {
    /// Octets needed.
    pub needed: usize,
    /// Octets there.
    pub got: usize,
}

impl fmt::Display for FrameTooShort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the segment needs {} octets, the frame has {}", self.needed, self.got)
    }
}

impl core::error::Error for FrameTooShort {}

/// What is done about the checksum.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Checksum {
    /// Computed here.
    Full,
    /// The sum of the pseudo-header only: the network card does the rest.
    PseudoHeader,
}

/// Writes `segment` to the start of `frame`, copying its data from `data`, and returns how many octets it took.
///
/// # Errors
/// [`FrameTooShort`].
pub fn emit(
    segment: &SegmentOut,
    tuple: &Tuple,
    data: &impl TxData,
    checksum: Checksum,
    frame: &mut [u8],
) -> Result<usize, FrameTooShort> {
    let needed = len(segment);
    let got = frame.len();
    let frame = frame.get_mut(..needed).ok_or(FrameTooShort { needed, got })?;
    frame.iter_mut().take(HEADER_LEN).for_each(|byte| *byte = 0);
    let header = HEADER_LEN + segment.options.len();
    let mut packet = TcpPacket::new_unchecked(frame);
    packet.set_src_port(tuple.local_port);
    packet.set_dst_port(tuple.remote_port);
    packet.set_seq_number(TcpSeqNumber(segment.seq.0 as i32));
    packet.set_ack_number(TcpSeqNumber(segment.ack.unwrap_or_default().0 as i32));
    packet.set_header_len(header as u8);
    packet.set_fin(segment.flags.contains(Flags::FIN));
    packet.set_syn(segment.flags.contains(Flags::SYN));
    packet.set_rst(segment.flags.contains(Flags::RST));
    packet.set_psh(segment.flags.contains(Flags::PSH));
    packet.set_ack(segment.ack.is_some());
    packet.set_window_len(segment.window);
    emit_options(&segment.options, packet.options_mut());
    if payload_len(segment) > 0 {
        data.copy(segment.payload.start, packet.payload_mut());
    }
    match checksum {
        Checksum::Full => {
            packet.fill_checksum(&address(tuple.local_addr), &address(tuple.remote_addr));
        }
        Checksum::PseudoHeader => packet.set_checksum(pseudo_header_sum(tuple, needed)),
    }
    Ok(needed)
}

/// The ones' complement sum of the pseudo-header (RFC 9293 3.1), not inverted: what offload expects in the field.
fn pseudo_header_sum(tuple: &Tuple, len: usize) -> u16 {
    let word = |high: u8, low: u8| u32::from(u16::from_be_bytes([high, low]));
    let [a, b, c, d] = tuple.local_addr;
    let [e, f, g, h] = tuple.remote_addr;
    let mut sum = word(a, b) + word(c, d) + word(e, f) + word(g, h) + 6 + len as u32;
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

/// Writes options in the usual order and aligned by NOPs (RFC 7323 appendix A): receivers have fast paths for that.
fn emit_options(options: &Options, mut out: &mut [u8]) {
    const NOP: TcpOption<'_> = TcpOption::NoOperation;
    let mut put = |option: TcpOption<'_>| out = option.emit(core::mem::take(&mut out));
    if let Some(mss) = options.mss {
        put(TcpOption::MaxSegmentSize(mss));
    }
    if options.sack_permitted {
        put(NOP);
        put(NOP);
        put(TcpOption::SackPermitted);
    }
    if let Some(Timestamp { value, echo }) = options.timestamp {
        put(NOP);
        put(NOP);
        put(TcpOption::TimeStamp { tsval: value, tsecr: echo });
    }
    if let Some(shift) = options.window_scale {
        put(NOP);
        put(TcpOption::WindowScale(shift));
    }
    if options.sack.iter().any(Option::is_some) {
        let mut blocks = [None; SACK_BLOCKS];
        let present = options.sack.iter().flatten();
        blocks.iter_mut().zip(present).for_each(|(slot, (left, right))| *slot = Some((left.0, right.0)));
        put(NOP);
        put(NOP);
        put(TcpOption::SackRange(blocks));
    }
}
