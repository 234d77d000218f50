//! Waits for the check on the other side, and makes the check of both with it.

use std::{io::IsTerminal, time::Duration};

use anyhow::Result;
use pinhole::{
    Endpoint, Event, Key, Peer, PeerConfig, Role, Tunnel,
    check::{self, CheckError, Plan, Progress},
    clock,
    endpoint::{DEFAULT_PORT, PeerAddress, Purpose},
    mux,
    proto::{
        puncher::{Connected, Limits, NoPathCause, SearchReport, Trouble},
        survey::{LIFETIME_MAPPINGS, MAX_MAPPINGS, MOST_LIFETIME, Outcome},
    },
};
use tokio::time::Instant;

use super::{
    super::{
        args::{CheckArgs, CheckSide},
        journal::{Level, one_line},
        key,
        keyring::{self, Found, Origin},
        message::{Message, OrSay},
        say, say_as, texts, tunnel,
    },
    machine::Own,
};

/// Longest time of a whole check once the tunnel is up, the wait for mappings to go left out.
const WHOLE: Duration = Duration::from_secs(300);

/// How it went.
pub(super) enum Meeting {
    /// Both sides are checked.
    Checked { outcome: Box<Outcome>, connected: Connected, has_watched: bool },
    /// The two did not meet; what this side has found out, if it searched.
    Apart(Option<SearchReport>),
    /// What was said on the way says it all.
    Told(String),
    /// They met, and then something came between.
    Broken(CheckError),
    /// The user has ended it.
    Ended,
}

/// Finds a key, if there is one or somebody who can be asked. A check makes none.
pub(super) fn key(args: &CheckArgs) -> Result<Option<Found>> {
    match keyring::look(&args.key)? {
        None if std::io::stdin().is_terminal() => {
            let found = Found { phrase: keyring::prompt(args.key.own)?, origin: Origin::Prompt };
            say(&Message::UsingTypedKey(key::describe(&found.origin)));
            Ok(Some(found))
        }
        found => Ok(found),
    }
}

pub(super) fn role(args: &CheckArgs) -> Role {
    match args.side {
        CheckSide::Open => Role::Open,
        CheckSide::Serve => Role::Serve,
    }
}

/// Searches for the other side's check, and makes the check of both with it.
pub(super) async fn meet(
    args: &CheckArgs,
    own: &Own,
    address: &PeerAddress,
    found: &Found,
) -> Result<Meeting> {
    let key = Key::stretch(&found.phrase);
    let (limits, [mappings, lifetime_mappings]) = share(args.limits.limits());
    let builder =
        Endpoint::builder(key.clone()).bind(address.port).bind_ip(args.own_ip().into()).limits(limits);
    let endpoint = builder.build().await.map_err(tunnel::advise)?;
    let config = PeerConfig::new(role(args), address.clone()).purpose(Purpose::Check);
    let peer = endpoint.peer(config).await.map_err(tunnel::advise)?;
    introduce(args, &address.host);
    let plan = Plan {
        key,
        low_ttl: own.peer.map_or(1, |peer| check::low_ttl(own.machine.source, &own.hops, peer)),
        mappings,
        packets_per_second: limits.packets_per_second,
        transfer_bytes: args.transfer << 20,
        lifetime_mappings,
        lifetime_s: args.lifetime.unwrap_or(0),
    };
    let meeting = tokio::select! {
        meeting = search_and_check(&peer, &plan, args.wait) => meeting,
        interrupted = tokio::signal::ctrl_c() => {
            interrupted.or_say(|| Message::NoSignals)?;
            Meeting::Ended
        }
    };
    endpoint.close().await;
    Ok(meeting)
}

async fn search_and_check(peer: &Peer, plan: &Plan, wait: Duration) -> Meeting {
    let (tunnel, connected) = match search(peer, wait).await {
        Ok(met) => met,
        Err(apart) => return apart,
    };
    say(&Message::Surveying);
    let mut has_watched = false;
    let progress = |progress| match progress {
        Progress::Survey(part, parts) => tracing::debug!(part, parts, "survey"),
        Progress::Lifetime(seconds) => {
            has_watched = true;
            say(&Message::WatchingMappings(seconds));
        }
        _ => {}
    };
    let whole = WHOLE + Duration::from_secs(MOST_LIFETIME.into());
    let checked =
        tokio::time::timeout(whole, check::both_sides(peer, &tunnel, connected, plan, progress)).await;
    match checked {
        Ok(Ok(outcome)) => Meeting::Checked { outcome: Box::new(outcome), connected, has_watched },
        Ok(Err(error)) => Meeting::Broken(error),
        Err(_) => Meeting::Broken(CheckError::Silent),
    }
}

