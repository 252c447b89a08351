//! dialer: see the library. One thread, one event loop.
#![no_std]
#![no_main]

use dialer::server::Dialer;
use hic_rt::{StartPage, log};

hic_rt::entry!(main);

fn main(page: &'static StartPage) -> u64 {
    match Dialer::new(page) {
        Ok(mut dialer) => dialer.run(),
        Err(error) => {
            log!("cannot start: {error}");
            1
        }
    }
}
