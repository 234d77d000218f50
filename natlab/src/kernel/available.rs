//! Whether this machine can have laboratories, and what tests do when it cannot.

use std::process::{Command, Stdio};
use std::sync::OnceLock;

use super::sweep_leftovers;

/// Says in a sentence why there can be no laboratory here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no NAT laboratory here: {reason}")]
pub struct Unavailable {
    reason: String,
}

impl Unavailable {
    fn because(reason: impl Into<String>) -> Unavailable {
        Unavailable { reason: reason.into() }
    }
}

/// Returns whether this process can build laboratories; looks once and remembers.
///
/// # Errors
/// [`Unavailable`] with the first thing that is missing: root, `ip`, `nft`, `nsenter` or namespaces.
pub fn available() -> Result<(), Unavailable> {
    static FOUND: OnceLock<Result<(), Unavailable>> = OnceLock::new();
    FOUND.get_or_init(look).clone()
}

fn look() -> Result<(), Unavailable> {
    if !rustix::process::geteuid().is_root() {
        return Err(Unavailable::because("it takes root to make network namespaces"));
    }
    works("nft", &["--version"], "install nftables")?;
    works("nsenter", &["--version"], "install util-linux")?;
    works("ip", &["netns", "list"], "install iproute2, or allow network namespaces")
}

/// Tells a test whether it can use laboratories; prints a loud reason when it cannot.
///
/// Also removes what dead test processes left behind.
///
/// # Panics
/// When there can be no laboratory and `PINHOLE_LAB=required` is in the environment, as in CI.
pub fn lab_or_skip(test_name: &str) -> bool {
    let Err(reason) = available() else {
        sweep_leftovers().expect("leftovers of dead laboratories can be removed");
        return true;
    };
    skip(test_name, &reason.to_string());
    false
}

/// Says loudly that a test is skipped, and why: what it needs and how to get it.
///
/// # Panics
/// With `PINHOLE_LAB=required` in the environment, as in CI: there no test is skipped.
#[expect(clippy::print_stderr, reason = "a skipped test must say so where the test's result is read")]
pub fn skip(test_name: &str, reason: &str) {
    let is_required = std::env::var_os("PINHOLE_LAB").is_some_and(|value| value == "required");
    assert!(!is_required, "{test_name} may not be skipped (PINHOLE_LAB=required): {reason}");
    eprintln!("SKIPPED {test_name}: {reason}");
}

fn works(program: &str, args: &[&str], remedy: &str) -> Result<(), Unavailable> {
    let mut command = Command::new(program);
    command.args(args).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(Unavailable::because(format!("{program} failed with {status}; {remedy}"))),
        Err(error) => Err(Unavailable::because(format!("{program} does not run ({error}); {remedy}"))),
    }
}
