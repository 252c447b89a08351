//! Servers that do what they should not: each is given up within its bounds, with the reason, and what is trusted stays as it was.

use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::mirror::{Mirror, VERSION, file_of};
use super::{Scene, ask, last_note};
use crate::cases::http_repository::server::{self, Manner, Server};
use crate::net::Network;
use crate::runner::TestContext;

/// Manner, the code of its refusal, and how long it may take at most: metadata, and the module that is asked for then.
const WRONG: [(Manner, &str, Duration); 9] = [
    (Manner::Endless, "metadata-size", SOON),
    (Manner::EndlessHead, "http-long-head", SOON),
    (Manner::CutOff(50), "http-cut-off", SOON),
    (Manner::Redirect, "http-redirect", SOON),
    (Manner::Chunked, "http-encoded", SOON),
    (Manner::Broken, "http-status", SOON),
    (Manner::Noise, "metadata-form", SOON),
    // Half a minute without a byte, and a minute at a byte a second.
    (Manner::Drips, "http-stalled", Duration::from_secs(90)),
    (Manner::SlowLoris, "http-slow", Duration::from_secs(150)),
];
/// For what is refused as soon as it is seen.
const SOON: Duration = Duration::from_secs(40);

/// Each manner, for every file of the repository; then a server that cuts off and goes on, from which everything is had.
pub(super) fn wrong(
    context: &mut TestContext,
    network: &Network,
    mirror: &Mirror,
    scene: &Scene<'_>,
) -> Result<()> {
    let good = mirror.good()?.files;
    let sent = |manner| -> server::Files {
        good.iter().map(|(name, bytes)| (name.clone(), (manner, bytes.clone()))).collect()
    };
    let server = Server::start(network, sent(Manner::Broken))?;
    ask(scene.console, &format!("repository add {}", server.source()))?;
    let before = scene.trusted()?;
    for (manner, code, limit) in WRONG {
        server.set(sent(manner));
        let (noted, began) = (last_note(scene.console)?, std::time::Instant::now());
        let lines = scene.refresh()?;
        let refused = scene.refused(VERSION)?;
        let took = began.elapsed();
        ensure!(refused.code == code, "{manner:?}: {refused}; {code} was due; {lines:?}");
        let told = format!("metadata refused: {}: {code}", server.source());
        ensure!(lines.iter().any(|line| line.starts_with(&told)), "{manner:?}: {lines:?}");
        ensure!(took <= limit, "{manner:?}: it took {took:.1?}");
        scene.untouched(before, noted, code).with_context(|| format!("{manner:?}"))?;
        context.note(format!("refused: malicious mirror, {manner:?} ({code}, {:.0} s)", took.as_secs_f64()));
    }
    server.set(sent(Manner::Parts));
    let lines = scene.refresh()?;
    ensure!(!lines.iter().any(|line| line.contains("refused:")), "{lines:?}");
    ask(scene.console, &format!("update {} {VERSION} --plan", super::SERVICE))?;
    for file in ["timestamp.tuf".to_owned(), file_of(VERSION)] {
        let asked = server.requests_for(&format!("/{file}"));
        let resumed = asked.iter().filter(|head| head.contains("If-Range: \"one\"")).count();
        ensure!(resumed >= 4, "{file}: resumed {resumed} times");
    }
    context.note("metadata and a module come in pieces, each from where the one before ended".to_owned());
    Ok(())
}
