//! What cannot be installed or removed, and the code of the refusal.

use anyhow::{Context, Result, ensure};
use hic_hicmod::manifest::{Manifest, Name, Need, Version};

use super::super::forge;
use super::super::updating::{ask, refusal};
use super::{MODULE, Scene, done};
use crate::disk;
use crate::vm::{Console, Vm};

/// A module that is signed well and does not fit: its name, what is wrong with it, the code of the refusal.
type Unfit = (&'static str, fn(&mut Manifest), &'static str);

const UNFIT: [Unfit; 7] = [
    ("needy", |manifest| drop(manifest.needs.push(need("dns_resolver"))), "missing-need"),
    ("low", |manifest| manifest.order = 2, "wrong-order"),
    ("loud", |manifest| manifest.priority = 31, "wrong-priority"),
    // There would be room for it, and a newcomer is not allowed that much.
    ("huge", |manifest| manifest.heap_pages = 65_536, "policy"),
    // As much again beside it: more than there is, in however many pieces.
    (
        "giant",
        |manifest| {
            manifest.heap_pages = 65_536;
            manifest.state_regions.iter_mut().for_each(|region| region.pages = 65_536);
        },
        "memory",
    ),
    // A service of this system that does not run just now: whoever had the name would be called by all who need it.
    (
        "squatter",
        |manifest| manifest.provides = Name::try_from("dns_resolver").into_iter().collect(),
        "policy",
    ),
    ("twin", |manifest| manifest.provides = Name::try_from("inetd").into_iter().collect(), "service-taken"),
];

/// Orders that need no file: the order, the code, a word that the sentence must hold.
const ORDERS: [(&str, &str, &str); 11] = [
    ("install no-such-module 1.0.0", "unknown-module", "no-such-module"),
    ("install example_guestbook 9.9.9", "unknown-module", "there is 1.0.0"),
    ("install example_guestbook one", "malformed", "1.2.3"),
    ("install Example 1.0.0", "malformed", "a-z"),
    ("install inetd 1.0.0", "already-installed", "inetd 1.0.0"),
    ("install damaged 1.0.0", "checksum", "damaged-1.0.0.hicmod"),
    ("remove no-such-service", "not-found", "services"),
    ("remove console", "essential", "commands"),
    ("remove module-manager", "essential", "manages"),
    ("remove netstack", "needed", "inetd, web_server"),
    ("update netstack 1.3.0 restart", "has-live-update", "without an end of its service"),
];

fn need(service: &str) -> Need {
    Need { service: Name::try_from(service).unwrap_or_default(), optional: false }
}

/// Its program exports a service that its manifest does not provide; signed well all the same.
const LIAR: &str = "liar";
/// Its program would serve, and neither the program nor the manifest says so.
const UNDECLARED: &str = "undeclared";
/// Needs the service that this program would be.
const CLIENT: &str = "client";

/// Puts the modules on the disk.
pub(super) fn prepare(scene: &Scene<'_>) -> Result<()> {
    let version = Version::new(1, 0, 0);
    for (name, change, _) in UNFIT {
        let module = scene.other(version, |manifest| {
            manifest.name = Name::try_from(name).unwrap_or_default();
            manifest.provides = [manifest.name.clone()].into_iter().collect();
            change(manifest);
        });
        disk::put(scene.disk()?, &format!("{name}-1.0.0.hicmod"), &module.context(name)?)?;
    }
    let undeclared = scene.other(version, |manifest| {
        manifest.name = Name::try_from(UNDECLARED).unwrap_or_default();
        manifest.provides.clear();
    });
    let liar = forge::other_manifest(&scene.good, &scene.own, version, |manifest| {
        manifest.name = Name::try_from(LIAR).unwrap_or_default();
        manifest.provides.clear();
    });
    let client = scene.other(version, |manifest| {
        manifest.name = Name::try_from(CLIENT).unwrap_or_default();
        manifest.provides.clear();
        (manifest.order, manifest.priority) = (7, 1);
        drop(manifest.needs.push(need(MODULE)));
    });
    for (name, module) in [(LIAR, liar), (UNDECLARED, undeclared), (CLIENT, client)] {
        disk::put(scene.disk()?, &format!("{name}-1.0.0.hicmod"), &module.context(name)?)?;
    }
    let mut damaged = scene.good.clone();
    let middle = damaged.len() / 2;
    damaged.iter_mut().skip(middle).take(1).for_each(|byte| *byte ^= 1);
    disk::put(scene.disk()?, "damaged-1.0.0.hicmod", &damaged)
}

/// Gives every wrong order; how many there were.
pub(super) fn all(vm: &Vm, console: &Console<'_>) -> Result<usize> {
    for (name, _, code) in UNFIT {
        expect(console, &format!("install {name} 1.0.0"), code, "")?;
    }
    for (order, code, word) in ORDERS {
        expect(console, order, code, word)?;
    }
    let text = console.command(&format!("install {MODULE}"))?;
    ensure!(text.contains("error[usage]") && text.contains("install <module> <version>"), "{text}");
    expect(console, &format!("install {LIAR} 1.0.0"), "exports", MODULE)?;
    undeclared(console).context("a service that is not in the manifest")?;
    vm.check_alive()?;
    Ok(UNFIT.len() + ORDERS.len() + 3)
}

/// A program that would serve under a name which it does not export and its manifest does not say gets no endpoint, so nobody can be led to it: who needs that service is told that there
/// is none.
fn undeclared(console: &Console<'_>) -> Result<()> {
    done(console, &format!("install {UNDECLARED} 1.0.0"))?;
    let caps = ask(console, &format!("caps {UNDECLARED}"))?;
    let held = caps["capabilities"].as_array().with_context(|| format!("{caps}"))?;
    let has = |kind: &str| held.iter().any(|capability| capability["type"] == kind);
    ensure!(has("port") && !has("endpoint"), "what it holds: {caps}");
    expect(console, &format!("install {CLIENT} 1.0.0"), "missing-need", MODULE)?;
    done(console, &format!("remove {UNDECLARED}")).map(drop)
}

fn expect(console: &Console<'_>, order: &str, code: &str, word: &str) -> Result<()> {
    let refused = refusal(console, order)?;
    ensure!(refused.code == code, "`{order}`: {refused}, {code} was due");
    ensure!(refused.message.contains(word), "`{order}`: {refused} does not say {word:?}");
    Ok(())
}
