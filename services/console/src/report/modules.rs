//! Modules: what can be started, and what was refused.

use super::{Report, clean, dash, table::Table};
use crate::error::CommandError;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt::Write;
use hic_abi::name_str;
use hic_control::manager::{ModuleInfo, ModuleOrigin, ModuleState};
use serde::Serialize;

/// Hexadecimal digits of a digest in the text form: enough to tell two files apart.
const DIGEST_SHOWN: usize = 12;

/// `modules`
#[derive(Clone, Debug, Default, Serialize)]
pub struct Modules {
    /// Those of the boot archive, then those of the repository.
    pub modules: Vec<Module>,
    /// A module's chain ends in a development root: nobody should rely on this system.
    pub development_root: bool,
    /// The repository is being read: there may be more modules in a moment.
    pub reading: bool,
    /// Why the repository was not read.
    pub unread: Option<CommandError>,
}

/// One module.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Module {
    /// Its name; of a refused one the name of its file.
    pub name: String,
    /// Its version; empty for a refused one.
    pub version: String,
    /// verified, unverified, refused or offered.
    pub state: &'static str,
    /// archive, repository (the disk), network or system-disk.
    pub origin: &'static str,
    /// Instances that run it.
    pub instances: u64,
    /// Bytes of its file; 0 for a refused one.
    pub bytes: u64,
    /// Who signed it, as verified; empty for one that is only offered.
    pub signer: String,
    /// Of one that is offered: who signed it, as the repository says. Nothing was verified yet.
    pub listed_signer: Option<String>,
    /// Who publishes it, as its manifest says; of one that is offered, as the repository says.
    pub publisher: String,
    /// Whether its chain ends in a development root.
    pub development: bool,
    /// SHA-384 of its content, hexadecimal; `None` for a refused one.
    pub digest: Option<String>,
    /// Why it was refused.
    pub reason: Option<CommandError>,
    /// The identifier of the release; `None` for a refused one.
    pub uuid: Option<String>,
    /// Its anti-rollback epoch.
    pub epoch: u64,
    /// What it needs.
    pub needs: String,
    /// Of one that is offered, where the list was found that names it: disk, or an address.
    pub source: Option<String>,
    /// What its manifest says, what it is granted and what it is denied. Only where one module is asked for, and of one that is in memory.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub facts: Vec<Fact>,
}

/// Something that is to be known of a module.
#[derive(Clone, Debug, Serialize)]
pub struct Fact {
    /// Of which kind: `publisher`, `granted`, `denied`, ...
    pub what: String,
    /// In words.
    pub text: String,
}

impl Fact {
    /// From `what: text`.
    #[must_use]
    pub fn of(line: &str) -> Self {
        let (what, text) = line.split_once(": ").unwrap_or(("", line));
        Self { what: what.into(), text: text.into() }
    }
}

impl From<&ModuleInfo> for Module {
    fn from(info: &ModuleInfo) -> Self {
        let reason = name_str(&info.reason);
        let (signer, offered) = (name_str(&info.signer), info.state == ModuleState::Offered as u64);
        Self {
            name: name_str(&info.name).into(),
            version: name_str(&info.version).into(),
            state: ModuleState::name(info.state),
            origin: ModuleOrigin::name(info.origin),
            instances: info.instances,
            bytes: info.bytes,
            signer: if offered { "" } else { signer }.into(),
            listed_signer: offered.then(|| signer.into()),
            publisher: name_str(&info.publisher).into(),
            development: info.development != 0,
            digest: (info.digest != [0; 48]).then(|| hexadecimal(&info.digest)),
            reason: (!reason.is_empty()).then(|| CommandError::told(reason)),
            uuid: (info.uuid != [0; 16]).then(|| uuid(&info.uuid)),
            epoch: info.epoch,
            needs: name_str(&info.needs).into(),
            source: Some(name_str(&info.source)).filter(|source| !source.is_empty()).map(String::from),
            facts: Vec::new(),
        }
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        let _ = write!(out, "{byte:02x}");
    }
    out
}

/// As RFC 9562 writes it.
fn uuid(bytes: &[u8; 16]) -> String {
    let mut text = hexadecimal(bytes);
    for at in [20, 16, 12, 8] {
        text.insert(at, '-');
    }
    text
}

impl Modules {
    /// Adds a module.
    pub fn add(&mut self, info: &ModuleInfo) {
        let module = Module::from(info);
        self.development_root |= module.development;
        self.modules.push(module);
    }

