//! How sessions begin and end, and what a stray datagram does: nothing.

use std::time::Duration;

use super::{
    link::{Link, THEIRS, pattern},
    script::Script,
};
use pinhole_proto::Role;

use crate::{End, Event, wire};

const BOTH: [Role; 2] = [Role::Serve, Role::Open];
const SECOND: Duration = Duration::from_secs(1);

/// Starts the script again, as its user or a loop does; that takes a while.
fn restart(link: &mut Link) {
    link.script.exit.get_or_insert(0);
    link.run_for(Duration::from_millis(100));
    link.script = Script::new(link.script.role, 1000, link.now);
}

/// A session in which each side has said a word.
fn session(role: Role) -> Link {
    let mut link = Link::new(role, 1000, 1);
    link.connect();
    say(&mut link);
    link
}

fn say(link: &mut Link) {
    link.ours.got.clear();
    link.ours.to_send = b"from us".to_vec().into();
    link.script.to_send = b"from them".to_vec().into();
    link.run_until(|link| link.script.got == b"from us" && link.ours.got == b"from them");
}

#[test]
fn the_service_is_not_connected_to_before_the_peer_has_a_client() {
    let mut link = Link::new(Role::Serve, 1000, 1);
    link.run_for(200 * SECOND);
    assert_eq!(link.ours.count(&Event::Wanted), 0);
    assert!(link.ours.events.contains(&Event::Heard { from: THEIRS }));
    link.ours.to_send = b"banner".to_vec().into();
    let before = link.elapsed();
    link.script.accept();
    link.run_until(|link| link.script.got == b"banner");
    assert!(link.elapsed() - before < Duration::from_millis(100), "the questions wait in its socket");
    assert_eq!(link.ours.count(&Event::Wanted), 1);
    link.run_for(60 * SECOND);
    assert_eq!(link.ours.ends(), []);
}

#[test]
fn a_peer_that_runs_pinhole_is_named_once_and_nothing_else_changes() {
    let mut link = Link::new(Role::Open, 1000, 1);
    let sealed = [0x82; pinhole_proto::probe::PROBE_BYTES];
    let stranger = "192.0.2.66:5555".parse().expect("an address");
    for from in [stranger, THEIRS, THEIRS] {
        link.ours.machine.handle_datagram(from, &sealed, link.now);
    }
    link.run_until(|link| !link.ours.events.is_empty());
    assert_eq!(link.ours.events[0], Event::Pinhole { from: THEIRS });
    link.run_until(|link| link.ours.machine.is_heard());
    link.ours.machine.handle_datagram(THEIRS, &sealed, link.now);
    link.run_for(SECOND);
    assert_eq!(link.ours.count(&Event::Pinhole { from: THEIRS }), 1);
}

#[test]
fn the_first_words_of_a_service_wait_for_a_client() {
    let mut link = Link::new(Role::Open, 1000, 1);
    link.script.to_send = b"banner".to_vec().into();
    link.run_for(120 * SECOND);
    assert_eq!(link.script.exit, None, "acked, so it does not give up");
    link.ours.machine.open(link.now);
    link.run_until(|link| link.ours.got == b"banner");
}

#[test]
fn the_first_words_of_the_last_run_are_those_that_count() {
    let mut link = Link::new(Role::Open, 1000, 1);
    for banner in ["first", "second", "second", "third"] {
        restart(&mut link);
        link.script.to_send = banner.as_bytes().to_vec().into();
        link.run_for(5 * SECOND);
        link.script.to_send = format!(" of {banner}").into_bytes().into();
        link.run_for(5 * SECOND);
    }
    link.ours.machine.open(link.now);
    link.run_until(|link| link.ours.got == b"third of third");
}

#[test]
fn the_end_of_our_connection_ends_the_script_and_its_next_run_serves_the_next_one() {
    for role in BOTH {
        let mut link = session(role);
        for _ in 0..3 {
            link.ours.machine.close(link.now);
            link.run_until(|link| link.script.exit.is_some());
            assert_eq!(link.script.exit, Some(16), "an unknown type ends it");
            restart(&mut link);
            link.run_for(SECOND);
            link.connect();
            say(&mut link);
        }
        assert_eq!(link.ours.ends(), [End::Local; 3]);
        link.run_for(300 * SECOND);
        assert_eq!(link.script.exit, None, "and no later run is harmed");
    }
}

#[test]
fn everything_is_delivered_before_the_script_is_told_of_the_end() {
    for role in BOTH {
        let mut link = session(role);
        let bytes = pattern(9, 50_000);
        link.ours.to_send = bytes.clone().into();
        link.ours.has_eof = true;
        link.faults.lose = 10;
        link.run_until(|link| link.script.exit.is_some());
        assert!(link.script.got[7..] == bytes, "{}", link.script.got.len());
    }
}

