use super::*;
use crate::journal::KeptDefaults;
use alloc::vec::Vec;
use hic_hicmod::manifest::{Name, Version};
use hic_store::defaults::{Defaults, Said};
use hic_store::{MAX_RECORD_BYTES, StoreError};

const OLD: Version = Version::new(0, 1, 0);
const NEW: Version = Version::new(1, 2, 0);
/// Of the new version; the old one has none.
const EPOCH: u32 = 1;
/// Turns of the watch.
const WATCH: Nanos = 3;

fn place(region: Handle) -> ImagePlace {
    ImagePlace { account: region, region, ..ImagePlace::default() }
}

#[test]
fn a_stage_that_was_cut_off_at_any_store_was_not_entered() {
    let seen = Seen { now: 5, runs: true, hangs: false, asked: None };
    let mut record = ExchangeRecord::default();
    let changes: [fn(&mut ExchangeRecord); 4] = [
        |record| record.begin(7, place(1), place(2)),
        |record| record.enter(Stage::FORWARD),
        |record| record.watch(100),
        |record| record.enter(Stage::NONE),
    ];
    for change in changes {
        let before = record;
        change(&mut record);
        let torn = ExchangeRecord { stage: before.stage, ..record };
        assert_eq!((torn.is_open(), torn.next(seen)), (before.is_open(), before.next(seen)));
        assert_eq!(torn.slots(), before.slots(), "what no exchange holds is free");
    }
}

fn no_record() -> KeptDefaults {
    // SAFETY: made of integers and arrays of them; all-zero is an empty one.
    unsafe { core::mem::zeroed() }
}

/// The module manager died.
struct Killed;

/// What the manager that lives has in its heap.
#[derive(Default)]
struct Heap {
    defaults: Option<Defaults>,
    before: Option<Said>,
    dirty: bool,
    asked: Option<Vec<u8>>,
    written: Option<Result<(), StoreError>>,
}

/// A driver in exchange, and the disk. The manager dies at some of its steps, and the disk refuses one of its writes.
#[derive(Default)]
struct World {
    exchange: ExchangeRecord,
    kept: Option<KeptDefaults>,
    runs: Option<Version>,
    heap: Heap,
    /// What the disk has; `None`: there is no disk.
    disk: Option<Defaults>,
    /// The new version does not stay up.
    faulty: bool,
    /// The number of the write that the disk refuses, and whether it has the record all the same.
    refuses: Option<(usize, bool)>,
    /// What was asked of the disk reaches it when the manager dies.
    lands: bool,
    kills: Vec<usize>,
    steps: usize,
    writes: usize,
    now: Nanos,
}

impl World {
    fn name() -> Name {
        "eth_driver".parse().unwrap()
    }

    /// A system whose disk has this record.
    fn new(record: Defaults, kills: &[usize]) -> Self {
        let mut world = Self { runs: Some(OLD), kills: kills.to_vec(), ..Self::default() };
        let mut kept = no_record();
        kept.keep(record.encode(&mut [0; MAX_RECORD_BYTES]).unwrap());
        world.kept = Some(kept);
        (world.disk, world.heap.defaults) = (Some(record.clone()), Some(record));
        world
    }

    fn step(&mut self) -> Result<(), Killed> {
        self.steps += 1;
        if self.kills.contains(&self.steps) { Err(Killed) } else { Ok(()) }
    }

    fn saved(&self) -> Defaults {
        self.kept.as_ref().and_then(KeptDefaults::load).unwrap_or_default()
    }

    /// The disk answers what it was asked.
    fn disk_turn(&mut self) -> Result<(), Killed> {
        if core::mem::take(&mut self.heap.dirty) {
            let defaults = self.heap.defaults.get_or_insert_with(Defaults::default);
            self.heap.asked = Some(defaults.encode(&mut [0; MAX_RECORD_BYTES]).unwrap().to_vec());
            self.step()?;
        }
        let Some(record) = self.heap.asked.clone() else { return Ok(()) };
        self.writes += 1;
        let refusal = self.refuses.filter(|(number, _)| *number == self.writes);
        let result = match &mut self.disk {
            None => Err(StoreError::NoDisk),
            Some(disk) => {
                if refusal.is_none_or(|(_, all_the_same)| all_the_same) {
                    *disk = Defaults::decode(&record).unwrap();
                }
                refusal.map_or(Ok(()), |_| Err(StoreError::Device))
            }
        };
        self.heap.asked = None;
        self.step()?;
        self.kept.as_mut().unwrap().written(&record, result);
        self.step()?;
        self.heap.written = Some(result);
        Ok(())
    }

    fn write(&mut self) {
        (self.heap.dirty, self.heap.written) = (true, None);
    }

    fn begin(&mut self) -> Result<(), Killed> {
        self.step()?;
        self.exchange.begin(0, place(1), place(2));
        self.step()?;
        self.exchange.enter(Stage::FORWARD);
        self.put(NEW)?;
        self.exchange.watch(self.now + WATCH);
        self.step()
    }

    fn put(&mut self, version: Version) -> Result<(), Killed> {
        self.step()?;
        self.runs = Some(version);
        self.step()
    }

    fn back(&mut self) -> Result<(), Killed> {
        self.exchange.enter(Stage::BACK);
        self.put(OLD)?;
        self.exchange.enter(Stage::NONE);
        self.step()
    }

