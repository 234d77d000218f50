//! Chooses the side of `src/sys`: Linux and Android, or what every system has.

use std::env::var;

fn main() {
    println!("cargo:rerun-if-env-changed=PINHOLE_PORTABLE");
    println!("cargo:rustc-check-cfg=cfg(pinhole_portable)");
    let is_known = var("CARGO_CFG_TARGET_OS").is_ok_and(|system| ["linux", "android"].contains(&&*system));
    if !is_known || var("PINHOLE_PORTABLE").is_ok_and(|set| set == "1") {
        println!("cargo:rustc-cfg=pinhole_portable");
    }
}
