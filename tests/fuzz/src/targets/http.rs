//! HTTP from both ends: what a server answers to a download, and what a browser asks the web server.

use hic_fetch::http::{Get, HttpError, MAX_HEAD_BYTES, MAX_REQUEST_BYTES, Wanted};
use hic_fetch::{Failure, Source};
use web_server::request::{MAX_BODY, MAX_HEAD, Parsed, parse};

use super::assert_sentence;
use crate::input::Input;

/// Room for the file.
const ROOM: usize = 256;
/// What is in that room, and stays where nothing of the file was written.
const UNTOUCHED: u8 = 0xee;

/// What came of an answer.
#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    result: Result<(), HttpError>,
    at: u32,
    total: u32,
    validator: String,
    file: Vec<u8>,
}

/// Tries the bytes behind the first three as an answer, whole and in pieces: both ways it means the same.
pub fn answer(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let flags = input.byte();
    let wanted = Wanted {
        path: "/metadata/timestamp.tuf".parse().expect("short"),
        from: if flags & 1 != 0 { 16 } else { 0 },
        validator: if flags & 2 != 0 { "\"v1\"".parse().expect("short") } else { Default::default() },
        room: ROOM as u32,
        length: (flags & 4 != 0).then_some(64),
    };
    let mut splits = input.clone();
    let _ = input.array::<2>();
    let text = input.rest();
    let get = Get::new(wanted.clone());
    let request = get.request(&"10.0.2.2:8000").expect("it fits");
    assert!(request.len() <= MAX_REQUEST_BYTES && request.ends_with("\r\n\r\n"));

    let whole = run(&wanted, [text]);
    let sizes = splits.array::<2>().map(|size| usize::from(size) + 1);
    let mut pieces = Vec::new();
    let mut rest = text;
    for size in sizes.into_iter().cycle() {
        let (piece, behind) = rest.split_at(size.min(rest.len()));
        pieces.push(piece);
        rest = behind;
        if rest.is_empty() {
            break;
        }
    }
    assert_eq!(run(&wanted, pieces), whole);
    check(&wanted, &whole, text.len());
}

fn run<'a>(wanted: &Wanted, pieces: impl IntoIterator<Item = &'a [u8]>) -> Outcome {
    let mut get = Get::new(wanted.clone());
    let mut file = vec![UNTOUCHED; ROOM];
    let fed = pieces.into_iter().try_for_each(|piece| get.feed(piece, &mut file));
    let result = fed.and_then(|()| get.end());
    let refused = !matches!(result, Ok(()) | Err(HttpError::CutOff { .. }));
    Outcome {
        result,
        // Where an answer was refused, nothing is said about what is there.
        at: if refused { 0 } else { get.at() },
        total: if refused { 0 } else { get.total() },
        validator: if refused { String::new() } else { get.validator().as_str().to_owned() },
        file,
    }
}

fn check(wanted: &Wanted, outcome: &Outcome, came: usize) {
    let Outcome { result, at, total, validator, file } = outcome;
    assert!(*at as usize <= ROOM && (*total == 0 || at <= total) && *total as usize <= ROOM);
    assert!(!validator.chars().any(char::is_control));
    let start = if wanted.resumes() { wanted.from as usize } else { 0 };
    assert!(*at as usize <= start + came, "more than came");
    let written = file.iter().rposition(|byte| *byte != UNTOUCHED).map_or(0, |last| last + 1);
    match result {
        Ok(()) => {
            assert_eq!(at, total);
            assert!(wanted.length.is_none_or(|length| length == *total));
            assert!(written <= *at as usize, "written behind the file");
        }
        Err(HttpError::CutOff { .. }) => assert!(written <= *at as usize || *total == 0),
        Err(error) => {
            assert_sentence(error, 200);
            assert_eq!(written, 0, "a byte of an answer that is refused was kept: {error}");
            let failure = Failure::new(error.code(), error, error.is_passing());
            assert!(!failure.text.is_empty());
        }
    }
    const { assert!(MAX_HEAD_BYTES >= 4096) };
}

/// Tries the bytes as a request: it is whole at one length and at no shorter one, and within its bounds.
pub fn request(bytes: &[u8]) {
    let Parsed::Whole(request) = parse(bytes) else { return };
    assert!(request.head_len <= bytes.len().min(MAX_HEAD) && request.body_len <= MAX_BODY);
    let head = &bytes[..request.head_len];
    assert_eq!(parse(head), Parsed::Whole(request));
    assert_eq!(parse(&head[..head.len() - 1]), Parsed::Partial, "whole before its end");
    assert!(head.ends_with(b"\n"));
}

/// An address of a repository has one form.
pub fn address(text: &str) {
    match text.parse::<Source>() {
        Ok(source) => {
            let form = source.to_string();
            assert_eq!(form.parse::<Source>().as_ref(), Ok(&source));
            let path = source.path("metadata/timestamp.tuf").expect("there is room");
            assert!(path.starts_with('/') && !path.split('/').any(|part| part == ".."));
        }
        Err(error) => assert_sentence(&error, 200),
    }
}
