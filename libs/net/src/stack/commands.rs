//! What applications ask for, as the shell passes it on. Each call publishes before it returns, so the shell may answer.
//! A command on a socket that is about to move has no effect and gets [`NetError::WouldBlock`] (see [`Stack::is_frozen`]).

use super::Stack;
use super::tcp_table::Listener;
use crate::config::AddressSource;
use crate::env::{Env, Protocol, Published, Socket};
use crate::record::{ListenerRecord, Origin, Stage, UdpRecord};
use crate::slab::Id;
use core::net::SocketAddrV4;
use hic_netapi::message::Message;
use hic_netapi::message::sequence::CommandSlot;
use hic_netapi::region::{Indices, Status};
use hic_netapi::{Layout, NetError};
use hic_tcp::{Connection, Micros, Tuple};
use smoltcp::wire::{DHCP_CLIENT_PORT, Ipv4Address};

/// Ports of our choice offered to the flow table before a socket is refused. Each costs a call to the driver; even with
/// every second port taken by another instance, all of these fail once in four thousand million times.
const PORT_TRIES: usize = 32;

impl Stack {
    /// Becomes a listener on `port`, for at most `backlog` connections that wait; accepted ones get `layout`.
    ///
    /// # Errors
    /// [`NetError::AddressInUse`], [`NetError::TableFull`], [`NetError::NoMemory`].
    pub fn listen(
        &mut self,
        port: u16,
        backlog: u16,
        layout: Layout,
        origin: Origin,
        env: &mut dyn Env,
    ) -> Result<Id, NetError> {
        if self.tcp.by_port.contains_key(&port) {
            return Err(NetError::AddressInUse);
        }
        let id = self.tcp.listeners.next_id().ok_or(NetError::TableFull)?;
        if !env.claim_port(Protocol::Tcp, port) {
            return Err(NetError::AddressInUse);
        }
        if env.open(Socket::Listener(id)).is_err() {
            env.release_port(Protocol::Tcp, port);
            return Err(NetError::NoMemory);
        }
        let record = ListenerRecord { port, backlog, layout, origin, commands: CommandSlot::default() };
        self.tcp.listeners.insert(Listener::new(record));
        self.tcp.by_port.insert(port, id);
        env.publish(Published::Listener(id, &record));
        Ok(id)
    }

    /// Takes the oldest established connection of a listener. Its record says from now on that `origin` has it.
    ///
    /// # Errors
    /// [`NetError::WouldBlock`], or [`NetError::Closed`] if there is no such listener.
    pub fn accept(&mut self, listener: Id, origin: Origin, env: &mut dyn Env) -> Result<Id, NetError> {
        self.refuse_frozen(Socket::Listener(listener))?;
        let entry = self.tcp.listeners.get_mut(listener).ok_or(NetError::Closed)?;
        let id = entry.queue.pop_front().ok_or(NetError::WouldBlock)?;
        let conn = self.tcp.conns.get_mut(id).ok_or(NetError::WouldBlock)?;
        conn.stage = Stage::Open;
        conn.origin = origin;
        env.publish(Published::Connection(id, &conn.record()));
        Ok(id)
    }

    /// Stops listening. Connections that nobody accepted are reset.
    ///
    /// # Errors
    /// [`NetError::WouldBlock`] while it is about to move.
    pub fn close_listener(&mut self, now: Micros, listener: Id, env: &mut dyn Env) -> Result<(), NetError> {
        self.refuse_frozen(Socket::Listener(listener))?;
        for id in self.tcp.of_listener(listener) {
            self.fail(now, id, NetError::Aborted, env);
        }
        if let Some(entry) = self.tcp.listeners.remove(listener) {
            self.tcp.by_port.remove(&entry.record.port);
            env.release_port(Protocol::Tcp, entry.record.port);
            env.retire(Socket::Listener(listener));
        }
        Ok(())
    }

