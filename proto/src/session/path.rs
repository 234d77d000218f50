//! The path of a tunnel: what the puncher finds and loses, and what follows for the tunnel.

use std::time::{Duration, Instant};

use super::{ConnectionHandle, Event, Output, Session, TunnelEnd, unheard::Unheard, waking::Waking};
use crate::{
    Now, Role,
    puncher::{self, Connected, Loss},
};

/// A path by which the peer has acknowledged nothing for this long, plus [`DOUBT_RTTS`] round trips, is doubted where there
/// is another one to choose.
const DOUBT: Duration = Duration::from_millis(1500);

/// The same for each further one, plus two round trips: all of them have their turn before a handshake is given up.
const AGAIN: Duration = Duration::from_millis(250);

/// See [`DOUBT`].
const DOUBT_RTTS: u32 = 4;

impl Session {
    /// Takes all that the puncher wants, and follows its events.
    pub(super) fn follow(&mut self, now: Now) {
        loop {
            let output = match self.puncher.poll_output() {
                puncher::Output::Transmit(transmit) => Output::Transmit(transmit),
                puncher::Output::Open { socket, port } => Output::Open { socket, port },
                puncher::Output::Close(socket) => Output::Close(socket),
                puncher::Output::Event(event) => {
                    self.handle_punch(event, now);
                    continue;
                }
                puncher::Output::Timeout(_) => return,
            };
            self.outputs.push_back(output);
        }
    }

    fn handle_punch(&mut self, event: puncher::Event, now: Now) {
        match event {
            puncher::Event::Heard { from } => self.tell(Event::Heard { from }),
            puncher::Event::Trouble(trouble) => self.tell(Event::Trouble(trouble)),
            puncher::Event::Connected(connected) => self.handle_connected(connected, now),
            puncher::Event::PathLost(loss) => {
                self.outputs.push_back(Output::Locate);
                self.handle_path_lost(Some(loss), now.instant);
            }
            puncher::Event::PeerSearching => {
                self.outputs.push_back(Output::Locate);
                self.handle_path_lost(None, now.instant);
            }
            puncher::Event::PeerGone if self.tunnel.is_none() => {}
            puncher::Event::PeerGone => self.start_over(Event::PeerGone),
            puncher::Event::PeerRestarted => {
                self.outputs.push_back(Output::Locate);
                self.start_over(Event::PeerRestarted);
            }
            puncher::Event::PeerLeft => {
                self.outputs.push_back(Output::Locate);
                // The tunnel's own goodbye may have come before it.
                if self.tunnel.is_some() || self.punched.is_some() {
                    self.start_over(Event::PeerLeft);
                }
            }
            puncher::Event::Displaced => {
                self.outputs.push_back(Output::Locate);
                self.tell(Event::Displaced);
                self.drop_tunnel(None);
                self.punched = None;
                self.forget_handshakes();
            }
        }
    }

    /// The pair is there. A tunnel that stands goes on over it. Otherwise the open side dials, and the serve side waits
    /// for that.
    fn handle_connected(&mut self, over: Connected, now: Now) {
        self.outputs.push_back(Output::Admit(over));
        let (before, last) = (self.punched.replace(over), self.last.replace(over));
        if before.is_none() {
            self.unheard = Unheard::default();
        }
        if self.role == Role::Serve {
            let doubt = if self.doubts == 0 { DOUBT + over.rtt * DOUBT_RTTS } else { AGAIN + over.rtt * 2 };
            self.doubt = Some((now.instant + doubt, self.vitals.acknowledged));
            if self.tunnel.is_none() && before.is_some() {
                return; // the handshake goes on by this one
            }
        }
        if self.tunnel.is_none() {
            self.tell(Event::Punched(over));
            return self.shake_hands(over, now.instant);
        }
        let was_heard = self.lost.take().is_some_and(|before| before != self.vitals.acknowledged)
            && last.is_some_and(|last| last.pair == over.pair)
            && self.puncher.peer_has_tunnel();
        // Where the path was just slow, QUIC knows it better than a fresh start would.
        if !was_heard {
            let silent_since = self.silent_since().unwrap_or(now.instant);
            self.waking = Some(Waking::new(self.role, over, silent_since, self.vitals, now.instant));
            self.outputs.push_back(Output::ResetController);
        } else {
            self.doubt = None;
        }
        let event = match self.path_lost_at.take() {
            Some(lost_at) => {
                Event::PathBack { connected: over, after: now.instant.saturating_duration_since(lost_at) }
            }
            None => Event::PathChanged(over),
        };
        self.tell(event);
    }

    /// The open side's words come by the path that it has chosen. Where ours arrive nowhere, somebody has led us to another
    /// one.
    pub(super) fn doubt_path(&mut self, now: Now) {
        let Some((_, before)) = self.doubt.take() else { return };
        if self.punched.is_none() || self.vitals.acknowledged != before {
            self.doubts = 0;
            return;
        }
        self.doubts += 1;
        self.puncher.doubt_choice(now);
        self.follow(now);
        if self.doubt.is_some() {
            self.outputs.push_back(Output::Wake); // what had gone astray leaves again at once
        }
    }

    fn shake_hands(&mut self, over: Connected, now: Instant) {
        let was_in_vain = self.handshakes.handle_connected(self.role, over, now);
        self.outputs.push_back(Output::SetWithoutOffload(was_in_vain));
        if self.role == Role::Open {
            let connection = self.begin();
            self.outputs.push_back(Output::Dial { connection, over });
        }
    }

    pub(super) fn begin(&mut self) -> ConnectionHandle {
        self.last_connection += 1;
        let connection = ConnectionHandle(self.last_connection);
        let oldest = self.handshakes.begin(connection);
        self.outputs.extend(oldest.map(Output::Abandon));
        connection
    }

    /// The tunnel waits, if there is one. `loss` is `None` where the peer has noticed first.
    fn handle_path_lost(&mut self, loss: Option<Loss>, now: Instant) {
        if self.tunnel.is_some() && self.patience.is_zero() {
            self.tell(Event::TunnelLost(TunnelEnd::NoPath));
            self.drop_tunnel(Some(TunnelEnd::NoPath));
        }
        if self.tunnel.is_none() {
            if loss.is_some() {
                self.handshakes.forgive();
            }
            return self.tell_searching();
        }
        if self.punched.is_some() {
            self.lost = Some(self.vitals.acknowledged);
        }
        let unheard_since = self.unheard.take_blocked(loss);
        self.path_lost_at = Some(self.silent_since().or(unheard_since).unwrap_or(now));
        (self.punched, self.waking, self.doubts) = (None, None, 0);
        self.name.hurry(now);
        self.tell(Event::PathLost { loss });
    }

    pub(super) fn wake_tunnel(&mut self, now: Now) {
        let Some(waking) = &mut self.waking else { return };
        if !waking.handle_timeout(self.vitals, now.instant) {
            self.waking = None;
        } else if self.puncher.peer_lacks_tunnel(waking.settled_at) && !self.handshakes.are_under_way() {
            self.end_tunnel(TunnelEnd::Broken, now); // unless the next one is about to stand
        } else {
            self.outputs.push_back(Output::Wake);
        }
    }
}
