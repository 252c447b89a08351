//! The way to the driver: attach, packet region, doorbell, flows. It outlives the driver: when its doorbell is dead, it
//! attaches again.

use crate::shell::Grants;
use core::cell::RefCell;
use hic_abi::{Error, Handle, MessageInfo, Nanos, Rights, SELF};
use hic_nic::flow::FlowKey;
use hic_nic::message::{CAP_NOTIFICATION, MAX_KEYS, write_keys};
use hic_nic::{Attached, Refusal, Request, RxHalf, TxHalf, VERSION, region};
use hic_rt::ipc::{self, Buffer, Message};
use hic_rt::{cap, clock, log, region::Mapped, sys};
use netstack::place::DRIVER_BIT;

/// How long one attempt to attach may take; meanwhile nobody else is served.
const ATTACH_PATIENCE: Nanos = 200_000_000;
/// How long a claim on a flow may take before the connection is refused.
const FLOW_PATIENCE: Nanos = 200_000_000;

/// The sending half and the port. The receiving half is apart, so that a frame can be answered while it is looked at.
pub struct Wire {
    /// Frames to send.
    pub tx: RefCell<TxHalf>,
    /// What the driver said about the link.
    pub attached: Attached,
    port: Handle,
    region: Handle,
    doorbell: Handle,
}

/// Joins the driver; its signals go to `notification` with [`DRIVER_BIT`].
///
/// # Errors
/// The kernel's, when there is no driver at the port now; a refusal of the driver is logged and counts as
/// [`Error::NotSupported`].
pub fn attach(port: Handle, grants: &Grants) -> Result<(Wire, RxHalf), Error> {
    let (attached, region, doorbell) = ask(port, grants)?;
    let (rx, tx) = open_or_drop(region, doorbell)?;
    Ok((Wire { tx: RefCell::new(tx), attached, port, region, doorbell }, rx))
}

/// Opens a packet region; if that fails, nothing is kept of what came with it.
fn open_or_drop(region: Handle, doorbell: Handle) -> Result<(RxHalf, TxHalf), Error> {
    open(region).inspect_err(|_| {
        cap::drop_slot(region);
        cap::drop_slot(doorbell);
    })
}

fn open(slot: Handle) -> Result<(RxHalf, TxHalf), Error> {
    let mapped = Mapped::map(slot, Rights::READ | Rights::WRITE)?;
    // SAFETY: the region is mapped now and stays mapped as long as the halves are used: `Wire::reattach` replaces them
    // before it lets an old region go, and nobody else in this program has halves for it.
    let halves = unsafe { region::attach(mapped.pointer(), mapped.bytes as usize) };
    halves.map_err(|error| {
        log!("{error}");
        Error::NotSupported
    })
}

/// The Attach call: what the driver says, packet region, doorbell. What the driver rings is a port to our endpoint: it ends with us, and so the
/// driver finds out that we are gone.
fn ask(port: Handle, grants: &Grants) -> Result<(Attached, Handle, Handle), Error> {
    let ring = cap::allocate().ok_or(Error::SlotUnusable)?;
    let answer =
        sys::create_port(grants.account, ring, grants.endpoint, 0).and_then(|()| ask_with(port, ring));
    // The driver has its own capability now, or needs none.
    cap::drop_slot(ring);
    answer
}

fn ask_with(port: Handle, ring: Handle) -> Result<(Attached, Handle, Handle), Error> {
    let slots = [cap::allocate().ok_or(Error::SlotUnusable)?, cap::allocate().ok_or(Error::SlotUnusable)?];
    let request = Request::Attach { version: VERSION, signal: DRIVER_BIT }.encode();
    let mut buffer = Buffer::new();
    buffer.offer(&slots);
    buffer.send_copy(CAP_NOTIFICATION, ring, Rights::SEND);
    let info = MessageInfo::new(request.label).with_caps(1);
    let message = Message { info, words: request.words };
    let answer = ipc::call(port, message, &mut buffer, clock::now() + ATTACH_PATIENCE);
    let [region, doorbell] = slots;
    let error = match answer {
        Ok(answer) => match Refusal::from_label(answer.label()) {
            None => return Ok((Attached::decode(&answer.words), region, doorbell)),
            Some(refusal) => {
                log!("attach: {refusal}");
                Error::NotSupported
            }
        },
        Err(error) => error,
    };
    slots.into_iter().for_each(cap::drop_slot);
    Err(error)
}

impl Wire {
    /// Rings the driver's doorbell.
    ///
    /// # Errors
    /// The kernel's, when the driver that made the doorbell is gone: attach again.
    pub fn ring(&self) -> Result<(), Error> {
        sys::signal(self.doorbell, self.attached.doorbell_bits)
    }

