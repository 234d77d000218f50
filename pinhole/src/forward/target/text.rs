//! The written form of a target.

use std::{fmt, str::FromStr};

use super::SpecError;

/// The target that a service is connected to.
///
/// | text | meaning |
/// |---|---|
/// | `22` | TCP port 22 of this machine |
/// | `printer:631` | TCP port 631 of another machine |
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Target {
    /// A TCP service.
    Tcp {
        /// Its machine; `None` for this one.
        host: Option<String>,
        /// Its port.
        port: u16,
    },
}

impl FromStr for Target {
    type Err = SpecError;

    fn from_str(text: &str) -> Result<Self, SpecError> {
        match parts(text).as_slice() {
            [port] => Ok(Self::Tcp { host: None, port: parse_port(port)? }),
            [host, _] if host.is_empty() || host.contains('=') => Err(SpecError::Host(text.into())),
            [host, port] => Ok(Self::Tcp { host: Some((*host).to_owned()), port: parse_port(port)? }),
            _ => Err(SpecError::Serve(text.into())),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host: Some(host), port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp { host: Some(host), port } => write!(f, "{host}:{port}"),
            Self::Tcp { host: None, port } => write!(f, "{port}"),
        }
    }
}

impl Target {
    /// Returns the name of a service that has got none; `None` where it needs one.
    #[must_use]
    pub fn default_name(&self) -> Option<String> {
        match self {
            Self::Tcp { port, .. } => Some(port.to_string()),
        }
    }

    /// Returns where it is, for people.
    #[must_use]
    pub fn describe(&self) -> String {
        match self {
            Self::Tcp { host, port } => format!("{}:{port}", host.as_deref().unwrap_or("localhost")),
        }
    }

    /// Returns the TCP port by which the service is known, if there is one.
    #[must_use]
    pub fn port(&self) -> Option<u16> {
        match self {
            Self::Tcp { port, .. } => Some(*port),
        }
    }
}

/// Splits at colons, except inside brackets, which it takes off.
pub(crate) fn parts(text: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let mut rest = text;
    loop {
        let bracketed = rest
            .strip_prefix('[')
            .and_then(|r| r.split_once(']'))
            .filter(|(_, r)| r.is_empty() || r.starts_with(':'));
        let (part, after) = match bracketed {
            Some((inside, after)) => (inside, after.strip_prefix(':')),
            None => rest.split_once(':').map_or((rest, None), |(part, after)| (part, Some(after))),
        };
        parts.push(part);
        match after {
            Some(after) => rest = after,
            None => return parts,
        }
    }
}

/// Reads a TCP port.
pub(crate) fn parse_port(text: &str) -> Result<u16, SpecError> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let port = if digits { text.parse().ok() } else { None };
    port.filter(|port| *port != 0).ok_or_else(|| SpecError::Port(text.into()))
}
