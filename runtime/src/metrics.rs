//! What a node counts, in the words of Prometheus.
//!
//! One registry per process. Sessions and the host hold an `Arc` and add to it; the admin port reads it. Nothing here
//! decides anything, and no label carries a key, a value or a client.
//!
//! Request counters are looked up by position, not by label: a table of cells that are filled on first use, so that a
//! node at rest exports few series and a busy one pays two atomic additions per request.

use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;
use std::fmt;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

macro_rules! labelled {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $text:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name { $($(#[$variant_doc])* $variant),+ }
        impl $name {
            /// Every one, in the order of the table.
            pub const ALL: &[Self] = &[$(Self::$variant),+];
            /// The word of the label.
            pub fn label(self) -> &'static str {
                match self { $(Self::$variant => $text),+ }
            }
        }
    };
}

labelled! {
    /// What a request did.
    Op {
        /// Read a key.
        Get = "get",
        /// Wrote a key.
        Put = "put",
        /// Deleted a key.
        Del = "del",
    }
}
labelled! {
    /// At which level a request was asked for.
    Level {
        /// What the keyspace says.
        Keyspace = "keyspace",
        /// One home.
        One = "one",
        /// Two homes.
        Two = "two",
        /// A majority.
        Quorum = "quorum",
        /// Every home.
        All = "all",
        /// A number of homes.
        Homes = "homes",
        /// Asserted to be linearizable.
        Linearizable = "linearizable",
    }
}
labelled! {
    /// How a request ended.
    RequestResult {
        /// As asked.
        Ok = "ok",
        /// There was nothing.
        Miss = "miss",
        /// Refused, or impossible now; nothing happened.
        Error = "error",
        /// The time ran out, and nothing happened.
        Timeout = "timeout",
        /// It may have happened.
        Indeterminate = "indeterminate",
        /// Too much was going on.
        Shed = "shed",
    }
}
labelled! {
    /// What a node is to its cluster.
    NodeState {
        /// It has not been accepted by all peers yet.
        Starting = "starting",
        /// It counts.
        Ready = "ready",
        /// It stays out.
        Blank = "blank",
        /// It takes no new work and will end.
        Draining = "draining",
    }
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct RequestLabels {
    api: &'static str,
    op: &'static str,
    level: &'static str,
    result: &'static str,
}
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct DurationLabels {
    api: &'static str,
    op: &'static str,
    level: &'static str,
}
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ApiLabel {
    api: &'static str,
}
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OpLabel {
    op: &'static str,
}
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct StateLabel {
    state: &'static str,
}
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct HealthLabel {
    health: &'static str,
}
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct KindLabel {
    kind: &'static str,
}

const API: &str = "resp";

/// 0.1 ms to 10 s: from a hit in memory to the longest sensible wait.
const REQUEST_SECONDS: [f64; 16] =
    [0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0];
/// 50 us to 1 s: from a preallocated file on a fast disk to a disk in trouble.
const SYNC_SECONDS: [f64; 12] = [0.00005, 0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0];

fn histogram_of(bounds: &'static [f64]) -> Histogram {
    Histogram::new(bounds.iter().copied())
}
fn request_histogram() -> Histogram {
    histogram_of(&REQUEST_SECONDS)
}

/// All metrics of one process.
pub struct Metrics {
    registry: Registry,
    requests: Family<RequestLabels, Counter>,
    request_cells: Vec<OnceLock<Counter>>,
    durations: Family<DurationLabels, Histogram, fn() -> Histogram>,
    duration_cells: Vec<OnceLock<Histogram>>,
    clients: Gauge,
    shortfalls: Family<OpLabel, Counter>,
    node_state: Family<StateLabel, Gauge>,
    state_now: AtomicU8,
    why_blank: Mutex<Option<String>>,
    members: Family<StateLabel, Gauge>,
    partitions: Family<HealthLabel, Gauge>,
    failures_tolerated: Gauge,
    disk_bytes: Family<KindLabel, Gauge>,
    /// `quorate_cluster_epoch`.
    pub epoch: Gauge,
    /// `quorate_inflight_requests`: client requests at the node now.
    pub in_flight: Gauge,
    /// `quorate_client_connections_refused_total`: connections turned away at the accept limit.
    pub connections_refused: Counter,
    /// `quorate_read_repairs_total`: reads that wrote back what some home lacked.
    pub read_repairs: Counter,
    /// `quorate_wal_fsync_duration_seconds`.
    pub wal_sync_seconds: Histogram,
    /// `quorate_wal_bytes_total`: bytes appended to the log.
    pub wal_bytes: Counter,
    /// `quorate_eventloop_lag_seconds`: how late the driver loop last woke.
    pub loop_lag_seconds: Gauge<f64, AtomicU64>,
    /// `process_resident_memory_bytes`.
    pub process_memory_bytes: Gauge,
    /// `process_open_fds`.
    pub process_open_fds: Gauge,
    /// `process_cpu_seconds_total`, as the system counts it.
    pub process_cpu_seconds: Gauge<f64, AtomicU64>,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Metrics")
    }
}

/// Health of the partitions, counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PartitionHealth {
    /// All homes can be reached.
    pub ok: u64,
    /// A majority can.
    pub quorum: u64,
    /// Less than a majority can.
    pub lost: u64,
    /// How many more nodes may fail, whichever they are, before some partition has no majority.
    pub failures_tolerated: u64,
}

