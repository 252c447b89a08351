use super::*;
use proptest::prelude::*;
use std::format;
use std::string::String;
use std::vec;

const ROOM: u32 = 1000;

fn wanted(from: u32, validator: &str, length: Option<u32>) -> Wanted {
    let path = Path::try_from("/targets/x.hicmod").unwrap();
    Wanted { path, from, validator: Validator::try_from(validator).unwrap(), room: ROOM, length }
}

/// What an answer in pieces of `size` bytes leaves in the file, and how it ends.
fn answer(wanted: Wanted, bytes: &[u8], size: usize) -> Result<(Get, Vec<u8>), HttpError> {
    let mut get = Get::new(wanted);
    let mut file = vec![0xee; ROOM as usize];
    for piece in bytes.chunks(size.max(1)) {
        get.feed(piece, &mut file)?;
    }
    get.end()?;
    Ok((get, file))
}

fn with_head(head: &str, body: &[u8]) -> Vec<u8> {
    [format!("HTTP/1.1 {head}\r\n\r\n").as_bytes(), body].concat()
}

fn refused(head: &str) -> HttpError {
    answer(wanted(0, "", None), &with_head(head, b"12345"), 7).map(|_| ()).unwrap_err()
}

#[test]
fn a_file_is_read_whole_in_whatever_pieces_it_comes() {
    let body: Vec<u8> = (0..900u32).map(|n| n as u8).collect();
    let bytes = with_head("200 OK\r\nServer: x\r\nContent-Length: 900\r\nETag: \"v1\"", &body);
    for size in [1, 2, 3, 50, 4096] {
        let (get, file) = answer(wanted(0, "", Some(900)), &bytes, size).unwrap();
        assert!(get.is_done() && file[..900] == body && file[900..].iter().all(|byte| *byte == 0xee));
        assert_eq!((get.at(), get.total(), get.validator().as_str()), (900, 900, "\"v1\""));
    }
}

#[test]
fn what_comes_after_the_file_is_not_looked_at() {
    let bytes = with_head("200 OK\r\nContent-Length: 3", b"abcdef");
    for size in [1, 40, 41, 100] {
        let (get, file) = answer(wanted(0, "", None), &bytes, size).unwrap();
        assert!(get.is_done() && file.starts_with(b"abc\xee"), "{size}");
    }
}

#[test]
fn a_part_is_put_behind_what_is_there() {
    let mut get = Get::new(wanted(5, "\"v1\"", Some(8)));
    let request = get.request(&"10.0.2.2:8000").unwrap();
    assert!(request.contains("Range: bytes=5-\r\nIf-Range: \"v1\"\r\n") && request.ends_with("\r\n\r\n"));
    let mut file = *b"01234___";
    get.feed(&with_head("206 Partial\r\nContent-Length: 3\r\nContent-Range: bytes 5-7/8", b"567"), &mut file)
        .unwrap();
    assert!(get.is_done() && &file == b"01234567");
}

#[test]
fn a_server_that_sends_the_whole_file_instead_of_a_part_begins_it_again() {
    let mut get = Get::new(wanted(5, "\"v1\"", None));
    let mut file = *b"01234___";
    get.feed(&with_head("200 OK\r\nContent-Length: 3\r\nETag: \"v2\"", b"abc"), &mut file).unwrap();
    assert!(get.is_done() && file.starts_with(b"abc34"));
    assert_eq!((get.at(), get.validator().as_str()), (3, "\"v2\""));
}

#[test]
fn another_part_than_the_one_asked_for_is_refused() {
    for range in [
        "bytes 4-7/8",
        "bytes 5-6/8",
        "bytes 5-7/9",
        "bytes 5-7/*",
        "bytes -3/8",
        "5-7/8",
        "bytes 5-18446744073709551615/8",
    ] {
        let mut get = Get::new(wanted(5, "\"v1\"", None));
        let head = format!("206 Partial\r\nContent-Length: 3\r\nContent-Range: {range}");
        assert_eq!(get.feed(&with_head(&head, b"567"), &mut [0; 8]), Err(HttpError::BadRange), "{range}");
    }
    // A part that nobody asked for: there is no validator, so the file is begun anew.
    let mut get = Get::new(wanted(5, "", None));
    assert!(!get.request(&"x").unwrap().contains("Range"));
    let head = "206 Partial\r\nContent-Length: 3\r\nContent-Range: bytes 5-7/8";
    assert_eq!(get.feed(&with_head(head, b"567"), &mut [0; 8]), Err(HttpError::Status { status: 206 }));
}

