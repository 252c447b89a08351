//! A small HTTP/1.1 server for a repository: `GET` and `HEAD` of what lies in `metadata/` and `targets/`, and nothing else.
//!
//! For development and tests. What it hands out is signed, so it needs no secrecy; any other web server does as well. Ranges are answered
//! (RFC 9110, 14), and a file has an entity tag, so that an interrupted download goes on where it ended, and only if the file is still the same. What it must never do: open a path that a client composed, or keep a client that says
//! nothing, or goes so slowly that others find no place.

use std::io::{BufReader, ErrorKind, Read, Seek, SeekFrom, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::{METADATA, TARGETS};

/// Longest request, bytes.
const MAX_REQUEST: usize = 4096;
/// Most header lines of a request.
const MAX_HEADERS: usize = 32;
/// Most clients at once; others are turned away.
const MAX_CLIENTS: usize = 32;
/// How long a client may take for a request, and to take an answer beside the time for its length: whoever takes longer keeps others out.
const PATIENCE: Duration = Duration::from_secs(30);
/// Bytes of an answer that a client takes in a second, at least.
const SLOWEST: u64 = 8192;

/// A server that listens.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    folder: PathBuf,
}

impl Server {
    /// Listens on `address` for requests to the repository in `folder`.
    ///
    /// # Errors
    /// The address cannot be listened on.
    pub fn bind(address: SocketAddr, folder: &Path) -> std::io::Result<Self> {
        Ok(Self { listener: TcpListener::bind(address)?, folder: folder.to_owned() })
    }

    /// Where it listens.
    ///
    /// # Errors
    /// As the system says.
    pub fn address(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Answers until the process ends; `tell` is told of each answer: status, request line.
    pub fn run(self, tell: impl Fn(u16, &str) + Send + Sync + 'static) {
        let (tell, clients) = (Arc::new(tell), Arc::new(AtomicUsize::new(0)));
        for stream in self.listener.incoming().flatten() {
            if clients.fetch_add(1, Ordering::Relaxed) >= MAX_CLIENTS {
                clients.fetch_sub(1, Ordering::Relaxed);
                let _ = (&stream).write_all(
                    b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
                );
                continue;
            }
            let (tell, clients, folder) = (Arc::clone(&tell), Arc::clone(&clients), self.folder.clone());
            std::thread::spawn(move || {
                // A client that went away is nobody's error.
                let _ = serve(stream, &folder, &*tell);
                clients.fetch_sub(1, Ordering::Relaxed);
            });
        }
    }
}

/// What a request asks for.
struct Request {
    line: String,
    head_only: bool,
    path: Option<PathBuf>,
    range: Option<String>,
    /// The version of the file of which the range is wanted.
    if_range: Option<String>,
    close: bool,
}

fn serve(stream: TcpStream, folder: &Path, tell: &dyn Fn(u16, &str)) -> std::io::Result<()> {
    let mut out = Paced { stream: stream.try_clone()?, until: Instant::now() };
    let mut input = BufReader::new(stream);
    while let Some(bytes) = head_of(&mut input, PATIENCE)? {
        out.expect(0);
        let Some(request) = parse(&bytes, folder) else {
            tell(400, "not a request");
            return out
                .write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        };
        let status = answer(&request, &mut out)?;
        tell(status, &request.line);
        if request.close {
            break;
        }
    }
    Ok(())
}

/// The bytes of the next request up to its empty line; `None` at the end. A byte now and then does not make a request: the whole of it must be there
/// in time.
fn head_of(input: &mut BufReader<TcpStream>, patience: Duration) -> std::io::Result<Option<Vec<u8>>> {
    let (mut bytes, mut one, mut until) = (Vec::new(), [0], Instant::now() + patience);
    while !bytes.ends_with(b"\r\n\r\n") {
        if bytes.len() == 1 {
            until = Instant::now() + patience;
        }
        input.get_ref().set_read_timeout(Some(left(until)?))?;
        if bytes.len() == MAX_REQUEST || input.read(&mut one)? == 0 {
            return Ok((!bytes.is_empty()).then_some(bytes));
        }
        bytes.push(one[0]);
    }
    Ok(Some(bytes))
}

/// The time until `end`, which is not over.
fn left(end: Instant) -> std::io::Result<Duration> {
    let left = end.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(ErrorKind::TimedOut.into()) } else { Ok(left) }
}

