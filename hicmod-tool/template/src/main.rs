//! The program: sockets and the loop that serves them. What is said is in `lib.rs`.
#![no_std]
#![no_main]

extern crate alloc;

use hic_abi::{Nanos, name_str};
use hic_netclient::{AppSide, Limits, Server, Service, Step, TcpStream, Want};
use hic_rt::{Export, StartPage, log};
use @IDENT@::{LONGEST_ANSWER, LONGEST_LINE, answer};

/// The TCP port.
const PORT: u16 = @PORT@;
/// Bytes of each ring of a connection.
const RING: u32 = 4096;
/// How long a visitor may be silent.
const IDLE: Nanos = 300_000_000_000;

/// What it serves: `provides` of hicmod.toml says the same.
const SERVICE: Export = Export::new("@NAME@");

hic_rt::entry!(main, exports: [SERVICE]);

/// The service.
struct Hello {
    version: &'static str,
}

/// One connection.
struct Visitor {
    deadline: Nanos,
}

impl Service for Hello {
    type Session = Visitor;

    fn open(&mut self, _listener: usize, _stream: &TcpStream, now: Nanos) -> Visitor {
        Visitor { deadline: now + IDLE }
    }

    /// Goes on as far as the rings allow, and says what it waits for. It must never wait itself.
    fn step(&mut self, visitor: &mut Visitor, side: &mut AppSide, now: Nanos) -> Step {
        loop {
            if now >= visitor.deadline {
                return Step::Close;
            }
            // Without space for an answer no line is read: a visitor who does not read is not served.
            if side.writable() < LONGEST_ANSWER {
                return Step::write(LONGEST_ANSWER as u32, visitor.deadline);
            }
            // Status before data: what came before the end is still there after it.
            let closed = side.status().rx_closed;
            let mut bytes = [0; LONGEST_LINE];
            let count = side.peek_at(0, &mut bytes);
            let bytes = bytes.get(..count).unwrap_or_default();
            let Some(end) = bytes.iter().position(|byte| *byte == b'\n') else {
                if closed || count == LONGEST_LINE {
                    return Step::Close;
                }
                let (want, read_low) = (Want::READABLE, count as u32 + 1);
                return Step::Wait { want, read_low, write_low: 1, deadline: visitor.deadline };
            };
            side.consume_rx(end + 1);
            visitor.deadline = now + IDLE;
            let line = bytes.get(..end).unwrap_or_default().trim_ascii();
            let mut say = |part: &[u8]| {
                side.write(part);
            };
            if answer(line, self.version, &mut say).is_none() {
                return Step::Close;
            }
        }
    }
}

fn main(page: &'static StartPage) -> u64 {
    let version = name_str(&page.version);
    match Server::new(page, Some(SERVICE), Limits { sessions: 64, backlog: 16 }) {
        Ok(mut server) => {
            server.listen(PORT, RING);
            log!("{version} listens on port {PORT}");
            server.run(&mut Hello { version })
        }
        Err(error) => log!("cannot start: {error}"),
    }
    1
}
