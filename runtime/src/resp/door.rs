//! What the sessions of one node share: the cluster as its clients see it, the limits, the password, a few figures.
//!
//! A [`Door`] lives on the node's thread, in an `Rc`. The member list never changes while it lives; who can be reached
//! and the figures are set by the host whenever it learns better. Sessions only read.

use crate::config::Secret;
use crate::metrics::{Metrics, PartitionHealth};
use quorate_core::config::Founding;
use quorate_core::id::NodeId;
use quorate_core::node::STATIC_EPOCH;
use quorate_core::placement::{Placement, SLOTS};
use quorate_core::time::Duration;
use std::cell::Cell;
use std::sync::Arc;
use xxhash_rust::xxh3::{xxh3_64, xxh3_128};

/// One member as clients are told of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberView {
    /// Its number.
    pub id: NodeId,
    /// Its name, as the configuration gives it.
    pub name: String,
    /// Host of its client address: what `CLUSTER SLOTS` announces.
    pub host: String,
    /// Port of its client address.
    pub port: u16,
    /// Port of its peer address: the "bus port" of `CLUSTER NODES`.
    pub peer_port: u16,
}

/// The cluster as clients see it. Fixed while a node runs.
#[derive(Clone, Debug)]
pub struct ClusterView {
    me: usize,
    name: String,
    founding: Founding,
    placement: Placement,
    members: Vec<MemberView>,
    hex_ids: Vec<String>,
}

impl ClusterView {
    /// The view of member `me`. `members` holds every member of the founding record once, in any order.
    pub fn new(name: String, me: NodeId, founding: Founding, mut members: Vec<MemberView>) -> Self {
        members.sort_by_key(|member| member.id);
        let ids: Vec<_> = members.iter().map(|member| member.id).collect();
        assert_eq!(ids, founding.members().iter().map(|member| member.id).collect::<Vec<_>>());
        let me = members.iter().position(|member| member.id == me).expect("this node is a member");
        let hex_ids = members.iter().map(|member| hex_id(&name, &member.name)).collect();
        Self { me, name, placement: Placement::of(&founding), founding, members, hex_ids }
    }

    /// The cluster's name.
    pub fn name(&self) -> &str {
        &self.name
    }
    /// The founding record.
    pub fn founding(&self) -> &Founding {
        &self.founding
    }
    /// Which partitions live where.
    pub fn placement(&self) -> &Placement {
        &self.placement
    }
    /// All members, in order of their numbers.
    pub fn members(&self) -> &[MemberView] {
        &self.members
    }
    /// This node's place in [`Self::members`].
    pub fn me(&self) -> usize {
        self.me
    }
    /// The id of the member at that place as `CLUSTER` commands spell it: 40 hex digits that follow from the names of
    /// cluster and member, so every node says the same without asking.
    pub fn hex_id(&self, member: usize) -> &str {
        &self.hex_ids[member]
    }
    /// The place of a member in [`Self::members`].
    pub fn index_of(&self, id: NodeId) -> usize {
        self.members.binary_search_by_key(&id, |member| member.id).expect("homes are members")
    }

    /// How the partitions fare while these members can be reached. Judged by all homes of a partition, the cluster's `rf`.
    fn health(&self, is_reachable: impl Fn(usize) -> bool) -> PartitionHealth {
        let partitions = self.placement.partitions();
        let slots_each = SLOTS / partitions;
        let mut health = PartitionHealth { failures_tolerated: u64::MAX, ..PartitionHealth::default() };
        for partition in 0..partitions {
            let homes = self.placement.homes(self.placement.partition_of_slot(partition * slots_each));
            let up = homes.iter().filter(|&&home| is_reachable(self.index_of(home))).count();
            let majority = homes.len() / 2 + 1;
            match up {
                up if up == homes.len() => health.ok += 1,
                up if up >= majority => health.quorum += 1,
                _ => health.lost += 1,
            }
            health.failures_tolerated = health.failures_tolerated.min(up.saturating_sub(majority) as u64);
        }
        health
    }

    /// Runs of slots with the same homes: `(first, last, homes)` with homes as places in [`Self::members`].
    pub(super) fn slot_ranges(&self) -> Vec<(u16, u16, Vec<usize>)> {
        let partitions = self.placement.partitions();
        let slots_each = SLOTS / partitions;
        let mut ranges: Vec<(u16, u16, Vec<usize>)> = Vec::new();
        for partition in 0..partitions {
            let first = partition * slots_each;
            let last = first + (slots_each - 1);
            let homes = self.placement.homes(self.placement.partition_of_slot(first));
            let homes: Vec<usize> = homes.iter().map(|&home| self.index_of(home)).collect();
            match ranges.last_mut() {
                Some(before) if before.2 == homes => before.1 = last,
                Some(_) | None => ranges.push((first, last, homes)),
            }
        }
        ranges
    }
}

