//! NATs of the real kernel: network namespaces, nftables, and a link that is a wire or a pair of TUN devices.
//!
//! The life of a laboratory: [`Lab::build`] sweeps what dead owners left, plans the topology, makes the
//! namespaces, the TUN devices of a user-space link, the wires, and in each namespace its sysctls, addresses,
//! routes and rules. Tests then run programs ([`Namespace::command`]) or closures ([`Namespace::enter`]) on the
//! hosts. Dropping the lab, also by a panic, kills what still runs inside and removes everything.
//!
//! ```text
//!  host-a ── box-a0 ── … ── net-a ══ link ══ net-b ── … ── box-b0 ── host-b
//!                             └─── stranger ───┘
//! ```
//!
//! While it runs, things go wrong on demand: a box reboots, is off for a while or becomes another NAT ([`NatBox`]), a
//! side gets another public address, a host another lease or another interface, or loses its way out ([`Lab`]), the
//! link gets slow, lossy, narrow or silent ([`Link::set`]), and somebody forges ICMP errors ([`Flood`]).
//!
//! IPv4 only. Sysctls are the kernel's defaults but for forwarding and UDP timers of the routers, and the
//! reverse-path filter, which is off everywhere. The stranger's packets never cross the link.
//!
//! What nftables cannot do is refused ([`LabError::Unsupported`], [`supports`]). What it does otherwise than an ideal NAT:
//!
//! - A mapping is endpoint-independent because the port is preserved. Two inside hosts with one port get two
//!   outside ports toward one destination only, and incoming packets then go to the one that sent last. So
//!   does a mapping that was spoilt: it moves toward one remote address only.
//! - The opening of an endpoint-independent or address-dependent filter lives for the stream timer after the
//!   last *outgoing* packet, answered or not, and is for UDP alone; TCP and ICMP are filtered by address and
//!   port everywhere.
//! - Sequential ports come from a block of at most 4,096 in turn. One that is still in use toward the same
//!   destination costs that packet; the next packet gets the next port.
//! - A block of ports is the same one for every inside host. Linux looks at no more than 240 of its ports, so a
//!   nearly full block loses a packet now and then.
//! - A limit of mappings counts flows, of all inside hosts together.

mod available;
mod error;
mod faults;
mod forgery;
mod leftovers;
mod namespace;
mod nat_box;
mod road;
mod ruleset;
mod tool;
mod topology;

use std::fmt::Write;
use std::fs;
use std::net::Ipv4Addr;
use std::ops::Deref;

pub use available::{Unavailable, available, lab_or_skip, skip};
pub use error::LabError;
pub use forgery::{Flood, Unreachable};
pub use leftovers::sweep_leftovers;
pub use namespace::Namespace;
pub use nat_box::{NatBox, UdpFlow};
pub use road::Link;

use self::topology::{HOST_INTERFACE, LINK_INTERFACE, Node, Topology, Wire};
use crate::addresses::{Leg, STRANGER_IPS, public_ip};
use crate::link::LinkSpec;
use crate::spec::{BoxSpec, NatSpec, Side};

/// Returns whether nftables can realise a side.
///
/// # Errors
/// [`LabError::Unsupported`] with the first thing that it cannot.
pub fn supports(spec: &NatSpec) -> Result<(), LabError> {
    spec.boxes().iter().try_for_each(|spec| ruleset::ruleset(spec, Ipv4Addr::UNSPECIFIED).map(drop))
}

/// Describes a laboratory.
#[derive(Debug, Clone)]
pub struct LabSpec {
    /// What stands before host A and host B.
    pub sides: [NatSpec; 2],
    /// What the link does, in each direction.
    pub link: LinkSpec,
    /// What the link is made of.
    pub road: Road,
    /// Seed of the link's chance.
    pub seed: u64,
}

impl LabSpec {
    /// Describes two sides joined by a direct link.
    pub fn new(a: NatSpec, b: NatSpec) -> LabSpec {
        LabSpec { sides: [a, b], link: LinkSpec::default(), road: Road::AsNeeded, seed: 1 }
    }

