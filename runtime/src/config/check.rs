//! From values to what a node runs on. Every rule that ties keys together stands here, and each says which key to change.

use super::Secret;
use super::load::{Config, KeyspaceEntry, MemberEntry, Origin, Problems};
use super::value::{Size, Span};
use crate::metrics::Metrics;
use crate::resp::{ClusterView, Door, MemberView, SessionLimits};
use crate::server::{EngineSettings, Settings};
use crate::storage::{DiskOptions, LsmOptions};
use bytes::Bytes;
use quorate_core::config::{Config as NodeConfig, ConfigError, Founding, Keyspace, Member, Mode};
use quorate_core::id::{ClusterId, NodeId};
use quorate_core::time::Duration;
use quorate_core::wal;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A configuration that a node can run on.
#[derive(Clone, Debug)]
pub struct Checked {
    /// This node's number.
    pub me: NodeId,
    /// This node's name.
    pub name: String,
    /// The cluster's name.
    pub cluster_name: String,
    /// The founding record that the configuration describes.
    pub founding: Founding,
    /// Patience and limits of the core.
    pub node: NodeConfig,
    /// All members as clients see them.
    pub members: Vec<MemberView>,
    /// Where the other members listen for peers.
    pub peer_addresses: BTreeMap<NodeId, String>,
    /// Where to listen for clients.
    pub listen_client: String,
    /// Where to listen for peers.
    pub listen_peer: String,
    /// Where to listen for health checks; `None` when that is off.
    pub listen_admin: Option<String>,
    /// Where everything durable lies.
    pub data_dir: PathBuf,
    /// Whether an empty data directory founds this member.
    pub bootstrap: bool,
    /// How records are kept.
    pub storage: Storage,
    /// Limits of each client connection.
    pub session: SessionLimits,
    /// Client connections at once.
    pub clients_max: usize,
    /// Bytes that may wait for one peer.
    pub peer_bytes_max: usize,
    /// How long a connection to a peer may take to be made.
    pub connect_timeout: Duration,
    /// How long stopping may take.
    pub drain_max: Duration,
    /// What clients must know.
    pub password: Option<Secret>,
    /// Whether cluster-aware clients are told of the other members.
    pub announce_cluster: bool,
    /// What is logged.
    pub log: Log,
    /// What an operator should know, though it is no error.
    pub warnings: Vec<String>,
}

/// How records are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Storage {
    /// In memory only.
    Memory,
    /// In a log and a tree.
    Lsm {
        /// Most bytes of log.
        log_bytes_max: u64,
        /// Most bytes of one memtable.
        memtable_bytes: u64,
        /// Bytes for whole records.
        record_cache_bytes: u64,
        /// Bytes for blocks of the tree.
        block_cache_bytes: u64,
        /// Filter bits per key.
        bloom_bits: u8,
        /// Whether blocks are compressed.
        compress: bool,
    },
}

/// What is logged, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// The lowest level that is told: one of `error`, `warn`, `info`, `debug`, `trace`.
    pub level: String,
    /// `Some(true)` for JSON, `Some(false)` for people, `None` to choose by the terminal.
    pub json: Option<bool>,
}

impl Config {
    /// Checks that all values fit each other, and reads the password.
    ///
    /// # Errors
    /// [`Problems`]: every rule that is broken, with the key to change.
    pub fn check(&self) -> Result<Checked, Problems> {
        let mut problems = Vec::new();
        let checked = self.checked(&mut problems);
        match checked {
            Some(checked) if problems.is_empty() => Ok(checked),
            Some(_) | None => Err(Problems(problems)),
        }
    }

