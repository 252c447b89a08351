//! What the engine needs from the shell around it. Implemented by the service over real memory and the driver, and by the
//! tests over vectors.
//!
//! The engine keeps one rule with it, *publish before you promise*: whenever something becomes visible to others (a frame,
//! a shared index, a notification), [`Env::publish`] was called before with the record that stands for it.

use crate::record::{ConnectionRecord, InterfaceRecord, ListenerRecord, UdpRecord};
use crate::slab::Id;
use hic_netapi::{Layout, StackSide};
use hic_tcp::Tuple;

/// A socket of any kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Socket {
    /// A TCP connection.
    Connection(Id),
    /// A TCP listener. It has no data region.
    Listener(Id),
    /// A UDP socket.
    Udp(Id),
}

/// What has ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// TCP: listeners.
    Tcp,
    /// UDP: sockets.
    Udp,
}

/// A record to be made durable against a crash.
#[derive(Clone, Copy, Debug)]
pub enum Published<'a> {
    /// Of a connection.
    Connection(Id, &'a ConnectionRecord),
    /// Of a listener.
    Listener(Id, &'a ListenerRecord),
    /// Of a UDP socket.
    Udp(Id, &'a UdpRecord),
    /// Of the interface.
    Interface(&'a InterfaceRecord),
}

/// What the network card must do with a frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Offload {
    /// Nothing.
    #[default]
    None,
    /// Complete a checksum (virtio `csum_start`, `csum_offset`).
    Checksum {
        /// Octet of the frame from which on to sum.
        start: u16,
        /// Octet after `start` at which the result goes.
        offset: u16,
    },
    /// Split into TCP segments, each with its checksum.
    Segment {
        /// As in `Checksum`.
        start: u16,
        /// As in `Checksum`.
        offset: u16,
        /// Octets of all headers.
        header_len: u16,
        /// Payload octets of each segment.
        mss: u16,
    },
}

/// A frame about to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameOut {
    /// Its length in octets, Ethernet header included, check sequence not.
    pub len: usize,
    /// What the card must do.
    pub offload: Offload,
    /// The socket whose data region `fill` wants to copy from.
    pub region: Option<Socket>,
}

/// No transmit buffer is free, or the region is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoBuffer;

/// The account has no memory for another data region or record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoMemory;

/// Writes the frame into a buffer of exactly [`FrameOut::len`] octets, whose content is undefined before.
pub type Fill<'a> = dyn FnMut(&mut [u8], Option<&StackSide>) + 'a;

/// The shell.
pub trait Env {
    /// How many frames of up to `octets` octets each [`Env::frame_out`] will take now. Who has more waits until [`crate::Stack::on_tx_room`].
    fn tx_room(&self, octets: usize) -> usize;

    /// Sends one frame: calls `fill` with a transmit buffer and the region named in `frame`.
    ///
    /// # Errors
    /// [`NoBuffer`]; `fill` was not called.
    fn frame_out(&mut self, frame: FrameOut, fill: &mut Fill<'_>) -> Result<(), NoBuffer>;

    /// The data region of a socket; `None` if it has none (yet, or any more).
    fn region(&mut self, socket: Socket) -> Option<&mut StackSide>;

    /// Makes a place for the record of a new socket.
    ///
    /// # Errors
    /// [`NoMemory`]: the socket is not opened.
    fn open(&mut self, socket: Socket) -> Result<(), NoMemory>;

    /// Makes the data region of a socket that was opened (of an incoming connection: when its handshake completes).
    ///
    /// # Errors
    /// [`NoMemory`]: the socket is not opened, or the segment dropped so that the peer tries again.
    fn open_region(&mut self, socket: Socket, layout: Layout) -> Result<(), NoMemory>;

    /// Forgets a socket: its region and its record's place may be used again.
    fn retire(&mut self, socket: Socket);

    /// Takes a record over, so that a successor finds it whatever happens next.
    fn publish(&mut self, record: Published<'_>);

    /// Signals the application that holds `socket`.
    fn notify(&mut self, socket: Socket);

    /// Claims a 4-tuple in the driver's flow table. `false` if another instance has it, or the table is full.
    fn claim_flow(&mut self, tuple: &Tuple) -> bool;

    /// Gives a claimed tuple back.
    fn release_flow(&mut self, tuple: &Tuple);

    /// Claims a local port in the driver's flow table, for a listener or a UDP socket that an application opens. `false` if
    /// another instance has it, or the table is full. Not called for sockets that come from a record: their flows exist.
    fn claim_port(&mut self, protocol: Protocol, port: u16) -> bool;

    /// Gives a claimed port back. Not called for sockets that moved away.
    fn release_port(&mut self, protocol: Protocol, port: u16);

    /// 64 unpredictable bits.
    fn random(&mut self) -> u64;
}
