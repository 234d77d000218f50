//! What a peer's check may say: any bytes as a message, and any reports to a survey.

#![no_main]

use std::net::SocketAddr;

use libfuzzer_sys::fuzz_target;
use pinhole_proto::survey::{Allowance, MAX_MAPPINGS, MOST_LIFETIME, Message, Report, Round, Stand, Survey};

fuzz_target!(|bytes: &[u8]| {
    if let Some(message) = Message::decode(bytes) {
        let written = message.encode();
        assert_eq!(
            Message::decode(&written[4..]),
            Some(message),
            "a message changes when it is written again"
        );
    }
    listen_to(bytes);
});

/// Has a survey take reports of one side; whatever they claim, it comes to an end within its bounds.
fn listen_to(mut bytes: &[u8]) {
    let stand = |inside: [u8; 4], outside: [u8; 4]| Stand {
        inside: SocketAddr::from((inside, 5555)),
        outside: SocketAddr::from((outside, 5555)),
    };
    let stands = [stand([192, 168, 4, 2], [198, 51, 100, 4]), stand([192, 168, 9, 2], [203, 0, 113, 9])];
    let mut survey = Survey::new(stands, [MAX_MAPPINGS; 2]);
    let mut allowances = [Allowance::default(), Allowance::default()];
    let mut report = || {
        let (head, rest) = bytes.split_at(bytes.len().min(64));
        bytes = rest;
        match Message::decode(head) {
            Some(Message::Report(report)) => report,
            _ => Report::default(),
        }
    };
    let mut look_at = |round: &Round| {
        for (index, allowance) in allowances.iter_mut().enumerate() {
            let is_taken = allowance.take_round(&round.orders[index], stands[1 - index].outside);
            assert!(is_taken, "orders that the other side refuses, or a survey without an end");
        }
    };
    while let Some(round) = survey.next_round() {
        look_at(&round);
        survey.handle_reports([report(), report()]);
    }
    let mut lifetime = survey.lifetime(MOST_LIFETIME);
    while let Some(due) = lifetime.next_round() {
        look_at(&due.round);
        lifetime.handle_reports([report(), report()]);
    }
    let _judged = lifetime.seen();
    let _judged = survey.seen().map(|seen| seen.access());
}
