//! pinhole: this build, or another one.

use std::{path::Path, process::Command};

use natlab::Side;

use super::PATIENCE;
use crate::{ground::Ground, program::KEY, running::Running};

/// Starts both sides with further arguments.
pub(super) fn start(
    ground: &Ground,
    local: u16,
    udp: u16,
    program: &Path,
    more: &[&str],
) -> Result<Vec<Running>, String> {
    let program = program.to_str().ok_or("the path of pinhole is not text")?;
    let command = |side: Side, verb: &str, spec: String| -> Command {
        let mut command = ground.lab.host(side).command(program);
        let [own, peer] = [side, side.other()].map(|side| ground.ip(side).to_string());
        command.args([verb, &spec, "--peer", &peer, "--bind", &own, "--port", &udp.to_string()]).args(more);
        for name in ["XDG_CONFIG_HOME", "XDG_DATA_HOME"] {
            command.env_remove(name);
        }
        command.env("PINHOLE_KEY", KEY).env("HOME", ground.folder()).env("XDG_STATE_HOME", "/dev/null");
        command
    };
    let serve = command(Side::A, "serve", format!("it={}", ground.service_address()));
    let open = command(Side::B, "open", format!("{local}:it"));
    let mut programs = vec![Running::start("pinhole", serve)?, Running::start("pinhole", open)?];
    programs.iter_mut().try_for_each(|program| program.wait_for("tunnel up", PATIENCE).map(drop))?;
    Ok(programs)
}
