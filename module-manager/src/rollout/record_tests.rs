use super::*;
use crate::rollout::{Found, Resume};
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::vec::Vec;

const NAMES: [&str; 3] = ["driver", "helper", "stack"];

fn empty() -> PlanRecord {
    // SAFETY: a record is made of integers and arrays of them; all-zero is an empty one.
    unsafe { core::mem::zeroed() }
}

fn goal() -> Goal {
    let policy = Policy { watch: 0, ..Policy::default() };
    Goal { name: "stack".parse().unwrap(), version: Version::new(2, 0, 0), policy }
}

fn plan(hows: &[How]) -> Vec<Leg> {
    let leg = |(name, how): (&&str, &How)| Leg {
        name: name.parse().unwrap(),
        from: (*how != How::Install).then_some(Version::new(1, 0, 0)),
        to: Some(Version::new(2, 0, 0)),
        how: how.clone(),
    };
    NAMES.iter().zip(hows).map(leg).collect()
}

fn begun(record: &mut PlanRecord, hows: &[How]) -> Rollout {
    let rollout = Rollout::new(plan(hows));
    assert!(record.begin(7, &goal(), &rollout));
    rollout
}

#[test]
fn a_plan_is_read_as_it_was_stored_wherever_it_is() {
    let mut record = empty();
    assert_eq!(record.load(), None);
    let mut rollout = begun(&mut record, &[How::InPlace, How::Install, How::Live]);
    record.set_told(3);
    let saved = record.load().expect("a plan");
    assert_eq!((saved.number, saved.told, saved.goal, saved.outcome), (7, 3, goal(), None));
    assert_eq!(saved.rollout, rollout);
    for result in
        [Ok("it runs".into()), Ok("it runs".into()), Err("unhealthy: it is not well".into()), Ok("".into())]
    {
        record.ended(&mut rollout, result);
        assert_eq!(record.load().expect("a plan").rollout, rollout);
    }
    let Next::Failed(refusal) = record.ended(&mut rollout, Ok("".into())) else { panic!("not over") };
    assert_eq!(record.load().expect("a plan").outcome, Some(Err(refusal)));
}

#[test]
fn memory_that_holds_no_plan_is_not_taken_for_one() {
    let mut record = empty();
    begun(&mut record, &[How::Live]);
    let good = record;
    let spoilt = [
        |record: &mut PlanRecord| record.place = 5 << 32,
        |record: &mut PlanRecord| record.place = Place::FORWARD | 1,
        |record: &mut PlanRecord| record.count = MAX_LEGS as u64 + 1,
        |record: &mut PlanRecord| record.legs[0].how = 9,
        |record: &mut PlanRecord| record.legs[0].name = [0xff; 32],
        |record: &mut PlanRecord| record.version = VersionRecord::default(),
    ];
    for (number, spoil) in spoilt.iter().enumerate() {
        let mut record = good;
        spoil(&mut record);
        assert_eq!(record.load(), None, "{number}");
    }
}

/// `before` with those fields of `after` that `which` has a bit for; the place is the one of `before`.
fn torn(before: &PlanRecord, after: &PlanRecord, which: u32) -> PlanRecord {
    let mut torn = *before;
    let has = |bit: u32| which & 1 << bit != 0;
    let half = MAX_TEXT / 2;
    if has(0) {
        torn.failed_at = after.failed_at;
    }
    if has(1) {
        torn.failure[..half].copy_from_slice(&after.failure[..half]);
    }
    if has(2) {
        torn.failure[half..].copy_from_slice(&after.failure[half..]);
    }
    if has(3) {
        torn.outcome[..half].copy_from_slice(&after.outcome[..half]);
    }
    if has(4) {
        (torn.name, torn.version, torn.number) = (after.name, after.version, after.number);
    }
    if has(5) {
        (torn.legs, torn.count) = (after.legs, after.count);
    }
    torn
}

