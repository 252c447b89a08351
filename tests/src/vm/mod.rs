//! One running guest: its serial line, its console, its machine protocol, and how its ports are reached.

mod console;
mod qmp;
mod serial;

pub use console::Console;
pub use qmp::QmpClient;
pub use serial::SerialLine;

use std::net::SocketAddr;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::backtrace;
use crate::net::Network;
use crate::process::{Killer, Outcome, Qemu};
use crate::qemu::{Machine, Net, Proto, Qmp, Serial};
use crate::text;

/// How long QEMU may take to connect to our sockets.
const CONNECT: Duration = Duration::from_secs(120);

/// How long a boot may take before it counts as hung: far above the second or so that it needs, since CI machines stall.
pub const BOOT_TIMEOUT: Duration = Duration::from_secs(300);

/// Lines of the serial line that an error carries.
const TAIL_LINES: usize = 40;

/// What to boot and where to leave what it wrote.
#[derive(Debug)]
pub struct VmOptions {
    /// The machine; its serial line, log and QMP are filled in by [`Vm::boot`].
    pub machine: Machine,
    /// Guest ports that clients will want, when they can only be reached by forwards.
    pub ports: Vec<(Proto, u16)>,
    /// Folder for `serial.log`, `qemu.log` and `qemu-args.txt`.
    pub log_dir: PathBuf,
    /// Added to the names of these files, for tests that boot several machines.
    pub tag: String,
}

/// A guest that runs. Dropping it ends it.
#[derive(Debug)]
pub struct Vm {
    qemu: Qemu,
    serial: SerialLine,
    qmp: QmpClient,
    net: Net,
    kernel: PathBuf,
    _sockets: tempfile::TempDir,
}

impl Vm {
    /// Starts the guest on `network` (`None`: no network device) and returns as soon as QEMU runs.
    pub fn boot(mut options: VmOptions, network: Option<&Network>) -> Result<Self> {
        // In the system's folder for temporary files, since a socket's path holds at most 107 bytes.
        let sockets = tempfile::Builder::new().prefix("hic-").tempdir()?;
        let serial_path = sockets.path().join("serial");
        let qmp_path = sockets.path().join("qmp");
        let file = |name: &str| options.log_dir.join(format!("{}{name}", options.tag));
        std::fs::create_dir_all(&options.log_dir)?;
        let machine = &mut options.machine;
        if let Some(network) = network {
            machine.net = network.attach(&options.ports)?;
        }
        machine.serial = Serial::Connect(serial_path.clone());
        machine.serial_log = Some(file("serial.log"));
        machine.qmp = Some(Qmp::Connect(qmp_path.clone()));
        let serial = UnixListener::bind(&serial_path)?;
        let qmp = UnixListener::bind(&qmp_path)?;
        std::fs::write(file("qemu-args.txt"), describe(machine))?;

        let messages = file("qemu.log");
        let qemu = Qemu::start(machine, network.and_then(Network::namespace), &messages)?;
        let serial = accept(&serial, &qemu, &messages)?;
        let qmp = accept(&qmp, &qemu, &messages)?;
        Ok(Self {
            serial: SerialLine::new(serial)?,
            qmp: QmpClient::new(qmp)?,
            net: options.machine.net,
            kernel: options.machine.kernel,
            qemu,
            _sockets: sockets,
        })
    }

