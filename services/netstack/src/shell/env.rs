//! What the engine asks of its surroundings, as memory and system calls: transmit buffers, data regions, records,
//! notifications, flows.
//!
//! What it must never do: let anybody see something before its record is published. The engine keeps that order; here it
//! means that a slot is on record before its object exists, and that an object goes only after its record.

use super::{Place, RandomPool, Shell, destroy};
use core::net::SocketAddrV4;
use hic_abi::Rights;
use hic_net::env::{Fill, Published};
use hic_net::record::{MAX_RECORD, Stage};
use hic_net::{Env, FrameOut, NoBuffer, NoMemory, Offload, Protocol, Socket};
use hic_netapi::{Layout, StackSide};
use hic_nic::flow::{FlowKey, PROTO_TCP, PROTO_UDP};
use hic_rt::{cap, log, region::Mapped, sys};
use hic_tcp::{State, Tuple};
use netstack::place;

/// The flow of a connection at the driver.
pub(super) fn flow(tuple: &Tuple) -> FlowKey {
    FlowKey::Exact {
        protocol: PROTO_TCP,
        local: SocketAddrV4::new(tuple.local_addr.into(), tuple.local_port),
        remote: SocketAddrV4::new(tuple.remote_addr.into(), tuple.remote_port),
    }
}

/// The flow of a listener or a UDP socket at the driver.
pub fn port_flow(protocol: Protocol, port: u16) -> FlowKey {
    let protocol = match protocol {
        Protocol::Tcp => PROTO_TCP,
        Protocol::Udp => PROTO_UDP,
    };
    FlowKey::Port { protocol, port }
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
    fn tx_room(&self, octets: usize) -> usize {
        self.wire.tx.borrow_mut().room(octets)
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
        let mapped = sys::create_region(self.grants.account, slot, layout.region_len() as u64)
            .and_then(|_| Mapped::map(slot, Rights::READ | Rights::WRITE));
        let opened = mapped.ok().and_then(|mapped| {
            // SAFETY: mapped just now and until its place is destroyed; this is the only `StackSide` for it.
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
                self.keep_handles(socket);
                destroy(slot);
                Err(NoMemory)
            }
        }
    }

    fn retire(&mut self, socket: Socket) {
        let Some(place) = self.place(socket) else { return };
        let gone = core::mem::take(place);
        // The record first: a socket of which only half is left must not come back.
        if let Some(number) = place::of(socket) {
            self.records.close(number);
        }
        gone.destroy();
    }

    fn publish(&mut self, record: Published<'_>) {
        if let Published::Connection(id, record) = record
            && record.stage == Stage::Detached
            && record.tcp.state() == State::TimeWait
        {
            self.strip(Socket::Connection(id));
        }
        let records = &mut self.records;
        let mut socket = |socket, encode: &mut dyn FnMut(&mut [u8; MAX_RECORD]) -> usize| {
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
        if let Some((notification, bits)) = self.place(socket).and_then(|place| place.application) {
            // An application that is gone needs no signal.
            let _ = sys::signal(notification, bits);
        }
    }

    fn claim_flow(&mut self, tuple: &Tuple) -> bool {
        self.wire.insert_flow(flow(tuple))
    }

    fn release_flow(&mut self, tuple: &Tuple) {
        self.wire.remove_flow(flow(tuple));
    }

    fn claim_port(&mut self, protocol: Protocol, port: u16) -> bool {
        self.wire.insert_flow(port_flow(protocol, port))
    }

    fn release_port(&mut self, protocol: Protocol, port: u16) {
        self.wire.remove_flow(port_flow(protocol, port));
    }

    fn random(&mut self) -> u64 {
        let RandomPool { words, left } = &mut self.random;
        if *left == 0 {
            *left = words.len();
            let mut bytes = [0; 128];
            if let Err(error) = sys::entropy(self.grants.entropy, &mut bytes) {
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
