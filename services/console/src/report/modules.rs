//! Modules: what can be started, and what was refused.

use super::{Report, clean, dash, table::Table};
use crate::error::CommandError;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt::Write;
use hic_abi::name_str;
use hic_control::manager::{ModuleInfo, ModuleState};
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
    /// verified, unverified or refused.
    pub state: &'static str,
    /// archive or repository.
    pub origin: &'static str,
    /// Instances that run it.
    pub instances: u64,
    /// Bytes of its file; 0 for a refused one.
    pub bytes: u64,
    /// Who signed it.
    pub signer: String,
    /// Whether its chain ends in a development root.
    pub development: bool,
    /// SHA-384 of its content, hexadecimal; `None` for a refused one.
    pub digest: Option<String>,
    /// Why it was refused.
    pub reason: Option<CommandError>,
}

const fn origin(number: u64) -> &'static str {
    match number {
        1 => "archive",
        2 => "repository",
        _ => "unknown",
    }
}

impl From<&ModuleInfo> for Module {
    fn from(info: &ModuleInfo) -> Self {
        let reason = name_str(&info.reason);
        Self {
            name: name_str(&info.name).into(),
            version: name_str(&info.version).into(),
            state: ModuleState::name(info.state),
            origin: origin(info.origin),
            instances: info.instances,
            bytes: info.bytes,
            signer: name_str(&info.signer).into(),
            development: info.development != 0,
            digest: (info.digest != [0; 48]).then(|| hexadecimal(&info.digest)),
            reason: (!reason.is_empty()).then(|| CommandError::told(reason)),
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

impl Module {
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
