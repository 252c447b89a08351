//! One answer of a server, out of the rings of a connection into the memory of whoever asked.

use hic_fetch::http::{HttpError, RequestText, Wanted};
use hic_fetch::{Failure, Get};
use hic_netclient::{AppSide, Want};

/// Bytes taken out of the ring at once.
const PIECE: usize = 2048;
/// Pieces after which others have their turn: a liveness question must not wait for a fast server.
const PIECES: usize = 32;

/// How far a transfer is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(
    clippy::large_enum_variant,
    reason = "one at a time, made and taken apart at once; no heap is needed"
)]
pub enum Progress {
    /// Nothing more is there to be read now.
    Waits,
    /// There is more to be read.
    Goes,
    /// The file is there.
    Done,
    /// It is over without the file.
    Failed(Failure),
}

/// A request on its way.
pub struct Transfer {
    get: Get,
    request: RequestText,
    sent: usize,
}

impl Transfer {
    /// Begins one; `host` as the server knows itself.
    ///
    /// # Errors
    /// [`core::fmt::Error`]: the request is too long, which the bounds of its parts rule out.
    pub fn begin(wanted: Wanted, host: &dyn core::fmt::Display) -> Result<Self, core::fmt::Error> {
        let get = Get::new(wanted);
        let request = get.request(host)?;
        Ok(Self { get, request, sent: 0 })
    }

    /// What was read so far.
    #[must_use]
    pub fn get(&self) -> &Get {
        &self.get
    }

    /// Goes on as far as the rings allow; `file` is the memory of whoever asked.
    pub fn step(&mut self, side: &mut AppSide, file: &mut [u8]) -> Progress {
        // Status before data: what came before the end is still there after it.
        let status = side.status();
        if status.established || status.rx_closed {
            self.sent += side.write(self.request.as_bytes().get(self.sent..).unwrap_or_default());
        }
        let mut piece = [0; PIECE];
        for _ in 0..PIECES {
            let read = side.read(&mut piece);
            if let Err(error) = self.get.feed(piece.get(..read).unwrap_or_default(), file) {
                return Progress::Failed(self.failure(&error));
            }
            if self.get.is_done() {
                return Progress::Done;
            }
            if read == 0 {
                return match (status.error, status.over || status.rx_closed) {
                    (Some(error), _) => {
                        let failure = Failure::new("connection", &error, true);
                        Progress::Failed(failure.with_part(self.get.at(), self.get.validator().clone()))
                    }
                    (None, true) => Progress::Failed(self.cut_off()),
                    (None, false) => Progress::Waits,
                };
            }
        }
        Progress::Goes
    }

    /// What lets [`Self::step`] get on after it waited. What holds already is not among it, or whoever waits would not.
    #[must_use]
    pub fn wants(&self, side: &AppSide) -> Want {
        let news = Want::READABLE.and(Want::OVER);
        match side.status().established {
            false => news.and(Want::ESTABLISHED),
            true if self.sent < self.request.len() => news.and(Want::WRITABLE),
            true => news,
        }
    }

    fn cut_off(&self) -> Failure {
        let (at, of) = (self.get.at(), self.get.total());
        self.failure(&HttpError::CutOff { at, of })
    }

