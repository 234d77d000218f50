//! dumbpipe, built where it is missing.
//!
//! It always asks for its makers' relays and for an address lookup by name. The namespaces have no way to them: after five
//! seconds it says so and goes on, and its ticket names the host's own addresses alone, so the connection is direct from
//! its first packet and no third party can take part in it.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
};

use natlab::Side;

use super::PATIENCE;
use crate::{ground::Ground, running::Running};

/// The release that is built.
const VERSION: &str = "0.40.1";

/// UDP ports of the two ends.
const PORTS: [u16; 2] = [5561, 5562];

/// Words before the ticket.
const TICKET: &str = "dumbpipe connect-tcp ";

pub(super) fn start(ground: &Ground, local: SocketAddr, folder: &Path) -> Result<Vec<Running>, String> {
    let program = built(folder)?;
    let program = program.to_str().ok_or("the path of dumbpipe is not text")?;
    let at = |side: Side| format!("{}:{}", ground.ip(side), PORTS[side.index()]);
    let mut serve = ground.lab.host(Side::A).command(program);
    serve.args(["listen-tcp", "--host", &ground.service_address().to_string(), "--ipv4-addr", &at(Side::A)]);
    let mut serve = Running::start("dumbpipe", serve)?;
    let line = serve.wait_for(TICKET, PATIENCE)?;
    let ticket = line.trim_start_matches(TICKET).trim();
    let mut open = ground.lab.host(Side::B).command(program);
    open.args(["connect-tcp", "--addr", &local.to_string(), "--ipv4-addr", &at(Side::B), ticket]);
    Ok(vec![serve, Running::start("dumbpipe", open)?])
}

/// Returns the program, after building it if need be.
fn built(folder: &Path) -> Result<PathBuf, String> {
    let program = folder.join("bin/dumbpipe");
    if program.exists() {
        return Ok(program);
    }
    let mut cargo = Command::new("cargo");
    cargo.args(["install", "dumbpipe", "--locked", "--version", VERSION, "--root"]).arg(folder);
    cargo.arg("--target-dir").arg(folder.join("build"));
    let status = cargo.status().map_err(|e| format!("cargo: {e}"))?;
    if !status.success() {
        return Err("dumbpipe cannot be built".to_owned());
    }
    // Only the program is wanted; what remains of the build is a gigabyte.
    let _kept_if_not = fs::remove_dir_all(folder.join("build"));
    Ok(program)
}