#[test]
fn every_answer_that_is_not_the_file_is_refused_by_name() {
    assert_eq!(
        refused("301 Moved\r\nLocation: http://evil/\r\nContent-Length: 5"),
        HttpError::Redirect { status: 301 }
    );
    assert_eq!(refused("404 Not Found\r\nContent-Length: 5"), HttpError::NotFound);
    assert_eq!(refused("503 Busy\r\nContent-Length: 5"), HttpError::Status { status: 503 });
    assert_eq!(refused("200 OK"), HttpError::NoLength);
    assert_eq!(refused("200 OK\r\nTransfer-Encoding: chunked"), HttpError::Encoded);
    assert_eq!(refused("200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked"), HttpError::Encoded);
    assert_eq!(refused("200 OK\r\nContent-Length: 5\r\nContent-Encoding: gzip"), HttpError::Encoded);
    assert_eq!(refused("200 OK\r\nContent-Length: 5\r\nContent-Length: 6"), HttpError::BadHead);
    for length in ["-5", "+5", "5, 5", "", "0x5", "99999999999999999999999"] {
        assert_eq!(refused(&format!("200 OK\r\nContent-Length: {length}")), HttpError::BadHead, "{length}");
    }
    assert_eq!(refused("200 OK\r\nContent-Length: 1001"), HttpError::TooLong { said: 1001, room: ROOM });
    assert_eq!(refused("200 OK\r\nContent-Length: 6"), HttpError::CutOff { at: 5, of: 6 });
    let known = answer(wanted(0, "", Some(4)), &with_head("200 OK\r\nContent-Length: 5", b"12345"), 9);
    assert_eq!(known.map(|_| ()).unwrap_err(), HttpError::WrongLength { said: 5, wanted: 4 });
    let nothing = answer(wanted(0, "", None), b"HTTP/1.1 200 O", 3).map(|_| ()).unwrap_err();
    assert_eq!(nothing, HttpError::CutOff { at: 0, of: 0 });
    assert_eq!(
        answer(wanted(0, "", None), b"SSH-2.0-x\r\n\r\n", 3).map(|_| ()).unwrap_err(),
        HttpError::BadHead
    );
}

#[test]
fn a_head_without_end_is_refused_before_it_fills_the_memory() {
    let line = "X-Filler: yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy\r\n";
    let endless = format!("HTTP/1.1 200 OK\r\n{}", line.repeat(40).as_str()) + &"X".repeat(20_000);
    for size in [1, 100, 30_000] {
        let error = answer(wanted(0, "", None), endless.as_bytes(), size).map(|_| ()).unwrap_err();
        assert_eq!(error, HttpError::LongHead);
    }
    let many = format!("HTTP/1.1 200 OK\r\n{}", "A: b\r\n".repeat(100));
    assert_eq!(
        answer(wanted(0, "", None), many.as_bytes(), 100).map(|_| ()).unwrap_err(),
        HttpError::LongHead
    );
}

#[test]
fn only_what_names_a_version_for_sure_is_kept_to_resume() {
    let of = |fields: &str| {
        let bytes = with_head(&format!("200 OK\r\nContent-Length: 0\r\n{fields}"), b"");
        String::from(answer(wanted(0, "", None), &bytes, 100).unwrap().0.validator().as_str())
    };
    assert_eq!(of("ETag: \"abc\""), "\"abc\"");
    assert_eq!(of("ETag: W/\"abc\"\r\nLast-Modified: Sat, 21 Nov 2026 20:00:00 GMT"), "");
    assert_eq!(of("Last-Modified: Sat, 21 Nov 2026 20:00:00 GMT"), "Sat, 21 Nov 2026 20:00:00 GMT");
    assert_eq!(of(&format!("ETag: \"{}\"", "x".repeat(80))), "");
    assert_eq!(of("X: y"), "");
}

proptest! {
    /// The memory behind the file is never touched, and nothing panics, whatever the server sends.
    #[test]
    fn no_answer_is_too_strange(
        head in prop_oneof![Just(String::from("200 OK")), Just(String::from("206 X")), "[0-9]{1,4} [a-z]{0,4}"],
        fields in proptest::collection::vec(("(?i)content-length|content-range|etag|x|transfer-encoding", "[ -~]{0,20}"), 0..5),
        body in proptest::collection::vec(any::<u8>(), 0..100), size in 1..50usize, from in 0..20u32,
        raw in proptest::collection::vec(any::<u8>(), 0..200),
    ) {
        let fields: String = fields.iter().map(|(name, value)| format!("\r\n{name}: {value}")).collect();
        for bytes in [with_head(&format!("{head}{fields}"), &body), raw] {
            let mut get = Get::new(Wanted { room: 50, ..wanted(from, "\"v\"", None) });
            let mut file = [0xee; 50];
            for piece in bytes.chunks(size) {
                if get.feed(piece, &mut file).is_err() {
                    break;
                }
            }
            prop_assert!(get.at() <= 50 && get.total() <= 50);
        }
    }
}
