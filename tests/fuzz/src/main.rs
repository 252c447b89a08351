//! `hic-fuzz TARGET FILE...` tries files, `hic-fuzz seeds` writes the seeds of the corpus, `hic-fuzz list` names the targets.

use std::process::ExitCode;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["list"] => hic_fuzz::ALL.iter().for_each(|target| println!("{:<16} {}", target.name, target.about)),
        ["seeds"] => match hic_fuzz::seeds::write() {
            Ok(count) => println!("{count} seeds"),
            Err(error) => return fail(&error.to_string()),
        },
        [name, files @ ..] if !files.is_empty() => {
            let Some(target) = hic_fuzz::find(name) else {
                return fail(&format!("there is no target {name}; `hic-fuzz list` names them"));
            };
            for file in files {
                match std::fs::read(file) {
                    Ok(bytes) => (target.run)(&bytes),
                    Err(error) => return fail(&format!("{file}: {error}")),
                }
                println!("{file}: holds");
            }
        }
        _ => return fail("say: hic-fuzz TARGET FILE..., hic-fuzz seeds, or hic-fuzz list"),
    }
    ExitCode::SUCCESS
}

fn fail(why: &str) -> ExitCode {
    eprintln!("error: {why}");
    ExitCode::FAILURE
}
