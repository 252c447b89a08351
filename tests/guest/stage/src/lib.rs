//! What guests that boot in the keeper's place share.
//!
//! Such a guest is one image in several roles: the first sandbox is the director, and its children ([`Actor`]) run the same image
//! under another name, by which `main` tells what to do. A guest built on this is a test or a measurement; nothing here serves a
//! running system.
#![no_std]

extern crate alloc;

mod actor;
mod failure;

pub use actor::{Actor, Casting};
pub use failure::{Failure, check, refused};

use core::fmt;
use hic_abi::{Error, Rights, SELF};
use hic_hicmod::Archive;
use hic_hicmod::container::Container;
use hic_rt::loader::{LoadError, at};
use hic_rt::{StartPage, log, start, sys};

/// Name of the first sandbox's module in the boot archive.
pub const DIRECTOR: &str = "keeper";

/// An image of the boot archive, which stays for ever.
pub type Image = hic_hicmod::Image<'static>;

/// The image that this program itself was started from. Maps the boot archive.
///
/// # Errors
/// [`LoadError`]: the archive is not there, not mapped readable, or holds no such image.
pub fn own_image(page: &StartPage) -> Result<Image, LoadError> {
    let archive = start::require(page, "archive");
    match sys::region_map(SELF, archive.slot, Rights::READ) {
        Ok(_) | Err(Error::Mapped) => {}
        Err(error) => return Err(at("map the boot archive")(error)),
    }
    // SAFETY: the region holds the boot archive, `length` bytes long, mapped read-only; nobody can write it any more.
    let bytes = unsafe { core::slice::from_raw_parts(archive.address as *const u8, archive.length as usize) };
    let damaged = LoadError::Kernel { step: "boot archive", error: Error::InvalidArgument };
    let archive = Archive::parse(bytes).map_err(|_| damaged)?;
    let file = archive.find(DIRECTOR).ok_or(damaged)?.bytes().map_err(|_| damaged)?;
    let container = Container::parse(file).map_err(|_| damaged)?;
    container.image().ok_or(damaged)?.map_err(LoadError::Image)
}

/// Powers the machine off; with failure when `failed`. Only the director and who it passes the `power` grant to may.
pub fn power_off(page: &StartPage, failed: bool) -> ! {
    let _ = sys::power(start::require(page, "power").slot, if failed { 2 } else { 0 });
    sys::exit(1)
}

/// Says what a self-test came to, in the words that the harness waits for, and powers the machine off. For the director.
pub fn conclude<E: fmt::Display>(page: &StartPage, result: Result<(), E>) -> ! {
    match result {
        Ok(()) => log!("selftest: PASS"),
        Err(ref failure) => log!("selftest: FAIL {failure}"),
    }
    power_off(page, result.is_err())
}
