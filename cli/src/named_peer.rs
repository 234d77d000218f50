//! The peer argument: an address or a name that was typed, or a name of the file of peers.

use std::str::FromStr;

use anyhow::Result;
use pinhole::{
    endpoint::{DEFAULT_PORT, PeerAddress, PeerError, StartError},
    forward::SpecError,
};

use super::{
    args::{ConfigArgs, PeerArgs},
    config::{Peers, Section, is_name},
    message::Message,
    tunnel::advise,
};

/// The peer that an argument names.
#[derive(Debug)]
pub(super) struct NamedPeer {
    pub(super) peer: PeerAddress,
    /// What the file says of it, nothing if it is not there.
    pub(super) section: Section,
    /// What could have been meant, if no such peer can be found.
    hint: Option<String>,
}

impl NamedPeer {
    /// Finds the peer that is named by what was typed.
    pub(super) fn find(typed: &str, port: Option<u16>, config: &ConfigArgs) -> Result<Self> {
        if !is_name(typed) {
            let peer = PeerAddress::new(typed, port.unwrap_or(DEFAULT_PORT));
            return Ok(Self { peer, section: Section::default(), hint: None });
        }
        let peers = Peers::read(config.config.as_deref())?;
        let section = peers.get(typed).cloned();
        let hint = section.is_none().then(|| peers.say_names(typed));
        let section = section.unwrap_or_default();
        let port = port.or(section.port).unwrap_or(DEFAULT_PORT);
        let peer = PeerAddress::new(section.peer.as_deref().unwrap_or(typed), port);
        Ok(Self { peer, section, hint })
    }

    /// Adds the way out to a start that failed.
    pub(super) fn advise(&self, error: StartError) -> anyhow::Error {
        let is_unknown = matches!(error, StartError::Peer(PeerError::Unresolved(_)));
        match &self.hint {
            Some(hint) if is_unknown => {
                let why = format!("{:#}", advise(error));
                Message::UnknownPeer { why, names: hint.clone() }.into()
            }
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
) -> Result<(Vec<S>, NamedPeer)> {
    let (mut peer, mut specs) = (named.peer.as_deref(), Vec::new());
    for word in words {
        let names_peer = is_name(word) || word.parse::<std::net::IpAddr>().is_ok();
        match peer {
            None if names_peer => peer = Some(word),
            Some(first) if names_peer => {
                return Err(Message::TwoPeers { first: first.to_owned(), second: word.clone() }.into());
            }
            Some(_) | None => specs.push(word.parse()?),
        }
    }
    let Some(peer) = peer else {
        let names = Peers::read(config.config.as_deref())?.say_names("");
        return Err(Message::NoPeer { names }.into());
    };
    let named = NamedPeer::find(peer, named.port, config)?;
    if specs.is_empty() {
        specs.clone_from(of_section(&named.section));
    }
    if specs.is_empty() {
        return Err(say_no_specs(peer, &named, config)?.into());
    }
    Ok((specs, named))
}

/// There is nothing to forward: why not?
fn say_no_specs(typed: &str, named: &NamedPeer, config: &ConfigArgs) -> Result<Message> {
    if !is_name(typed) {
        return Ok(Message::NoSpec { peer: typed.to_owned() });
    }
    let peers = Peers::read(config.config.as_deref())?;
    Ok(match &named.hint {
        Some(names) => Message::NoSpecForHost { host: typed.to_owned(), names: names.clone() },
        None => Message::NoSpecInSection { name: typed.to_owned(), file: peers.file().to_owned() },
    })
}
