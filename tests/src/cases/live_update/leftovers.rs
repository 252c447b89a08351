//! Nothing of an instance that is gone may be left in memory: a marker is put into its heap and looked for afterwards.
//!
//! What is sent in the ordinary way lies in data regions that outlive the stack. The first fragment of a datagram whose rest
//! never comes, to a port that nobody serves and that therefore does not move, is kept in the stack's own heap. It is so short that
//! every later frame overwrites it in the driver's buffers.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::net::{Network, send_first_fragment};
use crate::vm::Vm;

/// What is looked for, and where it was found.
#[derive(Debug)]
pub(super) struct Marker {
    text: String,
    found: usize,
}

impl Marker {
    /// Sends the marker to the guest. `None` over user networking, which does not pass on single fragments.
    pub fn plant(network: &Network) -> Result<Option<Self>> {
        if matches!(network, Network::User) {
            return Ok(None);
        }
        let text = marker_text(std::process::id());
        send_first_fragment(network, text.as_bytes())?;
        Ok(Some(Self { text, found: 0 }))
    }

    /// Looks for it in a dump of the guest's memory, written to `file`: it must be there, or its absence later proves nothing.
    pub fn must_be_there(&mut self, vm: &mut Vm, file: &Path) -> Result<()> {
        self.found = self.look(vm, file)?.len();
        ensure!(self.found > 0, "the marker is not in memory although it was sent");
        Ok(())
    }

    /// The same, where it must not be any more. Returns in how many places it was.
    pub fn must_be_gone(&self, vm: &mut Vm, file: &Path) -> Result<usize> {
        let places = self.look(vm, file)?;
        ensure!(places.is_empty(), "the marker is still in memory, at {places:x?}");
        Ok(self.found)
    }

    fn look(&self, vm: &mut Vm, file: &Path) -> Result<Vec<u64>> {
        vm.dump_memory(file).context("dumping the guest's memory")?;
        let places = places(file, &self.text);
        // As large as the guest's memory, and of no use to anybody.
        std::fs::remove_file(file)?;
        places
    }
}

/// Sixteen bytes, so that the fragment is a whole number of eights.
fn marker_text(number: u32) -> String {
    format!("HICMRK{number:010}")
}

/// Offsets at which `text` lies in `file`. grep, since a search through as much in a debug build takes minutes.
fn places(file: &Path, text: &str) -> Result<Vec<u64>> {
    let mut grep = Command::new("grep");
    grep.args(["--text", "--only-matching", "--byte-offset", "--fixed-strings", "--", text]);
    let output = grep.env("LC_ALL", "C").arg(file).output().context("cannot run grep")?;
    let status = output.status.code();
    ensure!(matches!(status, Some(0 | 1)), "grep failed: {}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8_lossy(&output.stdout);
    let offset = |line: &str| line.split(':').next().and_then(|number| number.parse().ok());
    Ok(text.lines().filter_map(offset).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_marker_is_found_wherever_it_lies_among_binary_data() {
        let text = marker_text(77);
        assert_eq!(text.len(), 16);
        let file = tempfile::NamedTempFile::new().expect("a file");
        let mut bytes: Vec<u8> = (0..100_000u32).map(|n| (n * 7) as u8).collect();
        std::fs::write(file.path(), &bytes).expect("written");
        assert!(places(file.path(), &text).expect("searched").is_empty());
        for at in [3, 4099, 70_000] {
            bytes[at..at + 16].copy_from_slice(text.as_bytes());
        }
        std::fs::write(file.path(), &bytes).expect("written");
        assert_eq!(places(file.path(), &text).expect("searched"), [3, 4099, 70_000]);
    }
}