    fn table(&self, out: &mut String) {
        let headings = ["module", "version", "state", "origin", "instances", "bytes", "signer", "digest"];
        let mut table = Table::new(headings);
        for m in self.modules.iter().filter(|m| !m.is_refused()) {
            let digest = m.digest.as_deref().and_then(|digest| digest.get(..DIGEST_SHOWN));
            let [name, version, signer, digest] =
                [&m.name, &m.version, &m.signer, digest.unwrap_or_default()].map(dash);
            let (instances, bytes) = (m.instances.to_string(), m.bytes.to_string());
            table.row([name, version, m.state.into(), m.origin.into(), instances, bytes, signer, digest]);
        }
        table.print(out);
    }
}

/// `modules <name> [version]`: everything that is known of each version of one module.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Versions {
    /// The versions.
    pub modules: Vec<Module>,
}

impl Versions {
    /// Those of the module of this name; with a version, that one alone.
    #[must_use]
    pub fn of(modules: Modules, name: &str, version: Option<&str>) -> Self {
        let mut modules = modules.modules;
        modules
            .retain(|module| module.name == name && version.is_none_or(|version| module.version == version));
        Self { modules }
    }
}

impl Report for Versions {
    fn text(&self, out: &mut String) {
        for module in &self.modules {
            module.describe(out);
        }
    }
}

impl Module {
    fn describe(&self, out: &mut String) {
        let signer = match &self.listed_signer {
            Some(listed) => format!("{listed} (said by the repository; verified when it is fetched)"),
            None => self.signer.clone(),
        };
        let digest = self.digest.as_deref().unwrap_or("-");
        let place = match &self.source {
            Some(source) => clean(source),
            None => self.origin.into(),
        };
        let rows = [
            ("state", self.state.into()),
            ("uuid", dash(self.uuid.as_deref().unwrap_or_default())),
            ("size", format!("{} bytes", self.bytes)),
            ("signer", dash(&signer)),
            ("publisher", dash(&self.publisher)),
            ("needs", dash(&self.needs)),
            ("epoch", self.epoch.to_string()),
            ("source", place),
            ("SHA-384", digest.into()),
        ];
        let _ = writeln!(out, "{} {}", clean(&self.name), clean(&self.version));
        let facts = self.facts.iter().map(|fact| (clean(&fact.what), clean(&fact.text)));
        for (what, text) in rows.into_iter().map(|(what, text)| (what.into(), text)).chain(facts) {
            let _ = writeln!(out, "  {what:<10} {text}");
        }
    }

    fn is_refused(&self) -> bool {
        self.state == ModuleState::name(ModuleState::Refused as u64)
    }
}