/// Nothing is said on the wire; its next run tells.
#[test]
fn a_script_that_has_ended_by_itself_is_noticed_by_its_next_run_at_the_latest() {
    let mut link = session(Role::Open);
    link.script.to_send = b" and goodbye".to_vec().into();
    link.script.finish();
    link.run_until(|link| link.script.exit == Some(12));
    assert_eq!(link.ours.got, b"from them and goodbye");
    restart(&mut link);
    link.script.to_send = b"from them".to_vec().into();
    link.run_until(|link| !link.ours.ends().is_empty());
    assert_eq!(link.ours.ends(), [End::Restarted]);
    link.ours.machine.open(link.now);
    link.run_until(|link| link.ours.got == b"from them");
}

#[test]
fn a_client_that_has_finished_sending_still_gets_its_answer() {
    let mut link = session(Role::Open);
    link.ours.has_eof = true;
    link.run_for(3 * SECOND);
    for _ in 0..10 {
        link.script.to_send.extend(b"more");
        link.run_for(3 * SECOND);
    }
    assert_eq!(link.ours.got.len(), 9 + 40);
    assert_eq!(link.ours.ends(), []);
    link.run_for(6 * SECOND);
    assert_eq!(link.ours.ends(), [End::Local]);
}

#[test]
fn a_script_that_was_started_again_ends_the_session_and_gets_nothing_of_it() {
    for role in BOTH {
        let mut link = session(role);
        restart(&mut link);
        link.script.accept();
        link.ours.to_send = b"the middle of something".to_vec().into();
        link.run_until(|link| !link.ours.ends().is_empty());
        assert_eq!(link.ours.ends(), [End::Restarted]);
        assert_eq!(link.script.got, b"");
        assert_eq!(link.script.exit, None, "it is not told to end");
        link.ours.to_send.clear();
        if role == Role::Open {
            link.ours.machine.open(link.now);
        }
        say(&mut link);
    }
}

#[test]
fn the_first_words_of_another_run_end_the_session_even_if_nothing_is_sent() {
    for banner in ["other words", "from them"] {
        let mut link = session(Role::Open);
        link.script.to_send = b"and more".to_vec().into();
        link.run_for(SECOND);
        restart(&mut link);
        link.script.to_send = banner.as_bytes().to_vec().into();
        link.run_until(|link| !link.ours.ends().is_empty());
        assert_eq!(link.ours.ends(), [End::Restarted]);
        link.ours.got.clear();
        link.ours.machine.open(link.now);
        link.run_until(|link| link.ours.got == banner.as_bytes());
    }
}

/// The same page is asked for with the same words, by the script's next run, before we know that the former is over.
#[test]
fn another_run_that_begins_with_the_same_word_is_not_taken_for_a_copy() {
    let mut link = session(Role::Serve);
    restart(&mut link);
    link.script.to_send = b"from them".to_vec().into();
    link.script.accept();
    link.run_until(|link| link.script.next == 1);
    link.run_for(SECOND);
    assert_eq!(link.ours.ends(), [End::Restarted]);
    assert_eq!(link.ours.count(&Event::Began), 2, "{:?}", link.ours.events);
    assert_eq!(link.ours.got, b"from them");
}

/// What the former run has said is all that the new one could be told by, and that is the same.
#[test]
fn another_run_that_says_the_same_to_a_silent_client_is_not_spliced_into_the_former_one() {
    let mut link = Link::new(Role::Open, 100, 1);
    link.connect();
    link.script.to_send = pattern(1, 2000).into();
    link.run_until(|link| link.ours.got.len() == 2000);
    link.script = Script::new(Role::Serve, 100, link.now);
    link.script.to_send = [pattern(1, 2000), pattern(2, 900)].concat().into();
    link.run_until(|link| !link.ours.ends().is_empty());
    assert_eq!(link.ours.ends(), [End::Restarted]);
    assert_eq!(link.ours.got, pattern(1, 2000));
}

#[test]
fn a_first_piece_whose_ack_got_lost_is_acked_when_it_comes_again() {
    for lost in 1..4 {
        let mut link = Link::new(Role::Serve, 1000, 1);
        link.connect();
        let mut acks = 0;
        link.loses = Box::new(move |is_ours, datagram| {
            acks += u32::from(is_ours && datagram[0] == b'A');
            is_ours && datagram[0] == b'A' && acks <= lost
        });
        say(&mut link);
        link.run_until(|link| link.script.next == 1);
        assert_eq!(link.ours.ends(), []);
    }
}

