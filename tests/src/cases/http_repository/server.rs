//! An HTTP server that does what it should not: for each file of its own, one way of going wrong.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::Duration;

use anyhow::{Context, Result};
use hicmod_tool::repo;

use crate::net::{HOST_ADDRESS, Network};

/// How long a connection that nobody ends may last.
const LIMIT: Duration = Duration::from_secs(120);
/// Between two bytes of a server that drips: longer than a client waits for one.
const DRIP: Duration = Duration::from_secs(40);

/// What the server does with a request for a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cases) enum Manner {
    /// Sends it.
    Good,
    /// Ends each connection after this share of the file, in per cent, and knows no parts.
    CutOff(usize),
    /// Ends each connection after a fifth of the file, and goes on where the client says.
    Parts,
    /// Ends the first connection in the middle; then the file is another version, and sent whole.
    Changed,
    /// Sends something behind the file.
    More,
    /// Says that the file is endless, and sends without end.
    Endless,
    /// A head without end.
    EndlessHead,
    /// Says another length than the file has, and ends there.
    Short,
    /// Sends a byte and then none for a long time.
    Drips,
    /// Sends a byte each second.
    SlowLoris,
    /// Sends it evenly in twice the time that a step of an update has.
    Slow,
    /// Leads elsewhere.
    Redirect,
    /// Chunked.
    Chunked,
    /// Random bytes of the right length.
    Noise,
    /// 500.
    Broken,
}

/// A file and how it is sent.
pub(in crate::cases) type Files = BTreeMap<String, (Manner, Vec<u8>)>;

/// The address of the host on `network`, to listen on.
fn host(network: &Network) -> Ipv4Addr {
    match network {
        // User networking leads connections to the host's address on to its loopback interface.
        Network::User => Ipv4Addr::LOCALHOST,
        Network::Tap(_) => Ipv4Addr::from(HOST_ADDRESS),
    }
}

/// Has the server of `hicmod-tool repo serve` hand out `folder` until the test ends; its address, as an operator of the guest writes it.
pub(in crate::cases) fn serve(network: &Network, folder: &Path) -> Result<String> {
    let (listen, folder) = (SocketAddr::from((host(network), 0)), folder.to_owned());
    let (ready, started) = mpsc::channel();
    network.spawn(move || match repo::Server::bind(listen, &folder) {
        Ok(server) => {
            // Nobody waits for the address any more if the receiver is gone.
            let _ = ready.send(server.address());
            server.run(|_, _| ());
        }
        Err(error) => drop(ready.send(Err(error))),
    })?;
    let address = started.recv().context("the server's thread ended")??;
    Ok(format!("http://{}/", SocketAddr::from((HOST_ADDRESS, address.port()))))
}

