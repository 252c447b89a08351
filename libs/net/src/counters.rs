//! One counter for each reason why something was dropped, and for what went well. They explain a silent network, so no
//! drop in this crate is without one. They never influence a decision.

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// All counters, each since the stack was made.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Counters { $($(#[$doc])* pub $name: u64,)* }

        impl Counters {
            /// Every counter with its name, in the order of the fields; for the console.
            pub fn each(&self) -> impl Iterator<Item = (&'static str, u64)> + use<> {
                [$((stringify!($name), self.$name),)*].into_iter()
            }
        }
    };
}

counters! {
    /// Frames taken in.
    frames_in,
    /// Frames handed to the driver.
    frames_out,
    /// Frames not sent because no transmit buffer was free.
    no_tx_buffer,
    /// Frames shorter than an Ethernet header.
    ethernet_malformed,
    /// Frames for another station.
    ethernet_not_ours,
    /// Frames of a protocol that is neither ARP nor IPv4.
    ethernet_unknown_protocol,
    /// ARP packets that do not parse.
    arp_malformed,
    /// ARP packets in which another station claims our address.
    arp_conflicts,
    /// Packets dropped because their next hop did not answer, or its queue was full.
    arp_unresolved,
    /// Packets that are not IPv4 or whose lengths contradict each other.
    ip_malformed,
    /// Wrong IPv4 header checksums.
    ip_bad_checksum,
    /// Packets to an address that is not ours.
    ip_not_ours,
    /// Packets from an address that nobody can have (broadcast, multicast, loopback, ours).
    ip_martian,
    /// Packets of a protocol above IP that we do not speak.
    ip_unknown_protocol,
    /// Fragments taken in.
    ip_fragments,
    /// Datagrams put together.
    ip_reassembled,
    /// Datagrams given up: overlap, too long, too many at once, or too late.
    ip_reassembly_failed,
    /// Outgoing packets without an address or a route.
    ip_no_route,
    /// ICMP messages that do not parse.
    icmp_malformed,
    /// Wrong ICMP checksums.
    icmp_bad_checksum,
    /// Echo requests answered.
    icmp_echoed,
    /// Errors received about something that we sent.
    icmp_errors_in,
    /// Errors sent.
    icmp_errors_out,
    /// Echo replies, errors and resets not sent because of the rate limit of their kind.
    replies_rate_limited,
    /// Other ICMP messages, ignored.
    icmp_ignored,
    /// UDP datagrams delivered.
    udp_in,
    /// UDP datagrams sent.
    udp_out,
    /// UDP datagrams that do not parse.
    udp_malformed,
    /// Wrong UDP checksums.
    udp_bad_checksum,
    /// UDP datagrams to a port without a socket.
    udp_no_socket,
    /// UDP datagrams for which a socket had no space.
    udp_no_space,
    /// UDP datagrams for a socket that is about to move.
    udp_frozen,
    /// TCP segments taken in.
    tcp_in,
    /// TCP segments sent.
    tcp_out,
    /// TCP segments that do not parse.
    tcp_malformed,
    /// Wrong TCP checksums.
    tcp_bad_checksum,
    /// TCP segments that belong to no connection and no listener.
    tcp_no_listener,
    /// Resets sent for them.
    tcp_resets_out,
    /// TCP segments that belong to nobody here while another instance may know better; dropped in silence.
    tcp_strangers,
    /// TCP segments for a connection or listener that is about to move.
    tcp_frozen,
    /// SYNs to a listener whose backlog was full: dropped, or in the place of an older one that nobody followed up.
    tcp_backlog_full,
    /// Connections refused for want of memory, table space or a flow entry.
    tcp_no_memory,
    /// Segments that a connection found not acceptable.
    tcp_not_acceptable,
    /// Connections accepted.
    tcp_accepted,
    /// Connections opened by us.
    tcp_connected,
    /// Connections in TIME-WAIT forgotten early because the table was full.
    tcp_recycled,
    /// ARP and echo requests that only the instance with the interface role answers.
    role_elsewhere,
    /// DHCP messages that are not for us or do not parse.
    dhcp_ignored,
    /// Leases obtained or renewed.
    dhcp_leases,
    /// Impossible values found in application memory; the socket was closed.
    app_violations,
}
