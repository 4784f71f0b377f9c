//! What can go wrong, as records of a schedule: printable, and removable one by one.
//!
//! A record says *what* happens to *whom* from when until when. Where a fault needs chance (which messages of a lossy
//! period are lost, which unsynced sectors survive a crash) the record carries the rate or the bits, and the run's
//! streams decide the rest; so taking one record out changes nothing about the others.

use crate::names::{self, Blob};
use quorate_core::id::NodeId;
use serde::{Deserialize, Serialize};

/// A fault and when it begins.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FaultRecord {
    /// When it happens or begins.
    pub at: u64,
    /// What.
    #[serde(flatten)]
    pub fault: Fault,
}

/// What happens to the unsynced sectors of a disk when its node crashes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DiskFate {
    /// None of them survives.
    LoseUnsynced,
    /// All of them do: a process that dies leaves the page cache alone.
    KeepUnsynced,
    /// Each decides for itself, drawn from the disk's stream.
    AnySubset,
}

/// Where exactly a node crashes, once the time has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum CrashPoint {
    /// At once.
    Now,
    /// While it carries out the effects of an input: after `effects` of them.
    Handling {
        /// Inputs that pass first.
        after: u32,
        /// Effects of the fatal input that are still carried out.
        effects: u32,
    },
    /// Before the next batch is written.
    BeforeWrite,
    /// When the next batch is written and not synced.
    BeforeSync,
    /// When the next batch is durable, and the node does not know yet.
    BeforeReport,
}

