//! A network namespace with one tap device, made for one test and taken away with it.
//!
//! Root only. The guest's side is [`super::GUEST_ADDRESS`], ours [`super::HOST_ADDRESS`]; a namespace of its own lets
//! every test use the same addresses, and keeps the host's own network out of it.

use std::fs::File;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use nix::sched::{CloneFlags, setns};

use super::bad_wire::Impairment;
use super::dhcp::{self, DhcpServer};
use super::relay::Relay;
use crate::qemu::Net;

/// The tap's name inside its namespace.
pub(super) const TAP: &str = "tap0";

/// The device through which the guest's packets are led while the wire is impaired.
const MIRROR: &str = "ifb0";

/// Packets that may wait for the guest at the tap: more than any test has under way, so the host drops none and every
/// gap in a capture is the guest's.
const QUEUE: &str = "10000";

/// All names begin so; the number of the process that owns it follows.
const PREFIX: &str = "hic-";

/// The namespace. Dropping it removes it with all that is in it.
#[derive(Debug)]
pub struct Namespace {
    name: String,
    wire: Wire,
    dhcp: DhcpServer,
}

/// What is between the tap and the guest.
#[derive(Debug)]
enum Wire {
    /// Nothing that does harm.
    Good,
    /// The kernel's own impairment.
    Netem,
    /// Ours.
    Relay(Relay),
}

impl Namespace {
    /// Makes a namespace with the tap up and a DHCP server on it.
    pub fn create() -> Result<Self> {
        Self::create_with_lease(dhcp::LEASE)
    }

    /// The same with DHCP leases of `lease` seconds.
    pub fn create_with_lease(lease: u32) -> Result<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        remove_stale();
        let name = format!("{PREFIX}{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        run("ip", &format!("netns add {name}"))?;
        let guard = Removal(name.clone());
        run("ip", &format!("-n {name} link set lo up"))?;
        run("ip", &format!("-n {name} tuntap add dev {TAP} mode tap"))?;
        let [a, b, c, d] = super::HOST_ADDRESS;
        run("ip", &format!("-n {name} addr add {a}.{b}.{c}.{d}/24 brd + dev {TAP}"))?;
        run("ip", &format!("-n {name} link set {TAP} txqueuelen {QUEUE} up"))?;
        let dhcp = DhcpServer::start(Entry::open(&name)?, TAP, lease)?;
        std::mem::forget(guard);
        Ok(Self { name, wire: Wire::Good, dhcp })
    }

    /// Makes a namespace whose wire loses and reorders frames, to and from the guest: by `tc netem` where the kernel has
    /// it, by a relay of ours elsewhere.
    pub fn create_impaired(how: Impairment) -> Result<Self> {
        let mut namespace = Self::create()?;
        let Impairment { loss, reorder, delay_ms } = how;
        let netem = format!("root netem delay {delay_ms}ms loss {loss}% reorder {reorder}%");
        namespace.wire = match run("tc", &format!("-n {} qdisc replace dev {TAP} {netem}", namespace.name)) {
            Ok(()) => {
                namespace.impair_ingress(&netem)?;
                Wire::Netem
            }
            Err(error) if error.to_string().contains("qdisc kind is unknown") => {
                Wire::Relay(Relay::start(namespace.entry()?, TAP, how)?)
            }
            Err(error) => return Err(error),
        };
        Ok(namespace)
    }

    /// What QEMU is connected to.
    #[must_use]
    pub fn attach(&self) -> Net {
        match &self.wire {
            Wire::Good | Wire::Netem => Net::Tap(TAP.to_owned()),
            Wire::Relay(relay) => Net::Datagrams { local: relay.qemu_path(), remote: relay.relay_path() },
        }
    }

