//! inetd: echo 7, discard 9, daytime 13 and chargen 19 over TCP and UDP, one thread, one event loop.
//!
//! What it must never do: remember anything of a datagram's sender, or let one connection wait for another.
#![no_std]
#![no_main]

extern crate alloc;

use hic_abi::Nanos;
use hic_netclient::{AppSide, Limits, Server, Service, Step, TcpStream};
use hic_rt::{Export, StartPage, clock, log};
use inetd::tcp::Session;
use inetd::{Protocol, udp};

/// Connections at once; more wait in the stack.
const SESSIONS: usize = 1024;
/// Connections that may wait in the stack for each service.
const BACKLOG: u16 = 256;
/// Bytes of each datagram ring.
const DATAGRAM_RING: u32 = 32 * 1024;

/// What it serves.
const SERVICE: Export = Export::new("inetd");

hic_rt::entry!(main, exports: [SERVICE]);

struct Inetd;

fn wall_seconds() -> u64 {
    clock::wall_seconds().unwrap_or(0)
}

impl Service for Inetd {
    type Session = Session;

    fn open(&mut self, listener: usize, _stream: &TcpStream, _now: Nanos) -> Session {
        Session::new(Protocol::ALL.get(listener).copied().unwrap_or(Protocol::Discard))
    }

    fn step(&mut self, session: &mut Session, side: &mut AppSide, _now: Nanos) -> Step {
        session.step(side, wall_seconds())
    }

    fn datagrams(&mut self, socket: usize, side: &mut AppSide, _now: Nanos) {
        if let Some(protocol) = Protocol::ALL.get(socket) {
            udp::answer(*protocol, side, wall_seconds());
        }
    }
}

fn main(page: &'static StartPage) -> u64 {
    let limits = Limits { sessions: SESSIONS, backlog: BACKLOG };
    let mut server = match Server::new(page, Some(SERVICE), limits) {
        Ok(server) => server,
        Err(error) => {
            log!("cannot start: {error}");
            return 1;
        }
    };
    for protocol in Protocol::ALL {
        server.listen(protocol.port(), protocol.ring());
    }
    for protocol in Protocol::ALL {
        server.bind(protocol.port(), DATAGRAM_RING);
    }
    server.run(&mut Inetd)
}
