//! Whole conversations over a bad link: every byte arrives once and in order.

use super::harness::plain;
use super::link::{Run, Weather, patient};
use super::moves::Moves;
use crate::*;
use proptest::prelude::*;

const CALM: Weather = Weather { loss: 0, double: 0, jitter: 1 };

pub fn weather() -> impl Strategy<Value = Weather> {
    (0..150_u64, 0..50_u64, 1..15_000_u64).prop_map(|(loss, double, jitter)| Weather { loss, double, jitter })
}

pub fn config() -> impl Strategy<Value = Config> {
    let flags = (any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>());
    (flags, 200..1461_u16, 1..100_000_u32, 1..100_000_u32).prop_map(
        |(flags, mss, rx_capacity, tx_capacity)| {
            let (timestamps, sack, window_scaling, nagle) = flags;
            Config { mss, rx_capacity, tx_capacity, timestamps, sack, window_scaling, nagle, ..patient() }
        },
    )
}

/// Very small rings make a transfer take one round trip for each few octets: bound the work.
pub fn sized(config: &Config, size: usize) -> usize {
    size.min(200 * config.rx_capacity.min(config.tx_capacity) as usize)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_data_crosses_a_bad_link_in_both_directions(
        seed: u64, config in config(), weather in weather(), a in 0..60_000_usize, b in 0..60_000_usize
    ) {
        let sizes = [sized(&config, a), sized(&config, b)];
        let mut run = Run::new(seed, config, sizes, weather, Moves::NEVER);
        run.finish();
        run.check();
    }
}

#[test]
fn a_calm_link_needs_no_retransmission() {
    let config = Config { rx_capacity: 1 << 20, tx_capacity: 1 << 20, ..Config::default() };
    let mut run = Run::new(1, config, [500_000, 300_000], CALM, Moves::NEVER);
    run.finish();
    run.check();
    for host in &run.hosts {
        assert_eq!(host.conn.record().stats().retransmitted, 0);
        assert_eq!(host.conn.record().stats().unacceptable, 0);
    }
}

#[test]
fn two_percent_loss_costs_few_timeouts_with_sack() {
    let config = Config { rx_capacity: 1 << 18, tx_capacity: 1 << 18, ..Config::default() };
    let weather = Weather { loss: 20, double: 0, jitter: 1 };
    let mut run = Run::new(42, config, [2_000_000, 0], weather, Moves::NEVER);
    run.finish();
    run.check();
    let stats = run.hosts[0].conn.record().stats();
    assert!(stats.timeouts <= 5, "{stats:?}");
    assert!(run.now < Micros::from_secs(20), "{:?}", run.now);
    // 1,380 segments at 2 %: what is sent again is what was lost, nearly.
    assert!(stats.retransmitted < 80, "{stats:?}");
}

#[test]
fn sequence_numbers_wrap_inside_a_transfer() {
    // The client starts 256 octets below the wrap, the server 16 below the sign change.
    let weather = Weather { loss: 50, double: 20, jitter: 3000 };
    let mut run = Run::new(5, plain(), [10_000, 10_000], weather, Moves::NEVER);
    run.finish();
    run.check();
}
