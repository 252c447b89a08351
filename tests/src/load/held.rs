//! Connections that are brought into an awkward state and left there until the end of the test, then read to the last byte:
//! half-closed ones, closed windows, places in a full accept queue.

use std::io::Write;
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::slow_reader::drain;
use super::{Load, SlowReader, Stop, Tally, numbered};
use crate::net::Network;

/// Streams of these clients are numbered from here.
const FIRST_STREAM: u32 = 0x30_0000;

/// Longest test.
const UNTIL_TOLD: Duration = Duration::from_secs(24 * 3600);

/// Bytes after which a client gives up on ever filling the way.
const LIMIT: u64 = 64 * 1024 * 1024;

/// What is written before the wait.
#[derive(Clone, Copy, Debug)]
pub enum Fill {
    /// So many bytes.
    Bytes(usize),
    /// As many as fit until nothing moved for this long: both windows are closed then.
    UntilStuck(Duration),
}

/// What each of them does. It reads nothing until it is told to finish.
#[derive(Clone, Copy, Debug)]
pub struct HeldPlan {
    /// How many clients.
    pub clients: u32,
    /// Time between two starts.
    pub pace: Duration,
    /// How long a connection may take to be made.
    pub patience: Duration,
    /// Socket buffers in bytes.
    pub buffer: usize,
    /// What is written.
    pub fill: Fill,
    /// Whether the client's direction is ended before the wait.
    pub half_close: bool,
    /// Added to the number of each stream, so that those of two plans differ.
    pub stream: u32,
}

/// Starts the clients of `plan` against the echo service at `address`. The tally counts a connection once it is in its state.
pub fn held_clients(network: &Network, address: SocketAddr, plan: HeldPlan) -> Result<Load> {
    Load::start(network, plan.clients, plan.pace, move |number, tally, stop| {
        if let Err(error) = hold(number, address, &plan, tally, stop) {
            tally.failed(&error.context(format!("held client {number}")));
        }
    })
}

fn hold(number: u32, address: SocketAddr, plan: &HeldPlan, tally: &Tally, stop: &Stop) -> Result<()> {
    let id = FIRST_STREAM + plan.stream + number;
    let stuck = match plan.fill {
        Fill::UntilStuck(time) => time,
        Fill::Bytes(_) => super::PATIENCE,
    };
    let reader = SlowReader { buffer: plan.buffer, stuck, hold: Duration::ZERO, limit: LIMIT };
    let mut stream = connect(&reader, address, plan.patience)?;
    let sent = match plan.fill {
        Fill::UntilStuck(_) => reader.fill(&mut stream, id)?,
        Fill::Bytes(bytes) => {
            stream.write_all(&numbered(id, 0, bytes)).context("write")?;
            u64::try_from(bytes)?
        }
    };
    if plan.half_close {
        stream.shutdown(Shutdown::Write)?;
    }
    tally.connected();
    stop.pause(UNTIL_TOLD);
    if !plan.half_close {
        stream.shutdown(Shutdown::Write)?;
    }
    let received = drain(&mut stream, id)?;
    ensure!(received == sent, "{received} of {sent} bytes came back");
    tally.checked(sent);
    Ok(())
}

/// Connects within `patience`. The host's own kernel gives up earlier on a handshake that is not answered (tcp(7), tcp_syn_retries), which is
/// what a full queue does to it.
fn connect(reader: &SlowReader, address: SocketAddr, patience: Duration) -> Result<TcpStream> {
    let until = Instant::now() + patience;
    loop {
        let left = until.saturating_duration_since(Instant::now());
        match reader.connect(address, left.max(Duration::from_millis(1))) {
            Err(error) if has_timed_out(&error) && Instant::now() < until => {}
            result => return result,
        }
    }
}

fn has_timed_out(error: &anyhow::Error) -> bool {
    let is_it = |cause: &std::io::Error| cause.kind() == std::io::ErrorKind::TimedOut;
    error.chain().filter_map(|cause| cause.downcast_ref()).any(is_it)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::HostEcho;

    const PLAN: HeldPlan = HeldPlan {
        clients: 2,
        pace: Duration::ZERO,
        patience: super::super::PATIENCE,
        buffer: 4096,
        fill: Fill::Bytes(3000),
        half_close: true,
        stream: 0,
    };

    fn run(plan: HeldPlan) -> std::sync::Arc<Tally> {
        let server = HostEcho::start(&Network::User).expect("a server");
        let load = held_clients(&Network::User, server.address(), plan).expect("threads");
        while load.tally().connections() < 2 {
            std::thread::yield_now();
        }
        assert_eq!(load.tally().messages(), 0, "nothing is read before the end");
        load.finish().expect("no panic")
    }

    #[test]
    fn half_closed_connections_are_read_to_the_end_when_told() {
        let tally = run(PLAN);
        tally.ensure_no_failure("held").expect("no failure");
        assert_eq!(tally.messages(), 2);
    }

    #[test]
    fn closed_windows_open_again() {
        let fill = Fill::UntilStuck(Duration::from_millis(200));
        let tally = run(HeldPlan { fill, half_close: false, ..PLAN });
        tally.ensure_no_failure("held").expect("no failure");
    }
}
