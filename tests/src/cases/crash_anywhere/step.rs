//! In which step of an update somebody died, by the update's report.

use super::victim::Victim;

/// How the report begins the line of a step.
const STEP: &str = "step ";

/// The step in which `victim` died first, by the lines of the report; `None` if they do not tell of it: it may have died after the end.
pub(super) fn of_death(victim: Victim, lines: &[&str]) -> Option<String> {
    let told = match victim {
        Victim::OldInstance => "the old version died at ",
        Victim::NewInstance => "the new version died at ",
        Victim::Driver => "eth_driver died meanwhile",
        Victim::Manager => "the module manager was started again at ",
        Victim::Monitor => return None,
    };
    let place = lines.iter().position(|line| line.contains(told))?;
    let (_, after) = lines.get(place)?.split_once(told)?;
    match victim {
        Victim::Driver => lines.iter().take(place).rev().find_map(|line| name(line)),
        Victim::Manager => name(after),
        _ => after.split_once(':').map(|(step, _)| step.to_owned()),
    }
}

/// The step's name in the line with which it begins.
fn name(line: &str) -> Option<String> {
    let text = match line.strip_prefix(STEP) {
        Some(numbered) => numbered.split_once(' ')?.1,
        None => line.strip_prefix("rollback: ")?,
    };
    Some(text.split(':').next().unwrap_or(text).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_step_is_read_from_what_each_victim_leaves_in_the_report() {
        let lines = [
            "",
            "step 3/9 warm up",
            "step 4/9 migrate: 0 of 20 items, wave low",
            "eth_driver died meanwhile and was started again",
            "the old version died at switch: killed; restarted",
            "the module manager was started again at step 8/9 commit",
            "rolled-back: the new version died at validate: killed (8 ms)",
        ];
        let step = |victim| of_death(victim, &lines);
        assert_eq!(step(Victim::Driver).as_deref(), Some("migrate"));
        assert_eq!(step(Victim::OldInstance).as_deref(), Some("switch"));
        assert_eq!(step(Victim::Manager).as_deref(), Some("commit"));
        assert_eq!(step(Victim::NewInstance).as_deref(), Some("validate"));
        assert_eq!(step(Victim::Monitor), None);
        assert_eq!(of_death(Victim::Driver, &lines[..3]), None);
        let back = ["rollback: move back: 3 of 20 items", "eth_driver died meanwhile and was started again"];
        assert_eq!(of_death(Victim::Driver, &back).as_deref(), Some("move back"));
    }
}
