//! Memory of an idle program and of open connections: `cargo bench --bench memory`.
//!
//! Two programs on loopback; connections that have each carried 64 KiB in both directions and then rest.

#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]

#[expect(dead_code, reason = "`soak` uses more of it")]
mod rig;

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    process::Command,
    thread,
};

use rig::Program;

/// Steps of the number of open connections.
const STEPS: [usize; 3] = [0, 1000, 4000];

/// Carried by each connection in both directions before it rests, bytes.
const CARRIED: usize = 64 << 10;

fn main() {
    raise_descriptor_limit();
    let service = TcpListener::bind("127.0.0.1:0").expect("a port");
    let target = format!("it={}", service.local_addr().expect("an address"));
    thread::spawn(move || hold(&service));
    let local = TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a port").port();
    let program = || Command::new(env!("CARGO_BIN_EXE_pinhole"));
    let port = "42877";
    let serve_args = ["serve", &target, "--peer", "127.0.0.2", "--bind", "127.0.0.1", "--port", port];
    let mut serve = Program::start(program(), &serve_args);
    let open_spec = format!("{local}:it");
    let open_args = ["open", &open_spec, "--peer", "127.0.0.1", "--bind", "127.0.0.2", "--port", port];
    let mut open = Program::start(program(), &open_args);
    serve.wait_for("tunnel up");
    open.wait_for("tunnel up");
    let mut held = Vec::new();
    let mut idle = [0, 0];
    println!("connections  RSS serve, KiB  RSS open, KiB  serve, KiB each  open, KiB each");
    for step in STEPS {
        held.resize_with(step, || connect(local));
        let rss = [serve.status("VmRSS:"), open.status("VmRSS:")];
        if step == 0 {
            idle = rss;
            println!("{step:11}  {:14}  {:13}  {:>15}  {:>14}", rss[0], rss[1], "-", "-");
        } else {
            let each = |side: usize| rss[side].saturating_sub(idle[side]) as f64 / step as f64;
            println!("{step:11}  {:14}  {:13}  {:15.1}  {:14.1}", rss[0], rss[1], each(0), each(1));
        }
    }
}

/// Answers each connection's bytes and keeps it open.
fn hold(service: &TcpListener) {
    let mut open = Vec::new();
    for tcp in service.incoming() {
        let mut tcp = tcp.expect("a connection");
        let mut bytes = vec![0; CARRIED];
        tcp.read_exact(&mut bytes).expect("the bytes arrive");
        tcp.write_all(&bytes).expect("and go back");
        open.push(tcp);
    }
}

fn connect(port: u16) -> TcpStream {
    let mut tcp = TcpStream::connect(("127.0.0.1", port)).expect("the local port accepts");
    let mut bytes = vec![7; CARRIED];
    tcp.write_all(&bytes).expect("write");
    tcp.read_exact(&mut bytes).expect("read");
    tcp
}

fn raise_descriptor_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum })
        .expect("as allowed");
}
