//! Addresses of this machine's interfaces.

use std::net::IpAddr;

/// Returns the interfaces' names and addresses.
pub(crate) fn addresses() -> Vec<(String, IpAddr)> {
    let Ok(found) = nix::ifaddrs::getifaddrs() else { return Vec::new() };
    let addresses = found.filter_map(|found| {
        let address = found.address?;
        let ip: IpAddr = match (address.as_sockaddr_in(), address.as_sockaddr_in6()) {
            (Some(four), _) => four.ip().into(),
            (None, Some(six)) => six.ip().into(),
            (None, None) => return None,
        };
        Some((found.interface_name, ip))
    });
    addresses.collect()
}
