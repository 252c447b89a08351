//! From a request to its answer.

use hic_store::{MAX_RECORD_BYTES, Reply, Request, StoreError};

use crate::disk::Disk;
use crate::repository::{Listed, Repository};
use crate::role::Role;

/// Most bytes that one request reads, so that a liveness question behind it need not wait long. A client asks for the rest again.
pub const MAX_READ_BYTES: u32 = 256 * 1024;

/// The client's memory at addresses that it names; `None` where there cannot be any.
pub trait Memory {
    /// For writing.
    fn to_write(&self, address: u64, length: usize) -> Option<&'static mut [u8]>;

    /// For reading.
    fn to_read(&self, address: u64, length: usize) -> Option<&'static [u8]>;
}

/// Answers a request of those that belong to `role`.
pub fn answer<'b, D: Disk>(
    role: Role,
    repository: &mut Result<Repository<D>, StoreError>,
    request: Request<'_>,
    memory: &impl Memory,
    record: &'b mut [u8; MAX_RECORD_BYTES],
) -> Reply<'b> {
    let repository = match repository {
        Ok(repository) => repository,
        Err(error) => return Reply::Failed(*error),
    };
    if !role.answers(&request) {
        return Reply::Failed(StoreError::ReadOnly);
    }
    let result = match request {
        Request::Rescan => repository.rescan().map(|()| Reply::Scanned { count: repository.count() as u32 }),
        Request::List { index } => list(repository, index),
        Request::Read { name, offset, length, destination } => {
            let length = length.min(MAX_READ_BYTES) as usize;
            memory
                .to_write(destination, length)
                .ok_or(StoreError::Malformed)
                .and_then(|out| repository.read(name, offset, out))
                .map(|read| Reply::Read { length: read as u32 })
        }
        Request::ReadState => repository.read_state(record).map(|record| Reply::State { record }),
        Request::WriteState { record } => repository.write_state(record).map(|()| Reply::Written),
        Request::Keep { place, offset, length, source, last } => {
            let part = length.min(MAX_READ_BYTES);
            memory
                .to_read(source, part as usize)
                .ok_or(StoreError::Malformed)
                .and_then(|bytes| repository.keep(place, offset, bytes, last && part == length))
                .map(|()| Reply::Kept { length: part })
        }
    };
    result.unwrap_or_else(Reply::Failed)
}

fn list<D: Disk>(repository: &mut Repository<D>, index: u32) -> Result<Reply<'static>, StoreError> {
    repository.ready()?;
    let count = repository.count() as u32;
    let Listed { name, size, stamp } = repository.file(index as usize)?;
    Ok(Reply::File { count, name: name.clone(), size, stamp })
}
