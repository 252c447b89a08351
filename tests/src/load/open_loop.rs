//! Clients that ask at times of their own, whatever the answers do.
//!
//! A client that pauses after each answer asks less often when answers are late, and those that were late together ask together from then
//! on: what it measures says more about itself. Here every request is due at a time that was fixed at the start and
//! spread evenly over all clients, and its answer is timed from then (no coordinated omission).

use std::net::SocketAddr;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::echo::{close, exchange};
use super::{Load, Stop, Tally, connect};
use crate::net::Network;

/// What each of them does.
#[derive(Clone, Copy, Debug)]
pub struct OpenLoopPlan {
    /// How many clients.
    pub clients: u32,
    /// Time between two connects.
    pub pace: Duration,
    /// Time between two requests of a client.
    pub period: Duration,
    /// Bytes of a request.
    pub size: usize,
}

/// Starts the clients of `plan` against the echo service at `address`.
pub fn open_loop_clients(network: &Network, address: SocketAddr, plan: OpenLoopPlan) -> Result<Load> {
    noted_clients(network, address, plan).map(|(load, _)| load)
}

/// As [`open_loop_clients`]. Each also notes the port of its end before it counts as connected, by which it is found in a capture.
pub fn noted_clients(
    network: &Network,
    address: SocketAddr,
    plan: OpenLoopPlan,
) -> Result<(Load, Receiver<u16>)> {
    let (note, ports) = channel();
    let epoch = Instant::now();
    let load = Load::start(network, plan.clients, plan.pace, move |number, tally, stop| {
        let phase = plan.period * number / plan.clients.max(1);
        if let Err(error) = converse(number, address, plan, epoch + phase, &note, (tally, stop)) {
            tally.failed(&error.context(format!("client {number}")));
        }
    })?;
    Ok((load, ports))
}

/// One connection, with requests that are due at `epoch` and every period from then on.
fn converse(
    number: u32,
    address: SocketAddr,
    plan: OpenLoopPlan,
    epoch: Instant,
    note: &Sender<u16>,
    (tally, stop): (&Tally, &Stop),
) -> Result<()> {
    let mut stream = connect(address)?;
    // Whoever does not want the ports has let go of the other end.
    let _ = note.send(stream.local_addr()?.port());
    tally.connected();
    let mut due = epoch;
    while due < Instant::now() {
        due += plan.period;
    }
    let mut offset = 0;
    while stop.pause(due.saturating_duration_since(Instant::now())) {
        exchange(&mut stream, number, offset, plan.size).with_context(|| format!("at byte {offset}"))?;
        tally.echoed(plan.size, due.elapsed());
        tally.progressed(number);
        offset += u64::try_from(plan.size)?;
        due += plan.period;
    }
    close(stream)
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{Ipv4Addr, TcpListener};

    use super::*;

    #[test]
    fn a_late_answer_is_late_for_every_request_that_was_due_meanwhile() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let address = listener.local_addr().expect("an address");
        let (release, released) = std::sync::mpsc::channel::<()>();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a client");
            let mut piece = [0; 64];
            released.recv().expect("the word");
            while let Ok(count @ 1..) = stream.read(&mut piece) {
                stream.write_all(&piece[..count]).expect("written");
            }
        });
        let period = Duration::from_millis(5);
        let plan = OpenLoopPlan { clients: 1, pace: Duration::ZERO, period, size: 16 };
        let load = open_loop_clients(&Network::User, address, plan).expect("a thread");
        load.wait_for_connections(1, Duration::from_secs(20)).expect("connected");
        let began = Instant::now();
        while began.elapsed() < 20 * period {
            std::thread::yield_now();
        }
        let answered_from = Instant::now();
        release.send(()).expect("the server waits");
        while load.tally().messages() < 20 {
            std::thread::yield_now();
        }
        let tally = load.finish().expect("no panic");
        tally.ensure_no_failure("open loop").expect("no failure");
        let due = tally.latencies(began, answered_from);
        assert!(due.count() >= 19 && due.percentile(50) >= 9 * period, "{due:?}");
    }
}
