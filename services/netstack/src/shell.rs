//! What the engine asks of its surroundings, as memory and system calls: transmit buffers, data regions, records,
//! notifications, flows.
//!
//! Invariant: a capability slot in [`Place`] is this program's alone and is written to the state region before anybody
//! outside can hold what it names, so that a later start can clean up.

use crate::link::Wire;
use alloc::rc::Rc;
use alloc::vec::Vec;
use core::net::SocketAddrV4;
use hic_abi::{Handle, Rights, SELF};
use hic_net::env::{Fill, Published};
use hic_net::record::Stage;
use hic_net::{Env, FrameOut, NoBuffer, NoMemory, Offload, Socket};
use hic_netapi::{Layout, StackSide};
use hic_nic::flow::{FlowKey, PROTO_TCP};
use hic_rt::{cap, log, region::Mapped, sys};
use hic_tcp::{State, Tuple};
use netstack::place::{self, BUCKETS};
use netstack::records::{Handles, Records};

/// An application's notification, shared by all sockets that it opened with it.
pub struct Notification(pub Handle);

impl Drop for Notification {
    fn drop(&mut self) {
        cap::drop_slot(self.0);
    }
}

/// The capabilities of one socket.
#[derive(Default)]
pub struct Place {
    socket: Option<Socket>,
    side: Option<StackSide>,
    region: Option<Mapped>,
    port: Option<Handle>,
    application: Option<(Rc<Notification>, u64)>,
}

/// The shell around the engine.
pub struct Shell {
    /// The way to the driver.
    pub wire: Wire,
    /// The state region.
    pub records: Records,
    account: Handle,
    endpoint: Handle,
    entropy: Handle,
    places: Vec<Place>,
    /// One notification for each bucket, whose bits say which ports lost their last holder.
    graves: Vec<Handle>,
    random: RandomPool,
}

/// Random words, drawn many at a time: each draw is a system call.
struct RandomPool {
    words: [u64; 16],
    left: usize,
}

/// The grants that the shell works with.
#[derive(Clone, Copy)]
pub struct Grants {
    /// Pays for ports, regions and notifications.
    pub account: Handle,
    /// Where the ports lead.
    pub endpoint: Handle,
    /// Random numbers.
    pub entropy: Handle,
}

