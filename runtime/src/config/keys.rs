//! Every key there is: its type, its default and its meaning. The only list; reading, printing, checking and the
//! environment follow from it.

use super::value::{Setting, Size, Span};

macro_rules! sections {
    ($(
        $(#[$section_doc:meta])*
        $section:ident: $Section:ident {
            $( $(#[doc = $doc:literal])+ $key:ident: $type:ty = $default:expr ),+ $(,)?
        }
    )+) => {
        $(
            $(#[$section_doc])*
            #[derive(Clone, Debug, PartialEq, Eq)]
            pub struct $Section { $( $(#[doc = $doc])+ pub $key: $type ),+ }
            impl Default for $Section {
                fn default() -> Self {
                    Self { $($key: $default),+ }
                }
            }
        )+

        /// All settings that stand once. Nothing is checked yet beyond its type.
        #[derive(Clone, Debug, Default, PartialEq, Eq)]
        pub struct Sections { $( $(#[$section_doc])* pub $section: $Section ),+ }

        impl Sections {
            /// Every key as `(section, key, meaning)`, in the order of the reference page.
            pub const KEYS: &'static [(&'static str, &'static str, &'static str)] =
                &[$($((stringify!($section), stringify!($key), concat!($($doc),+).trim_ascii_start())),+),+];

            /// Sets one key; `Err` tells what its value should look like, `None` that there is no such key.
            pub(super) fn set(&mut self, section: &str, key: &str, raw: &Raw<'_>) -> Option<Result<(), &'static str>> {
                match (section, key) {
                    $($(
                        (stringify!($section), stringify!($key)) => {
                            Some(assign(&mut self.$section.$key, raw))
                        }
                    )+)+
                    _ => None,
                }
            }

            /// The value of one key as the file would say it.
            pub fn show(&self, section: &str, key: &str) -> Option<String> {
                match (section, key) {
                    $($( (stringify!($section), stringify!($key)) => Some(self.$section.$key.show()), )+)+
                    _ => None,
                }
            }
        }
    };
}

/// A value as it came.
pub(super) enum Raw<'a> {
    /// From the file.
    Toml(&'a toml::Value),
    /// From a flag or the environment.
    Text(&'a str),
}

fn assign<T: Setting>(place: &mut T, raw: &Raw<'_>) -> Result<(), &'static str> {
    let value = match raw {
        Raw::Toml(value) => T::from_toml(value),
        Raw::Text(text) => T::from_text(text),
    };
    *place = value.ok_or(T::LOOKS)?;
    Ok(())
}

sections! {
    /// `[node]`: which member this is.
    node: NodeSection {
        /// Name or number of the `[[member]]` that this process is. May be left out when there is one member.
        id: String = String::new(),
        /// Where everything durable of this node lies.
        data_dir: String = "./data".to_owned(),
    }
    /// `[listen]`: addresses of this node. What others are told stands in `[[member]]`.
    listen: ListenSection {
        /// For clients that speak the Redis protocol.
        client: String = "127.0.0.1:6379".to_owned(),
        /// For the other members.
        peer: String = "127.0.0.1:7400".to_owned(),
        /// For health checks and metrics over HTTP.
        admin: String = "127.0.0.1:7401".to_owned(),
    }
    /// `[cluster]`: what all members must agree on.
    cluster: ClusterSection {
        /// The cluster's name. Members of clusters with different names never talk to each other.
        name: String = "quorate".to_owned(),
        /// How many parts the slot space is cut into: a power of two from 16 to 16,384. Cannot be changed later.
        partitions: u16 = 256,
        /// Copies of each partition, at most 15. The default of 3 becomes the number of members when there are fewer.
        rf: u8 = 3,
        /// Whether an empty data directory founds this member. Only for the first start of a new cluster: a member that
        /// lost its disk must not be founded again.
        bootstrap: bool = false,
    }
    /// `[timeouts]`: patience.
    timeouts: TimeoutsSection {
        /// How long a request may take that names no time of its own; 1 ms to 60 s.
        request: Span = Span::millis(1_000),
        /// How long a coordinator waits for a home before it asks again; 1 ms to 60 s.
        replica: Span = Span::millis(250),
        /// How long a connection to a peer may take to be made; 1 ms to 60 s.
        connect: Span = Span::millis(500),
        /// How far a peer's clock may run ahead of ours before its stamps are refused; 1 ms to 60 s.
        clock_drift_max: Span = Span::millis(500),
        /// How long a client connection may be silent; 0s means for ever.
        idle_client: Span = Span::millis(0),
        /// How long a stopping node waits for the requests under way; 1 ms to 60 s.
        drain: Span = Span::millis(10_000),
    }
    /// `[storage]`: how records are kept.
    storage: StorageSection {
        /// `lsm`: on disk, durable before it is acknowledged. `memory`: nothing survives the process; for tests.
        engine: String = "lsm".to_owned(),
        /// When the log is synced. `always`: before anything is acknowledged; there is nothing else yet.
        wal_sync: String = "always".to_owned(),
        /// The log never grows beyond this; 192 MiB to 64 GiB.
        log_bytes_max: Size = Size(1 << 30),
        /// Records that may gather in memory before they are written to the tree; 1 MiB to 4 GiB.
        memtable: Size = Size(64 << 20),
        /// Memory for records that were read or written lately.
        record_cache: Size = Size(64 << 20),
        /// Memory for blocks of the tree.
        block_cache: Size = Size(256 << 20),
        /// Bits per key of the filters that spare reads of absent keys; 0 to 32.
        bloom_bits: u8 = 10,
        /// `lz4` or `none`.
        compression: String = "lz4".to_owned(),
        /// The longest value; at most 1 MiB.
        max_value: Size = Size(1 << 20),
    }
    /// `[limits]`: how much clients may ask.
    limits: LimitsSection {
        /// Client connections at once; 1 to 1,000,000.
        max_clients: usize = 10_000,
        /// Requests of one connection at work at once; above it its input waits; 1 to 65,536.
        max_inflight: usize = 1_024,
        /// Keys of one command; 1 to 2,047.
        max_batch: usize = 1_000,
        /// Bytes that may wait for one peer before messages to it are dropped; 1 MiB to 4 GiB.
        peer_buffer: Size = Size(64 << 20),
    }
    /// `[auth]`: who may ask.
    auth: AuthSection {
        /// A file that holds the password of clients, readable by its owner only. Needed where clients come from
        /// other machines.
        password_file: String = String::new(),
    }
    /// `[redis]`: how this node looks to Redis clients.
    redis: RedisSection {
        /// `cluster`: cluster-aware clients find the homes of keys by themselves. `standalone`: they are told of none.
        announce: String = "cluster".to_owned(),
    }
    /// `[admin]`: the HTTP port.
    admin: AdminSection {
        /// Whether health checks and metrics are served at all.
        enabled: bool = true,
    }
    /// `[log]`: what is told on standard error.
    log: LogSection {
        /// `error`, `warn`, `info`, `debug` or `trace`.
        level: String = "info".to_owned(),
        /// `human`, `json`, or `auto`: human on a terminal, otherwise JSON.
        format: String = "auto".to_owned(),
    }
}

/// Keys that a later version will have. Taking them in silence would promise what is not kept.
pub(super) const LATER: &[(&str, &str)] = &[
    ("node.zone", "write it into this node's [[member]]"),
    ("node.capacity", "members share the data evenly"),
    ("node.tags", "members have no tags"),
    ("listen.grpc", "there is no gRPC port"),
    ("listen.advertise_peer", "write the address that peers use into [[member]] peer"),
    ("listen.advertise_client", "write the address that clients use into [[member]] client"),
    ("cluster.seeds", "every member stands in [[member]]"),
    ("cluster.partitioner", "slots are those of Redis Cluster"),
    ("timeouts.election", "there is no election"),
    ("timeouts.heartbeat", "there is no election"),
    ("timeouts.lease", "there are no leases"),
    ("gossip.", "members are watched by their connections"),
    ("hints.", "writes for absent homes are not kept as hints"),
    ("repair.", "copies are repaired by reads only"),
    ("rebalance.", "the members of a cluster do not change"),
    ("storage.max_key", "keys have at most 4096 bytes"),
    ("storage.compaction", "the tree chooses"),
    ("storage.disk_full_stop", "a full disk stops writes by itself"),
    ("limits.max_pipeline", "limits.max_inflight bounds a pipeline"),
    ("limits.memory", "each buffer has its own limit"),
    ("limits.shed_after", "requests are refused when too many are at work"),
    ("tls.", "there is no TLS: keep the ports within a network that you trust"),
    ("auth.admin_token_file", "keep listen.admin on a loopback address"),
    ("auth.metrics_token_file", "keep listen.admin on a loopback address"),
    ("redis.enabled", "the Redis protocol is always served"),
    ("redis.redirect", "clients are never redirected"),
    ("redis.resp3", "clients choose with HELLO"),
    ("admin.ui", "there is no dashboard"),
    ("admin.ui_write", "there is no dashboard"),
    ("admin.debug", "there are no debug endpoints"),
    ("metrics.", "metrics are always served on listen.admin"),
    ("log.target", "the log goes to standard error"),
    ("log.slow_request", "slow requests show in the metrics"),
    ("log.redact_keys", "keys are never logged"),
    ("trace.", "there is no tracing export"),
    ("record.", "there is no recorder in a node"),
    ("member.client_tls", "there is no TLS"),
    ("keyspace.sloppy", "quorums are always strict"),
    ("keyspace.on_siblings", "there are no siblings in mode lww"),
    ("keyspace.siblings_warn", "there are no siblings in mode lww"),
    ("keyspace.siblings_max", "there are no siblings in mode lww"),
    ("keyspace.ttl", "values do not expire"),
    ("keyspace.read_mode", "there is no mode chain"),
];

/// Keys of one `[[member]]`.
pub(super) const MEMBER_KEYS: &[&str] = &["id", "name", "peer", "client", "admin", "zone", "rack"];
/// Keys of one `[[keyspace]]`.
pub(super) const KEYSPACE_KEYS: &[&str] = &["prefix", "mode", "n", "r", "w"];
