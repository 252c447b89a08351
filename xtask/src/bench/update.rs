//! What an update and a restart of the network stack cost, under idle connections.
//!
//! The default profile under `-icount shift=0`: a nanosecond of the guest's clock is one of its instructions, so what the
//! guest says of its own times is a count. The connections are idle, or the count would be that of their clients.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use hic_tests::load::{self, Fill, HeldPlan};
use hic_tests::net::Network;
use hic_tests::qemu::{Machine, Proto};
use hic_tests::vm::{Console, Vm, VmOptions};
use serde_json::Value;

use super::Figure;

/// The echo service.
pub const PORT: u16 = 7;
/// Connections that are moved.
const CONNECTIONS: u32 = 100;
/// What the stack logs when it serves again after a restart.
const BACK: &str = "sockets go on";
/// How long anything may take: a guard against a hang.
pub const LIMIT: Duration = Duration::from_secs(600);
/// Before each question to the console: what it takes to answer must not count, so it is asked when it is likely over.
const LOOK: Duration = Duration::from_secs(2);

/// Names of the figures.
pub const NAMES: [&str; 16] = [
    "module_verify",
    "connection_move",
    "connection_move_token",
    "connection_move_export",
    "connection_move_import",
    "connection_move_transaction",
    "connection_move_take_over",
    "connection_move_complete",
    "connection_freeze",
    "update_create",
    "update_warm_up",
    "update_switch",
    "update_commit",
    "update_clean_up",
    "stack_restart",
    "stack_restart_made_ready",
];

/// Boots, updates `netstack`, kills it, and reads what the guest says.
pub fn measure(mut machine: Machine, folder: &Path) -> Result<Vec<Figure>> {
    machine.icount = true;
    let network = Network::User;
    let ports = vec![(Proto::Tcp, PORT)];
    let options = VmOptions { machine, ports, log_dir: folder.to_owned(), tag: "update".to_owned() };
    let vm = Vm::boot(options, Some(&network))?;
    vm.wait_for("hic> ", LIMIT)?;
    let console = vm.console()?;
    wait(&console, "modules", LOOK, |modules| modules["reading"] == false)?;
    let plan = HeldPlan {
        clients: CONNECTIONS,
        pace: Duration::from_millis(10),
        patience: LIMIT,
        buffer: 8 * 1024,
        fill: Fill::Bytes(1000),
        half_close: false,
        stream: 0,
    };
    let load = load::held_clients(&network, vm.endpoint(Proto::Tcp, PORT)?, plan)?;
    load.wait_for_connections(CONNECTIONS.into(), LIMIT)?;
    let figures = read(&console)?;
    load.finish()?.ensure_no_failure("idle connections")?;
    Ok(figures)
}

fn read(console: &Console<'_>) -> Result<Vec<Figure>> {
    ask(console, "update netstack 1.3.0 share=1000")?;
    wait(console, "update status", LOOK, |status| status["step"] == "watch")?;
    ask(console, "commit")?;
    let update = wait(console, "update status", LOOK, |status| status["running"] == false)?;
    ensure!(update["outcome"] == "completed" && update["lost"] == 0, "the update ended otherwise: {update}");
    ask(console, "kill netstack")?;
    let log = wait(console, "log", LOOK, |log| log["lines"].to_string().contains(BACK))?;
    figures(&update, &lines(&log)?)
}

/// Asks, each time after a `pause`, until the answer is the one that is waited for.
pub fn wait(
    console: &Console<'_>,
    command: &str,
    pause: Duration,
    enough: impl Fn(&Value) -> bool,
) -> Result<Value> {
    let end = Instant::now() + LIMIT;
    loop {
        std::thread::sleep(pause);
        let answer = ask(console, command)?;
        if enough(&answer) {
            return Ok(answer);
        }
        ensure!(Instant::now() < end, "`{command}` still answers {answer}");
    }
}

pub fn ask(console: &Console<'_>, command: &str) -> Result<Value> {
    let answer = console.json(&format!("{command} --json"))?;
    match answer.get("error") {
        Some(error) => bail!("`{command}`: {error}"),
        None => Ok(answer),
    }
}

pub fn lines(document: &Value) -> Result<Vec<String>> {
    let lines = document["lines"].as_array().with_context(|| format!("no lines in {document}"))?;
    Ok(lines.iter().filter_map(Value::as_str).map(str::to_owned).collect())
}

fn figures(update: &Value, log: &[String]) -> Result<Vec<Figure>> {
    let report = lines(update)?;
    let number = |key: &str| update[key].as_u64().with_context(|| format!("no `{key}` in {update}"));
    // The step `migrate` waits between batches, so its time says nothing. What a batch costs is how long it was frozen.
    let (freeze, batches) = (number("mean_freeze_nanoseconds")?, number("batches")?);
    let items = number("moved").ok().filter(|items| *items > 0).context("nothing was moved")?;
    let last = |text: &str| {
        let line = log.iter().rev().find(|line| line.contains(text));
        line.with_context(|| format!("the log has no `{text}`"))
    };
    let verified = last("of the archive looked at")?;
    let ready = last("netstack started again")?;
    let restart = logged(last(BACK)?)? - logged(last("kill netstack: asked for")?)?;
    let archive = 1000 * before(verified, " us")? / before(verified, " modules of")?;
    let whole = "guest instructions";
    let item = "guest instructions a connection, listener or socket";
    let part = |name| Ok::<_, anyhow::Error>((part(&report, name)? / items, item));
    let values = [
        (archive, "guest instructions a module of the archive"),
        (freeze * batches / items, item),
        part("token")?,
        part("export")?,
        part("import")?,
        part("transaction")?,
        part("take over")?,
        part("complete")?,
        (freeze, "guest instructions from frozen to served again, with its whole batch"),
        (step(&report, "create")?, whole),
        (step(&report, "warm up")?, whole),
        (step(&report, "switch")?, whole),
        (step(&report, "commit")?, whole),
        (step(&report, "clean up")?, whole),
        (restart, "guest instructions from the order to serving again"),
        (1000 * before(ready, " us")?, "guest instructions of it in the module manager"),
    ];
    let figure = |(name, (value, unit)): (&str, (u64, &str))| Figure {
        name: name.to_owned(),
        unit: unit.to_owned(),
        value: value.into(),
    };
    Ok(NAMES.into_iter().zip(values).map(figure).collect())
}

