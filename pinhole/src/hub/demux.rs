//! Sorts one coalesced read into probes, QUIC and noise.
//!
//! QUIC's part goes to the library if it came over a proven pair and is marked as a holder of the key marks it; see
//! the module `filter`.

use noq::udp::RecvMeta;
use pinhole_proto::{
    probe::{Class, classify},
    puncher::SocketId,
};

use super::{Hub, PEER, segments::retain};

impl Hub {
    /// Keeps the QUIC segments of proven pairs at the front of `buffer` and shortens `meta` to them; hands probes to
    /// the driver and forgets the rest. Returns whether anything is left for QUIC.
    pub(super) fn sort(&self, socket: SocketId, buffer: &mut [u8], meta: &mut RecvMeta) -> bool {
        let proven = self.sockets().is_proven(socket, meta.addr);
        let kept = retain(buffer, meta.len, meta.stride, |datagram| {
            let is_for_quic =
                proven && classify(datagram) == Class::Quic && self.filter.admits_quic(datagram);
            if !is_for_quic {
                self.intake.divert(socket, meta.addr, datagram);
            }
            is_for_quic
        });
        meta.len = kept;
        if kept == 0 {
            return false;
        }
        // Whatever path it took, and whatever address of ours that led to: to the library they are all one.
        (meta.addr, meta.dst_ip) = (PEER, None);
        true
    }
}

#[cfg(test)]
mod tests {
    use std::{net::SocketAddr, sync::atomic::Ordering};

    use pinhole_proto::{probe::PROBE_BYTES, puncher::Pair};

    use super::*;
    use crate::hub::{filter::tests::marked, tests::hub};

    const REMOTE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 7);

    fn meta(len: usize, stride: usize) -> RecvMeta {
        let mut meta = RecvMeta::default();
        (meta.addr, meta.len, meta.stride) = (REMOTE, len, stride);
        meta
    }

    #[tokio::test]
    async fn each_segment_of_a_coalesced_read_is_sorted_by_itself() {
        let (hub, mut arrivals) = hub();
        hub.admit(Pair { socket: SocketId::MAIN, remote: REMOTE });
        let segment = |first: u8, tag: u8, length: usize| {
            let mut s = vec![tag; length];
            s[0] = first;
            s
        };
        let wanted = [marked(0x40, 2, PROBE_BYTES), marked(0xc0, 4, PROBE_BYTES), marked(0x40, 5, 9)];
        let mut buffer = [
            segment(0x80, 1, PROBE_BYTES),
            wanted[0].clone(),
            segment(0x00, 3, PROBE_BYTES),
            segment(0x40, 6, PROBE_BYTES),
            wanted[1].clone(),
            segment(0xc0, 7, PROBE_BYTES),
            wanted[2].clone(),
        ]
        .concat();
        let mut meta = meta(buffer.len(), PROBE_BYTES);
        assert!(hub.sort(SocketId::MAIN, &mut buffer, &mut meta));
        assert_eq!(&buffer[..meta.len], &wanted.concat());
        assert_eq!(arrivals.probes.recv().await.expect("a probe").payload(), segment(0x80, 1, PROBE_BYTES));
        assert_eq!(hub.counters().noise.load(Ordering::Relaxed), 1);
        assert_eq!(
            hub.counters().strangers.load(Ordering::Relaxed),
            2,
            "QUIC that nobody with the key has made"
        );
    }

    #[tokio::test]
    async fn quic_from_an_unproven_address_never_reaches_the_library() {
        let (hub, _arrivals) = hub();
        let mut initial = marked(0xc3, 1, 1200);
        let mut meta = meta(1200, 1200);
        assert!(!hub.sort(SocketId::MAIN, &mut initial, &mut meta));
        assert_eq!((meta.len, hub.counters().strangers.load(Ordering::Relaxed)), (0, 1));
    }
}
