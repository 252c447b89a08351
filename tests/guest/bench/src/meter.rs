//! The clock of the benchmarks.

use alloc::vec::Vec;
use bench::median;
use hic_abi::Error;
use hic_rt::loader::LoadError;
use hic_rt::log;

/// Samples of each operation.
pub const SAMPLES: usize = 501;

/// What a count of the clock is, and what reading it costs.
#[derive(Clone, Copy, Debug)]
pub struct Meter {
    overhead: u64,
    unit: &'static str,
}

/// The time-stamp counter.
pub fn clock() -> u64 {
    // SAFETY: reading the time-stamp counter has no preconditions (CR4.TSD is off).
    unsafe { core::arch::x86_64::_rdtsc() }
}

/// Counts of a loop of two instructions.
fn empty_loop(iterations: u64) -> u64 {
    let begin = clock();
    // SAFETY: counts a register down and touches nothing else.
    unsafe { core::arch::asm!("2: dec {0}", "jnz 2b", inout(reg) iterations => _, options(nomem, nostack)) };
    clock() - begin
}

impl Meter {
    /// Finds out whether a count is an instruction, and what one reading costs.
    #[must_use]
    pub fn calibrate() -> Self {
        let exact = (0..8).all(|_| empty_loop(2000) - empty_loop(1000) == 2000);
        let unit = if exact { "instructions" } else { "counts" };
        if !exact {
            log!("not under -icount shift=0: the figures are time-stamp counts");
        }
        let mut meter = Self { overhead: 0, unit };
        meter.overhead = meter.sample(|| Ok(()), || Ok(())).unwrap_or(0);
        meter
    }

    /// The median cost of an operation; `prepare` runs before each and is not counted.
    ///
    /// # Errors
    /// What either of them returns.
    #[inline(always)]
    pub fn sample(
        &self,
        prepare: impl FnMut() -> Result<(), Error>,
        operation: impl FnMut() -> Result<(), Error>,
    ) -> Result<u64, Error> {
        self.sample_times(SAMPLES, prepare, operation)
    }

    /// The same of fewer samples, for what takes long to prepare.
    ///
    /// # Errors
    /// What either of them returns.
    #[inline(always)]
    pub fn sample_times(
        &self,
        times: usize,
        mut prepare: impl FnMut() -> Result<(), Error>,
        mut operation: impl FnMut() -> Result<(), Error>,
    ) -> Result<u64, Error> {
        let mut samples = Vec::with_capacity(times);
        for _ in 0..times {
            prepare()?;
            let begin = clock();
            let result = operation();
            let end = clock();
            result?;
            samples.push((end - begin).saturating_sub(self.overhead));
        }
        Ok(median(&mut samples))
    }

    /// Measures an operation and prints its line.
    ///
    /// # Errors
    /// [`LoadError`] names the figure.
    #[inline(always)]
    pub fn measure(
        &self,
        name: &'static str,
        prepare: impl FnMut() -> Result<(), Error>,
        operation: impl FnMut() -> Result<(), Error>,
    ) -> Result<u64, LoadError> {
        let value = self.sample(prepare, operation).map_err(hic_rt::loader::at(name))?;
        self.print(name, value);
        Ok(value)
    }

    /// Prints a figure's line.
    pub fn print(&self, name: &str, value: u64) {
        log!("bench {name} {value} {}", self.unit);
    }
}

/// Nothing to prepare.
pub fn nothing() -> Result<(), Error> {
    Ok(())
}