/// What goes wrong. Times are absolute; `until` is when it ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "fault", rename_all = "kebab-case")]
pub enum Fault {
    /// Nothing passes between the two sides; whoever is on neither sees both.
    Partition {
        /// One side.
        #[serde(with = "names::nodes")]
        a: Vec<NodeId>,
        /// The other.
        #[serde(with = "names::nodes")]
        b: Vec<NodeId>,
        /// Its end.
        until: u64,
    },
    /// Nothing passes in this direction.
    OneWay {
        /// Senders.
        #[serde(with = "names::nodes")]
        from: Vec<NodeId>,
        /// Receivers.
        #[serde(with = "names::nodes")]
        to: Vec<NodeId>,
        /// Its end.
        until: u64,
    },
    /// Each node sees only its two neighbours by number.
    Ring {
        /// Its end.
        until: u64,
    },
    /// A partition that comes and goes.
    Flap {
        /// One side.
        #[serde(with = "names::nodes")]
        a: Vec<NodeId>,
        /// The other.
        #[serde(with = "names::nodes")]
        b: Vec<NodeId>,
        /// Cut and open for so long each.
        period: u64,
        /// Its end.
        until: u64,
    },
    /// Messages of one kind do not pass.
    Filter {
        /// Which kind.
        kind: String,
        /// Its end.
        until: u64,
    },
    /// Messages are lost.
    Loss {
        /// How many in a million.
        per_million: u32,
        /// Its end.
        until: u64,
    },
    /// Messages arrive twice, the copy soon after.
    Duplicate {
        /// How many in a million.
        per_million: u32,
        /// Its end.
        until: u64,
    },
    /// Messages are kept, and come again much later: after crashes, in other epochs of the run.
    Replay {
        /// How many in a million.
        per_million: u32,
        /// The longest that one is kept.
        within: u64,
        /// Its end.
        until: u64,
    },
    /// Bits turn in messages on the way.
    Corrupt {
        /// How many messages in a million.
        per_million: u32,
        /// Its end.
        until: u64,
    },
    /// A link is slow.
    SlowLink {
        /// Senders.
        #[serde(with = "names::nodes")]
        from: Vec<NodeId>,
        /// Receivers.
        #[serde(with = "names::nodes")]
        to: Vec<NodeId>,
        /// Added to each latency.
        by: u64,
        /// Its end.
        until: u64,
    },
    /// A node's process dies.
    Crash {
        /// Which.
        #[serde(with = "names::node")]
        n: NodeId,
        /// Where exactly.
        point: CrashPoint,
        /// What its disk keeps.
        disk: DiskFate,
        /// How long it stays down.
        down: u64,
    },
    /// All nodes lose power at once.
    PowerLoss {
        /// What their disks keep.
        disk: DiskFate,
        /// How long until the first is back; the others follow one by one.
        down: u64,
    },
    /// A node stands still, and goes on as if nothing had been.
    Pause {
        /// Which.
        #[serde(with = "names::node")]
        n: NodeId,
        /// Its end.
        until: u64,
    },
    /// The next sync fails and forgets; the node stops and restarts from its disk.
    SyncFails {
        /// Whose.
        #[serde(with = "names::node")]
        n: NodeId,
        /// Which unsynced sectors reach the disk all the same, as bits.
        persisted: u64,
        /// Whether reads still show what was forgotten.
        visible: bool,
        /// How long the node stays down.
        down: u64,
    },
    /// The next write fails after so many sectors; the node stops and restarts from its disk.
    WriteFails {
        /// Whose.
        #[serde(with = "names::node")]
        n: NodeId,
        /// Sectors that are written.
        sectors: u32,
        /// How long the node stays down.
        down: u64,
    },
    /// No new log segment fits.
    DiskFull {
        /// Whose.
        #[serde(with = "names::node")]
        n: NodeId,
        /// Its end.
        until: u64,
    },
    /// Every disk operation takes longer.
    SlowDisk {
        /// Whose.
        #[serde(with = "names::node")]
        n: NodeId,
        /// Added to each.
        by: u64,
        /// Its end.
        until: u64,
    },
    /// One bit at rest turns.
    Rot {
        /// Whose.
        #[serde(with = "names::node")]
        n: NodeId,
        /// Which of the written sectors, modulo their number.
        sector: u64,
        /// Which bit of it.
        bit: u32,
    },
    /// A write lands elsewhere, or a read at the next start looks elsewhere.
    Misdirect {
        /// Whose.
        #[serde(with = "names::node")]
        n: NodeId,
        /// Sectors beside the right place.
        sectors: i32,
        /// A write; otherwise a read.
        write: bool,
    },
    /// A node dies, and comes back with an empty disk.
    Wipe {
        /// Which.
        #[serde(with = "names::node")]
        n: NodeId,
        /// How long it stays down.
        down: u64,
    },
    /// A node dies, and comes back with its disk as it was at an earlier time, without the identity.
    Restore {
        /// Which.
        #[serde(with = "names::node")]
        n: NodeId,
        /// When the copy was taken.
        taken: u64,
        /// Whether the identity was removed, as the restore command does.
        marked: bool,
        /// How long it stays down.
        down: u64,
    },
    /// Syncs report success and do nothing.
    Lying {
        /// Whose.
        #[serde(with = "names::node")]
        n: NodeId,
        /// Its end.
        until: u64,
    },
    /// The wall clock jumps.
    ClockStep {
        /// Whose.
        #[serde(with = "names::node")]
        n: NodeId,
        /// How far; back if negative.
        by: i64,
    },
    /// The wall clock stands still.
    ClockFreeze {
        /// Whose.
        #[serde(with = "names::node")]
        n: NodeId,
        /// Its end.
        until: u64,
    },
    /// Both clocks change their speed.
    ClockDrift {
        /// Whose.
        #[serde(with = "names::node")]
        n: NodeId,
        /// How much too fast, in parts per million.
        ppm: i64,
    },
    /// Nothing passes between one rack and the others.
    RackCut {
        /// Which.
        rack: u32,
        /// Its end.
        until: u64,
    },
    /// Nothing passes between one region and the others.
    RegionCut {
        /// Which.
        region: u32,
        /// Its end.
        until: u64,
    },
    /// Every home of a key is cut off from every other node.
    HomesCut {
        /// Whose homes.
        key: Blob,
        /// Its end.
        until: u64,
    },
    /// Every link carries only so many bytes a second; what is more waits in line.
    Throttle {
        /// Bytes per second of each link.
        bytes: u64,
        /// Its end.
        until: u64,
    },
    /// Small messages pass and large ones do not.
    LargeLost {
        /// The longest that passes, in bytes.
        bytes: u64,
        /// Its end.
        until: u64,
    },
    /// The connection of two nodes breaks: what is on its way is lost, and both are told.
    Reset {
        /// One of them.
        #[serde(with = "names::node")]
        a: NodeId,
        /// The other.
        #[serde(with = "names::node")]
        b: NodeId,
    },
    /// A node takes its time for everything that it is told.
    SlowNode {
        /// Which.
        #[serde(with = "names::node")]
        n: NodeId,
        /// For each input.
        by: u64,
        /// Its end.
        until: u64,
    },
    /// A node's process dies, and the first read of its next start fails.
    ReadFails {
        /// Whose.
        #[serde(with = "names::node")]
        n: NodeId,
        /// How long it stays down.
        down: u64,
    },
    /// The next log segment cannot be made; the node stops and restarts from its disk.
    CreateFails {
        /// Whose.
        #[serde(with = "names::node")]
        n: NodeId,
        /// How long it stays down.
        down: u64,
    },
    /// A node dies, and one file of its log has lost its end.
    Truncate {
        /// Whose.
        #[serde(with = "names::node")]
        n: NodeId,
        /// Which of its files, modulo their number.
        file: u64,
        /// How much of it is left, in millionths.
        left: u32,
        /// How long the node stays down.
        down: u64,
    },
}

