//! What a start finds of the one before: the interface goes on with its address; connections do not survive a restart in
//! this version. Their applications are told, their flows given back, their capabilities dropped.
//!
//! A data region is never destroyed here, only let go: an application may be reading it at this moment. It sees the end of
//! the connection in it and drops its own capability, and the memory returns to the account.

use crate::link::Wire;
use crate::shell::flow;
use hic_abi::{Handle, ObjectType, Rights, SELF};
use hic_net::record::{ConnectionRecord, UdpRecord};
use hic_net::{Socket, Stack};
use hic_netapi::region::{Indices, Status};
use hic_netapi::{Layout, NetError, StackSide};
use hic_rt::{StartPage, region::Mapped, sys};
use netstack::place::PLACES;
use netstack::records::{Found, Records};

/// Ends all sockets of the start before, towards their applications, and empties the capability space. Nothing may have
/// been allocated in it yet. Returns how many sockets there were.
pub fn end_sockets(page: &StartPage, records: &Records) -> usize {
    let found = (0..PLACES).filter_map(|place| records.get(place));
    // First the ports, so that an application that is woken below finds its port gone.
    let ended = found.clone().inspect(|found| destroy_port(found.handles.port)).count();
    for found in found {
        show_end(&found);
        let _ = sys::signal(found.handles.notification, found.handles.bits);
    }
    for slot in page.first_free_slot..page.slots {
        let slot = slot as Handle;
        // Ports that were never on record: made, but not yet handed out.
        destroy_port(slot);
        let _ = sys::cap_delete(SELF, slot);
    }
    ended
}

fn destroy_port(slot: Handle) {
    if let Ok((kind, rights)) = sys::cap_info(SELF, slot)
        && kind == ObjectType::Port as u64
        && rights.contains(Rights::MANAGE)
    {
        let _ = sys::destroy(SELF, slot);
    }
}

/// Gives the flows of the start before back to the driver, and forgets its records.
pub fn forget(records: &mut Records, wire: &Wire) {
    for place in 0..PLACES {
        let Some(found) = records.get(place) else { continue };
        if let Socket::Connection(_) = found.socket
            && let Ok(record) = ConnectionRecord::decode(found.record)
            && record.owns_flow()
        {
            wire.remove_flow(flow(&record.tcp.tuple()));
        }
        records.close(place);
    }
}

/// Geometry and indices of a socket's data region; `None` if it has none or its record does not say.
fn geometry(found: &Found<'_>) -> Option<(Layout, Indices)> {
    match found.socket {
        Socket::Connection(_) => {
            let record = ConnectionRecord::decode(found.record).ok()?;
            record.has_region.then(|| (record.layout, Stack::connection_indices(&record)))
        }
        Socket::Udp(_) => UdpRecord::decode(found.record).ok().map(|record| (record.layout, record.indices)),
        Socket::Listener(_) => None,
    }
}

/// Writes into a data region that nothing will ever move in it again.
fn show_end(found: &Found<'_>) {
    let Some((layout, indices)) = geometry(found) else { return };
    let Ok(mapped) = Mapped::map(found.handles.region, Rights::READ | Rights::WRITE) else { return };
    let status = Status { over: true, error: Some(NetError::Aborted), ..Status::default() };
    let (base, len) = (mapped.pointer(), mapped.bytes as usize);
    // SAFETY: mapped just now and unmapped below, after the last use; the start before, which had the other `StackSide`, is gone.
    if let Ok(side) = unsafe { StackSide::attach(base, len, layout, indices, status) } {
        side.republish();
    }
    let _ = sys::region_unmap(SELF, found.handles.region);
}
