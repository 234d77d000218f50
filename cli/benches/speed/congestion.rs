//! Which congestion control the TCP of a laboratory uses.

use std::{fs, io};

use natlab::{Lab, Side};

const WANTED: &str = "/proc/sys/net/ipv4/tcp_congestion_control";
const ALLOWED: &str = "/proc/sys/net/ipv4/tcp_allowed_congestion_control";

/// Lets both hosts of a laboratory use that congestion control by default.
///
/// A namespace may only choose what the whole machine allows to everybody: it is added to the list for that moment.
pub(crate) fn choose(lab: &Lab, name: &str) -> Result<(), String> {
    let before = fs::read_to_string(ALLOWED).map_err(|e| format!("{ALLOWED}: {e}"))?;
    let is_missing = !before.split_whitespace().any(|allowed| allowed == name);
    if is_missing {
        fs::write(ALLOWED, format!("{} {name}", before.trim()))
            .map_err(|e| format!("this kernel has no TCP with {name}: {e}"))?;
    }
    let chosen = Side::BOTH.into_iter().try_for_each(|side| {
        let write = || fs::write(WANTED, name);
        lab.host(side).enter(write).map_err(io::Error::other)?
    });
    if is_missing {
        fs::write(ALLOWED, before.trim()).map_err(|e| format!("{ALLOWED}: {e}"))?;
    }
    chosen.map_err(|e| format!("choosing {name}: {e}"))
}
