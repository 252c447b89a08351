//! The steps of a plan, one after the other, and back again when one of them fails.
//!
//! ```text
//!   forward ─ step done ─▶ next step ... ─▶ all done
//!      └─ step failed ─▶ back: each step that was done, the last one first ─▶ as before, with the reason
//!                          └─ a step back failed ─▶ what is left of the plan stays, and is named
//! ```
//! A step that fails puts itself back; only what went before it is this module's business. Every set of versions on the way holds together
//! (`libs/resolve`), so it also may stay wherever the way ends (docs/adr/0034).
//!
//! Nothing is carried out here: whoever does says what came of a step, and is told the next one. Where the plan is lies in a [`record::PlanRecord`], from
//! which a module manager that was started again goes on ([`Rollout::resume`]).

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use hic_hicmod::manifest::{Name, Version};

use crate::plan::How;

pub mod record;

/// One change of one module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leg {
    /// The module.
    pub name: Name,
    /// What runs before; `None`: nothing.
    pub from: Option<Version>,
    /// What runs afterwards; `None`: nothing.
    pub to: Option<Version>,
    /// How it is made.
    pub how: How,
}

impl Leg {
    fn reversed(&self) -> Self {
        Self { from: self.to, to: self.from, ..self.clone() }
    }
}

impl fmt::Display for Leg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let version = |f: &mut fmt::Formatter<'_>, version, none: &str| match version {
            Some(version) => write!(f, "{version}"),
            None => f.write_str(none),
        };
        write!(f, "{} ", self.name)?;
        version(f, self.from, "new")?;
        f.write_str(" -> ")?;
        version(f, self.to, "removed")
    }
}

/// What comes after a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// This one.
    Leg(Leg),
    /// Nothing: all steps are done, and the last of them said this.
    Done(String),
    /// Nothing: `code: sentence`, with what became of the steps before.
    Failed(String),
}

/// What a module manager that was started again finds of the step that was to be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// What serves; `None`: there is no such service.
    pub serves: Option<Version>,
    /// The last rolling update is the one of this step, under way or over.
    pub moved: bool,
    /// The service is being exchanged in place, or was until just now.
    pub exchanged: bool,
}

/// How a step goes on that was cut off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resume {
    /// The rolling update says how it ends.
    Moving,
    /// The exchange in place says how it ends.
    Watching,
    /// It is done.
    Done,
    /// It is begun, or begun again: nothing of it is left.
    Begin,
}

/// A plan that is being carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rollout {
    legs: Vec<Leg>,
    at: usize,
    /// Why it goes back, and which step failed.
    failure: Option<(String, usize)>,
}

impl Rollout {
    /// A plan with these steps, at its first one.
    #[must_use]
    pub const fn new(legs: Vec<Leg>) -> Self {
        Self { legs, at: 0, failure: None }
    }

    /// Whether a step comes from this version of a module or to it.
    #[must_use]
    pub fn names(&self, name: &str, version: Version) -> bool {
        self.legs.iter().any(|leg| leg.name == name && [leg.from, leg.to].contains(&Some(version)))
    }

    /// The step that is to be made now.
    #[must_use]
    pub fn leg(&self) -> Option<Leg> {
        let leg = self.legs.get(self.at)?;
        Some(if self.failure.is_some() { leg.reversed() } else { leg.clone() })
    }

    /// How the step that is to be made now is announced.
    #[must_use]
    pub fn announcement(&self) -> String {
        let (number, count) = (self.at + 1, self.legs.len());
        let leg = self.leg().map(|leg| (format!("{leg}"), leg.to.is_none(), leg.how));
        let (leg, removed, how) = leg.unwrap_or_else(|| (String::new(), false, How::Install));
        match (&self.failure, removed) {
            (None, _) => format!("step {number} of {count}: {leg}: {how}"),
            (Some(_), false) => format!("back, step {number} of {count}: {leg}: {how}"),
            (Some(_), true) => format!("back, step {number} of {count}: {leg}"),
        }
    }

    /// Whether no step has failed.
    #[must_use]
    pub const fn is_forward(&self) -> bool {
        self.failure.is_none()
    }

    /// Whether the step that is to be made now is the last one of the way forward.
    #[must_use]
    pub fn is_last(&self) -> bool {
        self.failure.is_none() && self.at + 1 == self.legs.len()
    }

