//! Free ports on the host's loopback address.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::sync::{Mutex, PoisonError};

use anyhow::{Result, bail};

use crate::qemu::Proto;

/// Ports handed out by this process: QEMU binds them a moment later, and until then they still look free.
static GIVEN: Mutex<BTreeSet<(Proto, u16)>> = Mutex::new(BTreeSet::new());

/// Attempts before giving up: each fails only if the kernel offers a port that was given out before.
const ATTEMPTS: usize = 100;

/// A port that nobody listens on and that this process has not handed out before.
pub fn free_port(proto: Proto) -> Result<u16> {
    for _ in 0..ATTEMPTS {
        let any = (Ipv4Addr::LOCALHOST, 0);
        let port = match proto {
            Proto::Tcp => TcpListener::bind(any)?.local_addr()?.port(),
            Proto::Udp => UdpSocket::bind(any)?.local_addr()?.port(),
        };
        if GIVEN.lock().unwrap_or_else(PoisonError::into_inner).insert((proto, port)) {
            return Ok(port);
        }
    }
    bail!("no free {proto} port on 127.0.0.1")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_port_is_handed_out_twice() {
        let ports: BTreeSet<u16> = (0..50).map(|_| free_port(Proto::Tcp).expect("a port")).collect();
        assert_eq!(ports.len(), 50);
    }
}
