//! The console: keys become lines, lines become commands.

use console::command::{Command, Task, parse};
use console::editor::{Editor, MAX_LINE, Outcome};

/// Most bytes that one key may send to the terminal: a line drawn anew, and what moves the cursor.
const MAX_ECHO: usize = 2 * MAX_LINE + 64;

/// Tries the bytes as keys, and as one line.
pub fn run(bytes: &[u8]) {
    let mut editor = Editor::new("hic> ");
    let mut out = String::new();
    editor.prompt(&mut out);
    for byte in bytes {
        out.clear();
        let outcome = editor.feed(*byte, &mut out);
        assert!(out.len() <= MAX_ECHO, "{} bytes for one key", out.len());
        assert!(out.is_ascii());
        if let Outcome::Line(line) = outcome {
            assert!(
                line.len() <= MAX_LINE && line.bytes().all(|byte| (b' '..=b'~').contains(&byte)),
                "{line:?}"
            );
            command(&line);
        }
    }
    if let Ok(line) = std::str::from_utf8(bytes) {
        command(line);
    }
}

/// A line that is none is answered on one line, in both forms; asking for JSON changes the form alone.
fn command(line: &str) {
    let Some(request) = parse(line) else {
        assert!(line.split_ascii_whitespace().next().is_none());
        return;
    };
    match &request.command {
        Ok(command) => {
            if let Command::Task(Task::AddSource(address) | Task::RemoveSource(address)) = command {
                super::http::address(address);
            }
            if *command != Command::LogFollow {
                let json = parse(&format!("{line} --json")).expect("words");
                assert_eq!((json.json, &json.command), (true, &request.command));
            }
        }
        Err(error) => {
            for (json, text) in [(false, error.render(false)), (true, error.render(true))] {
                let one = text.strip_suffix('\n').expect("a line");
                assert!(!one.chars().any(char::is_control), "{one:?}");
                if json {
                    let document: serde_json::Value = serde_json::from_str(one).expect("a document");
                    assert_eq!(document["error"]["code"], error.code.as_ref());
                }
            }
        }
    }
}
