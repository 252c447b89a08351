//! The frequencies of counters that nobody states, from a counter whose frequency is known and which runs out.
//!
//! Whoever emulates this machine may stand still between any two instructions: a pause must cost another attempt, and never end up in the
//! result, since every deadline of the system would be wrong by the same factor.

/// Counts of the yardstick in a second (8254 data sheet; 14.31818 MHz / 12).
const YARDSTICK_HZ: u64 = 1_193_182;
/// Its counts between two samples: 20 ms, so that one count is 42 millionths of it.
const SPAN: u16 = 23_864;
/// The same where pauses leave no more time: 1.25 ms.
const SHORTEST: u16 = SPAN / 16;
/// Readings of which a sample is the quickest.
const READINGS: u32 = 16;

/// All counters, read one after the other.
#[derive(Clone, Copy, Debug)]
pub struct Reading {
    /// Time-stamp counter before the others were read, and after.
    pub tsc: [u64; 2],
    /// The yardstick, which runs down from 65535.
    pub yardstick: u16,
    /// The timer's counter, which runs down.
    pub timer: u32,
}

/// What was measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rates {
    /// Time-stamp counter, counts a second; at least 1.
    pub tsc_hz: u64,
    /// Timer, counts a second.
    pub timer_hz: u64,
    /// The time-stamp counter at the end.
    pub tsc: u64,
}

/// Measures. `start` has the yardstick and the timer count from their upper ends; `read` is `None` once the yardstick has run out.
pub fn measure(start: impl Fn(), read: impl Fn() -> Option<Reading>) -> Rates {
    let mut span = SPAN;
    loop {
        start();
        if let Some(rates) = attempt(span, &read) {
            return rates;
        }
        span = (span / 2).max(SHORTEST);
    }
}

fn attempt(span: u16, read: &impl Fn() -> Option<Reading>) -> Option<Rates> {
    let first = sample(read)?;
    while first.yardstick.saturating_sub(read()?.yardstick) < span {
        core::hint::spin_loop();
    }
    let last = sample(read)?;
    let counts = u64::from(first.yardstick.saturating_sub(last.yardstick)).max(1);
    let rate = |ticks: u64| (ticks * YARDSTICK_HZ / counts).max(1);
    let [from, tsc] = [first, last].map(|reading| reading.tsc[0].midpoint(reading.tsc[1]));
    Some(Rates {
        tsc_hz: rate(tsc.saturating_sub(from)),
        timer_hz: rate(first.timer.saturating_sub(last.timer).into()),
        tsc,
    })
}

fn sample(read: &impl Fn() -> Option<Reading>) -> Option<Reading> {
    let mut best = read()?;
    for _ in 1..READINGS {
        let next = read()?;
        if next.took() < best.took() {
            best = next;
        }
    }
    Some(best)
}

impl Reading {
    fn took(&self) -> u64 {
        self.tsc[1].saturating_sub(self.tsc[0])
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::format;

    use super::*;

    const TSC_HZ: u64 = 2_500_000_000;
    const TIMER_HZ: u64 = 1_000_000_000;
    /// What one access takes the emulator.
    const ACCESS: u64 = 1_000;
    const MS: u64 = 1_000_000;

    /// Nanoseconds, which go by with every access; the machine is paused as `pause` says: begin and length, of the next one.
    struct Machine<P> {
        now: Cell<u64>,
        started: Cell<u64>,
        next: Cell<(u64, u64)>,
        pause: P,
    }

    impl<P: Fn(u64) -> (u64, u64)> Machine<P> {
        fn new(pause: P) -> Self {
            let next = Cell::new(pause(0));
            Self { now: Cell::new(0), started: Cell::new(0), next, pause }
        }

        fn access(&self) -> u64 {
            let (begin, length) = self.next.get();
            let now = self.now.get() + ACCESS;
            self.now.set(now);
            if now >= begin {
                self.now.set(now + length);
                self.next.set((self.pause)(now + length));
            }
            self.now.get()
        }

        fn start(&self) {
            self.started.set(self.access());
        }

        fn since_start(&self, hertz: u64) -> u64 {
            let nanoseconds = u128::from(self.access() - self.started.get());
            (nanoseconds * u128::from(hertz) / 1_000_000_000) as u64
        }

        fn read(&self) -> Option<Reading> {
            let tsc = || self.access() * TSC_HZ / 1_000_000_000;
            let before = tsc();
            let yardstick = u16::try_from(u64::from(u16::MAX).checked_sub(self.since_start(YARDSTICK_HZ))?);
            let timer = u64::from(u32::MAX).saturating_sub(self.since_start(TIMER_HZ)) as u32;
            Some(Reading { tsc: [before, tsc()], yardstick: yardstick.ok()?, timer })
        }

        fn measured(&self) -> Rates {
            measure(|| self.start(), || self.read())
        }
    }

    fn assert_right(rates: Rates, why: &str) {
        for (rate, due) in [(rates.tsc_hz, TSC_HZ), (rates.timer_hz, TIMER_HZ)] {
            assert!(rate.abs_diff(due) < due / 100, "{why}: {rate} instead of {due}");
        }
    }

    #[test]
    fn without_a_pause_it_is_right_to_a_ten_thousandth() {
        let rates = Machine::new(|_| (u64::MAX, 0)).measured();
        assert!(rates.tsc_hz.abs_diff(TSC_HZ) < TSC_HZ / 10_000, "{rates:?}");
        assert!(rates.timer_hz.abs_diff(TIMER_HZ) < TIMER_HZ / 5_000, "{rates:?}");
    }

    #[test]
    fn one_pause_wherever_it_falls_and_however_long_it_is() {
        for begin in (0..25 * MS).step_by(200_003) {
            for length in [1, 10, 30, 34, 36, 50, 54, 55, 56, 80, 108, 110, 111, 200, 5000] {
                let once = |now| if now < begin { (begin, length * MS) } else { (u64::MAX, 0) };
                assert_right(Machine::new(once).measured(), &format!("{length} ms at {begin} ns"));
            }
        }
    }

    #[test]
    fn a_machine_that_runs_a_tenth_of_the_time() {
        for run in [3, 5, 10, 20] {
            for pause in [9 * run, 60, 100] {
                let machine = Machine::new(|now| (now + run * MS, pause * MS));
                assert_right(machine.measured(), &format!("{run} ms, then a pause of {pause} ms"));
            }
        }
    }
}
