//! What can be asked for on the command line. Pure: words in, options or an explanation out.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use hic_tests::qemu::{Board, DEFAULT_MEMORY, Proto};

/// Builds, runs, tests and measures HIC.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", version, about, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Boot HIC in QEMU and connect you to its console.
    ///
    /// Before the boot it prints which host ports lead where and how to leave QEMU (Ctrl-A X); once the prompt is up, it
    /// prints a line `ready`. A kernel panic ends it with the last lines of the serial line and a non-zero status.
    Run(Box<RunOptions>),
    /// Check formatting and lints, run the host tests, boot the system tests, check docs/coverage.md.
    ///
    /// The last line is always `N passed, N failed`. Logs of a failed system test are kept in
    /// target/hic/test-logs/NAME/.
    Test(TestOptions),
    /// The slow form of system tests that have one: a full sweep of the points at which something is killed, or many updates.
    Soak(SoakOptions),
    /// Take each check of the kernel and of what judges modules out, one at a time, and see whether its test notices
    /// (kernel/mutations.toml, and the files of this name below libs).
    Mutate(MutateOptions),
    /// Measure the kernel in guest instructions; prints a table and writes target/bench/report.json.
    Bench(BenchOptions),
    /// What the continuous integration runs: `test`, with Cargo.lock as it is committed.
    Ci,
    /// Build the kernel and the boot archive and name the files.
    Image(ImageOptions),
    /// Remove everything that was built, and network namespaces that a killed test has left behind.
    Clean,
}

/// Options of `run`.
#[derive(Args, Debug)]
pub struct RunOptions {
    /// Use no terminal: the serial line goes to a log file, or to --serial. Ends with the guest or with this process.
    #[arg(long)]
    pub headless: bool,
    /// Offer the guest's serial line on this UNIX socket (implies --headless).
    #[arg(long, value_name = "unix:PATH", value_parser = unix_path)]
    pub serial: Option<PathBuf>,
    /// Offer QEMU's machine protocol on this UNIX socket.
    #[arg(long, value_name = "unix:PATH", value_parser = unix_path)]
    pub qmp: Option<PathBuf>,
    /// Lead a port of 127.0.0.1 to a port of the guest; repeatable. Host port 0 picks a free one. TCP, or UDP with
    /// `udp:HOST:GUEST`. Replaces the default forward to the same guest port.
    #[arg(long = "forward", value_name = "HOST:GUEST", value_parser = forward)]
    pub forwards: Vec<WantedForward>,
    /// The guest's network: QEMU's user networking, or a tap device that exists already.
    #[arg(long, value_name = "user|tap:NAME", default_value = "user", value_parser = net)]
    pub net: WantedNet,
    /// Attach every *.img file in this folder as a virtio disk, in the order of their names.
    #[arg(long, value_name = "DIR")]
    pub disks: Option<PathBuf>,
    /// How the kernel is loaded: by QEMU itself, or by GRUB from an ISO image that BIOS or UEFI firmware boots.
    #[arg(long, value_name = "kernel|bios|uefi", default_value = "kernel", value_parser = loader, conflicts_with = "kernel")]
    pub boot: Loader,
    /// QEMU's machine type.
    #[arg(long, value_name = "q35|pc|microvm", default_value = "q35", value_parser = board)]
    pub machine: Board,
    /// The processor, as QEMU's `-cpu` wants it, for example qemu64 or max,-smap.
    #[arg(long, value_name = "MODEL", default_value = "max")]
    pub cpu: String,
    /// Memory of the guest, in QEMU's notation.
    #[arg(long, value_name = "SIZE", default_value = DEFAULT_MEMORY)]
    pub mem: String,
    /// QEMU's accelerator, for example tcg or kvm.
    #[arg(long, value_name = "NAME", default_value = "tcg")]
    pub accel: String,
    /// Let the guest's clock advance by one nanosecond for each instruction.
    #[arg(long, conflicts_with = "gdb")]
    pub icount: bool,
    /// Let an IOMMU confine what the devices reach in memory.
    #[arg(long)]
    pub iommu: bool,
    /// Write what passes the guest's wire to this pcap file.
    #[arg(long, value_name = "FILE")]
    pub capture: Option<PathBuf>,
    /// Wait for a debugger on 127.0.0.1:1234 before the first instruction.
    #[arg(long)]
    pub gdb: bool,
    /// End QEMU instead of starting the guest again when it is reset.
    #[arg(long)]
    pub no_reboot: bool,
    /// Boot the modules of this profile of qemu/modules.toml.
    #[arg(long, value_name = "NAME", default_value = crate::profiles::DEFAULT)]
    pub profile: String,
    /// Boot this kernel, without a boot archive, instead of building ours.
    #[arg(long, value_name = "FILE", conflicts_with = "profile")]
    pub kernel: Option<PathBuf>,
    /// The kernel's command line.
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub append: String,
}

