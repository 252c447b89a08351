//! Bulk TCP echo: HIC against a Linux guest on the same QEMU, in one run.
//!
//! Under emulation a bare rate says more about the host than about the guest, so what is reported is the ratio of the two
//! (design: "Measure"). Rounds alternate, so that a slow spell of the host meets both.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use hic_tests::net::Network;
use hic_tests::qemu::{Machine, Proto};
use hic_tests::vm::{Vm, VmOptions};

use super::linux::LinuxGuest;
use super::median;

/// Bytes echoed in one round.
const BYTES: usize = 16 * 1024 * 1024;
/// Rounds for each guest; the median counts.
const ROUNDS: usize = 5;
/// The echo service.
const PORT: u16 = 7;
/// How long a boot may take: Linux needs three seconds on a quiet machine.
const BOOT: Duration = Duration::from_secs(120);

/// Medians of both, Mbit/s one way.
#[derive(Clone, Copy, Debug)]
pub struct Rates {
    /// HIC's echo service.
    pub hic: f64,
    /// Linux's.
    pub linux: f64,
}

impl Rates {
    /// HIC's rate in per cent of Linux's.
    pub fn per_cent(self) -> f64 {
        100.0 * self.hic / self.linux
    }
}

/// Boots both guests and measures them in turn.
pub fn measure(hic: Machine, linux: &LinuxGuest, folder: &Path) -> Result<Rates> {
    let hic = boot(hic, "hic", "hic> ", folder)?;
    let mut machine = Machine::new(&linux.kernel);
    machine.archive = Some(linux.initrd.clone());
    machine.append = "console=ttyS0 quiet panic=-1".to_owned();
    let linux = boot(machine, "linux", "linux ready", folder)?;
    let addresses = [hic.endpoint(Proto::Tcp, PORT)?, linux.endpoint(Proto::Tcp, PORT)?];
    let mut rates = [Vec::new(), Vec::new()];
    for _ in 0..ROUNDS {
        for (address, rates) in addresses.iter().zip(&mut rates) {
            rates.push(round(*address)?);
        }
    }
    let [hic, linux] = rates.map(median);
    let (hic, linux) = hic.zip(linux).context("there was no round")?;
    Ok(Rates { hic, linux })
}

fn boot(machine: Machine, name: &str, ready: &str, folder: &Path) -> Result<Vm> {
    let ports = vec![(Proto::Tcp, PORT)];
    let options = VmOptions { machine, ports, log_dir: folder.to_owned(), tag: name.to_owned() };
    let vm = Vm::boot(options, Some(&Network::User))?;
    vm.wait_for(ready, BOOT).with_context(|| format!("the {name} guest did not come up"))?;
    Ok(vm)
}

/// Sends [`BYTES`] and reads them back; every byte is compared.
fn round(address: SocketAddr) -> Result<f64> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(BOOT))?;
    let mut writer = stream.try_clone()?;
    let data: Vec<u8> = (0..BYTES).map(|n| (n % 251) as u8).collect();
    let expected = data.clone();
    let started = Instant::now();
    let sender = std::thread::spawn(move || writer.write_all(&data));
    let mut back = vec![0; BYTES];
    stream.read_exact(&mut back).context("the echo stopped")?;
    let seconds = started.elapsed().as_secs_f64();
    sender.join().map_err(|_| anyhow::anyhow!("the sender panicked"))??;
    ensure!(back == expected, "the echo differs from what was sent");
    Ok(BYTES as f64 * 8.0 / seconds / 1e6)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_told_in_per_cent_of_the_others() {
        assert_eq!(Rates { hic: 50.0, linux: 200.0 }.per_cent(), 25.0);
    }
}
