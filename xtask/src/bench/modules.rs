//! What it costs to verify and load a module of 5.2 MB: in guest instructions as the guest sees it, in host instructions step by step, and beside
//! `openssl dgst -verify` of the same file.
//!
//! The guest's numbers are those of the default profile under `-icount shift=0`. The host's are callgrind's over the same library; there, SHA-384 finds AVX2, which the
//! guest does not have.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use hic_hicmod::container::Module;
use hic_hicmod::container::{NewSection, SectionKind, encode};
use hic_hicmod::image::ImageParts;
use hic_hicmod::manifest::{self, MAX_MANIFEST_BYTES, Version};
use hic_tests::disk;
use hic_tests::net::Network;
use hic_tests::vm::{Vm, VmOptions};

use super::Figure;
use super::resolver::collected;
use super::update::{LIMIT, ask, before, lines, step, wait};
use crate::cargo;
use crate::image::Builder;

/// Bytes of the module's file, about: the size that the requirement names.
const BYTES: usize = 5_200_000;
/// It is this one with more data, in this version.
const OF: &str = "netstack-1.3.0.hicmod";
const FILE: &str = "netstack-1.4.0.hicmod";
const VERSION: Version = Version::new(1, 4, 0);
/// Before each question to the console, whose answers take instructions, too.
const LOOK: Duration = Duration::from_secs(3);
/// The example of `libs/hicmod` whose functions are counted, and their names.
const EXAMPLE: &str = "verify";
const STEPS: [(&str, &str); 6] = [
    ("step_container", "module_step_container"),
    ("step_digest", "module_step_digest"),
    ("step_manifest", "module_step_manifest"),
    ("step_image", "module_step_image"),
    ("step_place", "module_step_place"),
    ("step_verify", "module_step_all"),
];

/// Names of the figures.
pub const NAMES: [&str; 12] = [
    "module_bytes",
    "module_read",
    "module_verify_large",
    "module_load_large",
    "module_step_container",
    "module_step_digest",
    "module_step_manifest",
    "module_step_image",
    "module_step_place",
    "module_step_all",
    "module_step_chain",
    "module_to_openssl",
];

/// Makes the module, boots, updates to it, and counts on the host.
pub fn measure(builder: &mut Builder, folder: &Path) -> Result<Vec<Figure>> {
    let machine = super::machine_with_repository(builder, folder)?;
    let image = machine.disks.last().context("the profile has no repository")?.clone();
    let content = std::fs::read(machine.archive.as_ref().context("a boot archive")?)?;
    let module = builder.signing()?.sign(&enlarged(&disk::get(&image, OF)?, &content)?, None)?;
    disk::put(&image, FILE, &module)?;
    let file = folder.join(FILE);
    std::fs::write(&file, &module).with_context(|| format!("cannot write {}", file.display()))?;
    let root = folder.join("root.der");
    std::fs::write(&root, builder.signing()?.root()?)?;

    let mut figures = vec![figure("module_bytes", "bytes", module.len() as u64)];
    figures.extend(in_guest(machine, folder)?);
    figures.extend(on_host(&file, &root, folder)?);
    Ok(figures)
}

fn figure(name: &str, unit: &str, value: u64) -> Figure {
    Figure { name: name.to_owned(), unit: unit.to_owned(), value: value.into() }
}

/// `good` in another version, its data followed by as much of `content` as makes a file of the size that is wanted.
fn enlarged(good: &[u8], content: &[u8]) -> Result<Vec<u8>> {
    let module = Module::parse(good).map_err(|error| anyhow!("{error}"))?;
    let mut manifest = module.manifest.clone();
    manifest.version = VERSION;
    let mut parts = ImageParts::from(&module.image);
    // What was zero without being in the file is in it now: the data goes on behind it.
    parts.body.resize(parts.body.len() + parts.bss_bytes as usize, 0);
    parts.bss_bytes = 0;
    let missing = BYTES.saturating_sub(parts.body.len());
    parts.body.extend(content.iter().cycle().take(missing));
    let image = parts.encode().map_err(|error| anyhow!("{error}"))?;
    let mut buffer = [0; MAX_MANIFEST_BYTES];
    let manifest = manifest::encode(&manifest, &mut buffer).map_err(|error| anyhow!("{error}"))?;
    let section = |kind, bytes| NewSection { kind, critical: true, bytes };
    encode(&[section(SectionKind::Manifest, manifest), section(SectionKind::Image, &image)])
        .map_err(|error| anyhow!("{error}"))
}

/// Read, verified and loaded as any other module, by an update.
fn in_guest(mut machine: hic_tests::qemu::Machine, folder: &Path) -> Result<Vec<Figure>> {
    machine.icount = true;
    let network = Network::User;
    let options =
        VmOptions { machine, ports: Vec::new(), log_dir: folder.to_owned(), tag: "modules".to_owned() };
    let vm = Vm::boot(options, Some(&network))?;
    vm.wait_for("hic> ", LIMIT)?;
    let console = vm.console()?;
    wait(&console, "modules", LOOK, |modules| modules["reading"] == false)?;
    let log = lines(&ask(&console, "log")?)?;
    let line = log.iter().find(|line| line.contains(FILE) && line.contains("verified in"));
    let line = line.with_context(|| format!("the log does not say that {FILE} was verified: {log:?}"))?;
    let read = before(line, " us, verified")?;
    let verified = before(line, " us")?;
    ask(&console, &format!("update netstack {VERSION} share=1000"))?;
    let status = wait(&console, "update status", LOOK, |status| {
        status["step"] == "watch" || status["running"] == false
    })?;
    ensure!(status["step"] == "watch", "the update ended: {status}");
    // The report of its steps is whole when it is over.
    ask(&console, "commit")?;
    let status = wait(&console, "update status", LOOK, |status| status["running"] == false)?;
    let load = step(&lines(&status)?, "create")?;
    let unit = "guest instructions";
    Ok(vec![
        figure("module_read", unit, 1000 * read),
        figure("module_verify_large", unit, 1000 * verified),
        figure("module_load_large", unit, load),
    ])
}

