//! The console: the operator's prompt on the first serial port.
//!
//! It must never wait for anybody without a deadline, and holds no state that would be missed: killed, it comes back with a new prompt.
#![no_std]
#![no_main]

extern crate alloc;

mod gather;
mod shell;
mod terminal;

use console::editor::{Editor, Outcome};
use gather::Sources;
use hic_abi::name_str;
use hic_rt::{StartPage, log};
use shell::Shell;
use terminal::Terminal;

hic_rt::entry!(main);

/// What the operator sees when the console waits. Scripts wait for it.
const PROMPT: &str = "hic> ";

fn main(page: &'static StartPage) -> u64 {
    let mut terminal = match Terminal::open(page) {
        Ok(terminal) => terminal,
        Err(error) => {
            log!("no serial port: {error}");
            return 1;
        }
    };
    let mut shell = Shell::new(Sources::new(page), name_str(&page.version));
    let mut editor = Editor::new(PROMPT);
    let mut out = alloc::format!("\r\nHIC {}: type help\r\n", name_str(&page.version));
    editor.prompt(&mut out);
    loop {
        terminal.send(&out);
        out.clear();
        let byte = terminal.key();
        if let Outcome::Line(line) = editor.feed(byte, &mut out) {
            terminal.send(&out);
            out.clear();
            shell.run(&line, &mut terminal);
            editor.prompt(&mut out);
        }
    }
}