#[test]
fn a_change_that_was_cut_off_at_any_store_did_not_take_place() {
    let long = "x".repeat(MAX_TEXT);
    let mut record = empty();
    let mut rollout = begun(&mut record, &[How::Live, How::InPlace, How::Live]);
    for result in [Ok(long.clone()), Err(long.clone()), Ok(long)] {
        let before = record;
        record.ended(&mut rollout, result);
        assert_ne!(before.load(), record.load());
        for which in 0..16 {
            assert_eq!(torn(&before, &record, which).load(), before.load(), "{which}");
        }
    }
    // The next one is written over this one, which does not count any more from the first store on.
    let mut next = record;
    begun(&mut next, &[How::Restart]);
    for which in 0..64 {
        assert_eq!(torn(&PlanRecord { place: 0, ..record }, &next, which).load(), None, "{which}");
    }
}

/// The module manager died.
struct Killed;

/// What outlives the module manager, and how many of its steps are left until it dies.
struct World {
    record: PlanRecord,
    serves: BTreeMap<&'static str, Version>,
    /// A rolling update: its step, and how it ended.
    update: Option<(Leg, Option<Result<String, String>>)>,
    /// An exchange in place that is open.
    exchange: Option<Leg>,
    /// What the record of defaults says of a service that is to be ended and started.
    chosen: Option<Leg>,
    /// The step that cannot be made.
    faulty: Option<usize>,
    kills: Vec<usize>,
    steps: usize,
}

impl World {
    fn new(hows: &[How], faulty: Option<usize>, kills: &[usize]) -> Self {
        let old = |(name, how): (&&'static str, &How)| {
            (*how != How::Install).then_some((*name, Version::new(1, 0, 0)))
        };
        let serves = NAMES.iter().zip(hows).filter_map(old).collect();
        let kills = kills.to_vec();
        Self { record: empty(), serves, update: None, exchange: None, chosen: None, faulty, kills, steps: 0 }
    }

    /// One store or system call, at which the manager may die.
    fn step(&mut self) -> Result<(), Killed> {
        self.steps += 1;
        self.holds();
        if self.kills.contains(&self.steps) { Err(Killed) } else { Ok(()) }
    }

    /// Whoever has its new version has what it needs: those before it in the plan.
    fn holds(&self) {
        let new = |name: &&str| self.serves.get(name) == Some(&Version::new(2, 0, 0));
        let first_old = NAMES.iter().position(|name| !new(name)).unwrap_or(NAMES.len());
        assert!(!NAMES[first_old..].iter().any(new), "{:?} does not hold", self.serves);
    }

    fn set(&mut self, leg: &Leg, version: Option<Version>) {
        let name = NAMES.iter().find(|name| leg.name == **name).expect("one of them");
        match version {
            Some(version) => self.serves.insert(name, version),
            None => self.serves.remove(name),
        };
    }

    fn result(&self, leg: &Leg) -> Result<String, String> {
        let at = NAMES.iter().position(|name| leg.name == *name);
        let fails = at == self.faulty && leg.to == Some(Version::new(2, 0, 0));
        if fails { Err(format!("instance-died: {}", leg.name)) } else { Ok(format!("{} serves", leg.name)) }
    }

    fn make(&mut self, leg: &Leg) -> Result<Result<String, String>, Killed> {
        self.step()?;
        match leg.how {
            How::Live => {
                self.update = Some((leg.clone(), None));
                self.step()?;
                self.move_on()
            }
            How::InPlace => {
                self.exchange = Some(leg.clone());
                self.step()?;
                self.exchange_on(leg)
            }
            _ => {
                let result = self.result(leg);
                if result.is_ok() {
                    self.chosen = Some(leg.clone());
                    self.step()?;
                    self.follow_choice();
                }
                self.step()?;
                Ok(result)
            }
        }
    }

    fn move_on(&mut self) -> Result<Result<String, String>, Killed> {
        let (leg, over) = self.update.clone().expect("one is under way");
        if let Some(result) = over {
            return Ok(result);
        }
        self.step()?;
        let result = self.result(&leg);
        if result.is_ok() {
            self.set(&leg, leg.to);
        }
        self.update = Some((leg, Some(result.clone())));
        self.step()?;
        Ok(result)
    }

