//! A report as text for people.

use std::fmt::{Display, Write as _};

use hic_hicmod::Manifest;
use hicmod_tool::{ArchiveReport, ModuleReport, Report, SignatureReport};

/// The report as lines of text.
pub fn report(report: &Report) -> String {
    match report {
        Report::Module(report) => module(report),
        Report::Archive(report) => archive(report),
    }
}

fn module(report: &ModuleReport) -> String {
    let image = &report.image;
    let mut text = String::new();
    manifest(&mut text, &report.manifest);
    row(&mut text, "uuid", &report.uuid);
    row(
        &mut text,
        "image",
        format_args!(
            "{} ro + {} rx + {} rw pages, {} bytes data, {} bytes bss, entry {:#x}, {} relocations",
            image.ro_pages,
            image.rx_pages,
            image.rw_pages,
            image.data_bytes,
            image.bss_bytes,
            image.entry,
            image.relocations
        ),
    );
    let exports = if image.exports.is_empty() { "nothing".to_owned() } else { image.exports.join(", ") };
    row(&mut text, "exports", exports);
    for section in &report.sections {
        let critical = if section.critical { "critical" } else { "optional" };
        let (kind, offset, length, crc) = (&section.kind, section.offset, section.length, &section.crc);
        row(&mut text, "section", format_args!("{kind} ({critical}) at {offset}, {length} bytes, CRC {crc}"));
    }
    match &report.signature {
        Some(signature) => self::signature(&mut text, signature),
        None => row(&mut text, "signature", "none"),
    }
    row(&mut text, "file", format_args!("{} bytes", report.bytes));
    text
}

/// What the signature says; whether that is true is for `verify` to find out.
fn signature(text: &mut String, report: &SignatureReport) {
    row(text, "signed", format_args!("{} (stated; `hicmod-tool verify` checks it)", report.signed_at));
    let certificates = [
        ("signer", Some(&report.signer)),
        ("issuer", Some(&report.intermediate)),
        ("new root", report.cross.as_ref()),
    ];
    for (title, certificate) in
        certificates.into_iter().filter_map(|(title, certificate)| Some((title, certificate?)))
    {
        let (subject, serial) = (&certificate.subject, &certificate.serial);
        row(text, title, format_args!("{subject}, serial {serial}"));
        row(text, "  valid", format_args!("{} to {}", certificate.valid_from, certificate.valid_until));
    }
    row(text, "root", report.cross.as_ref().map_or(&report.intermediate.issuer, |cross| &cross.issuer));
    let fits = if report.digest_fits { "" } else { " (DOES NOT FIT THE CONTENT)" };
    row(text, "SHA-384", format_args!("{}{fits}", report.digest));
}

fn manifest(text: &mut String, manifest: &Manifest) {
    row(text, "module", format_args!("{} {}", manifest.name, manifest.version));
    row(text, "summary", &manifest.summary);
    release(text, manifest);
    row(
        text,
        "kind",
        format_args!("{:?}, order {}, restart {:?}", manifest.kind, manifest.order, manifest.restart),
    );
    row(
        text,
        "processor",
        format_args!(
            "priority {}, {} us in {} us, {:?}",
            manifest.priority, manifest.budget_us, manifest.period_us, manifest.cpu
        ),
    );
    row(
        text,
        "memory",
        format_args!(
            "stack {} and heap {} pages, {} capability slots",
            manifest.stack_pages, manifest.heap_pages, manifest.cspace_slots
        ),
    );
    list(text, "state", manifest.state_regions.iter().map(|r| format!("{} ({} pages)", r.name, r.pages)));
    list(text, "provides", manifest.provides.iter());
    list(
        text,
        "needs",
        manifest
            .needs
            .iter()
            .map(|n| format!("{}{}", n.service, if n.optional { " (optional)" } else { "" })),
    );
    list(text, "authority", manifest.authority.iter().map(|a| format!("{a:?}")));
    let devices = manifest.devices.iter().flat_map(|d| d.ids.iter().map(move |id| (id, d.dma_pages)));
    list(text, "devices", devices.map(|(id, pages)| format!("{id} ({pages} DMA pages)")));
    list(text, "ioports", manifest.ioports.iter().map(|r| format!("{:#x} ({} ports)", r.base, r.len)));
    list(text, "irqs", manifest.irqs.iter());
    if let Some(update) = &manifest.update {
        let tested: Vec<String> = update.tested_with.iter().map(ToString::to_string).collect();
        row(
            text,
            "update",
            format_args!(
                "state schema {}, readable by {}, reads from {}; migration protocol {}; tested with {}",
                update.schema,
                update.readable_by,
                update.reads,
                update.protocols,
                if tested.is_empty() { "no version".to_owned() } else { tested.join(", ") }
            ),
        );
    }
}

/// What the release needs of the world, and what the build recorded.
fn release(text: &mut String, manifest: &Manifest) {
    if !manifest.publisher.is_empty() {
        row(text, "publisher", &manifest.publisher);
    }
    let built = match manifest.build.time {
        0 => "time not recorded".to_owned(),
        time => hicmod_tool::date(time),
    };
    let runtime = manifest.build.ipc_lib.map_or("no runtime".to_owned(), |v| format!("ipc_lib {v}"));
    row(text, "built", format_args!("{built}, {runtime}, Core-0 interface {}", manifest.abi));
    row(text, "epoch", manifest.epoch);
    list(text, "depends on", manifest.dependencies.iter().map(|d| format!("{} {}", d.module, d.version)));
    list(text, "interfaces", manifest.interfaces.provides.iter());
    list(text, "uses", manifest.interfaces.needs.iter());
    list(text, "parts", manifest.parts.iter().map(|part| format!("{} {}", part.name, part.version)));
    if let Some(health) = manifest.health {
        row(text, "health", format_args!("{} checks, then every {} ms", health.checks, health.every_ms));
    }
}

fn archive(report: &ArchiveReport) -> String {
    let mut text = String::new();
    row(&mut text, "archive", format_args!("{} files, {} bytes", report.entries.len(), report.bytes));
    for entry in &report.entries {
        let content = match (&entry.module, &entry.problem) {
            (Some(module), _) => module.clone(),
            (None, Some(problem)) => format!("PROBLEM: {problem}"),
            (None, None) => "not a module".to_owned(),
        };
        row(&mut text, &entry.name, format_args!("{} bytes at {}: {content}", entry.length, entry.offset));
    }
    text
}

fn list<T: Display>(text: &mut String, title: &str, items: impl Iterator<Item = T>) {
    let items: Vec<String> = items.map(|item| item.to_string()).collect();
    if !items.is_empty() {
        row(text, title, items.join(", "));
    }
}

fn row(text: &mut String, title: &str, value: impl Display) {
    // Writing to a String cannot fail.
    let _ = writeln!(text, "{title:<10} {value}");
}
