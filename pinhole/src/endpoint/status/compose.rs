//! Puts a [`Snapshot`] together.

use std::{
    net::{IpAddr, SocketAddr},
    sync::{Arc, Weak},
    time::Duration,
};

use pinhole_proto::{
    Now,
    puncher::{Health, Loss, SocketId, Trouble},
};

use super::{
    history::{History, Used, Wrong, timestamp},
    meter::{Reading, Sum},
    recorder::{Forward, Recorder, Records},
    snapshot::{self, Snapshot},
};
use crate::{
    Event, Tunnel,
    clock::now,
    endpoint::{HealthAsker, Lost, PeerAddress, source_toward},
    mux::PeerMux,
    tunnel::Numbers,
};

/// Time that the driver may take to say how the path is.
const ANSWER: Duration = Duration::from_secs(1);

/// Makes snapshots of one peer's tunnel. Cheap to clone; it keeps nothing of the endpoint alive.
///
/// ```no_run
/// use pinhole::Peer;
///
/// # async fn run(peer: Peer) {
/// let snapshot = peer.status().snapshot(&|event| Some(event.name().to_owned())).await;
/// println!("{} for {:.0} s", snapshot.state.name(), snapshot.since.ago_s);
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Status {
    recorder: Arc<Recorder>,
    peer: PeerAddress,
    mux: Weak<PeerMux>,
    driver: HealthAsker,
}

impl Status {
    pub(crate) fn new(
        recorder: Arc<Recorder>,
        peer: PeerAddress,
        mux: &Arc<PeerMux>,
        driver: HealthAsker,
    ) -> Self {
        Self { recorder, peer, mux: Arc::downgrade(mux), driver }
    }

    /// Returns what the endpoint does now. `describe` makes sentences of events, as the user should read them.
    ///
    /// Takes a second at the most, should the endpoint hang; what it does not say then is missing.
    pub async fn snapshot(&self, describe: &(dyn Fn(&Event) -> Option<String> + Sync)) -> Snapshot {
        let health = tokio::time::timeout(ANSWER, self.driver.ask()).await.ok().flatten();
        let now = now();
        let mut records = self.recorder.records();
        let records = &mut *records;
        records.take_sample(&self.recorder.sum, health.map(|health| health.rtt), now);
        records.history.expire(now.instant);
        let mux = self.mux.upgrade();
        let (history, quic) = (&records.history, records.tunnel().as_ref().and_then(Tunnel::numbers));
        let path_socket = mux.as_ref().and_then(|mux| mux.path_socket());
        let is_at_rest = records.rates.now() == (0, 0);
        let path = history.path.as_ref().map(|used| path(used, path_socket, quic.as_ref(), health, now));
        let path = path.map(|path| path.with_rtt_now(is_at_rest));
        let network = network(history, mux.as_deref(), path.as_ref(), health, self.peer.port);
        Snapshot {
            schema: snapshot::SCHEMA,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            role: self.recorder.role.into(),
            peer: self.peer.to_string(),
            addresses: history.addresses.clone(),
            taken_unix_ms: timestamp(now, now).unix_ms,
            started: timestamp(history.started, now),
            state: history.state.0,
            since: timestamp(history.state.1, now),
            path,
            tunnel: history.tunnel_since.zip(quic).map(|(since, quic)| snapshot::Tunnel {
                since: timestamp(since, now),
                mtu_bytes: quic.mtu_bytes,
                sent_packets: quic.sent_packets,
                lost_packets: quic.lost_packets,
                loss: records.rates.loss(),
                sent_wire_bytes: quic.sent_bytes,
                received_wire_bytes: quic.received_bytes,
                window_bytes: quic.window_bytes,
            }),
            peer_services: history.peer_services.as_ref().map(|services| services.names().to_vec()),
            network,
            forwards: records.forwards.iter().filter_map(|forward| self::forward(forward, history)).collect(),
            traffic: traffic(records, &self.recorder.sum),
            events: history.counts.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect(),
            history: history.entries.iter().map(|(at, event)| entry(*at, event, now, describe)).collect(),
            troubles: history.troubles.iter().map(|wrong| trouble(wrong, now, describe)).collect(),
        }
    }
}

fn path(
    used: &Used,
    socket: Option<SocketAddr>,
    quic: Option<&Numbers>,
    health: Option<Health>,
    now: Now,
) -> snapshot::Path {
    let pair = used.connected.pair;
    let health = health.filter(|health| health.pair == pair);
    snapshot::Path {
        since: timestamp(used.since, now),
        local: socket.map(|socket| as_seen_by(socket, pair.remote)),
        from_main_port: pair.socket == SocketId::MAIN,
        remote: pair.remote,
        method: used.connected.method.name().to_owned(),
        chosen: used.chosen,
        found_after_s: used.found_after.map(|after| after.as_secs_f64()),
        rtt_ms: None,
        rtt_least_ms: Some(ms(used.least_rtt)),
        quic_rtt_ms: quic.map(|quic| ms(quic.rtt)),
        keeper_rtt_ms: health.map(|health| ms(health.rtt)),
        keeper_loss: health.map(|health| health.loss),
        keepalive_s: health.map(|health| health.keepalive.as_secs_f64()),
    }
}

