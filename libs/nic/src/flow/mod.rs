//! Which stack owns which flow.
//!
//! [`FlowKey`] names a flow, [`FlowTable`] holds who owns it, in plain records in the driver's state region, so that the next
//! start of the driver, or its successor, finds it.

mod key;
mod moves;
mod record;
mod table;

pub use key::{FlowKey, PROTO_TCP, PROTO_UDP};
pub use moves::{MAX_HOLD_NANOS, MoveError};
pub use record::{Flow, FlowRecord, FlowState, RECORD_BYTES};
pub use table::{FlowTable, InsertError, Repair};

#[cfg(test)]
mod tests;
