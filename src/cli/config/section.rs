//! What a section may say: the options of `serve` and `open`, by the same names and with the same parsers.

use std::{
    collections::BTreeMap,
    fmt,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    str::FromStr,
    time::Duration,
};

use pinhole::forward::{OpenSpec, ServeSpec};
use serde::{
    Deserialize, Deserializer,
    de::{Error, SeqAccess, Visitor},
};
use toml::Spanned;

use crate::cli::{
    args::{self, Common, KeySource, LimitArgs, PipeArgs, When},
    message::Message,
};

/// The whole file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Document {
    #[serde(default)]
    pub(super) peer: BTreeMap<Spanned<String>, Section>,
}

/// What is said of one peer.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(in crate::cli) struct Section {
    /// Public IPv4 address or name; the section's name if it is not there.
    pub(in crate::cli) peer: Option<String>,
    #[serde(alias = "udp-port", deserialize_with = "udp_port")]
    pub(in crate::cli) port: Option<u16>,
    #[serde(deserialize_with = "specs")]
    pub(in crate::cli) serve: Vec<ServeSpec>,
    #[serde(deserialize_with = "specs")]
    pub(in crate::cli) open: Vec<OpenSpec>,
    key_file: Option<PathBuf>,
    #[serde(deserialize_with = "ip")]
    bind: Option<Ipv4Addr>,
    #[serde(deserialize_with = "seconds")]
    wait: Option<Duration>,
    #[serde(deserialize_with = "seconds")]
    patience: Option<Duration>,
    #[serde(deserialize_with = "mappings")]
    max_mappings: Option<u16>,
    #[serde(deserialize_with = "packets")]
    max_pps: Option<u16>,
    gentle: bool,
    compress: Option<When>,
    json: bool,
    #[serde(deserialize_with = "status")]
    status: Option<SocketAddr>,
    status_public: bool,
}

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
    pub(in crate::cli) fn fill(&self, common: &mut Common) {
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

    pub(in crate::cli) fn fill_pipe(&self, args: &mut PipeArgs) {
        self.fill_key(&mut args.key);
        self.fill_limits(&mut args.limits);
        args.bind = args.bind.or(self.bind);
        args.wait = args.wait.or(self.wait);
        args.patience = args.patience.or(self.patience);
        args.compress = args.compress.or(self.compress);
    }

    pub(in crate::cli) fn fill_key(&self, key: &mut KeySource) {
        if key.key.is_none() && key.key_file.is_none() {
            key.key_file.clone_from(&self.key_file);
        }
    }

    /// One bound that was typed is all of them.
    pub(in crate::cli) fn fill_limits(&self, limits: &mut LimitArgs) {
        if limits.max_mappings.is_none() && limits.max_pps.is_none() && !limits.gentle {
            *limits =
                LimitArgs { max_mappings: self.max_mappings, max_pps: self.max_pps, gentle: self.gentle };
        }
    }

    pub(in crate::cli) fn bind(&self) -> Option<Ipv4Addr> {
        self.bind
    }

    pub(in crate::cli) fn key_file(&self) -> Option<&Path> {
        self.key_file.as_deref()
    }
}

/// What could be typed, a number without quotes too.
struct Word(String);

impl<'de> Deserialize<'de> for Word {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Words;
        impl Visitor<'_> for Words {
            type Value = Word;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text or a number")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Word, E> {
                Ok(Word(text.to_owned()))
            }

            fn visit_i64<E: Error>(self, number: i64) -> Result<Word, E> {
                Ok(Word(number.to_string()))
            }

            fn visit_f64<E: Error>(self, number: f64) -> Result<Word, E> {
                Ok(Word(number.to_string()))
            }
        }
        from.deserialize_any(Words)
    }
}

/// Something that is typed as one word.
struct Typed<T>(T);

impl<'de, T: FromStr<Err: fmt::Display>> Deserialize<'de> for Typed<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let Word(text) = Word::deserialize(from)?;
        text.parse().map(Self).map_err(Error::custom)
    }
}

/// A list of what is forwarded.
fn specs<'de, D: Deserializer<'de>, T: FromStr<Err: fmt::Display>>(from: D) -> Result<Vec<T>, D::Error> {
    struct List<T>(std::marker::PhantomData<T>);
    impl<'de, T: FromStr<Err: fmt::Display>> Visitor<'de> for List<T> {
        type Value = Vec<T>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a list like [\"22\"]")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<T>, A::Error> {
            let mut specs = Vec::new();
            while let Some(Typed(spec)) = list.next_element()? {
                specs.push(spec);
            }
            Ok(specs)
        }
    }
    from.deserialize_any(List(std::marker::PhantomData))
}

fn parsed<'de, D: Deserializer<'de>, T>(
    from: D,
    parse: fn(&str) -> Result<T, Message>,
) -> Result<Option<T>, D::Error> {
    let Word(text) = Word::deserialize(from)?;
    parse(&text).map(Some).map_err(Error::custom)
}

fn udp_port<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u16>, D::Error> {
    parsed(from, args::parse_udp_port)
}

fn seconds<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Duration>, D::Error> {
    parsed(from, args::parse_seconds)
}

fn mappings<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u16>, D::Error> {
    parsed(from, args::parse_max_mappings)
}

fn packets<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u16>, D::Error> {
    parsed(from, args::parse_max_pps)
}

fn status<'de, D: Deserializer<'de>>(from: D) -> Result<Option<SocketAddr>, D::Error> {
    parsed(from, args::parse_status)
}

fn ip<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Ipv4Addr>, D::Error> {
    parsed(from, |text| text.parse().map_err(|_| Message::NoIpv4(text.to_owned())))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::cli::args::Cli;

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
