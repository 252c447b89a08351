//! An echo service on the host's side of a network: what the guest's outbound connections lead to.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, SocketAddrV4, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use anyhow::{Context, Result};
use socket2::{Domain, Socket, Type};

use crate::net::{HOST_ADDRESS, Network};

/// How soon the service notices that it is to end.
const NOTICE: Duration = Duration::from_millis(200);

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 256;

/// The service. Dropping it ends it; connections go on until their clients end them.
#[derive(Debug)]
pub struct HostEcho {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    accepted: Arc<AtomicU64>,
}

impl HostEcho {
    /// Listens on a free port of the host's address on `network`.
    pub fn start(network: &Network) -> Result<Self> {
        let host = match network {
            // User networking leads connections to the host's address on to its loopback interface.
            Network::User => Ipv4Addr::LOCALHOST,
            Network::Tap(_) => Ipv4Addr::from(HOST_ADDRESS),
        };
        let (stop, accepted) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (stopped, count) = (Arc::clone(&stop), Arc::clone(&accepted));
        let (ready, started) = mpsc::channel();
        network.spawn(move || match open(host) {
            Ok((listener, address)) => {
                // Nobody waits for the address any more if the receiver is gone.
                let _ = ready.send(Ok(address));
                serve(&listener, &stopped, &count);
            }
            Err(error) => drop(ready.send(Err(error))),
        })?;
        let address = started.recv().context("the echo service's thread ended")??;
        Ok(Self { address, stop, accepted })
    }

    /// Where it listens, seen from the host.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where it listens, seen from the guest.
    #[must_use]
    pub fn from_guest(&self) -> SocketAddr {
        SocketAddr::from((HOST_ADDRESS, self.address.port()))
    }

    /// Connections so far.
    #[must_use]
    pub fn accepted(&self) -> u64 {
        self.accepted.load(Ordering::Relaxed)
    }
}

impl Drop for HostEcho {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

fn open(host: Ipv4Addr) -> Result<(Socket, SocketAddr)> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.bind(&SocketAddrV4::new(host, 0).into())?;
    socket.listen(BACKLOG)?;
    // An accept that waits ends after this time, too (socket(7), SO_RCVTIMEO).
    socket.set_read_timeout(Some(NOTICE))?;
    let address = socket.local_addr()?.as_socket().context("an address that is not IP")?;
    Ok((socket, address))
}

fn serve(listener: &Socket, stop: &AtomicBool, accepted: &AtomicU64) {
    while !stop.load(Ordering::Relaxed) {
        if let Ok((socket, _)) = listener.accept() {
            accepted.fetch_add(1, Ordering::Relaxed);
            std::thread::spawn(move || echo(socket.into()));
        }
    }
}

/// Ends with the connection, however it ends: the client does the checking.
fn echo(mut stream: TcpStream) {
    // It inherited the listener's patience.
    let _ = stream.set_read_timeout(None);
    let mut piece = [0; 16 * 1024];
    while let Ok(count @ 1..) = stream.read(&mut piece) {
        if stream.write_all(piece.get(..count).unwrap_or_default()).is_err() {
            return;
        }
    }
    let _ = stream.shutdown(Shutdown::Write);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_echoes_and_counts() {
        let server = HostEcho::start(&Network::User).expect("a server");
        crate::load::echo_once(server.address(), 5000).expect("echoed");
        assert_eq!(server.accepted(), 1);
        assert_eq!(server.from_guest().port(), server.address().port());
    }
}
