//! Handles that were never given, and rights that were not.

use super::{Act, HELD, OUT, act, held, refused};
use crate::child::SLOTS;
use crate::props::Gift;
use hic_abi::ObjectType::{Notification, Region, Sandbox};
use hic_abi::object::SealSpec;
use hic_abi::switch::{Entry, EntryKind, MAX_ENTRIES};
use hic_abi::{Error, Handle, Rights, SELF};
use hic_rt::sys;
use hostile::{Random, outcome};

/// Handles tried at random.
const GUESSES: usize = 20_000;
const READ: Rights = Rights::READ;
const RW: Rights = READ.union(Rights::WRITE);
const SEND: Rights = Rights::SEND;
const COPY: Rights = Rights::COPY;

/// All of them.
pub const ACTS: &[Act] = &[
    Act {
        name: "forge every handle of its own space",
        act: |_, _| outcome::of(try_all(0..SLOTS as Handle)),
        attack: &[],
        control: &[held(Notification, SEND)],
        expect: refused(Error::InvalidHandle),
    },
    Act {
        name: "forge handles beyond its own space",
        act: |_, granted| {
            let mut random = Random::new(1);
            let guesses = (0..GUESSES).map(|_| random.draw() as Handle | SLOTS as Handle);
            let own = granted.then_some(HELD);
            outcome::of(try_all(guesses.chain(own)))
        },
        attack: &[held(Notification, SEND)],
        control: &[held(Notification, SEND)],
        expect: refused(Error::InvalidHandle),
    },
    Act {
        name: "copy a capability with more rights than it has",
        act: |_, _| {
            let copied = sys::cap_copy((SELF, OUT), (SELF, HELD), Rights::all());
            outcome::of(copied.and_then(|()| sys::wait(OUT, 0)).map(|_| ()))
        },
        attack: &[held(Notification, SEND.union(COPY))],
        control: &[held(Notification, Rights::all())],
        expect: refused(Error::MissingRights),
    },
    Act {
        name: "gain rights by a move",
        act: |_, _| {
            let moved = sys::cap_move((SELF, OUT), (SELF, HELD));
            outcome::of(moved.and_then(|()| sys::wait(OUT, 0)).map(|_| ()))
        },
        attack: &[held(Notification, SEND)],
        control: &[held(Notification, Rights::all())],
        expect: refused(Error::MissingRights),
    },
    Act {
        name: "gain rights by a copy in another sandbox",
        act: |_, _| {
            let there = sys::cap_copy((2, 9), (SELF, HELD), Rights::all());
            let back = there.and_then(|()| sys::cap_move((SELF, OUT), (2, 9)));
            outcome::of(back.and_then(|()| sys::wait(OUT, 0)).map(|_| ()))
        },
        attack: &[held(Notification, SEND.union(COPY)), Gift::new(2, Sandbox, Rights::all())],
        control: &[held(Notification, Rights::all()), Gift::new(2, Sandbox, Rights::all())],
        expect: refused(Error::MissingRights),
    },
    Act {
        name: "gain rights by mapping in a sandbox that it manages",
        act: |_, _| outcome::of(sys::region_map(2, HELD, RW).map(|_| ())),
        attack: &[held(Region, READ.union(COPY)), Gift::new(2, Sandbox, Rights::all())],
        control: &[held(Region, RW), Gift::new(2, Sandbox, Rights::all())],
        expect: refused(Error::MissingRights),
    },
    act(
        "put an object into a taken slot",
        &[held(Region, RW), Gift::new(2, Notification, Rights::all())],
        refused(Error::SlotUnusable),
        |_, granted| outcome::of(sys::cap_copy((SELF, if granted { OUT } else { HELD }), (SELF, 2), COPY)),
    ),
    act(
        "put an object into slot 0",
        &[held(Notification, Rights::all())],
        refused(Error::SlotUnusable),
        |_, granted| outcome::of(sys::cap_copy((SELF, if granted { OUT } else { 0 }), (SELF, HELD), COPY)),
    ),
    act(
        "put an object beyond its space",
        &[held(Notification, Rights::all())],
        refused(Error::SlotUnusable),
        |_, granted| {
            outcome::of(sys::cap_copy(
                (SELF, if granted { OUT } else { SLOTS as Handle }),
                (SELF, HELD),
                COPY,
            ))
        },
    ),
    act(
        "use a capability that was deleted",
        &[held(Notification, Rights::all())],
        refused(Error::InvalidHandle),
        |_, granted| {
            let deleted = if granted { Ok(()) } else { sys::cap_delete(SELF, HELD) };
            outcome::of(deleted.and_then(|()| sys::signal(HELD, 1)))
        },
    ),
    act(
        "use a capability that was moved away",
        &[held(Notification, Rights::all())],
        refused(Error::InvalidHandle),
        |_, granted| {
            let moved = sys::cap_move((SELF, OUT), (SELF, HELD));
            outcome::of(moved.and_then(|()| sys::signal(if granted { OUT } else { HELD }, 1)))
        },
    ),
    act(
        "use a copy of a copy after a revocation",
        &[held(Notification, Rights::all())],
        refused(Error::InvalidHandle),
        |_, granted| {
            let chain = (0..4).try_for_each(|n| {
                let from = if n == 0 { HELD } else { OUT + n - 1 };
                sys::cap_copy((SELF, OUT + n), (SELF, from), Rights::all())
            });
            let revoked = chain.and_then(|()| if granted { Ok(()) } else { sys::cap_revoke(SELF, HELD) });
            outcome::of(revoked.and_then(|()| sys::signal(OUT + 3, 1)))
        },
    ),
    act(
        "use an object that was destroyed",
        &[held(Notification, Rights::all())],
        refused(Error::InvalidHandle),
        |_, granted| {
            let copied = sys::cap_copy((SELF, OUT), (SELF, HELD), Rights::all());
            let destroyed = copied.and_then(|()| if granted { Ok(()) } else { sys::destroy(SELF, HELD) });
            outcome::of(destroyed.and_then(|()| sys::signal(OUT, 1)))
        },
    ),
    act(
        "seal a region a second time",
        &[held(Region, Rights::all())],
        refused(Error::WrongState),
        |_, granted| {
            let seal =
                |execute| sys::region_seal(HELD, &SealSpec { read_only: 1 - execute, execute, guard: 0 });
            outcome::of(if granted { Ok(()) } else { seal(0) }.and_then(|()| seal(1)))
        },
    ),
    act(
        "seal more pages than there are",
        &[held(Region, Rights::all())],
        refused(Error::InvalidArgument),
        |_, granted| {
            let execute = if granted { 1 } else { u64::MAX };
            outcome::of(sys::region_seal(HELD, &SealSpec { read_only: 0, execute, guard: 0 }))
        },
    ),
    act("seal what it can write", &[held(Region, Rights::all())], refused(Error::Mapped), |_, granted| {
        let mapped = sys::region_map(SELF, HELD, RW).map(|_| ());
        let unmapped = mapped.and_then(|()| if granted { sys::region_unmap(SELF, HELD) } else { Ok(()) });
        outcome::of(
            unmapped.and_then(|()| sys::region_seal(HELD, &SealSpec { read_only: 0, execute: 1, guard: 0 })),
        )
    }),
    act(
        "a transaction with too many entries",
        &[held(Notification, Rights::all())],
        refused(Error::InvalidArgument),
        |_, granted| {
            let entry = Entry { kind: EntryKind::Signal as u64, args: [HELD.into(), 1, 0, 0] };
            let entries = [entry; MAX_ENTRIES + 1];
            let count = if granted { MAX_ENTRIES } else { MAX_ENTRIES + 1 };
            outcome::of(
                sys::transaction(entries.get(..count).unwrap_or_default()).map_err(|(error, _)| error),
            )
        },
    ),
    act(
        "give one capability away twice in a transaction",
        &[held(Notification, Rights::all())],
        refused(Error::WrongState),
        |_, granted| {
            let entry = |to: u32| Entry {
                kind: EntryKind::MoveCapability as u64,
                args: [SELF, HELD, SELF, to].map(u64::from),
            };
            let entries = [entry(OUT), entry(OUT + 1)];
            let done = sys::transaction(entries.get(..if granted { 1 } else { 2 }).unwrap_or_default());
            outcome::of(done.map_err(|(error, _)| error))
        },
    ),
];

/// Uses each handle as a notification: `Ok` with the first that is one.
fn try_all(handles: impl Iterator<Item = Handle>) -> Result<(), Error> {
    let mut last = Err(Error::InvalidHandle);
    for handle in handles {
        last = sys::cap_info(SELF, handle).and_then(|_| sys::signal(handle, 1));
        if last != Err(Error::InvalidHandle) {
            break;
        }
    }
    last
}
