//! Pure helpers for what a serial line carries: escapes, line ends, prompts.

/// What the guest's console prints when it waits for a command.
pub const PROMPT: &str = "hic> ";

/// `bytes` as text without ANSI escape sequences (ECMA-48 CSI and two-character ones); bytes that are no UTF-8 become
/// U+FFFD. Carriage returns stay, since they tell a redrawn line from a new one.
#[must_use]
pub fn plain(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        if c != '\u{1b}' {
            out.push(c);
        } else if chars.next_if_eq(&'[').is_some() {
            // CSI: parameters and intermediates up to a final byte in 0x40..=0x7e.
            while chars.next().is_some_and(|c| !('\u{40}'..='\u{7e}').contains(&c)) {}
        } else {
            chars.next();
        }
    }
    out
}

/// What a terminal would show of one line: the part after the last carriage return that something follows.
fn shown(line: &str) -> &str {
    let line = line.trim_end_matches('\r');
    line.rsplit('\r').next().unwrap_or(line)
}

/// The lines of `text` as a terminal would show them, without line ends.
#[must_use]
pub fn lines(text: &str) -> Vec<&str> {
    text.split('\n').map(shown).collect()
}

/// What a line of the kernel's log says: without `[seconds.micros] sandbox: ` before it. Other lines as they are.
#[must_use]
pub fn logged(line: &str) -> &str {
    let after_time = line.strip_prefix('[').and_then(|line| line.split_once("] "));
    after_time.and_then(|(_, line)| line.split_once(": ")).map_or(line, |(_, said)| said)
}

/// Whether `text` shows a prompt at the start of a line.
#[must_use]
pub fn shows_prompt(text: &str) -> bool {
    lines(text).iter().any(|line| line.starts_with(PROMPT))
}

/// The output of a command: what stands between the line on which it was typed and the next prompt. `None` while that
/// prompt is not there. `text` starts where the command was sent, so its first line is the console's echo.
#[must_use]
pub fn command_output(text: &str) -> Option<String> {
    let (_echo, rest) = text.split_once('\n')?;
    let lines = lines(rest);
    let end = lines.iter().position(|line| line.starts_with(PROMPT))?;
    Some(lines.get(..end)?.join("\n"))
}

/// The last `count` lines of `text`, each [`shortened`].
#[must_use]
pub fn tail(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let last = lines.get(lines.len().saturating_sub(count)..).unwrap_or_default();
    last.iter().map(|line| shortened(line)).collect::<Vec<_>>().join("\n")
}

/// The line, or the beginning of one that would fill a screen by itself.
#[must_use]
pub fn shortened(line: &str) -> String {
    /// Characters.
    const MOST: usize = 300;
    match line.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}…", line.get(..end).unwrap_or_default()),
        None => line.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_line_is_read_without_time_and_name() {
        assert_eq!(
            logged("[    0.058248] bench: bench null_syscall 87 instructions"),
            "bench null_syscall 87 instructions"
        );
        assert_eq!(logged("[   16.631666] keeper: selftest: PASS"), "selftest: PASS");
        assert_eq!(logged("selftest: PASS"), "selftest: PASS");
        assert_eq!(logged("[log] bench"), "[log] bench");
    }

    #[test]
    fn escapes_are_taken_out_and_text_stays() {
        assert_eq!(plain(b"\x1b[2K\x1b[1;32mhic> \x1b[0mok\x1b7"), "hic> ok");
        assert_eq!(plain(b"cut \x1b["), "cut ");
    }

    #[test]
    fn output_ends_at_the_prompt_after_the_echoed_line() {
        assert_eq!(command_output("status\r\none\r\ntwo\r\nhic> ").as_deref(), Some("one\ntwo"));
        assert_eq!(command_output("status\r\none\r\n"), None);
        assert_eq!(command_output("status"), None);
    }

    #[test]
    fn a_line_redrawn_while_typing_is_not_taken_for_the_next_prompt() {
        assert_eq!(command_output("s\rhic> st\rhic> sta\r\nup\r\nhic> ").as_deref(), Some("up"));
    }

    #[test]
    fn a_command_without_output_gives_an_empty_text() {
        assert_eq!(command_output("kill x\r\nhic> ").as_deref(), Some(""));
    }

    #[test]
    fn a_prompt_counts_only_at_the_start_of_a_line() {
        assert!(shows_prompt("boot\r\nhic> "));
        assert!(!shows_prompt("type at the `hic> ` prompt"));
    }

    #[test]
    fn the_tail_of_a_short_text_is_the_text() {
        assert_eq!(tail("a\nb\nc", 2), "b\nc");
        assert_eq!(tail("a", 5), "a");
    }

    #[test]
    fn only_a_long_line_is_shortened() {
        assert_eq!(shortened("short"), "short");
        assert_eq!(shortened(&"ä".repeat(300)), "ä".repeat(300));
        assert_eq!(shortened(&"ä".repeat(301)), "ä".repeat(300) + "…");
    }
}
