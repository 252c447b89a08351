//! The system's log.

use super::Sources;
use alloc::string::String;
use alloc::vec::Vec;
use console::error::CommandError;
use console::report::clean;
use console::report::system::Log;
use hic_control::grants;
use hic_rt::sys;

/// Lines that `log` shows.
const SHOWN: usize = 200;
/// Bytes in one read: what the kernel gives at once.
const CHUNK: usize = 1024;

impl Sources {
    /// `log`
    pub fn log(&mut self) -> Result<Log, CommandError> {
        let (text, _) = self.log_from(0)?;
        let lines: Vec<&str> = text.lines().collect();
        let shown = lines.iter().skip(lines.len().saturating_sub(SHOWN));
        Ok(Log { lines: shown.map(|line| clean(line)).collect() })
    }

    /// What `log -f` has not shown yet: at first the last lines, then whole new ones.
    pub fn new_log_text(&mut self) -> Result<String, CommandError> {
        let (text, end) = self.log_from(self.log_seen)?;
        let first = self.log_seen == 0;
        self.log_seen = end;
        let skip = if first { text.lines().count().saturating_sub(SHOWN) } else { 0 };
        let mut out = String::new();
        for line in text.lines().skip(skip) {
            out.push_str(&clean(line));
            out.push('\n');
        }
        Ok(out)
    }

    /// The log from a byte number on, and the byte number after its end. The kernel adds whole lines.
    fn log_from(&self, mut from: u64) -> Result<(String, u64), CommandError> {
        let log = self.grant(grants::LOG)?;
        let (mut bytes, mut chunk) = (Vec::new(), [0; CHUNK]);
        loop {
            let (count, first) = sys::log_read(log, from, &mut chunk)
                .map_err(|error| CommandError::call("the kernel", error))?;
            bytes.extend_from_slice(chunk.get(..count).unwrap_or_default());
            from = first + count as u64;
            if count < CHUNK {
                return Ok((String::from_utf8_lossy(&bytes).into_owned(), from));
            }
        }
    }
}
