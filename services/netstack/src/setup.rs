//! From the start page to a stack that runs, with everything that the start before left.

use crate::link;
use crate::migration::Moves;
use crate::recover;
use crate::service::Netstack;
use crate::shell::{Grants, Shell};
use core::fmt;
use hic_abi::{Error, Handle, Nanos};
use hic_control::grants;
use hic_net::{Address, AddressSource, Capabilities, Config, EthernetAddress, Ipv4Address, Micros};
use hic_netapi::message::{Message as NetMessage, NetError};
use hic_nic::{Attached, Features, RxHalf};
use hic_rt::ipc::{self, Buffer, Message, Received};
use hic_rt::{StartPage, clock, log, start, sys};
use netstack::place;
use netstack::records::{BadRegion, Records};

/// When DHCP gave nothing for this long, the static address is used until it does.
const FALLBACK_AFTER: Micros = Micros::from_secs(10);
/// Between attempts to join the driver.
const ATTACH_EVERY: Nanos = 100_000_000;

/// Why the stack cannot start.
pub enum SetupError {
    /// The kernel refused a step.
    Kernel {
        /// Which.
        step: &'static str,
        /// Why.
        error: Error,
    },
    /// The manifest's state region does not fit.
    Records(BadRegion),
}

impl fmt::Display for SetupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kernel { step, error } => write!(f, "{step}: {error}"),
            Self::Records(error) => write!(f, "{error}"),
        }
    }
}

impl SetupError {
    /// The error of this step.
    pub fn at(step: &'static str) -> impl Fn(Error) -> Self {
        move |error| Self::Kernel { step, error }
    }
}

/// The address to use without DHCP: that of QEMU's user network (10.0.2.0/24, gateway .2, name server .3).
fn fallback() -> Address {
    Address {
        address: Ipv4Address::new(10, 0, 2, 15),
        prefix_len: 24,
        gateway: Some(Ipv4Address::new(10, 0, 2, 2)),
        dns: [Ipv4Address::new(10, 0, 2, 3), Ipv4Address::UNSPECIFIED],
    }
}

/// Brings the service to the point where it can serve.
pub fn netstack(page: &'static StartPage) -> Result<Netstack, SetupError> {
    let state = start::require(page, "state:connections");
    // SAFETY: the module manager mapped this region for us alone, for reading and writing, for the life of the sandbox.
    let records = unsafe { Records::attach(state.address as *mut u8, state.length as usize) };
    let mut records = records.map_err(SetupError::Records)?;
    let account = start::require(page, grants::ACCOUNT).slot;
    let notification = recover::claim_slots(page, &mut records, account)?;
    let grants = Grants {
        account,
        endpoint: crate::SERVICE.endpoint(page),
        entropy: start::require(page, grants::ENTROPY).slot,
        graves: notification + 1,
    };
    sys::bind_notification(notification).map_err(SetupError::at("bind notification"))?;
    sys::endpoint_notify(grants.endpoint, notification).map_err(SetupError::at("tie notification"))?;

    let secret = secret(&mut records, grants.entropy)?;
    let (wire, rx) = join_driver(start::require(page, "port:eth_driver").slot, &grants);
    let (config, moves) = (config(&wire.attached, secret), Moves::open(page, records.journal()));
    let mut netstack = Netstack::new(config, Shell::new(grants, wire, records), moves, rx, grants);
    netstack.go_on(page.restarts);
    Ok(netstack)
}

/// The secret of all starts and instances: made once.
fn secret(records: &mut Records, entropy: Handle) -> Result<[u8; 16], SetupError> {
    if let Some(secret) = records.secret() {
        return Ok(secret);
    }
    let mut secret = [0; 16];
    sys::entropy(entropy, &mut secret).map_err(SetupError::at("random numbers of the processor (RDRAND)"))?;
    records.set_secret(secret);
    Ok(secret)
}

fn config(link: &Attached, secret: [u8; 16]) -> Config {
    let source = AddressSource::Dhcp { fallback: Some(fallback()), after: FALLBACK_AFTER };
    let capabilities = Capabilities {
        tx_csum_offload: link.features.contains(Features::TX_CHECKSUM),
        tso_max: if link.features.contains(Features::TX_SEGMENT) { link.tso_max } else { 0 },
    };
    Config {
        mtu: link.mtu,
        capabilities,
        host_name: "hic",
        limits: place::limits(),
        ..Config::new(EthernetAddress(link.mac), source, secret)
    }
}

/// Joins the driver, for as long as it takes. Liveness questions are answered meanwhile; whoever asks for something else asks again.
fn join_driver(port: Handle, grants: &Grants) -> (link::Wire, RxHalf) {
    let mut buffer = Buffer::new();
    let mut reported = false;
    loop {
        match link::attach(port, grants) {
            Ok(joined) => return joined,
            Err(error) if !core::mem::replace(&mut reported, true) => log!("waiting for eth_driver: {error}"),
            Err(_) => {}
        }
        answer_one(grants.endpoint, &mut buffer);
    }
}

/// Answers one caller, or waits a moment for one. One only: the next attempt to join is not to wait for those who ask again at once.
fn answer_one(endpoint: Handle, buffer: &mut Buffer) {
    if let Ok(Received::Call { message, .. }) = ipc::receive(endpoint, buffer, clock::now() + ATTACH_EVERY) {
        let answer = match message.label() {
            hic_control::PING => NetMessage { label: hic_control::OK, words: [0; 4] },
            _ => NetMessage::error(NetError::NotReady, 0),
        };
        let _ = ipc::reply(Message::new(answer.label, answer.words), buffer);
    }
}
