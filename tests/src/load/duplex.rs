//! Echo clients that write far ahead of what they read, so that bytes wait unacknowledged in both directions all the time:
//! theirs in the guest's receive ring, the guest's own behind the client's closed window.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::connect::connect_narrow;
use super::{Load, PATIENCE, Stop, Tally, check_numbered, echo, numbered};
use crate::net::Network;

/// Streams of these clients are numbered from here.
const FIRST_STREAM: u32 = 0x20_0000;

/// Bytes for each write and read.
const PIECE: usize = 4096;

/// What each of them does.
#[derive(Clone, Copy, Debug)]
pub struct DuplexPlan {
    /// How many clients.
    pub clients: u32,
    /// Time between two starts.
    pub pace: Duration,
    /// Bytes written in each round before the first of them is read.
    pub ahead: u64,
    /// How long a round writes, and waits, before it reads.
    pub hold: Duration,
    /// Socket buffers in bytes; what `ahead` exceeds them by waits in the guest.
    pub buffer: usize,
}

impl DuplexPlan {
    /// Twenty clients, each with more under way than its buffers hold, who take a third of a second for a round.
    pub const USUAL: Self = Self {
        clients: 20,
        pace: Duration::from_millis(5),
        ahead: 24 * 1024,
        hold: Duration::from_millis(300),
        buffer: 4096,
    };
}

/// Starts the clients of `plan` against the echo service at `address`.
pub fn duplex_clients(network: &Network, address: SocketAddr, plan: DuplexPlan) -> Result<Load> {
    Load::start(network, plan.clients, plan.pace, move |number, tally, stop| {
        if let Err(error) = converse(number, address, &plan, tally, stop) {
            tally.failed(&error.context(format!("two-way client {number}")));
        }
    })
}

fn converse(number: u32, address: SocketAddr, plan: &DuplexPlan, tally: &Tally, stop: &Stop) -> Result<()> {
    let mut pipe = Pipe::connect(address, FIRST_STREAM + number, plan.buffer)?;
    tally.connected();
    loop {
        let goal = pipe.sent + plan.ahead;
        let until = Instant::now() + plan.hold;
        pipe.write_to(goal, until)?;
        let go_on = stop.pause(until.saturating_duration_since(Instant::now()));
        pipe.exchange_to(goal)?;
        tally.checked(plan.ahead);
        tally.progressed(number);
        if !go_on || stop.is_set() {
            break;
        }
    }
    pipe.stream.set_nonblocking(false)?;
    echo::close(pipe.stream)
}

/// A connection, the stream that goes through it, and how far it got.
struct Pipe {
    stream: TcpStream,
    id: u32,
    sent: u64,
    received: u64,
}

impl Pipe {
    fn connect(address: SocketAddr, id: u32, buffer: usize) -> Result<Self> {
        let stream = connect_narrow(address, buffer, PATIENCE)?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        Ok(Self { stream, id, sent: 0, received: 0 })
    }

    /// Writes up to the byte `goal` without reading, until nothing is taken any more or `until`.
    fn write_to(&mut self, goal: u64, until: Instant) -> Result<()> {
        while self.sent < goal && self.wait(PollFlags::POLLOUT, until)? {
            self.write_some(goal)?;
        }
        Ok(())
    }

    /// Reads up to the byte `goal`, and writes what is left of it on the way.
    fn exchange_to(&mut self, goal: u64) -> Result<()> {
        while self.received < goal {
            let out = if self.sent < goal { PollFlags::POLLOUT } else { PollFlags::empty() };
            let ready = self.wait(PollFlags::POLLIN | out, Instant::now() + PATIENCE)?;
            ensure!(
                ready,
                "nothing moved for {PATIENCE:?}: {} bytes sent, {} came back",
                self.sent,
                self.received
            );
            self.write_some(goal)?;
            self.read_some()?;
        }
        Ok(())
    }

    /// Whether one of `flags` came up before `until`.
    fn wait(&self, flags: PollFlags, until: Instant) -> Result<bool> {
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let left = u16::try_from(left.as_micros().div_ceil(1000)).unwrap_or(u16::MAX);
            match poll(&mut [PollFd::new(self.stream.as_fd(), flags)], PollTimeout::from(left)) {
                Ok(ready) => return Ok(ready > 0),
                Err(nix::errno::Errno::EINTR) => {}
                Err(error) => return Err(error).context("poll"),
            }
        }
    }

    fn write_some(&mut self, goal: u64) -> Result<()> {
        while self.sent < goal {
            let length = usize::try_from(goal - self.sent).unwrap_or(PIECE).min(PIECE);
            match self.stream.write(&numbered(self.id, self.sent, length)) {
                Ok(count) => self.sent += u64::try_from(count)?,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error).with_context(|| format!("write at byte {}", self.sent)),
            }
        }
        Ok(())
    }

    fn read_some(&mut self) -> Result<()> {
        let mut piece = [0; PIECE];
        match self.stream.read(&mut piece) {
            Ok(0) => bail!("the stream ended at byte {} of {}", self.received, self.sent),
            Ok(count) => {
                check_numbered(self.id, self.received, piece.get(..count).unwrap_or_default())?;
                self.received += u64::try_from(count)?;
                Ok(())
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(()),
            Err(error) => Err(error).with_context(|| format!("read at byte {}", self.received)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::HostEcho;

    const PLAN: DuplexPlan = DuplexPlan {
        clients: 3,
        pace: Duration::ZERO,
        ahead: 200_000,
        hold: Duration::from_millis(20),
        buffer: 4096,
    };

    #[test]
    fn all_bytes_come_back_although_they_are_written_far_ahead() {
        let server = HostEcho::start(&Network::User).expect("a server");
        let load = duplex_clients(&Network::User, server.address(), PLAN).expect("threads");
        while load.tally().rounds().values().sum::<u64>() < 9 {
            std::thread::yield_now();
        }
        let tally = load.finish().expect("no panic");
        tally.ensure_no_failure("two-way").expect("no failure");
        assert_eq!((tally.connections(), tally.rounds().len()), (3, 3));
    }

    #[test]
    fn a_connection_that_ends_early_is_a_failure() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        std::thread::spawn(move || drop(listener.accept()));
        let plan = DuplexPlan { clients: 1, ..PLAN };
        let load = duplex_clients(&Network::User, address, plan).expect("threads");
        while load.tally().failures() == 0 {
            std::thread::yield_now();
        }
        assert_eq!(load.finish().expect("no panic").messages(), 0);
    }
}
