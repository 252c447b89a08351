//! Records of sockets.

use super::codec::{Reader, Writer};
use super::{MAX_RECORD, RecordError};
use crate::slab::Id;
use hic_netapi::message::sequence::CommandSlot;
use hic_netapi::region::Indices;
use hic_netapi::{Layout, NetError, RegionKind};
use hic_tcp::{Micros, RECORD_LEN, Record, State};

/// Which command opened a socket: the caller's badge and its sequence number. The new socket's record is the deciding one:
/// a repeat of that command after a crash finds the socket by this (`Stack::opened_by`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    /// Badge of the port that the command came through.
    pub badge: u64,
    /// Its sequence number; 0 if none opened it (yet).
    pub seq: u64,
}

/// How far a connection is from its application.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// The handshake is not done; counts against this listener's backlog.
    HalfOpen(Id),
    /// Established, waits for Accept on this listener.
    Queued(Id),
    /// An application has it.
    Open,
    /// The application is gone; the rest is between us and the peer.
    Detached,
}

/// One connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionRecord {
    /// The protocol's state.
    pub tcp: Record,
    /// Whose it is.
    pub stage: Stage,
    /// Geometry of its data region.
    pub layout: Layout,
    /// The region exists.
    pub has_region: bool,
    /// Why it ended, if other than the protocol's state says.
    pub error: Option<NetError>,
    /// The command that opened or accepted it.
    pub origin: Origin,
    /// The last command on its port.
    pub commands: CommandSlot,
    /// Place in its listener's accept queue: lower ones came first. Means something while it is [`Stage::Queued`].
    pub ticket: u64,
    /// When it was opened; 0 if that is not known any more.
    pub opened_at: Micros,
}

/// One listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListenerRecord {
    /// Local port.
    pub port: u16,
    /// Connections that may wait.
    pub backlog: u16,
    /// For connections that it accepts.
    pub layout: Layout,
    /// The command that opened it.
    pub origin: Origin,
    /// The last command on its port.
    pub commands: CommandSlot,
}

/// One UDP socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UdpRecord {
    /// Local port.
    pub port: u16,
    /// Geometry of its data region.
    pub layout: Layout,
    /// Authoritative indices of the region.
    pub indices: Indices,
    /// The command that opened it.
    pub origin: Origin,
    /// The last command on its port.
    pub commands: CommandSlot,
}

const CONNECTION: [u8; 4] = *b"HNtc";
const LISTENER: [u8; 4] = *b"HNli";
const UDP: [u8; 4] = *b"HNud";

impl ConnectionRecord {
    /// Whether the connection still owns its 4-tuple, so that a successor must claim the flow.
    pub fn owns_flow(&self) -> bool {
        !matches!(self.tcp.state(), State::Closed(_))
    }

    /// Writes the record; returns how many octets it took.
    pub fn encode(&self, out: &mut [u8; MAX_RECORD]) -> usize {
        let mut w = Writer::new(out);
        let (stage, listener) = match self.stage {
            Stage::HalfOpen(id) => (0, id.0),
            Stage::Queued(id) => (1, id.0),
            Stage::Open => (2, 0),
            Stage::Detached => (3, 0),
        };
        w.u8(stage);
        w.u32(listener);
        put_layout(&mut w, &self.layout);
        w.u8(self.has_region.into());
        w.u32(self.error.map_or(0, NetError::code));
        put_commands(&mut w, &self.origin, &self.commands);
        let mut tcp = [0; RECORD_LEN];
        let len = self.tcp.encode(&mut tcp);
        w.u16(len as u16);
        w.bytes(tcp.get(..len).unwrap_or_default());
        w.u64(self.ticket);
        w.u64(self.opened_at.0);
        w.finish(CONNECTION)
    }

    /// Reads a record.
    ///
    /// # Errors
    /// [`RecordError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        let mut r = Reader::open(bytes, CONNECTION)?;
        let (stage, listener) = (r.u8()?, Id(r.u32()?));
        let stage = match stage {
            0 => Stage::HalfOpen(listener),
            1 => Stage::Queued(listener),
            2 => Stage::Open,
            3 => Stage::Detached,
            _ => return Err(RecordError::Field("stage")),
        };
        let layout = get_layout(&mut r, RegionKind::Tcp)?;
        let has_region = r.u8()? != 0;
        let error = NetError::from_code(r.u32()?);
        let (origin, commands) = get_commands(&mut r)?;
        let len = r.u16()?;
        let tcp = Record::decode(r.take(len.into())?).map_err(RecordError::Tcp)?;
        let ticket = r.added(0, Reader::u64)?;
        let opened_at = Micros(r.added(0, Reader::u64)?);
        Ok(Self { tcp, stage, layout, has_region, error, origin, commands, ticket, opened_at })
    }
}

impl ListenerRecord {
    /// Writes the record; returns how many octets it took.
    pub fn encode(&self, out: &mut [u8; MAX_RECORD]) -> usize {
        let mut w = Writer::new(out);
        w.u16(self.port);
        w.u16(self.backlog);
        put_layout(&mut w, &self.layout);
        put_commands(&mut w, &self.origin, &self.commands);
        w.finish(LISTENER)
    }

    /// Reads a record.
    ///
    /// # Errors
    /// [`RecordError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        let mut r = Reader::open(bytes, LISTENER)?;
        let (port, backlog) = (r.u16()?, r.u16()?);
        let layout = get_layout(&mut r, RegionKind::Tcp)?;
        let (origin, commands) = get_commands(&mut r)?;
        Ok(Self { port, backlog, layout, origin, commands })
    }
}

impl UdpRecord {
    /// Writes the record; returns how many octets it took.
    pub fn encode(&self, out: &mut [u8; MAX_RECORD]) -> usize {
        let mut w = Writer::new(out);
        w.u16(self.port);
        put_layout(&mut w, &self.layout);
        let Indices { tx_acked, tx_seen, rx_written, rx_consumed } = self.indices;
        for index in [tx_acked, tx_seen, rx_written, rx_consumed] {
            w.u64(index);
        }
        put_commands(&mut w, &self.origin, &self.commands);
        w.finish(UDP)
    }

    /// Reads a record.
    ///
    /// # Errors
    /// [`RecordError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        let mut r = Reader::open(bytes, UDP)?;
        let port = r.u16()?;
        let layout = get_layout(&mut r, RegionKind::Udp)?;
        let indices =
            Indices { tx_acked: r.u64()?, tx_seen: r.u64()?, rx_written: r.u64()?, rx_consumed: r.u64()? };
        if indices.tx_acked > indices.tx_seen || indices.rx_consumed > indices.rx_written {
            return Err(RecordError::Field("indices"));
        }
        let (origin, commands) = get_commands(&mut r)?;
        Ok(Self { port, layout, indices, origin, commands })
    }
}

fn put_layout(w: &mut Writer<'_>, layout: &Layout) {
    w.u32(layout.tx_size());
    w.u32(layout.rx_size());
}

fn get_layout(r: &mut Reader<'_>, kind: RegionKind) -> Result<Layout, RecordError> {
    Layout::new(kind, r.u32()?, r.u32()?).map_err(|_| RecordError::Field("layout"))
}

fn put_commands(w: &mut Writer<'_>, origin: &Origin, commands: &CommandSlot) {
    w.u64(origin.badge);
    w.u64(origin.seq);
    w.bytes(&commands.encode());
}

fn get_commands(r: &mut Reader<'_>) -> Result<(Origin, CommandSlot), RecordError> {
    let origin = Origin { badge: r.u64()?, seq: r.u64()? };
    Ok((origin, CommandSlot::decode(&r.array()?)))
}
