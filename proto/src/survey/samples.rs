//! Port assignment (RFC 4787 §4.2.2), judged by the outside ports of sockets in the order in which they first sent.

use std::collections::{BTreeMap, BTreeSet};

use super::PortsSeen;

/// Most ports between two that follow each other: other machines behind the same NAT take some in between.
const MAX_STRIDE: i32 = 64;

/// Widest span of ports that is taken for a block: two dozen random ones are never so near each other.
const MAX_BLOCK: u16 = 8192;

/// Fewest seen ports from which anything is concluded.
const TELLING: usize = 8;

/// Lowest port that NATs assign.
const FIRST_PORT: i32 = 1024;

/// Judges the ports of sockets that could all be seen, whatever port they got.
pub(super) fn of_all(ports: &BTreeMap<u16, u16>) -> PortsSeen {
    if ports.len() < TELLING {
        return PortsSeen::Moved;
    }
    if let Some(stride) = stride(ports) {
        return PortsSeen::Sequential { stride };
    }
    match span(ports) {
        span if span <= MAX_BLOCK => PortsSeen::Block { span },
        _ => PortsSeen::Random,
    }
}

/// Judges the ports of sockets of which only those near a known one could be seen; and some far away, by chance, that
/// the other side had opened in its search.
pub(super) fn of_near(ports: &BTreeMap<u16, u16>, known: u16) -> PortsSeen {
    match stride(ports) {
        Some(stride) if ports.len() >= IN_ORDER => return PortsSeen::Sequential { stride },
        Some(_) | None => {}
    }
    let is_near = |port: &u16| i32::from(port.abs_diff(known)) <= AROUND;
    let near: BTreeMap<u16, u16> =
        ports.iter().filter(|(_, port)| is_near(port)).map(|(socket, port)| (*socket, *port)).collect();
    match near.len() {
        count if count <= CHANCE => PortsSeen::Random,
        count if count < BLOCK => PortsSeen::Moved,
        _ => PortsSeen::Block { span: span(&near) },
    }
}

/// Most ports near the known one that may be there by chance: of 28 random ones each of the two times one in fifteen
/// surveys meets one.
const CHANCE: usize = 1;

/// Fewest ports near the known one that are no chance.
const BLOCK: usize = 4;

/// Fewest ports in one order that are no chance.
const IN_ORDER: usize = 5;

/// Returns the distance of two neighbours, if there is one that most of them have.
fn stride(ports: &BTreeMap<u16, u16>) -> Option<i32> {
    let pairs: Vec<_> = ports.iter().zip(ports.iter().skip(1)).collect();
    let mut counts: BTreeMap<i32, usize> = BTreeMap::new();
    for ((first, from), (second, to)) in &pairs {
        let (steps, distance) =
            (i32::from(**second) - i32::from(**first), i32::from(**to) - i32::from(**from));
        if distance % steps == 0 && (1..=MAX_STRIDE).contains(&(distance / steps).abs()) {
            *counts.entry(distance / steps).or_default() += 1;
        }
    }
    let (stride, count) = counts.into_iter().max_by_key(|(_, count)| *count)?;
    (count * 2 > pairs.len()).then_some(stride)
}

fn span(ports: &BTreeMap<u16, u16>) -> u16 {
    let (lowest, highest) = (ports.values().min(), ports.values().max());
    highest.zip(lowest).map_or(0, |(highest, lowest)| (highest - lowest).saturating_add(1))
}

/// The ports near a known one for which the other side opens its filter: a coarse row after it, that a sequence of as
/// many sockets cannot pass without being met, and a finer one around it, for blocks.
pub(super) fn near(known: u16, sockets: u16, room: usize) -> Vec<u16> {
    let row = room / 3;
    let step = i32::from(sockets.max(1));
    let row = (0..row).map(|n| wrapped(i32::from(known) + step / 2 + step * n as i32));
    unique(row.chain(around(known, 0, room - room / 3)))
}

/// The ports at which further sockets are: if those that were met are in no order, among them and the known one; if they
/// follow each other, where these do, and some more around the known one.
pub(super) fn predicted(met: &BTreeMap<u16, u16>, known: u16, sockets: &[u16], room: usize) -> Vec<u16> {
    let stride = stride(met);
    let near = met.values().copied().filter(|port| port.abs_diff(known) <= AROUND.unsigned_abs() as u16);
    let (lowest, highest) = near.fold((known, known), |(low, high), port| (low.min(port), high.max(port)));
    let width = usize::from(highest - lowest);
    if stride.is_none() && width >= room {
        return unique((0..room).map(|n| wrapped(i32::from(lowest) + (width * n / room) as i32)));
    }
    if met.is_empty() {
        return unique(around(known, 3, 2 * room).skip(room / 2).take(room));
    }
    let stride = stride.unwrap_or(1);
    let first = met.iter().next();
    let at = |socket: &u16| {
        let (other, port) = first?;
        Some(wrapped(i32::from(*port) + stride * (i32::from(*socket) - i32::from(*other))))
    };
    let following: Vec<u16> = sockets.iter().filter_map(at).take(room).collect();
    let room = room - following.len();
    unique(following.into_iter().chain(around(known, 3, room)))
}

/// As far as blocks are looked for on either side of a known port: carriers' smaller ones (RFC 7422).
const AROUND: i32 = 512;

fn around(known: u16, shift: i32, count: usize) -> impl Iterator<Item = u16> {
    let first = i32::from(known) - AROUND + shift;
    (0..count).map(move |n| wrapped(first + 2 * AROUND * n as i32 / count as i32))
}

fn unique(ports: impl Iterator<Item = u16>) -> Vec<u16> {
    ports.collect::<BTreeSet<u16>>().into_iter().collect()
}

/// Goes on at the other end where the ports are at an end.
fn wrapped(port: i32) -> u16 {
    let ports = i32::from(u16::MAX) - FIRST_PORT + 1;
    u16::try_from(FIRST_PORT + (port - FIRST_PORT).rem_euclid(ports)).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ports(of: impl IntoIterator<Item = u16>) -> BTreeMap<u16, u16> {
        (9..).zip(of).collect()
    }

    #[test]
    fn a_row_is_sequential_even_where_others_take_ports_in_between() {
        assert_eq!(of_all(&ports(30_000..30_024)), PortsSeen::Sequential { stride: 1 });
        assert_eq!(of_all(&ports((30_000..30_048).rev().step_by(2))), PortsSeen::Sequential { stride: -2 });
        let mut busy = ports((0..24).map(|n| 30_000 + n + u16::from(n > 11) * 7));
        busy.remove(&15);
        assert_eq!(of_all(&busy), PortsSeen::Sequential { stride: 1 });
    }

    #[test]
    fn ports_near_each_other_are_a_block_and_ports_far_apart_are_chance() {
        let scattered = |wide: u32| (0..24u32).map(move |n| (20_000 + n * 7919 % wide) as u16);
        assert!(matches!(of_all(&ports(scattered(512))), PortsSeen::Block { span: 400..=512 }));
        assert_eq!(of_all(&ports(scattered(40_000))), PortsSeen::Random);
        assert_eq!(of_all(&ports([30_000, 40_000])), PortsSeen::Moved, "too few to tell");
    }

    #[test]
    fn a_row_of_sockets_cannot_pass_the_ports_that_are_opened_for_it() {
        for ahead in 0..1500 {
            let opened = near(60_000, 28, 168);
            let met = opened.iter().filter(|port| (0..28).any(|n| wrapped(60_000 + ahead + n) == **port));
            assert!(met.count() >= 1, "{ahead}");
            assert!(opened.len() <= 168);
        }
    }
}
