//! Clients with numbered data: each knows which byte must come next, so a byte lost, doubled, swapped or handed to the
//! wrong connection is seen at once.
//!
//! The clients are well behaved: they read to the end before they close, so a reset on the wire is never theirs.

mod connect;
mod connects;
mod duplex;
mod echo;
mod held;
mod host_echo;
mod latency;
mod once;
mod open_loop;
mod rounds;
mod slow_reader;
mod tally;
mod udp;

pub use connect::connect;
pub use connects::steady_connects;
pub use duplex::{DuplexPlan, duplex_clients};
pub use echo::{EchoPlan, echo_clients, echo_clients_through};
pub use held::{Fill, HeldPlan, held_clients};
pub use host_echo::HostEcho;
pub use latency::Latencies;
pub use once::{client_closes_first, daytime_held, echo_once, http_get, order, server_closes_first};
pub use open_loop::{OpenLoopPlan, noted_clients, open_loop_clients};
pub use rounds::in_rounds;
pub use slow_reader::{SlowReader, SlowReport};
pub use tally::{Rounds, Stop, Tally};
pub use udp::{MARK_BYTES, few_again, mark, udp_echo};

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};

use crate::net::Network;

/// How long a client waits for any single thing before it calls it lost. Longer than the retransmissions that a lossy
/// wire can cost, and than a host under load stands still.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Pause between two looks at what clients have done.
const LOOK: Duration = Duration::from_millis(20);

/// The byte at `offset` of the stream `id`: eight-byte words that hold the stream and the word's own number.
#[must_use]
pub fn numbered_byte(id: u32, offset: u64) -> u8 {
    let word = (u64::from(id) << 40) | ((offset / 8) & 0xff_ffff_ffff);
    let [.., low] = (word >> (56 - 8 * (offset % 8))).to_be_bytes();
    low
}

/// `length` bytes of the stream `id` from `offset` on.
#[must_use]
pub fn numbered(id: u32, offset: u64, length: usize) -> Vec<u8> {
    (offset..).take(length).map(|at| numbered_byte(id, at)).collect()
}

/// Checks that `bytes` are those of the stream `id` from `offset` on; the error names the first that is not.
pub fn check_numbered(id: u32, offset: u64, bytes: &[u8]) -> Result<()> {
    for (at, byte) in (offset..).zip(bytes) {
        let due = numbered_byte(id, at);
        if due != *byte {
            return Err(anyhow!("stream {id}: byte {at} is {byte:#04x}, {due:#04x} was due"));
        }
    }
    Ok(())
}

/// Clients at work in threads of their own.
#[derive(Debug)]
pub struct Load {
    tally: Arc<Tally>,
    stop: Arc<Stop>,
    threads: Vec<JoinHandle<Result<()>>>,
}

impl Load {
    /// Starts `count` clients on `network`, `pace` apart. Each is given its number and its share of the tally.
    fn start(
        network: &Network,
        count: u32,
        pace: Duration,
        client: impl Fn(u32, &Tally, &Stop) + Send + Sync + 'static,
    ) -> Result<Self> {
        let mut load = Self { tally: Arc::default(), stop: Arc::default(), threads: Vec::new() };
        let client = Arc::new(client);
        for number in 0..count {
            let (tally, stop, client) =
                (Arc::clone(&load.tally), Arc::clone(&load.stop), Arc::clone(&client));
            load.threads.push(network.spawn(move || client(number, &tally, &stop))?);
            std::thread::sleep(pace);
        }
        Ok(load)
    }

    /// What they have done so far.
    #[must_use]
    pub fn tally(&self) -> &Tally {
        &self.tally
    }

    /// Waits until every client, be it at its first, got through a round from now on. An error, too, if any has failed.
    pub fn wait_for_everyone(&self, limit: Duration) -> Result<()> {
        let (before, deadline) = (self.tally.rounds(), Instant::now() + limit);
        let clients = u32::try_from(self.threads.len())?;
        loop {
            self.tally.ensure_no_failure("clients")?;
            let stuck = self.tally.stuck_since(clients, &before);
            if stuck.is_empty() {
                return Ok(());
            }
            if Instant::now() >= deadline {
                return Err(anyhow!(
                    "clients {stuck:?} did not get on for {limit:?}; {}",
                    self.tally.summary()
                ));
            }
            std::thread::sleep(LOOK);
        }
    }

    /// Waits until `count` connections are made.
    pub fn wait_for_connections(&self, count: u64, limit: Duration) -> Result<()> {
        let deadline = Instant::now() + limit;
        while self.tally.connections() < count {
            self.tally.ensure_no_failure("while they connect")?;
            if Instant::now() >= deadline {
                return Err(anyhow!(
                    "{count} connections were due within {limit:?}; {}",
                    self.tally.summary()
                ));
            }
            std::thread::sleep(LOOK);
        }
        Ok(())
    }

    /// Tells them to finish, waits until they have closed, and returns what they did.
    pub fn finish(mut self) -> Result<Arc<Tally>> {
        self.stop.set();
        for thread in self.threads.drain(..) {
            thread.join().map_err(|_| anyhow!("a client thread panicked"))??;
        }
        Ok(Arc::clone(&self.tally))
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.stop.set();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_words_of_any_two_streams_are_alike() {
        assert_eq!(numbered(1, 0, 8), [0, 0, 1, 0, 0, 0, 0, 0]);
        assert_eq!(numbered(0x10203, 8 * 258, 8), [1, 2, 3, 0, 0, 0, 1, 2]);
        assert_eq!(numbered(7, 3, 20)[5..], numbered(7, 8, 15)[..]);
    }

    #[test]
    fn a_byte_out_of_place_is_named() {
        let mut bytes = numbered(5, 100, 64);
        check_numbered(5, 100, &bytes).expect("in order");
        assert!(check_numbered(5, 101, &bytes).is_err(), "shifted");
        assert!(check_numbered(6, 100, &bytes).is_err(), "another stream's");
        bytes[10] ^= 1;
        let error = check_numbered(5, 100, &bytes).expect_err("changed");
        assert!(error.to_string().contains("byte 110"), "{error}");
    }
}
