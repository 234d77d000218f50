//! The very first start, as on two machines: the printed line, typed as it is.

use std::path::Path;

use natlab::Side;
use tempfile::TempDir;

use crate::{
    ground::{Ground, LOCAL_PORT, between},
    page::{PAGE, WEB_PORT, Web},
    program::{Run, isolate},
};

#[test]
fn the_line_that_the_first_serve_side_prints_connects_the_other_machine_as_it_is() {
    let test = "the_line_that_the_first_serve_side_prints_connects_the_other_machine_as_it_is";
    let Some(ground) = Ground::or_skip(test, between("home", "home")) else { return };
    let _web = Web::start(&ground);
    let home = TempDir::new().expect("a temporary folder");
    let mut serve = ground.serve(WEB_PORT);
    serve.env_remove("PINHOLE_KEY").env("HOME", home.path());

    let mut serve = Run::start(serve);
    let line = serve.says("pinhole -l");
    let typed = line.replace("THIS_IP", &ground.lab.side(Side::A).public_ip().to_string());
    let folder = Path::new(env!("CARGO_BIN_EXE_pinhole")).parent().expect("a file is in a folder");
    let path = std::env::var("PATH").expect("there is a PATH");
    let mut shell = ground.lab.host(Side::B).command("sh");
    isolate(&mut shell);
    shell.args(["-c", &typed]).env("PATH", format!("{}:{path}", folder.display()));
    let mut open = Run::start(shell);
    open.says("tunnel up");
    serve.says("tunnel up");

    let port = line.split_once("-l ").and_then(|(_, rest)| rest.split(' ').next()).expect("a port");
    assert_ne!(port, LOCAL_PORT.to_string(), "a web server is not suggested ssh's port");
    let mut curl = ground.lab.host(Side::B).command("curl");
    let output = curl.args(["-s", &format!("http://localhost:{port}/")]).output().expect("curl runs");
    assert_eq!(String::from_utf8_lossy(&output.stdout), PAGE);
}
