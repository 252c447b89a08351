//! The program in the Linux guest that HIC's throughput is compared with (`cargo xtask bench`): echo on TCP port 7, a thread for each
//! connection, as plain as `inetd`'s. Built static, since nothing else is in that guest.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

/// As much as one read takes: more than either guest's window.
const CHUNK: usize = 256 * 1024;

fn main() -> std::io::Result<()> {
    let listener = TcpListener::bind(("0.0.0.0", 7))?;
    println!("linux ready");
    for stream in listener.incoming() {
        let stream = stream?;
        std::thread::spawn(move || echo(stream));
    }
    Ok(())
}

/// Ends with the connection, however it ends: the client does the checking.
fn echo(mut stream: TcpStream) {
    let mut chunk = vec![0; CHUNK];
    while let Ok(count @ 1..) = stream.read(&mut chunk) {
        let Some(bytes) = chunk.get(..count) else { return };
        if stream.write_all(bytes).is_err() {
            return;
        }
    }
}
