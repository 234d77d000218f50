//! One measurement through one peer.

use std::time::Duration;

use natlab::Side;

use crate::{ground::Ground, peers::Tunnel, running::Running};

/// Longest wait for a client beyond the time that it was given.
const PATIENCE: Duration = Duration::from_secs(60);

/// Which way the bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    /// From the service to the client.
    Down = 0,
    /// From the client to the service.
    Up = 1,
}

impl Direction {
    /// Lists both.
    pub(crate) const BOTH: [Direction; 2] = [Direction::Down, Direction::Up];

    fn word(self) -> &'static str {
        match self {
            Direction::Down => "down",
            Direction::Up => "up",
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
    pub(crate) fn gbit_per_s(&self) -> f64 {
        self.bytes as f64 * 8.0 / self.nanos.max(1) as f64
    }

    /// Returns the CPU time of both ends for a gigabyte that arrived, the whole transfer taken together.
    pub(crate) fn cpu_s_per_gb(&self) -> f64 {
        self.cpu.as_secs_f64() / (self.total_bytes.max(1) as f64 / 1e9)
    }
}

/// How fast echoes came back.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Echo {
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
}

/// Transfers for so long; what arrives within `skip` does not count.
pub(crate) fn flow(
    ground: &Ground,
    tunnel: &Tunnel,
    direction: Direction,
    time: Duration,
    skip: Duration,
) -> Result<Flow, String> {
    let before = cpu(ground, tunnel);
    let ms = |duration: Duration| duration.as_millis().to_string();
    let numbers = client(ground, tunnel, &[direction.word()], &[ms(time), ms(skip)], time)?;
    let [total_bytes, bytes, nanos, own_cpu] = exactly(&numbers)?;
    let own_cpu = if tunnel.cpu().is_some() { Duration::ZERO } else { Duration::from_nanos(own_cpu) };
    Ok(Flow { total_bytes, bytes, nanos, cpu: cpu(ground, tunnel).saturating_sub(before) + own_cpu })
}

/// Sends one byte at a time for so long.
pub(crate) fn echo(ground: &Ground, tunnel: &Tunnel, time: Duration) -> Result<Echo, String> {
    let numbers = client(ground, tunnel, &["echo"], &[time.as_millis().to_string()], time)?;
    let [_count, p50, p99, _max] = exactly(&numbers)?;
    let us = |nanos: u64| nanos as f64 / 1e3;
    Ok(Echo { p50_us: us(p50), p99_us: us(p99) })
}

/// Returns the CPU time of a tunnel; for the kernel alone that of the service, as its client tells its own.
fn cpu(ground: &Ground, tunnel: &Tunnel) -> Duration {
    tunnel.cpu().unwrap_or_else(|| ground.service().cpu())
}

fn client(
    ground: &Ground,
    tunnel: &Tunnel,
    role: &[&str],
    args: &[String],
    time: Duration,
) -> Result<Vec<u64>, String> {
    let mut command = ground.role(Side::B)?;
    command.args(role).arg(tunnel.address.to_string()).args(args);
    Running::start("the client", command)?.finish(time + PATIENCE)
}

fn exactly<const N: usize>(numbers: &[u64]) -> Result<[u64; N], String> {
    numbers.try_into().map_err(|_| format!("the client told {} numbers", numbers.len()))
}