    /// How the step goes on that was to be made when the module manager died.
    #[must_use]
    pub fn resume(&self, found: Found) -> Resume {
        match self.leg() {
            Some(leg) if leg.how == How::Live && found.moved => Resume::Moving,
            Some(leg) if leg.how == How::InPlace && found.exchanged => Resume::Watching,
            Some(leg) if leg.to == found.serves => Resume::Done,
            _ => Resume::Begin,
        }
    }

    /// The step that was to be made came to this end; a failed one left everything as it was before it.
    pub fn ended(&mut self, result: Result<String, String>) -> Next {
        match (self.failure.clone(), result) {
            (None, Ok(text)) if self.is_last() || self.legs.is_empty() => Next::Done(text),
            (None, Ok(_)) => self.go(self.at + 1),
            (None, Err(failure)) if self.at == 0 => Next::Failed(failure),
            (None, Err(failure)) => {
                self.failure = Some((failure, self.at));
                self.go(self.at - 1)
            }
            (Some((failure, at)), Ok(_)) if self.at == 0 => {
                let names: Vec<&str> = self.legs.iter().take(at).map(|leg| leg.name.as_str()).collect();
                Next::Failed(format!("{failure}; {} went back, too: all is as before", names.join(", ")))
            }
            (Some(_), Ok(_)) => self.go(self.at - 1),
            (Some((failure, _)), Err(again)) => {
                let left = self.legs.iter().take(self.at + 1);
                let left: Vec<String> =
                    left.filter_map(|leg| Some(format!("{} {}", leg.name, leg.to?))).collect();
                Next::Failed(format!(
                    "{failure}; and the way back failed ({again}): {} stays, which works with what runs",
                    left.join(", ")
                ))
            }
        }
    }

    fn go(&mut self, to: usize) -> Next {
        self.at = to;
        self.leg().map_or_else(|| Next::Done(String::new()), Next::Leg)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    fn leg(name: &str, from: u32, to: u32, how: How) -> Leg {
        let version = |minor| Some(Version::new(1, minor, 0));
        Leg { name: name.parse().unwrap(), from: version(from), to: version(to), how }
    }

    fn three() -> Rollout {
        let new = Leg { from: None, ..leg("c", 0, 5, How::Install) };
        Rollout::new(vec![leg("a", 1, 2, How::InPlace), new, leg("b", 3, 4, How::Live)])
    }

    fn good() -> Result<String, String> {
        Ok("it serves".into())
    }

    #[test]
    fn the_steps_are_made_in_order_and_the_last_one_has_the_last_word() {
        let mut rollout = three();
        assert!(rollout.announcement().starts_with("step 1 of 3: a 1.1.0 -> 1.2.0: in place"));
        assert!(!rollout.is_last());
        assert!(matches!(rollout.ended(good()), Next::Leg(leg) if leg.name == "c"));
        assert!(matches!(rollout.ended(good()), Next::Leg(leg) if leg.name == "b"));
        assert!(rollout.is_last());
        assert_eq!(rollout.ended(good()), Next::Done("it serves".into()));
    }

    #[test]
    fn what_went_before_a_step_that_failed_goes_back_the_last_first() {
        let mut rollout = three();
        rollout.ended(good());
        rollout.ended(good());
        let Next::Leg(back) = rollout.ended(Err("unhealthy: it is not well".into())) else { panic!("over") };
        assert_eq!((back.name.as_str(), back.to), ("c", None), "what was installed is removed");
        assert_eq!(rollout.announcement(), "back, step 2 of 3: c 1.5.0 -> removed");
        let Next::Leg(back) = rollout.ended(good()) else { panic!("over") };
        assert_eq!((back.name.as_str(), back.to), ("a", Some(Version::new(1, 1, 0))));
        let Next::Failed(text) = rollout.ended(good()) else { panic!("not over") };
        assert!(text.starts_with("unhealthy: it is not well; a, c went back, too"), "{text}");
    }

    #[test]
    fn the_first_step_has_nothing_to_take_back() {
        assert_eq!(three().ended(Err("memory: short".into())), Next::Failed("memory: short".into()));
    }

    #[test]
    fn where_the_way_back_ends_is_said() {
        let mut rollout = three();
        rollout.ended(good());
        rollout.ended(Err("memory: short".into()));
        let Next::Failed(text) = rollout.ended(Err("io: no disk".into())) else { panic!("not over") };
        assert!(
            text.starts_with("memory: short; and the way back failed (io: no disk): a 1.2.0 stays"),
            "{text}"
        );
    }
}
