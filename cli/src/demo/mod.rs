//! `pinhole demo`: both ends on this machine, as two processes, with a page and a bulk transfer between them.
//!
//! Without an argument they meet on loopback (127.0.0.1 and 127.0.0.2, no privileges). With `--nat A,B` they meet
//! through two NATs of this kernel, in network namespaces that are removed at the end.

mod end;
mod service;
mod stage;

use std::{
    io::{Read, Write},
    net::TcpStream,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::Result;
use indicatif::{ProgressBar, ProgressStyle};
use pinhole::proto::nat::Verdict;
use rustix::process::{Pid, Signal, kill_process};
use tokio::signal::unix::{SignalKind, signal};

use self::{end::End, stage::Stage};
use super::{
    Outcome,
    args::DemoArgs,
    journal::Level,
    keyring,
    message::{Message, OrSay},
    say, say_as, texts,
};

/// Time for the tunnel to come up.
const PATIENCE: Duration = Duration::from_secs(30);

/// Round trips that are timed through the tunnel.
const PINGS: usize = 200;

/// The processes to end when the user interrupts the demo.
type Running = Arc<Mutex<Vec<Pid>>>;

pub(super) fn run(args: &DemoArgs) -> Result<Outcome> {
    let stage = Stage::build(args.nat.as_deref())?;
    let size = u64::from(args.size) << 20;
    let running = Running::default();
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().or_say(|| Message::NoRuntime)?;
    runtime.block_on(async {
        let mut interrupt = signal(SignalKind::interrupt()).or_say(|| Message::NoSignals)?;
        let mut terminate = signal(SignalKind::terminate()).or_say(|| Message::NoSignals)?;
        let ends = running.clone();
        let mut show = tokio::task::spawn_blocking(move || show(&stage, size, &ends));
        tokio::select! {
            shown = &mut show => return shown.or_say(|| Message::demo("a part of it has ended"))?,
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        end_all(&running);
        let _interrupted = show.await;
        say(&Message::Interrupted);
        Ok(Outcome::Done)
    })
}

fn show(stage: &Stage, size: u64, running: &Running) -> Result<Outcome> {
    show_line(&stage.describe());
    if let Verdict::No(cause) = stage.verdict() {
        say(&Message::CannotMeet(cause));
    }
    let service = service::start(stage.serve_listener()?, size)?;
    let key = keyring::generate()?;
    let begun = Instant::now();
    let mut serve = End::start(stage, &key, End::serve_args(stage, service), running)?;
    let mut open = End::start(stage, &key, End::open_args(stage), running)?;
    let Some(punched) = open.wait_for("punched", PATIENCE)? else {
        say(&Message::NoHole { seconds: PATIENCE.as_secs(), stage: stage.describe() });
        return Ok(Outcome::NoPath);
    };
    demand(
        open.wait_for("tunnel_up", PATIENCE)?.is_some(),
        "the hole carries packets, but no tunnel came up",
    )?;
    let page = fetch_page(stage)?;
    let first_byte = begun.elapsed();
    writeln!(std::io::stdout(), "{page}")?;
    let ping = ping(stage)?;
    let rate = fetch_bulk(stage, size)?;
    show_line(&format!("hole punched      {:.2} s after the start, at {}", punched.seconds, punched.remote));
    show_line(&format!(
        "first byte        {:.2} s after the start, both keys stretched",
        first_byte.as_secs_f64()
    ));
    show_line(&format!(
        "round trip        {} as the punch saw it, {} through the tunnel (median of {PINGS})",
        texts::rtt(punched.rtt),
        texts::rtt(ping)
    ));
    show_line(&format!("throughput        {:.0} Mbit/s for {} MiB", rate * 8.0 / 1e6, size >> 20));
    open.end()?;
    serve.end()?;
    Ok(Outcome::Done)
}

/// Shows a line of the demo's result.
fn show_line(line: &str) {
    say_as(Level::Info, line);
}

fn demand(holds: bool, otherwise: &str) -> Result<()> {
    if holds { Ok(()) } else { Err(Message::demo(otherwise).into()) }
}

fn end_all(running: &Running) {
    for pid in running.lock().unwrap_or_else(PoisonError::into_inner).iter() {
        let _gone = kill_process(*pid, Signal::TERM);
    }
}

fn fetch_page(stage: &Stage) -> Result<String> {
    let mut tcp = request(stage, "/")?;
    let mut page = String::new();
    tcp.read_to_string(&mut page).or_say(|| Message::demo("the page did not come through"))?;
    demand(page == service::PAGE, "the page came through with errors")?;
    Ok(page)
}

/// Returns the median time of a small round trip through the tunnel.
fn ping(stage: &Stage) -> Result<Duration> {
    let mut tcp = request(stage, "/echo")?;
    tcp.set_nodelay(true)?;
    let mut times = Vec::with_capacity(PINGS);
    for n in 0..PINGS {
        let sent = [u8::try_from(n % 251).unwrap_or_default()];
        let at = Instant::now();
        tcp.write_all(&sent)?;
        let mut back = [0];
        tcp.read_exact(&mut back).or_say(|| Message::demo("an echo got lost"))?;
        demand(back == sent, "an echo came back wrong")?;
        times.push(at.elapsed());
    }
    times.sort_unstable();
    Ok(times[PINGS / 2])
}

/// Fetches the bulk, checks each byte, and returns bytes per second.
fn fetch_bulk(stage: &Stage, size: u64) -> Result<f64> {
    let bar = ProgressBar::new(size)
        .with_style(ProgressStyle::with_template("{wide_bar} {bytes} of {total_bytes}, {bytes_per_sec}")?);
    let mut tcp = request(stage, "/bulk")?;
    let mut buffer = vec![0; 256 << 10];
    let mut got = 0;
    let at = Instant::now();
    loop {
        let read = tcp.read(&mut buffer).or_say(|| Message::demo("the bulk transfer broke off"))?;
        if read == 0 {
            break;
        }
        demand(
            service::is_bulk(got, &buffer[..read]),
            &format!("the bulk came through with errors near byte {got}"),
        )?;
        got += read as u64;
        bar.set_position(got);
    }
    let seconds = at.elapsed().as_secs_f64();
    bar.finish_and_clear();
    demand(got == size, &format!("the bulk transfer ended after {got} of {size} bytes"))?;
    Ok(got as f64 / seconds)
}

fn request(stage: &Stage, path: &str) -> Result<TcpStream> {
    let mut tcp = stage.connect().or_say(|| Message::demo("cannot reach the local end of the tunnel"))?;
    tcp.set_read_timeout(Some(PATIENCE))?;
    tcp.write_all(path.as_bytes())?;
    tcp.write_all(b"\n")?;
    Ok(tcp)
}
