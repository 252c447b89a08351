//! New connections at a steady rate: each is made, used once and closed in order.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::Result;

use super::{Load, Tally, connect, echo};
use crate::net::Network;

/// Bytes that each connection sends and gets back.
const SIZE: usize = 64;

/// Streams of these clients are numbered from here, far above those of the long-lived ones.
const FIRST_STREAM: u32 = 0x10_0000;

/// Makes a connection to the echo service at `address` every `interval`. A connection that takes longer than that
/// delays the next ones, which the tally then shows as fewer connections.
pub fn steady_connects(network: &Network, address: SocketAddr, interval: Duration) -> Result<Load> {
    Load::start(network, 1, Duration::ZERO, move |_, tally, stop| {
        let mut stream = FIRST_STREAM;
        let mut due = Instant::now();
        loop {
            match once(address, stream, tally) {
                Ok(()) => tally.progressed(0),
                Err(error) => {
                    tally.failed(&error.context(format!("connection {}", stream - FIRST_STREAM)));
                }
            }
            stream = stream.wrapping_add(1).max(FIRST_STREAM);
            due += interval;
            if !stop.pause(due.saturating_duration_since(Instant::now())) {
                return;
            }
        }
    })
}

fn once(address: SocketAddr, id: u32, tally: &Tally) -> Result<()> {
    let started = Instant::now();
    let mut stream = connect(address)?;
    tally.connected();
    echo::exchange(&mut stream, id, 0, SIZE)?;
    tally.echoed(SIZE, started.elapsed());
    echo::close(stream)
}
