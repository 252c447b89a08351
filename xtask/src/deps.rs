//! The tools that a command needs beyond the Rust toolchain: found, installed, or named with the exact command.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// A program, or a file by its full path, and the Debian package that brings it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tool {
    program: &'static str,
    package: &'static str,
    purpose: &'static str,
}

const fn tool(program: &'static str, package: &'static str, purpose: &'static str) -> Tool {
    Tool { program, package, purpose }
}

/// What boots a guest.
pub const RUN: &[Tool] = &[tool(hic_tests::qemu::PROGRAM, "qemu-system-x86", "runs the guest")];

/// What the tests need beyond [`RUN`].
pub const TEST: &[Tool] = &[
    tool(hic_tests::qemu::PROGRAM, "qemu-system-x86", "runs the guest"),
    tool("tshark", "tshark", "checks captures of the guest's wire"),
    tool("ip", "iproute2", "makes network namespaces and taps"),
    tool("tc", "iproute2", "makes a wire lose and reorder packets"),
    tool("ping", "iputils-ping", "a client of the guest"),
    tool("curl", "curl", "a client of the guest"),
    tool("mcopy", "mtools", "puts a file on the disk of a guest that runs"),
];

/// What measures on the host.
pub const BENCH: &[Tool] = &[tool("valgrind", "valgrind", "counts instructions of the host")];

/// What makes an ISO image.
pub const ISO: &[Tool] = &[
    tool("grub-mkrescue", "grub-common", "makes the ISO image"),
    tool("/usr/lib/grub/i386-pc/multiboot2.mod", "grub-pc-bin", "boots it from BIOS"),
    tool("/usr/lib/grub/x86_64-efi/multiboot2.mod", "grub-efi-amd64-bin", "boots it from UEFI"),
    tool("xorriso", "xorriso", "writes its file system"),
    tool("mformat", "mtools", "writes its UEFI partition"),
];

/// What boots an ISO image by UEFI; the tests of it need that beyond [`TEST`].
pub const UEFI: &[Tool] = &[
    ISO[0],
    ISO[1],
    ISO[2],
    ISO[3],
    ISO[4],
    tool(hic_tests::qemu::UEFI, "ovmf", "UEFI firmware for the guest"),
];

/// Where Debian keeps what only root has in its PATH.
const SYSTEM_FOLDERS: [&str; 3] = ["/usr/local/sbin", "/usr/sbin", "/sbin"];

/// Where apt keeps the package lists; empty on a machine that has never seen `apt-get update`.
const APT_LISTS: &str = "/var/lib/apt/lists";

/// Makes sure that all `tools` are there, or says what to type.
pub fn ensure(tools: &[Tool]) -> Result<()> {
    let missing: Vec<Tool> = tools.iter().copied().filter(|tool| find(tool.program).is_none()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    for tool in &missing {
        println!("missing: {} ({}), from the package {}", tool.program, tool.purpose, tool.package);
    }
    let packages = packages(&missing);
    let Some(rights) = Rights::of_this_process().filter(|_| find("apt-get").is_some()) else {
        bail!(
            "install the missing tools and try again; on Debian and Ubuntu:\n    {}",
            command_line(&packages)
        );
    };
    install(rights, &packages)?;
    match missing.iter().find(|tool| find(tool.program).is_none()) {
        None => Ok(()),
        Some(tool) => bail!("{} is still missing after {} was installed", tool.program, tool.package),
    }
}

/// Each package once, in order.
fn packages(tools: &[Tool]) -> Vec<&'static str> {
    let mut packages = Vec::new();
    for tool in tools {
        if !packages.contains(&tool.package) {
            packages.push(tool.package);
        }
    }
    packages
}

/// What a person types to install `packages`.
fn command_line(packages: &[&str]) -> String {
    let packages = packages.join(" ");
    format!("sudo apt-get update && sudo apt-get install -y --no-install-recommends {packages}")
}

/// How this process may install packages.
#[derive(Clone, Copy)]
enum Rights {
    Root,
    /// `sudo` asks for no password.
    Sudo,
}

impl Rights {
    fn of_this_process() -> Option<Self> {
        if hic_tests::net::is_root() {
            return Some(Self::Root);
        }
        let mut sudo = Command::new("sudo");
        let status = sudo.args(["-n", "true"]).stdout(Stdio::null()).stderr(Stdio::null()).status();
        status.is_ok_and(|status| status.success()).then_some(Self::Sudo)
    }

    fn apt_get(self, words: &[&str]) -> Result<bool> {
        let mut command = match self {
            Self::Root => Command::new("env"),
            Self::Sudo => {
                let mut command = Command::new("sudo");
                command.args(["-n", "env"]);
                command
            }
        };
        command.args(["DEBIAN_FRONTEND=noninteractive", "apt-get", "-q"]).args(words).stdin(Stdio::null());
        println!("running: apt-get {}", words.join(" "));
        Ok(command.status().context("cannot run apt-get")?.success())
    }
}

fn install(rights: Rights, packages: &[&str]) -> Result<()> {
    let mut words = vec!["install", "-y", "--no-install-recommends"];
    words.extend(packages);
    // Lists that are there may still be too old: then the first attempt fails and the second one follows an update.
    if has_lists(Path::new(APT_LISTS)) && rights.apt_get(&words)? {
        return Ok(());
    }
    if rights.apt_get(&["update"])? && rights.apt_get(&words)? {
        return Ok(());
    }
    bail!("apt-get failed; install the missing tools by hand:\n    {}", command_line(packages))
}

/// Whether `folder` holds any package list.
fn has_lists(folder: &Path) -> bool {
    let Ok(entries) = std::fs::read_dir(folder) else { return false };
    entries.flatten().any(|entry| entry.file_name().to_string_lossy().contains("_Packages"))
}

/// Where `program` is.
fn find(program: &str) -> Option<PathBuf> {
    if program.starts_with('/') {
        return Some(PathBuf::from(program)).filter(|file| file.is_file());
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(SYSTEM_FOLDERS.iter().map(PathBuf::from));
    folders.map(|folder| folder.join(program)).find(|file| file.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_that_brings_two_tools_is_named_once() {
        assert_eq!(packages(TEST).iter().filter(|package| **package == "iproute2").count(), 1);
    }

    #[test]
    fn the_command_to_type_names_every_package() {
        let line = command_line(&["qemu-system-x86", "tshark"]);
        assert!(line.ends_with("install -y --no-install-recommends qemu-system-x86 tshark"), "{line}");
    }

    #[test]
    fn programs_are_found_by_name() {
        assert!(find("sh").is_some());
        assert!(find("no-such-program-anywhere").is_none());
        assert!(find("/proc/version").is_some() && find("/no/such/file").is_none());
    }

    #[test]
    fn a_machine_without_package_lists_is_recognised() {
        let folder = tempfile::tempdir().expect("a folder");
        assert!(!has_lists(folder.path()));
        std::fs::write(folder.path().join("deb_main_Packages"), "").expect("written");
        assert!(has_lists(folder.path()));
    }
}