/// How long a step of the update took, nanoseconds, from the line `at ... ms  STEP: ... ms` of its report.
pub fn step(report: &[String], name: &str) -> Result<u64> {
    let name = format!(" {name}: ");
    let mut took = report.iter().filter(|line| line.trim_start().starts_with("at ")).filter_map(|line| {
        let (_, took) = line.split_once(&name)?;
        nanoseconds(took.trim_end().strip_suffix(" ms")?, 6)
    });
    took.next().with_context(|| format!("the report does not say how long `{}` took", name.trim()))
}

/// How long a part of all batches took, nanoseconds, from the line `of it token 0.100 ms, export ...`.
fn part(report: &[String], name: &str) -> Result<u64> {
    let line = report.iter().find_map(|line| line.trim().strip_prefix("of it "));
    let mut parts = line.unwrap_or_default().split(", ");
    let took = parts.find_map(|part| part.strip_prefix(name)?.trim().strip_suffix(" ms"));
    took.and_then(|took| nanoseconds(took, 6))
        .with_context(|| format!("the report does not say how long the part `{name}` took"))
}

/// When a line of the log was written, nanoseconds: `[    4.425127] ...`.
fn logged(line: &str) -> Result<u64> {
    let time = line.strip_prefix('[').and_then(|rest| rest.split_once(']'));
    time.and_then(|(time, _)| nanoseconds(time.trim(), 9)).with_context(|| format!("no time in `{line}`"))
}

/// A decimal number times ten to the power of `places`.
fn nanoseconds(number: &str, places: usize) -> Option<u64> {
    let (whole, fraction) = number.split_once('.')?;
    let fraction = format!("{fraction:0<places$}");
    whole
        .parse::<u64>()
        .ok()?
        .checked_mul(10u64.pow(u32::try_from(places).ok()?))?
        .checked_add(fraction.parse().ok()?)
}

/// The number that stands before `unit`.
pub fn before(line: &str, unit: &str) -> Result<u64> {
    let number = line.rsplit_once(unit).and_then(|(text, _)| text.rsplit(' ').next()?.parse().ok());
    number.filter(|number| *number > 0).with_context(|| format!("no number before `{unit}` in `{line}`"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn log() -> Vec<String> {
        [
            "[    0.359560] module-manager: 10 modules of the archive looked at by the verifier in 200000 us",
            "[    4.425127] module-manager: kill netstack: asked for",
            "[    4.432288] module-manager: netstack started again, restart 1, made ready in 7143 us",
            "[    4.437041] netstack: start 2: 10 sockets go on, 282 us after the driver was joined",
        ]
        .map(str::to_owned)
        .to_vec()
    }

    fn update() -> Value {
        let steps = ["create", "warm up", "switch", "commit", "clean up"];
        let mut lines: Vec<String> =
            steps.iter().map(|name| format!("  at     9.142 ms  {name}: 2.040 ms")).collect();
        lines.push(
            "of it token 0.100 ms, export 0.600 ms, import 0.300 ms, transaction 0.200 ms, take over 0.220 ms, complete 0.040 ms".into(),
        );
        json!({"moved": 20, "batches": 2, "mean_freeze_nanoseconds": 808_000, "lines": lines})
    }

    #[test]
    fn every_figure_is_read_from_what_the_guest_says() {
        let figures = figures(&update(), &log()).expect("figures");
        let value = |name: &str| figures.iter().find(|f| f.name == name).and_then(|f| f.value.as_u64());
        assert_eq!(figures.len(), NAMES.len());
        assert_eq!(value("module_verify"), Some(20_000_000));
        assert_eq!(value("connection_move"), Some(80_800));
        assert_eq!(value("connection_move_take_over"), Some(11_000));
        assert_eq!(value("update_warm_up"), Some(2_040_000));
        assert_eq!(value("stack_restart"), Some(11_914_000));
        assert_eq!(value("stack_restart_made_ready"), Some(7_143_000));
    }

    #[test]
    fn what_is_not_said_is_an_error_and_no_zero() {
        assert!(figures(&update(), &log()[..3]).is_err());
        assert!(
            figures(&json!({"moved": 0, "batches": 1, "mean_freeze_nanoseconds": 1, "lines": []}), &log())
                .is_err()
        );
        assert!(
            figures(&json!({"moved": 1, "batches": 1, "mean_freeze_nanoseconds": 1, "lines": []}), &log())
                .is_err()
        );
    }
}
