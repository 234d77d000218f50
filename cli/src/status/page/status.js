"use strict";

const EVERY_MS = 1000;
const PATIENCE_MS = 4000;
const RING = 120;
const SVG = "http://www.w3.org/2000/svg";
const GOOD = ["punched", "tunnel_up", "path_back", "path_changed"];
const BADGES = { connected: "connected", connecting: "connecting", searching: "searching", path_lost: "path lost", displaced: "displaced" };
const METHODS = { base: "at the named ports", slot: "at ports from key and time", spare: "at reserve ports", fan: "by many sockets here", sweep: "by trying ports there" };
const CHOSEN = { first: "the first pair that was proven", again: "punched again after a loss", nearer: "nearer than the one before" };

const byId = (id) => document.getElementById(id);

/** Sets a text, and leaves the page alone where it has not changed. */
function put(id, text) {
  const node = byId(id);
  if (node.textContent !== text) node.textContent = text;
}

function make(name, text, className) {
  const node = document.createElement(name);
  if (text !== undefined) node.textContent = text;
  if (className) node.className = className;
  return node;
}

function draw(name, attributes, text) {
  const node = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  if (text !== undefined) node.textContent = text;
  return node;
}

function span(seconds) {
  const s = Math.floor(seconds);
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min ${s % 60} s`;
  if (s < 86400) return `${Math.floor(s / 3600)} h ${Math.floor(s / 60) % 60} min`;
  return `${Math.floor(s / 86400)} d ${Math.floor(s / 3600) % 24} h`;
}

function bytes(count) {
  const units = ["B", "kB", "MB", "GB", "TB", "PB"];
  let unit = 0;
  while (count >= 1000 && unit < units.length - 1) { count /= 1000; unit += 1; }
  return `${unit === 0 || count >= 100 || Number.isInteger(count) ? Math.round(count) : count.toFixed(1)} ${units[unit]}`;
}

const ms = (value) => (value === null || value === undefined ? "–" : `${value < 10 ? value.toFixed(1) : Math.round(value)} ms`);
const percent = (share) => (share === null || share === undefined ? "–" : `${(share * 100).toFixed(share > 0 && share < 0.1 ? 1 : 0)} %`);
const count = (number, one) => `${number} ${one}${number === 1 ? "" : "s"}`;

function headline(s) {
  const since = span(s.since.ago_s);
  const open = count(s.traffic.open, "connection");
  switch (s.state) {
    case "connected": return `Connected to ${s.peer} for ${since}`;
    case "connecting": return `The hole to ${s.peer} is punched; the tunnel comes up`;
    case "path_lost": return `No path to ${s.peer} for ${since}: punching again, ${open} waiting`;
    case "displaced": return "Another pinhole with this key has taken this one's place";
    default: return `Waiting for the peer at ${s.peer} for ${since}`;
  }
}

function showHead(s) {
  document.body.dataset.state = s.state;
  document.title = `${BADGES[s.state] || s.state} · ${s.peer} · pinhole`;
  put("badge", BADGES[s.state] || s.state);
  put("headline", headline(s));
  const forwards = s.role === "open" ? `${count(s.forwards.length, "local port")} to its services` : `${count(s.forwards.length, "service")} for it`;
  put("subline", `${forwards}; ${count(s.traffic.open, "connection")} open`);
  put("program", `pinhole ${s.version}, process ${s.pid}, started ${span(s.started.ago_s)} ago`);
}

function showPicture(s) {
  const { path, network } = s;
  put("here-1", network.local || "");
  put("here-2", `UDP port ${path && path.local ? path.local.split(":").pop() : network.port}`);
  put("nat-name", network.is_behind_nat === false ? "no NAT here" : "our NAT");
  put("nat-1", network.observed || "not known yet");
  put("nat-2", network.is_behind_nat === false || network.keeps_port === null ? "" : network.keeps_port ? "keeps the port" : "changes the port");
  put("peer-1", path ? path.remote : s.addresses[0] || "");
  put("peer-2", network.peer_keeps_port === null ? "" : network.peer_keeps_port ? "the port as named" : "another port than named");
  put("side-name", s.role === "open" ? "its services" : "its local ports");
  put("far-1", s.role === "open" ? s.forwards.map((f) => f.reaches || f.service).slice(0, 3).join(", ") : "");
  put("far-2", s.role === "open" ? "serve side" : "open side");
  put("wire-1", path ? ms(path.rtt_ms) : BADGES[s.state] || s.state);
  put("wire-2", path ? METHODS[path.method] || path.method : "");
  const after = path && path.found_after_s !== null ? `, found in ${path.found_after_s.toFixed(1)} s` : "";
  put("why", path ? `This path: ${CHOSEN[path.chosen] || path.chosen}${after}; in use for ${span(path.since.ago_s)}` : "");
  const where = path ? `the path from ${path.local} to ${path.remote}` : "no path at the moment";
  put("picture-text", `This machine ${network.local}, as the peer sees it ${network.observed || "unknown"}; ${where}`);
}

/** What compression has left, if there was any. */
function left(all, saved) {
  return saved > 0 ? `, compressed to ${Math.round(100 * (all - saved) / all)} %` : "";
}

function showTiles(s) {
  const { path, tunnel, traffic, network } = s;
  const small = Math.min(network.receive_buffer_bytes, network.send_buffer_bytes) < 4 << 20;
  const tiles = [
    ["Round trip", ms(path && path.rtt_ms), path ? `at best ${ms(path.rtt_least_ms)}` : ""],
    ["Loss", percent(tunnel && tunnel.loss), tunnel ? `${tunnel.lost_packets} of ${tunnel.sent_packets}` : ""],
    ["Sent", `${bytes(traffic.sent_rate)}/s`, `${bytes(traffic.sent_bytes)} in all${left(traffic.sent_bytes, traffic.sent_saved_bytes)}`],
    ["Received", `${bytes(traffic.received_rate)}/s`, `${bytes(traffic.received_bytes)} in all${left(traffic.received_bytes, traffic.received_saved_bytes)}`],
    ["Connections", String(traffic.open), `${traffic.total} in all`],
    ["Datagrams", tunnel ? `${tunnel.mtu_bytes} B` : "–", small ? "small UDP buffers" : path && path.keepalive_s ? `tests each ${span(path.keepalive_s)}` : ""],
  ];
  byId("tiles").replaceChildren(...tiles.map(([name, value, more]) => {
    const tile = make("div", undefined, "tile");
    tile.append(make("span", name), make("b", value), make("small", more));
    return tile;
  }));
}

/** A round number at or above the largest value: 1, 2 or 5 times a power of ten. */
function ceiling(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].map((step) => step * power).find((round) => round >= value);
}

function graph(id, series, least, label) {
  const svg = byId(id);
  const box = svg.getBoundingClientRect();
  const [width, height] = [Math.max(200, box.width), Math.max(80, box.height)];
  const [left, right, top, bottom] = [2, width - 2, 14, height - 18];
  const most = ceiling(Math.max(least, ...series.flatMap(([, values]) => values)));
  const x = (age) => right - (age * (right - left)) / (RING - 1);
  const y = (value) => bottom - (value * (bottom - top)) / most;
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  const parts = [0, 0.5, 1].map((share) => draw("path", { class: "grid", d: `M${left} ${y(most * share)}H${right}` }));
  parts.push(draw("text", { x: left, y: top - 4 }, label(most)));
  parts.push(draw("text", { x: left, y: height - 4 }, "2 min ago"), draw("text", { x: right, y: height - 4, class: "end" }, "now"));
  for (const [name, values, skipsZero] of series) {
    for (const run of runs(values, skipsZero)) {
      const points = run.map(([index, value]) => `${x(values.length - 1 - index).toFixed(1)} ${y(value).toFixed(1)}`);
      const [first, last] = [points[0].split(" ")[0], points[points.length - 1].split(" ")[0]];
      parts.push(draw("path", { class: `area ${name}`, d: `M${first} ${bottom}L${points.join("L")}L${last} ${bottom}Z` }));
      parts.push(draw("path", { class: `line ${name}`, d: `M${points.join("L")}` }));
    }
  }
  svg.replaceChildren(...parts);
}

/** Cuts a list where nothing was measured. */
function runs(values, skipsZero) {
  const all = [];
  let run = [];
  values.forEach((value, index) => {
    if (skipsZero && value === 0) { if (run.length) all.push(run); run = []; } else run.push([index, value]);
  });
  if (run.length) all.push(run);
  return all;
}

function showGraphs(s) {
  const { sent, received, rtt_us: rtt } = s.traffic.seconds;
  graph("rate", [["received", received], ["sent", sent]], 1000, (most) => `${bytes(most)}/s`);
  graph("rtt", [["rtt", rtt.map((us) => us / 1000), true]], 1, (most) => `${most} ms`);
}

function showForwards(s) {
  put("what", s.role === "open" ? "Peer's service" : "Service");
  byId("forwards").replaceChildren(...s.forwards.map((f) => {
    const row = make("tr");
    row.append(make("td", f.reaches || f.service), make("td", f.target));
    for (const text of [f.open, f.total, bytes(f.sent_bytes), bytes(f.received_bytes)]) row.append(make("td", String(text), "n"));
    return row;
  }));
}

function showTroubles(s) {
  const section = byId("troubles");
  section.hidden = s.troubles.length === 0;
  const rows = s.troubles.map((trouble) => {
    const row = make("p", `${trouble.text} `, "trouble");
    row.append(make("small", `for ${span(trouble.since.ago_s)}`));
    return row;
  });
  if (section.textContent !== rows.map((row) => row.textContent).join("")) section.replaceChildren(...rows);
}

function showHistory(s) {
  const rows = [...s.history].reverse().map((entry) => {
    const row = make("li");
    row.dataset.kind = GOOD.includes(entry.event) ? "good" : "bad";
    const time = make("time", `${span(entry.at.ago_s)} ago`);
    time.dateTime = new Date(entry.at.unix_ms).toISOString();
    time.title = new Date(entry.at.unix_ms).toLocaleString();
    const text = make("span");
    text.append(make("span", undefined, "mark"), entry.text);
    row.append(time, text);
    return row;
  });
  byId("history").replaceChildren(...(rows.length ? rows : [make("li", "nothing yet")]));
}

function showGone() {
  document.body.dataset.state = "gone";
  document.title = "no answer · pinhole";
  put("badge", "no answer");
  put("headline", "This pinhole does not answer: it has ended, or the machine is busy");
}

async function refresh() {
  try {
    const answer = await fetch("/status.json", { cache: "no-store", signal: AbortSignal.timeout(PATIENCE_MS) });
    const snapshot = await answer.json();
    for (const show of [showHead, showPicture, showTiles, showGraphs, showForwards, showTroubles, showHistory]) show(snapshot);
  } catch {
    showGone();
  }
  setTimeout(refresh, EVERY_MS);
}

refresh();