    /// Returns the same laboratory with another link.
    pub fn with_link(self, link: LinkSpec) -> LabSpec {
        LabSpec { link, ..self }
    }

    /// Returns the same laboratory with a link that can be changed later, though it may be perfect now.
    pub fn with_changeable_link(self) -> LabSpec {
        LabSpec { road: Road::UserSpace, ..self }
    }

    fn needs_user_space(&self) -> bool {
        match self.road {
            Road::AsNeeded => !self.link.is_perfect(),
            Road::UserSpace => true,
        }
    }
}

/// Decides what the link between the two sides is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Road {
    /// A wire of the kernel (full speed, offloads on) when the link is perfect, else [`Road::UserSpace`].
    AsNeeded,
    /// TUN devices and two threads of this process, whose settings can change while running.
    UserSpace,
}

/// A running laboratory; dropping it removes it.
#[derive(Debug)]
pub struct Lab {
    // Fields are dropped in this order: the link's threads end before their devices' namespaces go.
    link: Link,
    sides: [LabSide; 2],
    stranger: Host,
    _removal: Removal,
}

impl Lab {
    /// Builds the laboratory, after sweeping what dead owners left.
    ///
    /// # Errors
    /// [`LabError::Unavailable`] when this machine cannot have one, [`LabError::Unsupported`] when nftables
    /// cannot do what is asked; whatever was built by then is removed again.
    pub fn build(spec: LabSpec) -> Result<Lab, LabError> {
        available()?;
        sweep_leftovers()?;
        let topology = Topology::new(&spec.sides)?;
        let prefix = leftovers::new_prefix()?;
        let names: Vec<String> =
            topology.nodes.iter().map(|node| format!("{prefix}-{}", node.role)).collect();
        let removal = Removal { names };
        namespace::create(&removal.names)?;
        let site = Site { prefix };
        let link = site.link(&spec)?;
        site.wire(&topology.wires)?;
        topology.nodes.iter().try_for_each(|node| site.configure(node))?;
        let sides = [site.side(&topology, &spec, Side::A)?, site.side(&topology, &spec, Side::B)?];
        let stranger = site.host(&topology, &topology::stranger_role())?;
        Ok(Lab { link, sides, stranger, _removal: removal })
    }

    /// Returns one side.
    pub fn side(&self, side: Side) -> &LabSide {
        &self.sides[side.index()]
    }

    /// Returns one side's host.
    pub fn host(&self, side: Side) -> &Host {
        &self.side(side).host
    }

    /// Returns one side's box, counted from the host.
    ///
    /// # Panics
    /// When the side has fewer boxes.
    pub fn nat(&self, side: Side, index: usize) -> &NatBox {
        &self.side(side).boxes[index]
    }

    /// Returns the host that neither side knows; it reaches both public addresses and can be reached.
    pub fn stranger(&self) -> &Host {
        &self.stranger
    }

    /// Returns the stranger's two addresses; both are its own.
    pub fn stranger_ips(&self) -> [Ipv4Addr; 2] {
        STRANGER_IPS
    }

    /// Returns the link between the two sides.
    pub fn link(&self) -> &Link {
        &self.link
    }
}

/// One side of a running laboratory.
#[derive(Debug)]
pub struct LabSide {
    public_ip: Ipv4Addr,
    host: Host,
    boxes: Vec<NatBox>,
    internet: Namespace,
    /// The networks from the internet inwards; the last one is the host's.
    legs: Vec<Leg>,
    host_interface: &'static str,
}

impl LabSide {
    /// Returns the address by which the internet knows this side.
    pub fn public_ip(&self) -> Ipv4Addr {
        self.public_ip
    }

    /// Returns the host behind all boxes.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// Returns the boxes, the one nearest to the host first.
    pub fn boxes(&self) -> &[NatBox] {
        &self.boxes
    }

    /// Returns this side's half of the internet: a router of its provider's.
    pub fn internet(&self) -> &Namespace {
        &self.internet
    }
}

/// A host of a running laboratory; it is a [`Namespace`], in which programs and closures run.
#[derive(Debug)]
pub struct Host {
    ip: Ipv4Addr,
    namespace: Namespace,
}

