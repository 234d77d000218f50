//! From the outside ports of sockets, in the order in which they first sent, to how they were picked.

use std::collections::BTreeMap;

use super::PortsSeen;

/// Ports between two that follow each other, at most: other machines behind the same NAT take some in between.
const MAX_STRIDE: i32 = 64;

/// All seen ports within so many: a block. Two dozen random ones are never so near each other.
const MAX_BLOCK: u16 = 8192;

/// So many seen ones tell.
const TELLING: usize = 8;

/// Lowest port that NATs give.
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

/// Judges the ports of sockets of which only those near a known one could be seen, and some by chance that the other
/// side had opened in its search.
pub(super) fn of_near(ports: &BTreeMap<u16, u16>, known: u16) -> PortsSeen {
    let is_far = ports.values().any(|port| port.abs_diff(known) > MAX_BLOCK);
    match stride(ports) {
        Some(stride) if ports.len() >= IN_ORDER => PortsSeen::Sequential { stride },
        Some(_) | None if is_far || ports.len() < NEAR => PortsSeen::Random,
        Some(_) | None => PortsSeen::Block { span: span(ports) },
    }
}

/// Fewer than these near the known port are chance.
const NEAR: usize = 3;

/// So many in one order are no chance.
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
    let row = room * 3 / 10;
    let around = room - row;
    let step = i32::from(sockets.max(1));
    let row = (0..row).map(|n| i32::from(known) + step / 2 + step * n as i32);
    let wide = 2 * AROUND;
    let around = (0..around).map(|n| i32::from(known) - AROUND + wide * n as i32 / around as i32);
    let mut ports: Vec<u16> = row.chain(around).map(wrapped).collect();
    ports.sort_unstable();
    ports.dedup();
    ports
}

/// As far as blocks are looked for on either side of a known port: carriers' smaller ones (RFC 7422).
const AROUND: i32 = 512;

/// The ports at which neighbours of met sockets are, if they follow each other; and some more around the known one.
pub(super) fn predicted(ports: &BTreeMap<u16, u16>, known: u16, sockets: &[u16], room: usize) -> Vec<u16> {
    let Some((socket, port)) = ports.iter().next() else { return Vec::new() };
    let stride = stride(ports).unwrap_or(1);
    let following = sockets.iter().filter(|other| *other > socket).take(room / 2);
    let following =
        following.map(|other| wrapped(i32::from(*port) + stride * (i32::from(*other) - i32::from(*socket))));
    let others = room - room / 2;
    let wide = 2 * AROUND;
    let around =
        (0..others).map(|n| wrapped(i32::from(known) - AROUND + 3 + wide * n as i32 / others.max(1) as i32));
    let mut ports: Vec<u16> = following.chain(around).collect();
    ports.sort_unstable();
    ports.dedup();
    ports
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
        for ahead in 0..2000 {
            let met = near(60_000, 56, 160)
                .into_iter()
                .filter(|port| (0..56).any(|n| wrapped(60_000 + ahead + n) == *port));
            assert!(met.count() >= 1, "{ahead}");
        }
    }
}