/// A client that must take an answer in time, however few bytes it takes at once.
struct Paced {
    stream: TcpStream,
    until: Instant,
}

impl Paced {
    /// From now on, for an answer of `bytes`.
    fn expect(&mut self, bytes: u64) {
        self.until = Instant::now() + PATIENCE + Duration::from_secs(bytes / SLOWEST);
    }
}

impl Write for Paced {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.stream.set_write_timeout(Some(left(self.until)?))?;
        self.stream.write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.stream.flush()
    }
}

/// Reads a request for a file; `None` if it is none. A path that leads nowhere is one of no file.
fn parse(bytes: &[u8], folder: &Path) -> Option<Request> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut parsed = httparse::Request::new(&mut headers);
    if !parsed.parse(bytes).ok()?.is_complete() {
        return None;
    }
    let (method, path) = (parsed.method?, parsed.path?);
    let header = |name: &str| {
        let found = parsed.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name))?;
        str::from_utf8(found.value).ok()
    };
    let reads = matches!(method, "GET" | "HEAD");
    Some(Request {
        line: format!("{method} {path}"),
        head_only: method == "HEAD",
        path: file_of(path, folder).filter(|_| reads),
        range: header("range").map(str::to_owned),
        if_range: header("if-range").map(str::to_owned),
        close: parsed.version != Some(1)
            || header("connection").is_some_and(|v| v.eq_ignore_ascii_case("close")),
    })
}

/// The file that a path names: one of the two folders and a plain name in it.
fn file_of(path: &str, folder: &Path) -> Option<PathBuf> {
    let (kind, name) = path.strip_prefix('/')?.split_once('/')?;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-' | b'+');
    let known = [METADATA, TARGETS].contains(&kind) && !name.starts_with('.') && name.bytes().all(plain);
    known.then(|| folder.join(kind).join(name)).filter(|path| path.is_file())
}

fn answer(request: &Request, out: &mut Paced) -> std::io::Result<u16> {
    let Some(mut file) = request.path.as_ref().and_then(|path| std::fs::File::open(path).ok()) else {
        head(out, 404, "Not Found", 0, "")?;
        return Ok(404);
    };
    let (size, tag) = (file.metadata()?.len(), tag(&file.metadata()?));
    // A part of another version of the file would be glued to what is there: then the whole file is sent (RFC 9110, 13.1.5).
    let same = request.if_range.as_deref().is_none_or(|wanted| wanted == tag);
    let part = match request.range.as_deref().filter(|_| same).map(|range| part_of(range, size)) {
        None | Some(Part::Whole) => None,
        Some(Part::Bytes(from, to)) => Some((from, to)),
        Some(Part::Nothing) => {
            head(out, 416, "Range Not Satisfiable", 0, &format!("Content-Range: bytes */{size}\r\n"))?;
            return Ok(416);
        }
    };
    let (status, from, length) = match part {
        None => (200, 0, size),
        Some((from, to)) => (206, from, to + 1 - from),
    };
    let reason = if status == 200 { "OK" } else { "Partial Content" };
    let more =
        part.map_or(String::new(), |(from, to)| format!("Content-Range: bytes {from}-{to}/{size}\r\n"));
    head(out, status, reason, length, &format!("Accept-Ranges: bytes\r\nETag: {tag}\r\n{more}"))?;
    if !request.head_only {
        out.expect(length);
        file.seek(SeekFrom::Start(from))?;
        std::io::copy(&mut file.take(length), out)?;
    }
    Ok(status)
}

fn head(out: &mut impl Write, status: u16, reason: &str, length: u64, more: &str) -> std::io::Result<()> {
    let kind = "Content-Type: application/octet-stream\r\n";
    write!(out, "HTTP/1.1 {status} {reason}\r\nContent-Length: {length}\r\n{kind}{more}\r\n")
}

/// Names the version of a file: its length, and when it was written. Files of a repository are replaced as a whole, never written over.
fn tag(file: &std::fs::Metadata) -> String {
    use std::os::unix::fs::MetadataExt;
    format!("\"{:x}-{:x}-{:x}-{:x}\"", file.len(), file.ino(), file.mtime(), file.mtime_nsec())
}

