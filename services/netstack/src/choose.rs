//! Which sockets go into a batch: as many as the module manager wants, as their capabilities allow, the best first.

use hic_migrate::Wave;
use hic_net::Class;

/// What moves as a whole: a connection, a UDP socket, or a listener with all that wait on it and what its last Accept took, if that was not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unit {
    /// Sockets.
    pub items: usize,
    /// Capabilities that it has at most when it is frozen.
    pub caps: usize,
}

/// The units for one batch of at most `max_items` sockets and `max_caps` capabilities, by index, out of `units` in the order in which
/// they are to move. A unit of more sockets goes alone. Empty if there is none, or none of them ever fits.
#[must_use]
pub fn choose(units: &[Unit], max_items: usize, max_caps: usize) -> alloc::vec::Vec<usize> {
    let (mut items, mut caps) = (0, 0);
    let mut chosen = alloc::vec::Vec::new();
    for (index, unit) in units.iter().enumerate() {
        let fits = items + unit.items <= max_items || chosen.is_empty();
        if fits && caps + unit.caps <= max_caps {
            (items, caps) = (items + unit.items, caps + unit.caps);
            chosen.push(index);
        }
        if items >= max_items {
            break;
        }
    }
    chosen
}

/// Whether what looks like `class` moves in this wave or one before it. Listeners go first: new connections then arise in the new
/// instance, and need not move.
#[must_use]
pub fn moves_in(wave: Wave, class: Class, is_listener: bool) -> bool {
    let last = match wave {
        Wave::Low => Class::Low,
        Wave::Medium => Class::Medium,
        Wave::High => Class::High,
        Wave::Persistent => return true,
    };
    is_listener || class <= last
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ONE: Unit = Unit { items: 1, caps: 3 };

    #[test]
    fn a_unit_larger_than_a_batch_goes_alone() {
        let listener = Unit { items: 40, caps: 50 };
        assert_eq!(choose(&[listener, ONE], 10, 124), [0]);
        assert_eq!(choose(&[ONE, listener, ONE], 10, 124), [0, 2]);
    }

    #[test]
    fn what_needs_too_many_capabilities_is_passed_over() {
        let listener = Unit { items: 200, caps: 202 };
        assert_eq!(choose(&[listener, ONE], 10, 124), [1]);
        assert_eq!(choose(&[listener], 10, 124), []);
    }

    #[test]
    fn listeners_and_the_quiet_go_first_and_everything_goes_last() {
        assert!(moves_in(Wave::Low, Class::Medium, true) && !moves_in(Wave::Low, Class::Medium, false));
        assert!(moves_in(Wave::Low, Class::Idle, false) && !moves_in(Wave::High, Class::Persistent, false));
        assert!(moves_in(Wave::Persistent, Class::Persistent, false));
    }

    proptest! {
        #[test]
        fn a_batch_never_has_too_many_capabilities_and_is_empty_only_if_nothing_fits(
            units in proptest::collection::vec((1usize..60, 0usize..150), 0..40), max in 1usize..50,
        ) {
            let units: std::vec::Vec<_> = units.into_iter().map(|(items, caps)| Unit { items, caps }).collect();
            let chosen = choose(&units, max, 124);
            let sum = |f: fn(&Unit) -> usize| chosen.iter().map(|n| f(&units[*n])).sum::<usize>();
            prop_assert!(sum(|u| u.caps) <= 124 && (sum(|u| u.items) <= max || chosen.len() == 1));
            prop_assert_eq!(chosen.is_empty(), units.iter().all(|unit| unit.caps > 124));
        }
    }
}
