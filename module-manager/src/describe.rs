//! What a module says of itself and what it is granted, in words: for an operator who looks before he installs.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use hic_hicmod::manifest::{Exchange, Manifest};
use hic_policy::Decision;

use crate::plan::things;

/// Bytes after which a list goes on in another line: it fits a terminal, and an answer.
const LINE: usize = 160;

/// The lines of `modules NAME` that tell what no list of a repository says, each as `what: text`. What has nothing to say is left out.
#[must_use]
pub fn describe(manifest: &Manifest, decision: &Decision) -> Vec<String> {
    let exchanged = match manifest.exchange() {
        Exchange::Rolling => "while it serves",
        Exchange::InPlace => "in place",
        Exchange::Restart => "by an end and a start",
    };
    let health = manifest.health.as_ref().map_or_else(
        || "by the system's default".into(),
        |health| format!("{} checks in a row, then one every {} ms", health.checks, health.every_ms),
    );
    let parts = manifest.parts.iter().map(|part| format!("{} {}", part.name, part.version));
    let (offers, uses) = (manifest.interfaces.provides.iter(), manifest.interfaces.needs.iter());
    let mut lines = Lines(Vec::new());
    lines.text("summary", &manifest.summary);
    lines.list("parts", parts);
    lines.list("offers", offers.map(ToString::to_string));
    lines.list("uses", uses.map(ToString::to_string));
    lines.text("health", &health);
    lines.text("exchanged", exchanged);
    lines.list("granted", things(&decision.granted));
    for denied in denials(decision) {
        lines.text("denied", &denied);
    }
    lines.0
}

struct Lines(Vec<String>);

impl Lines {
    fn text(&mut self, what: &str, text: &str) {
        if !text.is_empty() {
            self.0.push(format!("{what}: {text}"));
        }
    }

    fn list(&mut self, what: &str, items: impl IntoIterator<Item = String>) {
        let mut line = String::new();
        for item in items {
            if line.len() + 2 + item.len() > LINE {
                self.text(what, &core::mem::take(&mut line));
            }
            line.push_str(if line.is_empty() { "" } else { ", " });
            line.push_str(&item);
        }
        self.text(what, &line);
    }
}

/// What was asked for and denied, each with what that means.
#[must_use]
pub fn denials(decision: &Decision) -> Vec<String> {
    let meaning = |essential| if essential { "it does not start without" } else { "it works without" };
    decision.denied.iter().map(|denied| format!("{denied}; {}", meaning(denied.is_essential()))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use hic_hicmod::manifest::release::MAX_PARTS;
    use hic_hicmod::manifest::{Authority, Kind, Part, Version};
    use hic_policy::{Allowed, decide};

    #[test]
    fn what_a_module_is_asks_for_gets_and_is_denied_is_told() {
        let mut manifest = Manifest::least("hello".parse().unwrap(), Version::new(1, 2, 0), Kind::Service);
        manifest.parts.push(Part { name: "tcp".parse().unwrap(), version: Version::new(1, 0, 0) }).unwrap();
        manifest.authority = [Authority::Clock, Authority::Power].into_iter().collect();
        manifest.optional_authority = [Authority::Power].into_iter().collect();
        let policy = Allowed {
            authority: [Authority::Clock].into_iter().collect(),
            memory_pages: 100,
            priority: 31,
            ..Allowed::NOTHING
        };
        let lines = describe(&manifest, &decide(&manifest, &policy, true));
        assert_eq!(
            lines,
            [
                "parts: tcp 1.0.0",
                "health: by the system's default",
                "exchanged: by an end and a start",
                "granted: clock, 1 pages of memory, priority 1",
                "denied: authority power; it works without",
            ]
        );
    }

    #[test]
    fn a_long_list_goes_on_in_the_next_line_and_loses_nothing() {
        let mut manifest = Manifest::least("hello".parse().unwrap(), Version::new(1, 2, 0), Kind::Service);
        let part = |n: u8| format!("a_part_with_a_long_nam{n}").parse().unwrap();
        for n in 0..MAX_PARTS as u8 {
            manifest.parts.push(Part { name: part(n), version: Version::new(1, 0, 0) }).unwrap();
        }
        let lines = describe(&manifest, &decide(&manifest, &Allowed::NOTHING, true));
        let parts: Vec<&str> = lines.iter().filter_map(|line| line.strip_prefix("parts: ")).collect();
        assert!(parts.len() > 1 && parts.iter().all(|line| line.len() <= LINE), "{parts:?}");
        assert_eq!(parts.join(", ").split(", ").count(), MAX_PARTS);
    }
}