    /// Opens a connection; `local_port` 0 chooses one. The region's status tells when it is established.
    ///
    /// # Errors
    /// [`NetError::NoAddress`], [`NetError::AddressInUse`], [`NetError::NoEphemeralPort`], [`NetError::BadArgument`],
    /// [`NetError::TableFull`], [`NetError::NoMemory`].
    pub fn connect(
        &mut self,
        now: Micros,
        remote: SocketAddrV4,
        local_port: u16,
        layout: Layout,
        origin: Origin,
        env: &mut dyn Env,
    ) -> Result<Id, NetError> {
        let ours = self.interface.address.ok_or(NetError::NoAddress)?;
        let unusable = remote.ip().is_broadcast() || remote.ip().is_multicast();
        if remote.port() == 0 || remote.ip().is_unspecified() || unusable {
            return Err(NetError::BadArgument);
        }
        self.recycle(env);
        if self.tcp.conns.is_full() {
            return Err(NetError::TableFull);
        }
        let tuple = self.claim_tuple(ours.address, remote, local_port, env)?;
        let (isn, offset) = self.secrets(now, &tuple);
        let tcp = Connection::connect(tuple, self.tcp_config(&layout), isn, offset, now);
        let id = tcp
            .map_err(|_| NetError::BadArgument)
            .and_then(|tcp| self.enter(now, tcp, Stage::Open, layout, origin, env).ok_or(NetError::NoMemory));
        let id = id.inspect_err(|_| env.release_flow(&tuple))?;
        if env.open_region(Socket::Connection(id), layout).is_err() {
            self.unlist(id, env);
            self.tcp.conns.remove(id);
            env.retire(Socket::Connection(id));
            return Err(NetError::NoMemory);
        }
        if let Some(conn) = self.tcp.conns.get_mut(id) {
            conn.has_region = true;
        }
        self.serve(now, id, env);
        Ok(id)
    }

    /// Our end for a new connection, claimed. With a port of our choice, a few are tried: another instance may have some.
    fn claim_tuple(
        &mut self,
        ours: Ipv4Address,
        remote: SocketAddrV4,
        port: u16,
        env: &mut dyn Env,
    ) -> Result<Tuple, NetError> {
        let tries = if port == 0 { PORT_TRIES } else { 1 };
        for _ in 0..tries {
            let tuple = self.choose_tuple(ours, remote, port)?;
            if env.claim_flow(&tuple) {
                return Ok(tuple);
            }
            self.ports.skip(env.random());
        }
        Err(NetError::TableFull)
    }

    fn choose_tuple(
        &mut self,
        ours: Ipv4Address,
        remote: SocketAddrV4,
        port: u16,
    ) -> Result<Tuple, NetError> {
        let tuple = |local_port| Tuple {
            local_addr: ours.octets(),
            local_port,
            remote_addr: remote.ip().octets(),
            remote_port: remote.port(),
        };
        if port != 0 {
            return Some(tuple(port)).filter(|tuple| self.tcp.is_free(tuple)).ok_or(NetError::AddressInUse);
        }
        let (tcp, secret) = (&self.tcp, &self.config.secret);
        let free = |port| !tcp.by_port.contains_key(&port) && tcp.is_free(&tuple(port));
        self.ports.choose(secret, ours, remote, free).map(tuple).ok_or(NetError::NoEphemeralPort)
    }

    /// Sends FIN after what was written; reading goes on.
    ///
    /// # Errors
    /// [`NetError::WouldBlock`] while it is about to move.
    pub fn shutdown(&mut self, now: Micros, connection: Id, env: &mut dyn Env) -> Result<(), NetError> {
        self.end_writing(now, connection, env, |tcp| tcp.app_closed())
    }

    /// Shutdown, and nothing is read any more: a reset if the other end goes on sending. The application may keep the port.
    ///
    /// # Errors
    /// As [`Stack::shutdown`].
    pub fn close(&mut self, now: Micros, connection: Id, env: &mut dyn Env) -> Result<(), NetError> {
        self.end_writing(now, connection, env, |tcp| {
            tcp.app_detached(now);
        })
    }

