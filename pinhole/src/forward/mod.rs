//! Connections through the tunnel, a stream each.
//!
//! One side, mostly the open one, [`listen`]s: each local connection waits for the tunnel if it must (bounded in number
//! and time), opens a stream and names a service. The other one [`offer`]s: it connects each stream to the service.
//! Then `splice` carries the bytes, half-closes and resets of both directions; `conn_to_stream` packs them where the
//! `compression` policy finds that it pays. A [`Proxy`] is for single connections that came some other way than by a
//! local port, of any kind that reads and writes ([`Conn`]).

mod answering;
mod compression;
mod conn;
mod conn_to_stream;
mod listen;
mod offer;
mod pack;
mod proxy;
mod spec;
mod splice;
mod target;
mod unpack;
mod urgency;

pub use self::{
    conn::{Conn, Io},
    listen::{HELD_CONNECTIONS, HELD_FOR, Listening, listen},
    offer::{CONNECT_TIMEOUT, DuplicateService, Offering, offer},
    proxy::{Proxy, ProxyError},
    spec::{OpenSpec, ServeSpec, SpecError},
    target::Target,
};
