//! How clients connect.
//!
//! Over user networking one at a time: QEMU listens there with a backlog of one, and a handshake that finds it full loses its last segment. The
//! client takes itself for connected then, and the host's kernel, which forgets the other half within seconds when there are several of that
//! kind, resets it, whatever the guest does. A handshake by itself is over before anything else can fill the backlog.

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use socket2::{Domain, Socket, Type};

use super::PATIENCE;

/// One for each address that clients of this process connect to over user networking.
static GATES: Mutex<BTreeMap<SocketAddr, Arc<Mutex<()>>>> = Mutex::new(BTreeMap::new());

/// A TCP connection to `address` with [`PATIENCE`] on every operation and without Nagle's delay.
pub fn connect(address: SocketAddr) -> Result<TcpStream> {
    let stream = establish(address, PATIENCE, None)?;
    stream.set_nodelay(true)?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// The same with socket buffers of `buffer` bytes, made within `patience`; Nagle's delay and the time for writing are the caller's.
pub(super) fn connect_narrow(address: SocketAddr, buffer: usize, patience: Duration) -> Result<TcpStream> {
    establish(address, patience, Some(buffer))
}

fn establish(address: SocketAddr, patience: Duration, buffer: Option<usize>) -> Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    if let Some(buffer) = buffer {
        // Before the connection, since the first window that is offered follows from it.
        socket.set_recv_buffer_size(buffer)?;
        socket.set_send_buffer_size(buffer)?;
    }
    alone(address, || socket.connect_timeout(&address.into(), patience))
        .with_context(|| format!("connect to {address}"))?;
    socket.set_read_timeout(Some(PATIENCE))?;
    Ok(socket.into())
}

/// Does `work`, which connects to `address`, while nobody else does. Only over user networking, where the host itself listens for the guest.
fn alone<T>(address: SocketAddr, work: impl FnOnce() -> T) -> T {
    if !address.ip().is_loopback() {
        return work();
    }
    let mut gates = GATES.lock().unwrap_or_else(PoisonError::into_inner);
    let gate = Arc::clone(gates.entry(address).or_default());
    drop(gates);
    let _alone = gate.lock().unwrap_or_else(PoisonError::into_inner);
    work()
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[test]
    fn nobody_else_connects_to_the_same_address_meanwhile() {
        let [here, there] = [1, 2].map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
        let inside = AtomicU32::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..100 {
                        alone(here, || {
                            assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0);
                            std::thread::yield_now();
                            inside.fetch_sub(1, Ordering::SeqCst);
                        });
                    }
                });
            }
        });
        assert!(alone(here, || alone(there, || true)), "another address has a gate of its own");
    }
}