/// Options of `test`.
#[derive(Args, Debug, Default)]
pub struct TestOptions {
    /// Run only the system tests whose name contains this; if none does, the host tests whose name contains it.
    pub filter: Option<String>,
    /// Name the system tests and run nothing.
    #[arg(long)]
    pub list: bool,
    /// Refuse to change Cargo.lock.
    #[arg(long)]
    pub locked: bool,
}

/// Options of `soak`.
#[derive(Args, Debug)]
pub struct SoakOptions {
    /// Run the system tests whose name contains this; `model` compares the kernel with its reference model, `decoders` fuzzes what reads bytes from
    /// outside, `decoders/NAME` one of them.
    #[arg(default_value = "crash_anywhere")]
    pub filter: String,
    /// Points at which each victim is killed; rounds of updates; ten thousands of steps of the model; seconds for each decoder.
    #[arg(long, default_value_t = 400)]
    pub points: u32,
}

/// Options of `mutate`.
#[derive(Args, Debug)]
pub struct MutateOptions {
    /// Only those whose name, or whose test's name, contains this.
    pub filter: Option<String>,
    /// Only those that a host test notices: seconds each, no machine is booted.
    #[arg(long)]
    pub host: bool,
}

/// Options of `bench`.
#[derive(Args, Debug)]
pub struct BenchOptions {
    /// The profile of qemu/modules.toml that measures.
    #[arg(long, value_name = "NAME", default_value = "bench")]
    pub profile: String,
    /// Leave out the comparison with a Linux guest, whose parts are fetched from Debian.
    #[arg(long)]
    pub no_linux: bool,
    /// Measure this part alone; repeatable. The report then has no other figures.
    #[arg(long = "only", value_name = "PART")]
    pub only: Vec<BenchPart>,
}

impl BenchOptions {
    /// Whether a part is asked for.
    pub fn wants(&self, part: BenchPart) -> bool {
        let left_out = part == BenchPart::Linux && self.no_linux;
        !left_out && (self.only.is_empty() || self.only.contains(&part))
    }
}

/// What `bench` measures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum BenchPart {
    /// The kernel's operations.
    Kernel,
    /// What a question to the dependency resolver costs, in instructions of the host.
    Resolver,
    /// What verifying and loading a large module costs, by step, and beside openssl.
    Modules,
    /// What an update costs.
    Update,
    /// What clients notice of it.
    Clients,
    /// Bulk TCP echo beside a Linux guest.
    Linux,
}

/// Options of `image`.
#[derive(Args, Debug)]
pub struct ImageOptions {
    /// Build these profiles of qemu/modules.toml; repeatable.
    #[arg(long = "profile", value_name = "NAME", default_value = crate::profiles::DEFAULT)]
    pub profiles: Vec<String>,
    /// Build every profile.
    #[arg(long)]
    pub all: bool,
    /// Also make an ISO image that GRUB boots on a PC, from BIOS or UEFI, with its console on the first serial port.
    #[arg(long)]
    pub iso: bool,
    /// Where to put the ISO image of a single profile, instead of target/hic/hic-PROFILE.iso.
    #[arg(long, value_name = "FILE", requires = "iso", conflicts_with = "all")]
    pub out: Option<PathBuf>,
}

/// What loads the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loader {
    Qemu,
    Bios,
    Uefi,
}

/// A forward as it was asked for: host port 0 means any.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WantedForward {
    pub proto: Proto,
    pub host: u16,
    pub guest: u16,
}

/// A network as it was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WantedNet {
    User,
    Tap(String),
}

fn unix_path(text: &str) -> Result<PathBuf, String> {
    match text.strip_prefix("unix:") {
        Some(path) if !path.is_empty() => Ok(PathBuf::from(path)),
        _ => Err("write unix:PATH, for example unix:/tmp/hic.sock".to_owned()),
    }
}

