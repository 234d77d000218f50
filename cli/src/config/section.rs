//! What a section may say: the options of `serve` and `open`, by the same names and with the same parsers.

use std::path::Path;

use super::document::Section;
use crate::args::{Common, KeySource, LimitArgs, PipeArgs, TunnelArgs};

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
        common.tunnel.fill(&self.tunnel());
        common.json |= self.json;
        if common.status.is_none() {
            common.status = self.status;
            common.status_public |= self.status_public;
        }
    }

    pub(crate) fn fill_pipe(&self, args: &mut PipeArgs) {
        self.fill_key(&mut args.key);
        args.tunnel.fill(&self.tunnel());
    }

    /// Returns the options of the tunnel.
    pub(crate) fn tunnel(&self) -> TunnelArgs {
        let &Self { bind, wait, patience, max_mappings, max_pps, gentle, compress, .. } = self;
        TunnelArgs { bind, wait, patience, limits: LimitArgs { max_mappings, max_pps, gentle }, compress }
    }

    pub(crate) fn fill_key(&self, key: &mut KeySource) {
        if key.key.is_none() && key.key_file.is_none() {
            key.key_file.clone_from(&self.key_file);
        }
    }

    pub(crate) fn key_file(&self) -> Option<&Path> {
        self.key_file.as_deref()
    }
}

#[cfg(test)]
mod tests {
    use std::{
        net::{Ipv4Addr, SocketAddr},
        time::Duration,
    };

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
        let mut common = Common::default();
        common.tunnel.wait = Some(Duration::from_secs(5));
        common.tunnel.limits.max_mappings = Some(200);
        section.fill(&mut common);
        let tunnel = common.tunnel;
        assert_eq!(tunnel.wait, Some(Duration::from_secs(5)));
        assert_eq!(tunnel.patience, Some(Duration::from_millis(500)));
        assert_eq!(tunnel.bind, Some(Ipv4Addr::new(127, 0, 0, 2)));
        assert_eq!((tunnel.limits.max_pps, tunnel.limits.gentle), (None, false));
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
