//! A TCP port of one machine on another, straight through both NATs.
//!
//! Two machines, each behind a NAT of its own; each user knows the other's public IP and a key that both share.
//! There is no server, no account and no relay. In the order of a life:
//!
//! 1. [`Endpoint::start`] opens a UDP port ([`hub`]) and punches: both sides probe each other until packets pass.
//! 2. Over the proven pair it opens a [`Tunnel`]: QUIC with pinned keys.
//! 3. A [`forward`] carries TCP connections through it, a stream each: [`forward::listen`] on the open side,
//!    [`forward::offer`] on the serve side.
//! 4. When its path is lost, the endpoint punches again, and the tunnel goes on over another one. When the tunnel ends,
//!    forwards wait for the next.
//! 5. All that time [`Endpoint::status`] tells how it goes.
//!
//! [`check`] looks at what could stand in the way.
//!
//! ```no_run
//! use pinhole::{Config, Endpoint, Key, Peer, Phrase, Role, endpoint::DEFAULT_PORT, forward};
//!
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let key = Key::stretch(&std::env::var("PINHOLE_KEY")?.parse::<Phrase>()?);
//! let config = Config::new(Role::Open, key, Peer::new("203.0.113.9", DEFAULT_PORT));
//! let endpoint = Endpoint::start(config).await?;
//! let _listening = forward::listen(&endpoint, &"2222:22".parse()?)?; // ssh -p 2222 localhost
//! let tunnel = endpoint.connected().await.ok_or("the endpoint was closed")?;
//! let _end = tunnel.closed().await;
//! endpoint.close().await;
//! # Ok(())
//! # }
//! ```
//!
//! # Features
//!
//! None is on unless it is asked for.
//!
//! - `own-phrases`: keys that a user made up ([`Phrase`]`::own`), with an estimate of how easily they are guessed.
//! - `stun`: [`check`]`::ask_stun` asks a STUN server how it sees the NAT.

pub mod bind;
pub mod check;
pub mod clock;
pub mod endpoint;
pub mod forward;
pub mod hub;
mod route;
pub mod tunnel;

pub use endpoint::{Config, Endpoint, Event, Peer, status};
pub use pinhole_proto as proto;
pub use pinhole_proto::{Key, Role, key::Phrase};
pub use tunnel::Tunnel;