impl Metrics {
    /// Metrics of a build: its version, commit and schema of peer messages.
    pub fn new(version: &str, commit: &str, schema: &str) -> Self {
        let mut registry = Registry::default();
        let labels =
            vec![("version", version.to_owned()), ("commit", commit.to_owned()), ("schema", schema.to_owned())];
        registry.register("quorate_build", "The build that runs", Info::new(labels));
        let durations: Family<DurationLabels, Histogram, fn() -> Histogram> =
            Family::new_with_constructor(request_histogram);
        let clients: Family<ApiLabel, Gauge> = Family::default();
        let own_clients = clients.get_or_create(&ApiLabel { api: API }).clone();
        let metrics = Self {
            registry,
            requests: Family::default(),
            request_cells: Vec::new(),
            durations,
            duration_cells: Vec::new(),
            clients: own_clients,
            shortfalls: Family::default(),
            node_state: Family::default(),
            state_now: AtomicU8::new(NodeState::Starting as u8),
            why_blank: Mutex::new(None),
            members: Family::default(),
            partitions: Family::default(),
            failures_tolerated: Gauge::default(),
            disk_bytes: Family::default(),
            epoch: Gauge::default(),
            in_flight: Gauge::default(),
            connections_refused: Counter::default(),
            read_repairs: Counter::default(),
            wal_sync_seconds: histogram_of(&SYNC_SECONDS),
            wal_bytes: Counter::default(),
            loop_lag_seconds: Gauge::default(),
            process_memory_bytes: Gauge::default(),
            process_open_fds: Gauge::default(),
            process_cpu_seconds: Gauge::default(),
        };
        metrics.registered(clients)
    }

    fn registered(mut self, clients: Family<ApiLabel, Gauge>) -> Self {
        let durations = Op::ALL.len() * Level::ALL.len();
        self.duration_cells.resize_with(durations, OnceLock::new);
        self.request_cells.resize_with(durations * RequestResult::ALL.len(), OnceLock::new);
        let r = &mut self.registry;
        r.register("quorate_requests", "Client requests that have ended", self.requests.clone());
        r.register("quorate_request_duration_seconds", "Time from request to answer", self.durations.clone());
        r.register("quorate_inflight_requests", "Client requests at work", self.in_flight.clone());
        r.register("quorate_clients_connected", "Client connections", clients);
        r.register(
            "quorate_client_connections_refused",
            "Connections turned away at the limit",
            self.connections_refused.clone(),
        );
        r.register("quorate_quorum_shortfall", "Requests that found too few homes", self.shortfalls.clone());
        r.register("quorate_read_repairs", "Reads that wrote back what a home lacked", self.read_repairs.clone());
        r.register("quorate_node_state", "1 for the state this node is in", self.node_state.clone());
        r.register("quorate_cluster_epoch", "Epoch of the cluster's configuration", self.epoch.clone());
        r.register("quorate_cluster_members", "Members by whether they can be reached", self.members.clone());
        r.register("quorate_cluster_partitions", "Partitions by health, as seen from here", self.partitions.clone());
        r.register(
            "quorate_cluster_failures_tolerated",
            "How many more nodes may fail before a partition loses its majority",
            self.failures_tolerated.clone(),
        );
        r.register("quorate_wal_fsync_duration_seconds", "Time of one log sync", self.wal_sync_seconds.clone());
        r.register("quorate_wal_bytes", "Bytes appended to the log", self.wal_bytes.clone());
        r.register("quorate_disk_bytes", "Bytes on the data directory's disk", self.disk_bytes.clone());
        r.register("quorate_eventloop_lag_seconds", "How late the loop last woke", self.loop_lag_seconds.clone());
        r.register("process_resident_memory_bytes", "Resident memory", self.process_memory_bytes.clone());
        r.register("process_open_fds", "Open file descriptors", self.process_open_fds.clone());
        r.register("process_cpu_seconds", "User and system time so far", self.process_cpu_seconds.clone());
        self
    }

    /// Counts one request that has ended.
    pub fn request_ended(&self, op: Op, level: Level, result: RequestResult, micros: u64) {
        let row = op as usize * Level::ALL.len() + level as usize;
        let labels = DurationLabels { api: API, op: op.label(), level: level.label() };
        let histogram = self.duration_cells[row].get_or_init(|| self.durations.get_or_create(&labels).clone());
        histogram.observe(micros as f64 / 1e6);
        let cell = &self.request_cells[row * RequestResult::ALL.len() + result as usize];
        let counter = cell.get_or_init(|| {
            let DurationLabels { api, op, level } = labels;
            self.requests.get_or_create(&RequestLabels { api, op, level, result: result.label() }).clone()
        });
        counter.inc();
    }

