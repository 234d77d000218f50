//! Bytes between a machine of ours and the script.

use std::time::Duration;

use super::link::{Faults, Link, pattern};
use pinhole_proto::Role;

use crate::{End, Event, wire};

const BOTH: [Role; 2] = [Role::Serve, Role::Open];

/// Sends so many bytes each way; both must arrive as they were.
fn carry_both_ways(link: &mut Link, bytes: usize) {
    let (up, down) = (pattern(1, bytes), pattern(2, bytes));
    link.ours.to_send = up.clone().into();
    link.script.to_send = down.clone().into();
    link.connect();
    link.run_until(|link| link.script.got.len() >= bytes && link.ours.got.len() >= bytes);
    assert!(link.script.got == up && link.ours.got == down, "they differ");
    assert_eq!(link.script.exit, None);
    assert_eq!(link.ours.ends(), []);
}

#[test]
fn either_side_may_be_the_script() {
    for role in BOTH {
        let mut link = Link::new(role, 40_000, 1);
        carry_both_ways(&mut link, 1_000_000);
        assert_eq!(link.ours.count(&Event::Began), 1);
        // 25 pieces a round trip each, and little besides.
        assert!(link.elapsed() < Duration::from_millis(700), "{:?}", link.elapsed());
    }
}

#[test]
fn loss_copies_broken_bytes_and_disorder_change_nothing_but_the_time() {
    for seed in 0..40 {
        for role in BOTH {
            let mut link = Link::new(role, 1000, seed);
            // A broken type byte can end the script; that is its own doing.
            link.faults = Faults { lose: 5, spoil: 0, twice: 5, late: 10, longest: 0 };
            let mut count = 0;
            link.loses = Box::new(move |_, _| {
                count += 1;
                count % 17 == 0
            });
            carry_both_ways(&mut link, 100_000);
        }
    }
}

#[test]
fn broken_data_from_the_script_is_sent_again() {
    let mut link = Link::new(Role::Open, 1000, 3);
    link.connect();
    link.ours.to_send = pattern(1, 1000).into();
    link.run_until(|link| link.script.got.len() == 1000);
    for number in 0u16..20 {
        link.script.to_send.extend(pattern(u64::from(number), 1000));
        let mut broken = wire::nack(0);
        broken.clear();
        broken.extend([b'U', 0, 0, 3, 232]);
        broken.extend(number.to_be_bytes().repeat(100));
        link.ours.machine.handle_datagram(super::link::THEIRS, &broken, link.now);
        link.run_until(|link| link.ours.got.len() == 1000 * (usize::from(number) + 1));
    }
    assert_eq!(link.ours.machine.dropped().broken, 20);
}

#[test]
fn numbers_come_round_after_65_535() {
    for role in BOTH {
        let mut link = Link::new(role, 1, 5);
        carry_both_ways(&mut link, 70_000);
        link.run_for(Duration::from_secs(1));
        assert_eq!(link.script.expected, (70_000 % 65_536) as u16);
        assert_eq!(link.script.next, (70_000 % 65_536) as u16);
    }
}

/// The script answers the copy of 65,535 with "expected: 0", where it means an ack.
#[test]
fn what_the_script_misjudges_across_the_wrap_is_taken_for_what_it_means() {
    let mut link = Link::new(Role::Open, 1, 5);
    let mut lost = 0;
    link.loses = Box::new(move |is_ours, datagram| {
        let is_last_ack = !is_ours && datagram == wire::ack(65_535);
        lost += u32::from(is_last_ack);
        is_last_ack && lost < 3
    });
    carry_both_ways(&mut link, 66_000);
}

#[test]
fn our_ack_of_the_last_number_may_get_lost_too() {
    let mut link = Link::new(Role::Serve, 1, 5);
    let mut lost = 0;
    link.loses = Box::new(move |is_ours, datagram| {
        let is_last_ack = is_ours && datagram == wire::ack(65_535);
        lost += u32::from(is_last_ack);
        is_last_ack && lost < 3
    });
    carry_both_ways(&mut link, 66_000);
}

#[test]
fn a_lost_datagram_costs_less_than_the_scripts_second() {
    let mut link = Link::new(Role::Open, 1000, 1);
    link.connect();
    link.ours.to_send = pattern(1, 50_000).into();
    link.run_until(|link| link.script.got.len() == 50_000);
    let mut lost = false;
    link.loses = Box::new(move |_, _| !std::mem::replace(&mut lost, true));
    let before = link.elapsed();
    link.ours.to_send = pattern(1, 1000).into();
    link.run_until(|link| link.script.got.len() == 51_000);
    assert!(link.elapsed() - before < Duration::from_millis(300), "{:?}", link.elapsed() - before);
}

/// Each further ack has the script send what is under way once more, and that would bring the next further ack.
#[test]
fn a_copy_does_not_make_the_script_send_everything_twice_from_then_on() {
    let mut link = Link::new(Role::Open, 1000, 1);
    link.connect();
    link.faults.twice = 100;
    link.script.to_send = pattern(1, 3000).into();
    link.ours.to_send = b"x".to_vec().into();
    link.run_until(|link| link.ours.got.len() == 3000);
    link.faults.twice = 0;
    link.run_for(Duration::from_secs(5));
    let before = link.script.resent;
    link.script.to_send = pattern(2, 100_000).into();
    link.run_until(|link| link.ours.got.len() == 103_000);
    assert_eq!(link.script.resent, before);
}

