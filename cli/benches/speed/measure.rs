//! One measurement through one peer.

use std::{net::SocketAddr, time::Duration};

use natlab::Side;

use crate::{ground::Ground, peers::Tunnel, running::Running};

/// Longest wait for a client beyond the time that it was given.
const PATIENCE: Duration = Duration::from_secs(60);

/// Longest wait for a crowd to gather.
const CROWD_PATIENCE: Duration = Duration::from_secs(90);

/// What is transferred.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Load {
    /// From the service to the client, to its end.
    Down,
    /// From the client to the service, to its end.
    Up,
    /// Down; what is under way at the end is cut off.
    Watched,
    /// The same with prose.
    Prose,
    /// The same with sources of programs.
    Sources,
}

impl Load {
    fn word(self) -> &'static str {
        match self {
            Load::Down => "down",
            Load::Up => "up",
            Load::Watched => "watch",
            Load::Prose => "read",
            Load::Sources => "sources",
        }
    }
}

/// What one bulk transfer did.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Flow {
    total_bytes: u64,
    bytes: u64,
    nanos: u64,
    cpu: Duration,
}

impl Flow {
    /// Returns the rate of what arrived after the time that does not count.
    pub(crate) fn bits_per_s(&self) -> f64 {
        self.bytes as f64 * 8e9 / self.nanos.max(1) as f64
    }

    /// Returns the CPU time of both ends for a gigabyte that arrived, the whole transfer taken together.
    pub(crate) fn cpu_s_per_gb(&self) -> f64 {
        self.cpu.as_secs_f64() / (self.total_bytes.max(1) as f64 / 1e9)
    }
}

/// How fast echoes came back.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Echo {
    pub(crate) p50: Duration,
    pub(crate) p99: Duration,
}

/// A transfer, and echoes meanwhile.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Loaded {
    pub(crate) flow: Flow,
    /// Past the tunnel.
    pub(crate) outside: Echo,
    /// Through the tunnel that carries the transfer.
    pub(crate) inside: Echo,
}

/// Transfers for so long; what arrives within `skip` does not count.
pub(crate) fn flow(
    ground: &Ground,
    tunnel: &Tunnel,
    load: Load,
    time: Duration,
    skip: Duration,
) -> Result<Flow, String> {
    let before = cpu(ground, tunnel);
    let client = client(ground, load.word(), tunnel.address, &[time, skip])?;
    finish_flow(ground, tunnel, client, before, time)
}

/// Sends one byte at a time for so long.
pub(crate) fn echo(ground: &Ground, to: SocketAddr, time: Duration, skip: Duration) -> Result<Echo, String> {
    finish_echo(start_echo(ground, to, time, skip)?, time)
}

/// Begins to do so.
pub(crate) fn start_echo(
    ground: &Ground,
    to: SocketAddr,
    time: Duration,
    skip: Duration,
) -> Result<Running, String> {
    client(ground, "echo", to, &[time, skip])
}

/// Waits for what was begun.
pub(crate) fn finish_echo(mut client: Running, time: Duration) -> Result<Echo, String> {
    let [_count, p50, p99, _max] = client.numbers(time + PATIENCE)?;
    Ok(Echo { p50: Duration::from_nanos(p50), p99: Duration::from_nanos(p99) })
}

/// Does so to several addresses at once.
pub(crate) fn echoes<const N: usize>(
    ground: &Ground,
    to: [SocketAddr; N],
    time: Duration,
    skip: Duration,
) -> Result<[Echo; N], String> {
    let clients = to.map(|to| start_echo(ground, to, time, skip));
    let echoes: Vec<Echo> =
        clients.into_iter().map(|client| finish_echo(client?, time)).collect::<Result<_, String>>()?;
    Ok(echoes.try_into().expect("as many as addresses"))
}

