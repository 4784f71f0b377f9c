//! The admin port: is this process alive, may it be given work, and what has it counted. HTTP, read only.
//!
//! | path | answer |
//! |---|---|
//! | `/livez` | 200 while the driver's loop turns; 503 once it has stood still for [`STANDSTILL_MAX`] |
//! | `/readyz` | 200 while this node may be given work, otherwise 503; `?verbose` names each check |
//! | `/metrics` | everything counted, as OpenMetrics text |
//!
//! `/livez` asks nothing of other members: were it to depend on them, one cut in the network would have every process
//! killed. `/readyz` does not ask whether a quorum can be reached either, or the same cut would take every node out of
//! its balancer; that shows in the body (`ok` or `degraded`) and in the metrics.
//!
//! State: [`Status`], shared with whoever runs the node. Nothing here changes anything.

mod process;

use crate::metrics::{Metrics, NodeState};
use axum::Router;
use axum::extract::{Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use std::collections::BTreeMap;
use std::fmt;
use std::fmt::Write;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A loop that has not turned for so long is taken to hang. It turns every second at least.
pub const STANDSTILL_MAX: Duration = Duration::from_secs(5);

/// What the admin port knows of the node.
pub struct Status {
    metrics: Arc<Metrics>,
    /// Turns that the driver's loop has made.
    turns: Box<dyn Fn() -> u64 + Send + Sync>,
    /// The last count of turns that differed from the one before, and when it was seen.
    last_turn: Mutex<(u64, Instant)>,
    storage_open: AtomicBool,
    log_replayed: AtomicBool,
    draining: AtomicBool,
}

impl fmt::Debug for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Status")
    }
}

impl Status {
    /// The status of a node whose loop counts its turns.
    pub fn new(metrics: Arc<Metrics>, turns: impl Fn() -> u64 + Send + Sync + 'static) -> Self {
        let last_turn = Mutex::new((turns(), Instant::now()));
        Self {
            metrics,
            turns: Box::new(turns),
            last_turn,
            storage_open: AtomicBool::new(false),
            log_replayed: AtomicBool::new(false),
            draining: AtomicBool::new(false),
        }
    }

    /// The storage is open and its log is replayed.
    pub fn storage_is_open(&self) {
        self.storage_open.store(true, Ordering::Relaxed);
        self.log_replayed.store(true, Ordering::Relaxed);
    }

    /// The node takes no new work and will end.
    pub fn is_draining(&self) {
        self.draining.store(true, Ordering::Relaxed);
        self.metrics.set_node_state(NodeState::Draining);
    }

    /// Whether the loop turns.
    fn is_alive(&self, now: Instant) -> bool {
        let turns = (self.turns)();
        // Both halves are written together, so a panic elsewhere cannot have left them apart.
        let mut last = self.last_turn.lock().unwrap_or_else(PoisonError::into_inner);
        if last.0 != turns {
            *last = (turns, now);
        }
        now.duration_since(last.1) < STANDSTILL_MAX
    }

    /// Every check by name, in the order in which a start passes them.
    fn checks(&self) -> [(&'static str, bool); 5] {
        let state = self.metrics.node_state();
        [
            ("storage-open", self.storage_open.load(Ordering::Relaxed)),
            ("wal-replayed", self.log_replayed.load(Ordering::Relaxed)),
            ("ring-epoch-known", self.metrics.epoch.get() > 0),
            ("joined", matches!(state, NodeState::Ready | NodeState::Draining)),
            ("not-draining", !self.draining.load(Ordering::Relaxed)),
        ]
    }
}

/// Binds the admin port. Done before the node starts, so that a port in use is told at once.
///
/// # Errors
/// The system's, for this address.
pub fn bind(address: &str) -> std::io::Result<std::net::TcpListener> {
    let listener = std::net::TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Serves the admin port on the current runtime until the process ends. Returns where it listens.
///
/// # Errors
/// The system's, when it does not take the socket.
pub fn spawn(listener: std::net::TcpListener, status: Arc<Status>) -> std::io::Result<SocketAddr> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let address = listener.local_addr()?;
    let router = router(status);
    tokio::spawn(async move {
        // It ends only with the runtime; a failed accept is tried again by the library.
        let _ = axum::serve(listener, router).await;
    });
    Ok(address)
}

/// The paths of the admin port.
fn router(status: Arc<Status>) -> Router {
    Router::new()
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .fallback(|| async { (StatusCode::NOT_FOUND, "there are /livez, /readyz and /metrics\n") })
        .with_state(status)
}

async fn livez(State(status): State<Arc<Status>>) -> Response {
    if status.is_alive(Instant::now()) {
        return (StatusCode::OK, "ok\n").into_response();
    }
    let seconds = STANDSTILL_MAX.as_secs();
    let text = format!("the driver has not turned for {seconds} s\n");
    (StatusCode::SERVICE_UNAVAILABLE, text).into_response()
}

async fn readyz(State(status): State<Arc<Status>>, Query(query): Query<BTreeMap<String, String>>) -> Response {
    let checks = status.checks();
    let is_ready = checks.iter().all(|(_, passed)| *passed);
    let code = if is_ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let is_verbose = query.contains_key("verbose");
    let mut text = String::new();
    for (name, passed) in checks.iter().filter(|(_, passed)| is_verbose || !passed) {
        let mark = if *passed { "[+]" } else { "[-]" };
        writeln!(text, "{mark}{name} {}", if *passed { "ok" } else { "failed" }).expect(STRING);
    }
    let summary = match (is_ready, status.metrics.partitions_below_full()) {
        (false, _) => "not ready".to_owned(),
        (true, 0) => "ok".to_owned(),
        (true, short) => format!("degraded: {short} partitions lack a copy that can be reached"),
    };
    if let Some(why) = status.metrics.why_blank() {
        writeln!(text, "this node stays out: {why}").expect(STRING);
    }
    writeln!(text, "{summary}").expect(STRING);
    (code, text).into_response()
}

const STRING: &str = "a String takes all that is written to it";

async fn metrics(State(status): State<Arc<Status>>) -> Response {
    process::measure(&status.metrics);
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], status.metrics.encode()).into_response()
}

#[cfg(test)]
mod tests;
