//! The half that this machine's kernel fills: the program itself between NATs of nftables.

use std::{
    fs,
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use natlab::{Lab, LabSpec, LinkSpec, NatSpec, Side, kernel::supports};

use crate::{
    cell::{Cell, Half, Kind, Run},
    machine,
    model::{in_order, pairs},
    options::Options,
    program::KEY,
    watched::Watched,
};

/// One-way delay of the link.
const DELAY: Duration = Duration::from_millis(20);

/// Time from the later start after which a run has failed.
const PATIENCE: Duration = Duration::from_secs(20);

/// How often is looked at events, and how often at the boxes as well.
const LOOK: Duration = Duration::from_millis(25);
const LOOKS_TO_A_SAMPLE: u32 = 10;

/// Fills the half; each row is shown as soon as it is full.
pub(crate) fn run(presets: &[NatSpec], options: &Options, show: impl Fn(&[Cell])) -> Half {
    let able: Vec<NatSpec> = presets.iter().filter(|spec| supports(spec).is_ok()).cloned().collect();
    for spec in presets.iter().filter(|spec| supports(spec).is_err()) {
        println!("not in the kernel: {spec}");
    }
    let tasks = pairs(&able);
    let work = |index: usize| fill(&tasks[index], index, options);
    let cells = in_order(tasks.len(), options.jobs, work, |cells: &[Cell]| {
        if cells.len().is_multiple_of(able.len()) {
            show(&cells[cells.len() - able.len()..]);
        }
    });
    Half { kind: Kind::Kernel, setting: setting(options), presets: able, cells }
}

fn setting(options: &Options) -> String {
    let runs = if options.kernel == 1 { "run" } else { "runs" };
    let offsets: Vec<String> = options.offset.iter().map(f64::to_string).collect();
    format!(
        "{} {runs} a pair; either side starts {} s before the other; 20 ms each way, no loss, one clock; failed after \
         20 s; {}",
        options.kernel,
        offsets.join(", "),
        machine::kernel()
    )
}

/// Does every run of a pair; one that this machine cannot do is told of and left out.
fn fill([serve, open]: &[NatSpec; 2], index: usize, options: &Options) -> Cell {
    let run = |number: u32| {
        let turn = number as usize;
        let offset = options.offset[turn % options.offset.len()];
        let first = Side::BOTH[(turn / options.offset.len() + index) % 2];
        let run = Trial::build(serve, open).and_then(|trial| trial.run(number.into(), first, offset));
        run.inspect_err(|why| println!("! {serve} × {open}, run {number}, not done: {why}")).ok()
    };
    Cell { serve: serve.clone(), open: open.clone(), runs: (0..options.kernel).filter_map(run).collect() }
}

/// One run in one laboratory.
struct Trial {
    lab: Lab,
    home: Home,
    flow_peak: usize,
}

impl Trial {
    fn build(serve: &NatSpec, open: &NatSpec) -> Result<Trial, String> {
        let spec = LabSpec::new(serve.clone(), open.clone()).with_link(LinkSpec::delayed(DELAY));
        let lab = Lab::build(spec).map_err(|e| e.to_string())?;
        Ok(Trial { lab, home: Home::new()?, flow_peak: 0 })
    }

    fn run(mut self, seed: u64, first: Side, offset_s: f64) -> Result<Run, String> {
        let mut early = self.start(first)?;
        self.watch(&mut [&mut early], Instant::now() + Duration::from_secs_f64(offset_s));
        let mut late = self.start(first.other())?;
        let until = late.started + PATIENCE;
        self.watch(&mut [&mut early, &mut late], until);
        let packets = self.packets();
        if !early.is_running() || !late.is_running() {
            return Err("a program ended by itself".to_owned());
        }
        let connected = early.punched.zip(late.punched).filter(|(one, other)| one.at.max(other.at) <= until);
        let seconds = connected.map(|(one, other)| (one.at.max(other.at) - late.started).as_secs_f64());
        let open = if first == Side::B { early.punched } else { late.punched };
        let method = open.and_then(|punched| punched.method);
        early.interrupt();
        late.interrupt();
        Ok(Run { seed, seconds, method, packets, packets_in_a_second: None, flow_peak: self.flow_peak })
    }

    fn start(&self, side: Side) -> Result<Watched, String> {
        let (verb, spec) = match side {
            Side::A => ("serve", "it=127.0.0.1:9"),
            Side::B => ("open", "2222:it"),
        };
        let peer = self.lab.side(side.other()).public_ip().to_string();
        let mut command = self.lab.host(side).command(env!("CARGO_BIN_EXE_pinhole"));
        command.args([verb, spec, "--peer", &peer, "--json", "--key-file"]).arg(self.home.key());
        for name in ["PINHOLE_KEY", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME"] {
            command.env_remove(name);
        }
        command.env("HOME", self.home.path());
        Watched::start(command)
    }

    /// Watches programs and boxes until all programs have punched, or one has ended, or then.
    fn watch(&mut self, programs: &mut [&mut Watched], until: Instant) {
        let mut looks = 0;
        loop {
            programs.iter_mut().for_each(|program| program.listen());
            let is_over = programs.iter_mut().all(|program| program.punched.is_some())
                || programs.iter_mut().any(|program| !program.is_running());
            let is_over = is_over && programs.len() > 1 || Instant::now() >= until;
            if is_over || looks % LOOKS_TO_A_SAMPLE == 0 {
                self.sample();
            }
            if is_over {
                return;
            }
            looks += 1;
            thread::sleep(LOOK.min(until.saturating_duration_since(Instant::now())));
        }
    }

    fn sample(&mut self) {
        let boxes = Side::BOTH.into_iter().flat_map(|side| self.lab.side(side).boxes());
        let counts = boxes.filter_map(|nat| nat.conntrack_count().ok());
        self.flow_peak = counts.max().unwrap_or(0).max(self.flow_peak);
    }

    /// Returns the UDP datagrams that both hosts have sent so far.
    fn packets(&self) -> u64 {
        let read = || fs::read_to_string("/proc/thread-self/net/snmp").unwrap_or_default();
        let texts = Side::BOTH.into_iter().filter_map(|side| self.lab.host(side).enter(read).ok());
        texts.filter_map(|text| sent_datagrams(&text)).sum()
    }
}

/// Reads a host's counters (proc_net_snmp: a line of names, a line of figures).
pub(crate) fn sent_datagrams(snmp: &str) -> Option<u64> {
    let mut lines = snmp.lines().filter(|line| line.starts_with("Udp:"));
    let (names, figures) = (lines.next()?, lines.next()?);
    let index = names.split_whitespace().position(|name| name == "OutDatagrams")?;
    figures.split_whitespace().nth(index)?.parse().ok()
}

/// A home with a key file and nothing else: what one run remembers must not help the next. Gone when dropped.
struct Home {
    folder: tempfile::TempDir,
}

impl Home {
    fn new() -> Result<Home, String> {
        let home = Home { folder: tempfile::tempdir().map_err(|e| format!("no home: {e}"))? };
        let mut options = fs::OpenOptions::new();
        let file = options.write(true).create_new(true).mode(0o600).open(home.key());
        file.and_then(|mut file| writeln!(file, "{KEY}")).map_err(|e| format!("no key file: {e}"))?;
        Ok(home)
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn key(&self) -> PathBuf {
        self.path().join("key")
    }
}
