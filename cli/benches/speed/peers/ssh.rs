//! `ssh -L` with the cheapest cipher that it has, to an sshd with keys of its own.

use std::{fs, net::SocketAddr, path::Path, process::Command};

use natlab::Side;

use super::await_at;
use crate::{
    ground::{Ground, run},
    running::Running,
};

/// TCP port of sshd on host A.
const PORT: u16 = 2200;

const SSHD: &str = "/usr/sbin/sshd";

/// Without this folder sshd refuses to start.
const SSHD_FOLDER: &str = "/run/sshd";

const CIPHER: &str = "aes128-gcm@openssh.com";

pub(super) fn start(ground: &Ground, local: SocketAddr) -> Result<Vec<Running>, String> {
    fs::create_dir_all(SSHD_FOLDER).map_err(|e| format!("{SSHD_FOLDER}: {e}"))?;
    for name in ["host", "user"] {
        let mut keygen = Command::new("ssh-keygen");
        keygen.args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(ground.folder().join(name));
        run(keygen)?;
    }
    let server = Running::start("sshd", sshd(ground)?)?;
    await_at(ground, Side::A, SocketAddr::from((ground.ip(Side::A), PORT)))?;
    // Its local port listens once the session stands; the caller waits for that.
    let client = Running::start("ssh", ssh(ground, local))?;
    Ok(vec![server, client])
}

fn sshd(ground: &Ground) -> Result<Command, String> {
    let (at, config) = (ground.folder().display(), ground.folder().join("sshd"));
    let text = format!(
        "Port {PORT}\nListenAddress {}\nHostKey {at}/host\nAuthorizedKeysFile {at}/user.pub\nStrictModes no\n\
         UsePAM no\nPidFile none\nPermitRootLogin prohibit-password\nPasswordAuthentication no\n",
        ground.ip(Side::A)
    );
    fs::write(&config, text).map_err(|e| format!("{}: {e}", config.display()))?;
    if !Path::new(SSHD).exists() {
        return Err(format!("there is no {SSHD}; install openssh-server"));
    }
    let mut command = ground.lab.host(Side::A).command(SSHD);
    command.args(["-D", "-e", "-f"]).arg(config);
    Ok(command)
}

fn ssh(ground: &Ground, local: SocketAddr) -> Command {
    let mut command = ground.lab.host(Side::B).command("ssh");
    command.args(["-N", "-F", "none", "-c", CIPHER, "-p", &PORT.to_string()]);
    for option in
        ["StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "BatchMode=yes", "IdentitiesOnly=yes"]
    {
        command.args(["-o", option]);
    }
    command.arg("-i").arg(ground.folder().join("user"));
    command.args(["-L", &format!("{local}:{}", ground.service_address())]);
    command.arg(format!("root@{}", ground.ip(Side::A)));
    command
}