/// The address that the system sends from, where a socket is bound to none.
fn as_seen_by(socket: SocketAddr, remote: SocketAddr) -> SocketAddr {
    if !socket.ip().is_unspecified() {
        return socket;
    }
    SocketAddr::new(source_toward(remote).unwrap_or(socket.ip()), socket.port())
}

fn network(
    history: &History,
    mux: Option<&PeerMux>,
    path: Option<&snapshot::Path>,
    health: Option<Health>,
    peer_port: u16,
) -> snapshot::Network {
    let mux = mux.map(PeerMux::mux);
    let main = mux.map(|mux| mux.local_address());
    let remote = path.map(|path| path.remote).or_else(|| history.addresses.first().copied());
    let local: Option<IpAddr> = match main {
        Some(main) if main.ip().is_unspecified() => remote.and_then(source_toward),
        main => main.map(|main| main.ip()),
    };
    let observed = health.and_then(|h| h.observed).or(history.path.and_then(|used| used.connected.observed));
    let observed = observed.filter(|_| path.is_some());
    let used_local = path.and_then(|path| path.local);
    let buffers = mux.map(|mux| mux.buffer_sizes());
    snapshot::Network {
        local,
        port: main.map_or(0, |main| main.port()),
        observed,
        is_behind_nat: observed.zip(used_local).map(|(observed, local)| observed != local),
        keeps_port: observed.zip(used_local).map(|(observed, local)| observed.port() == local.port()),
        peer_keeps_port: path.map(|path| path.remote.port() == peer_port),
        receive_buffer_bytes: buffers.map_or(0, |buffers| buffers.receive),
        send_buffer_bytes: buffers.map_or(0, |buffers| buffers.send),
    }
}

fn forward(forward: &Forward, history: &History) -> Option<snapshot::Forward> {
    let Reading { open, total, sent, received, sent_saved, received_saved } = forward.meter.upgrade()?.read();
    Some(snapshot::Forward {
        service: forward.service.clone(),
        target: forward.target.clone(),
        reaches: forward.target.parse().ok().and_then(|listener| history.reached.get(&listener).cloned()),
        open,
        total,
        sent_bytes: sent,
        received_bytes: received,
        sent_saved_bytes: sent_saved,
        received_saved_bytes: received_saved,
    })
}

fn traffic(records: &Records, sum: &Sum) -> snapshot::Traffic {
    let Reading { open, total, sent, received, sent_saved, received_saved } = records.carried(sum);
    let (sent_rate, received_rate) = records.rates.now();
    snapshot::Traffic {
        open,
        total,
        sent_bytes: sent,
        received_bytes: received,
        sent_saved_bytes: sent_saved,
        received_saved_bytes: received_saved,
        sent_rate,
        received_rate,
        seconds: records.rates.seconds(),
    }
}

fn entry(
    at: Now,
    event: &Event,
    now: Now,
    describe: &dyn Fn(&Event) -> Option<String>,
) -> snapshot::HistoryEntry {
    let connected = event.connected();
    let tunnel_to = if let Event::TunnelUp { remote } = event { Some(*remote) } else { None };
    snapshot::HistoryEntry {
        at: timestamp(at, now),
        event: event.name().to_owned(),
        method: connected.map(|connected| connected.method.name().to_owned()),
        remote: connected.map(|connected| connected.pair.remote).or(tunnel_to),
        seconds: time_of(event).map(|time| time.as_secs_f64()),
        why: why(event),
        text: describe(event).unwrap_or_default(),
    }
}

/// How long it took, or for how long nothing was heard.
fn time_of(event: &Event) -> Option<Duration> {
    if let Event::PathLost { loss: Some(Loss::Silent(time)) } | Event::PathBack { after: time, .. } = event {
        return Some(*time);
    }
    if let Event::Punched(connected) = event { Some(connected.took) } else { None }
}

fn why(event: &Event) -> Option<String> {
    if let Event::PathLost { loss } = event {
        return Some(Lost::from(*loss).name().to_owned());
    }
    if let Event::TunnelLost(end) = event {
        return Some(end.to_string());
    }
    if let Event::HandshakeFailed { why } = event { Some(why.to_string()) } else { None }
}

fn trouble(wrong: &Wrong, now: Now, describe: &dyn Fn(&Event) -> Option<String>) -> snapshot::TroubleEntry {
    let cause = if let Event::Trouble(Trouble::NoPath(found)) = &wrong.event {
        Some(found.cause().name().to_owned())
    } else {
        None
    };
    snapshot::TroubleEntry {
        kind: wrong.kind().to_owned(),
        cause,
        since: timestamp(wrong.since, now),
        text: describe(&wrong.event).unwrap_or_default(),
    }
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}
