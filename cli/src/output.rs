//! stdout and stderr, each written by a thread of its own: a reader that has stopped must not stop a tunnel.
//!
//! A pipe that nobody reads takes 64 KiB and then holds up whoever writes. Here that is a thread which has nothing
//! else to do; what does not fit into its queue is counted, and told once there is room. A terminal is written at
//! once, because of its live line; and so is everything before [`start`].

use std::{
    borrow::Cow,
    io::{self, IsTerminal, Write},
    os::fd::AsFd,
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
    },
    thread,
    time::{Duration, Instant},
};

use terminal_size::{Width, terminal_size_of};

use super::message::Message;

/// Most lines that wait for a reader.
const QUEUE: usize = 1024;

/// Time that the last lines may take.
const LAST_LINES: Duration = Duration::from_secs(1);

/// Narrower terminals break lines by themselves.
const NARROWEST: usize = 20;

/// How often it is tried whether the last lines can be taken.
const LOOK: Duration = Duration::from_millis(5);

static OUT: Stream = Stream::new();
static ERR: Stream = Stream::new();

struct Stream {
    queue: OnceLock<SyncSender<Item>>,
    lost: AtomicU64,
}

enum Item {
    Text(Vec<u8>),
    /// All before it is written.
    Mark(SyncSender<()>),
}

/// Has threads write from now on.
pub(super) fn start() {
    OUT.start(|lines| write_all(&lines, io::stdout(), None));
    if !io::stderr().is_terminal() {
        ERR.start(|lines| write_all(&lines, io::stderr(), Some(&ERR.lost)));
    }
}

/// Writes to stdout. A closed one is nobody's fault.
pub(super) fn out(text: Vec<u8>) {
    OUT.push(text, io::stdout());
}

/// Writes to stderr. A closed one is nobody's fault, and neither is a full disk.
pub(super) fn err(text: Vec<u8>) {
    ERR.push(text, io::stderr());
}

/// Breaks a line for stderr at words, where a terminal would break it anywhere. A command to copy, which begins with a
/// blank, stays whole, and so does what has lines of its own.
pub(super) fn fit(line: &str) -> Cow<'_, str> {
    if line.starts_with(' ') || line.contains('\n') {
        return Cow::Borrowed(line);
    }
    fit_to(io::stderr(), line, 2)
}

/// Breaks a line of a report for stdout in the same way; its further lines begin with so many blanks.
pub(super) fn fit_report(line: &str, indent: usize) -> Cow<'_, str> {
    fit_to(io::stdout(), line, indent)
}

fn fit_to(stream: impl AsFd, line: &str, indent: usize) -> Cow<'_, str> {
    match terminal_size_of(stream) {
        Some((Width(width), _)) => break_at_words(line, usize::from(width), indent),
        None => Cow::Borrowed(line),
    }
}

/// A word that is longer than a line stays whole.
fn break_at_words(line: &str, width: usize, indent: usize) -> Cow<'_, str> {
    if line.chars().count() <= width || width < NARROWEST + indent {
        return Cow::Borrowed(line);
    }
    let mut words = line.split(' ');
    let mut broken = words.next().unwrap_or_default().to_owned();
    let mut column = broken.chars().count();
    for word in words {
        let length = word.chars().count();
        if column > indent && column + 1 + length > width {
            broken.push('\n');
            broken.extend(std::iter::repeat_n(' ', indent));
            column = indent;
        } else {
            broken.push(' ');
            column += 1;
        }
        broken.push_str(word);
        column += length;
    }
    broken.into()
}

/// Waits for the last lines when dropped, a second at most.
pub(super) struct LastLines;

impl Drop for LastLines {
    fn drop(&mut self) {
        let until = Instant::now() + LAST_LINES;
        OUT.flush(until);
        ERR.flush(until);
    }
}

impl Stream {
    const fn new() -> Self {
        Self { queue: OnceLock::new(), lost: AtomicU64::new(0) }
    }

    /// Without threads, everything is written at once.
    fn start(&self, write: impl FnOnce(Receiver<Item>) + Send + 'static) {
        let (queue, lines) = sync_channel(QUEUE);
        if thread::Builder::new().name("output".into()).spawn(|| write(lines)).is_ok() {
            let _started_before = self.queue.set(queue);
        }
    }

    fn push(&self, text: Vec<u8>, mut at_once: impl Write) {
        let Some(queue) = self.queue.get() else {
            let _closed = at_once.write_all(&text);
            return;
        };
        if queue.try_send(Item::Text(text)).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn flush(&self, until: Instant) {
        let Some(queue) = self.queue.get() else { return };
        let (written, mark) = sync_channel(1);
        let mut item = Item::Mark(written);
        while let Err(TrySendError::Full(back)) = queue.try_send(item) {
            if Instant::now() >= until {
                return;
            }
            thread::sleep(LOOK);
            item = back;
        }
        let _nobody_reads = mark.recv_timeout(until.saturating_duration_since(Instant::now()));
    }
}

/// Writes what comes; says how much was lost before it, if that is wanted here.
fn write_all(lines: &Receiver<Item>, mut stream: impl Write, lost: Option<&AtomicU64>) {
    for item in lines {
        let _closed = match item {
            Item::Text(text) => {
                let lost = lost.map_or(0, |lost| lost.swap(0, Ordering::Relaxed));
                let told = if lost > 0 { writeln!(stream, "{}", Message::LinesLost(lost)) } else { Ok(()) };
                told.and_then(|()| stream.write_all(&text)).and_then(|()| stream.flush())
            }
            Item::Mark(written) => {
                let _gave_up = written.try_send(());
                Ok(())
            }
        };
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[test]
    fn a_long_line_is_broken_between_words() {
        let line = "one two three four five six seven";
        assert_eq!(break_at_words(line, 40, 2), line);
        assert_eq!(break_at_words(line, 22, 2), "one two three four\n  five six seven");
        let long = "a-word-that-is-longer-than-a-line is not cut";
        assert_eq!(break_at_words(long, 22, 2), "a-word-that-is-longer-than-a-line\n  is not cut");
        assert_eq!(
            break_at_words("  row   one two three four five", 28, 8),
            "  row   one two three four\n        five"
        );
        assert_eq!(break_at_words(line, 5, 2), line);
    }

    static READ: Mutex<Vec<u8>> = Mutex::new(Vec::new());
    static PAPER: Stream = Stream::new();

    /// Takes nothing as long as the test holds the lock.
    struct Paper;

    impl Write for Paper {
        fn write(&mut self, text: &[u8]) -> io::Result<usize> {
            READ.lock().expect("no panic").write(text)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn who_does_not_read_holds_nobody_up_and_learns_how_much_was_lost() {
        let stopped = READ.lock().expect("no panic");
        PAPER.start(|lines| write_all(&lines, Paper, Some(&PAPER.lost)));
        for _ in 0..QUEUE + 100 {
            PAPER.push(b"line\n".to_vec(), Paper);
        }
        drop(stopped);
        PAPER.flush(Instant::now() + Duration::from_secs(20));
        let text = String::from_utf8(READ.lock().expect("no panic").clone()).expect("text");
        let lines = text.lines().filter(|line| *line == "line").count();
        // Told once or twice: some may be lost while the first are told.
        let told = text.lines().filter_map(|line| line.strip_suffix(" lines lost: nobody read them"));
        let lost: usize = told.map(|number| number.parse::<usize>().expect("a number")).sum();
        assert_eq!(lines + lost, QUEUE + 100);
        assert!(lost >= 99, "{lost}");
    }
}
