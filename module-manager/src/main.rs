//! The module manager: starts what the boot archive holds, each module with the authority that its manifest names and nothing more, and
//! starts a service again when the monitor says that it died.
//!
//! It must never block on a service that it manages, and never parse bytes that did not come with the kernel: those of the repository
//! are parsed elsewhere (architecture, "Who keeps the keepers").
#![no_std]
#![no_main]

extern crate alloc;

mod boot;
mod hardware;
mod manager;
mod requests;
mod services;

use hic_rt::ipc::{self, Buffer, Received};
use hic_rt::{FOREVER, StartPage, log, start};

hic_rt::entry!(main);

fn main(page: &'static StartPage) -> u64 {
    let endpoint = start::require(page, "endpoint:module-manager").slot;
    let mut manager = match boot::start(page) {
        Ok(manager) => manager,
        Err(error) => {
            log!("cannot start: {error}");
            return 1;
        }
    };
    let mut buffer = Buffer::new();
    let mut next = ipc::receive(endpoint, &mut buffer, FOREVER);
    loop {
        next = match next {
            Ok(Received::Call { badge: _, caller: _, message }) => {
                let answer = manager.answer(message, &mut buffer);
                ipc::reply_receive(endpoint, answer, &mut buffer, FOREVER)
            }
            Ok(Received::Signal(_) | Received::Fault { .. }) | Err(_) => {
                ipc::receive(endpoint, &mut buffer, FOREVER)
            }
        };
    }
}
