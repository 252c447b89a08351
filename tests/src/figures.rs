//! The kernel's figures: what the guest of the profile `bench` prints, and how much each may be.
//!
//! `cargo xtask bench` reports them, and the system test `figures` fails when one is missing or too large. Under `-icount shift=0` and without network
//! or disk a figure is a number of guest instructions, the same on every machine.
//! What this must never do: judge a figure that depends on the host's time.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde::Serialize;
use serde_json::Number;

use crate::text;
use crate::vm::Vm;

/// How long all of it may take: a guard against a hang.
const LIMIT: Duration = Duration::from_secs(20 * 60);

/// What every report holds, and how much it may be; `None`: nothing was promised. No name is ever renamed, since reports of different years are compared.
pub const KERNEL: [(&str, Option<u64>); 38] = [
    ("null_syscall", Some(60)),
    ("ipc_call_reply_0w", Some(300)),
    ("ipc_call_reply_4w", Some(330)),
    ("ipc_call_reply_looked_up", None),
    ("notify_wait_rtt", Some(900)),
    ("yield_rtt", Some(400)),
    ("cap_copy", Some(250)),
    ("cap_move", Some(250)),
    ("cap_delete", Some(250)),
    ("cap_copy_recorded", Some(250)),
    ("cap_move_recorded", Some(250)),
    ("cap_delete_recorded", Some(250)),
    ("revoke_per_child", Some(100)),
    // A single one bears the whole call: the only figure of the table that is not reached.
    ("revoke_per_mapped_child_1", Some(600)),
    ("revoke_per_mapped_child_100", Some(400)),
    ("revoke_per_mapped_child_1000", Some(400)),
    ("port_switch_1", Some(400)),
    ("port_switch_10000", Some(400)),
    ("switch_ports_256", None),
    ("switch_ports_256_per_entry", Some(150)),
    ("page_map", Some(400)),
    ("page_unmap", Some(400)),
    ("region_create", Some(400)),
    ("region_create_64", Some(300 + 15 * 64)),
    ("region_destroy", None),
    ("sandbox_create_destroy_4m", Some(20_000)),
    ("audit_note", None),
    ("audit_drain_per_record", None),
    ("io_write", None),
    ("interrupt_to_driver", Some(450)),
    ("cap_copy_small", None),
    ("cap_copy_grown", None),
    ("port_switch_small", None),
    ("port_switch_grown", None),
    ("region_create_destroy_small", None),
    ("region_create_destroy_grown", None),
    ("sandbox_create_destroy_small", None),
    ("sandbox_create_destroy_grown", None),
];

/// Figures that must not differ: a system ten times as large, or ten thousand callers, cost nothing.
const FLAT: [(&str, &str); 5] = [
    ("cap_copy_small", "cap_copy_grown"),
    ("port_switch_small", "port_switch_grown"),
    ("region_create_destroy_small", "region_create_destroy_grown"),
    ("sandbox_create_destroy_small", "sandbox_create_destroy_grown"),
    ("port_switch_1", "port_switch_10000"),
];

/// One figure.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Figure {
    /// What was measured.
    pub name: String,
    /// In what.
    pub unit: String,
    /// How much it is.
    pub value: Number,
}

impl Figure {
    /// A measured value to one decimal place.
    ///
    /// # Errors
    /// The value is not a number.
    pub fn rounded(name: &str, unit: &str, value: f64) -> Result<Self> {
        let value = Number::from_f64((value * 10.0).round() / 10.0).context("a figure is not a number")?;
        Ok(Self { name: name.to_owned(), unit: unit.to_owned(), value })
    }
}

/// Waits for all figures of a guest that was booted to measure; `each` gets its lines as they come.
///
/// # Errors
/// The guest does not come to its end, or prints what is no figure.
pub fn measured(vm: &Vm, each: impl Fn(&str)) -> Result<Vec<Figure>> {
    let mut told = 0;
    let finished = vm.serial().wait(0, LIMIT, |seen| {
        let mut lines: Vec<&str> = text::lines(seen).into_iter().map(text::logged).collect();
        // The last line may still be under way.
        lines.pop();
        lines.iter().skip(told).filter(|line| line.starts_with("bench ")).for_each(|line| each(line));
        told = lines.len();
        lines.contains(&"bench done").then(|| parse(&lines))
    });
    match finished {
        Ok(figures) => figures,
        Err(error) => {
            let tail = text::tail(&vm.serial_text(), 40);
            Err(error.context(format!("the benchmarks did not finish; the serial line ends:\n{tail}")))
        }
    }
}

