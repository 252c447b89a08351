//! The machine, as a QEMU command line. Pure: a [`Machine`] goes in, arguments come out.
//!
//! q35 (or microvm, or pc) with nothing that was not asked for (`-nodefaults`), so that a default of some other QEMU version cannot change
//! what is tested. virtio is modern only: the guest has no driver for the legacy layout.

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};

/// The program that is started.
pub const PROGRAM: &str = "qemu-system-x86_64";

/// UEFI firmware for a machine that boots from a medium, with its variables in memory.
pub const UEFI: &str = "/usr/share/ovmf/OVMF.fd";

/// Memory of the machine when nobody says otherwise, in QEMU's notation.
pub const DEFAULT_MEMORY: &str = "512M";

/// A transport protocol that user networking can forward.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Proto {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

impl fmt::Display for Proto {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        })
    }
}

/// One host port of 127.0.0.1 that leads to a port of the guest. Both are real ports, never 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forward {
    /// TCP or UDP.
    pub proto: Proto,
    /// Port on the host's loopback address.
    pub host: u16,
    /// Port in the guest.
    pub guest: u16,
}

/// How the machine is connected to a network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Net {
    /// No network device at all.
    None,
    /// QEMU's user networking: no privilege needed, the guest is reached by forwards.
    User(Vec<Forward>),
    /// A tap device that exists already.
    Tap(String),
    /// Each frame as one datagram: received on the socket `local`, sent to the socket `remote`.
    Datagrams {
        /// Made by QEMU.
        local: PathBuf,
        /// Exists already.
        remote: PathBuf,
    },
}

/// Where the guest's first serial line goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Serial {
    /// QEMU connects to a socket on which we listen, so not one byte of the boot is lost.
    Connect(PathBuf),
    /// The same, with QEMU's own escape (Ctrl-A x, Ctrl-A c) and monitor behind it.
    ConnectWithMonitor(PathBuf),
    /// QEMU listens; who wants may connect, at any time.
    Listen(PathBuf),
    /// Nowhere but the log.
    LogOnly,
}

/// Where QEMU's machine protocol is spoken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Qmp {
    /// QEMU connects to a socket on which we listen.
    Connect(PathBuf),
    /// QEMU listens.
    Listen(PathBuf),
}

/// The machine type.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Board {
    /// A PC with PCI Express.
    #[default]
    Q35,
    /// QEMU's small machine for virtual machines alone.
    Microvm,
    /// A PC of before PCI Express (i440FX).
    Pc,
}

/// A medium to boot from, and the firmware that does it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Medium {
    /// The ISO image.
    pub iso: PathBuf,
    /// UEFI firmware; `None` = SeaBIOS, which QEMU brings.
    pub firmware: Option<PathBuf>,
}

/// Everything that makes one run of the guest.
#[derive(Clone, Debug)]
pub struct Machine {
    /// The machine type.
    pub board: Board,
    /// The processor, as QEMU's `-cpu` wants it: a model, with what it shall have and lack.
    pub cpu: String,
    /// The kernel, an ELF with a PVH note. On a machine with a medium it only gives names to addresses.
    pub kernel: PathBuf,
    /// What is booted instead of `kernel` and `archive`.
    pub medium: Option<Medium>,
    /// The boot archive.
    pub archive: Option<PathBuf>,
    /// The kernel's command line.
    pub append: String,
    /// Memory, in QEMU's notation (`256M`).
    pub memory: String,
    /// QEMU accelerator (`tcg`, `kvm`).
    pub accel: String,
    /// Count one virtual nanosecond for each guest instruction: the unit of the benchmarks.
    pub icount: bool,
    /// Whether a reset starts the guest again; otherwise QEMU ends.
    pub reboot: bool,
    /// The network.
    pub net: Net,
    /// Write what passes the guest's wire to this pcap file.
    pub capture: Option<PathBuf>,
    /// The raw image of the system disk. It comes first, and its serial number says what it is.
    pub system: Option<PathBuf>,
    /// Raw disk images, attached as virtio disks in this order.
    pub disks: Vec<PathBuf>,
    /// Let an IOMMU stand between the devices and memory; the virtio devices then go through it.
    pub iommu: bool,
    /// More devices, each with its properties as QEMU's `-device` wants them.
    pub devices: Vec<String>,
    /// What the battery-backed clock says at the start, as QEMU's `-rtc base=` wants it: `utc` is the host's time.
    pub clock: String,
    /// Wait for a debugger on TCP port 1234 before the first instruction.
    pub gdb: bool,
    /// Wait for the machine protocol's `cont` before the first instruction.
    pub paused: bool,
    /// The serial line.
    pub serial: Serial,
    /// A file that keeps what the guest wrote to the serial line.
    pub serial_log: Option<PathBuf>,
    /// The machine protocol.
    pub qmp: Option<Qmp>,
}