    /// `None` when the problems found so far leave nothing to build on.
    fn checked(&self, problems: &mut Vec<String>) -> Option<Checked> {
        let sections = &self.sections;
        self.check_words(problems);
        self.check_ranges(problems);
        let members = self.all_members();
        check_members(&self.members, problems);
        let me = self.me(&members).map_err(|problem| problems.push(problem)).ok();
        let founding = self.founding(&members).map_err(|found| problems.extend(found)).ok();
        let password = self.password().map_err(|problem| problems.push(problem)).ok();
        let warnings = self.check_exposure(matches!(password, Some(None)), problems);
        if !problems.is_empty() {
            return None;
        }
        let (me, founding, password) = (me?, founding?, password?);
        let member_views = members.iter().map(|member| self.member_view(member)).collect();
        let peer_addresses = members.iter().map(|member| (NodeId(member.id), member.peer.clone())).collect();
        let limits = &sections.limits;
        Some(Checked {
            me: NodeId(me.id),
            name: me.name.clone(),
            cluster_name: sections.cluster.name.clone(),
            founding,
            node: self.node_config().map_err(|problem| problems.push(problem)).ok()?,
            members: member_views,
            peer_addresses,
            listen_client: sections.listen.client.clone(),
            listen_peer: sections.listen.peer.clone(),
            listen_admin: sections.admin.enabled.then(|| sections.listen.admin.clone()),
            data_dir: PathBuf::from(&sections.node.data_dir),
            bootstrap: sections.cluster.bootstrap,
            storage: self.storage(),
            session: SessionLimits {
                batch_max: limits.max_batch,
                in_flight_max: limits.max_inflight,
                idle: sections.timeouts.idle_client.0,
                ..SessionLimits::default()
            },
            clients_max: limits.max_clients,
            peer_bytes_max: bytes(limits.peer_buffer),
            connect_timeout: sections.timeouts.connect.0,
            drain_max: sections.timeouts.drain.0,
            password,
            announce_cluster: sections.redis.announce == "cluster",
            log: Log {
                level: sections.log.level.clone(),
                json: match sections.log.format.as_str() {
                    "json" => Some(true),
                    "human" => Some(false),
                    _ => None,
                },
            },
            warnings,
        })
    }

    fn check_words(&self, problems: &mut Vec<String>) {
        let sections = &self.sections;
        let mut word = |key: &str, value: &str, words: &[&str]| {
            if !words.contains(&value) {
                problems.push(format!("{key} is {value:?}; it takes {}", words.join(", ")));
            }
        };
        word("storage.engine", &sections.storage.engine, &["lsm", "memory"]);
        word("storage.wal_sync", &sections.storage.wal_sync, &["always"]);
        word("storage.compression", &sections.storage.compression, &["lz4", "none"]);
        word("redis.announce", &sections.redis.announce, &["cluster", "standalone"]);
        word("log.level", &sections.log.level, &["error", "warn", "info", "debug", "trace"]);
        word("log.format", &sections.log.format, &["auto", "human", "json"]);
        if sections.cluster.name.is_empty() {
            problems.push("cluster.name is empty; give the cluster a name of its own".to_owned());
        }
        if sections.node.data_dir.is_empty() {
            problems.push("node.data_dir is empty; name a directory".to_owned());
        }
    }

    fn check_ranges(&self, problems: &mut Vec<String>) {
        let sections = &self.sections;
        let timeouts = &sections.timeouts;
        let spans = [
            ("timeouts.request", timeouts.request),
            ("timeouts.replica", timeouts.replica),
            ("timeouts.connect", timeouts.connect),
            ("timeouts.clock_drift_max", timeouts.clock_drift_max),
            ("timeouts.drain", timeouts.drain),
        ];
        for (key, value) in spans {
            if !(Span::millis(1)..=Span::millis(60_000)).contains(&value) {
                problems.push(format!("{key} is {value}; it lies between 1ms and 60s"));
            }
        }
        let (storage, limits) = (&sections.storage, &sections.limits);
        let sizes = [
            ("storage.log_bytes_max", storage.log_bytes_max, Size(192 << 20), Size(64 << 30)),
            ("storage.memtable", storage.memtable, Size(1 << 20), Size(4 << 30)),
            ("storage.max_value", storage.max_value, Size(1), Size(NodeConfig::VALUE_BYTES_LIMIT as u64)),
            ("limits.peer_buffer", limits.peer_buffer, Size(1 << 20), Size(4 << 30)),
        ];
        for (key, value, least, most) in sizes {
            if !(least..=most).contains(&value) {
                problems.push(format!("{key} is {value}; it lies between {least} and {most}"));
            }
        }
        let counts = [
            ("limits.max_clients", limits.max_clients, 1, 1_000_000),
            ("limits.max_inflight", limits.max_inflight, 1, 65_536),
            ("limits.max_batch", limits.max_batch, 1, 2_047),
            ("storage.bloom_bits", usize::from(storage.bloom_bits), 0, 32),
        ];
        for (key, value, least, most) in counts {
            if !(least..=most).contains(&value) {
                problems.push(format!("{key} is {value}; it lies between {least} and {most}"));
            }
        }
    }

