//! Ports of sockets: made for an answer, watched for the death of their last holder.

use super::{Shell, copy, destroy};
use alloc::vec::Vec;
use hic_abi::{Handle, Rights};
use hic_net::Socket;
use hic_rt::{cap, sys};
use netstack::place::{self, BUCKETS};

impl Shell {
    /// Which sockets of these buckets have a port without a holder.
    ///
    /// What tells of it may be older than the port (an answer was lost, and repeated) or of a socket that was at this place before. So those that it names
    /// are asked once more: who has no holder says so at once.
    pub fn bereaved(&self, bits: u64) -> Vec<Socket> {
        let mut out = Vec::new();
        for bucket in (0..BUCKETS).filter(|bucket| bits >> bucket & 1 != 0) {
            let Ok(told) = sys::wait(self.grave(bucket), 0) else { continue };
            for number in place::in_bucket(bucket, told) {
                self.watch_place(number);
            }
            let Ok(rows) = sys::wait(self.grave(bucket), 0) else { continue };
            out.extend(place::in_bucket(bucket, rows).filter_map(|number| self.places.get(number)?.socket));
        }
        out
    }

    /// Whether a socket has a port.
    pub fn has_port(&mut self, socket: Socket) -> bool {
        self.place(socket).is_some_and(|place| place.port.is_some())
    }

    /// Whether a socket has a port. Asks to be told again if that has no holder: [`Shell::bereaved`] will say so.
    pub fn watch_port(&mut self, socket: Socket) -> bool {
        place::of(socket).is_some_and(|number| self.has_port(socket) && self.watch_place(number))
    }

    /// Asks to be told if the port at this place has no holder; whether there is one.
    fn watch_place(&self, number: usize) -> bool {
        let Some(port) = self.places.get(number).and_then(|place| place.port) else { return false };
        let (bucket, row) = place::grave(number);
        sys::port_watch(port, self.grave(bucket), row).is_ok()
    }

    fn grave(&self, bucket: usize) -> Handle {
        self.grants.graves + bucket as Handle
    }

    /// Makes a port to a socket and returns a slot with the only capability on it that can call: to be given away. A port
    /// made before (its holder never got it) ends.
    ///
    /// Wherever this dies, the next start finds either the port on record, without a holder, or capabilities in slots that no
    /// record names. The command comes again and makes another one.
    ///
    /// # Errors
    /// The kernel's; the socket has no port then.
    pub fn make_port(&mut self, socket: Socket) -> Result<Handle, hic_rt::Error> {
        let number = place::of(socket).ok_or(hic_rt::Error::InvalidArgument)?;
        if let Some(old) = self.place(socket).and_then(|place| place.port.take()) {
            self.keep_handles(socket);
            destroy(old);
        }
        let made = cap::allocate().ok_or(hic_rt::Error::SlotUnusable)?;
        let result = self.split_port(socket, number, made);
        // The capability with all rights goes: what stays here cannot call, so its holder's death is noticed.
        cap::drop_slot(made);
        let (own, theirs) = result?;
        if let Some(place) = self.place(socket) {
            place.port = Some(own);
        }
        self.keep_handles(socket);
        Ok(theirs)
    }

    fn split_port(
        &self,
        socket: Socket,
        number: usize,
        made: Handle,
    ) -> Result<(Handle, Handle), hic_rt::Error> {
        let (bucket, row) = place::grave(number);
        sys::create_port(self.grants.account, made, self.grants.endpoint, place::badge(socket))?;
        sys::port_watch(made, self.grave(bucket), row)?;
        let own = copy(made, Rights::MANAGE)?;
        match copy(made, Rights::SEND | Rights::COPY) {
            Ok(theirs) => Ok((own, theirs)),
            Err(error) => {
                destroy(own);
                Err(error)
            }
        }
    }
}
