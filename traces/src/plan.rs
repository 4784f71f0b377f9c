//! Everything a run of a cluster depends on, as data.
//!
//! A plan is a script for a stage play: who plays, what the stage is like, who says what when, and what goes wrong when.
//! It holds the explicit times of all client operations and of all faults, so that each can be taken out alone and the
//! rest stays as it was. What is left to chance (latencies, which messages a lossy period loses) comes from streams that
//! are split from [`Plan::seed`], one per purpose and link.
//!
//! All times are whole microseconds of virtual time; there is no floating-point number in a plan.

use crate::fault::FaultRecord;
use crate::names::{self, Blob};
use quorate_core::id::NodeId;
use serde::{Deserialize, Serialize};

/// Everything a run depends on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// The name of the scenario it was drawn for.
    pub scenario: String,
    /// Cluster, patience, network, disks, clocks, scheduler, phases.
    pub shape: Shape,
    /// Client operations, by time.
    pub ops: Vec<Op>,
    /// What goes wrong, by time.
    pub faults: Vec<FaultRecord>,
    /// What is decided about single messages, whatever the streams say.
    pub directives: Vec<Directive>,
}

/// The part of a plan that is not a schedule: the `cfg` line of a trace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shape {
    /// What the streams are split from, and the nodes' own generators are seeded with.
    #[serde(with = "names::seed")]
    pub seed: u64,
    /// Members and keyspaces.
    pub cluster: Cluster,
    /// How patient nodes and clients are.
    pub patience: Patience,
    /// Latencies and order.
    pub net: NetworkPlan,
    /// Disk latencies and log sizes.
    pub disk: DiskPlan,
    /// One clock for each node, in order of their numbers.
    pub clocks: Vec<ClockPlan>,
    /// Who is next.
    pub scheduler: Scheduler,
    /// What is demanded, and when everything is healed.
    pub phases: Phases,
}

/// Who the members are and what they keep.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cluster {
    /// How many nodes: `n1` to this number.
    pub nodes: u32,
    /// Homes per partition.
    pub rf: u8,
    /// Partitions: a power of two from 16 to 16,384.
    pub partitions: u16,
    /// Racks; node `i` stands in rack `i % racks`. 1 means that all stand together.
    pub racks: u32,
    /// Regions; node `i` stands in region `i % regions`. 1 means that there are none.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub regions: u32,
    /// What is kept, and how it is judged.
    pub keyspaces: Vec<KeyspacePlan>,
}

/// How conflicts of a keyspace's keys are resolved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PlanMode {
    /// Last writer wins.
    Lww,
    /// A linearizable register.
    Register,
}

/// All keys with one prefix.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyspacePlan {
    /// The prefix.
    pub prefix: String,
    /// How conflicts are resolved.
    pub mode: PlanMode,
    /// Copies.
    pub n: u8,
    /// Homes that a read waits for.
    pub r: u8,
    /// Homes that a write waits for.
    pub w: u8,
    /// Whether its histories must be linearizable. True for every register; a scenario may demand it of others.
    pub linearizable: bool,
}

/// How patient nodes and clients are; microseconds unless the name says otherwise.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Patience {
    /// A coordinator's time for a request.
    pub request: u64,
    /// Until a silent home is asked again.
    pub resend: u64,
    /// Between introductions of a new boot.
    pub introduce: u64,
    /// How far a stamp may run ahead.
    pub drift_max: u64,
    /// Dots per durable lease; a count.
    pub sequence_lease: u64,
    /// Requests that a coordinator works on at once; a count.
    pub in_flight_max: u32,
    /// Operation ids that a coordinator remembers; a count.
    pub remembered_max: u32,
    /// The longest value, in bytes.
    pub value_bytes_max: u32,
    /// How long a client waits for an answer before it gives up.
    pub client: u64,
}