    fn end_writing(
        &mut self,
        now: Micros,
        connection: Id,
        env: &mut dyn Env,
        end: impl FnOnce(&mut Connection),
    ) -> Result<(), NetError> {
        self.refuse_frozen(Socket::Connection(connection))?;
        self.pull(now, connection, env);
        if let Some(region) = env.region(Socket::Connection(connection)) {
            region.close_tx();
        }
        if let Some(conn) = self.tcp.conns.get_mut(connection) {
            end(&mut conn.tcp);
        }
        self.serve(now, connection, env);
        Ok(())
    }

    /// Resets the connection.
    ///
    /// # Errors
    /// As [`Stack::shutdown`].
    pub fn abort(&mut self, now: Micros, connection: Id, env: &mut dyn Env) -> Result<(), NetError> {
        self.refuse_frozen(Socket::Connection(connection))?;
        self.fail(now, connection, NetError::Aborted, env);
        Ok(())
    }

    /// Ends a connection that the shell holds to be dangerous (its packets ended instances of this stack): the peer gets a
    /// reset, the application is told that the connection was aborted. Nothing else is touched. After [`Stack::restore`].
    ///
    /// # Errors
    /// As [`Stack::shutdown`].
    pub fn reset_connection(
        &mut self,
        now: Micros,
        connection: Id,
        env: &mut dyn Env,
    ) -> Result<(), NetError> {
        self.abort(now, connection, env)
    }

    /// The application dropped the port, or died: closes as [`Stack::close`] and forgets the connection when it is over.
    ///
    /// # Errors
    /// As [`Stack::shutdown`]: whoever has the socket after the move must be told again.
    pub fn release(&mut self, now: Micros, connection: Id, env: &mut dyn Env) -> Result<(), NetError> {
        self.refuse_frozen(Socket::Connection(connection))?;
        self.pull(now, connection, env);
        if let Some(conn) = self.tcp.conns.get_mut(connection) {
            conn.stage = Stage::Detached;
            conn.tcp.app_detached(now);
        }
        self.serve(now, connection, env);
        Ok(())
    }

    /// Opens a UDP socket on `port`, 0 for an ephemeral one.
    ///
    /// # Errors
    /// [`NetError::AddressInUse`], [`NetError::NoEphemeralPort`], [`NetError::TableFull`], [`NetError::NoMemory`].
    pub fn udp_bind(
        &mut self,
        port: u16,
        layout: Layout,
        origin: Origin,
        env: &mut dyn Env,
    ) -> Result<(Id, u16), NetError> {
        let id = self.udp.sockets.next_id().ok_or(NetError::TableFull)?;
        let port = self.claim_udp_port(port, env)?;
        let socket = Socket::Udp(id);
        if env.open(socket).is_err() {
            env.release_port(Protocol::Udp, port);
            return Err(NetError::NoMemory);
        }
        if env.open_region(socket, layout).is_err() {
            env.release_port(Protocol::Udp, port);
            env.retire(socket);
            return Err(NetError::NoMemory);
        }
        let indices = Indices::default();
        let record = UdpRecord { port, layout, indices, origin, commands: CommandSlot::default() };
        self.udp.sockets.insert(record);
        self.udp.by_port.insert(port, id);
        env.publish(Published::Udp(id, &record));
        if let Some(region) = env.region(socket) {
            region.publish_status(Status { established: true, ..Status::default() });
            // Armed or not makes no difference yet: nobody has the region.
            let _ = region.arm(u64::MAX);
        }
        Ok((id, port))
    }

    fn claim_udp_port(&mut self, wanted: u16, env: &mut dyn Env) -> Result<u16, NetError> {
        let tries = if wanted == 0 { PORT_TRIES } else { 1 };
        for _ in 0..tries {
            let port = self.udp_port(wanted)?;
            if env.claim_port(Protocol::Udp, port) {
                return Ok(port);
            }
            self.ports.skip(env.random());
        }
        Err(NetError::AddressInUse)
    }

