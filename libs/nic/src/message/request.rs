//! What a stack asks, and its encoding.

use super::{INTERFACE, Message, Refusal};
use crate::flow::FlowKey;

const ATTACH: u32 = INTERFACE | 1;
const INSERT_FLOW: u32 = INTERFACE | 2;
const REMOVE_FLOW: u32 = INTERFACE | 3;
const HOLD: u32 = INTERFACE | 4;
const RELEASE: u32 = INTERFACE | 5;
const STATS: u32 = INTERFACE | 6;
const TAKE: u32 = INTERFACE | 7;
const TAKE_DEFAULT: u32 = INTERFACE | 8;
const FORGET: u32 = INTERFACE | 9;

/// What a stack asks. Where a request names `count` flows, their keys are its inline bytes ([`super::write_keys`]); such a
/// request is done for all of its flows or, when it is refused, for none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// Join, or join again after a restart; with a notification in [`super::CAP_NOTIFICATION`]. Answer: [`super::Attached`] with
    /// region and doorbell. The first stack to attach becomes the default stack, which gets what no flow entry names.
    Attach {
        /// [`super::VERSION`].
        version: u32,
        /// Bits to signal.
        signal: u64,
    },
    /// Claim a flow if nobody has it. [`Refusal::FlowTaken`] if another stack has, [`Refusal::TableFull`].
    InsertFlow(FlowKey),
    /// Give an own flow back. [`Refusal::NoSuchFlow`].
    RemoveFlow(FlowKey),
    /// Keep frames of own flows back until they are released or taken, or until `deadline` returns them to their owner. Word 0 of
    /// the answer is the receive fence: no frame of these flows comes to the caller's rx ring at this index
    /// ([`crate::RxHalf::position`]) or after it until then. Holding a held flow moves its deadline. [`Refusal::NoSuchFlow`].
    Hold {
        /// Flows inline.
        count: u32,
        /// Monotonic nanoseconds; cut to [`crate::flow::MAX_HOLD_NANOS`] from now.
        deadline: u64,
    },
    /// Own held flows go on at their owner, first with the frames that were held. A flow that is not held (any more) stays as it is.
    /// [`Refusal::NoSuchFlow`].
    Release {
        /// Flows inline.
        count: u32,
    },
    /// Make flows the caller's, whoever has them and in whatever state, or insert them. What their former owner had posted by now
    /// goes to the card before anything that the caller posts from now on; held frames go to the caller. [`Refusal::TableFull`].
    ///
    /// Nobody is asked: only who owns the flows' sockets by the system's truth (the batch token) may send it.
    Take {
        /// Flows inline.
        count: u32,
        /// Serial number of the sandbox that had the flows, so that its frames go first even when the table does not know the flows
        /// (any more); 0 for none.
        from_serial: u64,
    },
    /// Make the caller the default stack.
    TakeDefault,
    /// The stack of this sandbox is gone for good: its flows are removed, frames that it had not consumed are steered again,
    /// frames that it had posted are sent, then its packet region is freed. Unknown serial numbers are forgotten already.
    Forget {
        /// Serial number of the sandbox; not the caller's own.
        serial: u64,
    },
    /// The driver's counters; the answer carries [`crate::Counters`] inline.
    Stats,
}

impl Request {
    /// As a message.
    #[must_use]
    pub fn encode(&self) -> Message {
        let message = |label, words| Message { label, words };
        let flow = |label, flow: &FlowKey| {
            let [a, b, c] = flow.to_words();
            message(label, [a, b, c, 0])
        };
        match *self {
            Self::Attach { version, signal } => message(ATTACH, [version.into(), signal, 0, 0]),
            Self::InsertFlow(key) => flow(INSERT_FLOW, &key),
            Self::RemoveFlow(key) => flow(REMOVE_FLOW, &key),
            Self::Hold { count, deadline } => message(HOLD, [count.into(), deadline, 0, 0]),
            Self::Release { count } => message(RELEASE, [count.into(), 0, 0, 0]),
            Self::Take { count, from_serial } => message(TAKE, [count.into(), from_serial, 0, 0]),
            Self::TakeDefault => message(TAKE_DEFAULT, [0; 4]),
            Self::Forget { serial } => message(FORGET, [serial, 0, 0, 0]),
            Self::Stats => message(STATS, [0; 4]),
        }
    }

    /// From a message.
    ///
    /// # Errors
    /// [`Refusal::UnknownOperation`] for a foreign label, [`Refusal::BadArgument`] for a value out of range or a set bit that
    /// no field owns.
    pub fn decode(message: &Message) -> Result<Self, Refusal> {
        let [a, b, c, _] = message.words;
        let flow = || FlowKey::from_words([a, b, c]).ok_or(Refusal::BadArgument);
        let small = || u32::try_from(a).map_err(|_| Refusal::BadArgument);
        let request = match message.label {
            ATTACH => Self::Attach { version: small()?, signal: b },
            INSERT_FLOW => Self::InsertFlow(flow()?),
            REMOVE_FLOW => Self::RemoveFlow(flow()?),
            HOLD => Self::Hold { count: small()?, deadline: b },
            RELEASE => Self::Release { count: small()? },
            TAKE => Self::Take { count: small()?, from_serial: b },
            TAKE_DEFAULT => Self::TakeDefault,
            FORGET => Self::Forget { serial: a },
            STATS => Self::Stats,
            _ => return Err(Refusal::UnknownOperation),
        };
        if request.encode() == *message { Ok(request) } else { Err(Refusal::BadArgument) }
    }
}
