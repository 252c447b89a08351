//! Anything that is done again and again while something else is tested.

use std::time::{Duration, Instant};

use anyhow::Result;

use super::Load;
use crate::net::Network;

/// Runs `work` on `network` every `interval`, one at a time, with the number of the round. A failure is counted and the next
/// round follows. Programs that `work` starts are on the network, too.
pub fn in_rounds(
    network: &Network,
    interval: Duration,
    work: impl Fn(u32) -> Result<()> + Send + Sync + 'static,
) -> Result<Load> {
    Load::start(network, 1, Duration::ZERO, move |_, tally, stop| {
        for round in 0.. {
            let started = Instant::now();
            match work(round) {
                Ok(()) => {
                    tally.connected();
                    tally.echoed(0, started.elapsed());
                    tally.progressed(0);
                }
                Err(error) => tally.failed(&error.context(format!("round {round}"))),
            }
            if !stop.pause(interval.saturating_sub(started.elapsed())) {
                return;
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_round_is_counted_and_the_next_one_follows() {
        let work = |round| if round == 1 { anyhow::bail!("bad luck") } else { Ok(()) };
        let load = in_rounds(&Network::User, Duration::ZERO, work).expect("a thread");
        while load.tally().messages() < 5 {
            std::thread::yield_now();
        }
        let tally = load.finish().expect("no panic");
        assert_eq!(tally.failures(), 1);
        assert!(tally.ensure_no_failure("rounds").expect_err("one").to_string().contains("round 1"));
    }
}
