//! How clients on the host reach the guest: by user networking, or by a tap in a network namespace of our own.
//!
//! Everything that a client does goes through [`Network::spawn`], so the same client runs over both: its thread enters
//! the namespace first, and plain `std::net` sockets then live there.

mod bad_wire;
mod closing;
mod dhcp;
mod fragment;
mod gaps;
mod namespace;
pub mod pcap;
mod ports;
mod relay;
mod tshark;

pub use bad_wire::Impairment;
pub use fragment::send_first_fragment;
pub use gaps::{GapReport, Gaps, Window, read_gaps};
pub use namespace::{Namespace, remove_stale as remove_stale_namespaces};
pub use ports::free_port;
pub use tshark::{WireReport, check_capture};

use std::process::Command;
use std::thread::JoinHandle;

use anyhow::{Context, Result, anyhow, ensure};

use crate::qemu::{Forward, Net, Proto};

/// The guest's address: what QEMU's user networking hands out, what our DHCP server hands out, and the guest's static
/// fallback.
pub const GUEST_ADDRESS: [u8; 4] = [10, 0, 2, 15];

/// The host's address on the guest's network.
pub const HOST_ADDRESS: [u8; 4] = [10, 0, 2, 2];

/// Environment variable that, set to `user`, makes root test over user networking, as everybody else does.
pub const FORCE_USER: &str = "HIC_TEST_NET";

/// Stack of a client thread: hundreds run at once, and none recurses.
const CLIENT_STACK: usize = 256 * 1024;

/// A network between the host's clients and one guest.
#[derive(Debug)]
pub enum Network {
    /// QEMU's user networking.
    User,
    /// A tap device in a namespace, with a DHCP server of ours.
    Tap(Namespace),
}

impl Network {
    /// The best network that this process may have: a tap as root, user networking otherwise or where [`FORCE_USER`] asks for it.
    pub fn best() -> Result<Self> {
        let user = std::env::var_os(FORCE_USER).is_some_and(|value| value == "user");
        if is_root() && !user { Ok(Self::Tap(Namespace::create()?)) } else { Ok(Self::User) }
    }

    /// For the report.
    #[must_use]
    pub fn describe(&self) -> &'static str {
        match self {
            Self::User => "user networking",
            Self::Tap(namespace) => namespace.describe(),
        }
    }

    /// When our DHCP server granted or renewed a lease so far; nothing where QEMU's serves, whose leases outlive every test.
    #[must_use]
    pub fn leases(&self) -> Vec<std::time::Instant> {
        match self {
            Self::User => Vec::new(),
            Self::Tap(namespace) => namespace.leases(),
        }
    }

    /// The namespace's name.
    #[must_use]
    pub fn namespace(&self) -> Option<&str> {
        match self {
            Self::User => None,
            Self::Tap(namespace) => Some(namespace.name()),
        }
    }

    /// What the machine is connected to, so that `ports` of the guest can be reached.
    pub fn attach(&self, ports: &[(Proto, u16)]) -> Result<Net> {
        match self {
            Self::Tap(namespace) => Ok(namespace.attach()),
            Self::User => {
                let forward = |&(proto, guest)| Ok(Forward { proto, host: free_port(proto)?, guest });
                Ok(Net::User(ports.iter().map(forward).collect::<Result<_>>()?))
            }
        }
    }

    /// Runs `work` in a thread whose sockets are on this network.
    pub fn spawn<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<JoinHandle<Result<T>>> {
        let entry = match self {
            Self::User => None,
            Self::Tap(namespace) => Some(namespace.entry()?),
        };
        let enter_and_work = move || {
            if let Some(entry) = entry {
                entry.enter()?;
            }
            Ok(work())
        };
        let thread = std::thread::Builder::new().stack_size(CLIENT_STACK);
        thread.spawn(enter_and_work).context("cannot start a client thread")
    }

    /// Runs `work` on this network and waits for what it returns.
    pub fn run<T: Send + 'static>(&self, work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
        self.spawn(work)?.join().map_err(|_| anyhow!("a client thread panicked"))??
    }

    /// Runs `program` on this network to its end; an error unless it succeeds. Returns what it printed.
    pub fn output(&self, program: &str, args: &[&str]) -> Result<String> {
        let output =
            self.command(program).args(args).output().with_context(|| format!("cannot run {program}"))?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let errors = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "`{program} {}` failed: {text}{errors}", args.join(" "));
        Ok(text)
    }

    /// A command that runs on this network.
    #[must_use]
    pub fn command(&self, program: &str) -> Command {
        match self {
            Self::User => Command::new(program),
            Self::Tap(namespace) => namespace.command(program),
        }
    }
}

/// Whether this process may make namespaces and taps.
#[must_use]
pub fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}
