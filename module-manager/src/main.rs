//! The module manager: starts what the boot archive holds, each module with the authority that its manifest names and nothing more, and
//! starts a service again when the monitor says that it died, and replaces a service by another version while its clients keep talking to it.
//!
//! It must never block on a service that it manages, and never parse bytes that nobody vouched for: those of the archive and the repository
//! are parsed by the verifier first (architecture, "Who keeps the keepers").
#![no_std]
#![no_main]

extern crate alloc;

mod asking;
mod authority;
mod boot;
mod cache;
mod defaults;
mod exchange;
mod hardware;
mod manager;
mod metadata;
mod modules;
mod network;
mod orders;
mod processor;
mod repository;
mod requests;
mod services;
mod tasks;
mod update;

use hic_rt::ipc::{self, Buffer, Received};
use hic_rt::{Export, StartPage, log, sys};

/// What it serves.
const SERVICE: Export = Export::new("module-manager");

hic_rt::entry!(main, exports: [SERVICE]);

fn main(page: &'static StartPage) -> u64 {
    let endpoint = SERVICE.endpoint(page);
    let mut manager = match boot::start(page) {
        Ok(manager) => manager,
        Err(error) => {
            log!("cannot start: {error}");
            return 1;
        }
    };
    let mut buffer = Buffer::new();
    if let Err(error) = sys::bind_notification(manager.journal.bell) {
        log!("cannot hear the services: {error}");
        return 1;
    }
    loop {
        let answer_due = manager.network_turn().min(manager.repository_turn());
        manager.begin_turn();
        manager.task_turn();
        let fetch_due = manager.missing_turn().min(manager.first_look_turn());
        let exchange_due = manager.exchange_turn();
        let update_due = manager.update_turn();
        // What these two came to may be what a task waits for.
        manager.task_turn();
        let deadline =
            update_due.min(exchange_due).min(manager.probation_turn()).min(answer_due).min(fetch_due);
        if manager.network.has_begun() {
            // What was begun since its turn has its first one.
            continue;
        }
        if let Ok(Received::Call { message, .. }) = ipc::receive(endpoint, &mut buffer, deadline) {
            let answer = manager.answer(message, &mut buffer);
            // A caller that gave up needs no answer.
            let _ = ipc::reply(answer, &mut buffer);
        }
    }
}