    /// Counts one request that found too few homes.
    pub fn quorum_short(&self, op: Op) {
        self.shortfalls.get_or_create(&OpLabel { op: op.label() }).inc();
    }

    /// A client connected.
    pub fn client_came(&self) {
        self.clients.inc();
    }

    /// A client left.
    pub fn client_went(&self) {
        self.clients.dec();
    }

    /// How many clients are connected.
    pub fn clients_connected(&self) -> i64 {
        self.clients.get()
    }

    /// Notes what the node is to its cluster.
    pub fn set_node_state(&self, now: NodeState) {
        self.state_now.store(now as u8, Ordering::Relaxed);
        for &state in NodeState::ALL {
            self.node_state.get_or_create(&StateLabel { state: state.label() }).set(i64::from(state == now));
        }
    }

    /// What the node is to its cluster, as last noted.
    pub fn node_state(&self) -> NodeState {
        NodeState::ALL[usize::from(self.state_now.load(Ordering::Relaxed))]
    }

    /// Notes why the node stays out of its cluster.
    pub fn set_why_blank(&self, why: String) {
        *self.why_blank.lock().unwrap_or_else(PoisonError::into_inner) = Some(why);
    }

    /// Why the node stays out of its cluster, if it does.
    pub fn why_blank(&self) -> Option<String> {
        self.why_blank.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Notes how many members can be reached, this node included, and how many cannot.
    pub fn set_members(&self, up: usize, down: usize) {
        self.members.get_or_create(&StateLabel { state: "up" }).set(up as i64);
        self.members.get_or_create(&StateLabel { state: "down" }).set(down as i64);
    }

    /// Notes the health of the partitions.
    pub fn set_partitions(&self, health: PartitionHealth) {
        let PartitionHealth { ok, quorum, lost, failures_tolerated } = health;
        for (health, count) in [("ok", ok), ("quorum", quorum), ("lost", lost)] {
            self.partitions.get_or_create(&HealthLabel { health }).set(count as i64);
        }
        self.failures_tolerated.set(failures_tolerated as i64);
    }

    /// How many partitions lack a home that can be reached, as last noted.
    pub fn partitions_below_full(&self) -> i64 {
        let count = |health| self.partitions.get_or_create(&HealthLabel { health }).get();
        count("quorum") + count("lost")
    }

    /// Notes the fill of the disk under the data directory.
    pub fn set_disk_bytes(&self, used: u64, free: u64) {
        self.disk_bytes.get_or_create(&KindLabel { kind: "used" }).set(used as i64);
        self.disk_bytes.get_or_create(&KindLabel { kind: "free" }).set(free as i64);
    }

    /// Everything, as OpenMetrics text.
    pub fn encode(&self) -> String {
        let mut text = String::new();
        text::encode(&mut text, &self.registry).expect("a String takes all that is written to it");
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ended_requests_appear_under_their_labels() {
        let metrics = Metrics::new("0.1.0", "abc", "1");
        metrics.request_ended(Op::Get, Level::Quorum, RequestResult::Miss, 250);
        metrics.request_ended(Op::Get, Level::Quorum, RequestResult::Miss, 350);
        let text = metrics.encode();
        let counted = r#"quorate_requests_total{api="resp",op="get",level="quorum",result="miss"} 2"#;
        assert!(text.contains(counted), "{text}");
        let bucket = r#"quorate_request_duration_seconds_bucket{le="0.0005",api="resp",op="get",level="quorum"} 2"#;
        assert!(text.contains(bucket), "{text}");
        assert!(text.contains(r#"quorate_build_info{version="0.1.0",commit="abc",schema="1"} 1"#), "{text}");
        assert!(text.ends_with("# EOF\n"));
    }

    #[test]
    fn series_stay_few() {
        let metrics = Metrics::new("0.1.0", "abc", "1");
        metrics.set_node_state(NodeState::Ready);
        metrics.set_members(3, 0);
        metrics.set_partitions(PartitionHealth::default());
        metrics.set_disk_bytes(1, 2);
        let series = |text: String| text.lines().filter(|line| !line.starts_with('#')).count();
        assert!(series(metrics.encode()) < 100, "at rest");
        for &op in Op::ALL {
            for &level in Level::ALL {
                for &result in RequestResult::ALL {
                    metrics.request_ended(op, level, result, 1);
                }
            }
        }
        assert!(series(metrics.encode()) < 600, "every label in use");
    }

    #[test]
    fn exactly_one_state_is_set() {
        let metrics = Metrics::new("0.1.0", "abc", "1");
        metrics.set_node_state(NodeState::Starting);
        metrics.set_node_state(NodeState::Ready);
        let text = metrics.encode();
        assert!(text.contains(r#"quorate_node_state{state="ready"} 1"#));
        assert!(text.contains(r#"quorate_node_state{state="starting"} 0"#));
    }
}
