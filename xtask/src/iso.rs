//! An ISO image that a PC boots: GRUB, for BIOS and for UEFI, loads kernel and boot archive by Multiboot2.
//!
//! The console is the first serial port, for GRUB too: a machine without a screen must be able to say why it does not boot. The kernel
//! starts no archive but the one that it was made with, so what could be changed on the medium without being noticed is GRUB and the
//! kernel; firmware that verifies these (secure or measured boot) closes the chain.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use hic_tests::runner::BootFiles;

/// What GRUB does. `boot` is implied at the end of an entry; without an entry a failure would end at GRUB's prompt without its reason.
const CONFIGURATION: &str = "\
serial --unit=0 --speed=115200
terminal_input serial
terminal_output serial
set timeout=0
set gfxpayload=text
menuentry HIC {
    multiboot2 /boot/core0
    module2 /boot/boot.archive
}
";

/// All that GRUB needs of itself; with everything it has, the image would be three times as large. The partition formats are those that its
/// start-up code asks for.
const MODULES: &str = "--install-modules=normal iso9660 multiboot2 serial terminal configfile search part_acorn part_amiga part_apple part_bsd \
    part_dfly part_dvh part_gpt part_msdos part_plan part_sun part_sunpc";

/// Makes the ISO image `out` of `files`.
pub fn make(files: &BootFiles, out: &Path) -> Result<PathBuf> {
    let staging = tempfile::Builder::new().prefix("hic-iso-").tempdir()?;
    let boot = staging.path().join("boot");
    std::fs::create_dir_all(boot.join("grub"))?;
    let copy = |from: &Path, name: &str| {
        std::fs::copy(from, boot.join(name)).with_context(|| format!("cannot copy {}", from.display()))
    };
    copy(&files.kernel, "core0")?;
    copy(&files.archive, "boot.archive")?;
    std::fs::write(boot.join("grub").join("grub.cfg"), CONFIGURATION)?;
    // Under another name first: whoever boots the image finds the old one or the new one.
    let unfinished = out.with_extension(format!("{}.tmp", std::process::id()));
    let mut command = Command::new("grub-mkrescue");
    command.args(["--locales=", "--fonts=", "--themes=", MODULES, "-o"]).arg(&unfinished).arg(staging.path());
    let output = command.output().context("cannot run grub-mkrescue")?;
    ensure!(
        output.status.success() && unfinished.is_file(),
        "grub-mkrescue failed: {}",
        String::from_utf8_lossy(&output.stderr).trim()
    );
    std::fs::rename(&unfinished, out).with_context(|| format!("cannot make {}", out.display()))?;
    Ok(out.to_owned())
}
