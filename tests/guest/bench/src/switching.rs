//! Switching ports: one with few or many callers queued, and many at once.

use crate::crowd::Crowd;
use crate::meter::nothing;
use crate::suite::Stage;
use alloc::vec::Vec;
use bench::each;
use hic_abi::inspect::{PortInfo, What};
use hic_abi::switch::{Entry, EntryKind, MAX_ENTRIES};
use hic_abi::{Error, Handle, SELF};
use hic_rt::loader::{LoadError, at, new_slot};
use hic_rt::{StartPage, start, sys};

/// Callers in the long queue.
const CALLERS: usize = 10_000;
/// Badge by which the port with the queue is found.
const BADGE: u64 = u64::from_le_bytes(*b"queue   ");

/// Measures all of them; at neither endpoint does anybody receive, so that the queue stays as it is.
pub fn run(stage: &Stage, crowd: &mut Crowd) -> Result<(), LoadError> {
    let meter = &stage.meter;
    let other = stage.endpoint()?;
    let targets = [other, crowd.endpoint];
    let port = new_slot()?;
    sys::create_port(stage.account, port, crowd.endpoint, BADGE).map_err(at("port"))?;
    crowd.give_port(port)?;
    for (name, callers) in [("port_switch_1", 1), ("port_switch_10000", CALLERS)] {
        crowd.queue_callers(callers)?;
        expect_queue(stage.page, callers as u64)?;
        let mut turn = targets.into_iter().cycle();
        meter.measure(name, nothing, || turn.next().map_or(Ok(()), |to| sys::port_switch(port, to)))?;
        expect_queue(stage.page, callers as u64)?;
    }
    let transactions =
        targets.map(|to| crowd.ports.iter().take(MAX_ENTRIES).map(|&port| entry(port, to)).collect());
    let transactions: [Vec<Entry>; 2] = transactions;
    let mut turn = transactions.iter().cycle();
    let all = meter.measure("switch_ports_256", nothing, || {
        turn.next().map_or(Ok(()), |entries| sys::transaction(entries).map_err(|(error, _)| error))
    })?;
    meter.print("switch_ports_256_per_entry", each(all, MAX_ENTRIES as u64));
    Ok(())
}

fn entry(port: Handle, endpoint: Handle) -> Entry {
    Entry { kind: EntryKind::SwitchPort as u64, args: [SELF.into(), port.into(), endpoint.into(), 0] }
}

/// Makes sure that this many callers are queued on the port.
fn expect_queue(page: &StartPage, callers: u64) -> Result<(), LoadError> {
    let audit = start::require(page, "audit").slot;
    let mut index = 0;
    loop {
        let info: PortInfo = sys::inspect(audit, What::Port, index).map_err(at("find the port"))?;
        if info.generation != 0 && info.badge == BADGE {
            let step = "callers queued on the port";
            return if info.queued == callers { Ok(()) } else { Err(at(step)(Error::WrongState)) };
        }
        index += 1;
    }
}
