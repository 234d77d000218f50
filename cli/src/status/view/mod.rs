//! The live view in a terminal: all instances, one at a time, anew each second.
//!
//! The terminal is as it was afterwards, whatever ends the view: a key, a signal, an error, a panic (the hook that
//! ratatui sets).

mod draw;
mod picture;

use std::{thread, time::Duration};

use anyhow::Result;
use ratatui::{
    DefaultTerminal,
    crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers},
};
use tokio::{
    runtime::Runtime,
    signal::unix::{Signal, SignalKind, signal},
    task::JoinHandle,
    time::{MissedTickBehavior, interval},
};

use self::draw::Palette;
use super::ask::{self, Answers};
use crate::{
    Outcome,
    message::{Message, OrSay},
};

/// Time between two questions.
const EVERY: Duration = Duration::from_secs(1);

/// Keys that wait for us; a cat on the keyboard loses the others.
const KEYS: usize = 16;

/// Shows it until the user has seen enough.
pub(super) fn run(runtime: &Runtime) -> Result<Outcome> {
    let first = runtime.block_on(ask::everybody());
    if first.all.is_empty() {
        super::say_about_the_others(&first);
        return Ok(Outcome::NoneRuns);
    }
    let mut terminal = ratatui::try_init().or_say(|| Message::CannotDraw)?;
    let shown = runtime.block_on(show(&mut terminal, first));
    ratatui::restore();
    shown.map(|()| Outcome::Done)
}

/// What is shown.
pub(super) struct Shown {
    answers: Answers,
    /// Process of the instance that is shown: it stays the same one when others come and go.
    pid: Option<u32>,
    palette: Palette,
}

impl Shown {
    /// Returns which one is shown.
    fn index(&self) -> usize {
        let pid = |index: &usize| self.answers.all.get(*index).map(|answer| answer.snapshot.pid);
        (0..self.answers.all.len()).find(|index| pid(index) == self.pid).unwrap_or(0)
    }

    /// Turns to the next one, or to the one before.
    fn turn(&mut self, by: usize) {
        let count = self.answers.all.len().max(1);
        let next = (self.index() + by) % count;
        self.pid = self.answers.all.get(next).map(|answer| answer.snapshot.pid);
    }
}

async fn show(terminal: &mut DefaultTerminal, answers: Answers) -> Result<()> {
    let listen = |kind| signal(kind).or_say(|| Message::NoSignals);
    let (mut terminate, mut hangup) = (listen(SignalKind::terminate())?, listen(SignalKind::hangup())?);
    let mut interrupt: Signal = listen(SignalKind::interrupt())?;
    let mut keys = keys();
    let mut tick = interval(EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let pid = answers.all.first().map(|answer| answer.snapshot.pid);
    let mut shown = Shown { answers, pid, palette: Palette::of_environment() };
    let mut asked: Option<JoinHandle<Answers>> = None;
    loop {
        terminal.draw(|frame| draw::draw(frame, &shown)).or_say(|| Message::CannotDraw)?;
        tokio::select! {
            _ = terminate.recv() => return Ok(()),
            _ = hangup.recv() => return Ok(()),
            _ = interrupt.recv() => return Ok(()),
            _ = tick.tick() => {
                if asked.is_none() {
                    asked = Some(tokio::spawn(ask::everybody()));
                }
            }
            answers = answered(&mut asked) => {
                asked = None;
                shown.answers = answers.unwrap_or_default();
            }
            event = keys.recv() => match event {
                Some(Event::Key(key)) if key.kind == KeyEventKind::Press => match meaning(key) {
                    Meaning::End => return Ok(()),
                    Meaning::Next => shown.turn(1),
                    Meaning::Before => shown.turn(shown.answers.all.len().saturating_sub(1)),
                    Meaning::Nothing => {}
                },
                Some(_) => {}
                None => return Ok(()),
            },
        }
    }
}

async fn answered(asked: &mut Option<JoinHandle<Answers>>) -> Option<Answers> {
    match asked {
        Some(asked) => asked.await.ok(),
        None => std::future::pending().await,
    }
}

enum Meaning {
    End,
    Next,
    Before,
    Nothing,
}

fn meaning(key: KeyEvent) -> Meaning {
    let is_control = key.modifiers.contains(KeyModifiers::CONTROL);
    if matches!(key.code, KeyCode::Char('c' | 'd')) && is_control
        || matches!(key.code, KeyCode::Char('q') | KeyCode::Esc)
    {
        Meaning::End
    } else if matches!(key.code, KeyCode::Tab | KeyCode::Right | KeyCode::Down | KeyCode::Char('n')) {
        Meaning::Next
    } else if matches!(key.code, KeyCode::BackTab | KeyCode::Left | KeyCode::Up | KeyCode::Char('p')) {
        Meaning::Before
    } else {
        Meaning::Nothing
    }
}

/// Reads keys and changes of the window's size, in a thread that may wait. It ends with the program.
fn keys() -> tokio::sync::mpsc::Receiver<Event> {
    let (sender, keys) = tokio::sync::mpsc::channel(KEYS);
    thread::spawn(move || {
        while let Ok(event) = event::read() {
            if sender.blocking_send(event).is_err() {
                return;
            }
        }
    });
    keys
}