    fn udp_port(&mut self, wanted: u16) -> Result<u16, NetError> {
        let taken = &self.udp.by_port;
        if wanted != 0 {
            // The stack's own lease comes in there; the flow is that of whoever has the role.
            let leased = matches!(self.config.source, AddressSource::Dhcp { .. });
            let is_taken = taken.contains_key(&wanted) || leased && wanted == DHCP_CLIENT_PORT;
            return if is_taken { Err(NetError::AddressInUse) } else { Ok(wanted) };
        }
        let local = self.interface.address.map_or(Ipv4Address::UNSPECIFIED, |ours| ours.address);
        let anyone = SocketAddrV4::new(Ipv4Address::UNSPECIFIED, 0);
        let free = |port| !taken.contains_key(&port);
        self.ports.choose(&self.config.secret, local, anyone, free).ok_or(NetError::NoEphemeralPort)
    }

    /// Sends what the socket's ring holds (as far as transmit buffers go) and closes it.
    ///
    /// # Errors
    /// [`NetError::WouldBlock`] while it is about to move.
    pub fn udp_close(&mut self, now: Micros, socket: Id, env: &mut dyn Env) -> Result<(), NetError> {
        self.refuse_frozen(Socket::Udp(socket))?;
        self.udp_serve(now, socket, env);
        if let Some(record) = self.udp.sockets.remove(socket) {
            self.udp.by_port.remove(&record.port);
            env.release_port(Protocol::Udp, record.port);
            env.retire(Socket::Udp(socket));
        }
        Ok(())
    }

    /// The last command on a socket's port, to judge the next one by.
    pub fn commands(&self, socket: Socket) -> Option<CommandSlot> {
        match socket {
            Socket::Connection(id) => self.tcp.conns.get(id).map(|conn| conn.commands),
            Socket::Listener(id) => self.tcp.listeners.get(id).map(|entry| entry.record.commands),
            Socket::Udp(id) => self.udp.sockets.get(id).map(|record| record.commands),
        }
    }

    /// Keeps the answer to a numbered command in the socket's record and publishes it. Call before replying. All commands
    /// that do not open a socket may be repeated without harm if a crash falls between their effect and this; for those
    /// that do, ask [`Stack::opened_by`]. Never for a command to a socket that is about to move: its number is not used up.
    pub fn answered(&mut self, socket: Socket, seq: u64, reply: Message, env: &mut dyn Env) {
        if self.is_frozen(socket) {
            return;
        }
        match socket {
            Socket::Connection(id) => {
                let Some(conn) = self.tcp.conns.get_mut(id) else { return };
                conn.commands.complete(seq, reply);
                env.publish(Published::Connection(id, &conn.record()));
            }
            Socket::Listener(id) => {
                let Some(entry) = self.tcp.listeners.get_mut(id) else { return };
                entry.record.commands.complete(seq, reply);
                env.publish(Published::Listener(id, &entry.record));
            }
            Socket::Udp(id) => {
                let Some(record) = self.udp.sockets.get_mut(id) else { return };
                record.commands.complete(seq, reply);
                env.publish(Published::Udp(id, record));
            }
        }
    }

    /// The socket that this command opened, for a repeat after a crash.
    pub fn opened_by(&self, origin: Origin) -> Option<Socket> {
        let connections = self.tcp.conns.iter().map(|(id, conn)| (Socket::Connection(id), conn.origin));
        let listeners =
            self.tcp.listeners.iter().map(|(id, entry)| (Socket::Listener(id), entry.record.origin));
        let udp = self.udp.sockets.iter().map(|(id, record)| (Socket::Udp(id), record.origin));
        let mut all = connections.chain(listeners).chain(udp);
        all.find(|(_, by)| *by == origin && origin.seq != 0).map(|(socket, _)| socket)
    }
}
