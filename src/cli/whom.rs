//! Who is meant: an address or a name that was typed, or a name of the file of peers.

use std::str::FromStr;

use anyhow::{Result, anyhow, bail};
use pinhole::{
    Peer,
    endpoint::{DEFAULT_PORT, PeerError, StartError},
    forward::SpecError,
};

use super::{
    args::{ConfigArgs, PeerArgs},
    config::{Peers, Section, is_name},
    tunnel::advise,
};

/// The peer as it was meant.
#[derive(Debug)]
pub(super) struct Whom {
    pub(super) peer: Peer,
    /// What the file says of it, nothing if it is not there.
    pub(super) section: Section,
    /// What could have been meant, if no such peer can be found.
    hint: Option<String>,
}

impl Whom {
    /// Finds out who is meant by a word.
    pub(super) fn find(typed: &str, port: Option<u16>, config: &ConfigArgs) -> Result<Self> {
        if !is_name(typed) {
            let peer = Peer::new(typed, port.unwrap_or(DEFAULT_PORT));
            return Ok(Self { peer, section: Section::default(), hint: None });
        }
        let peers = Peers::read(config.config.as_deref())?;
        let section = peers.get(typed).cloned();
        let hint = section.is_none().then(|| peers.say_names(typed));
        let section = section.unwrap_or_default();
        let port = port.or(section.port).unwrap_or(DEFAULT_PORT);
        let peer = Peer::new(section.peer.as_deref().unwrap_or(typed), port);
        Ok(Self { peer, section, hint })
    }

    /// Adds the way out to a start that failed.
    pub(super) fn advise(&self, error: StartError) -> anyhow::Error {
        let is_unknown = matches!(error, StartError::Peer(PeerError::Unresolved(_)));
        match &self.hint {
            Some(hint) if is_unknown => anyhow!("{:#}; {hint}", advise(error)),
            Some(_) | None => advise(error),
        }
    }
}

/// What was typed behind `serve` or `open`, told apart. What is to be forwarded is the section's if nothing was typed.
pub(super) fn sort<S: FromStr<Err = SpecError> + Clone>(
    words: &[String],
    named: &PeerArgs,
    config: &ConfigArgs,
    of_section: fn(&Section) -> &Vec<S>,
) -> Result<(Vec<S>, Whom)> {
    let (mut peer, mut specs) = (named.peer.as_deref(), Vec::new());
    for word in words {
        let names_peer = is_name(word) || word.parse::<std::net::IpAddr>().is_ok();
        match peer {
            None if names_peer => peer = Some(word),
            Some(first) if names_peer => {
                bail!("{first:?} and {word:?} both name a peer: a tunnel has one. {NO_SPEC}")
            }
            Some(_) | None => specs.push(word.parse()?),
        }
    }
    let Some(peer) = peer else {
        let names = Peers::read(config.config.as_deref())?.say_names("");
        bail!("say who the peer is, with --peer PEER or by its name: {names}");
    };
    let whom = Whom::find(peer, named.port, config)?;
    if specs.is_empty() {
        specs.clone_from(of_section(&whom.section));
    }
    if specs.is_empty() {
        bail!("{}", say_no_specs(peer, &whom, config)?);
    }
    Ok((specs, whom))
}

const NO_SPEC: &str = "What is forwarded begins with a port, or has a ':' or '=' in it";

/// There is nothing to forward: why not?
fn say_no_specs(typed: &str, whom: &Whom, config: &ConfigArgs) -> Result<String> {
    if !is_name(typed) {
        return Ok(format!("name what is to be forwarded to {typed}, a <SPEC> like 2222:22: see --help"));
    }
    let peers = Peers::read(config.config.as_deref())?;
    Ok(match &whom.hint {
        Some(names) => {
            format!("{typed:?} is no named peer, and a host needs a <SPEC> like 2222:22 as well: {names}")
        }
        None => format!(
            "[peer.{typed}] in {} does not say what this side forwards: add `serve = [\"22\"]` or `open = [\"2222:22\"]` there, or type a <SPEC>",
            peers.file().display()
        ),
    })
}
