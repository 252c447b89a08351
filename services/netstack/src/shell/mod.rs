//! The surroundings of the engine: which capabilities a socket has, what it asked its application to be told, whose turn it is.
//!
//! Modules: `env` (what the engine asks for), `ports` (a socket's port, and the capabilities of an answer), `resume` (sockets of the start
//! before).
//!
//! Invariant: a capability slot in [`Place`] is this program's alone and is written to the state region before anybody outside can hold
//! what it names, so that the next start goes on with it. Whatever lies in a slot that no record names was never promised to
//! anybody, and that start empties it.

mod env;
mod ports;
mod resume;

use crate::link::Wire;
use alloc::vec::Vec;
use hic_abi::{Handle, Rights, SELF};
use hic_net::Socket;
use hic_netapi::StackSide;
use hic_rt::{cap, region::Mapped, sys};
use netstack::place::{self, BUCKETS};
use netstack::records::{Handles, Records};

pub use env::port_flow;
pub use resume::{Placed, Recorded, decode, flow_of};

/// The capabilities of one socket.
#[derive(Default)]
struct Place {
    socket: Option<Socket>,
    side: Option<StackSide>,
    region: Option<Mapped>,
    port: Option<Handle>,
    /// The application's notification, and its bits for this socket.
    application: Option<(Handle, u64)>,
}

impl Place {
    fn handles(&self) -> Handles {
        let (notification, bits) = self.application.unwrap_or((0, 0));
        Handles {
            port: self.port.unwrap_or(0),
            region: self.region.map_or(0, |region| region.slot),
            notification,
            bits,
        }
    }

    /// Ends the objects that were the socket's alone. They must be on no record any more.
    fn destroy(self) {
        // The `StackSide` goes with the rest: nobody may have one for a region that is gone.
        let Self { region, port, application, .. } = self;
        region.into_iter().for_each(|region| destroy(region.slot));
        port.into_iter().for_each(destroy);
        application.into_iter().for_each(|(notification, _)| cap::drop_slot(notification));
    }
}

/// The shell around the engine.
pub struct Shell {
    /// The way to the driver.
    pub wire: Wire,
    /// The state region.
    pub records: Records,
    grants: Grants,
    places: Vec<Place>,
    random: RandomPool,
}

/// Random words, drawn many at a time: each draw is a system call.
struct RandomPool {
    words: [u64; 16],
    left: usize,
}

/// The capabilities that the shell works with, which every start finds in the same slots.
#[derive(Clone, Copy)]
pub struct Grants {
    /// Pays for ports, regions and notifications.
    pub account: Handle,
    /// Where the ports lead.
    pub endpoint: Handle,
    /// Random numbers.
    pub entropy: Handle,
    /// The first of [`BUCKETS`] notifications whose bits say which ports lost their last holder.
    pub graves: Handle,
}

impl Shell {
    /// A shell without sockets.
    pub fn new(grants: Grants, wire: Wire, records: Records) -> Self {
        let places = core::iter::repeat_with(Place::default).take(place::PLACES).collect();
        Self { wire, records, grants, places, random: RandomPool { words: [0; 16], left: 0 } }
    }

    fn place(&mut self, socket: Socket) -> Option<&mut Place> {
        self.places.get_mut(place::of(socket)?).filter(|place| place.socket == Some(socket))
    }

    /// Which sockets of these buckets rang the doorbell, or have something new in their rings.
    pub fn kicked(&self, bits: u64, out: &mut Vec<Socket>) {
        for bucket in (0..BUCKETS).filter(|bucket| bits >> bucket & 1 != 0) {
            for number in place::in_bucket(bucket, u64::MAX) {
                let Some(Place { socket: Some(socket), side: Some(side), .. }) = self.places.get(number)
                else {
                    continue;
                };
                if side.was_kicked() {
                    out.push(*socket);
                }
            }
        }
    }

    /// Says whom to notify about a socket: `notification` is a slot with a capability for this socket alone.
    pub fn set_application(&mut self, socket: Socket, notification: Handle, bits: u64) {
        let Some(place) = self.place(socket) else { return cap::drop_slot(notification) };
        let before = place.application.replace((notification, bits));
        self.keep_handles(socket);
        before.into_iter().for_each(|(old, _)| cap::drop_slot(old));
    }

    /// With which bits the application of this socket is signalled from now on.
    pub fn set_bits(&mut self, socket: Socket, bits: u64) {
        if let Some((_, known)) = self.place(socket).and_then(|place| place.application.as_mut()) {
            *known = bits;
            self.keep_handles(socket);
        }
    }

    /// A capability on the notification that came with a listener's Listen, for a connection that it accepts.
    pub fn copy_of_notification(&mut self, listener: Socket) -> Option<Handle> {
        let (notification, _) = self.place(listener)?.application?;
        copy(notification, Rights::SEND | Rights::COPY).ok()
    }

    /// The data region of a socket: slot and bytes.
    pub fn region_of(&mut self, socket: Socket) -> Option<(Handle, u64)> {
        self.place(socket)?.region.map(|region| (region.slot, region.bytes))
    }

    /// Lets everything of a connection go that only waits: all was acknowledged, and nobody holds it.
    fn strip(&mut self, socket: Socket) {
        let Some(place) = self.place(socket) else { return };
        if place.region.is_none() && place.port.is_none() {
            return;
        }
        let stripped = core::mem::replace(place, Place { socket: Some(socket), ..Place::default() });
        self.keep_handles(socket);
        stripped.destroy();
    }

    /// Writes down which slots are a socket's.
    fn keep_handles(&mut self, socket: Socket) {
        let Some(number) = place::of(socket) else { return };
        let Some(handles) = self.place(socket).map(|place| place.handles()) else { return };
        self.records.set_handles(number, handles);
    }
}

/// A copy with fewer rights in a new slot.
fn copy(from: Handle, rights: Rights) -> Result<Handle, hic_rt::Error> {
    let slot = cap::allocate().ok_or(hic_rt::Error::SlotUnusable)?;
    sys::cap_copy((SELF, slot), (SELF, from), rights).inspect_err(|_| cap::release(slot))?;
    Ok(slot)
}

/// Ends an object whoever holds it, and gives the slot back.
fn destroy(slot: Handle) {
    let _ = sys::destroy(SELF, slot);
    cap::drop_slot(slot);
}
