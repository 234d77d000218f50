//! What routers say about datagrams of ours.

use natlab::{BoxSpec, Lab, LabSpec, NatSpec, Side, Translation, Unsolicited, lab_or_skip};
use pinhole_proto::puncher::IcmpKind;

use super::*;

const PORT: u16 = 5555;

/// Sends one probe for each TTL from host A to the other side's address, from the main socket and another one by
/// turns, and returns what comes back: the kind, and who says so.
fn errors(lab: &Lab, ttls: &[Option<u8>]) -> Vec<(IcmpKind, IpAddr)> {
    let remote = SocketAddr::from((lab.side(Side::B).public_ip(), PORT));
    let work = async {
        let (mux, mut arrivals) = mux_at((Ipv4Addr::UNSPECIFIED, PORT).into());
        mux.subscribe_icmp(true);
        mux.open(FAN, ANY).expect("a socket");
        let mut errors = Vec::new();
        for (ttl, socket) in ttls.iter().zip([SocketId::MAIN, FAN].into_iter().cycle()) {
            let sent = probe(socket, remote, *ttl);
            mux.send_probe(&sent).expect("sent");
            let arrival = within(arrivals.icmp.recv()).await.expect("an answer");
            let icmp = arrival.icmp();
            assert_eq!(icmp.pair, sent.pair);
            assert!(sent.payload.starts_with(icmp.quoted), "quoted from what was sent");
            errors.push((icmp.kind, icmp.offender));
        }
        errors
    };
    let run = || {
        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(work)
    };
    lab.host(Side::A).enter(run).expect("entered")
}

#[test]
fn each_router_on_the_way_says_where_the_ttl_ran_out() {
    if !lab_or_skip("each_router_on_the_way_says_where_the_ttl_ran_out") {
        return;
    }
    let home = NatSpec::preset("home").expect("a preset");
    let lab = Lab::build(LabSpec::new(home.clone(), home)).expect("the laboratory is built");
    let ips: [Ipv4Addr; 3] = [[192, 168, 4, 1], [198, 51, 100, 1], [192, 0, 2, 254]].map(Ipv4Addr::from);
    let expected = ips.map(|ip| (IcmpKind::TtlExceeded, IpAddr::from(ip)));
    assert_eq!(errors(&lab, &[Some(1), Some(2), Some(3)]), expected);
}

#[test]
fn a_router_that_refuses_says_so_itself() {
    if !lab_or_skip("a_router_that_refuses_says_so_itself") {
        return;
    }
    let home = NatSpec::preset("home").expect("a preset");
    let refusing = BoxSpec::nat(Translation::LINUX).with_input(Unsolicited::Reject);
    let lab = LabSpec::new(home, NatSpec::new("refusing", vec![refusing]));
    let lab = Lab::build(lab).expect("the laboratory is built");
    let expected = (IcmpKind::PortUnreachable, IpAddr::from(lab.side(Side::B).public_ip()));
    assert_eq!(errors(&lab, &[None, None]), [expected; 2]);
}