    /// The members of the file, or this node alone.
    fn all_members(&self) -> Vec<MemberEntry> {
        if !self.members.is_empty() {
            return self.members.clone();
        }
        let id = &self.sections.node.id;
        let name = if id.is_empty() { "n1".to_owned() } else { id.clone() };
        let listen = &self.sections.listen;
        let (peer, client) = (listen.peer.clone(), listen.client.clone());
        vec![MemberEntry { id: 1, name, peer, client, ..MemberEntry::default() }]
    }

    fn me<'a>(&self, members: &'a [MemberEntry]) -> Result<&'a MemberEntry, String> {
        let id = &self.sections.node.id;
        if let ([only], "") = (members, id.as_str()) {
            return Ok(only);
        }
        let names: Vec<_> = members.iter().map(|member| member.name.as_str()).collect();
        let names = names.join(", ");
        if id.is_empty() {
            return Err(format!("node.id is missing; say which member this is: one of {names}"));
        }
        let found = members.iter().find(|member| member.name == *id || member.id.to_string() == *id);
        found.ok_or_else(|| format!("node.id is {id:?}, which is no member; there are {names}"))
    }

    fn founding(&self, members: &[MemberEntry]) -> Result<Founding, Vec<String>> {
        let cluster = &self.sections.cluster;
        let mut rf = cluster.rf;
        if *self.origin("cluster", "rf") == Origin::Default {
            rf = u8::try_from(members.len()).unwrap_or(u8::MAX).min(rf);
        }
        let mut problems = Vec::new();
        if rf == 0 || usize::from(rf) > members.len() || rf > Founding::RF_LIMIT {
            let count = members.len();
            problems
                .push(format!("cluster.rf is {rf}; it lies between 1 and the number of members, {count}, at most 15"));
        }
        if !cluster.partitions.is_power_of_two() || !(16..=16_384).contains(&cluster.partitions) {
            let partitions = cluster.partitions;
            problems.push(format!("cluster.partitions is {partitions}; it is a power of two from 16 to 16384"));
        }
        let entries = match &self.keyspaces[..] {
            [] => &[KeyspaceEntry { mode: "lww".to_owned(), ..KeyspaceEntry::default() }],
            entries => entries,
        };
        let keyspaces = entries
            .iter()
            .map(|entry| keyspace(entry, rf))
            .filter_map(|keyspace| keyspace.map_err(|problem| problems.push(problem)).ok());
        let keyspaces: Vec<_> = keyspaces.collect();
        if !problems.is_empty() {
            return Err(problems);
        }
        let number = ClusterId(xxhash_rust::xxh3::xxh3_64(cluster.name.as_bytes()));
        let domain = |member: &MemberEntry| {
            let or_own = |text: &str, own: String| if text.is_empty() { own } else { text.to_owned() };
            // A member that names no rack is one of its own.
            let rack = or_own(&member.rack, format!("rack of {}", member.name));
            Member { id: NodeId(member.id), zone: or_own(&member.zone, "default".to_owned()), rack }
        };
        Founding::checked(number, members.iter().map(domain).collect(), cluster.partitions, rf, keyspaces)
            .map_err(|error| founding_problem(&error).into_iter().collect())
    }

    fn node_config(&self) -> Result<NodeConfig, String> {
        let timeouts = &self.sections.timeouts;
        let config = NodeConfig {
            request_timeout: timeouts.request.0,
            resend_interval: timeouts.replica.0,
            clock_drift_max: timeouts.clock_drift_max.0,
            value_bytes_max: bytes(self.sections.storage.max_value),
            ..NodeConfig::default()
        };
        config.checked().map_err(|error| error.to_string())
    }

    fn storage(&self) -> Storage {
        let storage = &self.sections.storage;
        if storage.engine == "memory" {
            return Storage::Memory;
        }
        Storage::Lsm {
            log_bytes_max: storage.log_bytes_max.0,
            memtable_bytes: storage.memtable.0,
            record_cache_bytes: storage.record_cache.0,
            block_cache_bytes: storage.block_cache.0,
            bloom_bits: storage.bloom_bits,
            compress: storage.compression == "lz4",
        }
    }

    fn member_view(&self, member: &MemberEntry) -> MemberView {
        let (host, port) = split_address(&member.client).unwrap_or_default();
        let (_, peer_port) = split_address(&member.peer).unwrap_or_default();
        MemberView { id: NodeId(member.id), name: member.name.clone(), host, port, peer_port }
    }

    fn password(&self) -> Result<Option<Secret>, String> {
        let path = &self.sections.auth.password_file;
        if path.is_empty() { Ok(None) } else { read_password(Path::new(path)).map(Some) }
    }

    /// What other machines could do; returns what is only worth a warning.
    fn check_exposure(&self, is_open: bool, problems: &mut Vec<String>) -> Vec<String> {
        let listen = &self.sections.listen;
        let mut warnings = Vec::new();
        let addresses =
            [("listen.client", &listen.client), ("listen.peer", &listen.peer), ("listen.admin", &listen.admin)];
        for (key, address) in addresses {
            let Some((host, _)) = split_address(address) else {
                problems.push(format!("{key} is {address:?}; it takes host:port, such as 127.0.0.1:6379"));
                continue;
            };
            if is_loopback(&host) {
                continue;
            }
            match key {
                "listen.client" if is_open => problems.push(format!(
                    "listen.client is {address:?}, so other machines could read and write everything; set \
                     auth.password_file, or listen on 127.0.0.1"
                )),
                "listen.client" => {}
                "listen.peer" => warnings.push(format!(
                    "listen.peer is {address:?}: members are not authenticated, so keep it within a network you trust"
                )),
                _ if !self.sections.admin.enabled => {}
                _ => warnings.push(format!("listen.admin is {address:?}: anybody there can read health and metrics")),
            }
        }
        warnings
    }
}

