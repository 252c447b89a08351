//! A client that sends without reading until nothing moves any more, in either direction, stays so for a while, and
//! then reads it all: every window on the way was at zero, and not one byte may be missing.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use super::connect::connect_narrow;
use super::{PATIENCE, check_numbered, numbered};

/// Stream number of its data.
const STREAM: u32 = 0xfedcba;

/// Bytes for each write.
const PIECE: usize = 4096;

/// How it behaves.
#[derive(Clone, Copy, Debug)]
pub struct SlowReader {
    /// Its buffers, in bytes: what it takes before its own window is zero.
    pub buffer: usize,
    /// No write can go on for this long: everything between the two ends is full.
    pub stuck: Duration,
    /// How long it then leaves things as they are, so that the guest must probe the closed window.
    pub hold: Duration,
    /// Bytes after which it gives up on ever filling the way.
    pub limit: u64,
}

/// What happened.
#[derive(Clone, Copy, Debug)]
pub struct SlowReport {
    /// Bytes sent until nothing moved, all of which came back.
    pub bytes: u64,
    /// Time from the last write that was taken to the first read.
    pub held: Duration,
}

impl SlowReader {
    /// Runs it against the echo service at `address`.
    pub fn run(self, address: SocketAddr) -> Result<SlowReport> {
        let mut stream = self.connect(address, PATIENCE)?;
        let sent = self.fill(&mut stream, STREAM)?;
        let stuck_since = Instant::now();
        std::thread::sleep(self.hold);
        let held = stuck_since.elapsed() + self.stuck;
        // The end of our stream waits behind the data that the closed window keeps back.
        stream.shutdown(Shutdown::Write)?;
        let mut reader = stream;
        let received = drain(&mut reader, STREAM)?;
        ensure!(received == sent, "{received} of {sent} bytes came back through the zero window");
        Ok(SlowReport { bytes: sent, held })
    }

    /// A connection with these small buffers, made within `patience`.
    pub(super) fn connect(&self, address: SocketAddr, patience: Duration) -> Result<TcpStream> {
        let stream = connect_narrow(address, self.buffer, patience)?;
        stream.set_write_timeout(Some(self.stuck))?;
        Ok(stream)
    }

    /// Writes the stream `id` until nothing moves any more; returns how many bytes were taken.
    pub(super) fn fill(&self, stream: &mut TcpStream, id: u32) -> Result<u64> {
        let mut sent = 0;
        while sent < self.limit {
            match stream.write(&numbered(id, sent, PIECE)) {
                Ok(0) => bail!("the stream ended after {sent} bytes"),
                Ok(count) => sent += u64::try_from(count)?,
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    return Ok(sent);
                }
                Err(error) => return Err(error).with_context(|| format!("write after {sent} bytes")),
            }
        }
        bail!("{} bytes were taken and the window never closed", self.limit)
    }
}

/// Reads to the end of the stream `id`, checks every byte and returns how many there were.
pub(super) fn drain(stream: &mut TcpStream, id: u32) -> Result<u64> {
    let mut piece = [0; PIECE];
    let mut received = 0;
    loop {
        let count = stream.read(&mut piece).with_context(|| format!("read after {received} bytes"))?;
        if count == 0 {
            return Ok(received);
        }
        check_numbered(id, received, piece.get(..count).unwrap_or_default())?;
        received += u64::try_from(count)?;
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, TcpListener};

    use super::*;

    const READER: SlowReader = SlowReader {
        buffer: 4096,
        stuck: Duration::from_millis(200),
        hold: Duration::from_millis(50),
        limit: 64 * 1024 * 1024,
    };

    #[test]
    fn all_bytes_come_back_through_a_window_that_was_closed() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let address = listener.local_addr().expect("an address");
        std::thread::spawn(move || {
            let (mut input, _) = listener.accept().expect("a client");
            let mut output = input.try_clone().expect("a handle");
            std::io::copy(&mut input, &mut output).expect("echoed");
            output.shutdown(Shutdown::Write).expect("open");
        });
        let report = READER.run(address).expect("honest");
        assert!(report.bytes > 0 && report.held >= READER.hold, "{report:?}");
    }

    #[test]
    fn a_server_that_swallows_everything_is_found_out() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let address = listener.local_addr().expect("an address");
        std::thread::spawn(move || {
            let (mut input, _) = listener.accept().expect("a client");
            std::io::copy(&mut input, &mut std::io::sink())
        });
        // It ends by its limit, however slow the host is.
        let error = SlowReader { limit: 1024 * 1024, stuck: PATIENCE, ..READER }
            .run(address)
            .expect_err("the window never closes");
        assert!(error.to_string().contains("never closed"), "{error}");
    }
}
