//! First proof of the ports: a client counts through a port while its server is switched, killed and replaced, and no call is lost or
//! doubled (issue "Boot to a live network service", first proof).
//!
//! | module | role |
//! | --- | --- |
//! | [`director`] | makes everybody, checks the result, powers off |
//! | [`switching`] | switches the port back and forth |
//! | [`deaths`] | kills the server before, during and after an answer, and replaces it |
//! | [`order`] | switches a port with a queue |
//! | [`extras`] | server, client and callers |
#![no_std]
#![no_main]

extern crate alloc;

mod deaths;
mod director;
mod extras;
mod order;
mod switching;

use hic_abi::name_str;
use hic_rt::StartPage;
use hic_stage::{DIRECTOR, conclude};

hic_rt::entry!(main);

fn main(page: &'static StartPage) -> u64 {
    match name_str(&page.name) {
        DIRECTOR => conclude(page, director::run(page)),
        name if name.starts_with(director::SERVER) => extras::serve(page),
        director::CLIENT => extras::count(page),
        name => extras::enter(page, name),
    }
}
