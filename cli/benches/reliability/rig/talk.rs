//! A conversation over one TCP connection: both ends send a known stream at a steady pace and check what comes.

use std::{
    io::{ErrorKind, Read, Write},
    net::{Shutdown, TcpStream},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use super::pattern::Pattern;

/// How long a read or a write waits before it looks whether the conversation is over.
const LOOK: Duration = Duration::from_millis(200);

/// Time for what is under way to arrive once nobody sends any more.
const DRAIN: Duration = Duration::from_secs(20);

/// How fast both ends talk.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    /// Bytes of one chunk.
    pub(crate) chunk_bytes: usize,
    /// Time from one chunk to the next.
    pub(crate) every: Duration,
}

/// A conversation that goes on.
pub(crate) struct Talk {
    ways: [Way; 2],
    is_over: Arc<AtomicBool>,
}

impl Talk {
    /// Lets two connected ends talk: the one of the open side, and the service's.
    pub(crate) fn start(client: &TcpStream, service: &TcpStream, pace: Pace) -> std::io::Result<Talk> {
        let is_over = Arc::new(AtomicBool::new(false));
        for end in [client, service] {
            end.set_nodelay(true)?;
            end.set_read_timeout(Some(LOOK))?;
            end.set_write_timeout(Some(LOOK))?;
        }
        let way = |number, from: &TcpStream, to: &TcpStream| -> std::io::Result<Way> {
            Ok(Way::start(Pattern::new(number), from.try_clone()?, to.try_clone()?, pace, &is_over))
        };
        let ways = [way(1, client, service)?, way(2, service, client)?];
        Ok(Talk { ways, is_over })
    }

    /// Whether bytes have come in both directions without a pause for that long, counted from then.
    pub(crate) fn flows_since(&self, then: Instant, long: Duration, pause: Duration) -> bool {
        self.ways.iter().all(|way| way.log().flows_since(then, long, pause))
    }

    /// Whether a direction has ended by itself.
    pub(crate) fn is_broken(&self) -> bool {
        self.ways.iter().any(|way| way.writer.is_finished() || way.reader.is_finished())
    }

    /// Returns the longest time from then until now without an arrival, in either direction.
    pub(crate) fn stalls_since(&self, then: Instant) -> [Duration; 2] {
        [&self.ways[0], &self.ways[1]].map(|way| way.log().longest_gap(then, Instant::now()))
    }

    /// Leaves the conversation as it is: both ends stop to wait for the other by themselves.
    pub(crate) fn abandon(self) {
        self.is_over.store(true, Ordering::Release);
    }

    /// Ends the conversation; every byte sent must arrive before its end does.
    pub(crate) fn finish(self) -> Result<(), String> {
        self.is_over.store(true, Ordering::Release);
        let [to_service, to_client] = self.ways.map(Way::finish);
        to_service.map_err(|why| format!("toward the service: {why}"))?;
        to_client.map_err(|why| format!("toward the client: {why}"))
    }
}

/// One direction.
struct Way {
    writer: JoinHandle<Result<u64, String>>,
    reader: JoinHandle<Result<u64, String>>,
    log: Arc<Mutex<Log>>,
}

impl Way {
    fn start(pattern: Pattern, from: TcpStream, to: TcpStream, pace: Pace, is_over: &Arc<AtomicBool>) -> Way {
        let log = Arc::new(Mutex::new(Log::default()));
        let (over, heard) = (Arc::clone(is_over), Arc::clone(&log));
        let writer = thread::spawn(move || write(pattern, from, pace, &over));
        let over = Arc::clone(is_over);
        let reader = thread::spawn(move || read(pattern, to, &heard, &over));
        Way { writer, reader, log }
    }

    fn log(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn finish(self) -> Result<(), String> {
        let joined = |thread: JoinHandle<Result<u64, String>>| thread.join().expect("it does not panic");
        let (read, sent) = (joined(self.reader), joined(self.writer));
        let (sent, read) = (sent?, read?);
        if sent == read { Ok(()) } else { Err(format!("{sent} bytes were sent, {read} came")) }
    }
}

/// When something came.
#[derive(Debug, Default)]
struct Log {
    arrivals: Vec<Instant>,
}

impl Log {
    fn longest_gap(&self, from: Instant, until: Instant) -> Duration {
        let inside = self.arrivals.iter().copied().filter(|at| *at > from && *at < until);
        let ends = inside.chain([until]);
        ends.scan(from, |before, at| Some(at.duration_since(std::mem::replace(before, at))))
            .max()
            .unwrap_or_default()
    }

    /// Whether the last that much of the time since then had no pause.
    fn flows_since(&self, then: Instant, long: Duration, pause: Duration) -> bool {
        let now = Instant::now();
        let since = now.checked_sub(long).filter(|since| *since >= then);
        since.is_some_and(|since| self.longest_gap(since, now) < pause)
    }
}

/// Sends until the conversation is over; returns how many bytes that were.
fn write(pattern: Pattern, mut to: TcpStream, pace: Pace, over: &AtomicBool) -> Result<u64, String> {
    let mut chunk = vec![0; pace.chunk_bytes];
    let (mut place, mut unsent) = (0, 0);
    let mut due = Instant::now();
    while !over.load(Ordering::Acquire) {
        if unsent == 0 {
            thread::sleep(due.saturating_duration_since(Instant::now()));
            due = Instant::now().max(due) + pace.every;
            unsent = chunk.len();
        }
        let rest = &mut chunk[..unsent];
        pattern.fill(place, rest);
        match to.write(rest) {
            Ok(sent) => {
                place += sent as u64;
                unsent -= sent;
            }
            Err(error) if is_pause(&error) => {}
            Err(error) => return Err(format!("after {place} bytes sent: {error}")),
        }
    }
    to.shutdown(Shutdown::Write).map_err(|error| format!("at the end: {error}"))?;
    Ok(place)
}

/// Checks what comes until its end; returns how many bytes that were.
fn read(pattern: Pattern, mut from: TcpStream, log: &Mutex<Log>, over: &AtomicBool) -> Result<u64, String> {
    let mut buffer = vec![0; 64 << 10];
    let mut place = 0;
    let mut until = None;
    loop {
        match from.read(&mut buffer) {
            Ok(0) if over.load(Ordering::Acquire) => return Ok(place),
            Ok(0) => return Err(format!("it ended after {place} bytes, as if all were said")),
            Ok(count) => {
                if let Some(wrong) = pattern.first_wrong(place, &buffer[..count]) {
                    return Err(format!("byte {wrong} is another one"));
                }
                place += count as u64;
                log.lock().unwrap_or_else(PoisonError::into_inner).arrivals.push(Instant::now());
            }
            Err(error) if is_pause(&error) => {}
            Err(error) => return Err(format!("after {place} bytes: {error}")),
        }
        if over.load(Ordering::Acquire) && Instant::now() > *until.get_or_insert(Instant::now() + DRAIN) {
            return Err(format!("its end does not come; {place} bytes did"));
        }
    }
}

/// Whether a socket's timeout passed, or a signal came.
pub(crate) fn is_pause(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted)
}
