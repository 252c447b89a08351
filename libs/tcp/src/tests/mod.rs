//! Behaviour tests, by the document that asks for the behaviour, over one harness: two connections and a simulated link.

extern crate std;

mod close;
mod codec;
mod congestion;
mod handshake;
mod harness;
mod hostile;
mod link;
mod loss;
mod moves;
mod receive;
mod schema;
mod timers;
mod transfer;
mod wire;
