//! Kernel objects: ports and capabilities.

use super::{Report, clean, table::Table};
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt::Write;
use hic_abi::Rights;
use serde::Serialize;

/// `ports`
#[derive(Clone, Debug, Default, Serialize)]
pub struct Ports {
    /// The ports.
    pub ports: Vec<Port>,
    /// There are more than can be shown.
    pub truncated: bool,
}

/// One port.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Port {
    /// Its index.
    pub index: u64,
    /// Name of the account that pays for it.
    pub account: String,
    /// Its badge.
    pub badge: u64,
    /// Index of the endpoint that it leads to.
    pub endpoint: u64,
    /// Callers that wait on it.
    pub queued: u64,
    /// Capabilities with the right to send.
    pub senders: u64,
    /// How often it was switched.
    pub switches: u64,
}

impl Report for Ports {
    fn text(&self, out: &mut String) {
        let mut table = Table::new(["port", "account", "badge", "endpoint", "queued", "senders", "switches"]);
        for p in &self.ports {
            let numbers = [p.badge, p.endpoint, p.queued, p.senders, p.switches].map(|n| n.to_string());
            let [badge, endpoint, queued, senders, switches] = numbers;
            table.row([p.index.to_string(), clean(&p.account), badge, endpoint, queued, senders, switches]);
        }
        table.print(out);
        if self.truncated {
            let _ = writeln!(out, "(the first {} ports)", self.ports.len());
        }
    }
}

/// `caps <sandbox>`
#[derive(Clone, Debug, Default, Serialize)]
pub struct Caps {
    /// The sandbox's name.
    pub sandbox: String,
    /// Its serial number.
    pub serial: u64,
    /// Whether it is frozen.
    pub frozen: bool,
    /// Slots of its capability space.
    pub slots: u64,
    /// What they hold.
    pub capabilities: Vec<Capability>,
    /// There are more than can be shown.
    pub truncated: bool,
    /// What its manifest asked for and the policy denied.
    pub denied: Vec<String>,
}

/// One capability.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Capability {
    /// Its slot.
    pub slot: u64,
    /// The type of its object.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// Index of its object.
    pub object: u64,
    /// Its rights.
    pub rights: Vec<&'static str>,
    /// Capabilities derived from it.
    pub children: u64,
}

impl Report for Caps {
    fn text(&self, out: &mut String) {
        let state = if self.frozen { "frozen" } else { "running" };
        let (name, count) = (clean(&self.sandbox), self.capabilities.len());
        let _ = writeln!(out, "{name}, sandbox {}, {state}: {count} of {} slots", self.serial, self.slots);
        let mut table = Table::new(["slot", "type", "object", "derived", "rights"]);
        for c in &self.capabilities {
            let (slot, object, children) = (c.slot.to_string(), c.object.to_string(), c.children.to_string());
            table.row([slot, c.kind.into(), object, children, c.rights.join(" ")]);
        }
        table.print(out);
        if self.truncated {
            out.push_str("(not all are shown)\n");
        }
        for denied in &self.denied {
            let _ = writeln!(out, "denied by the policy: {}", clean(denied));
        }
    }
}

/// The names of rights.
#[must_use]
pub fn rights(bits: u64) -> Vec<&'static str> {
    let names = [
        (Rights::READ, "read"),
        (Rights::WRITE, "write"),
        (Rights::EXECUTE, "execute"),
        (Rights::SEND, "send"),
        (Rights::RECEIVE, "receive"),
        (Rights::COPY, "copy"),
        (Rights::MANAGE, "manage"),
        (Rights::CHARGE, "charge"),
        (Rights::INSPECT, "inspect"),
    ];
    let held = Rights::from_bits_truncate(bits as u32);
    names.iter().filter(|(right, _)| held.contains(*right)).map(|(_, name)| *name).collect()
}

#[cfg(test)]
mod tests {
    use super::super::testing::both;
    use super::*;

    #[test]
    fn every_right_has_a_name() {
        assert_eq!(rights(Rights::all().bits().into()).len(), Rights::all().iter().count());
        assert_eq!(rights(u64::from((Rights::SEND | Rights::COPY).bits())), ["send", "copy"]);
    }

    #[test]
    fn capabilities_and_ports_have_both_forms() {
        let capability = Capability { slot: 3, kind: "port", rights: rights(8), ..Capability::default() };
        let caps = Caps {
            sandbox: "inetd".into(),
            slots: 64,
            capabilities: alloc::vec![capability],
            denied: alloc::vec!["authority power; it works without".into()],
            ..Caps::default()
        };
        let (json, text) = both(&caps);
        assert!(text.ends_with("denied by the policy: authority power; it works without\n"), "{text}");
        assert_eq!((&json["capabilities"][0]["type"], &json["slots"]), (&"port".into(), &64.into()));
        assert!(text.starts_with("inetd, sandbox 0, running: 1 of 64 slots\n"), "{text}");
        let ports = Ports { ports: alloc::vec![Port { index: 5, ..Port::default() }], truncated: true };
        assert!(both(&ports).1.contains("(the first 1 ports)"));
    }
}
