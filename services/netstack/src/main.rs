//! The network stack as a service: a shell around `hic_net::Stack`.
//!
//! Main does: take over what the start before left, join the driver, then for ever: take a batch of frames, serve the sockets
//! whose applications rang, let time pass, ring the driver once, answer calls, sleep.
//!
//! Sockets pass to and from another instance of this service, of whatever version, while both run: `migration`.
//!
//! What it must never do: make anything visible before its record is published (the engine's order, kept by `shell`), trust
//! an application's memory or message, or wait for anybody above it in the order of services. It calls down only: the
//! driver.
#![no_std]
#![no_main]

extern crate alloc;

mod commands;
mod fault;
mod link;
mod migration;
mod recover;
mod service;
mod setup;
mod shell;

use hic_rt::{Export, StartPage, log};

/// What it serves.
const SERVICE: Export = Export::new("netstack");

hic_rt::entry!(main, exports: [SERVICE]);

fn main(page: &'static StartPage) -> u64 {
    fault::at_start();
    match setup::netstack(page) {
        Ok(mut netstack) => netstack.run(),
        Err(error) => {
            log!("cannot start: {error}");
            1
        }
    }
}
