//! `cargo xtask run`: one machine, for a person at a terminal or for a script.
//!
//! Scripts read standard output line by line: `forward 127.0.0.1:PORT -> GUEST` for each forward, then `ready`.

mod forwards;
mod prompt;
mod terminal;

use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use hic_tests::net::pcap;
use hic_tests::process::{Outcome, Qemu};
use hic_tests::qemu::{Board, Machine, Medium, Net, Proto, Qmp, Serial, UEFI};
use hic_tests::{backtrace, text, vm};

use crate::cli::{Loader, RunOptions, WantedNet};
use crate::image::Builder;
use crate::{deps, disk};
use prompt::PromptWatch;

/// Lines of the serial line that are shown after a panic.
const TAIL_LINES: usize = 60;

/// Pause between two looks at the serial log: a file tells nobody that it grew.
const LOOK: Duration = Duration::from_millis(50);

/// Builds, prints where things are, boots, and stays until the guest ends.
pub fn run(options: &RunOptions) -> Result<()> {
    deps::ensure(deps::RUN)?;
    let mut builder = Builder::new()?;
    let mut machine = match &options.kernel {
        Some(kernel) => Machine::new(kernel),
        None => built(options, &mut builder)?,
    };
    configure(&mut machine, options)?;
    let files = Files::new(&builder.workspace.target_directory)?;
    // Held until the machine has ended.
    let _disk = attach_repository(&mut machine, options, &mut builder, &files)?;
    // What boots is read at once; others may build while it runs.
    drop(builder);
    machine.serial_log = Some(files.serial.clone());
    introduce(&machine, options, &files)?;
    let kernel = machine.kernel.clone();
    let outcome = match (&options.serial, options.headless) {
        (None, false) => interactive(machine, &files)?,
        (Some(path), _) => {
            machine.serial = Serial::Listen(path.clone());
            headless(&machine, &files)?
        }
        (None, true) => headless(&machine, &files)?,
    };
    if let Some(capture) = &options.capture {
        pcap::make_bare(capture, capture)?;
    }
    conclude(outcome, &kernel, &files)
}

/// A machine that boots what was built, in the way that was asked for.
fn built(options: &RunOptions, builder: &mut Builder) -> Result<Machine> {
    let mut machine = builder.boot_files(&options.profile)?.machine();
    let firmware = match options.boot {
        Loader::Qemu => return Ok(machine),
        Loader::Bios => None,
        Loader::Uefi => Some(PathBuf::from(UEFI)),
    };
    ensure!(
        options.machine != Board::Microvm,
        "microvm has no drive for a medium: --boot {{bios,uefi}} is for q35 and pc"
    );
    deps::ensure(if firmware.is_some() { deps::UEFI } else { deps::ISO })?;
    machine.medium = Some(Medium { iso: builder.iso(&options.profile)?, firmware });
    Ok(machine)
}

/// Files of one run. Kept after a failure.
struct Files {
    folder: PathBuf,
    serial: PathBuf,
    messages: PathBuf,
}

impl Files {
    fn new(target: &Path) -> Result<Self> {
        let folder = target.join("hic").join("run").join(std::process::id().to_string());
        std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        Ok(Self { serial: folder.join("serial.log"), messages: folder.join("qemu.log"), folder })
    }
}

fn configure(machine: &mut Machine, options: &RunOptions) -> Result<()> {
    machine.board = options.machine;
    machine.append.clone_from(&options.append);
    machine.memory.clone_from(&options.mem);
    machine.accel.clone_from(&options.accel);
    machine.icount = options.icount;
    machine.cpu.clone_from(&options.cpu);
    ensure!(!options.iommu || options.machine == Board::Q35, "only a q35 machine has an IOMMU");
    machine.iommu = options.iommu;
    machine.gdb = options.gdb;
    machine.reboot = !options.no_reboot;
    machine.capture.clone_from(&options.capture);
    machine.qmp = options.qmp.clone().map(Qmp::Listen);
    machine.net = match &options.net {
        WantedNet::User => Net::User(forwards::choose(&options.forwards)?),
        WantedNet::Tap(name) => {
            ensure!(
                options.forwards.is_empty(),
                "--forward is for --net user: on a tap every port is within reach"
            );
            let there = Path::new("/sys/class/net").join(name).exists();
            ensure!(there, "no network interface {name}; make one: ip tuntap add dev {name} mode tap");
            Net::Tap(name.clone())
        }
    };
    if let Some(folder) = &options.disks {
        let (system, others) = disk_images(folder)?
            .into_iter()
            .partition(|image| image.ends_with(hic_tests::disk::SYSTEM_IMAGE));
        (machine.system, machine.disks) = (Vec::into_iter(system).next(), others);
    }
    Ok(())
}

/// Gives the machine the repository disk of its profile, unless it has a kernel or disks of its own.
fn attach_repository(
    machine: &mut Machine,
    options: &RunOptions,
    builder: &mut Builder,
    files: &Files,
) -> Result<Option<disk::RunDisk>> {
    if options.kernel.is_some() || options.disks.is_some() {
        return Ok(None);
    }
    let Some(repository) = disk::of_profile(builder, &options.profile)? else { return Ok(None) };
    let disk = disk::for_run(&repository, &files.folder)?;
    machine.disks.push(disk.image.clone());
    machine.system = Some(disk.system.clone());
    Ok(Some(disk))
}