fn hex_id(cluster: &str, member: &str) -> String {
    let text = format!("{cluster}\0{member}");
    format!("{:032x}{:08x}", xxh3_128(text.as_bytes()), xxh3_64(text.as_bytes()) as u32)
}

/// Figures of `INFO` and `DBSIZE` that only the host knows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// About how many records this node holds.
    pub keys_estimate: u64,
    /// Resident memory of the process, in bytes.
    pub memory_bytes: u64,
    /// Bytes on disk.
    pub disk_bytes: u64,
    /// How long the process has run, in seconds.
    pub uptime_seconds: u64,
    /// Whether the node counts: all its peers know it.
    pub is_ready: bool,
}

/// How much one connection may ask of its node. Defaults are those of the threat model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionLimits {
    /// Longest request, in bytes: a value of 1 MiB with its command.
    pub frame_bytes_max: usize,
    /// Most arguments of one request.
    pub args_max: usize,
    /// Most keys of one command.
    pub batch_max: usize,
    /// Requests at the node at once; above it input waits.
    pub in_flight_max: usize,
    /// Bytes of requests at the node, and of answers expected, at once; above it input waits.
    pub in_flight_bytes_max: usize,
    /// Answers waiting to be written; above it the connection is closed.
    pub output_bytes_max: usize,
    /// How long a client may take to authenticate, or to finish a small request it has begun.
    pub patience: Duration,
    /// How long a connection may be silent; zero means for ever.
    pub idle: Duration,
}

impl SessionLimits {
    /// Longest request of a client that has not authenticated yet.
    pub const FRAME_BYTES_MAX_STRANGER: usize = 16 << 10;
    /// Most arguments of a client that has not authenticated yet.
    pub const ARGS_MAX_STRANGER: usize = 8;
}

impl Default for SessionLimits {
    fn default() -> Self {
        Self {
            frame_bytes_max: (1 << 20) + (64 << 10),
            args_max: 2_048,
            batch_max: 1_000,
            in_flight_max: 1_024,
            in_flight_bytes_max: 8 << 20,
            output_bytes_max: 8 << 20,
            patience: Duration::from_secs(10),
            idle: Duration::ZERO,
        }
    }
}

/// What all sessions of one node share.
#[derive(Debug)]
pub struct Door {
    /// The cluster as clients see it.
    pub cluster: ClusterView,
    /// Limits of each session.
    pub limits: SessionLimits,
    /// What clients must know before they may ask anything; `None` lets everybody in.
    pub password: Option<Secret>,
    /// Where sessions count what they did.
    pub metrics: Arc<Metrics>,
    /// Whether cluster-aware clients are told of the other members (`redis.announce`).
    pub announce_cluster: bool,
    reachable: Vec<Cell<bool>>,
    figures: Cell<Figures>,
}

impl Door {
    /// A door where every member is taken to be reachable until the host says otherwise.
    pub fn new(
        cluster: ClusterView,
        limits: SessionLimits,
        password: Option<Secret>,
        announce_cluster: bool,
        metrics: Arc<Metrics>,
    ) -> Self {
        let reachable = cluster.members.iter().map(|_| Cell::new(true)).collect();
        let door = Self { cluster, limits, password, metrics, announce_cluster, reachable, figures: Cell::default() };
        door.count_reachable();
        door.metrics.epoch.set(STATIC_EPOCH.0 as i64);
        door
    }

    /// `cluster` or `standalone`, as announced.
    pub(super) fn mode(&self) -> &'static str {
        if self.announce_cluster { "cluster" } else { "standalone" }
    }

    /// Notes whether a member can be reached. What is said of this node itself is ignored: whoever asks has reached it.
    pub fn set_reachable(&self, member: NodeId, is_reachable: bool) {
        let index = self.cluster.index_of(member);
        if index != self.cluster.me && self.reachable[index].replace(is_reachable) != is_reachable {
            self.count_reachable();
        }
    }

    /// Brings members and partitions in the metrics up to date.
    fn count_reachable(&self) {
        let up = self.reachable.iter().filter(|reachable| reachable.get()).count();
        self.metrics.set_members(up, self.reachable.len() - up);
        self.metrics.set_partitions(self.cluster.health(|member| self.is_reachable(member)));
    }

    /// Whether the member at this place of [`ClusterView::members`] can be reached.
    pub fn is_reachable(&self, member: usize) -> bool {
        self.reachable[member].get()
    }

    /// Replaces the figures.
    pub fn set_figures(&self, figures: Figures) {
        self.figures.set(figures);
    }

    /// The figures as last set.
    pub fn figures(&self) -> Figures {
        self.figures.get()
    }
}
