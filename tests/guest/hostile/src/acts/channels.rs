//! Memory between two instances, for somebody who is neither of them.

use super::{Act, HELD, OUT, act, held, refused};
use crate::props::Gift;
use hic_abi::ObjectType::{Account, Device, Sandbox};
use hic_abi::object::{ChannelSpec, SandboxSpec};
use hic_abi::{Error, Handle, PAGE_SIZE, Rights, SELF, name_bytes};
use hic_rt::sys;
use hostile::outcome;

const ALL: Rights = Rights::all();
const RW: Rights = Rights::READ.union(Rights::WRITE);
/// Slot of a sandbox.
const OTHER: Handle = 2;
const BOTH: &[Gift] = &[held(Account, ALL), Gift::new(OTHER, Sandbox, ALL)];

/// Makes a sandbox that does nothing.
fn third() -> Result<Handle, Error> {
    let name = name_bytes("third");
    let spec =
        SandboxSpec { slots: 64, priority: 1, budget: 0, period: 0, hard_limit: 0, name, purpose: name };
    sys::create_sandbox(HELD, OUT + 1, &spec).map(|_| OUT + 1)
}

/// Makes a channel in [`OUT`] between this one and the other.
fn channel(one: Handle, other: Handle) -> Result<(), Error> {
    let spec = ChannelSpec { ends: [one.into(), other.into()] };
    sys::create_channel(HELD, OUT, PAGE_SIZE, &spec).map(|_| ())
}

/// A channel of which this sandbox is an end, if that is `granted`, or one of two others.
fn somebodys(granted: bool) -> Result<(), Error> {
    if granted { channel(SELF, OTHER) } else { channel(third()?, OTHER) }
}

/// All of them.
pub const ACTS: &[Act] = &[
    act("map a channel of two others", BOTH, refused(Error::MissingRights), |_, granted| {
        if somebodys(granted).is_err() {
            return outcome::STRANGE;
        }
        outcome::of(sys::region_map(SELF, OUT, RW).map(|_| ()))
    }),
    act("learn who is in a channel of two others", BOTH, refused(Error::MissingRights), |_, granted| {
        if somebodys(granted).is_err() {
            return outcome::STRANGE;
        }
        outcome::of(sys::channel_peer(OUT).map(|_| ()))
    }),
    Act {
        name: "make a channel to a sandbox that it does not manage",
        act: |_, _| outcome::of(channel(SELF, OTHER)),
        attack: &[held(Account, ALL), Gift::new(OTHER, Sandbox, Rights::READ.union(Rights::COPY))],
        control: BOTH,
        expect: refused(Error::MissingRights),
    },
    act(
        "let a device reach a channel of its own",
        &[held(Account, ALL), Gift::new(OTHER, Sandbox, ALL), Gift::new(3, Device, ALL)],
        refused(Error::MissingRights),
        |_, granted| {
            let made = match granted {
                true => sys::create_region(HELD, OUT, PAGE_SIZE).map(|_| ()),
                false => channel(SELF, OTHER),
            };
            if made.is_err() {
                return outcome::STRANGE;
            }
            outcome::of(sys::region_map(3, OUT, RW).map(|_| ()))
        },
    ),
];
