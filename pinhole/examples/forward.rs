//! The open side: a service of the peer becomes a local port.
//!
//! The peer runs `pinhole -c 22 THIS_PUBLIC_IP`, or the example `serve`, with the same key. Then:
//!
//! ```text
//! PINHOLE_KEY=the-words-of-the-key cargo run --example forward -- 198.51.100.4 2222:22
//! ssh -p 2222 user@localhost
//! ```
//!
//! `main` is the whole life: a phrase becomes a key, an endpoint opens a port, its peer punches and keeps a tunnel up, a forward carries TCP
//! connections through it. The port is open before the tunnel stands; early connections wait for it. When the tunnel
//! is lost it punches again, and nothing here has to change.

use anyhow::{Context, Result};
use pinhole::{Endpoint, Key, PeerConfig, Phrase, Role, forward};

#[tokio::main]
async fn main() -> Result<()> {
    let mut args = std::env::args().skip(1);
    let (peer, spec) = args.next().zip(args.next()).context("usage: forward PEER [BIND:]PORT[:SERVICE]")?;
    let phrase: Phrase = std::env::var("PINHOLE_KEY").context("PINHOLE_KEY is not set")?.parse()?;

    let endpoint = Endpoint::builder(Key::stretch(&phrase)).build().await?;
    let peer = endpoint.peer(PeerConfig::new(Role::Open, peer.as_str())).await?;
    let listening = forward::listen(&peer, &spec.parse()?)?;
    say(&format!("listening on {}", listening.address()));
    let tunnel = peer.connected().await.context("the endpoint was closed")?;
    say(&format!("tunnel to {}", tunnel.remote()));

    tokio::signal::ctrl_c().await?;
    endpoint.close().await; // says goodbye: the peer need not wait for a timeout
    Ok(())
}

#[expect(clippy::print_stderr, reason = "an example is a program, and this is its talk")]
fn say(line: &str) {
    eprintln!("{line}");
}
