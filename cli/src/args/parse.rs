//! From what was typed, or stands in the file of peers, to values.

use std::{
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use crate::message::Message;

/// Longest time that is counted: a hundred years. A clock has no room for any number of seconds.
const LONGEST: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

pub(crate) fn parse_udp_port(text: &str) -> Result<u16, Message> {
    text.parse().ok().filter(|port| *port != 0).ok_or(Message::NoUdpPort)
}

pub(crate) fn parse_max_mappings(text: &str) -> Result<u16, Message> {
    parse_within(text, 192, 4096)
}

pub(crate) fn parse_max_pps(text: &str) -> Result<u16, Message> {
    parse_within(text, 20, 2000)
}

fn parse_within(text: &str, least: u16, most: u16) -> Result<u16, Message> {
    let number = text.parse().ok().filter(|number| (least..=most).contains(number));
    number.ok_or(Message::NotWithin { least, most })
}

pub(crate) fn parse_status(text: &str) -> Result<SocketAddr, Message> {
    let port = text.parse().map(|port: u16| SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port));
    port.or_else(|_| text.parse()).map_err(|_| Message::NoStatusAddress)
}

pub(crate) fn parse_seconds(text: &str) -> Result<Duration, Message> {
    let seconds = text.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    seconds.map(|seconds: Duration| seconds.min(LONGEST)).ok_or(Message::NoSeconds)
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn a_time_that_no_clock_has_room_for_is_a_hundred_years() {
        for text in ["1e19", "1e15"] {
            let seconds = parse_seconds(text).expect("a number");
            assert_eq!(seconds, LONGEST);
            assert!(Instant::now().checked_add(seconds).is_some());
        }
        for text in ["-1", "nan", "inf", "1e300", "", "30s"] {
            assert!(parse_seconds(text).is_err(), "{text}");
        }
    }
}
