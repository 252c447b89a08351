//! What the network stack says about itself.

use super::Sources;
use alloc::collections::BTreeMap;
use console::error::CommandError;
use console::report::MAX_ROWS;
use console::report::net::{Connection, Connections, Net};
use hic_netapi::admin::{
    ADMIN_CONNECTION, ADMIN_COUNTER, ADMIN_NET, ConnectionInfo, CounterInfo, NO_RECORD, NetInfo,
};

const NETSTACK: &str = "netstack";

impl Sources {
    /// `net`
    pub fn net(&mut self) -> Result<Net, CommandError> {
        let info: NetInfo = self.the_record(NETSTACK, ADMIN_NET)?;
        let mut counters = BTreeMap::new();
        for index in 0..MAX_ROWS as u64 {
            let counter = self.record::<CounterInfo>(NETSTACK, (ADMIN_COUNTER, index), NO_RECORD)?;
            let Some((counter, _)) = counter else { break };
            counters.insert(counter.name().into(), counter.value);
        }
        Ok(Net::new(&info, counters))
    }

    /// `connections`
    pub fn connections(&mut self) -> Result<Connections, CommandError> {
        let mut list = Connections::default();
        for index in 0.. {
            let found = self.record::<ConnectionInfo>(NETSTACK, (ADMIN_CONNECTION, index), NO_RECORD)?;
            let Some((info, _)) = found else { break };
            if list.connections.len() == MAX_ROWS {
                list.truncated = true;
                break;
            }
            list.connections.push(Connection::from(&info));
        }
        Ok(list)
    }
}