impl Report for Modules {
    fn text(&self, out: &mut String) {
        self.table(out);
        for m in self.modules.iter().filter(|m| m.is_refused()) {
            let _ = write!(out, "refused: {} ({})", clean(&m.name), m.origin);
            let _ = match &m.reason {
                Some(CommandError { code, message }) => writeln!(out, ": {code}: {message}"),
                None => writeln!(out, ", without a reason"),
            };
        }
        if self.reading {
            out.push_str("the repository is being read; ask again for what is in it\n");
        }
        if let Some(CommandError { code, message }) = &self.unread {
            let _ = writeln!(out, "the repository was not read: {code}: {message}");
        }
        if self.development_root {
            out.push_str("this system trusts a DEVELOPMENT root\n");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::both;
    use super::*;
    use hic_abi::{Plain, name_bytes};

    fn netstack() -> ModuleInfo {
        ModuleInfo {
            name: name_bytes("netstack"),
            version: name_bytes("1.3.0"),
            state: ModuleState::Verified as u64,
            origin: 2,
            instances: 1,
            bytes: 401_408,
            digest: [0xa5; 48],
            signer: name_bytes("HIC modules"),
            ..ModuleInfo::zeroed()
        }
    }

    fn refused() -> ModuleInfo {
        ModuleInfo {
            name: name_bytes("bad.hicmod"),
            state: ModuleState::Refused as u64,
            origin: 2,
            reason: name_bytes("digest: the content is\x1b not what was signed"),
            ..ModuleInfo::zeroed()
        }
    }

    fn report(infos: &[ModuleInfo]) -> Modules {
        let mut modules = Modules::default();
        infos.iter().for_each(|info| modules.add(info));
        modules
    }

    #[test]
    fn modules_are_rows_and_refused_files_give_their_reason() {
        let (json, text) = both(&report(&[netstack(), refused()]));
        assert_eq!(
            text,
            "module    version  state     origin      instances  bytes   signer       digest\n\
             netstack  1.3.0    verified  repository  1          401408  HIC modules  a5a5a5a5a5a5\n\
             refused: bad.hicmod (repository): digest: the content is\u{fffd} not what was signed\n"
        );
        assert_eq!(json["modules"][0]["digest"].as_str().map(str::len), Some(96));
        assert_eq!(json["modules"][0]["reason"], serde_json::Value::Null);
        assert_eq!(json["modules"][1]["reason"]["code"], "digest");
        assert_eq!(json["modules"][1]["digest"], serde_json::Value::Null);
        assert_eq!((&json["development_root"], &json["reading"]), (&false.into(), &false.into()));
    }

    #[test]
    fn an_offered_module_shows_all_that_is_known_before_it_is_fetched() {
        let offered = ModuleInfo {
            state: ModuleState::Offered as u64,
            origin: ModuleOrigin::Network as u64,
            version: name_bytes("1.4.0"),
            instances: 0,
            signer: name_bytes("somebody"),
            publisher: name_bytes("some people"),
            uuid: [0xb0; 16],
            epoch: 2,
            needs: name_bytes("eth_driver, eth_driver >=1.2.0"),
            source: name_bytes("http://10.0.2.2:8000/"),
            ..netstack()
        };
        let modules = report(&[netstack(), refused(), offered]);
        assert!(
            both(&modules).1.contains("netstack  1.4.0    offered   network     0"),
            "{}",
            both(&modules).1
        );
        let (json, text) = both(&Versions::of(modules, "netstack", None));
        let expected = "netstack 1.4.0\n\
             \x20 state      offered\n\
             \x20 uuid       b0b0b0b0-b0b0-b0b0-b0b0-b0b0b0b0b0b0\n\
             \x20 size       401408 bytes\n\
             \x20 signer     somebody (said by the repository; verified when it is fetched)\n\
             \x20 publisher  some people\n\
             \x20 needs      eth_driver, eth_driver >=1.2.0\n\
             \x20 epoch      2\n\
             \x20 source     http://10.0.2.2:8000/\n";
        assert!(text.contains(expected), "{text}");
        assert_eq!(json["modules"].as_array().map(Vec::len), Some(2));
        let offered = &json["modules"][1];
        assert_eq!(offered["source"], "http://10.0.2.2:8000/");
        assert_eq!((&offered["signer"], &offered["listed_signer"]), (&"".into(), &"somebody".into()));
        assert_eq!(json["modules"][0]["listed_signer"], serde_json::Value::Null);
    }

    #[test]
    fn one_version_can_be_asked_for_and_tells_what_it_is_granted_and_denied() {
        let old = ModuleInfo { version: name_bytes("1.2.0"), ..netstack() };
        let mut versions = Versions::of(report(&[old, netstack()]), "netstack", Some("1.3.0"));
        versions.modules[0].facts = ["parts: tcp 1.3.0", "denied: \x1b"].map(Fact::of).to_vec();
        let (json, text) = both(&versions);
        assert!(text.starts_with("netstack 1.3.0\n") && !text.contains("1.2.0"), "{text}");
        assert!(text.ends_with("\n  parts      tcp 1.3.0\n  denied     \u{fffd}\n"), "{text}");
        assert_eq!(json["modules"][0]["facts"][0]["what"], "parts");
        assert_eq!(json["modules"][0]["facts"][0]["text"], "tcp 1.3.0");
    }

    #[test]
    fn one_development_root_makes_a_development_system() {
        let development = ModuleInfo { development: 1, ..netstack() };
        let (json, text) = both(&report(&[development, netstack()]));
        assert!(text.ends_with("this system trusts a DEVELOPMENT root\n"), "{text}");
        assert_eq!(json["development_root"], true);
        assert_eq!(json["modules"][1]["development"], false);
    }

    #[test]
    fn it_says_when_the_repository_is_read_or_cannot_be() {
        let mut modules = Modules { reading: true, ..Modules::default() };
        assert!(both(&modules).1.contains("the repository is being read"));
        modules.unread = Some(CommandError::told("no-storage: there is no disk"));
        let (json, text) = both(&modules);
        assert!(text.contains("the repository was not read: no-storage: there is no disk\n"), "{text}");
        assert_eq!(json["unread"]["code"], "no-storage");
    }
}
