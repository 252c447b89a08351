//! A guest that tests itself and says on the serial line how it went.

use std::time::Duration;

use anyhow::{Result, anyhow, bail};

use crate::qemu::Machine;
use crate::runner::TestContext;
use crate::text;
use crate::vm::Vm;

/// Printed by the guest when all went well.
pub(super) const PASS: &str = "selftest: PASS";

/// Printed by the guest, with the reason, when something did not.
pub(super) const FAIL: &str = "selftest: FAIL";

/// The longest a self test may take; the runner's own limit ends it earlier where that is shorter.
const LIMIT: Duration = Duration::from_secs(3600);

pub(super) fn run(context: &mut TestContext) -> Result<()> {
    passes(context, context.machine()?).map(drop)
}

/// Boots a machine whose guest tests itself; what it wrote to the serial line, if all went well.
pub(super) fn passes(context: &mut TestContext, machine: Machine) -> Result<String> {
    let vm = context.boot(machine, None, &[])?;
    passed(context, &vm)
}

/// Waits for the verdict of a guest that runs; what it wrote to the serial line, if all went well.
pub(super) fn passed(context: &mut TestContext, vm: &Vm) -> Result<String> {
    let verdict = vm.serial().wait(0, LIMIT, verdict);
    for line in text::lines(&vm.serial_text()) {
        if let Some(note) = text::logged(line).strip_prefix("selftest: note ") {
            context.note(note.to_owned());
        }
    }
    match verdict {
        Ok(Ok(())) => Ok(vm.serial_text()),
        Ok(Err(line)) => bail!("{line}"),
        Err(error) => {
            let end = vm
                .wait_exit(Duration::from_secs(1))
                .map_or_else(|_| "it still runs".into(), |end| end.to_string());
            Err(anyhow!("no verdict from the guest ({error:#}; {end})"))
        }
    }
}

/// The first verdict in `seen`; a failure with its whole line, so not before that line has ended.
fn verdict(seen: &str) -> Option<Result<(), String>> {
    let mut lines = text::lines(seen);
    lines.pop();
    lines.into_iter().find_map(|line| match (line.contains(FAIL), line.contains(PASS)) {
        (true, _) => Some(Err(line.to_owned())),
        (false, true) => Some(Ok(())),
        (false, false) => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verdict_is_read_from_a_whole_line() {
        assert_eq!(verdict("boot\r\nselftest: PA"), None);
        assert_eq!(verdict("selftest: FAIL count"), None);
        assert_eq!(verdict("boot\r\nselftest: PASS\r\n"), Some(Ok(())));
        assert_eq!(verdict("selftest: FAIL count is 7\r\n"), Some(Err("selftest: FAIL count is 7".into())));
    }

    #[test]
    fn the_first_verdict_counts() {
        assert!(matches!(verdict("selftest: FAIL x\nselftest: PASS\n"), Some(Err(_))));
    }
}
