//! The kernel's table of routes, where it shows one: the default gateway, and whether a network of this machine leads
//! somewhere.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr},
};

use crate::check::Gateway;

/// Returns the default gateway.
pub(crate) fn gateway() -> Option<Gateway> {
    best(&table()?)
}

/// Returns whether a route other than the default one leads to an address: that of a network of this machine, or a VPN's.
/// None where the system does not tell.
pub(crate) fn leads_to(ip: IpAddr) -> Option<bool> {
    let IpAddr::V4(ip) = ip else { return None };
    table().map(|table| leads(&table, ip))
}

fn table() -> Option<String> {
    fs::read_to_string("/proc/net/route").ok()
}

/// Flags of a route: up, through a router, refuses (route(8), linux/route.h).
const UP: u16 = 1;
const GATEWAY: u16 = 2;
const REJECT: u16 = 0x200;

/// A line of the table.
struct Route {
    interface: String,
    destination: Ipv4Addr,
    gateway: Option<Ipv4Addr>,
    metric: u32,
    mask: Ipv4Addr,
}

impl Route {
    /// Reads a route that is up. The columns are those of proc(5): interface, destination, gateway, flags, two counters,
    /// metric, mask; addresses as the machine's own integers in network order.
    fn parse(line: &str) -> Option<Self> {
        let mut columns = line.split_whitespace();
        let interface = columns.next()?.to_owned();
        let [destination, gateway] = [(); 2].map(|()| columns.next().and_then(address));
        let flags = u16::from_str_radix(columns.next()?, 16).ok()?;
        let metric = columns.nth(2)?.parse().ok()?;
        let mask = columns.next().and_then(address)?;
        let gateway = gateway.filter(|_| flags & GATEWAY != 0);
        let is_of_use = flags & UP != 0 && flags & REJECT == 0;
        Some(Self { interface, destination: destination?, gateway, metric, mask }).filter(|_| is_of_use)
    }

    fn is_default(&self) -> bool {
        self.mask == Ipv4Addr::UNSPECIFIED
    }

    fn has(&self, ip: Ipv4Addr) -> bool {
        ip & self.mask == self.destination
    }
}

fn routes(table: &str) -> impl Iterator<Item = Route> {
    table.lines().skip(1).filter_map(Route::parse)
}

/// Finds the default route with the smallest metric.
fn best(table: &str) -> Option<Gateway> {
    let best = routes(table).filter(Route::is_default).min_by_key(|route| route.metric)?;
    Some(Gateway { ip: best.gateway, interface: best.interface })
}

fn leads(table: &str, ip: Ipv4Addr) -> bool {
    routes(table).any(|route| !route.is_default() && route.has(ip))
}

fn address(hex: &str) -> Option<Ipv4Addr> {
    u32::from_str_radix(hex, 16).ok().map(|number| Ipv4Addr::from(number.to_ne_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str =
        "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n";

    #[cfg(target_endian = "little")]
    #[test]
    fn the_default_route_with_the_smallest_metric_is_the_way_out() {
        let table = format!(
            "{HEAD}wlan0\t00000000\t0101A8C0\t0003\t0\t0\t600\t00000000\t0\t0\t0\n\
             eth0\t00000000\t0104A8C0\t0003\t0\t0\t100\t00000000\t0\t0\t0\n\
             eth0\t0004A8C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n"
        );
        let expected = Gateway { ip: Some(Ipv4Addr::new(192, 168, 4, 1)), interface: "eth0".into() };
        assert_eq!(best(&table), Some(expected));
        assert!(leads(&table, Ipv4Addr::new(192, 168, 4, 77)));
        assert!(!leads(&table, Ipv4Addr::new(192, 168, 99, 1)));
    }

    #[test]
    fn a_line_with_one_other_end_needs_no_router_and_a_table_without_a_way_out_has_none() {
        let line = "ppp0\t00000000\t00000000\t0001\t0\t0\t0\t00000000\t0\t0\t0\n";
        assert_eq!(best(&format!("{HEAD}{line}")), Some(Gateway { ip: None, interface: "ppp0".into() }));
        assert_eq!(best(HEAD), None);
        assert_eq!(best("no table at all\n\x00\tx"), None);
    }
}