/// What a `Range` header asks for.
#[derive(Debug, PartialEq, Eq)]
enum Part {
    /// It is not understood, so everything (RFC 9110, 14.2).
    Whole,
    /// The bytes from the first to the last one.
    Bytes(u64, u64),
    /// Nothing that the file has.
    Nothing,
}

fn part_of(range: &str, size: u64) -> Part {
    let Some((from, to)) = range.strip_prefix("bytes=").and_then(|range| range.split_once('-')) else {
        return Part::Whole;
    };
    let end = size.saturating_sub(1);
    let part = match (from.parse::<u64>(), to.parse::<u64>()) {
        (Ok(from), Ok(to)) if from <= to => (from, to.min(end)),
        (Ok(from), Err(_)) if to.is_empty() => (from, end),
        (Err(_), Ok(last)) if from.is_empty() => (size.saturating_sub(last), if last == 0 { 0 } else { end }),
        _ => return Part::Whole,
    };
    let empty = part.0 >= size || (from.is_empty() && to == "0");
    if empty { Part::Nothing } else { Part::Bytes(part.0, part.1) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_one_part_of_the_file_or_nothing_or_all_of_it() {
        for (range, part) in [
            ("bytes=0-0", Part::Bytes(0, 0)),
            ("bytes=5-", Part::Bytes(5, 9)),
            ("bytes=5-99", Part::Bytes(5, 9)),
            ("bytes=-3", Part::Bytes(7, 9)),
            ("bytes=-99", Part::Bytes(0, 9)),
            ("bytes=10-", Part::Nothing),
            ("bytes=-0", Part::Nothing),
            ("bytes=5-3", Part::Whole),
            ("bytes=0-1,3-4", Part::Whole),
            ("lines=0-1", Part::Whole),
            ("bytes=-", Part::Whole),
        ] {
            assert_eq!(part_of(range, 10), part, "{range}");
        }
    }

    /// Two ends of a connection.
    fn connected() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let client = TcpStream::connect(listener.local_addr().expect("an address")).expect("connected");
        (client, listener.accept().expect("accepted").0)
    }

    /// Does `step` each 10 ms until what it returns is dropped.
    fn slowly(mut step: impl FnMut() + Send + 'static) -> std::sync::mpsc::Sender<()> {
        let (stop, stopped) = std::sync::mpsc::channel();
        let tick = Duration::from_millis(10);
        std::thread::spawn(move || {
            while stopped.recv_timeout(tick) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
                step();
            }
        });
        stop
    }

    fn is_late<T: std::fmt::Debug>(result: &std::io::Result<T>) -> bool {
        let late = [ErrorKind::TimedOut, ErrorKind::WouldBlock];
        result.as_ref().is_err_and(|error| late.contains(&error.kind()))
    }

    #[test]
    fn a_client_that_sends_or_takes_a_little_now_and_then_is_not_waited_for() {
        let patience = Duration::from_millis(200);
        let (mut client, server) = connected();
        let sending = slowly(move || drop(client.write_all(b"x")));
        let head = head_of(&mut BufReader::new(server), patience);
        assert!(is_late(&head), "{head:?}");
        drop(sending);
        let (mut client, server) = connected();
        let mut taken = vec![0; 1 << 16];
        let taking = slowly(move || drop(client.read(&mut taken)));
        let mut out = Paced { stream: server, until: Instant::now() + patience };
        let sent = std::io::copy(&mut std::io::repeat(0).take(1 << 26), &mut out);
        assert!(is_late(&sent), "{sent:?}");
        drop(taking);
    }

    #[test]
    fn only_files_of_the_two_folders_are_found() {
        let folder = tempfile::tempdir().expect("a folder");
        for kind in [METADATA, TARGETS, "keys"] {
            std::fs::create_dir(folder.path().join(kind)).expect("made");
            std::fs::write(folder.path().join(kind).join("x"), "").expect("written");
        }
        for path in ["/metadata/x", "/targets/x"] {
            assert!(file_of(path, folder.path()).is_some(), "{path}");
        }
        for path in [
            "/keys/x",
            "/metadata/../keys/x",
            "/metadata/",
            "/metadata",
            "/",
            "/targets/..",
            "metadata/x",
            "//metadata/x",
            "/targets/y",
        ] {
            assert_eq!(file_of(path, folder.path()), None, "{path}");
        }
    }
}