    fn keep(&mut self) -> Result<(), Killed> {
        self.exchange.enter(Stage::KEEPING);
        self.step()?;
        self.exchange.enter(Stage::NONE);
        self.step()
    }

    fn recover(&mut self) -> Result<(), Killed> {
        self.heap = Heap { defaults: self.kept.as_ref().unwrap().load(), ..Heap::default() };
        match self.exchange.stage() {
            Stage::MAKING => self.exchange.enter(Stage::NONE),
            Stage::FORWARD => {
                self.put(NEW)?;
                self.exchange.watch(self.now + WATCH);
            }
            Stage::KEEPING => self.keep()?,
            Stage::BACK => self.back()?,
            _ => {}
        }
        if self.heap.defaults.is_some() {
            self.write();
        }
        Ok(())
    }

    fn turn(&mut self) -> Result<(), Killed> {
        self.now += 1;
        self.disk_turn()?;
        let runs = !(self.faulty && self.runs == Some(NEW));
        let asked = self.heap.before.as_ref().map(|_| self.heap.written);
        match self.exchange.next(Seen { now: self.now, runs, hangs: false, asked }) {
            Turn::Wait(_) => Ok(()),
            Turn::Hangs | Turn::NotServing => self.back(),
            Turn::Record => {
                let (name, defaults) =
                    (Self::name(), self.heap.defaults.get_or_insert_with(Defaults::default));
                let before = defaults.choose(&name, EPOCH, |defaults| defaults.set_default(&name, NEW, OLD));
                self.heap.before = Some(before.unwrap());
                self.exchange.enter(Stage::RECORDING);
                self.step()?;
                self.write();
                Ok(())
            }
            Turn::Recorded(Ok(()) | Err(StoreError::NoDisk)) => self.keep(),
            Turn::Recorded(Err(_)) => {
                let before = self.heap.before.take().unwrap();
                if before.version() == Some(NEW) {
                    return self.keep();
                }
                self.heap.defaults.as_mut().unwrap().restore(before);
                self.write();
                self.back()
            }
        }
    }

    /// Until nothing is left to be done.
    fn run(&mut self) {
        let mut result = self.begin();
        let mut turns = 0;
        loop {
            turns += 1;
            assert!(turns < 100, "it hangs at stage {}", self.exchange.stage());
            result = match result {
                Err(Killed) => {
                    if let Some(record) = self.heap.asked.take().filter(|_| self.lands && self.disk.is_some())
                    {
                        self.disk = Some(Defaults::decode(&record).unwrap());
                    }
                    self.recover()
                }
                Ok(()) if !self.exchange.is_open() && !self.heap.dirty && self.heap.asked.is_none() => return,
                Ok(()) => self.turn(),
            };
        }
    }
}

/// What a boot and a manager that is started again find is what runs, with its epoch; or what was there before.
#[test]
fn wherever_the_manager_dies_and_whatever_the_disk_refuses_the_record_says_what_runs() {
    let mut named = Defaults::default();
    named.set_default(&World::name(), OLD, OLD).unwrap();
    let mut ends = [0; 2];
    for before in [Defaults::default(), named] {
        for (faulty, lands, has_disk) in
            [(false, false, true), (false, true, true), (true, false, true), (false, false, false)]
        {
            for refused in 0..6 {
                for (first, all_the_same) in (0..30).flat_map(|kill| [(kill, false), (kill, true)]) {
                    for second in [0, 1, 2, 5] {
                        let mut world = World::new(before.clone(), &[first, first + second]);
                        (world.faulty, world.lands) = (faulty, lands);
                        world.refuses = Some((refused, all_the_same));
                        world.disk = world.disk.filter(|_| has_disk);
                        world.run();
                        let context = (faulty, lands, has_disk, refused, all_the_same, first, second);
                        let mut expected = before.clone();
                        if world.runs == Some(NEW) {
                            expected.set_default(&World::name(), NEW, OLD).unwrap();
                            expected.raise_epoch(&World::name(), EPOCH).unwrap();
                        }
                        assert_eq!(world.saved(), expected, "{context:?}");
                        assert_eq!(world.disk.unwrap_or(expected.clone()), expected, "{context:?}");
                        let is_new = world.runs == Some(NEW);
                        let undisturbed = !faulty && refused == 0 && first + second == 0;
                        assert!(!(is_new && faulty) && (is_new || !undisturbed), "{context:?}");
                        ends[usize::from(is_new)] += 1;
                    }
                }
            }
        }
    }
    assert!(ends.iter().all(|count| *count > 500), "{ends:?}");
}

#[test]
fn a_manager_that_never_read_a_record_records_the_exchange_all_the_same() {
    let world = |kills: &[usize]| {
        let (kept, disk) = (Some(no_record()), Some(Defaults::default()));
        let mut world = World { runs: Some(OLD), kept, disk, kills: kills.to_vec(), ..World::default() };
        world.run();
        world
    };
    let undisturbed = world(&[]);
    assert_eq!(undisturbed.runs, Some(NEW));
    for kill in 1..=undisturbed.steps {
        let world = world(&[kill]);
        let recorded = world.disk.as_ref().and_then(|disk| disk.service("eth_driver"));
        assert_eq!(recorded.is_some_and(|service| service.version == NEW), world.runs == Some(NEW), "{kill}");
    }
}
