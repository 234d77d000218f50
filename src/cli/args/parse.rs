//! From what was typed, or stands in the file of peers, to values.

use std::{
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use pinhole::Phrase;

pub(super) fn parse_phrase(text: &str) -> Result<Phrase, String> {
    text.parse().map_err(|error: pinhole::proto::key::PhraseError| error.to_string())
}

pub(crate) fn parse_udp_port(text: &str) -> Result<u16, String> {
    text.parse().ok().filter(|port| *port != 0).ok_or_else(|| "use a UDP port from 1 to 65535".into())
}

pub(crate) fn parse_max_mappings(text: &str) -> Result<u16, String> {
    parse_within(text, 192, 4096)
}

pub(crate) fn parse_max_pps(text: &str) -> Result<u16, String> {
    parse_within(text, 20, 2000)
}

fn parse_within(text: &str, least: u16, most: u16) -> Result<u16, String> {
    let number = text.parse().ok().filter(|number| (least..=most).contains(number));
    number.ok_or_else(|| format!("use a number from {least} to {most}"))
}

pub(crate) fn parse_status(text: &str) -> Result<SocketAddr, String> {
    let port = text.parse().map(|port: u16| SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port));
    port.or_else(|_| text.parse()).map_err(|_| "a port or IP:PORT is wanted, like 127.0.0.1:8555".into())
}

pub(crate) fn parse_seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    seconds.ok_or_else(|| "a number of seconds is wanted, like 30 or 0.5".into())
}
