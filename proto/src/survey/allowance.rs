//! Totals of a whole check.

use std::net::SocketAddr;

use super::Orders;

/// Rounds in one check: a survey takes 12 at most, [`Lifetime`](super::Lifetime) 16.
pub const MAX_ROUNDS: u16 = 40;

/// Datagrams that one side sends in one check, repeats included: a survey takes some 850 at most,
/// [`Lifetime`](super::Lifetime) 280.
pub const MAX_DATAGRAMS_IN_ALL: usize = 2048;

/// Rounds and datagrams that one side still carries out in a check. A peer could otherwise ask for bounded orders again
/// and again.
#[derive(Debug)]
pub struct Allowance {
    rounds: u16,
    datagrams: usize,
}

impl Default for Allowance {
    fn default() -> Self {
        Self { rounds: MAX_ROUNDS, datagrams: MAX_DATAGRAMS_IN_ALL }
    }
}

impl Allowance {
    /// Takes one round from the totals. Returns whether its orders may be carried out: they are modest
    /// ([`Orders::are_modest`]), and the totals suffice.
    #[must_use]
    pub fn take_round(&mut self, orders: &Orders, peer: SocketAddr) -> bool {
        let left = (self.rounds.checked_sub(1), self.datagrams.checked_sub(orders.datagrams()));
        let (Some(rounds), Some(datagrams)) = left else { return false };
        (self.rounds, self.datagrams) = (rounds, datagrams);
        orders.are_modest(peer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::survey::{Socket, SurveyProbe};

    const PEER: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 5555);

    fn orders(probes: usize, repeats: u16) -> Orders {
        let probe = SurveyProbe { from: Socket::PAIR, to: PEER, is_low: false };
        Orders { open: 0, probes: vec![probe; probes], repeats }
    }

    #[test]
    fn a_check_has_so_many_rounds_and_no_more() {
        let mut allowance = Allowance::default();
        let taken = (0..100).filter(|_| allowance.take_round(&orders(1, 1), PEER)).count();
        assert_eq!(taken, usize::from(MAX_ROUNDS));
    }

    #[test]
    fn a_check_has_so_many_datagrams_and_no_more() {
        let mut allowance = Allowance::default();
        let taken = (0..30).filter(|_| allowance.take_round(&orders(10, 10), PEER)).count();
        assert_eq!(taken, MAX_DATAGRAMS_IN_ALL / 100);
        assert!(allowance.take_round(&orders(48, 1), PEER), "what is left is not lost");
    }

    #[test]
    fn orders_without_probes_are_repeated_as_little_as_others() {
        let mut allowance = Allowance::default();
        assert!(!allowance.take_round(&orders(0, u16::MAX), PEER));
        assert!(allowance.take_round(&orders(1, 100), PEER));
    }
}
