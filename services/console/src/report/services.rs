//! Services.

use super::{Report, clean, table::Table};
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use serde::Serialize;

/// `services`
#[derive(Clone, Debug, Default, Serialize)]
pub struct Services {
    /// The services, in the order in which they were started.
    pub services: Vec<Service>,
}

/// One service.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Service {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// running, frozen or stopped. Two instances of one service, during an update, are two entries of one name.
    pub state: &'static str,
    /// Serial number of its sandbox.
    pub sandbox: u64,
    /// How often it was started again.
    pub restarts: u64,
    /// Its last fault in words.
    pub last_fault: Option<String>,
}

impl Report for Services {
    fn text(&self, out: &mut String) {
        let mut table = Table::new(["service", "version", "state", "restarts", "last fault"]);
        for s in &self.services {
            let fault = s.last_fault.as_deref().map_or_else(|| "-".into(), clean);
            table.row([clean(&s.name), clean(&s.version), s.state.into(), s.restarts.to_string(), fault]);
        }
        table.print(out);
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::both;
    use super::*;

    #[test]
    fn a_service_shows_state_and_last_fault() {
        let service = Service {
            name: "inetd".into(),
            version: "1.0.0".into(),
            state: "running",
            restarts: 2,
            last_fault: Some("killed on request".into()),
            ..Service::default()
        };
        let (json, text) = both(&Services { services: alloc::vec![service] });
        assert_eq!(json["services"][0]["state"], "running");
        assert!(text.contains("inetd    1.0.0    running  2         killed on request"), "{text}");
    }

    #[test]
    fn two_instances_of_a_service_are_two_rows() {
        let instance = |version: &str, sandbox| Service {
            name: "netstack".into(),
            version: version.into(),
            state: "running",
            sandbox,
            ..Service::default()
        };
        let services = Services { services: alloc::vec![instance("1.2.0", 5), instance("1.3.0", 11)] };
        let (json, text) = both(&services);
        assert_eq!(json["services"][1]["version"], "1.3.0");
        assert_eq!(json["services"][1]["sandbox"], 11);
        assert!(
            text.ends_with(
                "netstack  1.2.0    running  0         -\nnetstack  1.3.0    running  0         -\n"
            )
        );
    }
}
