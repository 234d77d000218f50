//! Linux and Android.

mod clock;
mod interfaces;
mod loopback;
mod network;
mod ports;
mod route;

pub(crate) use self::{
    clock::clock,
    interfaces::{addresses, mtu},
    loopback::pace_nothing,
    network::Network,
    ports::is_closed,
    route::{gateway, leads_to},
};
