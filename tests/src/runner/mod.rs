//! Runs system tests: two machines at a time, a guard against hangs, and what a failure leaves behind.

mod context;

pub use context::{BootFiles, Images, TestContext};

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::process::Killer;
use crate::text;
use crate::workspace::test_log_dir;

/// Machines that run at once: emulation keeps one host core busy for each, and CI has two.
pub const SLOTS: usize = 2;

/// How long a test may take to notice that its machine was ended.
const AFTER_KILL: Duration = Duration::from_secs(60);

/// Lines of the serial log that a failure shows.
const TAIL_LINES: usize = 30;

/// What a test cannot do without.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    /// Nothing: it finds a way everywhere.
    Nothing,
    /// Root, for a tap. Skipped elsewhere.
    Root,
    /// An ISO image of its profile, the tools that make one, and UEFI firmware to boot it.
    Medium,
}

/// A system test.
#[derive(Clone, Copy, Debug)]
pub struct SystemTest {
    /// Its name: what FILTER and the coverage table call it.
    pub name: &'static str,
    /// The profile whose boot archive it boots.
    pub profile: &'static str,
    /// What it cannot do without.
    pub needs: Needs,
    /// How many of the [`SLOTS`] it takes: all of them if it measures time.
    pub slots: usize,
    /// After this time it counts as hung.
    pub timeout: Duration,
    /// The test.
    pub run: fn(&mut TestContext) -> Result<()>,
}

/// How a test ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// As it should.
    Passed,
    /// With this error.
    Failed(String),
    /// Not run, for this reason.
    Skipped(&'static str),
}

/// A test and how it ended.
#[derive(Clone, Debug)]
pub struct TestResult {
    /// The test's name.
    pub name: &'static str,
    /// How it ended.
    pub verdict: Verdict,
    /// What it has to say beyond that: which network, what was counted.
    pub notes: Vec<String>,
    /// How long it took.
    pub took: Duration,
}

/// A test under way.
struct Running {
    test: SystemTest,
    started: Instant,
    killers: Arc<Mutex<Vec<Killer>>>,
    killed: Option<Instant>,
}

/// Runs `tests` with `images`; logs go below `target`. Prints each result as it comes.
#[must_use]
pub fn run(tests: &[SystemTest], images: Images, target: &Path) -> Vec<TestResult> {
    let images = Arc::new(images);
    let (done, finished) = mpsc::channel();
    let mut waiting = tests.iter();
    let mut next = waiting.next();
    let mut running = BTreeMap::new();
    let mut results = Vec::new();
    loop {
        while let Some(test) = next.filter(|test| fits(test, &running)) {
            match skip_reason(test) {
                Some(reason) => results.push(report(skipped(test, reason), target)),
                None => drop(running.insert(test.name, start(*test, &images, target, &done))),
            }
            next = waiting.next();
        }
        if running.is_empty() {
            return results;
        }
        if let Some(result) = collect(&finished, &mut running) {
            remind(&results);
            results.push(report(result, target));
        }
    }
}

fn fits(test: &SystemTest, running: &BTreeMap<&str, Running>) -> bool {
    let busy: usize = running.values().map(|running| running.test.slots).sum();
    busy == 0 || busy + test.slots <= SLOTS
}

fn skip_reason(test: &SystemTest) -> Option<&'static str> {
    (test.needs == Needs::Root && !crate::net::is_root()).then_some("needs root for a tap")
}

fn skipped(test: &SystemTest, reason: &'static str) -> TestResult {
    TestResult { name: test.name, verdict: Verdict::Skipped(reason), notes: Vec::new(), took: Duration::ZERO }
}

fn start(test: SystemTest, images: &Arc<Images>, target: &Path, done: &Sender<TestResult>) -> Running {
    let log_dir = test_log_dir(target, test.name);
    // Logs of an earlier run would be taken for this one's. They may be absent.
    let _ = std::fs::remove_dir_all(&log_dir);
    let mut context = TestContext::new(test.name, test.profile, log_dir, Arc::clone(images));
    let killers = context.killers();
    let (done, started) = (done.clone(), Instant::now());
    println!("test {} ... started", test.name);
    std::thread::spawn(move || {
        let verdict = match (test.run)(&mut context) {
            Ok(()) => Verdict::Passed,
            Err(error) => Verdict::Failed(format!("{error:#}")),
        };
        let notes = context.into_notes();
        // The receiver is gone only if the runner gave this test up.
        let _ = done.send(TestResult { name: test.name, verdict, notes, took: started.elapsed() });
    });
    Running { test, started, killers, killed: None }
}