#[test]
fn an_answer_to_a_question_of_before_begins_nothing() {
    let mut link = session(Role::Open);
    link.loses = Box::new(|is_ours, _| !is_ours);
    link.ours.machine.close(link.now);
    link.ours.machine.open(link.now);
    for _ in 0..3 {
        link.ours.machine.handle_datagram(THEIRS, &wire::nack(0), link.now);
        link.run_for(Duration::from_millis(150));
    }
    assert_eq!(link.ours.count(&Event::Began), 1);
}

/// It would ack the first pieces as copies, and drop them.
#[test]
fn nothing_is_sent_to_a_script_that_holds_a_former_session() {
    for role in BOTH {
        let mut link = session(role);
        let fresh = Link::new(role, 1000, 2);
        link.ours = fresh.ours; // our program was killed and started again
        link.ours.to_send = b"a new session".to_vec().into();
        link.ours.machine.open(link.now);
        link.run_until(|link| link.script.exit.is_some());
        assert_eq!((link.script.exit, link.script.got.as_slice()), (Some(16), &b"from us"[..]));
        restart(&mut link);
        link.script.accept();
        link.run_until(|link| link.script.got == b"a new session");
    }
}

#[test]
fn a_peer_that_does_not_understand_the_goodbye_is_left_to_its_time_outs() {
    let mut link = session(Role::Open);
    link.loses = Box::new(|is_ours, datagram| is_ours && datagram[0] == b'E');
    link.ours.machine.close(link.now);
    let before = link.elapsed();
    link.ours.machine.open(link.now);
    link.run_until(|link| link.script.exit.is_some());
    assert_eq!(link.script.exit, Some(14));
    assert!(link.elapsed() - before < 300 * SECOND);
    assert_eq!(link.ours.count(&Event::Busy), 1);
    restart(&mut link);
    say(&mut link);
}

#[test]
fn a_service_that_is_down_is_asked_for_again_and_again_but_calmly() {
    let mut link = Link::new(Role::Serve, 1000, 1);
    link.ours.serves = false;
    link.script.accept();
    link.run_until(|link| link.script.exit.is_some());
    assert_eq!(link.script.exit, Some(16), "its client learns by the end");
    link.loses = Box::new(|is_ours, datagram| is_ours && datagram[0] == b'E');
    restart(&mut link);
    link.script.accept();
    link.run_for(100 * SECOND);
    let wanted = link.ours.count(&Event::Wanted);
    assert!((5..=101).contains(&wanted), "{wanted}");
    link.ours.serves = true;
    say(&mut link);
}

#[test]
fn stray_datagrams_change_nothing() {
    for role in BOTH {
        let mut link = session(role);
        let stranger = "192.0.2.1:5555".parse().expect("an address");
        let strays: [&[u8]; 9] = [
            b"",
            b"A",
            b"U\0",
            b"Z junk",
            b"E\0\0\0\0pinholeendz",
            b"\x81\x02",
            b"A\0\x09",
            b"N\xff\0",
            b"H",
        ];
        for stray in strays {
            link.ours.machine.handle_datagram(THEIRS, stray, link.now);
            link.ours.machine.handle_datagram(stranger, stray, link.now);
            link.ours.machine.handle_datagram(stranger, &wire::goodbye(1), link.now);
            link.run_for(SECOND);
        }
        link.script.to_send = b"!".to_vec().into();
        link.ours.to_send = b"!".to_vec().into();
        link.run_until(|link| link.script.got == b"from us!" && link.ours.got == b"from them!");
        assert_eq!(link.ours.ends(), []);
        assert_eq!(link.ours.machine.dropped().strangers, 18);
    }
}

#[test]
fn answers_go_to_the_port_where_the_peer_is_heard() {
    let mut link = session(Role::Open);
    link.run_for(SECOND);
    let moved = std::net::SocketAddr::new(THEIRS.ip(), 61_000);
    link.ours.machine.handle_datagram(moved, b"HELOSRVR", link.now);
    link.ours.machine.send(b"x", link.now);
    let crate::Output::Transmit(transmit) = link.ours.machine.poll_output() else { panic!("one is due") };
    assert_eq!(transmit.to, moved);
}

#[test]
fn a_lost_peer_is_told_once_and_heard_again() {
    let mut link = session(Role::Open);
    link.ours.machine.close(link.now);
    link.run_for(20 * SECOND);
    link.run_for(3600 * SECOND);
    assert_eq!(link.ours.count(&Event::Lost), 1);
    assert!(!link.ours.machine.is_heard());
    restart(&mut link);
    link.run_for(SECOND);
    assert_eq!(link.ours.count(&Event::Heard { from: THEIRS }), 2);
}
