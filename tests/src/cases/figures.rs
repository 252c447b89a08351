//! The kernel's figures keep to their limits.

use anyhow::{Result, ensure};

use crate::figures;
use crate::runner::TestContext;

pub(super) fn run(context: &mut TestContext) -> Result<()> {
    let mut machine = context.machine()?;
    machine.icount = true;
    let vm = context.boot(machine, None, &[])?;
    let measured = figures::measured(&vm, |_| ())?;
    let complaints = figures::complaints(&measured);
    ensure!(complaints.is_empty(), "{}", complaints.join("\n"));
    for figure in &measured {
        if let Some(limit) = figures::limit(&figure.name) {
            context.note(format!("{}: {} of {limit} {}", figure.name, figure.value, figure.unit));
        }
    }
    Ok(())
}
