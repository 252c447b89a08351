//! A DHCP server for one client: the guest on the other end of a tap (RFC 2131).
//!
//! It exists so that the guest takes the same path on a tap as on QEMU's user networking, which has a server of its own.
//! It answers every client with the same address, so it must never listen anywhere but in a test's own namespace.

use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use socket2::{Domain, Socket, Type};

use super::namespace::Entry;

/// Lease time in seconds unless a test asks for another: so short that a test of a minute sees a renewal (RFC 2131 section
/// 4.4.5: at half of it).
pub(super) const LEASE: u32 = 60;

const MAGIC: [u8; 4] = [99, 130, 83, 99];
const FIXED_PART: usize = 240;
const DISCOVER: u8 = 1;
const OFFER: u8 = 2;
const REQUEST: u8 = 3;
const ACK: u8 = 5;

/// The server's thread. Dropping it ends the service.
#[derive(Debug)]
pub(super) struct DhcpServer {
    stop: Arc<AtomicBool>,
    granted: Granted,
}

/// When each lease was granted or renewed.
type Granted = Arc<Mutex<Vec<Instant>>>;

impl DhcpServer {
    /// Serves `device` in the namespace behind `entry` with leases of `lease` seconds; returns once it listens.
    pub fn start(entry: Entry, device: &'static str, lease: u32) -> Result<Self> {
        let (stop, granted) = (Arc::new(AtomicBool::new(false)), Granted::default());
        let (stopped, times) = (Arc::clone(&stop), Arc::clone(&granted));
        let (ready, started) = mpsc::channel();
        std::thread::Builder::new().name("dhcp".into()).spawn(move || {
            let socket = entry.enter().and_then(|()| open(device));
            // Nobody waits for the answer any more if the receiver is gone.
            match socket {
                Ok(socket) => {
                    let _ = ready.send(Ok(()));
                    serve(&socket, lease, &stopped, &times);
                }
                Err(error) => drop(ready.send(Err(error))),
            }
        })?;
        started.recv().context("the DHCP server's thread ended")??;
        Ok(Self { stop, granted })
    }

    /// When each lease was granted or renewed so far, in order.
    pub fn granted(&self) -> Vec<Instant> {
        self.granted.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for DhcpServer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

fn open(device: &str) -> Result<UdpSocket> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, None)?;
    socket.set_broadcast(true)?;
    socket.bind_device(Some(device.as_bytes()))?;
    socket.bind(&SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 67).into())?;
    socket.set_read_timeout(Some(Duration::from_millis(200)))?;
    Ok(socket.into())
}

fn serve(socket: &UdpSocket, lease: u32, stop: &AtomicBool, granted: &Granted) {
    let mut packet = [0; 1500];
    while !stop.load(Ordering::Relaxed) {
        let Ok(length) = socket.recv(&mut packet) else { continue };
        let answered = packet.get(..length).and_then(|packet| answer(packet, lease));
        if let Some((kind, answer)) = answered {
            if kind == ACK {
                granted.lock().unwrap_or_else(PoisonError::into_inner).push(Instant::now());
            }
            // A lost answer is asked for again by the client.
            let _ = socket.send_to(&answer, (Ipv4Addr::BROADCAST, 68));
        }
    }
}

/// The answer to `request` and its kind, if it is one that deserves an answer.
fn answer(request: &[u8], lease: u32) -> Option<(u8, Vec<u8>)> {
    const BOOT_REQUEST: u8 = 1;
    const BOOT_REPLY: u8 = 2;
    if *request.first()? != BOOT_REQUEST || request.get(236..FIXED_PART)? != MAGIC {
        return None;
    }
    let kind = match *option(request.get(FIXED_PART..)?, 53)?.first()? {
        DISCOVER => OFFER,
        REQUEST => ACK,
        _ => return None,
    };
    let mut reply = request.get(..FIXED_PART)?.to_vec();
    *reply.first_mut()? = BOOT_REPLY;
    reply.get_mut(16..20)?.copy_from_slice(&super::GUEST_ADDRESS);
    reply.get_mut(20..24)?.copy_from_slice(&super::HOST_ADDRESS);
    let host = super::HOST_ADDRESS;
    for (code, value) in [
        (53, &[kind][..]),
        (54, &host),
        (51, &lease.to_be_bytes()),
        (1, &[255, 255, 255, 0]),
        (3, &host),
        (6, &host),
    ] {
        reply.extend([code, u8::try_from(value.len()).ok()?]);
        reply.extend(value);
    }
    reply.push(255);
    // Some clients insist on the old minimum size of a BOOTP message.
    reply.resize(reply.len().max(300), 0);
    Some((kind, reply))
}

/// The value of the option `wanted`.
fn option(mut options: &[u8], wanted: u8) -> Option<&[u8]> {
    loop {
        match options {
            [0, rest @ ..] => options = rest,
            [255, ..] | [] => return None,
            [code, length, rest @ ..] => {
                let (value, rest) = rest.split_at_checked(usize::from(*length))?;
                if *code == wanted {
                    return Some(value);
                }
                options = rest;
            }
            [_] => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(kind: u8) -> Vec<u8> {
        let mut packet = vec![0; FIXED_PART];
        packet[0] = 1;
        packet[4..8].copy_from_slice(&[1, 2, 3, 4]);
        packet[236..].copy_from_slice(&MAGIC);
        packet.extend([0, 53, 1, kind, 255]);
        packet
    }

    #[test]
    fn a_discovery_is_offered_the_guests_address_and_a_request_is_acknowledged() {
        for (asked, told) in [(DISCOVER, OFFER), (REQUEST, ACK)] {
            let (kind, reply) = answer(&request(asked), LEASE).expect("an answer");
            assert_eq!(kind, told);
            assert_eq!(reply[0], 2);
            assert_eq!(reply[4..8], [1, 2, 3, 4]);
            assert_eq!(reply[16..20], crate::net::GUEST_ADDRESS);
            assert_eq!(option(&reply[FIXED_PART..], 53), Some(&[told][..]));
            assert_eq!(option(&reply[FIXED_PART..], 51), Some(&LEASE.to_be_bytes()[..]));
        }
    }

    #[test]
    fn anything_else_is_not_answered() {
        assert_eq!(answer(&[], LEASE), None);
        assert_eq!(answer(&request(7), LEASE), None);
        let mut cut = request(DISCOVER);
        cut.truncate(FIXED_PART + 3);
        assert_eq!(answer(&cut, LEASE), None);
    }
}
