//! The monitor: hears of every fault, asks the services for signs of life, has the dead started again, keeps the audit records.
//!
//! It must never wait long for anyone (each call has a deadline) and never decide by itself whether a service may come back: that is the
//! module manager's policy. What must outlive the monitor lies in its state region.
#![no_std]
#![no_main]

extern crate alloc;

mod answers;
mod audit;
mod manager;
mod watch;

use audit::Audit;
use hic_abi::{Handle, Nanos};
use hic_rt::ipc::{self, Buffer, Received};
use hic_rt::{Export, StartPage, clock, log};
use manager::Manager;
use watch::Watch;

/// What it serves.
const SERVICE: Export = Export::new("monitor");

hic_rt::entry!(main, exports: [SERVICE]);

/// The audit log is drained at least this often, so that the kernel's ring does not fill.
const DRAIN_EVERY: Nanos = 1_000_000_000;

/// All that the monitor is.
struct Monitor {
    endpoint: Handle,
    audit: Audit,
    watch: Watch,
    buffer: Buffer,
}

fn main(page: &'static StartPage) -> u64 {
    let endpoint = SERVICE.endpoint(page);
    let audit = Audit::open(page);
    let watch = Watch::new(Manager::new(page));
    log!("start {}, {} audit records kept", page.restarts, audit.store.header().count);
    let mut monitor = Monitor { endpoint, audit, watch, buffer: Buffer::new() };
    loop {
        monitor.audit.drain();
        let wake = monitor.watch.act(&mut monitor.audit.store).min(clock::now() + DRAIN_EVERY);
        monitor.serve(wake);
    }
}

impl Monitor {
    /// Takes one thing that comes to the endpoint until `wake`.
    fn serve(&mut self, wake: Nanos) {
        match ipc::receive(self.endpoint, &mut self.buffer, wake) {
            Ok(Received::Call { message, .. }) => {
                let answer = self.answer(message);
                // A caller that is gone needs no answer.
                let _ = ipc::reply(answer, &mut self.buffer);
            }
            Ok(Received::Fault { badge, words, .. }) => self.watch.fault(badge, words, &mut self.audit.store),
            // Time for the next round.
            Ok(Received::Signal(_)) | Err(_) => {}
        }
    }
}
