//! Recorded runs: what a run is made of as data, the files that keep it, and their replay.
//!
//! Two artefacts. A *plan trace* (`NAME.trace.jsonl`, [`PlanTrace`]) re-runs a whole cluster: it holds a [`Plan`], which
//! is everything a run depends on, and what is expected of it. A *node trace* (`NAME.node.jsonl`, [`NodeTrace`]) re-runs
//! one node: a snapshot, then inputs with the effects they had, so that a new build can be asked at which step it first
//! answers differently.
//!
//! | file | lives there |
//! |---|---|
//! | plan.rs | the vocabulary of plans: cluster, patience, network, disks, clocks, scheduler, operations |
//! | fault.rs | the vocabulary of faults |
//! | kind.rs | the kinds of faults, as sweeps count and name them |
//! | names.rs | `n4`, `c1`, `0x1b2c`, keys and values as text |
//! | trace.rs | plan traces: the lines of the file, reader and writer |
//! | corpus.rs | the committed traces and the page that lists them |
//! | lines.rs | bounded JSON lines with errors that name file and line |
//! | node.rs | node traces: record, read, replay |
//!
//! This crate runs no cluster and draws nothing: a plan that was drawn once is data and outlives its generator.
#![forbid(unsafe_code)]

pub mod corpus;
mod fault;
mod kind;
mod lines;
pub mod names;
mod node;
mod plan;
mod trace;

pub use fault::{CrashPoint, DiskFate, Fault, FaultRecord};
pub use kind::FaultKind;
pub use lines::{LineError, TraceError};
pub use node::{Divergence, NodeTrace, Step};
pub use plan::{
    Act, ClockPlan, Cluster, Directive, DiskPlan, Do, KeyspacePlan, Latency, Level, MessageName, NetworkPlan, Op,
    Patience, Phases, Plan, PlanMode, Retry, Scheduler, Shape,
};
pub use trace::{Checkpoint, End, Expect, Origin, PlanTrace, VerdictWord};
