//! temporary
use hic_tests::{load::*, net::*, qemu::Net};
use std::{process::Command, time::Duration};
fn main() -> anyhow::Result<()> {
    let bad = std::env::args().nth(1).is_some();
    let how = if bad { Impairment { loss: 2, reorder: 10, delay_ms: 5 } } else { Impairment { loss: 0, reorder: 0, delay_ms: 0 } };
    let network = Network::Tap(Namespace::create_impaired(how)?);
    println!("{}", network.describe());
    let Net::Datagrams { local, remote } = network.attach(&[])? else { anyhow::bail!("no relay") };
    let mut guest = Command::new("python3").arg("/tmp/fake.py").arg(local).arg(remote).spawn()?;
    std::thread::sleep(Duration::from_secs(6));
    let echo = "10.0.2.15:7".parse()?;
    let plan = EchoPlan { clients: 100, pace: Duration::from_millis(5), pause: Duration::from_millis(100), sizes: &[1, 64, 256, 1000, 1460, 4096, 31, 8192], reconnect: false };
    let load = echo_clients(&network, echo, plan)?;
    let connects = steady_connects(&network, echo, Duration::from_millis(100))?;
    let slow = network.spawn(move || SlowReader { buffer: 16384, stuck: Duration::from_secs(3), hold: Duration::from_secs(3), limit: 64 << 20 }.run(echo))?;
    for _ in 0..3 {
        println!("{:?}", network.output("ping", &["-q", "-c", "3", "-i", "0.2", "-W", "5", "10.0.2.15"]));
        println!("{:?}", network.output("curl", &["-sS", "--fail", "http://10.0.2.15/"]));
        println!("{:?}", network.run(move || { client_closes_first(echo, 20_000)?; server_closes_first("10.0.2.15:13".parse()?)?; http_get("10.0.2.15:80".parse()?, "/healthz")?; udp_echo(echo, &[1, 8, 512, 1472, 4000]) }));
    }
    println!("slow {:?}", slow.join());
    std::thread::sleep(Duration::from_secs(5));
    let (a, b) = (load.finish()?, connects.finish()?);
    println!("{}\n{}\n{:?} {:?}", a.summary(), b.summary(), a.ensure_no_failure("echo"), b.ensure_no_failure("connects"));
    std::thread::sleep(Duration::from_secs(1));
    guest.kill()?; guest.wait()?;
    Command::new("sh").args(["-c", "ip netns pids hic-fake | xargs -r kill; ip netns del hic-fake"]).status()?;
    let w = check_capture(std::path::Path::new("/tmp/fake.pcap"))?;
    println!("{}\n{:?}", w.summary(), w.named);
    Ok(())
}
