//! What cannot be installed or removed, and the code of the refusal.

use anyhow::{Context, Result, ensure};
use hic_hicmod::manifest::{Manifest, Name, Need, Version};

use super::super::updating::refusal;
use super::{MODULE, Scene};
use crate::disk;
use crate::vm::{Console, Vm};

/// A module that is signed well and does not fit: its name, what is wrong with it, the code of the refusal.
type Unfit = (&'static str, fn(&mut Manifest), &'static str);

const UNFIT: [Unfit; 6] = [
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
    ("update netstack 1.3.0 restart", "has-live-update", "while it serves"),
];

fn need(service: &str) -> Need {
    Need { service: Name::try_from(service).unwrap_or_default(), optional: false }
}

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
    vm.check_alive()?;
    Ok(UNFIT.len() + ORDERS.len() + 1)
}

fn expect(console: &Console<'_>, order: &str, code: &str, word: &str) -> Result<()> {
    let refused = refusal(console, order)?;
    ensure!(refused.code == code, "`{order}`: {refused}, {code} was due");
    ensure!(refused.message.contains(word), "`{order}`: {refused} does not say {word:?}");
    Ok(())
}