/// The figures in `lines`. Lines that are not `bench ...` are the guest's log.
fn parse(lines: &[&str]) -> Result<Vec<Figure>> {
    let mut figures: Vec<Figure> = Vec::new();
    for line in lines {
        let Some(rest) = line.strip_prefix("bench ").filter(|rest| *rest != "done") else { continue };
        let mut words = rest.splitn(3, ' ');
        let (Some(name), Some(value), Some(unit)) = (words.next(), words.next(), words.next()) else {
            bail!("`bench NAME VALUE UNIT` was due, the guest printed `{line}`");
        };
        let value = value.parse().with_context(|| format!("the value in `{line}`"))?;
        ensure!(!figures.iter().any(|figure| figure.name == name), "{name} was measured twice");
        figures.push(Figure { name: name.to_owned(), unit: unit.trim().to_owned(), value });
    }
    ensure!(!figures.is_empty(), "the guest printed no figure");
    Ok(figures)
}

/// What is wrong with the kernel's figures among these: missing, above their limit, or grown where they must not.
#[must_use]
pub fn complaints(figures: &[Figure]) -> Vec<String> {
    let value = |name: &str| {
        figures.iter().find(|figure| figure.name == name).and_then(|figure| figure.value.as_f64())
    };
    let mut complaints = Vec::new();
    for (name, limit) in KERNEL {
        match (value(name), limit) {
            (None, _) => complaints.push(format!("{name} was not measured")),
            (Some(value), Some(limit)) if value > limit as f64 => {
                complaints.push(format!("{name} is {value}, and may be {limit}"));
            }
            _ => {}
        }
    }
    for (small, grown) in FLAT {
        let both = value(small).zip(value(grown));
        if let Some((from, to)) = both.filter(|(small, grown)| small != grown) {
            complaints.push(format!("{small} is {from}, {grown} is {to}: they must be equal"));
        }
    }
    complaints
}

/// How much a kernel figure may be.
#[must_use]
pub fn limit(name: &str) -> Option<u64> {
    KERNEL.iter().find(|(known, _)| *known == name).and_then(|(_, limit)| *limit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_read_from_among_the_log() {
        let lines = [
            "boot",
            "bench null_syscall 87 guest instructions",
            "[log] bench",
            "bench x 0.5 ratio",
            "bench done",
        ];
        let figures = parse(&lines).expect("two figures");
        assert_eq!(figures.len(), 2);
        assert_eq!(figures[0].unit, "guest instructions");
        assert_eq!(figures[0].value.as_u64(), Some(87));
        assert_eq!(figures[1].value.as_f64(), Some(0.5));
    }

    #[test]
    fn a_line_that_is_not_a_figure_is_an_error_and_so_is_a_name_twice() {
        assert!(parse(&["bench null_syscall fast really"]).is_err());
        assert!(parse(&["bench null_syscall 87"]).is_err());
        assert!(parse(&["bench a 1 u", "bench a 1 u"]).is_err());
        assert!(parse(&["bench done"]).is_err());
    }

    #[test]
    fn a_figure_above_its_limit_a_missing_one_and_one_that_grew_are_complained_about() {
        let at = |name: &str, value: u64| Figure {
            name: name.to_owned(),
            unit: "u".to_owned(),
            value: value.into(),
        };
        let mut figures: Vec<_> = KERNEL.iter().map(|(name, limit)| at(name, limit.unwrap_or(7))).collect();
        assert_eq!(complaints(&figures), <[&str; 0]>::default());
        figures[0] = at("null_syscall", 61);
        assert_eq!(complaints(&figures), ["null_syscall is 61, and may be 60"]);
        figures[0] = at("null_syscal", 60);
        assert_eq!(complaints(&figures), ["null_syscall was not measured"]);
        figures[0] = at("null_syscall", 60);
        let last = figures.len() - 1;
        figures[last] = at("sandbox_create_destroy_grown", 8);
        let [complaint] = &complaints(&figures)[..] else { panic!("one complaint") };
        assert!(complaint.ends_with("they must be equal"), "{complaint}");
    }
}
