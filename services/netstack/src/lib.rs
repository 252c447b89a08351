//! What the netstack service knows that needs no system call: where records lie in its state region, which number a socket
//! has, what it tells the console.
//!
//! The protocol itself is `hic-net` (pure as well); the binary beside this library is the shell that turns messages,
//! notifications and packet rings into calls of `hic_net::Stack`, and its wishes into system calls.
//!
//! | module | what |
//! | --- | --- |
//! | [`place`] | sockets by place: record, notification bit, port badge |
//! | [`records`] | the state region: double-buffered records that survive this instance |
//! | [`crumb`] | which frame killed the start before |
//! | [`choose`] | which sockets move to another instance in one batch |
//! | [`orphans`] | sockets that nobody holds at the moment, and for how long they are spared |
//! | [`view`] | the stack as the console sees it |
#![no_std]
#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)
)]

#[cfg(test)]
extern crate std;

extern crate alloc;

pub mod choose;
pub mod crumb;
pub mod orphans;
pub mod place;
pub mod records;
pub mod view;
