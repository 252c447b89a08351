//! A connection that moves between the versions does what its unmoved twin does: after every step, over a bad link.
//!
//! The twin runs with the same seed, so the link treats both alike, segment for segment.

use super::harness::*;
use super::link::{Rng, Run, Weather, patient};
use super::transfer;
use crate::schema::{BASE_REASSEMBLY_SPANS, BASE_SCOREBOARD_SPANS, Dialect};
use crate::*;
use proptest::prelude::*;

/// netstack 1.2.0, 1.3.0 before the commit, 1.3.0 after it.
const OLD: Dialect = DIALECTS[0];
const NEW: Dialect = DIALECTS[1];
const COMMITTED: Dialect = DIALECTS[2];

/// What happens to a live connection when its record was stored.
#[derive(Clone, Copy, Debug)]
pub enum Moves {
    /// Nothing.
    Stays(Dialect),
    /// It is thrown away and rebuilt from its record alone, by the same version. It also dies before the store, once in
    /// each segment that arrives.
    DiesAtEveryStore(Dialect),
    /// It goes to the other version and back, a move for each store.
    Swings,
    /// It goes from the old version to the new one after one store and back after a later one. In between the update may be
    /// committed.
    Twice { there: usize, commit: Option<usize>, back: usize },
}

impl Moves {
    pub const NEVER: Self = Self::Stays(OLD);

    /// Puts a new connection where it starts.
    pub fn begin(self, conn: &mut Connection) {
        conn.r.dialect = match self {
            Self::Stays(dialect) | Self::DiesAtEveryStore(dialect) => dialect,
            Self::Swings | Self::Twice { .. } => OLD,
        };
    }

    pub fn dies_in_steps(self) -> bool {
        matches!(self, Self::DiesAtEveryStore(_))
    }

    /// Does what is due after store number `store`. Returns how many octets were forgotten.
    pub fn after_store(self, store: usize, conn: &mut Connection) -> u64 {
        match self {
            Self::Stays(_) => {}
            Self::DiesAtEveryStore(dialect) => rebuild(conn, dialect.schema()),
            Self::Swings if store.is_multiple_of(2) => rebuild(conn, Schema::V2),
            Self::Swings => rebuild(conn, Schema::V1),
            Self::Twice { there, commit, back } => {
                if store == there {
                    rebuild(conn, Schema::V2);
                }
                if commit == Some(store) {
                    assert_eq!(conn.set_format(Format::Own), 0);
                }
                if store == back {
                    let forgotten = conn.set_format(Format::Compatible);
                    rebuild(conn, Schema::V1);
                    return forgotten;
                }
            }
        }
        0
    }
}

/// Throws the live connection away: `reader` goes on from what was published.
fn rebuild(conn: &mut Connection, reader: Schema) {
    let mut bytes = [0xaa; RECORD_LEN];
    let len = conn.record().encode(&mut bytes);
    *conn = Connection::from_record(Record::decode_as(reader, &bytes[..len]).expect("a published record"));
}

/// One conversation, to be run by connections that move in different ways.
#[derive(Clone, Copy, Debug)]
struct Story {
    seed: u64,
    config: Config,
    sizes: [usize; 2],
    weather: Weather,
    /// The senders ignore congestion.
    reckless: bool,
}

