//! A remote desktop through the tunnel (RFC 6143).

use std::{
    io::{Read, Write},
    process::Command,
};

use natlab::{Side, skip};

use crate::{
    ground::{Ground, LOCAL_PORT, between},
    program::Run,
};

/// TCP port of the desktop on host A.
const VNC_PORT: u16 = 5901;

/// An X display; nobody will look for it.
const DISPLAY: &str = ":4711";

const WITHOUT_PASSWORD: u8 = 1;

#[test]
fn a_desktop_greets_and_shows_its_size_through_the_tunnel() {
    let test = "a_desktop_greets_and_shows_its_size_through_the_tunnel";
    if Command::new("Xtigervnc").arg("-version").output().is_err() {
        skip(test, "no Xtigervnc here; install tigervnc-standalone-server");
        return;
    }
    let Some(ground) = Ground::or_skip(test, between("home", "carrier")) else { return };
    let mut desktop = ground.lab.host(Side::A).command("Xtigervnc");
    desktop.args([DISPLAY, "-geometry", "640x480", "-SecurityTypes", "None", "-localhost=1"]);
    desktop.args(["-rfbport", &VNC_PORT.to_string()]);
    // A lock that a killed desktop has left names a process whose number may be another one's by now.
    desktop.args(["-nolock", "-nolisten", "unix"]);
    let _desktop = Run::start(desktop);
    ground.await_port(Side::A, VNC_PORT);
    let _both = ground.connect(VNC_PORT);

    let tcp = ground.dial(Side::B, LOCAL_PORT).expect("the local port accepts");
    let read = |bytes: usize| {
        let mut buffer = vec![0; bytes];
        (&tcp).read_exact(&mut buffer).expect("the desktop speaks");
        buffer
    };
    let write = |bytes: &[u8]| (&tcp).write_all(bytes).expect("the desktop listens");
    let greeting = read(12);
    assert!(greeting.starts_with(b"RFB 003."), "{}", String::from_utf8_lossy(&greeting));
    write(&greeting);
    let offered = read(1)[0];
    assert!(read(offered.into()).contains(&WITHOUT_PASSWORD));
    write(&[WITHOUT_PASSWORD]);
    assert_eq!(read(4), [0; 4], "it lets us in");
    write(&[1]);
    assert_eq!(read(4), [2, 128, 1, 224], "640 and 480 in 16 bits each");
}
