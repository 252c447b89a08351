//! A peer, and an application, that send anything: no panic, no broken rule, no byte outside the ring.

use super::harness::*;
use super::link::Rng;
use super::std::vec;
use crate::segment::Timestamp;
use crate::*;
use proptest::prelude::*;

/// A sequence number: near something that matters, or anywhere.
fn number(rng: &mut Rng, near: Seq) -> Seq {
    match rng.below(4) {
        0 => near,
        1 => near.add(rng.below(3000) as u32),
        2 => near.sub(rng.below(300) as u32),
        _ if rng.below(2) == 0 => near.add(rng.below(60_000) as u32),
        _ => Seq(rng.next() as u32),
    }
}

/// A segment that looks at the connection to be as nasty as it can.
pub fn segment(rng: &mut Rng, conn: &Connection) -> Packet {
    let r = &conn.r;
    let una = r.snd.iss.at(r.snd.una);
    let mut out = SegmentOut {
        seq: number(rng, r.rcv.irs.at(r.rcv.nxt)),
        ack: (rng.below(8) != 0).then(|| number(rng, una)),
        flags: Flags::from_bits_truncate((rng.next() & rng.next()) as u8),
        window: (rng.next() >> rng.below(64)) as u16,
        ..SegmentOut::default()
    };
    // What ends the connection ends the attack: keep it rare.
    if rng.below(32) != 0 {
        out.flags.remove(Flags::RST | Flags::FIN);
    }
    out.flags.set(Flags::ACK, out.ack.is_some());
    if r.options.timestamps && rng.below(8) != 0 {
        let value = number(rng, Seq(r.options.ts_recent)).0;
        out.options.timestamp = Some(Timestamp { value, echo: rng.next() as u32 });
    }
    for slot in &mut out.options.sack {
        *slot = (rng.below(3) == 0).then(|| (number(rng, una), number(rng, una)));
    }
    if rng.below(4) == 0 {
        out.options.mss = Some(rng.next() as u16);
        out.options.window_scale = Some(rng.next() as u8);
        out.options.sack_permitted = true;
    }
    let len = if rng.below(2) == 0 { 0 } else { rng.below(3000) as usize };
    Packet { out, data: vec![0x55; len] }
}

/// Fails on a write outside the ring or below what may have been read.
struct Guard {
    ready: u64,
    end: u64,
}

impl RxSpace for Guard {
    fn write(&mut self, offset: u64, data: &[u8]) {
        assert!(offset >= self.ready, "write at {offset}, readable up to {}", self.ready);
        assert!(offset + data.len() as u64 <= self.end, "write past the ring's end {}", self.end);
    }
}

fn attack(rng: &mut Rng, host: &mut Host) {
    let mut now = Micros(0);
    for _ in 0..300 {
        let scale = rng.below(24);
        now = now.after(Micros(rng.below(1 << scale)));
        let consumed = host.conn.rx_consumed();
        let end = consumed + u64::from(host.conn.r.config.rx_capacity);
        let mut guard = Guard { ready: host.conn.rx_ready(), end };
        let packet = segment(rng, &host.conn);
        host.conn.on_segment(now, &packet.segment(), &mut guard);
        assert_eq!(host.conn.r.check(), Ok(()));
        assert!(host.conn.rx_ready() <= end);
        match rng.below(40) {
            0 if rng.below(8) == 0 => host.conn.app_closed(),
            0 => {
                let format = if rng.below(2) == 0 { Format::Own } else { Format::Compatible };
                host.conn.set_format(format);
            }
            1..20 => {
                let _ = host.conn.app_wrote(host.conn.r.snd.end + rng.below(9000));
            }
            20..39 => {
                let most = (host.conn.rx_ready() - consumed).saturating_add(10);
                let _ = host.conn.app_consumed(consumed + rng.below(most));
            }
            _ => {}
        }
        host.tick(now);
        let mut sent = 0;
        while let Some(out) = host.conn.next_segment(now, 9000) {
            assert_eq!(host.conn.r.check(), Ok(()));
            assert!(out.payload.end <= host.conn.r.snd.end, "sends what was not written");
            assert!(out.options.len() <= 40);
            sent += 1;
            assert!(sent < 1000);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_segments_never_break_an_open_connection(
        seed: u64, sack: bool, scale in 0..15_u8, timestamps: bool, dialect in 0..3_usize
    ) {
        let mut rng = Rng::new(seed);
        let timestamp = timestamps.then_some(Timestamp { value: 77, echo: 7 });
        let options =
            Options { sack_permitted: sack, window_scale: Some(scale), timestamp, ..Options::default() };
        let mut host = established(Config { rx_capacity: 70_000, ..Config::default() }, options, 60000);
        host.conn.r.dialect = DIALECTS[dialect];
        attack(&mut rng, &mut host);
    }

    #[test]
    fn random_segments_never_break_an_opening_connection(seed: u64, passive: bool) {
        let mut rng = Rng::new(seed);
        let mut host = connect(Config::default());
        if passive {
            let mut syn = segment(&mut rng, &host.conn);
            (syn.out.ack, syn.out.flags) = (None, Flags::SYN);
            let accepted = Connection::accept(SERVER, Config::default(), OURS, 5, &syn.segment(), Micros(0));
            host = Host::new(accepted.unwrap());
        }
        attack(&mut rng, &mut host);
    }
}