impl Machine {
    /// A machine that boots `kernel` with the defaults and without a network.
    #[must_use]
    pub fn new(kernel: &Path) -> Self {
        Self {
            board: Board::Q35,
            cpu: "max".to_owned(),
            kernel: kernel.to_owned(),
            medium: None,
            archive: None,
            append: String::new(),
            memory: DEFAULT_MEMORY.to_owned(),
            accel: "tcg".to_owned(),
            icount: false,
            reboot: false,
            net: Net::None,
            capture: None,
            system: None,
            disks: Vec::new(),
            iommu: false,
            devices: Vec::new(),
            clock: "utc".to_owned(),
            gdb: false,
            paused: false,
            serial: Serial::LogOnly,
            serial_log: None,
            qmp: None,
        }
    }

    /// The arguments for [`PROGRAM`].
    #[must_use]
    pub fn args(&self) -> Vec<OsString> {
        let mut args = Args(Vec::new());
        args.words(match self.board {
            Board::Q35 => "-machine q35",
            Board::Pc => "-machine pc",
            // Off by default there, and our network needs them: PCI Express, which is found by ACPI. The legacy timer is the yardstick of
            // the clock, and an option ROM is how QEMU puts the kernel into a machine without direct access to its files.
            Board::Microvm => "-machine microvm,acpi=on,pcie=on,pit=on,rtc=on,x-option-roms=on",
        });
        args.pair("-cpu", &self.cpu);
        // One processor, of a machine that could have two: for a machine that cannot, QEMU's emulator leaves every memory barrier out, and makes
        // locked instructions plain ones, though its devices run beside the processor (docs/adr/0040-barriers-under-emulation.md).
        args.words("-smp 1,maxcpus=2 -nodefaults -no-user-config -display none");
        args.pair("-rtc", format!("base={}", self.clock));
        args.words("-device isa-debug-exit,iobase=0xf4,iosize=4");
        // KVM's own interrupt controllers do not know what an IOMMU makes of an interrupt; half of them must be QEMU's.
        let split = if self.iommu && self.accel == "kvm" { ",kernel-irqchip=split" } else { "" };
        args.pair("-accel", format!("{}{split}", self.accel));
        args.pair("-m", &self.memory);
        match &self.medium {
            Some(medium) => medium_args(medium, &mut args),
            None => self.kernel_args(&mut args),
        }
        if !self.reboot {
            args.words("-no-reboot");
        }
        if self.icount {
            args.words("-icount shift=0");
        }
        if self.gdb {
            args.words("-s -S");
        }
        if self.paused {
            args.words("-S");
        }
        if self.iommu {
            // Before the devices that it stands in front of.
            args.words("-device intel-iommu,intremap=on");
        }
        self.serial_args(&mut args);
        self.qmp_args(&mut args);
        self.net_args(&mut args);
        self.disk_args(&mut args);
        for device in &self.devices {
            args.pair("-device", device);
        }
        args.0
    }

    fn kernel_args(&self, args: &mut Args) {
        args.pair("-kernel", &self.kernel);
        if let Some(archive) = &self.archive {
            args.pair("-initrd", archive);
        }
        if !self.append.is_empty() {
            args.pair("-append", &self.append);
        }
    }

