//! The service manager, where one has started us: told that we are ready, what we do, and that we live (sd_notify(3)).
//!
//! One socket is opened at the start and kept: a program that is out of descriptors still lives, and must be able to
//! say so. (The crates for this open one for each message.) A manager that does not listen costs nothing.

use std::{convert::Infallible, ffi::OsStr, io, time::Duration};

use std::os::unix::{
    ffi::OsStrExt,
    net::{SocketAddr, UnixDatagram},
};

use tokio::time::MissedTickBehavior;

use crate::sys;

/// The manager, or nobody.
#[derive(Debug)]
pub(super) struct Manager {
    line: Option<Line>,
    /// Silence after which the manager takes us for dead.
    patience: Option<Duration>,
}

/// The way to the manager.
#[derive(Debug)]
struct Line {
    socket: UnixDatagram,
    manager: SocketAddr,
}

impl Manager {
    /// Finds the manager as the environment names it.
    pub(super) fn of_environment() -> Self {
        let line = std::env::var_os("NOTIFY_SOCKET").and_then(|name| match Line::open(&name) {
            Ok(line) => Some(line),
            Err(error) => {
                tracing::warn!(%error, ?name, "the service manager cannot be told anything");
                None
            }
        });
        let number = |name| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
        let is_ours = number("WATCHDOG_PID").is_none_or(|pid| pid == u64::from(std::process::id()));
        let patience = number("WATCHDOG_USEC").filter(|usec| is_ours && *usec > 0).map(Duration::from_micros);
        Self { line, patience }
    }

    /// Says that the program does its work from now on.
    pub(super) fn ready(&self) {
        self.tell("READY=1");
    }

    /// Says in one sentence what the program does.
    pub(super) fn status(&self, sentence: &str) {
        self.tell(&format!("STATUS={}", super::journal::one_line(sentence)));
    }

    /// Says that the configuration is read again; [`Self::ready`] says that this is over.
    pub(super) fn reloading(&self) {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
        self.tell(&format!("RELOADING=1\nMONOTONIC_USEC={}", now.tv_sec * 1_000_000 + now.tv_nsec / 1000));
    }

    /// Says that the program is about to end.
    pub(super) fn stopping(&self) {
        self.tell("STOPPING=1");
    }

    /// Says that the program lives, twice in the time after which silence means death, as long as `is_alive` says so.
    pub(super) async fn feed(&self, is_alive: impl AsyncFn() -> bool) -> Infallible {
        let Some(patience) = self.patience.filter(|_| self.line.is_some()) else {
            return std::future::pending().await;
        };
        let mut turn = tokio::time::interval(patience / 2);
        turn.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            turn.tick().await;
            if is_alive().await {
                self.tell("WATCHDOG=1");
            }
        }
    }

    fn tell(&self, message: &str) {
        if let Some(Err(error)) = self.line.as_ref().map(|line| line.send(message.as_bytes())) {
            tracing::debug!(%error, message, "the service manager does not listen");
        }
    }
}

impl Line {
    fn open(name: &OsStr) -> io::Result<Self> {
        let manager = address(name)?;
        let socket = UnixDatagram::unbound()?;
        socket.set_nonblocking(true)?;
        socket.connect_addr(&manager)?;
        Ok(Self { socket, manager })
    }

    /// Sends a message, to another socket of that name if the former one is gone.
    fn send(&self, message: &[u8]) -> io::Result<()> {
        match self.socket.send(message) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(error),
            Err(_) => {
                self.socket.connect_addr(&self.manager)?;
                self.socket.send(message).map(drop)
            }
            Ok(_) => Ok(()),
        }
    }
}

/// A path, or a name without one behind an `@`.
fn address(name: &OsStr) -> io::Result<SocketAddr> {
    match name.as_bytes() {
        [b'@', name @ ..] => sys::abstract_address(name),
        _ => SocketAddr::from_pathname(name),
    }
}

#[cfg(test)]
mod tests {
    use std::{cell::Cell, future::pending};

    use super::*;

    const PATIENCE: Duration = Duration::from_millis(10);

    /// A manager's end, and ours.
    fn manager() -> (UnixDatagram, Manager, tempfile::TempDir) {
        let folder = tempfile::TempDir::new().expect("a temporary folder");
        let path = folder.path().join("notify");
        let ear = UnixDatagram::bind(&path).expect("a socket");
        let line = Line::open(path.as_os_str()).expect("somebody listens");
        (ear, Manager { line: Some(line), patience: Some(PATIENCE) }, folder)
    }

    fn heard(ear: &UnixDatagram) -> String {
        let mut room = [0; 256];
        let length = ear.recv(&mut room).expect("a message");
        String::from_utf8_lossy(&room[..length]).into_owned()
    }

    #[tokio::test]
    async fn the_watchdog_hears_us_as_long_as_we_answer_and_not_once_more() {
        let (ear, manager, _folder) = manager();
        let (asked, hangs) = (Cell::new(0), tokio::sync::Notify::new());
        let is_alive = async || {
            asked.set(asked.get() + 1);
            if asked.get() > 3 {
                hangs.notify_one();
                pending::<()>().await;
            }
            asked.get() != 2
        };
        tokio::select! {
            never = manager.feed(is_alive) => match never {},
            () = hangs.notified() => {}
        }
        assert_eq!([heard(&ear), heard(&ear)], ["WATCHDOG=1", "WATCHDOG=1"]);
        ear.set_nonblocking(true).expect("a flag");
        assert!(ear.recv(&mut [0; 256]).is_err(), "of four questions one was denied and one not answered");
    }

    #[test]
    fn a_sentence_cannot_say_anything_else() {
        let (ear, manager, _folder) = manager();
        manager.status("peer\nSTOPPING=1");
        assert_eq!(heard(&ear), "STATUS=peer\\nSTOPPING=1");
    }

    #[test]
    fn a_manager_that_comes_back_is_heard_again_and_one_that_does_not_costs_nothing() {
        let (ear, manager, folder) = manager();
        drop(ear);
        manager.ready();
        let path = folder.path().join("notify");
        std::fs::remove_file(&path).expect("it is there");
        let ear = UnixDatagram::bind(&path).expect("a socket");
        manager.reloading();
        let (reloading, since) =
            heard(&ear).split_once('\n').map(|(a, b)| (a.to_owned(), b.to_owned())).expect("two");
        assert_eq!(reloading, "RELOADING=1");
        assert!(
            since.strip_prefix("MONOTONIC_USEC=").is_some_and(|usec| usec.parse::<u64>().is_ok()),
            "{since}"
        );
    }

    #[cfg(not(pinhole_portable))]
    #[test]
    fn a_name_without_a_path_is_understood() {
        let name = format!("pinhole-test-{}", std::process::id());
        let address = sys::abstract_address(name.as_bytes()).expect("short");
        let ear = UnixDatagram::bind_addr(&address).expect("a socket");
        let line = Line::open(OsStr::new(&format!("@{name}"))).expect("somebody listens");
        Manager { line: Some(line), patience: None }.ready();
        assert_eq!(heard(&ear), "READY=1");
    }
}
