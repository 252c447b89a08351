//! ICMP in and out: echo, our errors, and what errors about our packets mean for the sockets (RFC 1122 3.2.2, 4.2.3.9).

use super::Stack;
use super::ip_in::Packet;
use crate::env::{Env, Published, Socket};
use crate::icmp::{self, Bad, Complaint, Incoming, Quoted, Unreachable};
use crate::outgoing::IpOut;
use crate::record::{PathMtu, Role};
use hic_netapi::NetError;
use hic_tcp::{Micros, State, Tuple};
use smoltcp::wire::{Icmpv4Message, IpProtocol, Ipv4Address};

/// Payload octets of the offending packet that an error quotes (RFC 792).
const QUOTE: usize = 8;
/// No path MTU is believed to be lower (RFC 791 says 576 for hosts; Linux has 552): a forged one could cost that much only.
const MIN_PATH_MTU: u16 = 552;
/// RFC 1191 6.3.
const PATH_MTU_LIFE: Micros = Micros::from_secs(600);

impl Stack {
    pub(super) fn icmp_input(&mut self, now: Micros, up: &Packet<'_>, env: &mut dyn Env) {
        match icmp::parse(up.payload) {
            Err(Bad::Malformed) => self.counters.icmp_malformed += 1,
            Err(Bad::Checksum) => self.counters.icmp_bad_checksum += 1,
            // RFC 1122 3.2.2.6: an echo request to everybody may be dropped. It is an amplifier otherwise.
            Ok(Incoming::EchoRequest { .. }) if !up.unicast => self.counters.icmp_ignored += 1,
            Ok(Incoming::EchoRequest { .. }) if self.interface.role != Role::Holder => {
                self.counters.role_elsewhere += 1;
            }
            Ok(Incoming::EchoRequest { ident, sequence, data }) => {
                self.echo(now, up, u32::from(ident) << 16 | u32::from(sequence), data, env);
            }
            Ok(Incoming::Error { complaint, quoted }) => self.complaint(now, complaint, quoted, env),
            Ok(Incoming::Other) => self.counters.icmp_ignored += 1,
        }
    }

    fn echo(&mut self, now: Micros, up: &Packet<'_>, rest: u32, data: &[u8], env: &mut dyn Env) {
        if !self.rates.echo.take(now) {
            self.counters.replies_rate_limited += 1;
            return;
        }
        self.counters.icmp_echoed += 1;
        let out = IpOut {
            source: up.destination,
            destination: up.source,
            len: icmp::HEADER + data.len(),
            ..IpOut::default()
        };
        self.ip_output(now, &out, env, &mut |space, _| {
            icmp::emit(space, Icmpv4Message::EchoReply, 0, rest, data);
        });
    }

    /// Tells a sender that nobody takes its packet. Never about ICMP errors, never to everybody (RFC 1122 3.2.2).
    pub(super) fn send_unreachable(
        &mut self,
        now: Micros,
        code: Unreachable,
        up: &Packet<'_>,
        env: &mut dyn Env,
    ) {
        let ours_to_say = self.config.reset_strangers && self.interface.role == Role::Holder;
        if !up.unicast || !ours_to_say {
            return;
        }
        if !self.rates.unreachable.take(now) {
            self.counters.replies_rate_limited += 1;
            return;
        }
        self.counters.icmp_errors_out += 1;
        let mut quote = [0; 60 + QUOTE];
        let quoted = up.header.iter().chain(up.payload.iter().take(QUOTE));
        let len = quote.iter_mut().zip(quoted).map(|(to, from)| *to = *from).count();
        let quote = quote.get(..len).unwrap_or_default();
        let out = IpOut {
            source: up.destination,
            destination: up.source,
            protocol: IpProtocol::Icmp,
            len: icmp::HEADER + len,
            ..IpOut::default()
        };
        self.ip_output(now, &out, env, &mut |space, _| {
            icmp::emit(space, Icmpv4Message::DstUnreachable, code as u8, 0, quote);
        });
    }

    fn complaint(&mut self, now: Micros, complaint: Complaint, quoted: Quoted, env: &mut dyn Env) {
        self.counters.icmp_errors_in += 1;
        if quoted.protocol != u8::from(IpProtocol::Tcp) {
            return;
        }
        let tuple = Tuple {
            local_addr: quoted.source.octets(),
            local_port: quoted.source_port,
            remote_addr: quoted.destination.octets(),
            remote_port: quoted.destination_port,
        };
        // Only about packets that we can have sent: an outsider must at least know the connection.
        let Some(id) = self.tcp.find(&tuple) else { return };
        if self.is_frozen(Socket::Connection(id)) {
            self.counters.tcp_frozen += 1;
            return;
        }
        if let Complaint::TooBig { mtu } = complaint {
            self.learn_path_mtu(now, quoted.destination, mtu, env);
            return;
        }
        let error = match complaint {
            Complaint::Refused => NetError::Refused,
            _ => NetError::Unreachable,
        };
        // Hard errors end a connection only while it is being opened; later they are hints (RFC 5927 4.3).
        let opening = |state| matches!(state, State::SynSent);
        if complaint != Complaint::TimeExceeded
            && self.tcp.conns.get(id).is_some_and(|conn| opening(conn.tcp.state()))
        {
            self.fail(now, id, error, env);
        }
    }

    fn learn_path_mtu(&mut self, now: Micros, destination: Ipv4Address, mtu: u16, env: &mut dyn Env) {
        let mtu = mtu.max(MIN_PATH_MTU);
        if mtu >= self.path_mtu(now, destination) {
            return;
        }
        self.remember_path(PathMtu { destination, mtu, expires_at: now.after(PATH_MTU_LIFE) });
        env.publish(Published::Interface(&self.interface));
    }

    /// The latest word about a destination counts.
    pub(super) fn remember_path(&mut self, fresh: PathMtu) {
        let paths = &mut self.interface.paths;
        let known = |slot: &Option<PathMtu>| slot.is_some_and(|path| path.destination == fresh.destination);
        if paths.iter().any(|slot| known(slot) && slot.is_some_and(|path| path.expires_at > fresh.expires_at))
        {
            return;
        }
        let index = paths.iter().position(known).or_else(|| {
            // An empty or the oldest place.
            let age = |slot: &Option<PathMtu>| slot.map_or(Micros(0), |path| path.expires_at);
            (0..paths.len()).min_by_key(|index| paths.get(*index).map(age))
        });
        if let Some(slot) = index.and_then(|index| paths.get_mut(index)) {
            *slot = Some(fresh);
        }
    }

    /// Longest packet that gets to `destination`.
    pub(super) fn path_mtu(&self, now: Micros, destination: Ipv4Address) -> u16 {
        let known = self.interface.paths.iter().flatten();
        let path = known.filter(|path| path.expires_at > now).find(|path| path.destination == destination);
        path.map_or(self.config.mtu, |path| path.mtu.min(self.config.mtu))
    }
}