impl Shell {
    /// A shell without sockets.
    ///
    /// # Errors
    /// The kernel's, if the account cannot pay for the notifications.
    pub fn new(grants: Grants, wire: Wire, records: Records) -> Result<Self, hic_rt::Error> {
        let mut graves = Vec::new();
        for _ in 0..BUCKETS {
            let slot = cap::allocate().ok_or(hic_rt::Error::SlotUnusable)?;
            sys::create_notification(grants.account, slot)?;
            graves.push(slot);
        }
        let places = core::iter::repeat_with(Place::default).take(place::PLACES).collect();
        let Grants { account, endpoint, entropy } = grants;
        let random = RandomPool { words: [0; 16], left: 0 };
        Ok(Self { wire, records, account, endpoint, entropy, places, graves, random })
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

    /// Which sockets of these buckets have no holder any more.
    pub fn bereaved(&self, bits: u64) -> Vec<Socket> {
        let mut out = Vec::new();
        for (bucket, grave) in self.graves.iter().enumerate().filter(|(bucket, _)| bits >> bucket & 1 != 0) {
            let Ok(rows) = sys::wait(*grave, 0) else { continue };
            out.extend(place::in_bucket(bucket, rows).filter_map(|number| self.places.get(number)?.socket));
        }
        out
    }

    /// Says whom to notify about a socket.
    pub fn set_application(&mut self, socket: Socket, notification: Rc<Notification>, bits: u64) {
        if let Some(place) = self.place(socket) {
            place.application = Some((notification, bits));
        }
        self.keep_handles(socket);
    }

    /// The notification that came with a listener's Listen.
    pub fn notification(&mut self, socket: Socket) -> Option<Rc<Notification>> {
        self.place(socket)?.application.as_ref().map(|(notification, _)| notification.clone())
    }

    /// The data region of a socket: slot and bytes.
    pub fn region_of(&mut self, socket: Socket) -> Option<(Handle, u64)> {
        self.place(socket)?.region.map(|region| (region.slot, region.bytes))
    }

    /// Makes a port to a socket and returns a slot with the only capability on it that can call: to be given away. A port
    /// made before (its holder never got it) ends.
    ///
    /// # Errors
    /// The kernel's; the socket has no port then.
    pub fn make_port(&mut self, socket: Socket) -> Result<Handle, hic_rt::Error> {
        let number = place::of(socket).ok_or(hic_rt::Error::InvalidArgument)?;
        if let Some(old) = self.place(socket).and_then(|place| place.port.take()) {
            destroy(old);
        }
        let made = cap::allocate().ok_or(hic_rt::Error::SlotUnusable)?;
        let result = self.split_port(socket, number, made);
        // The capability with all rights goes: what stays here cannot call, so its holder's death is noticed.
        cap::drop_slot(made);
        let (own, theirs) = result?;
        if let Some(place) = self.place(socket) {
            place.port = Some(own);
        }
        self.keep_handles(socket);
        Ok(theirs)
    }

    fn split_port(
        &self,
        socket: Socket,
        number: usize,
        made: Handle,
    ) -> Result<(Handle, Handle), hic_rt::Error> {
        let (bucket, row) = place::grave(number);
        let grave = self.graves.get(bucket).copied().ok_or(hic_rt::Error::InvalidArgument)?;
        sys::create_port(self.account, made, self.endpoint, place::badge(socket))?;
        sys::port_watch(made, grave, row)?;
        let own = copy(made, Rights::MANAGE)?;
        match copy(made, Rights::SEND | Rights::COPY) {
            Ok(theirs) => Ok((own, theirs)),
            Err(error) => {
                destroy(own);
                Err(error)
            }
        }
    }

    /// Lets everything of a connection go that only waits: all was acknowledged, and nobody holds it.
    fn strip(&mut self, socket: Socket) {
        let Some(place) = self.place(socket) else { return };
        if place.region.is_none() && place.port.is_none() {
            return;
        }
        let Place { region, port, .. } =
            core::mem::replace(place, Place { socket: Some(socket), ..Place::default() });
        region.into_iter().for_each(|region| destroy(region.slot));
        port.into_iter().for_each(destroy);
        self.keep_handles(socket);
    }

    fn keep_handles(&mut self, socket: Socket) {
        let Some(number) = place::of(socket) else { return };
        let Some(place) = self.place(socket) else { return };
        let (notification, bits) = place.application.as_ref().map_or((0, 0), |(n, bits)| (n.0, *bits));
        let handles = Handles {
            port: place.port.unwrap_or(0),
            region: place.region.map_or(0, |region| region.slot),
            notification,
            bits,
        };
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

/// The flow of a connection at the driver.
pub fn flow(tuple: &Tuple) -> FlowKey {
    FlowKey::Exact {
        protocol: PROTO_TCP,
        local: SocketAddrV4::new(tuple.local_addr.into(), tuple.local_port),
        remote: SocketAddrV4::new(tuple.remote_addr.into(), tuple.remote_port),
    }
}

fn offload(offload: Offload) -> hic_nic::Offload {
    match offload {
        Offload::None => hic_nic::Offload::None,
        Offload::Checksum { start, offset } => hic_nic::Offload::Checksum { start, offset },
        Offload::Segment { start, offset, header_len, mss } => {
            hic_nic::Offload::Segment { start, offset, header_len, mss }
        }
    }
}

impl Env for Shell {
    fn tx_room(&self) -> usize {
        self.wire.tx.borrow_mut().room()
    }

    fn frame_out(&mut self, frame: FrameOut, fill: &mut Fill<'_>) -> Result<(), NoBuffer> {
        let region = frame.region.and_then(place::of).and_then(|number| self.places.get(number));
        let side = region.filter(|place| place.socket == frame.region).and_then(|place| place.side.as_ref());
        let tx = self.wire.tx.get_mut();
        let buffer = tx.reserve(frame.len).ok_or(NoBuffer)?;
        fill(buffer, side);
        tx.commit(offload(frame.offload));
        Ok(())
    }

    fn region(&mut self, socket: Socket) -> Option<&mut StackSide> {
        self.place(socket)?.side.as_mut()
    }

    fn open(&mut self, socket: Socket) -> Result<(), NoMemory> {
        let number = place::of(socket).ok_or(NoMemory)?;
        let place = self.places.get_mut(number).ok_or(NoMemory)?;
        *place = Place { socket: Some(socket), ..Place::default() };
        self.records.open(number, socket);
        Ok(())
    }

    fn open_region(&mut self, socket: Socket, layout: Layout) -> Result<(), NoMemory> {
        let slot = cap::allocate().ok_or(NoMemory)?;
        let Some(place) = self.place(socket) else {
            cap::release(slot);
            return Err(NoMemory);
        };
        place.region = Some(Mapped { slot, address: 0, bytes: 0 });
        // The slot is on record before the region exists: whoever runs here next knows what lies in it.
        self.keep_handles(socket);
        let mapped = sys::create_region(self.account, slot, layout.region_len() as u64)
            .and_then(|_| Mapped::map(slot, Rights::READ | Rights::WRITE));
        let opened = mapped.ok().and_then(|mapped| {
            // SAFETY: mapped just now and until `retire`; this is the only `StackSide` for it.
            let side = unsafe { StackSide::create(mapped.pointer(), mapped.bytes as usize, layout) };
            side.ok().map(|side| (mapped, side))
        });
        let place = self.place(socket).ok_or(NoMemory)?;
        match opened {
            Some((mapped, side)) => {
                (place.region, place.side) = (Some(mapped), Some(side));
                Ok(())
            }
            None => {
                place.region = None;
                destroy(slot);
                self.keep_handles(socket);
                Err(NoMemory)
            }
        }
    }

    fn retire(&mut self, socket: Socket) {
        let Some(place) = self.place(socket) else { return };
        // The `StackSide` goes with the place; only then may its region.
        let Place { region, port, .. } = core::mem::take(place);
        region.into_iter().for_each(|region| destroy(region.slot));
        port.into_iter().for_each(destroy);
        if let Some(number) = place::of(socket) {
            self.records.close(number);
        }
    }

    fn publish(&mut self, record: Published<'_>) {
        if let Published::Connection(id, record) = record
            && record.stage == Stage::Detached
            && record.tcp.state() == State::TimeWait
        {
            self.strip(Socket::Connection(id));
        }
        let records = &mut self.records;
        let mut socket = |socket, encode: &mut dyn FnMut(&mut [u8; hic_net::record::MAX_RECORD]) -> usize| {
            if let Some(number) = place::of(socket) {
                records.publish(number, encode);
            }
        };
        match record {
            Published::Connection(id, record) => {
                socket(Socket::Connection(id), &mut |out| record.encode(out))
            }
            Published::Listener(id, record) => socket(Socket::Listener(id), &mut |out| record.encode(out)),
            Published::Udp(id, record) => socket(Socket::Udp(id), &mut |out| record.encode(out)),
            Published::Interface(record) => records.publish_interface(|out| record.encode(out)),
        }
    }

    fn notify(&mut self, socket: Socket) {
        if let Some((notification, bits)) = self.place(socket).and_then(|place| place.application.as_ref()) {
            // An application that is gone needs no signal.
            let _ = sys::signal(notification.0, *bits);
        }
    }

    fn claim_flow(&mut self, tuple: &Tuple) -> bool {
        self.wire.insert_flow(flow(tuple))
    }

    fn release_flow(&mut self, tuple: &Tuple) {
        self.wire.remove_flow(flow(tuple));
    }

    fn random(&mut self) -> u64 {
        let RandomPool { words, left } = &mut self.random;
        if *left == 0 {
            *left = words.len();
            let mut bytes = [0; 128];
            if let Err(error) = sys::entropy(self.entropy, &mut bytes) {
                log!("no random numbers: {error}");
                sys::exit(3);
            }
            for (word, bytes) in words.iter_mut().zip(bytes.as_chunks::<8>().0) {
                *word = u64::from_le_bytes(*bytes);
            }
        }
        *left -= 1;
        words.get(*left).copied().unwrap_or(0)
    }
}
