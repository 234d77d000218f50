//! The parts of the report.

mod compress;
mod idle;
mod links;
mod requests;
mod streams;
mod veth;

use clap::ValueEnum;

use crate::{
    bars::{self, Bar},
    document,
    options::Options,
    plot::Plot,
    table::Table,
};

/// What can be measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Part {
    /// One flow in each direction and a one-byte echo, over virtual Ethernet
    Veth,
    /// The same without segmentation offload
    Plain,
    /// One flow over links with delay, loss and a buffer, and the round trip meanwhile
    Links,
    /// Connections with one request each
    Requests,
    /// 1 to 10,000 streams at once
    Streams,
    /// 10,000 connections that do nothing
    Idle,
    /// Text and incompressible data over a narrow link, and the latter over virtual Ethernet
    Compress,
}

impl Part {
    fn run(self, options: &Options) -> Result<Section, String> {
        match self {
            Part::Veth => veth::run(options, true),
            Part::Plain => veth::run(options, false),
            Part::Links => links::run(options),
            Part::Requests => requests::run(options),
            Part::Streams => streams::run(options),
            Part::Idle => idle::run(options),
            Part::Compress => compress::run(options),
        }
    }
}

/// What a part has found.
pub(crate) struct Section {
    /// Its mark in the document, and its name on the command line.
    pub(crate) name: &'static str,
    pub(crate) title: &'static str,
    pub(crate) tables: Vec<Table>,
    pub(crate) bars: Vec<Bar>,
    pub(crate) plots: Vec<Plot>,
    /// Why something could not be measured.
    pub(crate) undone: Vec<String>,
}

impl Section {
    fn new(name: &'static str, title: &'static str) -> Section {
        let (tables, bars, plots, undone) = Default::default();
        Section { name, title, tables, bars, plots, undone }
    }
}

/// Measures whatever is wanted, and tells of each part as soon as it is done; one that fails does not keep the others
/// from it.
pub(crate) fn run(options: &Options) -> Result<(), String> {
    let mut failed = Vec::new();
    for part in Part::value_variants().iter().filter(|part| options.wants_part(**part)) {
        let done = part.run(options).and_then(|section| {
            show(&section);
            if options.write { document::write(&section, options) } else { Ok(()) }
        });
        failed.extend(done.err());
    }
    if failed.is_empty() { Ok(()) } else { Err(failed.join("\nspeed: ")) }
}

fn show(section: &Section) {
    println!("\n## {}\n", section.title);
    section.tables.iter().for_each(|table| println!("{}", table.markdown()));
    if !section.bars.is_empty() {
        println!("{}", bars::table(&section.bars).markdown());
    }
    section.undone.iter().for_each(|why| println!("! {why}"));
}