/// How long something takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Latency {
    /// Anything between the two, each as likely.
    Uniform {
        /// The shortest.
        min: u64,
        /// The longest.
        max: u64,
    },
    /// A floor, and a memoryless wait with this mean.
    Exponential {
        /// The shortest.
        min: u64,
        /// Mean of what is added.
        mean: u64,
    },
    /// A floor, and a wait that is doubled again and again with a chance of one in four: a heavy tail up to `max`.
    HeavyTail {
        /// The shortest.
        min: u64,
        /// What is added most often.
        unit: u64,
        /// The longest.
        max: u64,
    },
}

/// The network when nothing is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NetworkPlan {
    /// From one node to another.
    pub latency: Latency,
    /// Added between different racks.
    pub rack_penalty: u64,
    /// Added between different regions.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub region_penalty: u64,
    /// From a client to its node, and back.
    pub client_latency: Latency,
    /// Messages of one link keep their order, as on a TCP stream; otherwise each goes alone, as datagrams do.
    pub fifo: bool,
    /// Bytes per second of each link; 0 means that size does not matter.
    pub bandwidth: u64,
}

/// Disks and logs when nothing is wrong with them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DiskPlan {
    /// One write call.
    pub write: Latency,
    /// One sync call.
    pub sync: Latency,
    /// Size of a log segment.
    pub segment_bytes: u32,
    /// The longest batch.
    pub batch_bytes_max: u32,
    /// Alignment of batches.
    pub block_bytes: u32,
    /// Batches that the tree takes in before it is flushed.
    pub flush_after_batches: u32,
    /// How long a flush takes.
    pub flush: u64,
}

/// One node's clocks when the run begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClockPlan {
    /// How far the wall is ahead of true time; negative if behind.
    pub skew: i64,
    /// How much too fast both clocks run, in parts per million; -500,000 is half speed.
    pub drift_ppm: i64,
    /// The wall moves in steps of so many microseconds; 1 is a fine clock.
    pub tick: u64,
}

/// Which of the pending events comes next.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Scheduler {
    /// By time; events of one microsecond in an order drawn from a stream.
    Latency,
    /// Time moves in windows; within one, every pending event is as likely to be next.
    Uniform {
        /// Length of a window.
        window: u64,
    },
    /// Probabilistic concurrency testing: within a window the node with the highest priority goes first, and a few
    /// times in the run a node falls to the lowest.
    Pct {
        /// Length of a window.
        window: u64,
        /// At which event counts a priority changes.
        changes: Vec<u64>,
    },
    /// By time, but some messages are held back long.
    DelayBounded {
        /// How many in a million.
        per_million: u32,
        /// How long.
        by: u64,
    },
}

/// What is demanded of the run, and when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Phases {
    /// When everything is healed: until then only safety is demanded.
    pub heal_at: u64,
    /// Within so long after healing the cluster must serve, and have converged. `None`: safety only.
    pub live_within: Option<u64>,
    /// On every link the first question of each last read is lost: whoever is silent must be asked again.
    #[serde(default, skip_serializing_if = "is_false")]
    pub ask_twice: bool,
    /// A disk lies or is put back unmarked: only panics, invented values and convergence are judged.
    pub durability_void: bool,
}

/// One client operation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Op {
    /// Not before this time, and not before the client's operation before it has ended.
    pub at: u64,
    /// Its number, unique in the plan.
    pub op: u32,
    /// Who asks.
    #[serde(rename = "c", with = "names::client")]
    pub client: u32,
    /// What to do.
    #[serde(rename = "do")]
    pub what: Do,
    /// Which key.
    pub key: Blob,
    /// What a put writes.
    #[serde(rename = "val", default, skip_serializing_if = "Option::is_none")]
    pub value: Option<Blob>,
    /// Which coordinator.
    #[serde(with = "names::node")]
    pub via: NodeId,
    /// How many homes.
    #[serde(default, skip_serializing_if = "Level::is_keyspace")]
    pub level: Level,
    /// Carries the version that this client last saw of the key, so that the write goes above it.
    #[serde(default, skip_serializing_if = "is_false")]
    pub context: bool,
    /// Carries a version that nobody has given it, so many microseconds ahead of true time; behind it if negative.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forged: Option<i64>,
    /// Carries an operation id.
    #[serde(default, skip_serializing_if = "is_false")]
    pub id: bool,
    /// The client goes away after so long, without waiting for the answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gone: Option<u64>,
    /// What the client does when the outcome is unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<Retry>,
}

