//! What a section may say: the options of `serve` and `open`, by the same names and with the same parsers.

use std::{net::Ipv4Addr, path::Path};

use super::document::Section;
use crate::args::{Common, KeySource, LimitArgs, PipeArgs};

impl Section {
    /// Makes the key file's path one that holds wherever the program is started: `~/` is the user's home, and what is
    /// not absolute is looked for beside the file of peers.
    pub(super) fn complete(&mut self, folder: &Path) {
        if let Some(file) = &mut self.key_file {
            *file = match (file.strip_prefix("~"), etcetera::home_dir()) {
                (Ok(rest), Ok(home)) => home.join(rest),
                _ => folder.join(&file),
            };
        }
    }

    /// Adds what was not typed.
    pub(crate) fn fill(&self, common: &mut Common) {
        self.fill_key(&mut common.key);
        self.fill_limits(&mut common.limits);
        common.bind = common.bind.or(self.bind);
        common.wait = common.wait.or(self.wait);
        common.patience = common.patience.or(self.patience);
        common.compress = common.compress.or(self.compress);
        common.json |= self.json;
        if common.status.is_none() {
            common.status = self.status;
            common.status_public |= self.status_public;
        }
    }

    pub(crate) fn fill_pipe(&self, args: &mut PipeArgs) {
        self.fill_key(&mut args.key);
        self.fill_limits(&mut args.limits);
        args.bind = args.bind.or(self.bind);
        args.wait = args.wait.or(self.wait);
        args.patience = args.patience.or(self.patience);
        args.compress = args.compress.or(self.compress);
    }

    pub(crate) fn fill_key(&self, key: &mut KeySource) {
        if key.key.is_none() && key.key_file.is_none() {
            key.key_file.clone_from(&self.key_file);
        }
    }

    /// One bound that was typed is all of them.
    pub(crate) fn fill_limits(&self, limits: &mut LimitArgs) {
        if limits.max_mappings.is_none() && limits.max_pps.is_none() && !limits.gentle {
            *limits =
                LimitArgs { max_mappings: self.max_mappings, max_pps: self.max_pps, gentle: self.gentle };
        }
    }

    pub(crate) fn bind(&self) -> Option<Ipv4Addr> {
        self.bind
    }

    pub(crate) fn key_file(&self) -> Option<&Path> {
        self.key_file.as_deref()
    }
}

#[cfg(test)]
mod tests {
    use std::{net::SocketAddr, time::Duration};

    use clap::CommandFactory;

    use super::*;
    use crate::{args::Cli, config::document::Document};

    fn read(text: &str) -> Section {
        let document: Document = toml::from_str(text).expect(text);
        document.peer.into_values().next().expect("a section")
    }

    /// Whoever adds an option adds it here, or says why not.
    #[test]
    fn every_option_of_serve_and_open_has_its_key() {
        let not_here = ["config", "help", "key", "own-phrase"]; // a key file says itself that it has one
        let unknown = toml::from_str::<Document>("[peer.x]\nno = 1\n").expect_err("unknown").to_string();
        for verb in ["serve", "open"] {
            let command = Cli::command();
            let verb = command.find_subcommand(verb).expect("there");
            for long in verb.get_arguments().filter_map(clap::Arg::get_long) {
                let has_key = unknown.contains(&format!("`{long}`"));
                assert!(has_key != not_here.contains(&long), "--{long}: {unknown}");
            }
        }
    }

    #[test]
    fn what_is_typed_comes_first() {
        let section = read(
            "[peer.home]\nwait = 30\npatience = 0.5\nbind = \"127.0.0.2\"\nmax-pps = 600\ngentle = true\n",
        );
        let mut common = Common { wait: Some(Duration::from_secs(5)), ..Common::default() };
        common.limits.max_mappings = Some(200);
        section.fill(&mut common);
        assert_eq!(common.wait, Some(Duration::from_secs(5)));
        assert_eq!(common.patience, Some(Duration::from_millis(500)));
        assert_eq!(common.bind, Some(Ipv4Addr::new(127, 0, 0, 2)));
        assert_eq!((common.limits.max_pps, common.limits.gentle), (None, false));
    }

    #[test]
    fn a_page_for_everybody_is_not_made_of_one_half_each() {
        let section = read("[peer.home]\nstatus = \"0.0.0.0:1\"\nstatus-public = true\n");
        let typed: SocketAddr = "0.0.0.0:2".parse().expect("an address");
        let mut common = Common { status: Some(typed), ..Common::default() };
        section.fill(&mut common);
        assert_eq!((common.status, common.status_public), (Some(typed), false));
    }

    #[test]
    fn a_key_file_is_looked_for_beside_the_file_of_peers() {
        for (written, meant) in [("home.key", "/etc/pinhole/home.key"), ("/k", "/k")] {
            let mut section = read(&format!("[peer.home]\nkey-file = {written:?}\n"));
            section.complete(Path::new("/etc/pinhole"));
            assert_eq!(section.key_file(), Some(Path::new(meant)));
        }
    }
}
