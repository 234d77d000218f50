//! Two hosts behind NATs, the program on both, and a service.
//!
//! The serve side is A, the open side B.

use std::{
    fs,
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::PathBuf,
    time::{Duration, Instant},
};

use natlab::{Lab, LabSpec, LinkSpec, NatSpec, Side};
use tempfile::TempDir;

use super::{
    clock::WallClock,
    program::{KEY, Line, Program},
    talk::is_pause,
};

/// TCP ports of the service on host A and of the tunnel on host B.
const SERVICE_PORT: u16 = 7000;
const LOCAL_PORT: u16 = 2222;

/// One-way delay of the link.
const DELAY: Duration = Duration::from_millis(20);

/// Longest wait for something that must happen before any fault; two NATs meet by chance within that.
const PATIENCE: Duration = Duration::from_secs(90);

/// Longest wait of one read or accept; who waits longer looks again.
const LOOK: Duration = Duration::from_millis(200);

/// Runs what follows in a mount namespace of its own, in which a file stands in the place of /etc/hosts.
const WITH_HOSTS: &str = r#"mount --bind "$0" /etc/hosts && exec "$@""#;

/// How a stage differs from the plain one.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Props {
    /// The side that is known to the other one by a name rather than by its address.
    pub(crate) named: Option<Side>,
    /// The side whose wall clock can jump.
    pub(crate) clock: Option<Side>,
}

/// A laboratory with the program on both hosts. Fields are dropped in this order.
pub(crate) struct Stage {
    programs: [Option<Program>; 2],
    service: TcpListener,
    pub(crate) lab: Lab,
    clock: Option<WallClock>,
    props: Props,
    folder: TempDir,
}

impl Stage {
    /// Builds the laboratory; nothing runs on its hosts yet.
    pub(crate) fn build(pair: [&str; 2], props: Props) -> Result<Stage, String> {
        let [serve, open] = pair.map(|name| name.parse::<NatSpec>().map_err(|e| e.to_string()));
        let spec = LabSpec::new(serve?, open?).with_link(usual_link()).with_changeable_link();
        let lab = Lab::build(spec).map_err(|e| e.to_string())?;
        let folder = tempfile::tempdir().map_err(|e| format!("no folder: {e}"))?;
        let clock = props.clock.map(|_| WallClock::new(folder.path())).transpose()?;
        let service = listen(&lab)?;
        let stage = Stage { programs: [None, None], service, lab, clock, props, folder };
        stage.tell_names()?;
        Ok(stage)
    }

    /// Starts the program on both hosts and waits until both say that the tunnel is up.
    pub(crate) fn connect(&mut self) -> Result<(), String> {
        let begun = Instant::now();
        Side::BOTH.into_iter().try_for_each(|side| self.start(side))?;
        let up = Side::BOTH.into_iter().try_for_each(|side| self.wait_for(side, "tunnel_up", PATIENCE));
        up.map_err(|why| format!("{why}; they said:\n    {}", self.said_since(begun).join("\n    ")))
    }

    /// Starts the program on a host, in the place of one that may have run there.
    pub(crate) fn start(&mut self, side: Side) -> Result<(), String> {
        let peer = if self.props.named == Some(side.other()) {
            name(side.other()).to_owned()
        } else {
            self.lab.side(side.other()).public_ip().to_string()
        };
        let [verb, spec] = match side {
            Side::A => ["serve".to_owned(), format!("it=127.0.0.1:{SERVICE_PORT}")],
            Side::B => ["open".to_owned(), format!("{LOCAL_PORT}:it")],
        };
        let mut command = self.lab.host(side).command("unshare");
        command.args(["--mount", "--propagation", "private", "sh", "-c", WITH_HOSTS]).arg(self.hosts());
        command.args([env!("CARGO_BIN_EXE_pinhole"), &verb, &spec, "--peer", &peer, "--json"]);
        for name in ["XDG_CONFIG_HOME", "XDG_DATA_HOME"] {
            command.env_remove(name);
        }
        command.env("PINHOLE_KEY", KEY).env("HOME", self.folder.path()).env("XDG_STATE_HOME", "/dev/null");
        if let Some(clock) = self.clock.as_ref().filter(|_| self.props.clock == Some(side)) {
            clock.rule(&mut command);
        }
        self.programs[side.index()] = Some(Program::start(command)?);
        Ok(())
    }

