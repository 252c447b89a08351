//! The targets, in the order in which their bytes meet the system.

mod boot;
mod certificate;
mod console;
mod container;
mod elf;
pub(crate) mod frames;
mod http;
mod image;
mod manifest;
mod messages;
mod metadata;
mod policy;
pub(crate) mod records;
mod resolver;
mod signed_module;
/// The wire and the shell of the network stack's own tests.
#[allow(
    dead_code,
    clippy::unwrap_used,
    missing_docs,
    reason = "a module of the tests of hic-net, used as it is"
)]
#[path = "../../../../libs/net/tests/sim/mod.rs"]
mod sim;

pub use metadata::NOW;

/// A decoder, and what must hold of it.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its name: that of the corpus' folder, and of the program for libFuzzer.
    pub name: &'static str,
    /// What is read.
    pub about: &'static str,
    /// Tries these bytes; panics where something does not hold.
    pub run: fn(&[u8]),
    /// Endings of the files of the module format's test vectors that are files of this target's corpus.
    pub vectors: &'static [&'static str],
}

const fn target(name: &'static str, about: &'static str, run: fn(&[u8])) -> Target {
    Target { name, about, run, vectors: &[] }
}

impl Target {
    const fn with_vectors(self, vectors: &'static [&'static str]) -> Self {
        Self { vectors, ..self }
    }
}

/// All of them.
pub const ALL: [Target; 20] = [
    target("boot_message", "what a boot loader leaves in memory for the kernel", boot::message),
    target("boot_archive", "boot archives", boot::archive),
    target("container", "modules: container, manifest and image", container::run).with_vectors(&["hicmod"]),
    target("image", "flattened images, placed in memory", image::run),
    target("elf", "linked files that are made into modules on the host", elf::run),
    target("certificate", "certificates and revocation lists", certificate::run)
        .with_vectors(&["der", "crl"]),
    target("signed_module", "the whole verification of a module", signed_module::run)
        .with_vectors(&["hicmod"]),
    target("metadata", "the repository's metadata, and a client's walk through it", metadata::run),
    target("manifest", "manifests in a module", manifest::binary),
    target("manifest_text", "hicmod.toml", manifest::text),
    target("release", "sets of manifests: start order, and which pairs can be exchanged", manifest::set),
    target("policy", "the policy in a boot archive", policy::binary),
    target("policy_text", "policy.toml", policy::text),
    target("resolver", "repositories that the dependency resolver is asked about", resolver::run),
    target("http_answer", "answers of an HTTP server to a download", http::answer),
    target("http_request", "requests to the web server", http::request),
    target("console", "keys typed at the console, and the lines they make", console::run),
    target("messages", "messages between services", messages::run),
    target("frames", "frames from the wire into the network stack", frames::run),
    target("records", "records that outlive whoever wrote them", records::run),
];

/// The target of this name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Target> {
    ALL.iter().find(|target| target.name == name)
}

/// Tries bytes on the target of this name.
///
/// # Panics
/// Where something does not hold, or if there is no such target.
pub fn run(name: &str, bytes: &[u8]) {
    let target = find(name).unwrap_or_else(|| panic!("no target {name}"));
    (target.run)(bytes);
}

/// A message that goes to a log or a console is one line of bounded length.
pub(crate) fn assert_sentence(text: &impl std::fmt::Display, limit: usize) {
    let text = text.to_string();
    assert!(!text.is_empty() && text.len() <= limit, "{} bytes: {text}", text.len());
    assert!(!text.chars().any(char::is_control), "control characters: {text:?}");
}
