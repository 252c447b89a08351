//! Cases that people would write down.

use std::format;
use std::string::{String, ToString};
use std::vec::Vec;

use hic_hicmod::manifest::{Requirement, Version};

use super::*;
use crate::{MAX_CHANGES, Problem, resolve};

/// The ledger's example (P1.9).
const INSTALLED: &str = "
    eth_driver 1.1.0: ipc_lib ^2.0
    netstack 1.2.0: eth_driver >=1.0.0, ipc_lib ^2.0
    web_server 1.0.0: netstack >=1.0.0
";
const NETSTACK: &str = "netstack 1.3.0: eth_driver >=1.2.0, ipc_lib =2.0.0";

fn steps(installed: &str, available: &str, wanted: &str) -> Vec<String> {
    plan(installed, available, wanted).unwrap()
}

fn refused(installed: &str, available: &str, wanted: &str) -> (String, String) {
    plan(installed, available, wanted).unwrap_err()
}

#[test]
fn what_netstack_1_3_0_depends_on_is_updated_before_it_and_the_runtime_is_enough_as_it_is() {
    let available = format!("{NETSTACK}\neth_driver 1.2.0: ipc_lib ^2.0");
    assert_eq!(
        steps(INSTALLED, &available, "netstack 1.3.0"),
        [
            "eth_driver 1.1.0 -> 1.2.0: netstack 1.3.0 needs eth_driver >=1.2.0",
            "netstack 1.2.0 -> 1.3.0: it was asked for",
        ]
    );
}

#[test]
fn what_satisfies_stays_and_what_changes_becomes_the_newest() {
    let old = "eth_driver 1.2.0\nnetstack 1.2.0: eth_driver >=1.0.0";
    let available = format!("{NETSTACK}\neth_driver 1.3.0\neth_driver 1.4.0");
    assert_eq!(steps(old, &available, "netstack 1.3.0"), ["netstack 1.2.0 -> 1.3.0: it was asked for"]);
    let plan = steps(INSTALLED, &available, "netstack 1.3.0");
    assert_eq!(plan.first().unwrap(), "eth_driver 1.1.0 -> 1.4.0: netstack 1.3.0 needs eth_driver >=1.2.0");
}

#[test]
fn nothing_is_to_be_done_for_what_is_installed() {
    assert_eq!(steps(INSTALLED, "", "netstack 1.2.0"), [""; 0]);
}

#[test]
fn a_client_that_would_break_is_updated_before_its_server() {
    let installed = "netstack 1.2.0\nweb_server 1.0.0: netstack <1.3.0";
    let available = "netstack 1.3.0\nweb_server 1.1.0: netstack >=1.2.0";
    assert_eq!(
        steps(installed, available, "netstack 1.3.0"),
        [
            "web_server 1.0.0 -> 1.1.0: the installed version needs netstack <1.3.0, which changes",
            "netstack 1.2.0 -> 1.3.0: it was asked for",
        ]
    );
}

#[test]
fn an_interface_is_met_by_whoever_offers_it() {
    let installed = "netstack 1.2.0:;;tcp@1";
    assert_eq!(
        steps(installed, "hello 0.1.0:;tcp@1", "hello 0.1.0"),
        ["hello new -> 0.1.0: it was asked for"]
    );
    let available = "hello 0.2.0:;tcp@2\nnetstack 1.4.0:;;tcp@1,tcp@2\nother 1.0.0:;;udp@1";
    let plan = steps(installed, available, "hello 0.2.0");
    assert_eq!(plan.first().unwrap(), "netstack 1.2.0 -> 1.4.0: hello 0.2.0 needs the interface tcp@2");
}

#[test]
fn a_new_module_brings_what_it_depends_on_and_that_comes_first() {
    let available = "a 1.0.0: b ^1.0\nb 1.0.0: c ^1.0\nb 1.1.0: c ^1.0\nc 1.0.0";
    let names: Vec<String> = steps("", available, "a 1.0.0")
        .iter()
        .map(|step| step.split(':').next().unwrap().to_string())
        .collect();
    assert_eq!(names, ["c new -> 1.0.0", "b new -> 1.1.0", "a new -> 1.0.0"]);
}

#[test]
fn a_conflict_is_told_from_the_question_to_the_need_that_cannot_be_met() {
    let none = refused(INSTALLED, NETSTACK, "netstack 1.3.0");
    assert_eq!(none.0, "dependency-conflict");
    assert_eq!(
        none.1,
        "netstack 1.3.0 needs eth_driver >=1.2.0, but eth_driver 1.1.0 is installed and the repository has none that is newer"
    );
    let further = format!("{NETSTACK}\neth_driver 1.2.0: firmware >=3.0.0\nfirmware 2.0.0");
    assert_eq!(
        refused(INSTALLED, &further, "netstack 1.3.0").1,
        "netstack 1.3.0 needs eth_driver >=1.2.0, which eth_driver 1.2.0 would be for; eth_driver 1.2.0 needs firmware >=3.0.0, but the \
         repository has only other versions, up to 2.0.0"
    );
    let runtime = refused(INSTALLED, "hello 0.1.0: ipc_lib ^3.0", "hello 0.1.0");
    assert_eq!(
        runtime.1,
        "hello 0.1.0 needs ipc_lib >=3.0.0, <4.0.0, but ipc_lib 2.0.0 is installed and the repository has none that is newer"
    );
    let two = refused("b 1.0.0: c <2.0.0\nc 1.0.0", "a 1.0.0: c ^2.0\nc 2.0.0", "a 1.0.0");
    assert!(two.1.ends_with("b 1.0.0 needs c <2.0.0, but c is to be 2.0.0"), "{}", two.1);
    let interface = refused("", "a 1.0.0:;tcp@7", "a 1.0.0");
    assert!(
        interface.1.contains("the interface tcp@7, which no known module is or offers"),
        "{}",
        interface.1
    );
    let back = refused("a 2.0.0:;;x@1\nb 1.0.0:;x@1", "c 1.0.0:;y@1\na 1.0.0:;;y@1", "c 1.0.0");
    assert!(back.1.contains("a 1.0.0 offers, but a is to stay in another version"), "{}", back.1);
}

