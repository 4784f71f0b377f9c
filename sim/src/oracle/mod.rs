//! What must be true, whatever goes wrong: one file per promise.
//!
//! Oracles watch the run from outside. They believe no node: what is durable they learn from the simulated disks, what
//! was promised from the plan, what was answered from the clients. The cheap ones look after every event at what it
//! touched; the others when the run ends. The first that is broken ends the run.
//!
//! | file | promise |
//! |---|---|
//! | dots.rs | A1: no two write events share a name, no name has two contents |
//! | clocks.rs | A4: a clock never goes back, across restarts too, and never runs away from its wall |
//! | quorums.rs | B2: a completed store phase and a later query phase share a replier |
//! | durable.rs | B3: acknowledged means durable on as many homes as were asked for; A3, B6 across restarts |
//! | monotonic.rs | B4: quorum reads never go back, and see what was acknowledged before |
//! | answers.rs | B5: one effect per operation; every call is answered exactly once |
//! | values.rs | no value that nobody wrote, no write both failed and visible; B6: what a home shows never goes back |
//! | linear.rs | B1: histories of linearizable keys have an order |
//! | ledger.rs | H: what was acknowledged survives; A3, A5: it is the same everywhere in the end |

mod answers;
mod clocks;
mod dots;
mod durable;
mod ledger;
mod linear;
mod monotonic;
mod quorums;
mod values;

pub(crate) use linear::{Linear, Told, judge as judge_linearizable};

use quorate_core::id::{Key, NodeId};
use quorate_core::version::Version;
use serde::{Deserialize, Serialize};

pub(crate) use answers::Answers;
pub(crate) use clocks::Clocks;
pub(crate) use dots::Dots;
pub(crate) use durable::Durable;
pub(crate) use ledger::Ledger;
pub(crate) use monotonic::Monotonic;
pub(crate) use quorums::Quorums;
pub(crate) use values::Values;

/// What can be broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Property {
    /// A1.
    UniqueDots,
    /// A3.
    NothingVanishes,
    /// A4.
    ClockForward,
    /// A5.
    Converges,
    /// B1.
    Linearizable,
    /// B2.
    QuorumsMeet,
    /// B3.
    DurableAck,
    /// B4.
    MonotonicReads,
    /// B5.
    OneEffect,
    /// B6.
    VersionsForward,
    /// The ledger of acknowledged writes.
    NoLostAck,
    /// Every call is answered exactly once.
    AnsweredOnce,
    /// No value that nobody wrote; no write both failed and visible.
    NoInventedValue,
    /// After healing the cluster serves within the bound.
    Liveness,
    /// The log calls nothing lost that is not, and nothing whole that is not.
    HonestLog,
    /// A frame arrives as it was sent, or is refused.
    SoundFrames,
    /// No panic.
    NoPanic,
}

impl Property {
    /// All of them.
    pub const ALL: [Self; 17] = [
        Self::UniqueDots,
        Self::NothingVanishes,
        Self::ClockForward,
        Self::Converges,
        Self::Linearizable,
        Self::QuorumsMeet,
        Self::DurableAck,
        Self::MonotonicReads,
        Self::OneEffect,
        Self::VersionsForward,
        Self::NoLostAck,
        Self::AnsweredOnce,
        Self::NoInventedValue,
        Self::Liveness,
        Self::HonestLog,
        Self::SoundFrames,
        Self::NoPanic,
    ];

    /// The word used in output and traces.
    pub fn name(self) -> &'static str {
        match self {
            Self::UniqueDots => "unique-dots",
            Self::NothingVanishes => "nothing-vanishes",
            Self::ClockForward => "clock-forward",
            Self::Converges => "converges",
            Self::Linearizable => "linearizable",
            Self::QuorumsMeet => "quorums-meet",
            Self::DurableAck => "durable-ack",
            Self::MonotonicReads => "monotonic-reads",
            Self::OneEffect => "one-effect",
            Self::VersionsForward => "versions-forward",
            Self::NoLostAck => "no-lost-ack",
            Self::AnsweredOnce => "answered-once",
            Self::NoInventedValue => "no-invented-value",
            Self::Liveness => "liveness",
            Self::HonestLog => "honest-log",
            Self::SoundFrames => "sound-frames",
            Self::NoPanic => "no-panic",
        }
    }
}

/// A promise that was broken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Violation {
    /// Which.
    pub property: Property,
    /// Of which key, where it concerns one.
    pub key: Option<String>,
    /// What happened, in one or two sentences.
    pub words: String,
    /// When, in microseconds of virtual time.
    pub at: u64,
    /// The client operations that it concerns.
    pub ops: Vec<u32>,
}

/// What is known of a key before the run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct KeyFacts {
    /// The key.
    pub key: Key,
    /// As people read it.
    pub name: String,
    /// Its homes in order, counted from 0.
    pub homes: Vec<u32>,
    /// Which keyspace, by number in the plan.
    pub keyspace: usize,
    /// Whether it is a linearizable register by mode.
    pub register: bool,
    /// Whether its history must be linearizable.
    pub linearizable: bool,
    /// R and W of the keyspace.
    pub rw: (u8, u8),
}

impl KeyFacts {
    /// Copies.
    pub(crate) fn n(&self) -> u8 {
        self.homes.len() as u8
    }
    /// How many of them make a majority.
    pub(crate) fn majority(&self) -> u8 {
        self.n() / 2 + 1
    }
}

/// A broken promise about a key, before it is dated.
pub(crate) struct Broken {
    pub(crate) property: Property,
    pub(crate) words: String,
}

pub(crate) type Judgement = Result<(), Broken>;

pub(crate) fn broken(property: Property, words: impl Into<String>) -> Judgement {
    Err(Broken { property, words: words.into() })
}

/// All the oracles that watch while the run goes on.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Oracles {
    pub(crate) dots: Dots,
    pub(crate) clocks: Clocks,
    pub(crate) quorums: Quorums,
    pub(crate) durable: Durable,
    pub(crate) monotonic: Monotonic,
    pub(crate) answers: Answers,
    pub(crate) values: Values,
    pub(crate) ledger: Ledger,
    pub(crate) linear: Linear,
}

impl Oracles {
    pub(crate) fn new(nodes: usize, keys: usize, ops: usize, drift_max: u64) -> Self {
        Self {
            dots: Dots::new(keys),
            clocks: Clocks::new(nodes, drift_max),
            quorums: Quorums::new(keys),
            durable: Durable::new(nodes, keys),
            monotonic: Monotonic::new(keys),
            answers: Answers::new(nodes, ops),
            values: Values::new(nodes, keys),
            ledger: Ledger::new(keys),
            linear: Linear::new(keys),
        }
    }
}

/// `n3`, for a node counted from 0.
pub(crate) fn node_name(node: usize) -> NodeId {
    NodeId(node as u32 + 1)
}

pub(crate) fn show(version: Version) -> String {
    if version.is_absent() { "nothing".to_owned() } else { format!("version {version}") }
}