fn loader(text: &str) -> Result<Loader, String> {
    match text {
        "kernel" => Ok(Loader::Qemu),
        "bios" => Ok(Loader::Bios),
        "uefi" => Ok(Loader::Uefi),
        _ => Err("write kernel, bios or uefi".to_owned()),
    }
}

fn board(text: &str) -> Result<Board, String> {
    match text {
        "q35" => Ok(Board::Q35),
        "microvm" => Ok(Board::Microvm),
        "pc" => Ok(Board::Pc),
        _ => Err("write q35, pc or microvm".to_owned()),
    }
}

fn forward(text: &str) -> Result<WantedForward, String> {
    let (proto, ports) = match text.split_once(':') {
        Some(("udp", ports)) => (Proto::Udp, ports),
        Some(("tcp", ports)) => (Proto::Tcp, ports),
        _ => (Proto::Tcp, text),
    };
    let wrong = || "write HOST:GUEST, for example 8080:80, or 0:80 for any free host port".to_owned();
    let (host, guest) = ports.split_once(':').ok_or_else(wrong)?;
    match (host.parse(), guest.parse()) {
        (Ok(_), Ok(0)) => Err("the guest has no port 0".to_owned()),
        (Ok(host), Ok(guest)) => Ok(WantedForward { proto, host, guest }),
        _ => Err(wrong()),
    }
}

/// An interface name of Linux holds at most this many bytes.
const LONGEST_INTERFACE_NAME: usize = 15;

fn net(text: &str) -> Result<WantedNet, String> {
    match (text, text.strip_prefix("tap:")) {
        ("user", _) => Ok(WantedNet::User),
        (_, Some(name))
            if (1..=LONGEST_INTERFACE_NAME).contains(&name.len()) && !name.contains([',', '/', ' ']) =>
        {
            Ok(WantedNet::Tap(name.to_owned()))
        }
        (_, Some(name)) => Err(format!("`{name}` cannot be the name of a network interface")),
        _ => Err("write user, or tap:NAME with the name of a tap device, for example tap:tap0".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(words: &str) -> Result<RunOptions, clap::Error> {
        let words = ["xtask", "run"].into_iter().chain(words.split_whitespace());
        match Cli::try_parse_from(words)?.command {
            Command::Run(options) => Ok(*options),
            other => panic!("parsed as {other:?}"),
        }
    }

    #[test]
    fn every_flag_of_run_is_understood() {
        let options =
            run("--headless --serial unix:/s --qmp unix:/q --forward 0:80 --forward udp:8007:7 --net user \
             --machine microvm --disks /d --mem 512M --accel kvm --capture /c --gdb --no-reboot --append quiet")
            .expect("all are known");
        assert_eq!(options.serial, Some("/s".into()));
        assert_eq!(options.forwards[0], WantedForward { proto: Proto::Tcp, host: 0, guest: 80 });
        assert_eq!(options.forwards[1], WantedForward { proto: Proto::Udp, host: 8007, guest: 7 });
        assert_eq!((options.machine, options.boot), (Board::Microvm, Loader::Qemu));
        assert_eq!(
            (run("--cpu EPYC").expect("known").cpu, run("--machine pc").expect("known").machine),
            ("EPYC".into(), Board::Pc)
        );
        assert_eq!(run("--boot uefi").expect("known").boot, Loader::Uefi);
        assert!(run("--icount").expect("known").icount && run("--iommu").expect("known").iommu);
        assert_eq!(run("--net tap:tap0").expect("known").net, WantedNet::Tap("tap0".into()));
    }

    #[test]
    fn wrong_values_are_answered_with_right_ones() {
        for (words, hint) in [
            ("--serial /tmp/s", "unix:PATH"),
            ("--forward 80", "8080:80"),
            ("--forward 70000:80", "8080:80"),
            ("--forward 8080:0", "no port 0"),
            ("--net bridge", "tap:NAME"),
            ("--machine pc98", "q35, pc or microvm"),
            ("--boot floppy", "kernel, bios or uefi"),
            ("--net tap:a-name-that-is-too-long", "name of a network interface"),
        ] {
            let error = run(words).expect_err(words).to_string();
            assert!(error.contains(hint), "{words}: {error}");
        }
    }

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }
}
