//! `quorate serve` as a process: logs, the admin port, signals, one line when it serves.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use tokio::task::spawn_local;
use tracing::{error, info, warn};

use super::{ServeError, Serving, serve};
use crate::admin::{self, Status};
use crate::config::{Checked, Log};
use crate::driver::Pulse;
use crate::metrics::Metrics;

/// Which signal ended the process in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// SIGINT.
    Interrupted,
    /// SIGTERM.
    Terminated,
}

/// Runs a node as a process of its own, until a signal ends it: logs to stderr, one line on stdout when clients are
/// served, the admin port on a thread of its own, and an abort at the first panic.
///
/// # Errors
/// [`ServeError`]; its [`ServeError::exit_code`] is the process's.
pub fn run(config: &Checked) -> Result<Ended, ServeError> {
    start_logging(&config.log);
    abort_on_panic();
    for warning in &config.warnings {
        warn!(ev = "config", "{warning}");
    }
    let metrics = Arc::new(Metrics::new(env!("CARGO_PKG_VERSION"), build_commit(), "1"));
    let (begun, pulse) = (Instant::now(), Arc::new(OnceLock::<Arc<Pulse>>::new()));
    let seen = Arc::clone(&pulse);
    // A start that replays a long log is alive although nothing turns yet.
    let turns = move || seen.get().map_or_else(|| begun.elapsed().as_millis() as u64, |pulse| pulse.turns());
    let status = Arc::new(Status::new(Arc::clone(&metrics), turns));
    let admin = match &config.listen_admin {
        Some(address) => Some(serve_admin(address, Arc::clone(&status))?),
        None => None,
    };
    let opened = Arc::clone(&status);
    let started = |serving: &Serving| {
        // A second start in this process cannot be: the cell is ours.
        let _ = pulse.set(Arc::clone(&serving.pulse));
        opened.storage_is_open();
        announce(config, serving, admin);
    };
    let stop = async {
        let signal = signal().await;
        status.is_draining();
        signal
    };
    serve(config.server_settings(), config.door(metrics), started, stop)?
        .map_err(|source| ServeError::System { what: "signals cannot be listened for", source })
}

fn build_commit() -> &'static str {
    option_env!("QUORATE_COMMIT").unwrap_or("unknown")
}

fn announce(config: &Checked, serving: &Serving, admin: Option<SocketAddr>) {
    let Serving { client, peer, took, replayed, blank, .. } = serving;
    let (name, cluster, took) = (&config.name, &config.cluster_name, took.as_millis());
    let admin = admin.map(|address| format!(", admin http://{address}")).unwrap_or_default();
    // The one line on stdout, for people and for whoever started this process.
    println!("quorate {name} of {cluster} serves clients on {client}, peers on {peer}{admin} (after {took} ms)");
    info!(ev = "node.start", name, cluster, %client, %peer, replayed, "serving");
    if let Some(why) = blank {
        error!(ev = "node.blank", "this node stays out: {why}");
    }
}

/// The first signal that asks for an end. A second one ends the process at once, as it would by default.
async fn signal() -> std::io::Result<Ended> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let ended = tokio::select! {
        _ = interrupt.recv() => Ended::Interrupted,
        _ = terminate.recv() => Ended::Terminated,
    };
    spawn_local(async move {
        tokio::select! {
            _ = interrupt.recv() => std::process::exit(130),
            _ = terminate.recv() => std::process::exit(143),
        }
    });
    Ok(ended)
}

fn start_logging(log: &Log) {
    use std::io::IsTerminal;
    let filter = tracing_subscriber::EnvFilter::new(format!("quorate_runtime={0},quorate={0}", log.level));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let json = log.json.unwrap_or_else(|| !std::io::stderr().is_terminal());
    // Somebody who has set up logs before keeps them.
    let _ = if json { builder.json().try_init() } else { builder.try_init() };
}

/// A wrong thought of ours must not go on serving: the message is printed, and the process ends without unwinding.
fn abort_on_panic() {
    let print = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        print(panic);
        std::process::abort();
    }));
}

/// The admin port on a thread of its own, so that it answers also when the driver hangs.
fn serve_admin(address: &str, status: Arc<Status>) -> Result<SocketAddr, ServeError> {
    let bind = |source| ServeError::Bind { what: "health checks", address: address.to_owned(), source };
    let listener = admin::bind(address).map_err(bind)?;
    let bound = listener.local_addr().map_err(bind)?;
    let serve = move || -> std::io::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            admin::spawn(listener, status)?;
            std::future::pending().await
        })
    };
    let report = move || {
        if let Err(error) = serve() {
            error!(ev = "admin", "the admin port does not answer: {error}");
        }
    };
    let thread = std::thread::Builder::new().name("admin".to_owned()).spawn(report);
    thread.map_err(|source| ServeError::System { what: "the admin thread cannot be started", source })?;
    Ok(bound)
}
