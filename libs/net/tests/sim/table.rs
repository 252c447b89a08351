//! The driver's flow table: an exact 4-tuple, else a local port, else the default stack. Flows can be held and taken.

use hic_net::Protocol;
use hic_tcp::Tuple;
use std::collections::BTreeMap;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key {
    Tuple(u16, [u8; 4], u16),
    Port(Protocol, u16),
}

impl Key {
    pub fn of(tuple: &Tuple) -> Self {
        Self::Tuple(tuple.local_port, tuple.remote_addr, tuple.remote_port)
    }
}

#[derive(Debug)]
struct Flow {
    owner: usize,
    held: Option<Vec<Vec<u8>>>,
}

/// The number in two octets of a frame.
pub fn number(frame: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([frame[at], frame[at + 1]])
}

/// Where a frame goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Steered {
    To(usize),
    Everybody,
    Held,
}

#[derive(Debug, Default)]
pub struct Table {
    flows: BTreeMap<Key, Flow>,
    pub default: usize,
    /// Flows of datagrams in fragments, by sender and identification.
    fragments: BTreeMap<([u8; 4], u16), Key>,
}

impl Table {
    pub fn claim(&mut self, key: Key, who: usize) -> bool {
        let free = !self.flows.contains_key(&key);
        if free {
            self.flows.insert(key, Flow { owner: who, held: None });
        }
        free
    }

    /// A flow of somebody else stays.
    pub fn release(&mut self, key: Key, who: usize) {
        if self.flows.get(&key).is_some_and(|flow| flow.owner == who) {
            self.flows.remove(&key);
        }
    }

    pub fn hold(&mut self, key: Key, who: usize) {
        let flow = self.flows.get_mut(&key).expect("only what is claimed is held");
        assert_eq!(flow.owner, who);
        flow.held.get_or_insert_default();
    }

    /// The flow is `who`'s; returns the frames held for it.
    pub fn take(&mut self, key: Key, who: usize) -> Vec<Vec<u8>> {
        let flow = self.flows.get_mut(&key).expect("a held flow stays");
        flow.owner = who;
        flow.held.take().unwrap_or_default()
    }

    pub fn len(&self) -> usize {
        self.flows.len()
    }

    pub fn steer(&mut self, frame: &[u8]) -> Steered {
        if frame[12..14] == [8, 6] {
            let reply = frame[21] == 2;
            return if reply { Steered::Everybody } else { Steered::To(self.default) };
        }
        let port = |at| number(frame, at);
        let remote = [frame[26], frame[27], frame[28], frame[29]];
        let keys = match frame[23] {
            6 => vec![Key::Tuple(port(36), remote, port(34)), Key::Port(Protocol::Tcp, port(36))],
            17 if port(20) & 0x1fff != 0 => {
                self.fragments.get(&(remote, port(18))).copied().into_iter().collect()
            }
            17 => vec![Key::Port(Protocol::Udp, port(36))],
            _ => vec![],
        };
        if port(20) & 0x3fff == 0x2000 {
            self.fragments.extend(keys.first().map(|key| ((remote, port(18)), *key)));
        }
        let Some(key) = keys.into_iter().find(|key| self.flows.contains_key(key)) else {
            return Steered::To(self.default);
        };
        let flow = self.flows.get_mut(&key).expect("just found");
        match &mut flow.held {
            Some(held) => {
                held.push(frame.to_vec());
                Steered::Held
            }
            None => Steered::To(flow.owner),
        }
    }
}