    fn exchange_on(&mut self, leg: &Leg) -> Result<Result<String, String>, Killed> {
        let result = self.result(leg);
        // It serves from the new image for as long as it works.
        let version = if result.is_ok() { leg.to } else { leg.from };
        self.set(leg, version);
        self.step()?;
        self.exchange = None;
        self.step()?;
        Ok(result)
    }

    /// What is done over at each start of the manager.
    fn follow_choice(&mut self) {
        if let Some(leg) = self.chosen.take() {
            self.set(&leg, leg.to);
        }
    }

    /// A start of the manager, with the plan to begin with if the record has none.
    fn start(&mut self, legs: &[Leg]) -> Result<Result<String, String>, Killed> {
        self.follow_choice();
        let Some(saved) = self.record.load() else {
            let rollout = Rollout::new(legs.to_vec());
            self.step()?;
            assert!(self.record.begin(7, &goal(), &rollout));
            self.step()?;
            let first = self.make(&legs[0])?;
            return self.carry_on(rollout, first);
        };
        if let Some(outcome) = saved.outcome {
            return Ok(outcome);
        }
        let leg = saved.rollout.leg().expect("a step");
        let found = Found {
            serves: self.serves.get(leg.name.as_str()).copied(),
            moved: self.update.as_ref().is_some_and(|(moved, _)| *moved == leg),
            exchanged: self.exchange.as_ref() == Some(&leg),
        };
        let result = match saved.rollout.resume(found) {
            Resume::Moving => self.move_on()?,
            Resume::Watching => self.exchange_on(&leg)?,
            Resume::Done => self.result(&leg),
            Resume::Begin => self.make(&leg)?,
        };
        self.carry_on(saved.rollout, result)
    }

    fn carry_on(
        &mut self,
        mut rollout: Rollout,
        mut result: Result<String, String>,
    ) -> Result<Result<String, String>, Killed> {
        loop {
            self.step()?;
            let next = self.record.ended(&mut rollout, result);
            self.step()?;
            result = match next {
                Next::Leg(leg) => self.make(&leg)?,
                Next::Done(text) => return Ok(Ok(text)),
                Next::Failed(refusal) => return Ok(Err(refusal)),
            };
        }
    }

    fn run(&mut self, legs: &[Leg]) -> Result<String, String> {
        loop {
            if let Ok(outcome) = self.start(legs) {
                return outcome;
            }
        }
    }
}

/// All plans of three steps of these kinds.
fn plans() -> Vec<[How; 3]> {
    let kinds = [How::Live, How::InPlace, How::Restart, How::Install];
    let pairs = kinds.iter().flat_map(|one| kinds.iter().map(move |two| (one.clone(), two.clone())));
    pairs
        .flat_map(|(one, two)| [How::Live, How::Restart].map(|three| [one.clone(), two.clone(), three]))
        .collect()
}

#[test]
fn a_manager_that_dies_at_any_step_comes_to_the_same_end() {
    let mut deaths = 0;
    for hows in plans() {
        let legs = plan(&hows);
        for faulty in [None, Some(0), Some(1), Some(2)] {
            let mut undisturbed = World::new(&hows, faulty, &[]);
            let outcome = undisturbed.run(&legs);
            assert_eq!(outcome.is_ok(), faulty.is_none(), "{outcome:?}");
            for first in 1..=undisturbed.steps {
                // A second death after it, too: one that comes back dies in the middle of coming back.
                for second in (first..first + 6).chain([usize::MAX]) {
                    let mut world = World::new(&hows, faulty, &[first, second]);
                    let again = world.run(&legs);
                    assert_eq!(again, outcome, "{hows:?}, faulty {faulty:?}, died at {first}, {second}");
                    assert_eq!(
                        world.serves, undisturbed.serves,
                        "{hows:?}, faulty {faulty:?}, {first}, {second}"
                    );
                    deaths += 1;
                }
            }
        }
    }
    assert!(deaths > 5000, "{deaths}");
}
