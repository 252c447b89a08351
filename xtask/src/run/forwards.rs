//! Which host port leads to which guest port.

use std::net::{Ipv4Addr, TcpListener, UdpSocket};

use anyhow::{Result, bail};
use hic_tests::net::free_port;
use hic_tests::qemu::{Forward, Proto};

use crate::cli::WantedForward;

/// Forwards that everybody gets: the guest's services at ports that need no privilege.
const DEFAULTS: [(u16, u16); 5] = [(8080, 80), (8007, 7), (8009, 9), (8013, 13), (8019, 19)];

/// The forwards for `wanted`: all of them, and the defaults for guest ports that they do not name. A default whose host
/// port is busy moves to a free one and says so; a port that was asked for and is busy is an error.
pub fn choose(wanted: &[WantedForward]) -> Result<Vec<Forward>> {
    let mut forwards = Vec::new();
    for (host, guest) in DEFAULTS {
        let named = wanted.iter().any(|forward| forward.proto == Proto::Tcp && forward.guest == guest);
        if named {
            continue;
        }
        let proto = Proto::Tcp;
        let host = if is_free(proto, host) {
            host
        } else {
            let other = free_port(proto)?;
            println!("port {host} of this host is busy, taking {other} for port {guest} of the guest");
            other
        };
        forwards.push(Forward { proto, host, guest });
    }
    for &WantedForward { proto, host, guest } in wanted {
        let host = match host {
            0 => free_port(proto)?,
            host if is_free(proto, host) => host,
            host => bail!("port {host} of this host is busy; --forward 0:{guest} takes any free one"),
        };
        forwards.push(Forward { proto, host, guest });
    }
    Ok(forwards)
}

fn is_free(proto: Proto, port: u16) -> bool {
    let address = (Ipv4Addr::LOCALHOST, port);
    match proto {
        Proto::Tcp => TcpListener::bind(address).is_ok(),
        Proto::Udp => UdpSocket::bind(address).is_ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(host: u16, guest: u16) -> WantedForward {
        WantedForward { proto: Proto::Tcp, host, guest }
    }

    #[test]
    fn all_services_have_a_forward_and_no_host_port_is_used_twice() {
        let forwards = choose(&[]).expect("free ports");
        let guests: Vec<u16> = forwards.iter().map(|forward| forward.guest).collect();
        assert_eq!(guests, [80, 7, 9, 13, 19]);
        let mut hosts: Vec<u16> = forwards.iter().map(|forward| forward.host).collect();
        hosts.sort_unstable();
        hosts.dedup();
        assert_eq!(hosts.len(), forwards.len());
    }

    #[test]
    fn a_forward_that_was_asked_for_takes_the_place_of_the_default() {
        let forwards = choose(&[wanted(0, 80), wanted(0, 443)]).expect("free ports");
        assert_eq!(forwards.iter().filter(|forward| forward.guest == 80).count(), 1);
        assert!(forwards.iter().any(|forward| forward.guest == 443 && forward.host != 0));
    }

    #[test]
    fn a_busy_port_that_was_asked_for_is_refused() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let error = choose(&[wanted(port, 80)]).expect_err("busy").to_string();
        assert!(error.contains("--forward 0:80"), "{error}");
    }
}