/// The `*.img` files in `folder`, in the order of their names.
fn disk_images(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let mut images = Vec::new();
    for entry in entries {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "img") {
            images.push(path);
        }
    }
    ensure!(!images.is_empty(), "no *.img file in {}", folder.display());
    images.sort();
    Ok(images)
}

/// Prints everything a user needs to know before the guest takes the terminal.
fn introduce(machine: &Machine, options: &RunOptions, files: &Files) -> Result<()> {
    if let Net::User(forwards) = &machine.net {
        for forward in forwards {
            let udp = if forward.proto == Proto::Udp { " (udp)" } else { "" };
            println!("forward 127.0.0.1:{} -> {}{udp}", forward.host, forward.guest);
        }
        if let Some(web) = forwards.iter().find(|forward| forward.guest == 80) {
            println!("try: curl http://127.0.0.1:{}/", web.host);
        }
    }
    if machine.gdb {
        println!(
            "the guest waits for a debugger: gdb {} -ex 'target remote :1234'",
            machine.kernel.display()
        );
    }
    match (&options.serial, options.headless) {
        (Some(path), _) => {
            println!("serial line: unix:{}; end this process to stop the guest", path.display())
        }
        (None, true) => {
            println!("serial log: {}; end this process to stop the guest", files.serial.display())
        }
        (None, false) => println!("leave QEMU with Ctrl-A X; its monitor is at Ctrl-A C"),
    }
    std::io::stdout().flush().context("cannot print")
}

/// The guest's serial line on this terminal.
fn interactive(mut machine: Machine, files: &Files) -> Result<Outcome> {
    let sockets = tempfile::Builder::new().prefix("hic-").tempdir()?;
    let path = sockets.path().join("serial");
    let listener = UnixListener::bind(&path)?;
    machine.serial = Serial::ConnectWithMonitor(path);
    let qemu = Qemu::start(&machine, None, &files.messages)?;
    let stream = vm::accept(&listener, &qemu, &files.messages)?;
    drop((listener, sockets));
    terminal::converse(&stream)?;
    qemu.wait(Duration::from_secs(10))
}

/// The guest without a terminal: its prompt is found in the log of the serial line.
fn headless(machine: &Machine, files: &Files) -> Result<Outcome> {
    let qemu = Qemu::start(machine, None, &files.messages)?;
    let mut watch = PromptWatch::default();
    let mut position = 0;
    loop {
        let outcome = qemu.ended()?;
        if !watch.seen() {
            watch.feed(&read_from(&files.serial, &mut position)?);
            if watch.seen() {
                println!("ready");
                std::io::stdout().flush()?;
            }
        }
        if let Some(outcome) = outcome {
            return Ok(outcome);
        }
        std::thread::sleep(LOOK);
    }
}

/// What `file` holds from `position` on, which then moves to its end. Nothing while there is no such file.
fn read_from(file: &Path, position: &mut u64) -> Result<Vec<u8>> {
    let Ok(mut file) = std::fs::File::open(file) else { return Ok(Vec::new()) };
    file.seek(SeekFrom::Start(*position))?;
    let mut bytes = Vec::new();
    *position += u64::try_from(file.read_to_end(&mut bytes)?)?;
    Ok(bytes)
}

/// Says how it ended.
fn conclude(outcome: Outcome, kernel: &Path, files: &Files) -> Result<()> {
    if outcome == Outcome::PowerOff {
        // Nothing in it that is worth keeping; leftovers would do no harm.
        let _ = std::fs::remove_dir_all(&files.folder);
        return Ok(());
    }
    let serial = std::fs::read(&files.serial).unwrap_or_default();
    let serial = text::plain(&serial);
    if !serial.is_empty() {
        eprintln!("--- the serial line ends ---\n{}\n---", text::tail(&serial, TAIL_LINES));
        eprint!("{}", backtrace::named(kernel, &serial));
    }
    let messages = std::fs::read_to_string(&files.messages).unwrap_or_default();
    bail!("{outcome} {} (logs: {})", messages.trim(), files.folder.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn disks_are_taken_in_the_order_of_their_names_and_other_files_left_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        for name in ["b.img", "a.img", "notes.txt"] {
            std::fs::write(folder.path().join(name), "").expect("written");
        }
        let images = disk_images(folder.path()).expect("two");
        assert_eq!(images, [folder.path().join("a.img"), folder.path().join("b.img")]);
        let empty = tempfile::tempdir().expect("a folder");
        assert!(disk_images(empty.path()).is_err());
    }

    #[test]
    fn a_growing_file_is_read_piece_by_piece() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("log");
        let mut position = 0;
        assert!(read_from(&file, &mut position).expect("no file yet").is_empty());
        std::fs::write(&file, "hic").expect("written");
        assert_eq!(read_from(&file, &mut position).expect("read"), b"hic");
        std::fs::write(&file, "hic> ").expect("written");
        assert_eq!(read_from(&file, &mut position).expect("read"), b"> ");
    }
}
