//! Sockets on record: those of the start before, and those that came from another instance, with their capabilities in the slots that the
//! record names.
//!
//! A record that does not hold together costs its own socket and no other: the application sees the end of it in its data region.

use super::env::{flow, port_flow};
use super::{Place, Shell, destroy};
use alloc::vec::Vec;
use hic_abi::{Handle, ObjectType, Rights, SELF};
use hic_net::record::{ConnectionRecord, ListenerRecord, RecordError, Stage, UdpRecord};
use hic_net::{Env, Protocol, Restored, Socket, Stack};
use hic_netapi::region::{Indices, Status};
use hic_netapi::{Layout, NetError, StackSide};
use hic_nic::flow::FlowKey;
use hic_rt::{cap, log, region::Mapped, sys};
use netstack::records::{Found, Handles, Places};

/// A record with the place that it is for.
pub type Placed = (usize, Restored);

/// What came of taking places over.
#[derive(Default)]
pub struct Recorded {
    /// Those that could be.
    pub places: Places,
    /// Their records, for the engine.
    pub records: Vec<Restored>,
    /// The flows that are theirs.
    pub flows: Vec<FlowKey>,
}

/// Reads what is on record at a place.
///
/// # Errors
/// [`RecordError`]; an empty record is [`None`]: nothing was promised of that socket yet.
pub fn decode(found: &Found) -> Result<Option<Restored>, RecordError> {
    if found.record.is_empty() {
        return Ok(None);
    }
    Ok(Some(match found.socket {
        Socket::Connection(id) => Restored::Connection(id, ConnectionRecord::decode(&found.record)?),
        Socket::Listener(id) => Restored::Listener(id, ListenerRecord::decode(&found.record)?),
        Socket::Udp(id) => Restored::Udp(id, UdpRecord::decode(&found.record)?),
    }))
}

/// The flow of a socket at the driver; `None` if it has none (any more).
pub fn flow_of(record: &Restored) -> Option<FlowKey> {
    match record {
        Restored::Connection(_, record) => record.owns_flow().then(|| flow(&record.tcp.tuple())),
        Restored::Listener(_, record) => Some(port_flow(Protocol::Tcp, record.port)),
        Restored::Udp(_, record) => Some(port_flow(Protocol::Udp, record.port)),
        Restored::Interface(_) => None,
    }
}

/// Geometry and indices of the data region that a record needs.
fn geometry(record: &Restored) -> Option<(Layout, Indices)> {
    match record {
        Restored::Connection(_, record) => {
            record.has_region.then(|| (record.layout, Stack::connection_indices(record)))
        }
        Restored::Udp(_, record) => Some((record.layout, record.indices)),
        Restored::Listener(..) | Restored::Interface(_) => None,
    }
}

/// Whether nobody was told yet that this connection exists, not even its peer.
fn is_unborn(record: &Restored) -> bool {
    matches!(record, Restored::Connection(_, record) if record.stage == Stage::Open && !record.has_region)
}

fn is_detached(record: &Restored) -> bool {
    matches!(record, Restored::Connection(_, record) if record.stage == Stage::Detached)
}

impl Shell {
    /// Makes places for the sockets on record at `places`, which ascend: regions mapped, ports watched. Records that are `known` already, in the
    /// same order, are not read again. What cannot be taken over ends.
    pub fn resume(&mut self, places: impl Iterator<Item = usize>, known: Vec<Placed>) -> Recorded {
        let mut all = Recorded::default();
        let mut known = known.into_iter().peekable();
        for number in places {
            let Some(socket) = self.records.socket(number) else { continue };
            let record = match known.next_if(|(place, _)| *place == number) {
                Some((_, record)) => Ok(Some(record)),
                None => self.records.get(number).map_or(Ok(None), |found| decode(&found)),
            };
            match record {
                Ok(Some(mut record)) if !is_unborn(&record) => {
                    if !self.resume_one(number, socket, &record) {
                        log!("{socket:?}: its data region is gone; it ends");
                        self.end(number);
                        continue;
                    }
                    if let Restored::Connection(_, record) = &mut record {
                        record.has_region &= self.region_of(socket).is_some();
                    }
                    all.places.insert(number);
                    all.flows.extend(flow_of(&record));
                    all.records.push(record);
                }
                Ok(_) => self.end(number),
                Err(error) => {
                    log!("{socket:?}: {error}; it ends");
                    self.end(number);
                }
            }
        }
        all
    }