/// Each step alone, what is left for chain and signature, and the ratio to openssl.
fn on_host(file: &Path, root: &Path, folder: &Path) -> Result<Vec<Figure>> {
    let mut build = cargo::command();
    build.args([
        "build",
        "--quiet",
        "--release",
        "--package",
        "hic-hicmod",
        "--example",
        EXAMPLE,
        "--features",
        "sign",
    ]);
    ensure!(build.status().context("cannot run cargo")?.success(), "building the example {EXAMPLE} failed");
    let program = cargo::Workspace::load()?.target_directory.join("release/examples").join(EXAMPLE);
    let unit = "host instructions";
    let mut figures = Vec::new();
    let mut counts = Vec::new();
    for (function, name) in STEPS {
        let mut valgrind = callgrind();
        valgrind.arg(format!("--toggle-collect={function}")).arg(&program).arg(file).arg(root).arg(function);
        let count = count(valgrind)?;
        counts.push(count);
        figures.push(figure(name, unit, count));
    }
    let [container, digest, manifest, image, _, all] = counts.as_slice() else {
        anyhow::bail!("{} steps were counted", counts.len())
    };
    let chain = all.saturating_sub(container + digest + manifest + image);
    figures.push(figure(
        "module_step_chain",
        "host instructions, all but the others: chain and signature",
        chain,
    ));
    let openssl = openssl(file, folder)?;
    figures.push(Figure::rounded(
        "module_to_openssl",
        "of openssl's instructions",
        *all as f64 / openssl as f64,
    )?);
    Ok(figures)
}

fn callgrind() -> Command {
    let mut valgrind = Command::new("valgrind");
    valgrind.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]);
    valgrind
}

/// Runs it under callgrind; the instructions that were collected.
fn count(mut valgrind: Command) -> Result<u64> {
    let output = valgrind.output().context("cannot run valgrind")?;
    let told = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{valgrind:?}: {told}");
    let count = collected(&told).with_context(|| format!("no count in {told}"))?;
    ensure!(count > 0, "{valgrind:?}: the function was not found in the program");
    Ok(count)
}

/// The instructions of `openssl dgst -sha384 -verify` over the file, the start of the program taken off.
fn openssl(file: &Path, folder: &Path) -> Result<u64> {
    let (key, public, signature) =
        (folder.join("key.pem"), folder.join("public.pem"), folder.join("file.sig"));
    let run = |arguments: &[&std::ffi::OsStr]| {
        let output = Command::new("openssl").args(arguments).output().context("cannot run openssl")?;
        ensure!(output.status.success(), "openssl: {}", String::from_utf8_lossy(&output.stderr));
        anyhow::Ok(())
    };
    let word = std::ffi::OsStr::new;
    run(&[word("genrsa"), word("-out"), key.as_ref(), word("3072")])?;
    run(&[word("rsa"), word("-in"), key.as_ref(), word("-pubout"), word("-out"), public.as_ref()])?;
    run(&[
        word("dgst"),
        word("-sha384"),
        word("-sign"),
        key.as_ref(),
        word("-out"),
        signature.as_ref(),
        file.as_ref(),
    ])?;
    let mut start = callgrind();
    start.args(["openssl", "version"]);
    let mut verify = callgrind();
    verify
        .args(["openssl", "dgst", "-sha384", "-verify"])
        .arg(&public)
        .arg("-signature")
        .arg(&signature)
        .arg(file);
    Ok(count(verify)?.saturating_sub(count(start)?))
}

#[cfg(test)]
mod tests {
    use hic_hicmod::image::PAGE_SIZE;

    use super::*;

    #[test]
    fn a_module_grows_to_the_size_that_is_wanted_and_stays_one() {
        let body = vec![0x90; PAGE_SIZE];
        let image = ImageParts { rx_pages: 1, bss_bytes: 100, body, ..ImageParts::default() };
        let least = manifest::Manifest::least(
            "x".parse().expect("a name"),
            Version::new(1, 0, 0),
            manifest::Kind::Service,
        );
        let mut buffer = [0; MAX_MANIFEST_BYTES];
        let raw = manifest::encode(&least, &mut buffer).expect("encoded");
        let image = image.encode().expect("an image");
        let section = |kind, bytes| NewSection { kind, critical: true, bytes };
        let small = encode(&[section(SectionKind::Manifest, raw), section(SectionKind::Image, &image)])
            .expect("a module");
        let large = enlarged(&small, b"content").expect("a module");
        assert!((BYTES..BYTES + 8192).contains(&large.len()), "{} bytes", large.len());
        let module = Module::parse(&large).expect("a module");
        assert_eq!((module.manifest.version, module.image.bss_bytes()), (VERSION, 0));
        assert!(
            module.image.body().ends_with(b"content")
                || module.image.body().windows(7).any(|run| run == b"content")
        );
    }
}