/// Transfers down for so long, cuts off what is under way then, and meanwhile sends one byte at a time past the tunnel and through it.
pub(crate) fn loaded(
    ground: &Ground,
    tunnel: &Tunnel,
    time: Duration,
    skip: Duration,
) -> Result<Loaded, String> {
    let before = cpu(ground, tunnel);
    let flow = client(ground, Load::Watched.word(), tunnel.address, &[time, skip])?;
    let [outside, inside] = echoes(ground, [ground.direct_address(), tunnel.address], time, skip)?;
    Ok(Loaded { flow: finish_flow(ground, tunnel, flow, before, time)?, outside, inside })
}

/// Connections with one request each.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Requests {
    pub(crate) per_s: f64,
    pub(crate) failed: u64,
    pub(crate) p50: Duration,
    pub(crate) p99: Duration,
}

/// Makes connections with one request each for so long, so many at once.
pub(crate) fn requests(
    ground: &Ground,
    to: SocketAddr,
    time: Duration,
    at_once: usize,
) -> Result<Requests, String> {
    let args = [time.as_millis().to_string(), at_once.to_string()];
    let mut client = start(ground, "requests", to, args)?;
    let [answered, failed, nanos, p50, p99] = client.numbers(time + PATIENCE)?;
    let [p50, p99] = [p50, p99].map(Duration::from_nanos);
    Ok(Requests { per_s: answered as f64 * 1e9 / nanos.max(1) as f64, failed, p50, p99 })
}

/// Many connections at once, all of which stand.
pub(crate) struct Crowd {
    client: Running,
    /// Time in which they were made.
    pub(crate) made_in: Duration,
}

impl Crowd {
    /// Makes so many connections, which rest for `hold` and then receive for `time`, of which `skip` does not count.
    pub(crate) fn gather(
        ground: &Ground,
        to: SocketAddr,
        count: usize,
        [hold, time, skip]: [Duration; 3],
    ) -> Result<Crowd, String> {
        let numbers = [count as u128, hold.as_millis(), time.as_millis(), skip.as_millis()];
        let mut client = start(ground, "streams", to, numbers.map(|number| number.to_string()))?;
        let [_made, nanos] = client.numbers(CROWD_PATIENCE)?;
        Ok(Crowd { client, made_in: Duration::from_nanos(nanos) })
    }

    /// Waits for its end; returns what came altogether, and the rate of what counts.
    pub(crate) fn finish(mut self, patience: Duration) -> Result<(u64, f64), String> {
        let [total_bytes, bytes, nanos, _cpu] = self.client.numbers(patience + PATIENCE)?;
        Ok((total_bytes, bytes as f64 * 8e9 / nanos.max(1) as f64))
    }
}

/// Returns the CPU time of a tunnel; for the kernel alone that of the service, as its client tells its own.
pub(crate) fn cpu(ground: &Ground, tunnel: &Tunnel) -> Duration {
    tunnel.cpu().unwrap_or_else(|| ground.service().cpu())
}

fn finish_flow(
    ground: &Ground,
    tunnel: &Tunnel,
    mut client: Running,
    before: Duration,
    time: Duration,
) -> Result<Flow, String> {
    let [total_bytes, bytes, nanos, own_cpu] = client.numbers(time + PATIENCE)?;
    let own_cpu = if tunnel.cpu().is_some() { Duration::ZERO } else { Duration::from_nanos(own_cpu) };
    Ok(Flow { total_bytes, bytes, nanos, cpu: cpu(ground, tunnel).saturating_sub(before) + own_cpu })
}

/// Starts a client of the service on host B.
fn client(ground: &Ground, role: &str, to: SocketAddr, times: &[Duration]) -> Result<Running, String> {
    start(ground, role, to, times.iter().map(|time| time.as_millis().to_string()))
}

fn start(
    ground: &Ground,
    role: &str,
    to: SocketAddr,
    args: impl IntoIterator<Item = String>,
) -> Result<Running, String> {
    let mut command = ground.role(Side::B)?;
    command.args([role, &to.to_string()]).args(args);
    Running::start("the client", command)
}
