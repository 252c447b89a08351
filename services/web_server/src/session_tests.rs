//! Whole exchanges over a data region in ordinary memory.

use super::*;
use hic_netapi::region::Status as Link;
use hic_netapi::{Layout, RegionKind, StackSide};
use hic_netclient::Want;
use std::alloc;
use std::string::ToString;
use std::vec::Vec;

const RING: u32 = 8192;

struct Page(usize);

impl Content for Page {
    fn index(&mut self) -> String {
        "x".repeat(self.0)
    }
}

struct Exchange {
    app: AppSide,
    stack: StackSide,
    session: Session,
    page: Page,
    now: Nanos,
    base: *mut u8,
    shape: alloc::Layout,
}

impl Exchange {
    fn new() -> Self {
        let layout = Layout::new(RegionKind::Tcp, RING, RING).unwrap();
        let shape = alloc::Layout::from_size_align(layout.region_len(), 4096).unwrap();
        // SAFETY: a region's length is not zero; the memory lives until `Drop`, with one side of each kind.
        let (base, stack, app) = unsafe {
            let base = alloc::alloc_zeroed(shape);
            let stack = StackSide::create(base, layout.region_len(), layout).unwrap();
            (base, stack, AppSide::attach(base, layout.region_len()).unwrap())
        };
        Self { app, stack, session: Session::new(0), page: Page(20), now: 0, base, shape }
    }

    fn receive(&mut self, text: &str) {
        self.stack.refresh().unwrap();
        let at = self.stack.indices().rx_written;
        assert!(self.stack.write_rx(at, text.as_bytes()));
        self.stack.publish_rx(at + text.len() as u64);
    }

    fn step(&mut self) -> Step {
        self.session.step(&mut self.app, self.now, &mut self.page)
    }

    fn sent(&mut self) -> String {
        self.stack.refresh().unwrap();
        let from = self.stack.indices().tx_acked;
        let mut out: Vec<u8> = std::vec![0; (self.stack.tx_written() - from) as usize];
        assert!(self.stack.copy_tx(from, &mut out));
        self.stack.publish_acked(from + out.len() as u64);
        String::from_utf8(out).unwrap()
    }

    fn ask(&mut self, text: &str) -> (Step, String) {
        self.receive(text);
        (self.step(), self.sent())
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        // SAFETY: allocated in `new` with this shape.
        unsafe { alloc::dealloc(self.base, self.shape) }
    }
}

fn status(answer: &str) -> String {
    answer.split("\r\n").next().unwrap_or("").to_string()
}

fn is_reading(step: Step) -> bool {
    matches!(step, Step::Wait { want: Want::READABLE, .. })
}

#[test]
fn a_kept_connection_answers_one_request_after_the_other() {
    let mut exchange = Exchange::new();
    for _ in 0..300 {
        let (step, answer) = exchange.ask("GET /healthz HTTP/1.1\r\nHost: hic\r\n\r\n");
        assert!(is_reading(step));
        assert!(answer.ends_with("\r\n\r\nok\n"), "{answer}");
    }
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let mut exchange = Exchange::new();
    let (step, answer) = exchange.ask(
        "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\nPOST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbodyGET /none HTTP/1.1\r\nHost: a\r\n\r\n",
    );
    assert!(is_reading(step));
    let codes: Vec<&str> = answer.matches("HTTP/1.1 ").collect();
    assert_eq!(codes.len(), 3, "{answer}");
    let at = |code: &str| answer.find(code).unwrap();
    assert!(at("200 OK") < at("405 Method") && at("405 Method") < at("404 Not"));
}

#[test]
fn head_and_close_are_obeyed() {
    let mut exchange = Exchange::new();
    let (step, answer) = exchange.ask("HEAD / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    assert_eq!(step, Step::Close);
    assert!(answer.contains("Content-Length: 20\r\n") && answer.ends_with("\r\n\r\n"));
}

#[test]
fn nonsense_gets_400_and_the_end() {
    let mut exchange = Exchange::new();
    let (step, answer) = exchange.ask("hello\r\n\r\n");
    assert_eq!((step, status(&answer)), (Step::Close, "HTTP/1.1 400 Bad Request".into()));
}

#[test]
fn a_request_byte_by_byte_is_cut_off_in_time() {
    let mut exchange = Exchange::new();
    for (second, byte) in "GET / HTT".chars().enumerate() {
        exchange.now = second as u64 * 1_000_000_000;
        exchange.receive(&byte.to_string());
        assert!(is_reading(exchange.step()));
    }
    exchange.now = HEAD_TIME;
    exchange.receive("P");
    let step = exchange.step();
    assert_eq!((step, status(&exchange.sent())), (Step::Close, "HTTP/1.1 408 Request Timeout".into()));
}

#[test]
fn a_silent_kept_connection_is_closed_without_a_word() {
    let mut exchange = Exchange::new();
    let (step, _) = exchange.ask("GET /healthz HTTP/1.1\r\nHost: hic\r\n\r\n");
    let Step::Wait { deadline, .. } = step else { panic!("{step:?}") };
    assert_eq!(deadline, IDLE_TIME);
    exchange.now = deadline;
    assert_eq!((exchange.step(), exchange.sent()), (Step::Close, String::new()));
}

#[test]
fn an_answer_larger_than_the_ring_goes_out_in_pieces() {
    let mut exchange = Exchange::new();
    exchange.page = Page(3 * RING as usize);
    exchange.receive("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let mut all = String::new();
    loop {
        let step = exchange.step();
        all.push_str(&exchange.sent());
        if is_reading(step) {
            break;
        }
        assert!(matches!(step, Step::Wait { want: Want::WRITABLE, .. }), "{step:?}");
    }
    assert!(all.ends_with(&"x".repeat(3 * RING as usize)));
}

#[test]
fn a_reader_that_does_not_read_is_reset_in_time() {
    let mut exchange = Exchange::new();
    exchange.page = Page(3 * RING as usize);
    exchange.receive("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(matches!(exchange.step(), Step::Wait { want: Want::WRITABLE, .. }));
    exchange.now = SEND_TIME;
    assert_eq!(exchange.step(), Step::Abort);
}

#[test]
fn a_connection_closed_between_requests_is_closed_here_too() {
    let mut exchange = Exchange::new();
    exchange.stack.publish_status(Link { established: true, rx_closed: true, ..Link::default() });
    assert_eq!((exchange.step(), exchange.sent()), (Step::Close, String::new()));
}