/// Waits for a tunnel and says what is worth a word meanwhile.
async fn search(peer: &Peer, wait: Duration) -> Result<(Tunnel, Connected), Meeting> {
    let mut events = peer.events();
    let until = Instant::now() + wait;
    let (mut connected, mut wrong_start) = (None, None);
    loop {
        let event = tokio::select! {
            event = events.next() => event,
            () = clock::until(Some(until)) => return Err(match wrong_start {
                Some(told) => Meeting::Told(told),
                None => Meeting::Apart(peer.search_report().await),
            }),
            end = peer.ended() => return Err(Meeting::Told(Message::PartEnded(end).to_string())),
        };
        match event {
            Some(Ok(Event::Punched(by) | Event::PathChanged(by))) => connected = Some(by),
            Some(Ok(Event::TunnelUp { .. })) => {
                if let (Some(tunnel), Some(connected)) = (peer.current(), connected) {
                    return Ok((tunnel, connected));
                }
            }
            // It may be mended on the other side meanwhile; and somebody on the way can send back what we have sent.
            Some(Ok(Event::Trouble(
                trouble @ (Trouble::SameRole { .. } | Trouble::OwnEcho { .. } | Trouble::OtherVerb { .. }),
            ))) => {
                let told = wrongly_started(&trouble);
                say_as(Level::Info, &told);
                wrong_start = Some(told);
            }
            Some(Ok(Event::Heard { .. })) => wrong_start = None, // and it is refuted
            Some(Ok(event @ (Event::Trouble(_) | Event::HandshakeFailed { .. }))) => {
                if let Some(line) = texts::describe(&event) {
                    say_as(Level::Info, &one_line(&line));
                }
            }
            Some(Ok(_) | Err(_)) => {}
            None => return Err(Meeting::Apart(None)),
        }
    }
}

/// Says that one of the two sides was started in a wrong way.
fn wrongly_started(trouble: &Trouble) -> String {
    if let Trouble::SameRole { role } = trouble {
        return Message::SameSide(*role).to_string();
    }
    texts::describe_trouble(trouble)
}

/// Shares the mappings between the first look at the routers, the search, and the survey and the watch after it.
fn share(limits: Limits) -> (Limits, [u16; 2]) {
    let looked = u16::from(mux::HOPS);
    let limits =
        Limits { mappings: limits.mappings.saturating_sub(looked).max(Limits::LEAST.mappings), ..limits };
    let room = limits.mappings.saturating_sub(Limits::LEAST.mappings);
    let survey = (limits.mappings / 6).min(MAX_MAPPINGS).min(room);
    let watch = LIFETIME_MAPPINGS.min(room - survey);
    (Limits { mappings: limits.mappings - survey - watch, ..limits }, [survey, watch])
}

fn introduce(args: &CheckArgs, peer: &str) {
    let port = match args.udp_port() {
        DEFAULT_PORT => String::new(),
        port => format!(" --port {port}"),
    };
    let side = match args.side {
        CheckSide::Open => " --as serve",
        CheckSide::Serve => "",
    };
    say(&Message::WaitingForCheck { seconds: args.wait.as_secs_f64(), peer: peer.to_owned() });
    say_as(Level::Info, &format!("  pinhole check THIS_IP{side}{port}"));
}

/// The sentence for two sides that did not meet.
pub(in super::super) fn apart(wait: Duration, why: Option<&NoPathCause>) -> String {
    let seconds = wait.as_secs_f64();
    match why {
        Some(why) => {
            format!("The two sides did not meet in {seconds} s: {}", texts::sentence(&texts::no_path(why)))
        }
        None => format!("The two sides did not meet in {seconds} s."),
    }
}

/// The sentence for two sides that met, and no more.
pub(in super::super) fn broken(error: &CheckError) -> String {
    format!("The two sides met, but the check came to no end: {error}.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_search_and_the_survey_share_what_the_user_allows() {
        for limits in [Limits::DEFAULT, Limits::GENTLE, Limits::LEAST] {
            let (search, [survey, watch]) = share(limits);
            assert!(search.mappings + survey + watch <= limits.mappings);
            assert!(search.mappings >= Limits::LEAST.mappings);
        }
        assert_eq!(share(Limits::DEFAULT), (Limits { mappings: 1254, ..Limits::DEFAULT }, [254, 20]));
    }
}
