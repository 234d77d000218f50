//! The file's text, read: sections by their names, and what is wrong with it.

use std::{
    collections::BTreeMap,
    fmt,
    net::{Ipv4Addr, SocketAddr},
    ops::Range,
    path::PathBuf,
    str::FromStr,
    time::Duration,
};

use pinhole::forward::{OpenSpec, ServeSpec};
use serde::{
    Deserialize, Deserializer,
    de::{Error, SeqAccess, Visitor},
};
use toml::Spanned;

use crate::{
    args::{self, When},
    message::Message,
};

/// How alike two names must be for one to be a slip of the other, from 0 to 1.
const ALIKE: f64 = 0.75;

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
pub(crate) struct Section {
    /// Public IPv4 address or name; the section's name if it is not there.
    pub(crate) peer: Option<String>,
    #[serde(alias = "udp-port", deserialize_with = "udp_port")]
    pub(crate) port: Option<u16>,
    #[serde(deserialize_with = "specs")]
    pub(crate) serve: Vec<ServeSpec>,
    #[serde(deserialize_with = "specs")]
    pub(crate) open: Vec<OpenSpec>,
    pub(super) key_file: Option<PathBuf>,
    #[serde(deserialize_with = "ip")]
    pub(super) bind: Option<Ipv4Addr>,
    #[serde(deserialize_with = "seconds")]
    pub(super) wait: Option<Duration>,
    #[serde(deserialize_with = "seconds")]
    pub(super) patience: Option<Duration>,
    #[serde(deserialize_with = "mappings")]
    pub(super) max_mappings: Option<u16>,
    #[serde(deserialize_with = "packets")]
    pub(super) max_pps: Option<u16>,
    pub(super) gentle: bool,
    pub(super) compress: Option<When>,
    pub(super) json: bool,
    #[serde(deserialize_with = "status")]
    pub(super) status: Option<SocketAddr>,
    pub(super) status_public: bool,
}

/// What is wrong with the text, and where.
#[derive(Debug)]
pub(super) struct Mistake {
    pub(super) span: Option<Range<usize>>,
    pub(super) why: String,
}

impl Document {
    /// Reads the text of the file.
    pub(super) fn read(text: &str) -> Result<Self, Mistake> {
        toml::from_str(text).map_err(|error| Mistake { span: error.span(), why: explain(&error) })
    }
}

/// Returns which of the words somebody meant, if it is one of them at all.
pub(crate) fn similar<'a>(typed: &str, words: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let alike =
        words.map(|word| (strsim::jaro_winkler(typed, word), word)).filter(|(alike, _)| *alike > ALIKE);
    alike.max_by(|(a, _), (b, _)| a.total_cmp(b)).map(|(_, word)| word)
}

/// Says what is wrong, and what was meant if a key is not known.
fn explain(error: &toml::de::Error) -> String {
    let message = error.message();
    let message = message.lines().collect::<Vec<_>>().join(": ");
    if message.starts_with("invalid float") {
        return "an address is text: write it in quotes, as in peer = \"203.0.113.9\"".into();
    }
    let Some(rest) = message.strip_prefix("unknown field `") else { return message };
    let mut words = rest.split('`');
    let typed = words.next().unwrap_or_default();
    let known: Vec<&str> = words.skip(1).step_by(2).collect();
    match typed {
        "key" => "a key does not belong into this file, which others may read: use `key-file`".into(),
        "peers" => "there is no `peers`: a section is called [peer.NAME]".into(),
        "debug" | "d" => format!("there is no `{typed}`: -d is typed"),
        _ if known.as_slice() == ["peer"] => {
            format!("there is no `{typed}` outside of a section: begin one with [peer.NAME]")
        }
        _ => match similar(typed, known.iter().copied()) {
            Some(meant) => format!("there is no `{typed}`: did you mean `{meant}`?"),
            None => format!("there is no `{typed}`; there are {}", known.join(", ")),
        },
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
