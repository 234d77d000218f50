//! A TCP port of one machine on another, straight through both NATs.
//!
//! Two machines, each behind a NAT of its own; each user knows the other's public IP and a key that both share.
//! There is no server, no account and no relay. In the order of a life:
//!
//! 1. An [`Endpoint`] opens a UDP port ([`mux`]); each [`Peer`] of it punches: both sides probe each other until
//!    packets pass.
//! 2. Over the proven pair it opens a [`Tunnel`]: QUIC with pinned keys.
//! 3. A [`forward`] carries TCP connections through it, a stream each: [`forward::listen`] on the open side,
//!    [`forward::offer`] on the serve side. [`Peer::open_stream`] and [`Peer::accept_stream`] are for streams of one's own.
//! 4. When its path is lost, the peer punches again, and the tunnel goes on over another one. When the tunnel ends,
//!    forwards wait for the next.
//! 5. All that time [`Peer::events`] and [`Peer::status`] tell how it goes.
//!
//! [`check`] looks at what could stand in the way.
//!
//! ```no_run
//! use pinhole::{Endpoint, Key, PeerConfig, Phrase, Role, forward};
//!
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let key = Key::stretch(&std::env::var("PINHOLE_KEY")?.parse::<Phrase>()?);
//! let endpoint = Endpoint::builder(key).bind(5555).build().await?;
//! let peer = endpoint.peer(PeerConfig::new(Role::Open, "203.0.113.9")).await?;
//! let _listening = forward::listen(&peer, &"2222:22".parse()?)?; // ssh -p 2222 localhost
//! let tunnel = peer.connected().await.ok_or("the endpoint was closed")?;
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
//! - `schema`: `JsonSchema` of schemars for [`Event`], with the words that its fields may have.
//! - `stun`: [`check`]`::ask_stun` asks a STUN server how it sees the NAT.

pub mod bind;
pub mod check;
pub mod clock;
pub mod endpoint;
pub mod forward;
pub mod mux;
mod sys;
pub mod tunnel;

pub use endpoint::{Endpoint, Event, Peer, PeerConfig, status};
pub use pinhole_proto as proto;
pub use pinhole_proto::{Key, Role, key::Phrase};
pub use tunnel::Tunnel;
