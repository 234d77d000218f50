//! Specs of what to forward, written as in ssh.
//!
//! | side | text | meaning |
//! |---|---|---|
//! | serve | `22` | TCP port 22 of this machine, named "22" |
//! | serve | `printer:631` | port 631 of another machine, named "631" |
//! | serve | `web=localhost:8080` | named "web" |
//! | open | `2222` | local port 2222, to the service of that name or, if just one is offered, to that one |
//! | open | `2222:22` | local port 2222, to the service "22" and no other |
//! | open | `0.0.0.0:8080` | as `8080`, for other machines too |
//! | open | `0.0.0.0:8080:web` | all of it |

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr},
    str::FromStr,
};

use pinhole_proto::stream::valid_name;

use super::target::{Target, parse_port, parts};

/// A service that the serve side offers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServeSpec {
    /// The name that the open side asks for.
    pub name: String,
    /// What it is connected to.
    pub target: Target,
}

/// A local port of the open side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenSpec {
    /// Where to listen; `None` for loopback, both IPv4 and IPv6.
    pub bind: Option<IpAddr>,
    /// Local TCP port.
    pub port: u16,
    /// Name of the service.
    pub service: String,
    /// Whether another service may stand in when just one is offered.
    pub any: bool,
}

/// The fault of a spec, and how a right one looks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SpecError {
    /// Not a number from 1 to 65535.
    #[error("{0:?} is not a TCP port: use a number from 1 to 65535")]
    Port(String),
    /// Not an IP to listen on.
    #[error("{0:?} is not an address to listen on: use an IP like 127.0.0.1, 0.0.0.0 for all, or [::1]")]
    Bind(String),
    /// Not a name for a service.
    #[error("{0:?} cannot name a service: use 1 to 64 characters without blanks, ':' and '='")]
    Name(String),
    /// No usable host before the colon.
    #[error("{0:?} has no host name before the colon: use HOST:PORT, or PORT alone for this machine")]
    Host(String),
    /// Too many parts.
    #[error("{0:?} is not understood: use [NAME=][HOST:]PORT")]
    Serve(String),
    /// Too many parts.
    #[error("{0:?} is not understood: use PORT, PORT:SERVICE, BIND:PORT or BIND:PORT:SERVICE")]
    Open(String),
}

impl FromStr for ServeSpec {
    type Err = SpecError;

    fn from_str(text: &str) -> Result<Self, SpecError> {
        let (name, target) = match text.split_once('=') {
            Some((name, target)) => (Some(name), target),
            None => (None, text),
        };
        let target: Target = target.parse().map_err(|error| {
            if matches!(error, SpecError::Serve(_)) { SpecError::Serve(text.into()) } else { error }
        })?;
        let name = match name {
            Some(name) => parse_name(name)?,
            None => target.default_name().ok_or_else(|| SpecError::Serve(text.into()))?,
        };
        Ok(Self { name, target })
    }
}

impl fmt::Display for ServeSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.target.default_name().as_ref() != Some(&self.name) {
            write!(f, "{}=", self.name)?;
        }
        self.target.fmt(f)
    }
}

impl FromStr for OpenSpec {
    type Err = SpecError;

    fn from_str(text: &str) -> Result<Self, SpecError> {
        let is_port = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        let (bind, port, service) = match parts(text).as_slice() {
            [port] => (None, *port, None),
            [port, service] if is_port(port) => (None, *port, Some(*service)),
            [bind, port] => (parse_bind(bind)?, *port, None),
            [bind, port, service] => (parse_bind(bind)?, *port, Some(*service)),
            _ => return Err(SpecError::Open(text.into())),
        };
        let port = parse_port(port)?;
        let any = service.is_none();
        let service = parse_name(service.unwrap_or(&port.to_string()))?;
        Ok(Self { bind, port, service, any })
    }
}

impl fmt::Display for OpenSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.bind {
            Some(IpAddr::V4(bind)) => write!(f, "{bind}:{}", self.port)?,
            Some(IpAddr::V6(bind)) => write!(f, "[{bind}]:{}", self.port)?,
            None => write!(f, "{}", self.port)?,
        }
        if self.any { Ok(()) } else { write!(f, ":{}", self.service) }
    }
}

fn parse_bind(text: &str) -> Result<Option<IpAddr>, SpecError> {
    match text {
        "localhost" => Ok(None),
        "*" | "" => Ok(Some(Ipv4Addr::UNSPECIFIED.into())),
        _ => text.parse().map(Some).map_err(|_| SpecError::Bind(text.into())),
    }
}

fn parse_name(text: &str) -> Result<String, SpecError> {
    if valid_name(text) { Ok(text.to_owned()) } else { Err(SpecError::Name(text.into())) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn serve(text: &str) -> (String, Option<String>, u16) {
        let spec: ServeSpec = text.parse().expect(text);
        assert_eq!(spec.to_string().parse(), Ok(spec.clone()), "{text}");
        let Target::Tcp { host, port } = spec.target;
        (spec.name, host, port)
    }

    fn open(text: &str) -> (Option<IpAddr>, u16, String, bool) {
        let spec: OpenSpec = text.parse().expect(text);
        assert_eq!(spec.to_string().parse(), Ok(spec.clone()), "{text}");
        (spec.bind, spec.port, spec.service, spec.any)
    }

    #[test]
    fn the_serve_side_names_host_port_and_service() {
        assert_eq!(serve("22"), ("22".into(), None, 22));
        assert_eq!(serve("printer:631"), ("631".into(), Some("printer".into()), 631));
        assert_eq!(serve("web=localhost:8080"), ("web".into(), Some("localhost".into()), 8080));
        assert_eq!(serve("web=8080"), ("web".into(), None, 8080));
        assert_eq!(serve("v6=[::1]:80"), ("v6".into(), Some("::1".into()), 80));
    }

    #[test]
    fn the_open_side_names_bind_port_and_service() {
        let all = Some(IpAddr::from([0, 0, 0, 0]));
        assert_eq!(open("2222"), (None, 2222, "2222".into(), true));
        assert_eq!(open("2222:22"), (None, 2222, "22".into(), false));
        assert_eq!(open("8080:web"), (None, 8080, "web".into(), false));
        assert_eq!(open("0.0.0.0:8080"), (all, 8080, "8080".into(), true));
        assert_eq!(open("0.0.0.0:8080:web"), (all, 8080, "web".into(), false));
        assert_eq!(open("*:8080:web"), (all, 8080, "web".into(), false));
        assert_eq!(open("[::1]:8080:web").0, Some("::1".parse().expect("an address")));
        assert_eq!(open("localhost:8080"), (None, 8080, "8080".into(), true));
    }

    #[test]
    fn what_is_wrong_is_named_with_the_way_out() {
        for bad in [
            "0",
            "70000",
            "",
            "ssh",
            "-1",
            "+22",
            "a:b",
            ":22",
            "a:b:c",
            "=22",
            "a b=22",
            "x=",
            "99999999999999999999",
        ] {
            let error = bad.parse::<ServeSpec>().expect_err(bad);
            assert!(error.to_string().contains("use "), "{error}");
        }
        for bad in
            ["0", "70000", "", "ssh", "2222:", "nohost:80", "1.2.3.4:0:x", "a:b:c:d", "80:a=b", "[::1:80"]
        {
            let error = bad.parse::<OpenSpec>().expect_err(bad);
            assert!(error.to_string().contains("use "), "{error}");
        }
    }
}
