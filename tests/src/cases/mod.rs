//! The system tests, and the table in which each is registered.

mod bad_modules;
mod boot;
mod boot_iso;
mod boot_microvm;
mod console_json;
mod cpu_models;
mod crash_anywhere;
mod driver_update;
mod epochs;
mod faulty_release;
mod figures;
mod forge;
pub mod hostile;
mod http_repository;
mod install;
mod iommu;
mod kill_each;
mod live_update;
mod memory;
mod new_root;
mod newcomer;
mod persistence;
mod plan;
mod plan_crash;
mod repository_attacks;
mod selftest;
mod service;
mod shortage;
mod stalled_boot;
mod storage;
mod tampering;
mod tcp_soak;
mod update_soak;
mod updating;
mod verifier_hangs;
mod wrong_clock;

use std::time::Duration;

use anyhow::{Context, Result};

use crate::qemu::Proto;
use crate::runner::{Needs, SLOTS, SystemTest};

/// Guest ports that the tests use.
pub(crate) const ECHO: u16 = 7;
/// Daytime (RFC 867).
pub(crate) const DAYTIME: u16 = 13;
/// The web server.
pub(crate) const HTTP: u16 = 80;

/// What must be within reach of clients over user networking.
pub(crate) const PORTS: [(Proto, u16); 4] =
    [(Proto::Tcp, ECHO), (Proto::Udp, ECHO), (Proto::Tcp, DAYTIME), (Proto::Tcp, HTTP)];

/// System tests that run only when they are asked for by name.
pub const SLOW: [&str; 2] = ["crash_anywhere", "fuzz"];

/// Environment variable: how long the slow form of a test is, in its own measure (points of a kill, rounds of updates).
pub const POINTS: &str = "HIC_TEST_POINTS";

/// What [`POINTS`] says, or the usual length without it.
fn length(usual: usize) -> Result<usize> {
    match std::env::var(POINTS) {
        Ok(text) => text.parse().with_context(|| format!("{POINTS}={text}")),
        Err(_) => Ok(usual),
    }
}