    /// For the report.
    #[must_use]
    pub fn describe(&self) -> &'static str {
        match self.wire {
            Wire::Good => "tap in a network namespace",
            Wire::Netem => "tap in a network namespace, impaired by tc netem",
            Wire::Relay(_) => {
                "tap in a network namespace, impaired by the tests' own relay (this kernel has no netem)"
            }
        }
    }

    /// Its name, for `ip netns exec`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// When the DHCP server granted or renewed a lease so far, in order.
    #[must_use]
    pub fn leases(&self) -> Vec<Instant> {
        self.dhcp.granted()
    }

    /// A way in for one thread.
    pub fn entry(&self) -> Result<Entry> {
        Entry::open(&self.name)
    }

    /// A command that runs inside.
    #[must_use]
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name, program]);
        command
    }

    /// A queueing discipline only acts on what leaves a device. What the guest sends arrives at the tap, so it is led
    /// through a second device first.
    fn impair_ingress(&self, netem: &str) -> Result<()> {
        let name = &self.name;
        run("ip", &format!("-n {name} link add {MIRROR} type ifb"))?;
        run("ip", &format!("-n {name} link set {MIRROR} up"))?;
        run("tc", &format!("-n {name} qdisc add dev {TAP} handle ffff: ingress"))?;
        let redirect = "protocol all matchall action mirred egress redirect dev";
        run("tc", &format!("-n {name} filter add dev {TAP} parent ffff: {redirect} {MIRROR}"))?;
        run("tc", &format!("-n {name} qdisc replace dev {MIRROR} {netem}"))
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        drop(Removal(std::mem::take(&mut self.name)));
    }
}

/// Removes a namespace when it goes out of scope.
struct Removal(String);

impl Drop for Removal {
    fn drop(&mut self) {
        // The devices go with it. An error here would only repeat one that was reported already.
        let _ = run("ip", &format!("netns del {}", self.0));
    }
}

/// Lets one thread enter a namespace.
#[derive(Debug)]
pub struct Entry(File);

impl Entry {
    fn open(name: &str) -> Result<Self> {
        let path = format!("/run/netns/{name}");
        Ok(Self(File::open(&path).with_context(|| format!("cannot open {path}"))?))
    }

    /// Moves the calling thread into the namespace, for the rest of its life.
    pub fn enter(&self) -> Result<()> {
        setns(&self.0, CloneFlags::CLONE_NEWNET).context("cannot enter the network namespace")
    }
}

/// Removes the namespaces of processes that are gone: what a run that was killed has left behind.
pub fn remove_stale() {
    let Ok(entries) = std::fs::read_dir("/run/netns") else { return };
    for name in entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()) {
        let owner = name.strip_prefix(PREFIX).and_then(|rest| rest.split_once('-')).map(|(pid, _)| pid);
        let Some(pid) = owner.and_then(|pid| pid.parse::<u32>().ok()) else { continue };
        if !std::path::Path::new(&format!("/proc/{pid}")).exists() {
            drop(Removal(name));
        }
    }
}

/// Runs `program` with blank-separated `words`; its own message becomes the error.
fn run(program: &str, words: &str) -> Result<()> {
    let mut command = Command::new(program);
    let output = command.args(words.split(' ')).output().with_context(|| format!("cannot run {program}"))?;
    let message = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "`{program} {words}` failed: {}", message.trim());
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};

    use super::*;
    use crate::net::Network;

    #[test]
    fn a_namespace_can_be_entered_impaired_and_is_taken_away() {
        if !crate::net::is_root() {
            eprintln!("needs root");
            return;
        }
        let how = Impairment { loss: 2, reorder: 10, delay_ms: 5 };
        let namespace = Namespace::create_impaired(how).expect("made");
        let path = format!("/run/netns/{}", namespace.name());
        let network = Network::Tap(namespace);
        // An address of this namespace alone: a thread inside can use it.
        let bound = network.run(|| {
            let host = Ipv4Addr::from(crate::net::HOST_ADDRESS);
            Ok(UdpSocket::bind(SocketAddrV4::new(host, 0))?.local_addr()?)
        });
        assert!(bound.expect("bound").is_ipv4());
        drop(network);
        assert!(!std::path::Path::new(&path).exists());
    }
}