fn one() -> u32 {
    1
}

fn is_one(number: &u32) -> bool {
    *number == 1
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

fn is_false(flag: &bool) -> bool {
    !flag
}

/// What an operation does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Do {
    /// Read.
    Get,
    /// Write.
    Put,
    /// Delete.
    Delete,
}

/// How many homes an operation waits for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// What the keyspace says.
    #[default]
    Keyspace,
    /// One home.
    One,
    /// Two homes.
    Two,
    /// A majority.
    Quorum,
    /// Every home.
    All,
    /// So many homes.
    Homes(u8),
}

impl Level {
    fn is_keyspace(&self) -> bool {
        *self == Self::Keyspace
    }
}

/// What a client does when an outcome is unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Retry {
    /// Waits so long, then asks this coordinator with the version that the answer named: the same operation.
    Present {
        /// How long it waits first.
        after: u64,
        /// Whom it asks.
        #[serde(with = "names::node")]
        via: NodeId,
    },
    /// Does not wait for the answer: asks the same coordinator again after so long, with the same operation id.
    SameId {
        /// When it asks again.
        after: u64,
    },
}

/// A message by its stable name: the `count`-th of its kind on its link, counted from 1. `n4>n3/Hint#7`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageName {
    /// Who sent it.
    pub from: NodeId,
    /// To whom.
    pub to: NodeId,
    /// What kind of message.
    pub kind: String,
    /// Which of that kind on that link.
    pub count: u32,
}

impl std::fmt::Display for MessageName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { from, to, kind, count } = self;
        write!(f, "{from}>{to}/{kind}#{count}")
    }
}

impl std::str::FromStr for MessageName {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const WRONG: &str = "a message is named n4>n3/Query#7";
        let node = |text: &str| text.strip_prefix('n').and_then(|digits| digits.parse().ok()).map(NodeId);
        let (link, rest) = text.split_once('/').ok_or(WRONG)?;
        let (from, to) = link.split_once('>').ok_or(WRONG)?;
        let (kind, count) = rest.split_once('#').ok_or(WRONG)?;
        let name = Self {
            from: node(from).ok_or(WRONG)?,
            to: node(to).ok_or(WRONG)?,
            kind: kind.to_owned(),
            count: count.parse().map_err(|_| WRONG)?,
        };
        // One way to write each name, so that equal files mean equal runs.
        if kind.is_empty() || name.to_string() != text { Err(WRONG) } else { Ok(name) }
    }
}

impl Serialize for MessageName {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for MessageName {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?.parse().map_err(serde::de::Error::custom)
    }
}

/// What is decided about one message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Directive {
    /// Which message.
    #[serde(rename = "m")]
    pub message: MessageName,
    /// What happens to it.
    pub act: Act,
    /// How much later it arrives, for a delay; when the copy arrives after the first, for a repetition.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<u64>,
}

/// What happens to a message by decree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Act {
    /// It is lost.
    Drop,
    /// It arrives later.
    Delay,
    /// It arrives twice.
    Repeat,
    /// It arrives, whatever a lossy period says. A cut still holds.
    Deliver,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_has_one_name() {
        for text in ["n4>n3/Query#7", "n1>n12/Stored#1"] {
            assert_eq!(text.parse::<MessageName>().unwrap().to_string(), text);
        }
        for text in
            ["", "n4>n3", "n4>n3/Query", "n4>n3/Query#", "n04>n3/Query#7", "4>n3/Query#7", "n4>n3/#7", "n4>n3/Q#+7"]
        {
            assert!(text.parse::<MessageName>().is_err(), "{text}");
        }
    }
}
