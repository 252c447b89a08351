//! QEMU's microvm boots to a prompt, a repository on its disk and a page over HTTP, and powers off: without the PC's ports for PCI and for
//! power, and without firmware that places BARs.

use anyhow::Result;

use super::boot_iso::serves;
use crate::qemu::{Board, Machine};
use crate::runner::TestContext;

pub(super) fn run(context: &mut TestContext) -> Result<()> {
    let machine = Machine { board: Board::Microvm, ..context.machine()? };
    serves(context, machine).map(drop)
}