    fn failure(&self, error: &HttpError) -> Failure {
        let failure = Failure::new(error.code(), error, error.is_passing());
        failure.with_part(self.get.at(), self.get.validator().clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hic_fetch::{Path, Validator};
    use hic_netapi::{Layout, RegionKind, StackSide};
    use std::alloc;
    use std::string::String;
    use std::vec;
    use std::vec::Vec;

    struct Wire {
        app: AppSide,
        stack: StackSide,
        written: u64,
    }

    impl Wire {
        /// The memory of one connection is never given back; a test has one.
        fn new() -> Self {
            let layout = Layout::new(RegionKind::Tcp, 4096, 4096).unwrap();
            let shape = alloc::Layout::from_size_align(layout.region_len(), 4096).unwrap();
            // SAFETY: the memory is never freed, and has one side of each kind.
            unsafe {
                let base = alloc::alloc_zeroed(shape);
                let stack = StackSide::create(base, layout.region_len(), layout).unwrap();
                let app = AppSide::attach(base, layout.region_len()).unwrap();
                Self { app, stack, written: 0 }
            }
        }

        fn status(&mut self, established: bool, rx_closed: bool) {
            let status = hic_netapi::region::Status {
                established,
                rx_closed,
                ..hic_netapi::region::Status::default()
            };
            self.stack.publish_status(status);
        }

        fn server_says(&mut self, bytes: &[u8]) {
            self.stack.refresh().unwrap();
            assert!(self.stack.write_rx(self.written, bytes));
            self.written += bytes.len() as u64;
            self.stack.publish_rx(self.written);
        }

        fn server_hears(&mut self) -> String {
            self.stack.refresh().unwrap();
            let from = self.stack.indices().tx_acked;
            let mut out: Vec<u8> = vec![0; (self.stack.tx_written() - from) as usize];
            assert!(self.stack.copy_tx(from, &mut out));
            String::from_utf8(out).unwrap()
        }
    }

    fn transfer() -> Transfer {
        let path = Path::try_from("/targets/x.hicmod").unwrap();
        let wanted = Wanted { path, from: 0, validator: Validator::new(), room: 100, length: None };
        Transfer::begin(wanted, &"10.0.2.2:8000").unwrap()
    }

    #[test]
    fn the_request_is_sent_once_the_connection_is_there_and_the_file_read_until_its_end() {
        let (mut wire, mut transfer, mut file) = (Wire::new(), transfer(), [0; 100]);
        assert_eq!(transfer.step(&mut wire.app, &mut file), Progress::Waits);
        assert_eq!(wire.server_hears(), "");
        wire.status(true, false);
        assert_eq!(transfer.step(&mut wire.app, &mut file), Progress::Waits);
        assert!(wire.server_hears().starts_with("GET /targets/x.hicmod HTTP/1.1\r\nHost: 10.0.2.2:8000\r\n"));
        wire.server_says(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab");
        assert_eq!(transfer.step(&mut wire.app, &mut file), Progress::Waits);
        assert_eq!(transfer.get().at(), 2);
        wire.server_says(b"cde and more");
        assert_eq!(transfer.step(&mut wire.app, &mut file), Progress::Done);
        assert!(file.starts_with(b"abcde\0"));
    }

    #[test]
    fn a_silent_server_is_waited_for_and_each_of_its_news_ends_the_wait() {
        let (mut wire, mut transfer, mut file) = (Wire::new(), transfer(), [0; 100]);
        let waits = |wire: &Wire, transfer: &Transfer| {
            let Wire { app, .. } = wire;
            app.sleep_until(transfer.wants(app), 1, 1)
        };
        assert_eq!(transfer.step(&mut wire.app, &mut file), Progress::Waits);
        assert!(waits(&wire, &transfer), "no connection yet");
        wire.status(true, false);
        assert!(!waits(&wire, &transfer), "the request can be sent");
        assert_eq!(transfer.step(&mut wire.app, &mut file), Progress::Waits);
        assert!(waits(&wire, &transfer), "the request is sent");
        wire.server_says(b"HTTP/1.1 200 OK\r\n");
        assert!(!waits(&wire, &transfer), "there is something to read");
        assert_eq!(transfer.step(&mut wire.app, &mut file), Progress::Waits);
        assert!(waits(&wire, &transfer), "it was read");
        wire.status(true, true);
        assert!(!waits(&wire, &transfer), "the server is done");
    }

    #[test]
    fn a_connection_that_ends_in_the_middle_leaves_what_came_and_says_so() {
        let (mut wire, mut transfer, mut file) = (Wire::new(), transfer(), [0; 100]);
        wire.status(true, false);
        wire.server_says(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nETag: \"v\"\r\n\r\nab");
        wire.status(true, true);
        let Progress::Failed(failure) = transfer.step(&mut wire.app, &mut file) else { panic!("no failure") };
        assert_eq!((failure.code.as_str(), failure.passing, failure.at), ("http-cut-off", true, 2));
        assert_eq!(failure.validator, "\"v\"");
    }

    #[test]
    fn an_answer_that_is_refused_ends_the_transfer_for_good() {
        let (mut wire, mut transfer, mut file) = (Wire::new(), transfer(), [0; 100]);
        wire.status(true, false);
        wire.server_says(b"HTTP/1.1 302 Found\r\nLocation: http://elsewhere/\r\nContent-Length: 0\r\n\r\n");
        let Progress::Failed(failure) = transfer.step(&mut wire.app, &mut file) else { panic!("no failure") };
        assert_eq!((failure.code.as_str(), failure.passing), ("http-redirect", false));
    }
}
