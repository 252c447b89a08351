//! dialer: see the library. One thread, one event loop.
#![no_std]
#![no_main]

use dialer::server::{Dialer, SERVICE};
use hic_rt::{StartPage, log};

hic_rt::entry!(main, exports: [SERVICE]);

fn main(page: &'static StartPage) -> u64 {
    match Dialer::new(page) {
        Ok(mut dialer) => dialer.run(),
        Err(error) => {
            log!("cannot start: {error}");
            1
        }
    }
}
