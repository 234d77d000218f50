//! The parts of the report.

mod veth;

use clap::ValueEnum;

use crate::{options::Options, table::Table};

/// What can be measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Part {
    /// One flow in each direction and a one-byte echo, over virtual Ethernet
    Veth,
    /// The same without segmentation offload
    Plain,
}

/// What a part has found.
pub(crate) struct Section {
    pub(crate) title: &'static str,
    pub(crate) tables: Vec<Table>,
    /// Why something could not be measured.
    pub(crate) undone: Vec<String>,
}

/// Measures whatever is wanted.
pub(crate) fn run(options: &Options) -> Result<(), String> {
    let mut sections = Vec::new();
    for part in Part::value_variants() {
        if options.wants_part(*part) {
            let section = match part {
                Part::Veth => veth::run(options, true)?,
                Part::Plain => veth::run(options, false)?,
            };
            show(&section);
            sections.push(section);
        }
    }
    Ok(())
}

fn show(section: &Section) {
    println!("\n{}\n", section.title);
    section.tables.iter().for_each(|table| println!("{}", table.markdown()));
    section.undone.iter().for_each(|why| println!("! {why}"));
}
