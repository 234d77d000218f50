//! Lines for whoever reads them later: with a priority, without control characters, and not too many of a kind.
//!
//! On a terminal the user sees everything. In a log, a network that comes and goes all month must not bury what
//! matters: of each kind of line [`LINES`] are said in [`SPAN`], the others are counted, and their number and the last
//! of them is said when the span is over.

use std::{
    sync::OnceLock,
    time::{Duration, Instant},
};

use super::message::Message;
pub(super) use super::sanitize::one_line;

/// Lines of one kind that are said in [`SPAN`].
pub(super) const LINES: u32 = 60;

/// See [`LINES`].
pub(super) const SPAN: Duration = Duration::from_secs(3600);

/// How much a line matters, as the journal counts it (sd-daemon(3)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Level {
    Error = 3,
    Warning = 4,
    Info = 6,
    Debug = 7,
}

impl Level {
    /// Returns what stands before a line: nothing, unless the journal reads it.
    pub(super) fn prefix(self) -> &'static str {
        if !is_journal() {
            return "";
        }
        match self {
            Self::Error => "<3>",
            Self::Warning => "<4>",
            Self::Info => "<6>",
            Self::Debug => "<7>",
        }
    }
}

/// Whether stderr goes to the journal, which has clocks and priorities of its own (systemd.exec(5)).
pub(super) fn is_journal() -> bool {
    static IS_JOURNAL: OnceLock<bool> = OnceLock::new();
    *IS_JOURNAL.get_or_init(|| {
        let stream = std::env::var("JOURNAL_STREAM").ok();
        let stderr = rustix::fs::fstat(rustix::stdio::stderr()).ok();
        stream.zip(stderr).is_some_and(|(named, own)| named == format!("{}:{}", own.st_dev, own.st_ino))
    })
}

/// Bounds the lines of each kind.
#[derive(Debug)]
pub(super) struct Throttle<K> {
    /// A handful: there are as many as kinds.
    spans: Vec<Span<K>>,
}

#[derive(Debug)]
struct Span<K> {
    kind: K,
    ends: Instant,
    said: u32,
    held: u64,
    /// The last line that was held back.
    last: String,
}

impl<K: PartialEq> Throttle<K> {
    pub(super) fn new() -> Self {
        Self { spans: Vec::new() }
    }

    /// Returns whether a line may be said; counts it otherwise.
    pub(super) fn admit(&mut self, kind: K, line: &str, now: Instant) -> bool {
        let Some(span) = self.spans.iter_mut().find(|span| span.kind == kind) else {
            self.spans.push(Span { kind, ends: now + SPAN, said: 1, held: 0, last: String::new() });
            return true;
        };
        if span.said < LINES {
            span.said += 1;
            return true;
        }
        span.held += 1;
        line.clone_into(&mut span.last);
        false
    }

    /// Returns when the next span is over, if there is one.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.spans.iter().map(|span| span.ends).min()
    }

    /// Ends the spans that are over. Returns what is to be said of what was held back in them.
    pub(super) fn handle_timeout(&mut self, now: Instant) -> Vec<String> {
        self.end(|span| span.ends <= now)
    }

    /// Ends all spans: nothing more will be said.
    pub(super) fn finish(&mut self) -> Vec<String> {
        self.end(|_| true)
    }

    fn end(&mut self, is_over: impl Fn(&Span<K>) -> bool) -> Vec<String> {
        let over = self.spans.extract_if(.., |span| is_over(span));
        over.filter(|span| span.held > 0)
            .map(|span| Message::MoreLikeThat { held: span.held, last: span.last }.to_string())
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BLINK: Duration = Duration::from_secs(1);

    #[test]
    fn a_kind_is_bounded_and_what_was_held_back_is_told_when_the_span_is_over() {
        let (mut throttle, start) = (Throttle::new(), Instant::now());
        let said = (0..57 + LINES).filter(|n| throttle.admit("up", &format!("up {n}"), start + BLINK * *n));
        assert_eq!(said.count(), LINES as usize);
        assert_eq!(throttle.deadline(), Some(start + SPAN));
        assert_eq!(throttle.handle_timeout(start + SPAN - BLINK), Vec::<String>::new());
        assert_eq!(throttle.handle_timeout(start + SPAN), ["and 57 more like that, the last: up 116"]);
        assert_eq!(throttle.deadline(), None);
        assert!(throttle.admit("up", "up again", start + SPAN), "a new span");
    }

    #[test]
    fn one_kind_does_not_silence_another() {
        let (mut throttle, start) = (Throttle::new(), Instant::now());
        while throttle.admit("up", "up", start) {}
        assert!(throttle.admit("down", "down", start));
    }

    #[test]
    fn what_comes_rarely_is_never_held_back() {
        let (mut throttle, start) = (Throttle::new(), Instant::now());
        for n in 0..1000 {
            let now = start + SPAN / LINES * n;
            assert_eq!(throttle.handle_timeout(now), Vec::<String>::new());
            assert!(throttle.admit((), "rare", now), "{n}");
        }
    }

    #[test]
    fn a_month_of_a_link_that_comes_and_goes_each_second_stays_readable() {
        let (mut throttle, start) = (Throttle::new(), Instant::now());
        let mut lines = 0;
        for second in 0..30 * 24 * 3600 {
            let now = start + BLINK * second;
            lines += throttle.handle_timeout(now).len();
            lines += [0, 1, 2, 3].into_iter().filter(|kind| throttle.admit(*kind, "line", now)).count();
        }
        assert!(lines <= 4 * 30 * 24 * (LINES as usize + 1), "{lines}");
    }

    #[test]
    fn the_end_tells_what_was_held_back() {
        let (mut throttle, start) = (Throttle::new(), Instant::now());
        while throttle.admit("up", "up", start) {}
        assert_eq!(throttle.finish(), ["and 1 more like that, the last: up"]);
        assert_eq!(throttle.finish(), Vec::<String>::new());
    }
}