    /// Waits for an event of a side's program.
    pub(crate) fn wait_for(&mut self, side: Side, event: &str, patience: Duration) -> Result<(), String> {
        let event = self.program(side).wait_for(&format!(r#""event":"{event}""#), patience);
        event.map(drop).map_err(|why| format!("{}: {why}", name(side)))
    }

    /// Returns a side's program.
    ///
    /// # Panics
    /// Before it was started.
    pub(crate) fn program(&mut self, side: Side) -> &mut Program {
        self.programs[side.index()].as_mut().expect("it was started")
    }

    /// Returns the clock that can jump.
    pub(crate) fn clock(&self) -> Result<&WallClock, String> {
        self.clock.as_ref().ok_or_else(|| "this stage's clocks do not jump".to_owned())
    }

    /// Opens a connection through the tunnel and returns both ends of it: the client's and the service's.
    pub(crate) fn dial(&self) -> Result<[TcpStream; 2], String> {
        let client = self.dial_local()?;
        let until = Instant::now() + PATIENCE;
        loop {
            match self.service.accept() {
                Ok((service, _)) => return ready(client, service).map_err(|e| format!("connecting: {e}")),
                Err(error) if is_pause(&error) && Instant::now() < until => std::thread::sleep(LOOK / 10),
                Err(error) => return Err(format!("the service gets no connection: {error}")),
            }
        }
    }

    /// Lets the names mean the addresses that the sides have now.
    pub(crate) fn tell_names(&self) -> Result<(), String> {
        let lines = Side::BOTH.map(|side| format!("{} {}\n", self.lab.side(side).public_ip(), name(side)));
        // Written in place: a new file would not be the one that is bound.
        fs::write(self.hosts(), format!("127.0.0.1 localhost\n{}", lines.concat()))
            .map_err(|e| format!("the names cannot be told: {e}"))
    }

    /// Returns what both programs said from then on, each line with the seconds since.
    pub(crate) fn said_since(&mut self, then: Instant) -> Vec<String> {
        let mut said = Vec::new();
        for side in Side::BOTH {
            let Some(program) = &mut self.programs[side.index()] else { continue };
            let lines = program.said().iter().filter(|line| line.at >= then);
            let after = |line: &Line| (line.at - then).as_secs_f64();
            said.extend(lines.map(|line| format!("{}, {:.1} s: {}", name(side), after(line), line.text)));
        }
        said
    }

    fn dial_local(&self) -> Result<TcpStream, String> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, LOCAL_PORT));
        let dialled = self.lab.host(Side::B).enter(|| TcpStream::connect(address));
        dialled.map_err(|e| e.to_string())?.map_err(|e| format!("the local port: {e}"))
    }

    fn hosts(&self) -> PathBuf {
        self.folder.path().join("hosts")
    }
}

/// Returns what the link does when nothing is wrong.
pub(crate) fn usual_link() -> LinkSpec {
    LinkSpec::delayed(DELAY)
}

/// Sends a byte from one end and waits for it at the other.
pub(crate) fn pass_byte(from: &TcpStream, to: &TcpStream, patience: Duration) -> Result<(), String> {
    let (mut from, mut to) = (from, to);
    from.write_all(b"?").map_err(|e| format!("writing: {e}"))?;
    let until = Instant::now() + patience;
    let mut byte = [0];
    loop {
        match to.read(&mut byte) {
            Ok(1) if byte == *b"?" => return Ok(()),
            Ok(0) => return Err("it ended".to_owned()),
            Ok(_) => return Err("another byte came".to_owned()),
            Err(error) if is_pause(&error) && Instant::now() < until => {}
            Err(error) => return Err(format!("reading: {error}")),
        }
    }
}

/// Names a side.
pub(crate) fn name(side: Side) -> &'static str {
    match side {
        Side::A => "serve.lab",
        Side::B => "open.lab",
    }
}

fn listen(lab: &Lab) -> Result<TcpListener, String> {
    let bind = || TcpListener::bind((Ipv4Addr::LOCALHOST, SERVICE_PORT));
    let service = lab.host(Side::A).enter(bind).map_err(|e| e.to_string())?;
    let service = service.map_err(|e| format!("the service's port: {e}"))?;
    service.set_nonblocking(true).map_err(|e| e.to_string())?;
    Ok(service)
}

fn ready(client: TcpStream, service: TcpStream) -> std::io::Result<[TcpStream; 2]> {
    service.set_nonblocking(false)?;
    for end in [&client, &service] {
        end.set_nodelay(true)?;
        end.set_read_timeout(Some(LOOK))?;
    }
    Ok([client, service])
}
