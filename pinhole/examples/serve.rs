//! The serve side: local TCP services are offered to the peer, and what happens is told.
//!
//! The peer runs `pinhole open 2222:22 8080:web --peer THIS_PUBLIC_IP`, or the example `forward`, with the same key.
//! Then:
//!
//! ```text
//! PINHOLE_KEY=the-words-of-the-key cargo run --example serve -- 203.0.113.9 22 web=localhost:8080
//! ```
//!
//! A peer tells its states, its troubles and the fate of connections as [`Event`]s, beginning with what holds. They are
//! news, not errors: the peer goes on by itself until it is closed.

use anyhow::{Context, Result};
use pinhole::{
    Endpoint, Event, Key, PeerConfig, Phrase, Role,
    forward::{self, ServeSpec},
};

#[tokio::main]
async fn main() -> Result<()> {
    let mut args = std::env::args().skip(1);
    let peer = args.next().context("usage: serve PEER [NAME=][HOST:]PORT...")?;
    let services: Vec<ServeSpec> = args.map(|spec| spec.parse()).collect::<Result<_, _>>()?;
    let phrase: Phrase = std::env::var("PINHOLE_KEY").context("PINHOLE_KEY is not set")?.parse()?;

    let endpoint = Endpoint::builder(Key::stretch(&phrase)).build().await?;
    let peer = endpoint.peer(PeerConfig::new(Role::Serve, peer.as_str())).await?;
    let mut events = peer.events();
    let _offered_until_dropped = forward::offer(&peer, &services)?;
    loop {
        tokio::select! {
            interrupted = tokio::signal::ctrl_c() => break interrupted?,
            event = events.next() => match event {
                Some(Ok(event)) => tell(&event),
                Some(Err(missed)) => say(&missed.to_string()),
                None => break,
            },
        }
    }
    endpoint.close().await;
    Ok(())
}

/// Tells what a person would want to know; [`Event`] has more.
fn tell(event: &Event) {
    if let Event::Punched(connected) = event {
        say(&format!("hole punched: {}, RTT {:?}", connected.pair.remote, connected.rtt));
    } else if let Event::TunnelUp { remote } = event {
        say(&format!("tunnel to {remote}"));
    } else if matches!(event, Event::PeerLeft | Event::TunnelLost(_)) {
        say("the peer is gone; waiting for its return");
    } else if let Event::Trouble(trouble) = event {
        say(&format!("trouble: {trouble:?}"));
    }
}

#[expect(clippy::print_stderr, reason = "an example is a program, and this is its talk")]
fn say(line: &str) {
    eprintln!("{line}");
}
