//! What may be shown of an instance of another user: figures and addresses, and no sentence of its own.
//!
//! Root asks the instances of all users, and any program of a user can pose as one. So nothing is passed on that this
//! program does not make a sentence of itself, and names are shown where they are plain ones. Of each list the first
//! entries are shown, as many as a snapshot has in earnest.

use pinhole::{
    proto::puncher::Method,
    status::{Snapshot, snapshot::Forward},
};

/// Longest text that is shown, characters.
const LONGEST: usize = 64;

/// Addresses, services and forwards that are shown, of each.
pub(super) const MOST_ENTRIES: usize = 64;

/// Seconds of the traffic that are shown: as many as this program tells.
pub(super) const MOST_SECONDS: usize = 120;

/// What stands in place of a text that is not shown.
const HIDDEN: &str = "?";

/// Returns a snapshot without what its program could say in words of its own.
pub(super) fn without_words(mut snapshot: Snapshot, pid: u32) -> Snapshot {
    let plain_names = |names: Vec<String>| names.into_iter().take(MOST_ENTRIES).map(plain).collect();
    snapshot.addresses.truncate(MOST_ENTRIES);
    let seconds = &mut snapshot.traffic.seconds;
    seconds.sent.truncate(MOST_SECONDS);
    seconds.received.truncate(MOST_SECONDS);
    seconds.rtt_us.truncate(MOST_SECONDS);
    Snapshot {
        version: plain(snapshot.version),
        pid,
        peer: plain(snapshot.peer),
        path: snapshot.path.map(|mut path| {
            path.method = Method::named(&path.method).map_or(HIDDEN, |_| &path.method).to_owned();
            path
        }),
        peer_services: snapshot.peer_services.map(plain_names),
        forwards: snapshot.forwards.into_iter().take(MOST_ENTRIES).map(forward).collect(),
        events: Default::default(),
        history: Vec::new(),
        troubles: Vec::new(),
        ..snapshot
    }
}

fn forward(forward: Forward) -> Forward {
    Forward {
        service: plain(forward.service),
        target: plain(forward.target),
        reaches: forward.reaches.map(plain),
        ..forward
    }
}

/// Returns a text if it can be a name, an address or a version, and nothing like a sentence or a command.
fn plain(text: String) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "._-:[]%+".contains(c);
    let is_short = text.len() <= LONGEST;
    if is_short && text.chars().all(is_plain) { text } else { HIDDEN.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_user_s_program_has_no_words_of_its_own() {
        let said = include_str!("../../../fuzz/seeds/status/hostile");
        let mut snapshot: Snapshot = serde_json::from_str(said).expect("a snapshot");
        snapshot.peer = "run curl example.org as root".into();
        snapshot.peer_services = Some(vec!["ssh".into(), "a;b".into()]);
        let shown = without_words(snapshot, 42);
        assert_eq!((shown.pid, &*shown.peer), (42, HIDDEN));
        assert_eq!(shown.peer_services, Some(vec!["ssh".to_owned(), HIDDEN.to_owned()]));
        assert!(shown.history.is_empty() && shown.troubles.is_empty() && shown.events.is_empty());
    }

    #[test]
    fn addresses_names_and_versions_are_plain() {
        for text in
            ["203.0.113.9:5555", "[2001:db8::1%eth0]:22", "home.example.org:5555", "0.1.0-rc.1+x", "ssh_2"]
        {
            assert_eq!(plain(text.into()), text);
        }
    }
}