    fn resume_one(&mut self, number: usize, socket: Socket, record: &Restored) -> bool {
        let handles = self.records.handles(number);
        let Handles { port, region, notification, bits } = handles;
        let mut place = Place { socket: Some(socket), ..Place::default() };
        match geometry(record) {
            Some((layout, indices)) => match attach(region, layout, indices) {
                Some((mapped, side)) => (place.region, place.side) = (Some(mapped), Some(side)),
                None if is_detached(record) => {}
                None => return false,
            },
            // Made, but not on record yet: nobody has seen it.
            None if region != 0 => {
                self.records.set_handles(number, Handles { region: 0, ..handles });
                destroy(region);
            }
            None => {}
        }
        place.port = holds(port, ObjectType::Port).then_some(port);
        place.application = holds(notification, ObjectType::Notification).then_some((notification, bits));
        if let Some(slot) = self.places.get_mut(number) {
            *slot = place;
        }
        self.keep_handles(socket);
        self.watch_port(socket);
        true
    }

    /// Ends a socket that cannot be taken over: its application sees that, and its flow goes back to the driver.
    ///
    /// A data region is not destroyed here, only let go: the application may be reading it at this moment. It sees the end
    /// of the connection in it and drops its own capability, and the memory returns to the account.
    fn end(&mut self, number: usize) {
        let Handles { port, region, notification, bits } = self.records.handles(number);
        let record = self.records.get(number).and_then(|found| decode(&found).ok().flatten());
        self.records.close(number);
        // First the port, so that an application that is woken finds it gone.
        if port != 0 {
            destroy(port);
        }
        if let Some((layout, indices)) = record.as_ref().and_then(geometry)
            && let Some((_, side)) = attach(region, layout, indices)
        {
            show_end(side);
        }
        if notification != 0 {
            let _ = sys::signal(notification, bits);
        }
        for slot in [region, notification].into_iter().filter(|slot| *slot != 0) {
            cap::drop_slot(slot);
        }
        record.as_ref().and_then(flow_of).into_iter().for_each(|flow| self.wire.remove_flow(flow));
    }

    /// Lets go of the memory of a socket that is frozen. Its capabilities and its record stay as they are, but for those whose objects are
    /// gone: they could not move.
    pub fn suspend(&mut self, socket: Socket) {
        let Some(place) = self.place(socket) else { return };
        place.side = None;
        place.port = place.port.filter(|port| holds(*port, ObjectType::Port));
        place.application = place.application.filter(|(slot, _)| holds(*slot, ObjectType::Notification));
        if let Some(region) = place.region {
            let _ = sys::region_unmap(SELF, region.slot);
        }
        self.keep_handles(socket);
    }

    /// Forgets a place: what it had is another instance's, or never came. Whatever is left in its slots goes.
    pub fn let_go(&mut self, number: usize) {
        let handles = self.records.handles(number);
        self.records.close(number);
        if let Some(place) = self.places.get_mut(number) {
            *place = Place::default();
        }
        handles.each().for_each(|(slot, _)| cap::drop_slot(slot));
    }

    /// Ends a socket that was resumed and that the engine could not take: its record contradicts another.
    pub fn lose(&mut self, socket: Socket) {
        if let Some(side) = self.place(socket).and_then(|place| place.side.take()) {
            show_end(side);
        }
        self.notify(socket);
        if let Some(place) = self.place(socket) {
            place.region.take().into_iter().for_each(|region| cap::drop_slot(region.slot));
        }
        self.retire(socket);
    }
}

fn holds(slot: Handle, kind: ObjectType) -> bool {
    slot != 0 && sys::cap_info(SELF, slot).is_ok_and(|(found, _)| found == kind as u64)
}

fn attach(slot: Handle, layout: Layout, indices: Indices) -> Option<(Mapped, StackSide)> {
    if slot == 0 {
        return None;
    }
    let mapped = Mapped::map(slot, Rights::READ | Rights::WRITE).ok()?;
    // SAFETY: mapped just now and until its place is destroyed or moves; whoever had the other `StackSide` is gone, or has let it go.
    let side = unsafe {
        StackSide::attach(mapped.pointer(), mapped.bytes as usize, layout, indices, Status::default())
    };
    side.ok().map(|side| (mapped, side))
}

/// Writes into a data region that nothing will ever move in it again.
fn show_end(mut side: StackSide) {
    side.republish();
    side.publish_status(Status { over: true, error: Some(NetError::Aborted), ..Status::default() });
}
