//! UDP echo: one datagram out, the same back.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::numbered;

/// How long an answer may take before it counts as lost: longer than a host under load stalls.
const WAIT: Duration = super::PATIENCE;

/// Largest datagram that is expected back.
const LARGEST: usize = 65_507;

/// Sends one datagram of each of `sizes` bytes and counts those that come back as they were sent. A wrong answer is an
/// error; a missing one is not, since UDP promises nothing on a lossy wire.
pub fn udp_echo(address: SocketAddr, sizes: &[usize]) -> Result<usize> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    socket.connect(address)?;
    let mut answered = 0;
    let mut buffer = vec![0; LARGEST];
    for (stream, size) in (0..).zip(sizes) {
        let sent = numbered(stream, 0, *size);
        socket.send(&sent).with_context(|| format!("send of {size} bytes"))?;
        answered += usize::from(comes_back(&socket, &sent, &mut buffer)?);
    }
    Ok(answered)
}

/// Payload of mark number 0, bytes. Nobody else sends datagrams of these sizes to the discard port.
pub const MARK_BYTES: usize = 600;

/// Sends mark `number` to the discard service at `address`: a datagram that a capture shows by its length, so that moments on
/// the host can be found in it (a capture's clock is QEMU's, not the host's).
pub fn mark(address: SocketAddr, number: u16) -> Result<()> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    let sent = socket.send_to(&vec![0; MARK_BYTES + usize::from(number)], address).context("mark")?;
    ensure!(sent >= MARK_BYTES, "a mark was cut to {sent} bytes");
    Ok(())
}

/// Waits for `sent`. A late answer to an earlier datagram begins with another stream's number and is passed over.
fn comes_back(socket: &UdpSocket, sent: &[u8], buffer: &mut [u8]) -> Result<bool> {
    let deadline = Instant::now() + WAIT;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(false);
        }
        socket.set_read_timeout(Some(left))?;
        let Ok(count) = socket.recv(buffer) else { return Ok(false) };
        let answer = buffer.get(..count).unwrap_or_default();
        if answer == sent {
            return Ok(true);
        }
        ensure!(answer.get(..3) != sent.get(..3), "a datagram of {} bytes came back changed", sent.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn datagrams_that_come_back_are_counted() {
        let server = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let address = server.local_addr().expect("an address");
        std::thread::spawn(move || {
            let mut buffer = [0; 2000];
            while let Ok((count, from)) = server.recv_from(&mut buffer) {
                server.send_to(&buffer[..count], from).expect("room");
            }
        });
        assert_eq!(udp_echo(address, &[8, 100, 1400]).expect("no wrong answer"), 3);
    }
}