/// Waits a moment for a test to end, and ends those that hang.
fn collect(
    finished: &Receiver<TestResult>,
    running: &mut BTreeMap<&'static str, Running>,
) -> Option<TestResult> {
    match finished.recv_timeout(Duration::from_millis(200)) {
        Ok(mut result) => {
            let ended = running.remove(result.name);
            if let (Some(_), Verdict::Failed(error)) =
                (ended.as_ref().and_then(|running| running.killed), &mut result.verdict)
            {
                *error = format!("timed out; its machine was ended: {error}");
            }
            return ended.map(|_| result);
        }
        Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {}
    }
    for entry in running.values_mut() {
        if entry.killed.is_none() && entry.started.elapsed() > entry.test.timeout {
            entry.killed = Some(Instant::now());
            entry.killers.lock().unwrap_or_else(PoisonError::into_inner).iter().for_each(Killer::kill);
        }
    }
    let hopeless = |entry: &&Running| entry.killed.is_some_and(|since| since.elapsed() > AFTER_KILL);
    let name = running.values().find(hopeless).map(|entry| entry.test.name)?;
    let entry = running.remove(name)?;
    Some(TestResult {
        name,
        verdict: Verdict::Failed("timed out, and went on after its machine was ended".to_owned()),
        notes: Vec::new(),
        took: entry.started.elapsed(),
    })
}

/// Prints `result`.
fn report(result: TestResult, target: &Path) -> TestResult {
    let TestResult { name, verdict, notes, took } = &result;
    let seconds = took.as_secs_f64();
    for note in notes {
        println!("     {name}: {note}");
    }
    match verdict {
        Verdict::Passed => println!("test {name} ... ok ({seconds:.1} s)"),
        Verdict::Skipped(reason) => println!("test {name} ... skipped ({reason})"),
        Verdict::Failed(error) => {
            let logs = test_log_dir(target, name);
            // The error comes last: who is shown only the end of the output sees it.
            println!("{}logs of {name}: {}", end_of_serial(&logs), logs.display());
            println!("test {name} ... FAILED ({seconds:.1} s)\n{error}");
        }
    }
    result
}

/// The end of the serial log in `dir` that was written last.
fn end_of_serial(dir: &Path) -> String {
    let Ok(entries) = std::fs::read_dir(dir) else { return String::new() };
    let logs = entries.flatten().map(|entry| entry.path());
    let logs = logs.filter(|path| path.to_string_lossy().ends_with("serial.log"));
    let Some(last) = logs.max_by_key(|path| path.metadata().and_then(|file| file.modified()).ok()) else {
        return String::new();
    };
    let text = text::plain(&std::fs::read(&last).unwrap_or_default());
    format!("--- end of {} ---\n{}\n", last.display(), text::tail(&text, TAIL_LINES))
}

/// Says again what failed, so that whoever is shown only a part of the output knows it.
fn remind(results: &[TestResult]) {
    for TestResult { name, verdict, .. } in results {
        if let Verdict::Failed(error) = verdict {
            println!(
                "     failed before: {name}: {}",
                text::shortened(error.lines().next().unwrap_or_default())
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn test(name: &'static str, slots: usize, run: fn(&mut TestContext) -> Result<()>) -> SystemTest {
        SystemTest {
            name,
            profile: "none",
            needs: Needs::Nothing,
            slots,
            timeout: Duration::from_secs(60),
            run,
        }
    }

    #[test]
    fn every_test_gets_a_verdict_and_its_notes() {
        let target = tempfile::tempdir().expect("a folder");
        let tests = [
            test("good", 1, |context| {
                context.note("seen".to_owned());
                Ok(())
            }),
            test("bad", 2, |_| anyhow::bail!("broken")),
        ];
        let mut results = run(&tests, Images::default(), target.path());
        results.sort_by_key(|result| result.name);
        let verdicts: Vec<_> = results.iter().map(|result| (result.name, &result.verdict)).collect();
        assert_eq!(verdicts, [("bad", &Verdict::Failed("broken".into())), ("good", &Verdict::Passed)]);
        assert_eq!(results[1].notes, ["seen"]);
    }

    #[test]
    fn a_profile_that_could_not_be_built_fails_its_test_with_the_reason() {
        let target = tempfile::tempdir().expect("a folder");
        let profiles = [("none".to_owned(), Err("no such package".to_owned()))].into();
        let images = Images { profiles, ..Images::default() };
        let results = run(&[test("boots", 1, |context| context.machine().map(drop))], images, target.path());
        assert!(matches!(&results[0].verdict, Verdict::Failed(why) if why.contains("no such package")));
    }
}