impl Checked {
    /// What the server runs on.
    pub fn server_settings(&self) -> Settings {
        let engine = match self.storage {
            Storage::Memory => EngineSettings::Memory,
            Storage::Lsm {
                log_bytes_max,
                memtable_bytes,
                record_cache_bytes,
                block_cache_bytes,
                bloom_bits,
                compress,
            } => EngineSettings::Lsm(DiskOptions {
                log: wal::Options::default(),
                tree: LsmOptions { record_cache_bytes, block_cache_bytes, bloom_bits, compress },
                memtable_bytes,
                log_bytes_max,
            }),
        };
        let std_duration = |span: Duration| std::time::Duration::from_micros(span.as_micros());
        Settings {
            me: self.me,
            founding: self.founding.clone(),
            node: self.node.clone(),
            peer_addresses: self.peer_addresses.clone(),
            listen_peer: self.listen_peer.clone(),
            listen_client: self.listen_client.clone(),
            data_dir: self.data_dir.clone(),
            bootstrap: self.bootstrap,
            engine,
            clients_max: self.clients_max,
            connect_timeout: std_duration(self.connect_timeout),
            peer_bytes_max: self.peer_bytes_max,
            drain_max: std_duration(self.drain_max),
        }
    }

    /// What the sessions of this node share.
    pub fn door(&self, metrics: Arc<Metrics>) -> Door {
        let view = ClusterView::new(self.cluster_name.clone(), self.me, self.founding.clone(), self.members.clone());
        Door::new(view, self.session, self.password.clone(), self.announce_cluster, metrics)
    }
}

fn bytes(size: Size) -> usize {
    usize::try_from(size.0).unwrap_or(usize::MAX)
}