/// All system tests. Those that take the machine to themselves come last, so that they do not hold up the others.
pub static ALL: &[SystemTest] = &[
    SystemTest {
        name: "boot",
        profile: "default",
        needs: Needs::Nothing,
        slots: 1,
        timeout: Duration::from_secs(900),
        run: boot::run,
    },
    SystemTest {
        name: "boot_iso",
        profile: "default",
        needs: Needs::Medium,
        slots: 1,
        timeout: Duration::from_secs(900),
        run: boot_iso::run,
    },
    SystemTest {
        name: "boot_microvm",
        profile: "default",
        needs: Needs::Nothing,
        slots: 1,
        timeout: Duration::from_secs(900),
        run: boot_microvm::run,
    },
    SystemTest {
        name: "boot_tampered",
        profile: "default",
        needs: Needs::Nothing,
        slots: 1,
        timeout: Duration::from_secs(900),
        run: tampering::run,
    },
    SystemTest {
        name: "cpu_models",
        profile: "default",
        needs: Needs::Nothing,
        slots: 1,
        timeout: Duration::from_secs(1800),
        run: cpu_models::run,
    },
    SystemTest {
        name: "stalled_boot",
        profile: "default",
        needs: Needs::Nothing,
        slots: 1,
        timeout: Duration::from_secs(900),
        run: stalled_boot::run,
    },
    SystemTest {
        name: "wrong_clock",
        profile: "default",
        needs: Needs::Nothing,
        slots: 1,
        timeout: Duration::from_secs(900),
        run: wrong_clock::run,
    },
    SystemTest {
        name: "console_json",
        profile: "default",
        needs: Needs::Nothing,
        slots: 1,
        timeout: Duration::from_secs(900),
        run: console_json::run,
    },
    // A guest that tests itself: one line here and one profile in qemu/modules.toml.
    SystemTest {
        name: "ports",
        profile: "ports",
        needs: Needs::Nothing,
        slots: 1,
        timeout: Duration::from_secs(1800),
        run: selftest::run,
    },
    SystemTest {
        name: "hostile",
        profile: "hostile",
        needs: Needs::Nothing,
        slots: 1,
        timeout: Duration::from_secs(1800),
        run: hostile::run,
    },
    SystemTest {
        name: "figures",
        profile: "bench",
        needs: Needs::Nothing,
        slots: 1,
        timeout: Duration::from_secs(1800),
        run: figures::run,
    },
    SystemTest {
        name: "storage",
        profile: "storage",
        needs: Needs::Nothing,
        slots: 1,
        timeout: Duration::from_secs(900),
        run: storage::run,
    },
    SystemTest {
        name: "iommu",
        profile: "iommu",
        needs: Needs::Nothing,
        slots: 1,
        timeout: Duration::from_secs(900),
        run: iommu::hostile,
    },
    // The longest of those that others may run beside come first: most of what they do is wait.
    SystemTest {
        name: "repository_attacks_http",
        profile: "default",
        needs: Needs::Nothing,
        slots: 1,
        timeout: Duration::from_secs(1800),
        run: repository_attacks::run_http,
    },
    SystemTest {
        name: "driver_update",
        profile: "default",
        needs: Needs::Nothing,
        slots: 1,
        timeout: Duration::from_secs(1800),
        run: driver_update::run,
    },
    SystemTest {
        name: "kill_each",
        profile: "default",
        needs: Needs::Nothing,
        slots: 1,
        timeout: Duration::from_secs(1800),
        run: kill_each::run,
    },
    SystemTest {
        name: "repository_attacks",
        profile: "default",
        needs: Needs::Nothing,
        slots: 1,
        timeout: Duration::from_secs(1800),
        run: repository_attacks::run,
    },
    SystemTest {
        name: "bad_modules",
        profile: "default",
        needs: Needs::Nothing,
        slots: 1,
        timeout: Duration::from_secs(1800),
        run: bad_modules::run,
    },
    SystemTest {
        name: "verifier_hangs",
        // The default profile and a verifier that is built to hang on files of some names.
        profile: "verifier_hangs",
        needs: Needs::Nothing,
        slots: 1,
        timeout: Duration::from_secs(1800),
        run: verifier_hangs::run,
    },
    SystemTest {
        name: "plan",
        profile: "default",
        needs: Needs::Nothing,
        slots: 1,
        timeout: Duration::from_secs(1800),
        run: plan::run,
    },
    SystemTest {
        name: "plan_crash",
        profile: "default",
        needs: Needs::Nothing,
        slots: 1,
        timeout: Duration::from_secs(1800),
        run: plan_crash::run,
    },
    SystemTest {
        name: "shortage",
        profile: "default",
        needs: Needs::Nothing,
        slots: 1,
        timeout: Duration::from_secs(1800),
        run: shortage::run,
    },
    SystemTest {
        name: "epochs",
        profile: "default",
        needs: Needs::Nothing,
        slots: 1,
        timeout: Duration::from_secs(1800),
        run: epochs::run,
    },
    SystemTest {
        name: "persistence",
        profile: "default",
        needs: Needs::Nothing,
        slots: 1,
        timeout: Duration::from_secs(1800),
        run: persistence::run,
    },
    SystemTest {
        name: "install",
        // The default without the guest book, which lies in the repository instead.
        profile: "install",
        needs: Needs::Nothing,
        slots: 1,
        timeout: Duration::from_secs(1800),
        run: install::run,
    },
    SystemTest {
        name: "http_repository",
        profile: "install",
        needs: Needs::Nothing,
        slots: 1,
        timeout: Duration::from_secs(1800),
        run: http_repository::run,
    },
    SystemTest {
        name: "new_root",
        profile: "default",
        needs: Needs::Nothing,
        slots: 1,
        timeout: Duration::from_secs(900),
        run: new_root::run,
    },
    SystemTest {
        name: "newcomer",
        profile: "default",
        needs: Needs::Nothing,
        slots: 1,
        // Most of it is cargo, which builds the newcomer's package twice.
        timeout: Duration::from_secs(3600),
        run: newcomer::run_test,
    },
    SystemTest {
        name: "faulty_release",
        profile: "default",
        needs: Needs::Nothing,
        slots: SLOTS,
        timeout: Duration::from_secs(1800),
        run: faulty_release::run,
    },
    SystemTest {
        name: "iommu_live",
        profile: "default",
        needs: Needs::Nothing,
        slots: SLOTS,
        timeout: Duration::from_secs(1800),
        run: iommu::live,
    },
    SystemTest {
        name: "tcp_soak",
        profile: "default",
        needs: Needs::Nothing,
        slots: SLOTS,
        timeout: Duration::from_secs(1800),
        run: tcp_soak::run,
    },
    SystemTest {
        name: "live_update",
        // The default profile and `dialer`, an application that connects to the host and one that does not accept.
        profile: "live",
        needs: Needs::Nothing,
        slots: SLOTS,
        timeout: Duration::from_secs(3600),
        run: live_update::run,
    },
    SystemTest {
        name: "crash_anywhere",
        profile: "default",
        needs: Needs::Nothing,
        slots: SLOTS,
        // A sweep of hundreds of points; each step has a limit of its own.
        timeout: Duration::from_secs(4 * 3600),
        run: crash_anywhere::run,
    },
    SystemTest {
        name: "update_soak",
        profile: "default",
        needs: Needs::Nothing,
        slots: SLOTS,
        // Hundreds of rounds, if they are asked for; each step has a limit of its own.
        timeout: Duration::from_secs(4 * 3600),
        run: update_soak::run,
    },
    SystemTest {
        name: "fuzz",
        // `hostile` with ten million random system calls instead of fifty thousand.
        profile: "fuzz",
        needs: Needs::Nothing,
        slots: SLOTS,
        timeout: Duration::from_secs(3600),
        run: hostile::run,
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_every_test_fits_the_runner() {
        let mut names: Vec<&str> = ALL.iter().map(|test| test.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), ALL.len());
        assert!(ALL.iter().all(|test| (1..=SLOTS).contains(&test.slots)));
    }

    #[test]
    fn the_readme_lists_every_test() {
        let readme = include_str!("../../README.md");
        let is_missing = |test: &&SystemTest| !readme.contains(&format!("`{}`", test.name));
        let missing: Vec<_> = ALL.iter().filter(is_missing).map(|test| test.name).collect();
        assert_eq!(missing, <[&str; 0]>::default());
    }
}