    /// The console, once the guest shows its first prompt.
    pub fn console(&self) -> Result<Console<'_>> {
        self.wait_for(text::PROMPT, BOOT_TIMEOUT)?;
        Ok(Console::new(&self.serial))
    }

    /// Waits until `text` was seen on the serial line since boot and returns all that was seen up to then.
    pub fn wait_for(&self, text: &str, timeout: Duration) -> Result<String> {
        let found = self.serial.wait(0, timeout, |seen| seen.contains(text).then(|| seen.to_owned()));
        found.with_context(|| self.explain(&format!("`{text}` did not appear on the serial line")))
    }

    /// What the guest wrote to its serial line so far, without escapes.
    #[must_use]
    pub fn serial_text(&self) -> String {
        self.serial.text_from(0)
    }

    /// The serial line, for a test that reads more than one word of it.
    #[must_use]
    pub fn serial(&self) -> &SerialLine {
        &self.serial
    }

    /// The machine protocol.
    pub fn qmp(&mut self) -> &mut QmpClient {
        &mut self.qmp
    }

    /// Starts a capture of the guest's wire from now on. Only the headers of each packet are kept.
    pub fn start_capture(&mut self, file: &Path) -> Result<()> {
        /// Enough for Ethernet, IPv4 and TCP with all their options.
        const HEADERS: u32 = 128;
        let arguments = serde_json::json!({
            "qom-type": "filter-dump", "id": "dump0", "netdev": "net0", "file": file, "maxlen": HEADERS,
        });
        self.qmp.execute("object-add", arguments).map(drop)
    }

    /// Writes the guest's memory to `file`, as it is at one instant: the guest stands still meanwhile.
    pub fn dump_memory(&mut self, file: &Path) -> Result<()> {
        let summary = self.qmp.execute("query-memory-size-summary", serde_json::json!({}))?;
        let size = summary["base-memory"].as_u64().context("QEMU does not say how much memory there is")?;
        let arguments = serde_json::json!({ "val": 0, "size": size, "filename": file });
        self.qmp.execute("pmemsave", arguments).map(drop)
    }

    /// Waits for the guest's end.
    pub fn wait_exit(&self, timeout: Duration) -> Result<Outcome> {
        self.qemu.wait(timeout)
    }

    /// An error if the guest has ended although nobody asked it to.
    pub fn check_alive(&self) -> Result<()> {
        match self.qemu.ended()? {
            None => Ok(()),
            Some(outcome) => bail!("{}", self.explain(&outcome.to_string())),
        }
    }

    /// The whole emulator stands still for so long, as on a host that is overloaded: the guest's clocks go on.
    pub fn stall(&self, length: Duration) -> Result<()> {
        self.qemu.stall(length)
    }

    /// A handle to end it from another thread.
    #[must_use]
    pub fn killer(&self) -> Killer {
        self.qemu.killer()
    }

    /// Where a client reaches `port` of the guest.
    pub fn endpoint(&self, proto: Proto, port: u16) -> Result<SocketAddr> {
        match &self.net {
            Net::None => bail!("this machine has no network"),
            Net::Tap(_) | Net::Datagrams { .. } => Ok(SocketAddr::from((crate::net::GUEST_ADDRESS, port))),
            Net::User(forwards) => forwards
                .iter()
                .find(|forward| forward.proto == proto && forward.guest == port)
                .map(|forward| SocketAddr::from(([127, 0, 0, 1], forward.host)))
                .with_context(|| format!("{proto} port {port} of the guest was not asked for at boot")),
        }
    }

    fn explain(&self, what: &str) -> String {
        let serial = self.serial_text();
        let tail = text::tail(&serial, TAIL_LINES);
        let named = backtrace::named(&self.kernel, &serial);
        format!("{what}; the serial line ends:\n{tail}\n{named}")
    }
}

/// The command line in a form that can be pasted into a shell.
fn describe(machine: &Machine) -> String {
    let words: Vec<String> =
        machine.args().iter().map(|arg| format!("'{}'", arg.to_string_lossy())).collect();
    format!("{} {}\n", crate::qemu::PROGRAM, words.join(" "))
}

/// Waits for QEMU to connect, or to fail.
pub fn accept(listener: &UnixListener, qemu: &Qemu, messages: &Path) -> Result<UnixStream> {
    listener.set_nonblocking(true)?;
    let deadline = Instant::now() + CONNECT;
    loop {
        match listener.accept() {
            Ok((stream, _)) => {
                stream.set_nonblocking(false)?;
                return Ok(stream);
            }
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error.into()),
        }
        if let Some(outcome) = qemu.ended()? {
            bail!("{outcome}: {}", std::fs::read_to_string(messages).unwrap_or_default().trim());
        }
        if Instant::now() >= deadline {
            bail!("QEMU did not connect within {CONNECT:?}");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}