#[test]
fn what_would_have_to_change_in_one_stroke_is_a_cycle_and_named() {
    let installed = "a 1.0.0: b <2.0.0\nb 1.0.0: a <2.0.0";
    let (code, text) = refused(installed, "a 2.0.0: b ^2.0\nb 2.0.0: a ^2.0", "a 2.0.0");
    assert_eq!(code, "dependency-cycle");
    assert!(text.starts_with("a and b need each other's new versions"), "{text}");
    let (code, _) = refused("", "a 1.0.0: b ^1.0\nb 1.0.0: a ^1.0", "a 1.0.0");
    assert_eq!(code, "dependency-cycle");
    let bridge = "a 2.0.0: b ^2.0\nb 2.0.0: a ^2.0\nb 2.1.0: a >=1.0.0";
    let installed = "a 1.0.0: b >=1.0.0\nb 1.0.0: a <2.0.0";
    assert_eq!(steps(installed, bridge, "a 2.0.0").len(), 2, "a release that works with both opens the way");
}

#[test]
fn no_module_but_the_one_that_was_asked_for_goes_back() {
    let installed = "a 2.0.0\nb 1.0.0";
    assert_eq!(steps(installed, "a 1.0.0", "a 1.0.0"), ["a 2.0.0 -> 1.0.0: it was asked for"]);
    let (code, _) = refused(installed, "b 2.0.0: a <2.0.0\na 1.0.0", "b 2.0.0");
    assert_eq!(code, "dependency-conflict");
}

#[test]
fn what_does_not_run_on_this_system_is_not_taken_and_the_reason_is_told() {
    let known = module("a 1.0.0: b ^1.0");
    let mut newer = module("b 1.0.0");
    newer.build.ipc_lib = Some(Version::new(3, 0, 0));
    let both = [known, newer];
    let candidates = candidates(&both);
    let text =
        |name| resolve(&[], &candidates, &PLATFORM, (name, Version::new(1, 0, 0))).unwrap_err().to_string();
    assert!(text("b").starts_with("b 1.0.0: it links ipc_lib 3.0.0"), "{}", text("b"));
    assert!(text("a").contains("but b 1.0.0 cannot be used: it links ipc_lib 3.0.0"), "{}", text("a"));
}

#[test]
fn what_others_lacked_before_is_no_business_of_the_question() {
    let installed = "broken 1.0.0: nobody ^1.0\na 1.0.0";
    assert_eq!(steps(installed, "a 1.1.0", "a 1.1.0"), ["a 1.0.0 -> 1.1.0: it was asked for"]);
}

#[test]
fn unknown_modules_and_versions_are_told_apart() {
    assert_eq!(refused(INSTALLED, "", "nobody 1.0.0").0, "unknown-module");
    let (code, text) = refused(INSTALLED, NETSTACK, "netstack 9.0.0");
    assert_eq!(
        (code.as_str(), text.as_str()),
        ("unknown-version", "there is no netstack 9.0.0; the newest is 1.3.0")
    );
}

#[test]
fn a_repository_cannot_bring_another_runtime() {
    let (code, _) = refused("", "ipc_lib 3.0.0\nhello 0.1.0: ipc_lib ^3.0", "hello 0.1.0");
    assert_eq!(code, "dependency-conflict");
}

#[test]
fn a_chain_longer_than_a_plan_and_a_repository_made_to_be_hard_are_given_up() {
    let chain: String = (0..=MAX_CHANGES).map(|n| format!("m{n} 1.0.0: m{} ^1.0\n", n + 1)).collect();
    let (code, text) = refused("", &format!("{chain}m{} 1.0.0", MAX_CHANGES + 1), "m0 1.0.0");
    assert_eq!(code, "too-many-changes", "{text}");
    // Every version of every module wants a version of the next that wants something else again: no early end to any branch.
    let mut hard = String::new();
    for n in 0..10 {
        for version in 1..30 {
            hard += &format!(
                "h{n} 1.{version}.0: h{} ^1.0, h{} ^1.0, last{n} ^1.0\n",
                (n + 1) % 10,
                (n + 3) % 10
            );
        }
        hard += &format!("last{n} 1.0.0: impossible ^1.0\n");
    }
    let modules = modules(&hard);
    let goal = ("h0", Version::new(1, 1, 0));
    let problem = resolve(&[], &candidates(&modules), &PLATFORM, goal).unwrap_err();
    assert!(matches!(problem, Problem::TooHard { .. } | Problem::Conflict { .. }), "{problem}");
    assert!(Requirement::ANY.matches(Version::new(0, 0, 0)));
}
