//! One question about a repository's metadata answered: the walk of `hic_tuf`, from its beginning each time.

use core::fmt::Write;

use hic_hicmod::verdict::{Refusal, Span};
use hic_tuf::ask::{Answer, Question};
use hic_tuf::{Check, Client, Next, Refused, Role};

/// Answers `question`. `memory` gives the bytes of a span, or `None` for one that cannot be memory of the asker's.
pub fn walk<'m>(question: &Question, memory: impl Fn(Span) -> Option<&'m [u8]>) -> Answer {
    let outside = || Refused {
        role: Role::Root,
        check: Check::Form { problem: "it lies outside the memory of programs" },
    };
    let root = memory(question.root).ok_or_else(outside);
    let client = root.and_then(|root| Client::new(root, question.seen, question.now));
    let mut client = match client {
        Ok(client) => client,
        Err(problem) => return refused(problem, false),
    };
    let unlisted = client.allows_unlisted();
    for file in &question.files {
        let bytes = match file.map(&memory) {
            Some(None) => return refused(outside(), unlisted),
            Some(Some(bytes)) => Some(bytes),
            None => None,
        };
        match client.give(bytes) {
            Ok(Next::More(next)) => client = next,
            Ok(Next::Done(current)) => {
                return Answer::Good {
                    trusted: current.trusted,
                    expires: current.expires,
                    unlisted: current.unlisted,
                    modules: current.targets.len() as u32,
                };
            }
            Err(problem) => return refused(problem, unlisted),
        }
    }
    let wanted = client.wanted();
    let mut name = heapless::String::new();
    match write!(name, "{wanted}") {
        Ok(()) => Answer::Fetch { name, limit: wanted.limit as u32 },
        // A version has at most ten digits, for which there is room.
        Err(_) => refused(Refused { role: wanted.role, check: Check::Missing }, unlisted),
    }
}

fn refused(problem: Refused, unlisted: bool) -> Answer {
    let absent = problem == Refused { role: Role::Timestamp, check: Check::Missing };
    Answer::Refused { refusal: Refusal::new(problem.check.name(), &problem), absent, unlisted }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::string::{String, ToString};
    use std::vec;
    use std::vec::Vec;

    use hic_tuf::write::{self, Draft, RoleSpec, modulus, reference};
    use hic_tuf::{FileName, Head, Trusted};
    use rsa::RsaPrivateKey;
    use rsa::rand_core::OsRng;

    use super::*;

    const NOW: u64 = 1_800_000_000;

    /// A repository whose roles share one key: its files by name.
    fn repository() -> BTreeMap<String, Vec<u8>> {
        let key = RsaPrivateKey::new(&mut OsRng, 3072).unwrap();
        let public = modulus(&key.to_public_key()).unwrap();
        let head = Head { version: 1, issued: NOW, expires: NOW + 100 };
        let keys = [&public[..]];
        let root = write::root(head, true, [RoleSpec { threshold: 1, keys: &keys }; 4]).unwrap();
        let sign = |draft: Draft| draft.sign(&[&key], &mut OsRng).unwrap();
        let root = sign(Draft::root(&root));
        let targets = sign(Draft::targets(head, &[]).unwrap());
        let snapshot = sign(Draft::pointer(Role::Snapshot, head, reference(1, &targets)));
        let timestamp = sign(Draft::pointer(Role::Timestamp, head, reference(1, &snapshot)));
        [
            (Role::Root, root),
            (Role::Timestamp, timestamp),
            (Role::Snapshot, snapshot),
            (Role::Targets, targets),
        ]
        .map(|(role, bytes)| (FileName(role, 1).to_string(), bytes))
        .into()
    }

    /// What the manager does: fetches what is asked for, file `n` at the address `n`, until there is an end.
    fn ask(files: &BTreeMap<String, Vec<u8>>, now: u64) -> (Answer, Vec<String>) {
        let (mut fetched, mut names) = (vec![files["1.root.tuf"].clone()], Vec::new());
        let span = |n: usize, bytes: &[u8]| Span { address: n as u64, length: bytes.len() as u64 };
        let root = span(0, &fetched[0]);
        let mut question = Question { root, seen: Trusted::default(), now, files: Default::default() };
        loop {
            let answer = walk(&question, |span| fetched.get(span.address as usize).map(Vec::as_slice));
            let Answer::Fetch { name, limit } = &answer else { return (answer, names) };
            assert!(*limit >= 8192);
            names.push(name.to_string());
            let file = files.get(name.as_str());
            question.files.push(file.map(|bytes| span(fetched.len(), bytes))).unwrap();
            fetched.extend(file.cloned());
        }
    }

    #[test]
    fn the_asker_is_led_through_all_files_to_an_end() {
        let mut files = repository();
        let (answer, names) = ask(&files, NOW);
        assert_eq!(names, ["2.root.tuf", "timestamp.tuf", "1.snapshot.tuf", "1.targets.tuf"]);
        let Answer::Good { trusted, expires, unlisted, modules } = answer else { panic!("{answer:?}") };
        assert_eq!((trusted.timestamp, expires, unlisted, modules), (1, NOW + 100, true, 0));

        let (late, _) = ask(&files, NOW + 101);
        let Answer::Refused { refusal, absent, unlisted } = late else { panic!("{late:?}") };
        assert_eq!((&*refusal.check, absent, unlisted), ("metadata-expired", false, true));
        files.remove("timestamp.tuf");
        let (none, _) = ask(&files, NOW);
        assert!(matches!(none, Answer::Refused { absent: true, .. }), "{none:?}");
    }

    #[test]
    fn memory_that_is_nobody_s_is_not_looked_at() {
        let nowhere = Span { address: 9, length: 1 };
        let question =
            Question { root: nowhere, seen: Trusted::default(), now: NOW, files: Default::default() };
        assert!(matches!(walk(&question, |_| None), Answer::Refused { .. }));
    }
}
