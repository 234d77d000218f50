//! A snapshot as OpenMetrics text 1.0.0, for Prometheus and its like.
//!
//! Written by hand: a crate for it keeps a registry of live counters, and here each answer is made of one snapshot.

use std::fmt::{Display, Write};

use pinhole::status::{
    Snapshot,
    snapshot::{Forward, Side, State},
};

/// The content type of the text.
pub(super) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Returns all metrics of an instance.
pub(super) fn text(snapshot: &Snapshot) -> String {
    let mut page = Page::default();
    let side = match snapshot.role {
        Side::Serve => "serve",
        Side::Open => "open",
    };
    page.family("pinhole", "info", "", "The program.");
    let labels = [("version", &*snapshot.version), ("role", side), ("peer", &snapshot.peer)];
    page.sample("pinhole_info", &labels, 1);
    page.family("pinhole_state", "stateset", "", "What the endpoint does.");
    for state in State::ALL {
        let is_it = u8::from(snapshot.state == state);
        page.sample("pinhole_state", &[("pinhole_state", state.name())], is_it);
    }
    let started = snapshot.started.unix_ms as f64 / 1000.0;
    page.gauge("pinhole_start_time_seconds", "seconds", "When the endpoint was started.", Some(started));
    page.path(snapshot);
    page.tunnel(snapshot);
    page.forwards(&snapshot.forwards);
    page.family("pinhole_events", "counter", "", "Events told, by the names of --json.");
    for (event, count) in &snapshot.events {
        page.sample("pinhole_events_total", &[("event", event)], count);
    }
    page.gauge("pinhole_troubles", "", "Things that are wrong now.", Some(snapshot.troubles.len() as f64));
    page.0.push_str("# EOF\n");
    page.0
}

#[derive(Default)]
struct Page(String);

impl Page {
    fn path(&mut self, snapshot: &Snapshot) {
        let path = snapshot.path.as_ref();
        let seconds = |ms: Option<f64>| ms.map(|ms| ms / 1000.0);
        let rtt = seconds(path.and_then(|path| path.rtt_ms));
        self.gauge("pinhole_path_rtt_seconds", "seconds", "Round trip of the path, by QUIC.", rtt);
        let least = seconds(path.and_then(|path| path.rtt_least_ms));
        self.gauge(
            "pinhole_path_rtt_least_seconds",
            "seconds",
            "Least round trip of the path so far.",
            least,
        );
        let age = path.map(|path| path.since.ago_s);
        self.gauge("pinhole_path_age_seconds", "seconds", "Time that the path is in use.", age);
        let loss = path.and_then(|path| path.keeper_loss);
        self.gauge("pinhole_path_tests_lost_ratio", "ratio", "Share of tests not answered.", loss);
        if let Some(path) = path {
            self.family("pinhole_path", "info", "", "The path in use.");
            let remote = path.remote.to_string();
            self.sample("pinhole_path_info", &[("method", &*path.method), ("remote", &remote)], 1);
        }
    }

    fn tunnel(&mut self, snapshot: &Snapshot) {
        let Some(tunnel) = &snapshot.tunnel else { return };
        let of_this_one = "of the tunnel that stands";
        self.gauge("pinhole_mtu_bytes", "bytes", "Largest datagram.", Some(f64::from(tunnel.mtu_bytes)));
        self.counter(
            "pinhole_packets_sent",
            "",
            &format!("QUIC packets sent, {of_this_one}."),
            tunnel.sent_packets,
        );
        self.counter(
            "pinhole_packets_lost",
            "",
            &format!("QUIC packets lost, {of_this_one}."),
            tunnel.lost_packets,
        );
        self.counter(
            "pinhole_wire_sent_bytes",
            "bytes",
            &format!("UDP payload sent, {of_this_one}."),
            tunnel.sent_wire_bytes,
        );
        self.counter(
            "pinhole_wire_received_bytes",
            "bytes",
            &format!("UDP payload received, {of_this_one}."),
            tunnel.received_wire_bytes,
        );
    }

    fn forwards(&mut self, forwards: &[Forward]) {
        type Value = fn(&Forward) -> u64;
        let families: [(&str, &str, &str, &str, Value); 6] = [
            ("pinhole_connections_open", "gauge", "", "Connections now.", |f| f.open),
            ("pinhole_connections", "counter", "", "Connections since the start.", |f| f.total),
            ("pinhole_sent_bytes", "counter", "bytes", "Bytes sent to the peer.", |f| f.sent_bytes),
            ("pinhole_received_bytes", "counter", "bytes", "Bytes received from the peer.", |f| {
                f.received_bytes
            }),
            ("pinhole_sent_saved_bytes", "counter", "bytes", "Bytes sent that compression saved.", |f| {
                f.sent_saved_bytes
            }),
            ("pinhole_received_saved_bytes", "counter", "bytes", "Bytes received that it saved.", |f| {
                f.received_saved_bytes
            }),
        ];
        for (name, kind, unit, help, value) in families {
            self.family(name, kind, unit, help);
            let sample = if kind == "counter" { format!("{name}_total") } else { name.to_owned() };
            for forward in forwards {
                let labels = [("service", &*forward.service), ("target", &forward.target)];
                self.sample(&sample, &labels, value(forward));
            }
        }
    }

    fn gauge(&mut self, name: &str, unit: &str, help: &str, value: Option<f64>) {
        self.family(name, "gauge", unit, help);
        if let Some(value) = value {
            self.sample(name, &[], value);
        }
    }

    fn counter(&mut self, name: &str, unit: &str, help: &str, value: u64) {
        self.family(name, "counter", unit, help);
        self.sample(&format!("{name}_total"), &[], value);
    }

    fn family(&mut self, name: &str, kind: &str, unit: &str, help: &str) {
        let _infallible = writeln!(self.0, "# TYPE {name} {kind}");
        if !unit.is_empty() {
            let _infallible = writeln!(self.0, "# UNIT {name} {unit}");
        }
        let _infallible = writeln!(self.0, "# HELP {name} {help}");
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        let labels: Vec<String> =
            labels.iter().map(|(name, text)| format!("{name}=\"{}\"", escape(text))).collect();
        let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
        let _infallible = writeln!(self.0, "{name}{labels} {value}");
    }
}

/// Escapes a label's value (OpenMetrics 1.0.0, "escaped-char").
fn escape(text: &str) -> String {
    text.replace('\\', "\\\\").replace('\n', "\\n").replace('"', "\\\"")
}
