//! How often a machine complains by ICMP.
//!
//! Linux allows each machine, toward each IP, a burst of 6 errors and then 1 a second (`inet_peer_xrlim_allow`,
//! `net.ipv4.icmp_ratelimit` 1000), counting unreachables and exceeded TTLs together (`icmp_ratemask` 6168).

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use super::Place;
use crate::spec::Side;

/// Time that one error costs.
const COST: Duration = Duration::from_secs(1);

/// Errors that may be saved up.
const BURST: u32 = 6;

/// A machine that can complain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Node {
    Router(Side),
    Box(Side, usize),
    Host(Place),
}

/// What every machine may still say to everybody.
#[derive(Debug, Default)]
pub(super) struct Limiter {
    /// When each allowance will be whole again.
    whole_at: BTreeMap<(Node, Ipv4Addr), Instant>,
}

impl Limiter {
    /// Returns whether the machine may complain to that IP now, and notes it.
    pub(super) fn allows(&mut self, now: Instant, node: Node, to: Ipv4Addr) -> bool {
        let whole_at = self.whole_at.entry((node, to)).or_insert(now);
        let after = now.max(*whole_at) + COST;
        let allowed = after <= now + COST * BURST;
        if allowed {
            *whole_at = after;
        }
        allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn six_at_once_then_one_a_second_for_each_machine_and_ip() {
        let mut limiter = Limiter::default();
        let begin = Instant::now();
        let (node, to) = (Node::Router(Side::A), Ipv4Addr::LOCALHOST);
        let allowed = |limiter: &mut Limiter, after: Duration| {
            (0..10).filter(|_| limiter.allows(begin + after, node, to)).count()
        };
        assert_eq!(allowed(&mut limiter, Duration::ZERO), 6);
        assert_eq!(allowed(&mut limiter, COST / 2), 0);
        assert_eq!(allowed(&mut limiter, COST), 1);
        assert_eq!(allowed(&mut limiter, COST * 100), 6);
        assert!(limiter.allows(begin, Node::Router(Side::B), to));
        assert!(limiter.allows(begin, node, Ipv4Addr::BROADCAST));
    }
}
