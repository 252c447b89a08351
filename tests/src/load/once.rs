//! Single conversations, each from connect to an orderly end.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr};

use anyhow::{Context, Result, ensure};

use super::{check_numbered, connect, echo, numbered};

/// Stream number of these conversations.
const STREAM: u32 = 0xabcdef;

/// Connects to an echo service, sends `size` bytes, checks that they come back, closes.
pub fn echo_once(address: SocketAddr, size: usize) -> Result<()> {
    let mut stream = connect(address)?;
    echo::exchange(&mut stream, STREAM, 0, size)?;
    echo::close(stream)
}

/// The client ends its direction right after its data; the echo service must still deliver all of it before it ends
/// the other direction.
pub fn client_closes_first(address: SocketAddr, size: usize) -> Result<()> {
    let mut stream = connect(address)?;
    stream.write_all(&numbered(STREAM, 0, size)).context("write")?;
    stream.shutdown(Shutdown::Write)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).context("read")?;
    ensure!(answer.len() == size, "{} of {size} bytes came back after the half-close", answer.len());
    check_numbered(STREAM, 0, &answer)
}

/// The service (daytime) says its line and ends its direction; the client's direction is still open then and is ended
/// afterwards. Returns the line.
pub fn server_closes_first(address: SocketAddr) -> Result<String> {
    let mut stream = connect(address)?;
    let mut line = String::new();
    stream.read_to_string(&mut line).context("read")?;
    ensure!(line.ends_with('\n'), "not a line: {line:?}");
    stream.shutdown(Shutdown::Write)?;
    Ok(line)
}

/// As [`server_closes_first`], with our direction left open for `hold` after the service ended its own.
pub fn daytime_held(address: SocketAddr, hold: std::time::Duration) -> Result<()> {
    let mut stream = connect(address)?;
    let mut line = String::new();
    stream.read_to_string(&mut line).context("read")?;
    ensure!(line.ends_with('\n'), "not a line: {line:?}");
    std::thread::sleep(hold);
    Ok(stream.shutdown(Shutdown::Write)?)
}

/// Says `line` to the service at `address` and waits until it ends the connection.
pub fn order(address: SocketAddr, line: &str) -> Result<()> {
    let mut stream = connect(address)?;
    stream.write_all(line.as_bytes()).context("write")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).context("read")?;
    ensure!(answer == "ok\n", "the answer to {line:?} was {answer:?}");
    Ok(())
}

/// A GET of `path` by HTTP/1.1; returns the status line and the body. The client closes first, so that the guest keeps nothing of
/// the connection afterwards.
pub fn http_get(address: SocketAddr, path: &str) -> Result<(String, String)> {
    let mut stream = connect(address)?;
    // One write, so one segment.
    let request = format!("GET {path} HTTP/1.1\r\nHost: hic\r\n\r\n");
    stream.write_all(request.as_bytes()).context("write")?;
    let mut answer = Vec::new();
    let mut chunk = [0; 4096];
    let (head, length) = loop {
        let count = stream.read(&mut chunk).context("read")?;
        anyhow::ensure!(count > 0, "an answer without an end of its header");
        answer.extend_from_slice(chunk.get(..count).unwrap_or_default());
        if let Some(end) = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
            let body = answer.split_off(end + 4);
            let head = String::from_utf8(std::mem::replace(&mut answer, body)).context("header")?;
            break (head.clone(), content_length(&head)?);
        }
    };
    while answer.len() < length {
        let count = stream.read(&mut chunk).context("read")?;
        anyhow::ensure!(count > 0, "{} of {length} bytes of the body came", answer.len());
        answer.extend_from_slice(chunk.get(..count).unwrap_or_default());
    }
    let body = String::from_utf8(answer).context("body")?;
    Ok((head.lines().next().unwrap_or_default().to_owned(), body.to_owned()))
}

fn content_length(head: &str) -> Result<usize> {
    let field = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim())
    });
    field.context("an answer without Content-Length")?.parse().context("Content-Length")
}
