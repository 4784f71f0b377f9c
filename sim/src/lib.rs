//! A whole cluster in one thread: one seed, one virtual clock, and everything that can break.
//!
//! [`plan::draw`] makes a [`Plan`] from a seed, [`run`] makes a [`Report`] from a plan. A plan is data: it can be written
//! down, made smaller record by record, and run again by a build whose generator draws differently.
//!
//! | file | lives there |
//! |---|---|
//! | plan.rs | drawing plans: scenarios, and the swarm of what each seed switches on |
//! | run.rs | one run, from a plan to a report |
//! | world.rs, queue.rs, turn.rs, storage.rs | the loop, what is due next, one input of one node, the way to its disk |
//! | host.rs, clock.rs, disk.rs, tree.rs | a machine: process, clocks, disk, and the tree below its log |
//! | network/ | what becomes of each message |
//! | faults.rs | what each record of the schedule does |
//! | clients.rs, history.rs, judge.rs | who asks what, what they saw, and the judge who listens |
//! | phases.rs | everything may go wrong; then everything is healed and must come to rest |
//! | oracle/ | what must be true: one file per promise |
//! | rng.rs, digest.rs, audit.rs | chance, proof of sameness, and whether the faults did anything |
//! | table.rs | rows that cloned worlds share until one of them changes them |
//! | hunt.rs, tally.rs, shrink.rs, report.rs, failure.rs | sweeps and their sum, smaller failures, what is said of them |
//! | exhaustive.rs | every schedule of a few operations, breadth first |
//! | session.rs, journey.rs, moment.rs | a run that is saved, walked through in both directions, stopped at an event |
//! | branch.rs, bisect.rs, difference.rs, causality.rs | other futures, where two runs part, why one failed |
#![forbid(unsafe_code)]

mod as_json;
mod audit;
pub mod bisect;
mod branch;
pub mod causality;
mod clients;
mod clock;
mod difference;
mod digest;
pub mod disk;
pub mod exhaustive;
pub mod failure;
mod faults;
mod found;
mod history;
mod host;
pub mod hunt;
mod journey;
mod judge;
mod moment;
mod network;
mod oracle;
mod phases;
pub mod plan;
mod queue;
mod report;
mod rng;
mod run;
mod session;
pub mod shrink;
mod storage;
mod table;
pub mod tally;
mod tree;
mod turn;
mod world;

pub use audit::{Audit, Count};
pub use branch::{Change, Met};
pub use difference::{Difference, differences};
pub use history::{Ending, OpRecord};
pub use journey::{Halt, Journey};
pub use moment::{Condition, Moment};
pub use oracle::{Property, Violation};
pub use plan::{DrawOptions, draw};
pub use quorate_traces::{Plan, VerdictWord};
pub use report::Report;
pub use run::{EVENTS_MAX, record, run, run_until};
pub use session::{Session, SnapshotError};

/// Wall time for budgets, handed in by whoever may look at a clock; a run never does.
pub trait Stopwatch: Sync {
    /// Milliseconds since some start.
    fn elapsed_ms(&self) -> u64;
}
