//! What a command opened: its port and its data region. Dropping one gives both back.
//!
//! The port is the doorbell too: a signal on it reaches whoever serves the socket at that moment, so nothing here notices that the
//! stack was started again, or that the socket moved to another instance.

use crate::client::Client;
use crate::error::SocketError;
use core::net::SocketAddrV4;
use hic_abi::{Handle, Rights, SELF};
use hic_netapi::NetError;
use hic_netapi::message::{Message, tcp, udp};
use hic_netapi::region::AppSide;
use hic_rt::region::Mapped;
use hic_rt::{cap, clock, ipc, sys};

/// The capabilities of a socket with a data region, and the rings in it.
struct Rings {
    service: Handle,
    port: Handle,
    region: Mapped,
    doorbell_bits: u64,
    side: AppSide,
}

impl Rings {
    /// Maps the region. On an error both capabilities are dropped, which closes the socket.
    fn open(service: Handle, [port, region]: [Handle; 2], doorbell_bits: u64) -> Result<Self, SocketError> {
        let opened = Mapped::map(region, Rights::READ | Rights::WRITE)
            .map_err(|error| SocketError::Kernel { step: "map a data region", error })
            .and_then(|mapped| {
                // SAFETY: the region was mapped just now, stays mapped until `Drop`, and this is its only `AppSide`.
                let side = unsafe { AppSide::attach(mapped.pointer(), mapped.bytes as usize) };
                side.map(|side| (mapped, side)).map_err(SocketError::Region)
            });
        match opened {
            Ok((region, side)) => Ok(Self { service, port, region, doorbell_bits, side }),
            Err(error) => {
                [port, region].into_iter().for_each(cap::drop_slot);
                Err(error)
            }
        }
    }

    /// Tells the stack what changed since the last time, if it sleeps.
    fn flush(&mut self) {
        if self.side.must_kick() {
            let _ = sys::signal(self.port, self.doorbell_bits);
        }
    }
}

impl Drop for Rings {
    fn drop(&mut self) {
        // Unmapped by name first: the kernel need not search for other capabilities on the region then.
        let _ = sys::region_unmap(SELF, self.region.slot);
        cap::drop_slot(self.region.slot);
        cap::drop_slot(self.port);
        // The stack looks for ports without holders when it is rung, and this port is gone: through the service's own.
        let _ = sys::signal(self.service, self.doorbell_bits);
    }
}

/// A TCP listener.
pub struct TcpListener {
    port: Handle,
    sequence: u64,
}

impl TcpListener {
    pub(crate) fn new(port: Handle) -> Self {
        Self { port, sequence: 0 }
    }

    /// Takes the oldest connection that waits; `signal` is signalled for it from now on.
    ///
    /// # Errors
    /// [`SocketError::is_would_block`] when none waits: the listener's bits will be signalled.
    /// [`SocketError::SocketLost`]: listen again. Without an answer, or with [`NetError::NotReady`], the command is open: the next attempt repeats it.
    pub fn accept(&mut self, client: &mut Client, signal: u64) -> Result<TcpStream, SocketError> {
        self.numbered(signal, |port, command| client.accept(port, command))
    }

    /// As [`TcpListener::accept`] by a program that cannot take the answer: a connection that waits is had by nobody then, until the next attempt
    /// repeats the command. For tests of that. Returns why nothing was had, [`hic_abi::Error::NoReceiveSlot`] if the stack had a connection for us.
    pub fn accept_in_vain(&mut self, client: &mut Client, signal: u64) -> SocketError {
        let Err(error) = self.numbered(signal, |port, command| {
            Err::<core::convert::Infallible, _>(client.accept_in_vain(port, command))
        });
        error
    }

    /// Sends an Accept with the number that is due.
    fn numbered<T>(
        &mut self,
        signal: u64,
        send: impl FnOnce(Handle, &Message) -> Result<T, SocketError>,
    ) -> Result<T, SocketError> {
        let command = tcp::ListenerCommand::Accept { seq: self.sequence + 1, signal };
        let result = send(self.port, &command.encode());
        // Without an answer the number is still open: the next attempt repeats it.
        let open = match &result {
            Err(SocketError::Kernel { step, .. }) => *step == "call",
            Err(SocketError::NoSlot | SocketError::Refused(NetError::NotReady)) => true,
            _ => false,
        };
        if !open {
            self.sequence += 1;
        }
        result
    }
}

impl Drop for TcpListener {
    fn drop(&mut self) {
        cap::drop_slot(self.port);
    }
}

/// A TCP connection. Dropping it closes it in order: what was written is still sent.
pub struct TcpStream {
    rings: Rings,
    local: SocketAddrV4,
    remote: SocketAddrV4,
}

impl TcpStream {
    pub(crate) fn open(
        service: Handle,
        slots: [Handle; 2],
        opened: &tcp::Opened,
    ) -> Result<Self, SocketError> {
        let rings = Rings::open(service, slots, opened.doorbell_bits)?;
        Ok(Self { rings, local: opened.local, remote: opened.remote })
    }

    /// Its rings.
    pub fn side(&mut self) -> &mut AppSide {
        &mut self.rings.side
    }

    /// Our end.
    #[must_use]
    pub fn local(&self) -> SocketAddrV4 {
        self.local
    }

    /// The other end.
    #[must_use]
    pub fn remote(&self) -> SocketAddrV4 {
        self.remote
    }

    /// Rings the doorbell for what was written, read or closed, if the stack sleeps. Call it after each batch.
    pub fn flush(&mut self) {
        self.rings.flush();
    }

    /// Resets the connection: the other end learns that something went wrong.
    pub fn abort(self) {
        let command = tcp::ConnectionCommand::Abort { seq: 1 }.encode();
        let message = ipc::Message::new(command.label, command.words);
        // The connection goes either way; a stack that does not answer has dropped it already.
        let _ = ipc::call_retry(self.rings.port, message, clock::now() + 1_000_000_000);
    }
}

/// A UDP socket. Dropping it closes it.
pub struct UdpSocket {
    rings: Rings,
    local_port: u16,
}

impl UdpSocket {
    pub(crate) fn open(service: Handle, slots: [Handle; 2], bound: &udp::Bound) -> Result<Self, SocketError> {
        let rings = Rings::open(service, slots, bound.doorbell_bits)?;
        Ok(Self { rings, local_port: bound.local_port })
    }

    /// Its rings: [`AppSide::recv_from`] and [`AppSide::send_to`].
    pub fn side(&mut self) -> &mut AppSide {
        &mut self.rings.side
    }

    /// The local port.
    #[must_use]
    pub fn local_port(&self) -> u16 {
        self.local_port
    }

    /// As [`TcpStream::flush`].
    pub fn flush(&mut self) {
        self.rings.flush();
    }
}
