//! What this program is when it runs in a namespace: the service, a client of it, or one end of the ceiling.
//!
//! A role says what it found in one line on stdout: numbers with blanks between them.

mod ceiling;
mod client;
pub(crate) mod crowd;
mod service;
mod text;
mod wire;

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    process::ExitCode,
    time::Duration,
};

use clap::Subcommand;

use self::text::Text;

/// What to be.
#[derive(Debug, Subcommand)]
pub(crate) enum Role {
    /// Answer every kind of client
    #[command(hide = true)]
    Service { at: SocketAddr },

    /// Receive for so many milliseconds
    #[command(hide = true)]
    Down { from: SocketAddr, ms: u64, skip_ms: u64 },

    /// Receive for so many milliseconds from one who would send for longer
    #[command(hide = true)]
    Watch { from: SocketAddr, ms: u64, skip_ms: u64 },

    /// The same with text
    #[command(hide = true)]
    Read { from: SocketAddr, ms: u64, skip_ms: u64 },

    /// The same with sources of programs
    #[command(hide = true)]
    Sources { from: SocketAddr, ms: u64, skip_ms: u64 },

    /// Send for so many milliseconds
    #[command(hide = true)]
    Up { to: SocketAddr, ms: u64, skip_ms: u64 },

    /// Send one byte and wait for it, again and again
    #[command(hide = true)]
    Echo { to: SocketAddr, ms: u64, skip_ms: u64 },

    /// Make connections with one request each, so many at once
    #[command(hide = true)]
    Requests { to: SocketAddr, ms: u64, at_once: usize },

    /// Hold many connections, then receive from all of them
    #[command(hide = true)]
    Streams { from: SocketAddr, count: usize, hold_ms: u64, ms: u64, skip_ms: u64 },

    /// Carry TCP over sealed datagrams, without any loss recovery: the end that listens
    #[command(hide = true)]
    CeilingNear { at: SocketAddr, own: Ipv4Addr, far: Ipv4Addr },

    /// The end that connects to the service
    #[command(hide = true)]
    CeilingFar { own: Ipv4Addr, near: Ipv4Addr, service: SocketAddr },
}

/// Plays a role until it is over.
pub(crate) fn play(role: &Role) -> ExitCode {
    match perform(role) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) if why.kind() == io::ErrorKind::WouldBlock => {
            println!("failed: nothing came for {} s", client::PATIENCE.as_secs());
            ExitCode::FAILURE
        }
        Err(why) => {
            println!("failed: {why}");
            ExitCode::FAILURE
        }
    }
}

/// Checks the rules of the roles.
pub(crate) fn check() {
    wire::check();
    text::check();
    ceiling::check();
}

fn perform(role: &Role) -> io::Result<()> {
    let ms = Duration::from_millis;
    match *role {
        Role::Service { at } => service::serve(at),
        Role::Down { from, ms: time, skip_ms } => tally(client::down(from, ms(time), ms(skip_ms))?),
        Role::Watch { from, ms: time, skip_ms } => tally(client::watch(from, ms(time), ms(skip_ms))?),
        Role::Read { from, ms: time, skip_ms } => {
            tally(client::read(from, Text::Prose, ms(time), ms(skip_ms))?)
        }
        Role::Sources { from, ms: time, skip_ms } => {
            tally(client::read(from, Text::Sources, ms(time), ms(skip_ms))?)
        }
        Role::Up { to, ms: time, skip_ms } => tally(client::up(to, ms(time), ms(skip_ms))?),
        Role::Echo { to, ms: time, skip_ms } => say(client::echo(to, ms(time), ms(skip_ms))?),
        Role::Requests { to, ms: time, at_once } => say(crowd::requests(to, ms(time), at_once)?),
        Role::Streams { from, count, hold_ms, ms: time, skip_ms } => {
            tally(crowd::streams(from, count, ms(hold_ms), ms(time), ms(skip_ms))?)
        }
        Role::CeilingNear { at, own, far } => ceiling::near(at, own, far),
        Role::CeilingFar { own, near, service } => ceiling::far(own, near, service),
    }
}

#[expect(clippy::unnecessary_wraps, reason = "the last word of roles that can fail")]
fn say<const N: usize>(numbers: [u64; N]) -> io::Result<()> {
    println!("{}", numbers.map(|number| number.to_string()).join(" "));
    Ok(())
}

/// Says what was counted and what it cost this process.
fn tally(tally: wire::Tally) -> io::Result<()> {
    let [total, bytes, nanos] = tally.numbers();
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    say([total, bytes, nanos, time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64])
}