    /// Joins the driver again after it was restarted. The receiving half is replaced as well when the region is another.
    ///
    /// # Errors
    /// As [`attach`]; what was there before stays.
    pub fn reattach(&mut self, grants: &Grants, rx: &mut RxHalf) -> Result<(), Error> {
        let (attached, region, doorbell) = ask(self.port, grants)?;
        let same = matches!((sys::region_info(region), sys::region_info(self.region)), (Ok(new), Ok(old)) if new == old);
        if same {
            cap::drop_slot(region);
        } else {
            let (new_rx, new_tx) = open_or_drop(region, doorbell)?;
            *rx = new_rx;
            self.tx = RefCell::new(new_tx);
            let _ = sys::region_unmap(SELF, self.region);
            cap::drop_slot(core::mem::replace(&mut self.region, region));
        }
        cap::drop_slot(core::mem::replace(&mut self.doorbell, doorbell));
        self.attached = attached;
        Ok(())
    }

    /// Claims a flow; whether it is ours now.
    pub fn insert_flow(&self, key: FlowKey) -> bool {
        self.flow(&Request::InsertFlow(key)).is_ok_and(|label| label == 0)
    }

    /// Gives a flow back. The driver drops all flows of a stack that is gone, so a lost request costs one entry for a while.
    pub fn remove_flow(&self, key: FlowKey) {
        let _ = self.flow(&Request::RemoveFlow(key));
    }

    /// Makes flows ours, whoever has them: they are ours by the records (and by the token, in an update). `from` is the serial number of the
    /// sandbox that had them, 0 for ourselves.
    ///
    /// # Errors
    /// The label of the driver's refusal; the kernel's errors count as [`Refusal::NotAttached`].
    pub fn take_flows(&self, keys: &[FlowKey], from: u64) -> Result<(), u32> {
        keys.chunks(MAX_KEYS).try_for_each(|keys| {
            self.many(keys, |count| Request::Take { count, from_serial: from }).map(|_| ())
        })
    }

    /// Claims a flow; `false` only if another stack has it.
    pub fn claim(&self, key: FlowKey) -> bool {
        self.flow(&Request::InsertFlow(key)) != Ok(Refusal::FlowTaken.label())
    }

    /// Keeps frames of our flows back until `deadline`; the receive fence behind the last that came before. `None` without flows.
    ///
    /// # Errors
    /// As [`Wire::take_flows`]; flows of earlier parts of a long list are held until the deadline.
    pub fn hold(&self, keys: &[FlowKey], deadline: Nanos) -> Result<Option<u64>, u32> {
        let mut fence = None;
        for keys in keys.chunks(MAX_KEYS) {
            fence = Some(self.many(keys, |count| Request::Hold { count, deadline })?);
        }
        Ok(fence)
    }

    /// Lets flows that are held go on. Those that the driver does not know are nobody's concern.
    pub fn release(&self, keys: &[FlowKey]) {
        for keys in keys.chunks(MAX_KEYS) {
            let _ = self.many(keys, |count| Request::Release { count });
        }
    }

    /// Becomes the stack that gets what no flow names.
    ///
    /// # Errors
    /// As [`Wire::take_flows`].
    pub fn take_default(&self) -> Result<(), u32> {
        self.plain(&Request::TakeDefault)
    }

    /// Has the driver forget a stack that is gone for good.
    ///
    /// # Errors
    /// As [`Wire::take_flows`].
    pub fn forget(&self, serial: u64) -> Result<(), u32> {
        self.plain(&Request::Forget { serial })
    }

    fn plain(&self, request: &Request) -> Result<(), u32> {
        match self.flow(request) {
            Ok(hic_control::OK) => Ok(()),
            Ok(code) => Err(code),
            Err(_) => Err(Refusal::NotAttached.label()),
        }
    }

    /// One request about up to [`MAX_KEYS`] flows; word 0 of the answer.
    fn many(&self, keys: &[FlowKey], request: impl Fn(u32) -> Request) -> Result<u64, u32> {
        let request = request(keys.len() as u32).encode();
        let mut buffer = Buffer::new();
        let len = write_keys(keys, buffer.data_mut()).unwrap_or(0);
        let info = MessageInfo::new(request.label).with_inline(len);
        let until = clock::now() + FLOW_PATIENCE;
        loop {
            match ipc::call(self.port, Message { info, words: request.words }, &mut buffer, until) {
                Ok(answer) if answer.label() == hic_control::OK => return Ok(answer.words[0]),
                Ok(answer) => return Err(answer.label()),
                Err(Error::ServerDied) => {}
                Err(error) => {
                    log!("eth_driver does not answer: {error}");
                    return Err(Refusal::NotAttached.label());
                }
            }
        }
    }

    fn flow(&self, request: &Request) -> Result<u32, Error> {
        let request = request.encode();
        let message = Message::new(request.label, request.words);
        ipc::call_retry(self.port, message, clock::now() + FLOW_PATIENCE).map(|answer| answer.label())
    }
}
