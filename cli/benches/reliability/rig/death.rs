//! A program that dies: its connections must end with a reset, and a new run of it must be found again.

use std::{
    io::{ErrorKind, Read},
    net::TcpStream,
    thread,
    time::{Duration, Instant},
};

use natlab::Side;
use rustix::process::Signal;

use super::{
    stage::{Stage, name, pass_byte},
    talk::is_pause,
    trial::{GIVE_UP, Outcome},
};

/// How a side's program ends.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Death {
    /// By a signal that it cannot handle; nobody is told, and the next run reveals it.
    Killed(Side),
    /// By a signal that it handles; it says goodbye.
    Ended(Side),
}

impl Death {
    /// Lets it happen; a new run of a killed program starts after that time. The stall is the time until the far end of
    /// the connection was reset and, where there is a new run, a new connection carried a byte each way.
    pub(crate) fn happen(self, stage: &mut Stage, restart_after: Duration) -> Result<Outcome, String> {
        let ends = stage.dial()?;
        pass_byte(&ends[0], &ends[1], GIVE_UP)?;
        pass_byte(&ends[1], &ends[0], GIVE_UP)?;
        let [client, service] = ends;
        let (side, signal) = match self {
            Death::Killed(side) => (side, Signal::KILL),
            Death::Ended(side) => (side, Signal::TERM),
        };
        let far_end = match side {
            Side::A => client,
            Side::B => service,
        };
        let broke = Instant::now();
        stage.program(side).signal(signal)?;
        let watch = thread::spawn(move || await_reset(far_end));
        let (back, again) = match self {
            Death::Killed(_) => {
                thread::sleep(restart_after);
                let back = Instant::now();
                (back, again(stage, side))
            }
            Death::Ended(_) => (broke, Ok(broke)),
        };
        let reset = watch.join().expect("it does not panic");
        let done = [reset.clone(), again.clone()].into_iter().flatten().max();
        let reset_after = reset.as_ref().ok().map(|at| at.saturating_duration_since(broke));
        let stall = done.map_or(GIVE_UP, |done| done.saturating_duration_since(back));
        let reset = reset.map_err(|why| format!("the connection at {}: {why}", name(side.other())));
        let continued = reset.and(again).map(drop);
        let from_fault = done.map_or(GIVE_UP, |done| done.saturating_duration_since(broke));
        let mut said = stage.said_since(broke);
        said.extend(reset_after.map(|after| format!("{:.2} s: the far end was reset", after.as_secs_f64())));
        Ok(Outcome { continued, stall, from_fault, said })
    }
}

/// Starts the program again and waits for a connection that carries a byte each way; returns when it did.
fn again(stage: &mut Stage, side: Side) -> Result<Instant, String> {
    stage.start(side)?;
    stage.wait_for(side, "tunnel_up", GIVE_UP)?;
    let [client, service] = stage.dial()?;
    pass_byte(&client, &service, GIVE_UP)?;
    pass_byte(&service, &client, GIVE_UP)?;
    Ok(Instant::now())
}

/// Waits until a connection is reset; returns when it was.
fn await_reset(mut end: TcpStream) -> Result<Instant, String> {
    let until = Instant::now() + GIVE_UP;
    loop {
        match end.read(&mut [0]) {
            Ok(0) => return Err("it ended as if all were said".to_owned()),
            Ok(_) => return Err("a byte came that nobody sent".to_owned()),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => return Ok(Instant::now()),
            Err(error) if is_pause(&error) && Instant::now() < until => {}
            Err(error) if is_pause(&error) => {
                return Err(format!("no reset within {} s", GIVE_UP.as_secs()));
            }
            Err(error) => return Err(error.to_string()),
        }
    }
}