/// The script misses an ack that comes before it has begun to wait, and then waits for its second.
#[test]
fn an_ack_that_the_script_has_missed_is_said_once_more_in_a_flow() {
    let mut link = Link::new(Role::Open, 1000, 1);
    link.connect();
    let mut acks = 0;
    link.loses = Box::new(move |is_ours, datagram| {
        acks += u32::from(is_ours && datagram[0] == b'A');
        is_ours && datagram[0] == b'A' && acks % 10 == 0
    });
    link.script.to_send = pattern(1, 100_000).into();
    link.run_until(|link| link.ours.got.len() == 100_000);
    assert!(link.script.resent <= 2, "{}", link.script.resent);
    assert!(link.elapsed() < Duration::from_secs(5), "{:?}", link.elapsed());
    let sent = link.sent[0];
    link.run_for(Duration::from_secs(15));
    assert!(link.sent[0] <= sent + 3, "and only once where nothing more comes");
}

#[test]
fn where_large_datagrams_do_not_arrive_small_ones_carry_it_and_the_user_is_told() {
    let mut link = Link::new(Role::Open, 40_000, 1);
    link.faults.longest = 1472;
    link.connect();
    let bytes = pattern(1, 300_000);
    link.ours.to_send = bytes.clone().into();
    link.run_until(|link| link.script.got.len() == 300_000);
    assert!(link.script.got == bytes, "they differ");
    let cut = |event: &Event| if let Event::Cut { size } = event { Some(*size) } else { None };
    let sizes: Vec<usize> = link.ours.events.iter().filter_map(cut).collect();
    assert_eq!(sizes, [10_000, 2500, 1384]);
    assert!(link.elapsed() < Duration::from_secs(30), "{:?}", link.elapsed());
}

/// It answers old questions, and then takes the large piece that lies behind them in its socket.
#[test]
fn a_script_that_had_not_read_its_socket_gets_no_byte_twice() {
    for pause in 1..60 {
        let mut link = Link::new(Role::Open, 40_000, pause);
        link.connect();
        link.ours.to_send = b"x".to_vec().into();
        link.run_until(|link| link.script.got.len() == 1);
        link.faults.longest = 1472;
        let bytes = pattern(pause, 9000);
        link.ours.to_send = bytes.clone().into();
        link.run_for(Duration::from_millis(100 * pause));
        link.script.reads = false;
        link.faults.longest = 0;
        link.run_for(Duration::from_millis(170 * pause));
        link.script.reads = true;
        link.run_for(Duration::from_secs(60));
        assert!(link.script.got[1..] == bytes, "pause {pause}: {} bytes", link.script.got.len() - 1);
    }
}

#[test]
fn a_local_program_that_reads_slowly_holds_the_script_back_and_does_not_end_it() {
    let mut link = Link::new(Role::Open, 1000, 1);
    link.ours.to_send = b"x".to_vec().into();
    link.connect();
    link.run_until(|link| link.script.got.len() == 1);
    link.ours.reads = false;
    let bytes = pattern(1, 200_000);
    link.script.to_send = bytes.clone().into();
    link.run_for(Duration::from_secs(15 * 60));
    assert_eq!(link.script.exit, None);
    assert!(link.script.to_send.len() >= 200_000 - 64 * 1000, "{}", link.script.to_send.len());
    link.ours.reads = true;
    link.run_until(|link| link.ours.got.len() == 200_000);
    assert!(link.ours.got == bytes, "they differ");
}

#[test]
fn a_script_whose_program_reads_slowly_is_waited_for_as_long_as_its_heart_beats() {
    let mut link = Link::new(Role::Open, 1000, 1);
    link.connect();
    link.ours.to_send = pattern(1, 1000).into();
    link.run_until(|link| link.script.got.len() == 1000);
    link.script.reads = false;
    link.ours.to_send = pattern(2, 5000).into();
    link.run_for(Duration::from_secs(120));
    assert_eq!(link.ours.ends(), []);
    link.script.reads = true;
    link.run_until(|link| link.script.got.len() == 6000);
}

#[test]
fn a_silent_peer_is_given_up_after_thirty_tries_and_a_little() {
    let mut link = Link::new(Role::Open, 1000, 1);
    link.connect();
    link.ours.to_send = pattern(1, 1000).into();
    link.run_until(|link| link.script.got.len() == 1000);
    link.loses = Box::new(|_, _| true);
    link.ours.to_send = pattern(2, 1000).into();
    let before = link.elapsed();
    link.run_until(|link| !link.ours.ends().is_empty());
    assert_eq!(link.ours.ends(), [End::Unacked]);
    let took = link.elapsed() - before;
    assert!((25..70).contains(&took.as_secs()), "{took:?}");
}

#[test]
fn an_idle_session_ends_after_ten_heartbeats_without_a_word() {
    let mut link = Link::new(Role::Open, 1000, 1);
    link.connect();
    link.ours.to_send = pattern(1, 1000).into();
    link.run_until(|link| link.script.got.len() == 1000);
    link.run_for(Duration::from_secs(3600));
    assert_eq!(link.ours.ends(), [], "an idle session lives on heartbeats");
    link.loses = Box::new(|_, _| true);
    let before = link.elapsed();
    link.run_until(|link| !link.ours.ends().is_empty());
    assert_eq!(link.ours.ends(), [End::Silent]);
    let took = link.elapsed() - before;
    assert!((200..=300).contains(&took.as_secs()), "{took:?}");
}
