//! Following an update: which lines of its report are new, and when there is nothing more to wait for.
//!
//! It must never end because nobody spoke for a while: only the module manager's own state ends it, or the operator's key.

use super::update::Update;
use crate::error::CommandError;
use alloc::format;
use alloc::string::String;

/// The step in which the new version serves and the way back stays open.
const WINDOW: &str = "watch";
/// Reasons of a rollback that the operator gave.
const WANTED: [&str; 2] = ["requested", "aborted"];

/// Until when an update is followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Until {
    /// Its rollback window begins.
    Window,
    /// It is over.
    Over,
}

/// How far an update was followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Follow {
    /// The next line of the report to show.
    pub line: u64,
    until: Until,
}

impl Default for Follow {
    /// A new update, from its first line until its rollback window begins.
    fn default() -> Self {
        Self { line: 0, until: Until::Window }
    }
}

impl Follow {
    /// A rollback: of the update that was under way `before` it was asked for, from the line where that one was, until it is over; or, if
    /// `now` another one is under way, of that one as of any update.
    #[must_use]
    pub fn rollback(before: Option<&Update>, now: &Update) -> Self {
        match before {
            Some(before) if before.running && before.began_nanoseconds == now.began_nanoseconds => {
                Self { line: before.lines.len() as u64, until: Until::Over }
            }
            _ => Self::default(),
        }
    }

    /// What to say at the end; `None` while there is something to wait for.
    #[must_use]
    pub fn end(&self, update: &Update) -> Option<Result<String, CommandError>> {
        if !update.running {
            return Some(outcome(update));
        }
        (self.until == Until::Window && update.step == WINDOW).then(|| Ok(window(update)))
    }
}

fn window(update: &Update) -> String {
    let [service, from, to] = [&update.service, &update.from, &update.to].map(|text| super::clean(text));
    format!(
        "{service} {to} serves. Until its rollback window ends, `rollback {service}` brings {from} back; `commit` ends the window now.\n"
    )
}

/// An update that did not do what its operator wanted is an error with the reason's code.
fn outcome(update: &Update) -> Result<String, CommandError> {
    let outcome = update.outcome.as_deref().unwrap_or("ended");
    let line = format!("{}: {}", update.title(), super::clean(outcome));
    let reason = update.reason.as_deref();
    let wanted = reason.is_some_and(|reason| WANTED.contains(&reason));
    if outcome == "completed" || outcome == "rolled-back" && wanted {
        return Ok(line + "\n");
    }
    let code = super::clean(reason.unwrap_or(outcome));
    Err(CommandError::new(code, line + "; `update status` says more"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn update(began: u64, step: &str) -> Update {
        Update {
            service: "netstack".into(),
            from: "1.2.0".into(),
            to: "1.3.0".into(),
            running: true,
            step: step.into(),
            began_nanoseconds: began,
            ..Update::default()
        }
    }

    fn ended(outcome: &str, reason: Option<&str>) -> Result<String, CommandError> {
        let (outcome, reason) = (Some(outcome.into()), reason.map(Into::into));
        let over = Update { running: false, outcome, reason, ..update(1, "done") };
        Follow::default().end(&over).expect("over")
    }

    #[test]
    fn an_update_is_followed_until_its_rollback_window_begins() {
        let follow = Follow::default();
        assert_eq!(follow.end(&update(1, "migrate")), None);
        let end = follow.end(&update(1, "watch")).expect("window").expect("no error");
        assert!(
            end.starts_with("netstack 1.3.0 serves.") && end.contains("`rollback netstack` brings 1.2.0")
        );
    }

    #[test]
    fn a_rollback_out_of_the_window_is_followed_until_it_is_over() {
        let mut before = update(1, "watch");
        before.lines = alloc::vec!["one".into(), "two".into()];
        let follow = Follow::rollback(Some(&before), &update(1, "watch"));
        assert_eq!((follow.line, follow.end(&update(1, "watch"))), (2, None));
        let over = Update { running: false, outcome: Some("rolled-back".into()), ..update(1, "done") };
        assert!(follow.end(&over).is_some());
    }

    #[test]
    fn a_rollback_after_the_window_is_an_update_of_its_own() {
        let before = Update { running: false, ..update(1, "done") };
        for before in [Some(&before), Some(&update(1, "watch")), None] {
            assert_eq!(Follow::rollback(before, &update(2, "check")), Follow::default());
        }
    }

    #[test]
    fn an_end_that_nobody_wanted_is_an_error_with_its_reason() {
        assert_eq!(ended("completed", None), Ok("netstack 1.2.0 -> 1.3.0: completed\n".into()));
        assert_eq!(
            ended("rolled-back", Some("requested")),
            Ok("netstack 1.2.0 -> 1.3.0: rolled-back\n".into())
        );
        let error = ended("rolled-back", Some("unhealthy")).expect_err("not wanted");
        assert_eq!(
            error.render(false),
            "error[unhealthy]: netstack 1.2.0 -> 1.3.0: rolled-back; `update status` says more\n"
        );
        assert_eq!(ended("lost", None).expect_err("not wanted").code, "lost");
        assert_eq!(ended("refused", Some("aborted")).expect_err("it did not happen").code, "aborted");
    }
}
