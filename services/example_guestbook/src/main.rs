//! The guest book's shell: a server on port 7000 whose notes lie in a state region.
#![no_std]
#![no_main]

extern crate alloc;

use example_guestbook::notes::Notes;
use example_guestbook::session::Session;
use hic_abi::Nanos;
use hic_netclient::{AppSide, Limits, Server, Service, Step, TcpStream};
use hic_rt::{Export, StartPage, log, start};

/// The port.
const PORT: u16 = 7000;
/// Bytes of each ring.
const RING: u32 = 4096;

/// What it serves.
const SERVICE: Export = Export::new("example_guestbook");

hic_rt::entry!(main, exports: [SERVICE]);

struct GuestBook {
    notes: Notes,
}

impl Service for GuestBook {
    type Session = Session;

    fn open(&mut self, _listener: usize, _stream: &TcpStream, now: Nanos) -> Session {
        Session::new(now)
    }

    fn step(&mut self, session: &mut Session, side: &mut AppSide, now: Nanos) -> Step {
        session.step(side, now, &mut self.notes)
    }
}

fn main(page: &'static StartPage) -> u64 {
    let state = start::require(page, "state:notes");
    // SAFETY: the module manager mapped this region for us alone, for reading and writing, for the life of the sandbox.
    let notes = unsafe { Notes::attach(state.address as *mut u8, state.length as usize) };
    let limits = Limits { sessions: 64, backlog: 16 };
    match (notes, Server::new(page, Some(SERVICE), limits)) {
        (Some(notes), Ok(mut server)) => {
            server.listen(PORT, RING);
            server.run(&mut GuestBook { notes })
        }
        (None, _) => log!("the state region is too small"),
        (_, Err(error)) => log!("cannot start: {error}"),
    }
    1
}