    /// Properties of every virtio device: modern only, and behind the IOMMU where there is one.
    fn virtio(&self) -> &'static str {
        if self.iommu { "disable-legacy=on,iommu_platform=on" } else { "disable-legacy=on" }
    }

    fn serial_args(&self, args: &mut Args) {
        let mut chardev = match &self.serial {
            Serial::Connect(path) => with_path("socket,id=ser0,server=off,path=", path),
            Serial::ConnectWithMonitor(path) => with_path("socket,id=ser0,server=off,mux=on,path=", path),
            Serial::Listen(path) => with_path("socket,id=ser0,server=on,wait=off,path=", path),
            Serial::LogOnly => OsString::from("null,id=ser0"),
        };
        if let Some(log) = &self.serial_log {
            chardev.push(with_path(",logappend=off,logfile=", log));
        }
        args.pair("-chardev", chardev);
        args.words("-serial chardev:ser0");
        if matches!(self.serial, Serial::ConnectWithMonitor(_)) {
            args.words("-mon chardev=ser0,mode=readline");
        }
    }

    fn qmp_args(&self, args: &mut Args) {
        let chardev = match &self.qmp {
            None => return,
            Some(Qmp::Connect(path)) => with_path("socket,id=qmp0,server=off,path=", path),
            Some(Qmp::Listen(path)) => with_path("socket,id=qmp0,server=on,wait=off,path=", path),
        };
        args.pair("-chardev", chardev);
        args.words("-mon chardev=qmp0,mode=control");
    }

    fn net_args(&self, args: &mut Args) {
        let netdev = match &self.net {
            Net::None => return,
            Net::User(forwards) => {
                let mut netdev = OsString::from("user,id=net0");
                for Forward { proto, host, guest } in forwards {
                    netdev.push(format!(",hostfwd={proto}:127.0.0.1:{host}-:{guest}"));
                }
                netdev
            }
            Net::Tap(name) => format!("tap,id=net0,ifname={name},script=no,downscript=no").into(),
            Net::Datagrams { local, remote } => {
                let mut netdev = with_path("dgram,id=net0,local.type=unix,local.path=", local);
                netdev.push(with_path(",remote.type=unix,remote.path=", remote));
                netdev
            }
        };
        args.pair("-netdev", netdev);
        // No option ROM: it only serves network boot, and is a package of its own on Debian.
        args.pair("-device", format!("virtio-net-pci,netdev=net0,{},romfile=", self.virtio()));
        if let Some(capture) = &self.capture {
            args.pair("-object", with_path("filter-dump,id=dump0,netdev=net0,file=", capture));
        }
    }

    fn disk_args(&self, args: &mut Args) {
        if let Some(system) = &self.system {
            args.pair("-drive", with_path("if=none,id=system,format=raw,file=", system));
            args.pair("-device", format!("virtio-blk-pci,drive=system,serial=hic-system,{}", self.virtio()));
        }
        for (index, disk) in self.disks.iter().enumerate() {
            args.pair("-drive", with_path(&format!("if=none,id=disk{index},format=raw,file="), disk));
            args.pair("-device", format!("virtio-blk-pci,drive=disk{index},{}", self.virtio()));
        }
    }
}

fn medium_args(medium: &Medium, args: &mut Args) {
    if let Some(firmware) = &medium.firmware {
        args.pair("-bios", firmware);
    }
    args.pair("-drive", with_path("if=none,id=cd0,media=cdrom,format=raw,readonly=on,file=", &medium.iso));
    args.words("-device ide-cd,drive=cd0,bootindex=0");
}

/// Collects arguments.
struct Args(Vec<OsString>);

impl Args {
    /// Adds the blank-separated `words`.
    fn words(&mut self, words: &str) {
        self.0.extend(words.split(' ').map(OsString::from));
    }

    /// Adds an option with its value.
    fn pair(&mut self, option: &str, value: impl Into<OsString>) {
        self.0.push(option.into());
        self.0.push(value.into());
    }
}

