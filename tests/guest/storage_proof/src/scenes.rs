//! What is asked, and what must be answered.

use crate::client::Client;
use crate::failure::Failure;
use crate::service::{Service, WINDOW};
use hic_rt::{StartPage, log, sys};
use hic_store::{FileName, Reply, Request, StoreError};
use storage_proof::{RECORD_BYTES, byte_at};

/// Kills, each one system call later than the one before: more than the calls of a write and a read of the record.
const KILLS: u64 = 48;
/// A number that no boot has.
const OTHER: u64 = u64::MAX;

/// Runs all scenes.
pub fn run(page: &'static StartPage) -> Result<(), Failure> {
    let mut client = Client::new(Service::create(page)?)?;
    let boot = record(&mut client)?.map_or(1, |before| before + 1);
    let (files, bytes) = read_all(&mut client)?;
    bad_requests(&mut client)?;
    kills(&mut client)?;
    write(&mut client, boot)?;
    if record(&mut client)? != Some(boot) {
        return Err(Failure::Wrong("the record is not the one just written"));
    }
    let restarts = client.service.restarts();
    log!("selftest: note boot {boot}: {files} files, {bytes} bytes, {restarts} restarts");
    Ok(())
}

/// Lists all files and compares each byte of them.
fn read_all(client: &mut Client) -> Result<(u32, u64), Failure> {
    let scanned = client.ask(Request::Rescan, |reply| match reply {
        Reply::Scanned { count } => Ok(count),
        _ => Err(Failure::Wrong("answer to a rescan")),
    })?;
    let (mut index, mut bytes, mut count) = (0, 0, 1);
    let begun = sys::now();
    while index < count {
        let (name, size) = client.ask(Request::List { index }, |reply| match reply {
            Reply::File { count: all, name, size, .. } => {
                count = all;
                Ok((name, size))
            }
            _ => Err(Failure::Wrong("answer to a list")),
        })?;
        compare(client, &name, size)?;
        bytes += u64::from(size);
        index += 1;
    }
    if scanned != count {
        return Err(Failure::Wrong("number of files"));
    }
    let micros = (sys::now() - begun) / 1000;
    log!("selftest: note {bytes} bytes read and compared in {micros} us");
    Ok((count, bytes))
}

fn compare(client: &mut Client, name: &FileName, size: u32) -> Result<(), Failure> {
    let mut offset = 0;
    loop {
        let read = read(client, name, offset, WINDOW as u32)?;
        let right = (offset..).zip(client.window(read)).all(|(n, &byte)| byte == byte_at(n));
        if !right {
            return Err(Failure::Wrong("the bytes of a file"));
        }
        offset += read;
        match (read, offset) {
            (0, end) if end == size => return Ok(()),
            (0, _) => return Err(Failure::Wrong("the length of a file")),
            _ => {}
        }
    }
}

fn read(client: &mut Client, name: &str, offset: u32, length: u32) -> Result<u32, Failure> {
    let destination = client.service.window.address;
    client.ask(Request::Read { name, offset, length, destination }, |reply| match reply {
        Reply::Read { length } => Ok(length),
        _ => Err(Failure::Wrong("answer to a read")),
    })
}

fn bad_requests(client: &mut Client) -> Result<(), Failure> {
    match read(client, "no-such.hicmod", 0, 1) {
        Err(Failure::Store(StoreError::NotFound)) => {}
        _ => return Err(Failure::Wrong("a file that is not there")),
    }
    match client.ask(Request::List { index: u32::MAX }, |_| Ok(())) {
        Err(Failure::Store(StoreError::NotFound)) => Ok(()),
        _ => Err(Failure::Wrong("a number beyond the last file")),
    }
}

/// Kills the service at many points of a write: the write is answered all the same, and is done.
fn kills(client: &mut Client) -> Result<(), Failure> {
    for calls in 1..KILLS {
        client.service.kill_at(calls)?;
        let value = OTHER - calls;
        write(client, value)?;
        if record(client)? != Some(value) {
            return Err(Failure::Wrong("a record was lost when the service died"));
        }
    }
    client.service.kill_at(0)
}

fn record(client: &mut Client) -> Result<Option<u64>, Failure> {
    client.ask(Request::ReadState, |reply| match reply {
        Reply::State { record: None } => Ok(None),
        Reply::State { record: Some(bytes) } => match bytes.try_into() {
            Ok(bytes) => Ok(Some(u64::from_le_bytes(bytes))),
            Err(_) => Err(Failure::Wrong("the length of the record")),
        },
        _ => Err(Failure::Wrong("answer to a request for the record")),
    })
}

fn write(client: &mut Client, value: u64) -> Result<(), Failure> {
    let record: [u8; RECORD_BYTES] = value.to_le_bytes();
    client.ask(Request::WriteState { record: &record }, |reply| match reply {
        Reply::Written => Ok(()),
        _ => Err(Failure::Wrong("answer to a write")),
    })
}
