//! The module manager dies in the middle of an install, a replacement or a removal: afterwards it was done or it was not, and both work.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::super::memory::wait_for_baseline;
use super::super::service::{entry, until};
use super::super::updating::instances;
use super::{MODULE, NEXT, RECLAIMED, SERVED, Scene, VERSION, absent, baseline, done};
use crate::vm::{Console, Vm};

/// System calls of the manager before it dies; the orders take some 80 to 150.
const POINTS: [u32; 12] = [3, 12, 21, 30, 39, 48, 57, 66, 75, 90, 110, 140];

/// After three deaths there are none for so long: the keeper resets the machine at the eleventh within ten seconds of the guest.
const PACE: Duration = Duration::from_secs(4);

/// Begins with the module installed, ends with it installed in version [`NEXT`]. What it found, for the report.
pub(super) fn sweep(vm: &Vm, console: &Console<'_>, scene: &Scene<'_>) -> Result<String> {
    done(console, &format!("remove {MODULE}"))?;
    let before = baseline(console)?;
    let (mut whole, mut nothing) = (0, 0);
    for point in POINTS {
        let at = || format!("the manager dies at its call {point}");
        killed(console, point, &format!("install {MODULE} {VERSION}")).with_context(at)?;
        if instances(console, MODULE)?.is_empty() {
            nothing += 1;
            done(console, &format!("install {MODULE} {VERSION}")).with_context(at)?;
        } else {
            whole += 1;
        }
        serves(vm, console, scene, &[VERSION]).with_context(at)?;
        killed(console, point, &format!("update {MODULE} {NEXT} restart")).with_context(at)?;
        serves(vm, console, scene, &[VERSION, &NEXT.to_string()]).with_context(at)?;
        killed(console, point, &format!("remove {MODULE}")).with_context(at)?;
        if !instances(console, MODULE)?.is_empty() {
            done(console, &format!("remove {MODULE}")).with_context(at)?;
        }
        absent(console)?;
        let died = Instant::now();
        wait_for_baseline(console, &before, RECLAIMED).with_context(at)?;
        std::thread::sleep(PACE.saturating_sub(died.elapsed()));
    }
    ensure!(whole > 0 && nothing > 0, "{whole} installs survived, {nothing} did not: the points are too few");
    done(console, &format!("install {MODULE} {NEXT}"))?;
    Ok(format!(
        "{} points: {whole} installs survived the manager's death, {nothing} were as if never asked for",
        POINTS.len()
    ))
}

/// Gives an order to a manager that is about to die, and waits until it is back.
fn killed(console: &Console<'_>, point: u32, order: &str) -> Result<()> {
    let restarts =
        || Ok::<_, anyhow::Error>(entry(console, "module-manager")?["restarts"].as_u64().unwrap_or(0));
    let before = restarts()?;
    console.command(&format!("kill module-manager after={point}"))?;
    // Whatever it answers: it may die before, over or after the order.
    console.command(order)?;
    until(SERVED, || {
        ensure!(restarts()? > before, "the module manager has not died yet");
        Ok(())
    })?;
    Ok(())
}

/// One instance, of one of these versions, answers.
fn serves(vm: &Vm, console: &Console<'_>, scene: &Scene<'_>, versions: &[&str]) -> Result<()> {
    until(SERVED, || {
        let all = instances(console, MODULE)?;
        let good =
            all.len() == 1 && all.iter().all(|one| one.at_work && versions.contains(&one.version.as_str()));
        ensure!(good, "one of {versions:?} was to serve: {all:?}");
        Ok(())
    })?;
    let answer = scene.say(vm, "count")?;
    ensure!(answer.trim().parse::<u64>().is_ok(), "the answer was {answer:?}");
    Ok(())
}
