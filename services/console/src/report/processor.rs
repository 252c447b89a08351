//! The processor: what is guaranteed to whom, and with which share each one runs.

use super::{Report, clean, table::Table};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt::Write;
use hic_control::manager::{PROCESSOR_LIMIT, Percent};
use serde::Serialize;

/// `processor`. Parts of the processor are in thousandths.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Processor {
    /// The instances, in the order in which their services were started.
    pub instances: Vec<Share>,
    /// What is guaranteed to all of them together.
    pub guaranteed: u64,
    /// What may be guaranteed.
    pub limit: u64,
    /// What of that is left.
    pub free: u64,
}

/// One instance of a service.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Share {
    /// The service.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Serial number of its sandbox.
    pub sandbox: u64,
    /// Name of its sandbox.
    pub sandbox_name: String,
    /// What is reserved for it.
    pub guarantee: u64,
    /// Processor time in each period that Core-0 lets it have now, microseconds; 0 = no budget is kept.
    pub budget_us: u64,
    /// The period, microseconds.
    pub period_us: u64,
    /// Whether it gets nothing beyond the budget; otherwise it has what nobody else wants.
    pub hard: bool,
    /// Its priority.
    pub priority: u64,
    /// Processor time that it has used, nanoseconds.
    pub used_nanoseconds: u64,
}

impl Processor {
    /// With the sums.
    #[must_use]
    pub fn of(instances: Vec<Share>) -> Self {
        let guaranteed = instances.iter().map(|share| share.guarantee).sum();
        let limit = PROCESSOR_LIMIT;
        Self { instances, guaranteed, limit, free: limit.saturating_sub(guaranteed) }
    }
}

impl Report for Processor {
    fn text(&self, out: &mut String) {
        let mut table = Table::new(["guarantee", "quota", "beyond it", "priority", "whose"]);
        for share in &self.instances {
            let guarantee =
                if share.guarantee == 0 { "-".into() } else { Percent(share.guarantee).to_string() };
            let (quota, beyond) = match (share.budget_us, share.hard) {
                (0, _) => ("-".into(), "-"),
                (budget, hard) => (
                    format!("{budget} us in {} us", share.period_us),
                    if hard { "nothing" } else { "what is left" },
                ),
            };
            let whose = format!("{} {}", clean(&share.name), clean(&share.version));
            table.row([guarantee, quota, beyond.into(), share.priority.to_string(), whose]);
        }
        table.print(out);
        let [guaranteed, limit, free] = [self.guaranteed, self.limit, self.free].map(Percent);
        let _ = writeln!(out, "guaranteed {guaranteed} of {limit}, free {free}");
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::both;
    use super::*;

    #[test]
    fn each_one_has_its_guarantee_its_quota_and_its_priority_and_there_is_a_sum() {
        let share = |name: &str, guarantee, budget_us, hard| Share {
            name: name.into(),
            version: "1.3.0".into(),
            guarantee,
            budget_us,
            period_us: 10_000,
            hard,
            priority: 15,
            ..Share::default()
        };
        let instances = alloc::vec![
            share("netstack", 405, 4050, false),
            share("new", 200, 2000, true),
            share("inetd", 0, 0, false)
        ];
        let (json, text) = both(&Processor::of(instances));
        assert_eq!(
            (&json["guaranteed"], &json["limit"], &json["free"]),
            (&605.into(), &950.into(), &345.into())
        );
        assert_eq!(json["instances"][1]["hard"], true);
        assert_eq!(
            text,
            "guarantee  quota                beyond it     priority  whose\n\
             40.5 %     4050 us in 10000 us  what is left  15        netstack 1.3.0\n\
             20.0 %     2000 us in 10000 us  nothing       15        new 1.3.0\n\
             -          -                    -             15        inetd 1.3.0\n\
             guaranteed 60.5 % of 95.0 %, free 34.5 %\n"
        );
    }
}
