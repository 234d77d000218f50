//! The serve side: local TCP services are offered to the peer, and what happens is told.
//!
//! The peer runs `pinhole open 2222:22 8080:web --peer THIS_PUBLIC_IP`, or the example `forward`, with the same key.
//! Then:
//!
//! ```text
//! PINHOLE_KEY=the-words-of-the-key cargo run --example serve -- 203.0.113.9 22 web=localhost:8080
//! ```
//!
//! The endpoint tells its states, its troubles and the fate of connections as [`Event`]s; whoever asks first hears
//! them from the start. They are news, not errors: the endpoint goes on by itself until it is closed.

use anyhow::{Context, Result};
use pinhole::{
    Config, Endpoint, Event, Key, Peer, Phrase, Role,
    endpoint::DEFAULT_PORT,
    forward::{self, ServeSpec},
};
use tokio::sync::broadcast::error::RecvError;

#[tokio::main]
async fn main() -> Result<()> {
    let mut args = std::env::args().skip(1);
    let peer = args.next().context("usage: serve PEER [NAME=][HOST:]PORT...")?;
    let services: Vec<ServeSpec> = args.map(|spec| spec.parse()).collect::<Result<_, _>>()?;
    let phrase: Phrase = std::env::var("PINHOLE_KEY").context("PINHOLE_KEY is not set")?.parse()?;

    let config = Config::new(Role::Serve, Key::stretch(&phrase), Peer::new(peer, DEFAULT_PORT));
    let endpoint = Endpoint::start(config).await?;
    let mut events = endpoint.events();
    let _offered_until_dropped = forward::offer(&endpoint, &services)?;
    loop {
        tokio::select! {
            interrupted = tokio::signal::ctrl_c() => break interrupted?,
            event = events.recv() => match event {
                Ok(event) => tell(&event),
                Err(RecvError::Lagged(missed)) => say(&format!("{missed} events came too fast to be told")),
                Err(RecvError::Closed) => break,
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
