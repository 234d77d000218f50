//! The status page: six fixed paths over HTTP/1.1, read-only, for a browser on this machine.
//!
//! | who | what keeps them out |
//! |---|---|
//! | other machines | it is bound to a loopback address, unless the user insists |
//! | a page from elsewhere, by a name that it has pointed here (DNS rebinding) | `Host` must be an IP address or `localhost` |
//! | a page from elsewhere that fetches or embeds this one | no CORS header, `Cross-Origin-Resource-Policy`, `frame-ancestors 'none'` |
//! | text from the network in the page | the script sets text, never markup; and a strict Content-Security-Policy |
//! | who takes all connections, or is slow | bounds below |

use std::{convert::Infallible, net::IpAddr, net::SocketAddr, pin::pin, sync::Arc, time::Duration};

use hyper::{
    Method, Request, Response, StatusCode,
    body::Incoming,
    header::{self, HeaderMap, HeaderValue},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use pinhole::{
    bind::{BindError, Protocol},
    status::Status,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::JoinSet,
    time::{sleep, timeout},
};

use super::{metrics, to_json};
use crate::texts;

/// Connections at a time; others wait in the system's queue.
const CONNECTIONS: usize = 32;

/// Time for the head of a request to arrive.
const HEAD: Duration = Duration::from_secs(5);

/// Time after which a connection is asked to end: a browser opens another one.
const LIFE: Duration = Duration::from_secs(60);

/// Time that it has for that.
const END: Duration = Duration::from_secs(5);

/// Headers of a request.
const HEADERS: usize = 64;

/// Longest head of a request, bytes.
const HEAD_BYTES: usize = 16 << 10;

/// Pause after a failed accept: there are no descriptors left, most likely.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);

/// Everything that the page needs comes from here, and nothing of it is inline.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const HTML: &str = "text/html; charset=utf-8";

/// The files of the page: path, content type, text.
const FILES: [(&str, &str, &str); 4] = [
    ("/", HTML, include_str!("index.html")),
    ("/status.css", "text/css; charset=utf-8", include_str!("status.css")),
    ("/status.js", "text/javascript; charset=utf-8", include_str!("status.js")),
    ("/icon.svg", "image/svg+xml", include_str!("icon.svg")),
];

/// A page that is served as long as this is held.
#[derive(Debug)]
pub(crate) struct Page {
    address: SocketAddr,
    _task: JoinSet<()>,
}

impl Page {
    /// Opens the port.
    pub(super) fn open(status: Status, address: SocketAddr) -> Result<Self, BindError> {
        let listener = || {
            let listener = std::net::TcpListener::bind(address)?;
            listener.set_nonblocking(true)?;
            TcpListener::from_std(listener)
        };
        let listener = listener().map_err(|source| BindError::new(Protocol::Tcp, address, source))?;
        let address = listener.local_addr().unwrap_or(address);
        let mut task = JoinSet::new();
        task.spawn(serve(listener, status));
        Ok(Self { address, _task: task })
    }

    /// Returns where it is.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }
}

async fn serve(listener: TcpListener, status: Status) {
    let permits = Arc::new(Semaphore::new(CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let Ok(permit) = permits.clone().acquire_owned().await else { return };
        match listener.accept().await {
            Ok((tcp, _)) => {
                let status = status.clone();
                connections.spawn(async move {
                    serve_one(tcp, status).await;
                    drop(permit);
                });
            }
            Err(error) => {
                tracing::debug!(%error, "the page is not served");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn serve_one(tcp: TcpStream, status: Status) {
    let service = service_fn(async |request| Ok::<_, Infallible>(answer(&request, &status).await));
    let mut connection = pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD)
            .max_headers(HEADERS)
            .max_buf_size(HEAD_BYTES)
            .serve_connection(TokioIo::new(tcp), service)
    );
    tokio::select! {
        _gone_or_bad = connection.as_mut() => return,
        () = sleep(LIFE) => connection.as_mut().graceful_shutdown(),
    }
    let _gone_or_slow = timeout(END, connection).await;
}

async fn answer(request: &Request<Incoming>, status: &Status) -> Response<String> {
    let has_other_host = request.uri().host().is_some_and(|host| !is_this_machine(host));
    if has_other_host || !names_this_machine(request.headers()) {
        return plain(StatusCode::MISDIRECTED_REQUEST, "use the IP address of this machine, or localhost\n");
    }
    if ![Method::GET, Method::HEAD].contains(request.method()) {
        let mut refusal = plain(StatusCode::METHOD_NOT_ALLOWED, "this page can only be read\n");
        refusal.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
        return refusal;
    }
    match request.uri().path() {
        "/status.json" => respond(StatusCode::OK, "application/json", to_json(status).await),
        "/metrics" => {
            let snapshot = status.snapshot(&texts::describe).await;
            respond(StatusCode::OK, metrics::CONTENT_TYPE, metrics::text(&snapshot))
        }
        path => match FILES.iter().find(|(name, ..)| *name == path) {
            Some((_, kind, text)) => respond(StatusCode::OK, kind, (*text).to_owned()),
            None => plain(StatusCode::NOT_FOUND, "there is /, /status.json and /metrics\n"),
        },
    }
}

/// Whether the request is for an address. A name may be anybody's, and point here only to read this.
fn names_this_machine(headers: &HeaderMap) -> bool {
    let mut hosts = headers.get_all(header::HOST).iter();
    match (hosts.next().and_then(|host| host.to_str().ok()), hosts.next()) {
        (Some(host), None) => is_this_machine(host),
        _ => false,
    }
}

fn is_this_machine(host: &str) -> bool {
    let is_ip = |text: &str| text.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>().is_ok();
    let without_port = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|digit| digit.is_ascii_digit()) => name,
        _ => host,
    };
    host.parse::<SocketAddr>().is_ok()
        || is_ip(host)
        || is_ip(without_port)
        || without_port.eq_ignore_ascii_case("localhost")
}

fn plain(code: StatusCode, text: &str) -> Response<String> {
    respond(code, "text/plain; charset=utf-8", text.to_owned())
}

fn respond(code: StatusCode, kind: &'static str, body: String) -> Response<String> {
    let mut response = Response::new(body);
    *response.status_mut() = code;
    let headers = [
        (header::CONTENT_TYPE, kind),
        (header::CACHE_CONTROL, "no-store"),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ];
    for (name, value) in headers {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_address_or_localhost_is_this_machine() {
        for host in ["127.0.0.1:8555", "localhost", "LOCALHOST:8555", "[::1]:8555", "[::1]", "192.0.2.7:80"] {
            assert!(is_this_machine(host), "{host}");
        }
        for host in [
            "",
            "evil.example",
            "evil.example:8555",
            "127.0.0.1.evil.example",
            "localhost.evil.example",
            "a:b:80",
        ] {
            assert!(!is_this_machine(host), "{host}");
        }
    }

    #[test]
    fn nothing_of_the_page_is_inline_or_from_elsewhere() {
        for (path, kind, text) in FILES {
            let text = text.replace("http://www.w3.org/", "");
            let foreign = [
                "http:",
                "https:",
                "<style",
                "style=",
                " onclick",
                " onload",
                "javascript:",
                "innerHTML",
                "eval(",
            ];
            let found: Vec<&str> = foreign.into_iter().filter(|part| text.contains(part)).collect();
            assert!(found.is_empty(), "{path} ({kind}): {found:?}");
        }
    }
}
