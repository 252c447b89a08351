//! The Linux guest that throughput is compared with: Debian's cloud kernel, busybox and our echo server, on the same QEMU.
//!
//! Its parts are Debian packages, fetched once into `target/linux-guest` by `apt-get download`, which needs no privilege.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use cpio::newc::Builder;

use crate::cargo;

/// Debian's name for "the newest kernel for virtual machines".
const KERNEL: &str = "linux-image-cloud-amd64";
const BUSYBOX: &str = "busybox-static";
/// What virtio-net needs of the kernel's modules, in the order in which they are loaded.
const MODULES: [&str; 8] = [
    "virtio/virtio_ring.ko",
    "virtio/virtio.ko",
    "virtio/virtio_pci_modern_dev.ko",
    "virtio/virtio_pci_legacy_dev.ko",
    "virtio/virtio_pci.ko",
    "../net/core/failover.ko",
    "net/net_failover.ko",
    "net/virtio_net.ko",
];
/// The address that user networking leads forwards to.
const ADDRESS: &str = "10.0.2.15/24";

/// A guest that can be booted with `-kernel` and `-initrd`.
#[derive(Debug)]
pub struct LinuxGuest {
    /// The kernel.
    pub kernel: PathBuf,
    /// The initial file system.
    pub initrd: PathBuf,
}

/// Fetches and builds what is not there yet.
pub fn prepare(target: &Path) -> Result<LinuxGuest> {
    let folder = target.join("linux-guest");
    let root = folder.join("root");
    if !root.is_dir() {
        fetch(&folder, &root)?;
    }
    let boot = root.join("boot");
    let kernel = std::fs::read_dir(&boot)?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("vmlinuz-")))
        .context("Debian's kernel package holds no vmlinuz")?;
    let echo = build_echo(&folder)?;
    let initrd = folder.join("initrd");
    std::fs::write(&initrd, file_system(&root, &echo)?)?;
    Ok(LinuxGuest { kernel, initrd })
}

fn output(command: &mut Command) -> Result<String> {
    let result = command.output().with_context(|| format!("cannot run {command:?}"))?;
    let errors = String::from_utf8_lossy(&result.stderr);
    ensure!(result.status.success(), "{command:?} failed: {errors}");
    Ok(String::from_utf8_lossy(&result.stdout).into_owned())
}

fn fetch(folder: &Path, root: &Path) -> Result<()> {
    std::fs::create_dir_all(folder)?;
    let names = output(Command::new("apt-cache").args(["depends", KERNEL]))?;
    let image = names
        .lines()
        .find_map(|line| {
            line.trim().strip_prefix("Depends: ").filter(|name| name.starts_with("linux-image-"))
        })
        .context("apt knows no kernel for virtual machines; type `sudo apt-get update` and try again")?;
    println!("fetching {image} and {BUSYBOX} for the Linux guest");
    output(Command::new("apt-get").args(["download", image, BUSYBOX]).current_dir(folder))?;
    let part = folder.join("root.part");
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|e| e == "deb") {
            output(Command::new("dpkg-deb").arg("-x").arg(&path).arg(&part))?;
        }
    }
    std::fs::rename(part, root).context("cannot put the Linux guest's files in place")
}

/// Builds the echo server static, in a folder of its own: the flags would rebuild everything else.
fn build_echo(folder: &Path) -> Result<PathBuf> {
    let target = folder.join("build");
    let mut command = cargo::command();
    command
        .args(["build", "--quiet", "--release", "--package", "hic-tests", "--bin", "linux_echo"])
        .env("RUSTFLAGS", "-C target-feature=+crt-static")
        .env("CARGO_TARGET_DIR", &target);
    output(&mut command)?;
    Ok(target.join("release/linux_echo"))
}

fn file_system(root: &Path, echo: &Path) -> Result<Vec<u8>> {
    let modules = std::fs::read_dir(root.join("lib/modules"))?;
    let version = modules.filter_map(Result::ok).next().context("no kernel modules")?.path();
    let drivers = version.join("kernel/drivers");
    let mut script = String::from("#!/busybox sh\n");
    let mut files = vec![
        ("busybox".to_owned(), std::fs::read(root.join("bin/busybox"))?),
        ("echo_server".to_owned(), std::fs::read(echo)?),
    ];
    for (number, module) in MODULES.iter().enumerate() {
        let bytes = std::fs::read(drivers.join(module)).with_context(|| format!("kernel module {module}"))?;
        files.push((format!("{number}.ko"), bytes));
        script += &format!("/busybox insmod /{number}.ko\n");
    }
    script += &format!(
        "/busybox ip addr add {ADDRESS} dev eth0\n/busybox ip link set eth0 up\nexec /echo_server\n"
    );
    files.push(("init".to_owned(), script.into_bytes()));
    let mut archive = Vec::new();
    for (name, bytes) in files {
        let builder = Builder::new(&name).mode(0o100_755);
        let mut entry = builder.write(&mut archive, bytes.len() as u32);
        std::io::Write::write_all(&mut entry, &bytes)?;
        entry.finish()?;
    }
    cpio::newc::trailer(&mut archive)?;
    Ok(archive)
}
