//! The web server: port 80, a page with the running services, `/healthz`.
//!
//! What it must never do: wait for the module manager longer than [`PATIENCE`], or ask it for each request: whoever loads
//! the page in a loop must not keep the module manager busy.
#![no_std]
#![no_main]

extern crate alloc;

use alloc::string::String;
use alloc::vec::Vec;
use hic_abi::{Handle, Nanos, Plain, name_str};
use hic_control::manager::{LIST, ServiceInfo, ServiceState};
use hic_netclient::{AppSide, Limits, Server, Service, Step, TcpStream};
use hic_rt::ipc::{self, Buffer, Message};
use hic_rt::{Export, StartPage, clock, log, start};
use web_server::page::{self, Row};
use web_server::session::{Content, Session};

/// Connections at once; more wait in the stack.
const SESSIONS: usize = 512;
/// Connections that may wait in the stack.
const BACKLOG: u16 = 256;
/// Bytes of each ring.
const RING: u32 = 16 * 1024;
/// How old the list on the page may be.
const FRESH: Nanos = 1_000_000_000;
/// How long the module manager may take for the whole list.
const PATIENCE: Nanos = 100_000_000;
/// More services than this are not listed.
const MAX_ROWS: u64 = 256;

/// What it serves.
const SERVICE: Export = Export::new("web_server");

hic_rt::entry!(main, exports: [SERVICE]);

/// The list of services, asked for at most once a [`FRESH`].
struct Services {
    manager: Option<Handle>,
    rows: Vec<Row>,
    asked: Option<Nanos>,
    buffer: Buffer,
}

/// What the module manager's list has at an index.
enum Listed {
    Service(Row),
    /// Whoever was there is gone.
    Nobody,
    /// It is beyond the last.
    End,
}

impl Services {
    fn refresh(&mut self) {
        let now = clock::now();
        let Some(manager) = self.manager else { return };
        if self.asked.is_some_and(|at| now.saturating_sub(at) < FRESH) {
            return;
        }
        self.asked = Some(now);
        let mut rows = Vec::new();
        for index in 0..MAX_ROWS {
            match self.ask(manager, index, now + PATIENCE) {
                Some(Listed::Service(row)) => rows.push(row),
                Some(Listed::Nobody) => {}
                Some(Listed::End) => {
                    self.rows = rows;
                    return;
                }
                // No answer in time: the page shows the list from before.
                None => return,
            }
        }
    }

    /// One record; `None` if no answer came in time.
    fn ask(&mut self, manager: Handle, index: u64, deadline: Nanos) -> Option<Listed> {
        let request = Message::new(LIST, [index, 0, 0, 0]);
        let answer = ipc::call(manager, request, &mut self.buffer, deadline).ok()?;
        if answer.label() != hic_control::OK {
            return Some(Listed::End);
        }
        let mut info = ServiceInfo::zeroed();
        let bytes = self.buffer.data(answer.info.inline_len());
        info.as_bytes_mut().get_mut(..bytes.len())?.copy_from_slice(bytes);
        if info.state == ServiceState::Absent as u64 {
            return Some(Listed::Nobody);
        }
        Some(Listed::Service(Row {
            name: name_str(&info.name).into(),
            version: name_str(&info.version).into(),
            state: ServiceState::name(info.state),
            restarts: info.restarts,
        }))
    }
}

impl Content for Services {
    fn index(&mut self) -> String {
        self.refresh();
        page::index(&self.rows, clock::now() / 1_000_000_000)
    }
}

impl Service for Services {
    type Session = Session;

    fn open(&mut self, _listener: usize, _stream: &TcpStream, now: Nanos) -> Session {
        Session::new(now)
    }

    fn step(&mut self, session: &mut Session, side: &mut AppSide, now: Nanos) -> Step {
        session.step(side, now, self)
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
    server.listen(80, RING);
    let manager = start::find(page, "port:module-manager").map(|grant| grant.slot);
    let mut services = Services { manager, rows: Vec::new(), asked: None, buffer: Buffer::new() };
    server.run(&mut services)
}