/// A server that goes wrong. Dropping it ends it.
pub(in crate::cases) struct Server {
    address: SocketAddr,
    files: Arc<Mutex<Files>>,
    stop: Arc<AtomicBool>,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Server {
    /// Listens on a free port of the host's address on `network`.
    pub fn start(network: &Network, files: Files) -> Result<Self> {
        let host = host(network);
        let (stop, requests) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Vec::new())));
        let (stopped, log, files) = (Arc::clone(&stop), Arc::clone(&requests), Arc::new(Mutex::new(files)));
        let served = Arc::clone(&files);
        let (ready, started) = mpsc::channel();
        network.spawn(move || {
            let listener = TcpListener::bind((host, 0));
            // Nobody waits for the address any more if the receiver is gone.
            let _ = ready.send(
                listener
                    .as_ref()
                    .map_err(std::io::Error::kind)
                    .and_then(|listener| listener.local_addr().map_err(|error| error.kind())),
            );
            for stream in listener.iter().flat_map(TcpListener::incoming) {
                if stopped.load(Ordering::Relaxed) {
                    return;
                }
                let (Ok(stream), files, log) = (stream, Arc::clone(&served), Arc::clone(&log)) else {
                    continue;
                };
                // A client that ends the connection early is what many of these answers are for.
                std::thread::spawn(move || drop(answer(stream, &files, &log)));
            }
        })?;
        let address = started.recv().context("the server's thread ended")?.map_err(std::io::Error::from)?;
        Ok(Self { address, files, stop, requests })
    }

    /// Its address, as an operator of the guest writes it.
    pub fn source(&self) -> String {
        format!("http://{}/repo/", SocketAddr::from((HOST_ADDRESS, self.address.port())))
    }

    /// Exchanges what it has.
    pub fn set(&self, files: Files) {
        *self.files.lock().unwrap_or_else(PoisonError::into_inner) = files;
    }

    /// The requests for files of this name so far, heads without the first line.
    pub fn requests_for(&self, file: &str) -> Vec<String> {
        let requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        requests.iter().filter(|request| request.contains(file)).cloned().collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

fn answer(stream: TcpStream, files: &Mutex<Files>, log: &Mutex<Vec<String>>) -> Result<()> {
    stream.set_read_timeout(Some(LIMIT))?;
    stream.set_write_timeout(Some(LIMIT))?;
    let mut head = String::new();
    let mut lines = BufReader::new(stream.try_clone()?);
    while !head.ends_with("\r\n\r\n") && lines.read_line(&mut head)? > 0 {}
    log.lock().unwrap_or_else(PoisonError::into_inner).push(head.clone());
    // Names in the two folders of a repository differ, so the last part of a path says which file is meant.
    let path = head.split(' ').nth(1).and_then(|path| path.strip_prefix("/repo/")).unwrap_or_default();
    let name = path.rsplit('/').next().unwrap_or_default();
    let found = files.lock().unwrap_or_else(PoisonError::into_inner).get(name).cloned();
    match found {
        Some((manner, bytes)) => send(&stream, manner, &bytes, &head),
        None => Ok((&stream).write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 9\r\n\r\nnot found")?),
    }
}

/// Where a client that was cut off wants to go on.
fn from(head: &str) -> Option<usize> {
    let range = head.lines().find_map(|line| line.strip_prefix("Range: bytes="))?;
    range.trim().strip_suffix('-')?.parse().ok()
}

fn send(mut stream: &TcpStream, manner: Manner, bytes: &[u8], head: &str) -> Result<()> {
    let all = bytes.len();
    let ok =
        |length: usize, fields: &str| format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n{fields}\r\n");
    let part = |upto: usize| bytes.get(..upto.min(all)).unwrap_or_default();
    match manner {
        Manner::Good => {
            stream.write_all(ok(all, "").as_bytes())?;
            stream.write_all(bytes)?;
        }
        Manner::CutOff(share) => {
            stream.write_all(ok(all, "").as_bytes())?;
            stream.write_all(part(all * share / 100))?;
        }
        Manner::Parts => {
            let start = from(head).filter(|_| head.contains("If-Range: \"one\"")).unwrap_or(0);
            let rest = bytes.get(start..).unwrap_or_default();
            let first = match start {
                0 => ok(all, "ETag: \"one\"\r\n"),
                _ => format!(
                    "HTTP/1.1 206 Partial Content\r\nContent-Length: {}\r\nContent-Range: bytes {start}-{}/{all}\r\n\r\n",
                    rest.len(),
                    all - 1
                ),
            };
            stream.write_all(first.as_bytes())?;
            stream.write_all(rest.get(..rest.len().min(all / 5 + 1)).unwrap_or_default())?;
        }
        Manner::Changed if from(head).is_none() => {
            stream.write_all(ok(all + 1, "ETag: \"old\"\r\n").as_bytes())?;
            stream.write_all(&vec![0xaa; all / 2])?;
        }
        Manner::Changed => {
            stream.write_all(ok(all, "ETag: \"new\"\r\n").as_bytes())?;
            stream.write_all(bytes)?;
        }
        Manner::More => {
            stream.write_all(ok(all, "").as_bytes())?;
            stream.write_all(bytes)?;
            stream.write_all(&vec![0xbb; 1 << 20])?;
        }
        Manner::Endless => {
            stream.write_all(ok(100 << 30, "").as_bytes())?;
            while stream.write_all(&[0xcc; 4096]).is_ok() {}
        }
        Manner::EndlessHead => {
            stream.write_all(b"HTTP/1.1 200 OK\r\n")?;
            while stream.write_all(b"X-Filler: yes\r\n").is_ok() {}
        }
        Manner::Short => {
            stream.write_all(ok(all / 2, "").as_bytes())?;
            stream.write_all(part(all / 2))?;
        }
        Manner::Drips => {
            stream.write_all(ok(all, "ETag: \"one\"\r\n").as_bytes())?;
            for byte in bytes.iter().take(3) {
                stream.write_all(&[*byte])?;
                std::thread::sleep(DRIP);
            }
        }
        Manner::SlowLoris => {
            stream.write_all(ok(all, "ETag: \"one\"\r\n").as_bytes())?;
            for byte in bytes {
                stream.write_all(&[*byte])?;
                std::thread::sleep(Duration::from_secs(1));
            }
        }
        Manner::Slow => {
            stream.write_all(ok(all, "").as_bytes())?;
            for piece in bytes.chunks(all / 20 + 1) {
                stream.write_all(piece)?;
                std::thread::sleep(Duration::from_secs(1));
            }
        }
        Manner::Redirect => {
            stream.write_all(
                b"HTTP/1.1 302 Found\r\nLocation: http://10.0.2.2/\r\nContent-Length: 0\r\n\r\n",
            )?;
        }
        Manner::Chunked => {
            stream
                .write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n")?;
        }
        Manner::Noise => {
            let noise: Vec<u8> = (0..all as u64).map(|n| (n.wrapping_mul(0x9e37_79b9) >> 7) as u8).collect();
            stream.write_all(ok(all, "").as_bytes())?;
            stream.write_all(&noise)?;
        }
        Manner::Broken => stream.write_all(b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n")?,
    }
    Ok(())
}
