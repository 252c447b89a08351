//! Long-lived echo clients: a numbered message out, the same bytes back, a pause, again.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::{Load, Stop, Tally, check_numbered, connect, numbered};
use crate::net::Network;

/// What each of them does.
#[derive(Clone, Copy, Debug)]
pub struct EchoPlan {
    /// How many clients.
    pub clients: u32,
    /// Time between two starts.
    pub pace: Duration,
    /// Pause between an answer and the next request.
    pub pause: Duration,
    /// Sizes of the messages in bytes, taken in turn. Each must fit the buffers of both ends, since a client reads only
    /// after it wrote.
    pub sizes: &'static [usize],
    /// Whether a client whose connection broke makes a new one (after counting the failure).
    pub reconnect: bool,
}

/// Pause before a client whose connection broke makes a new one.
const RECONNECT_PAUSE: Duration = Duration::from_millis(200);

/// Starts the clients of `plan` against the echo service at `address`.
pub fn echo_clients(network: &Network, address: SocketAddr, plan: EchoPlan) -> Result<Load> {
    echo_clients_through(network, address, String::new(), plan)
}

/// As [`echo_clients`], each with `greeting` as its first words, which do not come back: for a service at `address` that
/// passes the rest on to an echo service.
pub fn echo_clients_through(
    network: &Network,
    address: SocketAddr,
    greeting: String,
    plan: EchoPlan,
) -> Result<Load> {
    Load::start(network, plan.clients, plan.pace, move |number, tally, stop| {
        while let Err(error) = converse(number, (address, &greeting), &plan, tally, stop) {
            tally.failed(&error.context(format!("client {number}")));
            if !plan.reconnect || !stop.pause(RECONNECT_PAUSE) {
                return;
            }
        }
    })
}

/// One connection from its beginning to its orderly end.
fn converse(
    number: u32,
    (address, greeting): (SocketAddr, &str),
    plan: &EchoPlan,
    tally: &Tally,
    stop: &Stop,
) -> Result<()> {
    let mut stream = connect(address)?;
    stream.write_all(greeting.as_bytes()).context("greeting")?;
    tally.connected();
    let mut offset = 0;
    // Every client starts elsewhere in the list, so that all sizes are under way at every moment.
    let start = usize::try_from(number).unwrap_or(0);
    for size in plan.sizes.iter().cycle().skip(start) {
        let asked = Instant::now();
        exchange(&mut stream, number, offset, *size).with_context(|| format!("at byte {offset}"))?;
        tally.echoed(*size, asked.elapsed());
        tally.progressed(number);
        offset += u64::try_from(*size)?;
        if !stop.pause(plan.pause) {
            break;
        }
    }
    close(stream)
}

/// Sends `size` bytes of the stream `id` from `offset` on and checks that they come back.
pub(super) fn exchange(stream: &mut TcpStream, id: u32, offset: u64, size: usize) -> Result<()> {
    stream.write_all(&numbered(id, offset, size)).context("write")?;
    let mut answer = vec![0; size];
    stream.read_exact(&mut answer).context("read")?;
    check_numbered(id, offset, &answer)
}

/// Ends the stream, waits for the other end to do the same, and checks that it sent nothing more.
pub(super) fn close(mut stream: TcpStream) -> Result<()> {
    stream.shutdown(Shutdown::Write).context("shutdown")?;
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).context("waiting for the end of the stream")?;
    ensure!(rest.is_empty(), "{} bytes came that were not asked for", rest.len());
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, TcpListener};

    use super::*;

    const PLAN: EchoPlan = EchoPlan {
        clients: 3,
        pace: Duration::ZERO,
        pause: Duration::from_millis(1),
        sizes: &[1, 700, 4000],
        reconnect: false,
    };

    /// An echo server that hands every piece to `change` first.
    fn server(change: fn(&mut [u8])) -> SocketAddr {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let address = listener.local_addr().expect("an address");
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                std::thread::spawn(move || {
                    let mut piece = [0; 1000];
                    while let Ok(count @ 1..) = stream.read(&mut piece) {
                        change(&mut piece[..count]);
                        if stream.write_all(&piece[..count]).is_err() {
                            return;
                        }
                    }
                });
            }
        });
        address
    }

    #[test]
    fn an_honest_server_is_found_honest() {
        let load = echo_clients(&Network::User, server(|_| {}), PLAN).expect("threads");
        while load.tally().messages() < 30 {
            std::thread::yield_now();
        }
        let tally = load.finish().expect("no panic");
        tally.ensure_no_failure("echo").expect("no failure");
        assert_eq!(tally.connections(), 3);
    }

    #[test]
    fn a_changed_byte_is_a_failure() {
        let load = echo_clients(&Network::User, server(|piece| piece[0] ^= 1), PLAN).expect("threads");
        while load.tally().failures() < 3 {
            std::thread::yield_now();
        }
        assert_eq!(load.finish().expect("no panic").messages(), 0);
    }
}
