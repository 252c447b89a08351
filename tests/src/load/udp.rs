//! UDP echo: one datagram out, the same back.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::numbered;

/// A datagram that was not answered for so long is sent again.
const AGAIN: Duration = Duration::from_secs(2);

/// So often at most: a host under load that stalls may lose some in its own queues.
const TRIES: u32 = 20;

/// Largest datagram that is expected back.
const LARGEST: usize = 65_507;

/// Sends one datagram of each of `sizes` bytes and waits for each to come back as it was sent. One that is not answered is sent again, as by any client of
/// UDP, which promises nothing. How many had to be.
pub fn udp_echo(address: SocketAddr, sizes: &[usize]) -> Result<u32> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    socket.connect(address)?;
    let mut again = 0;
    let mut buffer = vec![0; LARGEST];
    for (stream, size) in (0..).zip(sizes) {
        let sent = numbered(stream, 0, *size);
        let mut tries = 0;
        loop {
            // A port that nobody serves for a moment may be refused.
            let _ = socket.send(&sent);
            if comes_back(&socket, &sent, &mut buffer)? {
                break;
            }
            tries += 1;
            ensure!(tries < TRIES, "a datagram of {size} bytes was sent {tries} times, and none came back");
        }
        again += tries;
    }
    Ok(again)
}

/// An error if more than one in ten of `sent` datagrams had to be sent again: so many no host loses on a wire that loses none.
pub fn few_again(again: u32, sent: u64) -> Result<()> {
    ensure!(u64::from(again) * 10 <= sent, "{again} of {sent} datagrams had to be sent again");
    Ok(())
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
    let deadline = Instant::now() + AGAIN;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(false);
        }
        socket.set_read_timeout(Some(left))?;
        // A refusal of an earlier datagram is told here.
        let Ok(count) = socket.recv(buffer) else { continue };
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

    /// Answers all but the first `deaf` datagrams.
    fn server(mut deaf: u32) -> SocketAddr {
        let server = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let address = server.local_addr().expect("an address");
        std::thread::spawn(move || {
            let mut buffer = [0; 2000];
            while let Ok((count, from)) = server.recv_from(&mut buffer) {
                if deaf == 0 {
                    server.send_to(&buffer[..count], from).expect("room");
                }
                deaf = deaf.saturating_sub(1);
            }
        });
        address
    }

    #[test]
    fn datagrams_come_back_and_a_lost_one_is_sent_again() {
        assert_eq!(udp_echo(server(0), &[8, 100, 1400]).expect("no wrong answer"), 0);
        assert_eq!(udp_echo(server(1), &[8, 100]).expect("at the second try"), 1);
        assert!(few_again(1, 10).is_ok() && few_again(1, 9).is_err());
    }
}