fn check_members(members: &[MemberEntry], problems: &mut Vec<String>) {
    let mut names = BTreeMap::new();
    let mut ids = BTreeMap::new();
    for (at, member) in members.iter().enumerate() {
        let place = format!("[[member]] {}", at + 1);
        if member.id == 0 {
            problems.push(format!("{place}: member.id is missing; number the members from 1 on"));
        } else if let Some(before) = ids.insert(member.id, at + 1) {
            problems.push(format!("{place}: member.id {} is that of [[member]] {before}", member.id));
        }
        if let Some(before) = names.insert(&member.name, at + 1).filter(|_| member.id != 0) {
            problems.push(format!("{place}: member.name {:?} is that of [[member]] {before}", member.name));
        }
        let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_' || c == '.';
        if member.name.len() > 64 || !member.name.chars().all(is_plain) {
            problems
                .push(format!("{place}: member.name {:?} has letters, digits, '-', '_', '.', at most 64", member.name));
        }
        for (key, address) in [("peer", &member.peer), ("client", &member.client)] {
            if split_address(address).is_none() {
                problems.push(format!("{place}: member.{key} is {address:?}; it takes host:port, as others reach it"));
            }
        }
    }
}

fn keyspace(entry: &KeyspaceEntry, rf: u8) -> Result<Keyspace, String> {
    let KeyspaceEntry { prefix, mode, .. } = entry;
    let place = format!("[[keyspace]] {prefix:?}");
    let is_register = match mode.as_str() {
        "lww" => false,
        "register" => true,
        "siblings" | "chain" => {
            return Err(format!("{place}: mode {mode:?} is not in this version; there are lww, register"));
        }
        _ => return Err(format!("{place}: mode is {mode:?}; it takes lww, register")),
    };
    let n = entry.n.unwrap_or(rf);
    if n == 0 || n > rf {
        return Err(format!("{place}: n is {n}; it lies between 1 and cluster.rf, {rf}"));
    }
    let majority = n / 2 + 1;
    for (key, value) in [("r", entry.r), ("w", entry.w)] {
        let Some(value) = value else { continue };
        if is_register && value != majority {
            return Err(format!("{place}: a register always waits for a majority, {majority} of {n}; leave {key} out"));
        }
        if value == 0 || value > n {
            return Err(format!("{place}: {key} is {value}; it lies between 1 and n, {n}"));
        }
    }
    let mode = if is_register { Mode::Register } else { Mode::Lww };
    let prefix = Bytes::copy_from_slice(prefix.as_bytes());
    Ok(Keyspace { prefix, mode, n, r: entry.r.unwrap_or(majority), w: entry.w.unwrap_or(majority) })
}

/// What the core still found, in the words of the file; `None` when it has been said already.
fn founding_problem(error: &ConfigError) -> Option<String> {
    match error {
        ConfigError::Repeated { field: "keyspace prefix" } => {
            Some("two [[keyspace]] have the same prefix; a key belongs to one".to_owned())
        }
        ConfigError::Repeated { field: "member id" } => None,
        ConfigError::Repeated { .. } | ConfigError::OutOfRange { .. } => Some(error.to_string()),
    }
}

/// Host and port of `host:port` or `[v6]:port`.
pub(super) fn split_address(address: &str) -> Option<(String, u16)> {
    let (host, port) = address.rsplit_once(':')?;
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    // A bare colon in the host would be an IPv6 address whose port is anybody's guess.
    if bare.is_none() && (host.contains(':') || host.is_empty()) {
        return None;
    }
    Some((bare.unwrap_or(host).to_owned(), port.parse().ok()?))
}

fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn read_password(path: &Path) -> Result<Secret, String> {
    let shown = path.display();
    let failed = |error: std::io::Error| format!("auth.password_file {shown} cannot be read: {error}");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = std::fs::metadata(path).map_err(failed)?.permissions().mode();
        if mode & 0o007 != 0 {
            return Err(format!("auth.password_file {shown} is open to every user of this machine; chmod 600 it"));
        }
    }
    let text = std::fs::read(path).map_err(failed)?;
    let password = text.strip_suffix(b"\n").unwrap_or(&text);
    let password = password.strip_suffix(b"\r").unwrap_or(password);
    if password.is_empty() {
        return Err(format!("auth.password_file {shown} is empty; write the password into it"));
    }
    Ok(Secret::new(password))
}
