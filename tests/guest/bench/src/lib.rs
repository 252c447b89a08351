//! The benchmarks' arithmetic. Nothing here calls the kernel.
#![no_std]

/// The median: half of the samples are not above it. Sorts them.
#[must_use]
pub fn median(samples: &mut [u64]) -> u64 {
    samples.sort_unstable();
    samples.get(samples.len() / 2).copied().unwrap_or(0)
}

/// `total / parts`, rounded to the nearest.
#[must_use]
pub fn each(total: u64, parts: u64) -> u64 {
    (total + parts / 2).checked_div(parts).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_interrupt_among_many_samples_does_not_move_the_median() {
        assert_eq!(median(&mut [87, 87, 9000, 87, 86]), 87);
        assert_eq!(median(&mut []), 0);
    }

    #[test]
    fn parts_are_rounded_to_the_nearest() {
        assert_eq!((each(1499, 1000), each(1500, 1000), each(5, 0)), (1, 2, 0));
    }
}
