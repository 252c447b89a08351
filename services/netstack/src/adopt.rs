//! At a start, and after a batch: which sockets nobody holds, though somebody ought to.

use crate::shell::Shell;
use hic_abi::Nanos;
use hic_net::record::Stage;
use hic_net::{Socket, Stack};
use netstack::orphans::Orphans;

/// Takes in every socket that ought to have a holder and has none.
pub fn adopt(orphans: &mut Orphans, stack: &Stack, shell: &mut Shell, now: Nanos) {
    let open = |id: &hic_net::Id| stack.connection(*id).is_some_and(|info| info.stage == Stage::Open);
    let connections = stack.connections().filter(open).map(Socket::Connection);
    let listeners = stack.listeners().map(|(id, _)| Socket::Listener(id));
    let udp = stack.udp_sockets().map(|(id, _)| Socket::Udp(id));
    for socket in connections.chain(listeners).chain(udp).filter(|socket| !shell.has_port(*socket)) {
        orphans.add(socket, now);
    }
    for socket in shell.bereaved(u64::MAX) {
        orphans.add(socket, now);
    }
}
