//! The network stack as pure state: frames and the time go in, frames and events come out.
//!
//! A [`Stack`] serves one interface. It has no clock, no device and no memory of its own beyond its tables: the shell (the
//! netstack service, or a test) calls it with frames, time and commands, and gives it everything else through [`Env`].
//! What must survive the instance is in [`record`]s; tables, queues and port maps are derived from them.
//!
//! What it must never do: make something visible to others before [`Env::publish`] was called with the record that stands
//! for it (*publish before you promise*: data, record, then frame, shared index, notification); panic on a frame, a
//! command or an application's memory; drop anything without a counter.
//!
//! ```text
//!  frame ─▶ ethernet ─▶ ip_in ─▶ reassembly ─▶ tcp_in ─▶ Connection::on_segment ─▶ rx ring ─┐
//!               │           ├─▶ icmp                                                        ▼
//!               └─▶ arp     └─▶ udp_io ─▶ rx ring                        serve: pull (application's indices)
//!                                                                               │ publish(record)
//!  frame ◀─ Env::frame_out ◀─ ip_out (route, arp, fragments) ◀── segments ──────┤
//!  application ◀─ Env::notify ◀── push (indices, status into the data region) ◀─┘
//! ```
//!
//! Modules, in the order in which data meets them: [`env`], `stack` (one file for each layer: `ethernet`, `ip_in`,
//! `icmp_io`, `udp_io`, `tcp_in`, `tcp_out`, `ip_out`, `address`, `role`, `commands`, `query`, `moving`, `restore`, `work`), the
//! pure parts that it uses (`arp`, `reassembly`, `icmp`, `dhcp`, `ports`, `timers`, `slab`, `activity`), [`record`].
//!
//! # A shell in short
//! ```ignore
//! let mut stack = Stack::new(Config::new(mac, AddressSource::Dhcp { fallback: Some(address), after }, secret));
//! stack.start(now, &mut shell);                                     // or: stack.restore(now, records, &mut shell)
//! loop {
//!     match wait(until(stack.deadline())) {
//!         Frame(frame, info) => stack.on_frame(now, frame, info, &mut shell),
//!         TxFree             => stack.on_tx_room(now, &mut shell),
//!         Timeout            => stack.on_timer(now, &mut shell),
//!         // Which of the sockets that share these bits: those whose `StackSide::was_kicked()`.
//!         Doorbell(bits)     => for id in kicked(bits) { stack.conn_kicked(now, id, &mut shell) },
//!         // By the sequence rule (hic_netapi::message::sequence), then decode, act, `answered`, reply.
//!         Call(Listen { local_port, backlog, buffer_size, .. }) => stack.listen(local_port, backlog, layout, origin, &mut shell),
//!         Call(Connect { remote, local_port, .. }) => stack.connect(now, remote, local_port, layout, origin, &mut shell),
//!         Call(Accept { .. }) => stack.accept(listener, origin, &mut shell),    // WouldBlock: Env::notify(Listener) comes
//!         NoSenders(connection) => stack.release(now, connection, &mut shell),  // the application dropped it, or died
//!     }
//! }
//! ```
//! What a shell must know:
//! - After any call [`Stack::deadline`] may have moved. A deadline in the past means that there is work left: call
//!   [`Stack::on_timer`] after a look at other events.
//! - A socket's [`Id`] contains its place ([`Id::slot`], for the shell's own tables and state-region slots) and is in no
//!   record itself: the shell stores it beside the record and hands it back to [`Stack::restore`].
//! - [`Env::retire`] ends a socket: slot, data region and record are free. It comes only after [`Stack::release`] for a
//!   connection that an application had.
//! - A command that opens a socket carries an [`record::Origin`]; after a crash, a repeat of it is answered with what
//!   [`Stack::opened_by`] finds. All others are kept by [`Stack::answered`].
//! - Frames to our own address are sent to our own station; the driver's flow table hands them back.
//!
//! # How sockets move to another running instance
//! While two instances exist, both are told: [`Stack::set_lane`] (one each), [`Stack::reserve`] (what the other has),
//! [`Stack::set_reset_strangers`]`(false)`. The one without the interface role gets [`Stack::set_address_from`] and
//! [`Stack::learn_neighbours`], again whenever the other's interface record changed. Then, for each batch:
//! ```text
//!  exporter                                              importer
//!  pick from movable(): waves are ranges of Class
//!  hold the flows of listeners and UDP sockets, take in
//!  frames up to the fence; now no half-open one is new:
//!  hold the flows of unit() and of connections, likewise
//!  freeze(sockets) ─▶ what really is frozen
//!  unmap, hand out the list                     ───────▶ copy the records, attach regions at their indices
//!            ─ ─ ─ ─ ─ ─ the token decides; until then: release the flows, map, thaw(sockets) ─ ─ ─ ─ ─ ─
//!                                                        take the flows; adopt(records); held frames come now
//!  forget(sockets)                              ◀─────── done
//! ```
//! - A frozen socket's record is its truth. What is asked of it meanwhile ([`Stack::is_frozen`]) must be asked again, of
//!   whoever has it then, with the same command number: a call that ends without an answer is repeated by its client.
//!   That an application is gone (`NoSenders`) must be found out again by whoever has the socket.
//! - The interface role is moved alone: [`Stack::release_role`], and the record goes to [`Stack::take_role`] of the other.
//!   An interface record says what the instance in whose region it lies *is*, so a restart goes on with it; only if the
//!   token says that a released role is still ours, take it again with our own record.
//! - After a crash the shell gives [`Stack::restore`] what the token says is ours, after lane and reservations.
//! - Alone again: no lane, [`Stack::clear_reservations`], strangers are reset again.
#![no_std]
#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)
)]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod activity;
mod arp;
mod config;
mod counters;
mod dhcp;
pub mod env;
mod icmp;
mod outgoing;
mod ports;
mod reassembly;
pub mod record;
mod slab;
mod stack;
mod timers;

pub use activity::Class;
pub use config::{Address, AddressSource, Capabilities, Config, Limits};
pub use counters::Counters;
pub use dhcp::Lease;
pub use env::{Env, FrameOut, NoBuffer, NoMemory, Offload, Protocol, Published, Socket};
pub use hic_tcp::Micros;
pub use slab::{Id, Lane};
pub use smoltcp::wire::{EthernetAddress, Ipv4Address};
pub use stack::{ConnectionInfo, InterfaceInfo, RestoreError, Restored, RxInfo, Stack};