/// The end of a fault, by whatever reference the fault is held; one list for readers and writers.
macro_rules! end_of {
    ($fault:expr) => {
        match $fault {
            Fault::Partition { until, .. }
            | Fault::OneWay { until, .. }
            | Fault::Ring { until }
            | Fault::Flap { until, .. }
            | Fault::Filter { until, .. }
            | Fault::Loss { until, .. }
            | Fault::Duplicate { until, .. }
            | Fault::Replay { until, .. }
            | Fault::Corrupt { until, .. }
            | Fault::SlowLink { until, .. }
            | Fault::Pause { until, .. }
            | Fault::DiskFull { until, .. }
            | Fault::SlowDisk { until, .. }
            | Fault::Lying { until, .. }
            | Fault::RackCut { until, .. }
            | Fault::RegionCut { until, .. }
            | Fault::HomesCut { until, .. }
            | Fault::Throttle { until, .. }
            | Fault::LargeLost { until, .. }
            | Fault::SlowNode { until, .. }
            | Fault::ClockFreeze { until, .. } => Some(until),
            Fault::Crash { .. }
            | Fault::PowerLoss { .. }
            | Fault::SyncFails { .. }
            | Fault::WriteFails { .. }
            | Fault::Rot { .. }
            | Fault::Misdirect { .. }
            | Fault::Wipe { .. }
            | Fault::Restore { .. }
            | Fault::Reset { .. }
            | Fault::ReadFails { .. }
            | Fault::CreateFails { .. }
            | Fault::Truncate { .. }
            | Fault::ClockStep { .. }
            | Fault::ClockDrift { .. } => None,
        }
    };
}

impl Fault {
    /// When it ends; `None` for what happens in an instant.
    pub fn until(&self) -> Option<u64> {
        end_of!(self).copied()
    }

    /// Its end, to be moved, where it has one.
    pub fn until_mut(&mut self) -> Option<&mut u64> {
        end_of!(self)
    }

    /// How long a node stays down after it; `None` where none does.
    pub fn down_mut(&mut self) -> Option<&mut u64> {
        match self {
            Self::Crash { down, .. }
            | Self::PowerLoss { down, .. }
            | Self::SyncFails { down, .. }
            | Self::WriteFails { down, .. }
            | Self::Wipe { down, .. }
            | Self::Restore { down, .. }
            | Self::ReadFails { down, .. }
            | Self::CreateFails { down, .. }
            | Self::Truncate { down, .. } => Some(down),
            Self::Partition { .. }
            | Self::OneWay { .. }
            | Self::Ring { .. }
            | Self::Flap { .. }
            | Self::Filter { .. }
            | Self::Loss { .. }
            | Self::Duplicate { .. }
            | Self::Replay { .. }
            | Self::Corrupt { .. }
            | Self::SlowLink { .. }
            | Self::Pause { .. }
            | Self::DiskFull { .. }
            | Self::SlowDisk { .. }
            | Self::Rot { .. }
            | Self::Misdirect { .. }
            | Self::Lying { .. }
            | Self::ClockStep { .. }
            | Self::ClockFreeze { .. }
            | Self::ClockDrift { .. }
            | Self::RackCut { .. }
            | Self::RegionCut { .. }
            | Self::HomesCut { .. }
            | Self::Throttle { .. }
            | Self::LargeLost { .. }
            | Self::Reset { .. }
            | Self::SlowNode { .. } => None,
        }
    }

    /// Whom it names, in order; empty where it concerns everybody.
    pub fn nodes(&self) -> Vec<NodeId> {
        match self {
            Self::Partition { a, b, .. } | Self::Flap { a, b, .. } => a.iter().chain(b).copied().collect(),
            Self::OneWay { from, to, .. } | Self::SlowLink { from, to, .. } => from.iter().chain(to).copied().collect(),
            Self::Crash { n, .. }
            | Self::Pause { n, .. }
            | Self::SyncFails { n, .. }
            | Self::WriteFails { n, .. }
            | Self::DiskFull { n, .. }
            | Self::SlowDisk { n, .. }
            | Self::Rot { n, .. }
            | Self::Misdirect { n, .. }
            | Self::Wipe { n, .. }
            | Self::Restore { n, .. }
            | Self::Lying { n, .. }
            | Self::ClockStep { n, .. }
            | Self::ClockFreeze { n, .. }
            | Self::ClockDrift { n, .. }
            | Self::SlowNode { n, .. }
            | Self::ReadFails { n, .. }
            | Self::CreateFails { n, .. }
            | Self::Truncate { n, .. } => vec![*n],
            Self::Reset { a, b } => vec![*a, *b],
            Self::Ring { .. }
            | Self::Filter { .. }
            | Self::Loss { .. }
            | Self::Duplicate { .. }
            | Self::Replay { .. }
            | Self::Corrupt { .. }
            | Self::RackCut { .. }
            | Self::RegionCut { .. }
            | Self::HomesCut { .. }
            | Self::Throttle { .. }
            | Self::LargeLost { .. }
            | Self::PowerLoss { .. } => Vec::new(),
        }
    }
}