impl Story {
    /// Small enough to be told some hundred times, and different for each seed: the sides send 8 to 16 kB in segments of 100
    /// to 400 octets, over a link that loses up to a sixth, doubles and reorders.
    fn short(seed: u64) -> Self {
        let mut rng = Rng::new(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let flag = |rng: &mut Rng| rng.below(4) != 0;
        let config = Config {
            mss: 100 + rng.below(300) as u16,
            rx_capacity: 3000 + rng.below(5000) as u32,
            tx_capacity: 3000 + rng.below(5000) as u32,
            sack: flag(&mut rng),
            timestamps: flag(&mut rng),
            window_scaling: flag(&mut rng),
            ..patient()
        };
        let sizes = [8000, 8000].map(|least| least + rng.below(8000) as usize);
        let weather =
            Weather { loss: 20 + rng.below(160), double: rng.below(50), jitter: 1 + rng.below(12_000) };
        Self { seed, config, sizes, weather, reckless: rng.below(2) == 0 }
    }

    /// With windows of hundreds of segments over a link that reorders and loses much: reassembly has more stretches than
    /// schema 1 can name.
    fn rough(seed: u64) -> Self {
        let config = Config { mss: 150, rx_capacity: 100_000, tx_capacity: 100_000, ..patient() };
        let weather = Weather { loss: 300, double: 20, jitter: 12_000 };
        Self { seed, config, sizes: [60_000, 30_000], weather, reckless: true }
    }

    /// Tells it to the end: each side has every byte of the other, and nobody was reset.
    fn told(&self, moves: Moves) -> Run {
        let mut run = Run::new(self.seed, self.config, self.sizes, self.weather, moves);
        run.reckless = self.reckless;
        run.finish();
        run.check();
        run
    }
}

/// The same segments at the same times, the same streams, the same records at the end.
fn assert_same(moved: &Run, twin: &Run, how: Moves) {
    assert_eq!(moved.now, twin.now, "{how:?}");
    assert!(moved.trace == twin.trace, "the wire differs: {how:?}");
    assert_eq!(moved.hosts.len(), twin.hosts.len());
    for (left, right) in moved.hosts.iter().zip(&twin.hosts) {
        let mut record = *left.conn.record();
        record.dialect = right.conn.record().dialect;
        assert_eq!(&record, right.conn.record(), "{how:?}");
        assert!(left.rx == right.rx && left.seen == right.seen, "{how:?}");
    }
}

/// Whether no host ever remembered more stretches than schema 1 has room for: then both versions decide alike.
fn within_schema_1(run: &Run) -> bool {
    let most = |at: usize| run.hosts.iter().map(|host| host.most[at]).max();
    most(0) <= Some(BASE_REASSEMBLY_SPANS) && most(1) <= Some(BASE_SCOREBOARD_SPANS)
}

fn stores(run: &Run) -> usize {
    run.hosts.iter().map(|host| host.stores).max().unwrap_or(0)
}

#[test]
fn a_connection_that_moves_twice_does_what_its_unmoved_twin_does_at_every_index() {
    for seed in 1..=5 {
        let story = Story::short(seed);
        let twin = story.told(Moves::NEVER);
        let mut rng = Rng::new(seed);
        let last = stores(&twin);
        for there in 0..last {
            let back = there + 1 + rng.below((last - there) as u64) as usize;
            let how = Moves::Twice { there, commit: None, back };
            let moved = story.told(how);
            assert!(within_schema_1(&moved), "the story is too long for schema 1");
            assert_same(&moved, &twin, how);
        }
    }
}

#[test]
fn a_connection_that_is_committed_and_downgraded_does_what_its_unmoved_twin_does_at_every_index() {
    let mut alike = 0;
    for seed in 11..=15 {
        let story = Story::short(seed);
        let twin = story.told(Moves::NEVER);
        let mut rng = Rng::new(seed);
        let last = stores(&twin);
        for there in 0..last {
            let commit = there + rng.below((last - there) as u64) as usize;
            let back = commit + 1 + rng.below((last - commit) as u64) as usize;
            let how = Moves::Twice { there, commit: Some(commit), back };
            let moved = story.told(how);
            if within_schema_1(&moved) {
                alike += 1;
                assert_same(&moved, &twin, how);
            }
        }
    }
    assert!(alike > 100, "{alike}");
}

#[test]
fn a_downgrade_that_forgets_stretches_loses_no_byte() {
    let mut forgotten = 0;
    for seed in 71..=74 {
        let story = Story::rough(seed);
        for back in (100..1100).step_by(200) {
            let run = story.told(Moves::Twice { there: 20, commit: Some(40), back });
            forgotten += run.hosts.iter().filter(|host| host.forgotten > 0).count();
        }
    }
    assert!(forgotten > 0, "no downgrade ever had to forget anything");
}

#[test]
fn a_connection_rebuilt_from_its_record_at_every_store_does_what_its_unmoved_twin_does() {
    for seed in 21..=60 {
        let story = Story::short(seed);
        let twin = story.told(Moves::NEVER);
        for how in [OLD, NEW].map(Moves::DiesAtEveryStore).into_iter().chain([Moves::Swings]) {
            assert_same(&story.told(how), &twin, how);
        }
        let committed = Moves::DiesAtEveryStore(COMMITTED);
        assert_same(&story.told(committed), &story.told(Moves::Stays(COMMITTED)), committed);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 32, ..ProptestConfig::default() })]

    #[test]
    fn any_conversation_goes_on_whatever_moves(
        seed: u64, reckless: bool, config in transfer::config(), weather in transfer::weather(),
        a in 0..20_000_usize, b in 0..20_000_usize, there in 0..400_usize, commit in 0..400_usize, back in 1..400_usize
    ) {
        let sizes = [transfer::sized(&config, a), transfer::sized(&config, b)];
        let story = Story { seed, config, sizes, weather, reckless };
        let twin = story.told(Moves::NEVER);
        let twice = Moves::Twice { there, commit: Some(there + commit), back: there + commit + back };
        for how in [Moves::DiesAtEveryStore(OLD), Moves::Swings, twice] {
            let moved = story.told(how);
            if within_schema_1(&moved) {
                assert_same(&moved, &twin, how);
            }
        }
        for dialect in [NEW, COMMITTED] {
            let how = Moves::DiesAtEveryStore(dialect);
            assert_same(&story.told(how), &story.told(Moves::Stays(dialect)), how);
        }
    }
}