/// `prefix` and `path`, with commas doubled: a single one would end the value in QEMU's option syntax.
fn with_path(prefix: &str, path: &Path) -> OsString {
    let mut out = OsString::from(prefix);
    match path.to_str() {
        Some(text) => out.push(text.replace(',', ",,")),
        None => out.push(path),
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(machine: &Machine) -> String {
        machine.args().iter().map(|arg| arg.to_string_lossy()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn a_machine_has_only_what_was_asked_for() {
        let line = line(&Machine::new(Path::new("/k")));
        assert!(line.contains("-kernel /k") && line.contains("-m 512M") && line.contains("-no-reboot"));
        assert!(
            line.contains("-smp 1,maxcpus=2 "),
            "an emulated machine that can have one processor only has no barriers: {line}"
        );
        for absent in ["-netdev", "-initrd", "-append", "-icount", "-drive", "-s -S", "-mon", "filter-dump"] {
            assert!(!line.contains(absent), "{absent} in {line}");
        }
    }

    #[test]
    fn a_medium_takes_the_place_of_kernel_and_archive() {
        let mut machine = Machine::new(Path::new("/k"));
        machine.archive = Some("/a".into());
        machine.medium = Some(Medium { iso: "/hic,1.iso".into(), firmware: Some("/uefi.fd".into()) });
        let line = line(&machine);
        assert!(line.contains("-bios /uefi.fd") && line.contains("file=/hic,,1.iso"), "{line}");
        assert!(!line.contains("-kernel") && !line.contains("-initrd"), "{line}");
    }

    #[test]
    fn forwards_and_capture_belong_to_the_network_device() {
        let mut machine = Machine::new(Path::new("/k"));
        machine.net = Net::User(vec![Forward { proto: Proto::Udp, host: 8007, guest: 7 }]);
        machine.capture = Some("/a,b.pcap".into());
        let line = line(&machine);
        assert!(line.contains("hostfwd=udp:127.0.0.1:8007-:7"), "{line}");
        assert!(line.contains("virtio-net-pci,netdev=net0,disable-legacy=on"), "{line}");
        assert!(line.contains("file=/a,,b.pcap"), "{line}");
    }

    #[test]
    fn the_monitor_shares_the_line_only_in_interactive_use() {
        let mut machine = Machine::new(Path::new("/k"));
        machine.serial = Serial::ConnectWithMonitor("/s".into());
        assert!(line(&machine).contains("mux=on,path=/s"));
        machine.serial = Serial::Listen("/s".into());
        machine.serial_log = Some("/l".into());
        let line = line(&machine);
        assert!(line.contains("server=on,wait=off,path=/s,logappend=off,logfile=/l"), "{line}");
        assert!(!line.contains("-mon"));
    }

    #[test]
    fn behind_an_iommu_every_virtio_device_goes_through_it() {
        let mut machine = Machine::new(Path::new("/k"));
        (machine.net, machine.disks) = (Net::User(Vec::new()), vec!["/a.img".into()]);
        assert!(!line(&machine).contains("iommu"));
        (machine.iommu, machine.devices) = (true, vec!["edu,dma_mask=255".into()]);
        let line = line(&machine);
        assert_eq!(line.matches("iommu_platform=on").count(), 2, "{line}");
        let (iommu, card) = (line.find("intel-iommu"), line.find("virtio-net-pci"));
        assert!(iommu.is_some() && iommu < card, "{line}");
        assert!(line.ends_with("-device edu,dma_mask=255"), "{line}");
        assert!(line.contains("intremap=on") && line.contains("-accel tcg "), "{line}");
    }

    #[test]
    fn under_kvm_interrupts_can_be_remapped_too() {
        let mut machine = Machine::new(Path::new("/k"));
        machine.accel = "kvm".to_owned();
        assert!(line(&machine).contains("-accel kvm "));
        machine.iommu = true;
        assert!(line(&machine).contains("-accel kvm,kernel-irqchip=split "));
    }

    #[test]
    fn disks_keep_their_order() {
        let mut machine = Machine::new(Path::new("/k"));
        machine.disks = vec!["/a.img".into(), "/b.img".into()];
        let line = line(&machine);
        assert!(line.contains("id=disk0,format=raw,file=/a.img") && line.contains("drive=disk1"), "{line}");
    }
}