impl Host {
    /// Returns its own address, which may be private.
    pub fn ip(&self) -> Ipv4Addr {
        self.ip
    }
}

impl Deref for Host {
    type Target = Namespace;

    fn deref(&self) -> &Namespace {
        &self.namespace
    }
}

/// The place where a laboratory is being built.
struct Site {
    prefix: String,
}

impl Site {
    fn name(&self, role: &str) -> String {
        format!("{}-{role}", self.prefix)
    }

    fn open(&self, role: &str) -> Result<Namespace, LabError> {
        Namespace::open(&self.name(role))
    }

    fn link(&self, spec: &LabSpec) -> Result<Link, LabError> {
        let roles = Side::BOTH.map(topology::internet_role);
        if spec.needs_user_space() {
            return Link::user_space([&self.open(&roles[0])?, &self.open(&roles[1])?], spec.link, spec.seed);
        }
        let [first, second] = roles;
        self.wire(&[Wire { ends: [(first, LINK_INTERFACE), (second, LINK_INTERFACE)] }])?;
        Ok(Link::direct())
    }

    fn wire(&self, wires: &[Wire]) -> Result<(), LabError> {
        let mut batch = String::new();
        for Wire { ends: [(first, first_interface), (second, second_interface)] } in wires {
            let (first, second) = (self.name(first), self.name(second));
            writeln!(
                batch,
                "link add name {first_interface} netns {first} type veth peer name {second_interface} netns {second}"
            )
            .expect("writing to a String never fails");
        }
        tool::run("ip", &["-batch", "-"], &batch)
    }

    fn configure(&self, node: &Node) -> Result<(), LabError> {
        self.open(&node.role)?.enter(|| {
            write_sysctls(&node.sysctls)?;
            tool::run("ip", &["-batch", "-"], &node.addresses)?;
            node.rules.as_ref().map_or(Ok(()), |rules| tool::run("nft", &["-f", "-"], rules))
        })?
    }

    fn side(&self, topology: &Topology, spec: &LabSpec, side: Side) -> Result<LabSide, LabError> {
        let host = self.host(topology, &topology::host_role(side))?;
        let specs = spec.sides[side.index()].boxes().iter().enumerate();
        let boxes = specs.map(|(index, spec): (usize, &BoxSpec)| {
            let Host { ip, namespace } = self.host(topology, &topology::box_role(side, index))?;
            Ok(NatBox::new(ip, namespace, spec))
        });
        let boxes = boxes.collect::<Result<Vec<NatBox>, LabError>>()?;
        let internet = self.open(&topology::internet_role(side))?;
        let legs = topology.legs[side.index()].clone();
        Ok(LabSide {
            public_ip: public_ip(side),
            host,
            boxes,
            internet,
            legs,
            host_interface: HOST_INTERFACE,
        })
    }

    fn host(&self, topology: &Topology, role: &str) -> Result<Host, LabError> {
        let node = topology.nodes.iter().find(|node| node.role == role).expect("every role was planned");
        Ok(Host { ip: node.ip, namespace: self.open(role)? })
    }
}

/// Writes a node's sysctls and turns its reverse-path filter off; the calling thread is in its namespace, and so is
/// what `/proc/sys/net` shows.
fn write_sysctls(sysctls: &[(&'static str, String)]) -> Result<(), LabError> {
    for (key, value) in sysctls {
        fs::write(format!("/proc/sys/{key}"), value).map_err(LabError::io(format!("setting {key}")))?;
    }
    let interfaces = fs::read_dir("/proc/sys/net/ipv4/conf").map_err(LabError::io("listing interfaces"))?;
    for interface in interfaces.flatten() {
        let key = interface.path().join("rp_filter");
        fs::write(&key, "0").map_err(LabError::io(format!("setting {}", key.display())))?;
    }
    Ok(())
}

/// Removes the laboratory's namespaces when dropped, finished or not.
#[derive(Debug)]
struct Removal {
    names: Vec<String>,
}

impl Drop for Removal {
    fn drop(&mut self) {
        // Nobody is left to tell; the next sweep after this process ends tries again.
        let _left_to_the_sweep = namespace::remove(&self.names);
    }
}
