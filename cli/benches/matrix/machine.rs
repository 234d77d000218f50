//! The machine that made the figures.

use std::{process::Command, thread};

/// Returns how many threads run at once.
pub(crate) fn cores() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

/// Names the kernel and nftables.
pub(crate) fn kernel() -> String {
    format!("{}, {}", linux(), nftables().unwrap_or_else(|| "nftables unknown".to_owned()))
}

/// Names the kernel.
pub(crate) fn linux() -> String {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!("Linux {}", release.trim().split('-').next().unwrap_or_default())
}

fn nftables() -> Option<String> {
    let output = Command::new("nft").arg("--version").output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    Some(text.split_whitespace().take(2).collect::<Vec<_>>().join(" "))
}
