//! What is under way, in memory that outlives the program.
//!
//! A file that kills the verifier would do so again at each restart, since its question stays open. So the question's number
//! and how often it was begun are written down before it is looked at, and the third time it is refused unread.

/// How often a question is begun, at most: the first death may have had another cause.
pub const ATTEMPTS: u64 = 2;

/// What was begun last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Crumb {
    /// Number of the question.
    pub number: u64,
    /// How often it was begun.
    pub attempts: u64,
}

impl Crumb {
    /// What is to be written down before question `number` is looked at; `None` if it is not to be looked at any more.
    #[must_use]
    pub fn begin(self, number: u64) -> Option<Self> {
        let attempts = if self.number == number { self.attempts } else { 0 };
        (attempts < ATTEMPTS).then_some(Self { number, attempts: attempts + 1 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_is_begun_twice_and_the_next_one_anew() {
        let first = Crumb::default().begin(7).unwrap();
        let second = first.begin(7).unwrap();
        assert_eq!(second.begin(7), None);
        assert_eq!(second.begin(8), Some(Crumb { number: 8, attempts: 1 }));
    }
}
