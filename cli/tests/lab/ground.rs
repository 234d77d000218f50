//! Two hosts behind NATs, and both ends of pinhole on them.

use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    process::Command,
    sync::{Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use natlab::{Lab, LabSpec, NatSpec, Side, lab_or_skip};

use crate::program::{KEY, PATIENCE, Run, isolate};

/// TCP port of the tunnel on the open side.
pub(crate) const LOCAL_PORT: u16 = 2222;

/// How often is looked whether a port accepts.
const LOOK: Duration = Duration::from_millis(20);

/// Whose turn it is.
static TURN: Mutex<()> = Mutex::new(());

/// A laboratory and this test's turn to use the machine. The serve side is A, the open side B.
pub(crate) struct Ground {
    pub(crate) lab: Lab,
    _turn: MutexGuard<'static, ()>,
}

impl Ground {
    /// Waits for this test's turn and builds the laboratory, unless there can be none here.
    pub(crate) fn or_skip(test: &str, spec: LabSpec) -> Option<Self> {
        if !lab_or_skip(test) {
            return None;
        }
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let lab = Lab::build(spec).expect("the laboratory is built");
        Some(Self { lab, _turn: turn })
    }

    /// Describes the serve side, which offers a TCP port of host A.
    pub(crate) fn serve(&self, port: u16) -> Command {
        self.pinhole(Side::A, "-c", port)
    }

    /// Describes the open side, which makes it [`LOCAL_PORT`] of host B.
    pub(crate) fn open(&self) -> Command {
        self.pinhole(Side::B, "-l", LOCAL_PORT)
    }

    /// Starts both sides and waits until both say that the tunnel is up.
    pub(crate) fn connect(&self, port: u16) -> (Run, Run) {
        self.connect_within(PATIENCE, port)
    }

    /// Does the same with another patience than [`PATIENCE`].
    pub(crate) fn connect_within(&self, patience: Duration, port: u16) -> (Run, Run) {
        let (mut serve, mut open) = (Run::start(self.serve(port)), Run::start(self.open()));
        serve.says_within(patience, "tunnel up");
        open.says("tunnel up");
        (serve, open)
    }

    /// Opens a TCP port of a host's loopback.
    pub(crate) fn listen(&self, side: Side, port: u16) -> TcpListener {
        let bind = || TcpListener::bind((Ipv4Addr::LOCALHOST, port));
        self.lab.host(side).enter(bind).expect("entered").expect("the port is free")
    }

    /// Connects to a TCP port of a host's loopback.
    pub(crate) fn dial(&self, side: Side, port: u16) -> std::io::Result<TcpStream> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let tcp = self.lab.host(side).enter(|| TcpStream::connect(address)).expect("entered")?;
        tcp.set_read_timeout(Some(PATIENCE))?;
        Ok(tcp)
    }

    /// Waits until a program on a host accepts connections.
    pub(crate) fn await_port(&self, side: Side, port: u16) {
        let until = Instant::now() + PATIENCE;
        while self.dial(side, port).is_err() {
            assert!(Instant::now() < until, "port {port} of host {side:?} does not accept");
            thread::sleep(LOOK);
        }
    }

    fn pinhole(&self, side: Side, option: &str, port: u16) -> Command {
        let peer = self.lab.side(side.other()).public_ip().to_string();
        let mut command = self.lab.host(side).command(env!("CARGO_BIN_EXE_pinhole"));
        isolate(&mut command);
        command.args([option, &port.to_string(), &peer]).env("PINHOLE_KEY", KEY);
        command
    }
}

/// Describes a laboratory by the presets of its two sides.
pub(crate) fn between(a: &str, b: &str) -> LabSpec {
    let preset = |name| NatSpec::preset(name).expect("a preset");
    LabSpec::new(preset(a), preset(b))
}

#[expect(clippy::print_stderr, reason = "figures and skips must be seen where the test's result is read")]
pub(crate) fn note(text: &str) {
    eprintln!("{text}");
}
