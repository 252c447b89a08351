//! The guest's serial line as a growing text that one can wait on.
//!
//! A thread reads the socket; whoever waits is woken by each piece that arrives. Nothing is ever thrown away, so a
//! test cannot miss what was printed before it looked.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::text;

#[derive(Debug, Default)]
struct Received {
    bytes: Vec<u8>,
    closed: bool,
}

#[derive(Debug, Default)]
struct Shared {
    received: Mutex<Received>,
    more: Condvar,
}

impl Shared {
    /// A reader that panicked has left whole bytes behind.
    fn lock(&self) -> MutexGuard<'_, Received> {
        self.received.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Our end of the serial line.
#[derive(Debug)]
pub struct SerialLine {
    stream: UnixStream,
    shared: Arc<Shared>,
}

impl SerialLine {
    /// Takes over `stream` and starts to read it.
    pub fn new(stream: UnixStream) -> Result<Self> {
        let shared = Arc::new(Shared::default());
        let (input, sink) = (stream.try_clone()?, Arc::clone(&shared));
        std::thread::Builder::new().name("serial".into()).spawn(move || read_all(input, &sink))?;
        Ok(Self { stream, shared })
    }

    /// Types `text`.
    pub fn send(&self, text: &str) -> Result<()> {
        (&self.stream).write_all(text.as_bytes()).context("the serial line is closed")
    }

    /// How many bytes have arrived: a place from which [`Self::wait`] can start.
    #[must_use]
    pub fn position(&self) -> usize {
        self.shared.lock().bytes.len()
    }

    /// What arrived from `position` on, without escapes.
    #[must_use]
    pub fn text_from(&self, position: usize) -> String {
        text::plain(self.shared.lock().bytes.get(position..).unwrap_or_default())
    }

    /// Waits until QEMU has ended, and returns all that arrived.
    pub fn until_closed(&self, timeout: Duration) -> Result<String> {
        let deadline = Instant::now() + timeout;
        let mut received = self.shared.lock();
        while !received.closed {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                bail!("QEMU still runs after {timeout:?}");
            }
            received =
                self.shared.more.wait_timeout(received, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        Ok(text::plain(&received.bytes))
    }

    /// Waits until `found` makes something of the text from `position` on.
    pub fn wait<T>(
        &self,
        position: usize,
        timeout: Duration,
        mut found: impl FnMut(&str) -> Option<T>,
    ) -> Result<T> {
        let deadline = Instant::now() + timeout;
        let mut received = self.shared.lock();
        let mut looked_at = usize::MAX;
        loop {
            if looked_at != received.bytes.len() {
                looked_at = received.bytes.len();
                let text = text::plain(received.bytes.get(position..).unwrap_or_default());
                if let Some(value) = found(&text) {
                    return Ok(value);
                }
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if received.closed {
                bail!("the serial line closed: QEMU ended");
            }
            if left.is_zero() {
                bail!("not within {timeout:?}");
            }
            received =
                self.shared.more.wait_timeout(received, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl Drop for SerialLine {
    fn drop(&mut self) {
        // Ends the reading thread, which holds the other handle.
        let _ = self.stream.shutdown(std::net::Shutdown::Both);
    }
}

fn read_all(mut input: UnixStream, sink: &Shared) {
    let mut piece = [0; 4096];
    loop {
        let count = input.read(&mut piece).unwrap_or(0);
        let mut received = sink.lock();
        received.bytes.extend_from_slice(piece.get(..count).unwrap_or_default());
        received.closed = count == 0;
        drop(received);
        sink.more.notify_all();
        if count == 0 {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_waiter_is_woken_by_the_text_it_waits_for() {
        let (mut guest, host) = UnixStream::pair().expect("a socket pair");
        let line = SerialLine::new(host).expect("a thread");
        let typist = std::thread::spawn(move || {
            for piece in ["boo", "t\r\nhic", "> "] {
                guest.write_all(piece.as_bytes()).expect("the line is open");
            }
            guest
        });
        line.wait(0, Duration::from_secs(10), |text| text::shows_prompt(text).then_some(()))
            .expect("the prompt");
        drop(typist.join());
    }

    #[test]
    fn waiting_ends_when_the_line_closes_and_says_so() {
        let (guest, host) = UnixStream::pair().expect("a socket pair");
        let line = SerialLine::new(host).expect("a thread");
        drop(guest);
        let error = line.wait(0, Duration::from_secs(10), |_| None::<()>).expect_err("nothing can come");
        assert!(error.to_string().contains("closed"), "{error}");
    }

    #[test]
    fn a_silent_line_ends_the_wait_at_its_deadline() {
        let (_guest, host) = UnixStream::pair().expect("a socket pair");
        let line = SerialLine::new(host).expect("a thread");
        let error = line.wait(0, Duration::from_millis(20), |_| None::<()>).expect_err("nothing comes");
        assert!(error.to_string().contains("not within"), "{error}");
    }
}
