//! Drawing plans: what each seed switches on.
//!
//! *Swarm*: a seed that has a little of everything finds little. So each seed first draws which kinds of trouble exist in
//! it at all, and how much of each over decades; then node count, copies, quorums, patience, latencies, scheduler, key
//! skew and the repetition of values; then a schedule of operations and faults with explicit times. Faults often come in
//! storms, with quiet before and after, since correlated trouble is what breaks things.
//!
//! *Budget*: in a run that must stay live, disks are harmed for good only on a minority of every partition's homes; all
//! other trouble ends when the run is healed. Disks that lie or come back unmarked make durability void for that run.
//!
//! The vocabulary of plans is [`quorate_traces::Plan`]: a plan outlives the generator that drew it.

mod shape;
mod trouble;
mod work;

use crate::rng::{Purpose, Stream};
use quorate_traces::{FaultKind, Plan};

/// What kind of run is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Scenario {
    /// Everything, by swarm.
    #[default]
    Default,
    /// R=1 and W=1 where linearizability is demanded: must fail.
    UnsafeQuorum,
    /// No faults at all.
    Quiet,
    /// The network alone misbehaves.
    Network,
    /// Crashes and disks alone.
    Disk,
    /// One true clock for all: then even stamps from clocks are in the order of time, across every crash.
    OneClock,
    /// More harm than any promise covers: safety alone is judged.
    Unlimited,
}

impl Scenario {
    /// All of them.
    pub const ALL: [Self; 7] =
        [Self::Default, Self::UnsafeQuorum, Self::Quiet, Self::Network, Self::Disk, Self::OneClock, Self::Unlimited];

    /// The name used on the command line and in traces.
    pub fn name(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::UnsafeQuorum => "unsafe-quorum",
            Self::Quiet => "quiet",
            Self::Network => "network",
            Self::Disk => "disk",
            Self::OneClock => "one-clock",
            Self::Unlimited => "unlimited",
        }
    }

    /// One line for a list.
    pub fn about(self) -> &'static str {
        match self {
            Self::Default => "3 to 7 nodes, register and lww keyspaces, every kind of fault by swarm",
            Self::UnsafeQuorum => "R=1 W=1 where linearizability is demanded: fails on purpose",
            Self::Quiet => "no faults",
            Self::Network => "loss, duplication, replay, cuts and slowness; nothing crashes",
            Self::Disk => "crashes at every point, torn and failing disks, wiped disks",
            Self::OneClock => "one true clock for all nodes: lww quorums must be linearizable, whatever crashes",
            Self::Unlimited => "more harm than any promise covers; safety alone is judged",
        }
    }

    /// The scenario of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scenario| scenario.name() == name)
    }

    fn allows(self, kind: FaultKind) -> bool {
        use FaultKind as K;
        let network = matches!(
            kind,
            K::Partition
                | K::OneWay
                | K::Ring
                | K::Flap
                | K::Filter
                | K::Loss
                | K::Duplicate
                | K::Replay
                | K::Corrupt
                | K::SlowLink
                | K::RackCut
                | K::RegionCut
                | K::HomesCut
                | K::Throttle
                | K::LargeLost
                | K::Reset
        );
        let disk = matches!(
            kind,
            K::Crash
                | K::PowerLoss
                | K::SyncFails
                | K::WriteFails
                | K::DiskFull
                | K::SlowDisk
                | K::Rot
                | K::Misdirect
                | K::Wipe
                | K::Restore
                | K::Lying
                | K::ReadFails
                | K::CreateFails
                | K::Truncate
        );
        match self {
            Self::Default | Self::Unlimited => true,
            Self::UnsafeQuorum => matches!(kind, K::Partition | K::Loss | K::SlowLink),
            Self::Quiet => false,
            Self::Network => network || matches!(kind, K::ClientGone | K::ClientRetry | K::ClockSkew),
            Self::OneClock => (network || disk) && !matches!(kind, K::Lying | K::Misdirect),
            Self::Disk => disk || matches!(kind, K::ClientRetry),
        }
    }
}

/// What may be drawn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DrawOptions {
    /// What kind of run.
    pub scenario: Scenario,
    /// Which kinds of faults may occur.
    pub faults: Vec<FaultKind>,
    /// How many nodes; drawn if absent.
    pub nodes: Option<u32>,
    /// How many client operations; drawn if absent.
    pub ops: Option<u32>,
}

impl Default for DrawOptions {
    fn default() -> Self {
        Self { scenario: Scenario::Default, faults: FaultKind::ALL.to_vec(), nodes: None, ops: None }
    }
}

impl DrawOptions {
    /// The options of a scenario, with all its faults.
    pub fn of(scenario: Scenario) -> Self {
        Self { scenario, ..Self::default() }
    }

    fn allows(&self, kind: FaultKind) -> bool {
        self.scenario.allows(kind) && self.faults.contains(&kind)
    }
}

/// The plan of a seed.
pub fn draw(seed: u64, options: &DrawOptions) -> Plan {
    let mut stream = Stream::new(seed, Purpose::Shape, 0);
    let drawn = shape::draw(seed, options, &mut stream);
    let ops = work::draw(options, &drawn, &mut Stream::new(seed, Purpose::Ops, 0));
    let mut plan = Plan {
        scenario: options.scenario.name().to_owned(),
        shape: drawn.shape.clone(),
        ops,
        faults: Vec::new(),
        directives: Vec::new(),
    };
    trouble::draw(options, &drawn, &mut plan, &mut Stream::new(seed, Purpose::Faults, 0));
    plan
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorate_traces::{Expect, Origin, PlanTrace, VerdictWord};

    #[test]
    fn a_seed_always_draws_the_same_plan_and_files_keep_it() {
        for scenario in Scenario::ALL {
            for seed in 0..40 {
                let options = DrawOptions::of(scenario);
                let plan = draw(seed, &options);
                assert_eq!(plan, draw(seed, &options));
                let expect = Expect { verdict: VerdictWord::Ok, property: None, key: None };
                let trace = PlanTrace {
                    name: "t".into(),
                    core: String::new(),
                    expect,
                    origin: Origin::default(),
                    plan,
                    checkpoints: vec![],
                    end: None,
                };
                assert_eq!(PlanTrace::read(&trace.write()).as_ref(), Ok(&trace));
            }
        }
    }

    #[test]
    fn every_kind_of_fault_is_drawn_often() {
        let mut audit = crate::Audit::default();
        let mut seeds_with = [0; FaultKind::ALL.len()];
        for seed in 0..1_000 {
            let plan = draw(seed, &DrawOptions::default());
            let own = crate::Audit::of(&plan);
            own.kinds().for_each(|(kind, count)| seeds_with[kind as usize] += usize::from(count.planned > 0));
            audit.add(&own);
        }
        for (kind, _) in audit.kinds() {
            let void = matches!(kind, FaultKind::Lying | FaultKind::Misdirect);
            let least = if void { 5 } else { 40 };
            assert!(seeds_with[kind as usize] >= least, "{}: {}", kind.name(), seeds_with[kind as usize]);
        }
    }

    #[test]
    fn every_peculiarity_of_load_is_drawn_in_one_seed_of_twenty() {
        use quorate_core::placement::{SLOTS, slot};
        use quorate_traces::{Do, Op};
        use std::collections::BTreeMap;
        let mut seeds_with: BTreeMap<&str, u32> = BTreeMap::new();
        for seed in 0..1_000 {
            let plan = draw(seed, &DrawOptions::default());
            let width = SLOTS / plan.shape.cluster.partitions;
            let values: Vec<&[u8]> = plan.ops.iter().filter_map(|op| Some(&op.value.as_ref()?.0[..])).collect();
            let of_key = |op: &Op| plan.ops.iter().filter(|other| other.key == op.key).count();
            let border = |op: &Op| [0, width - 1].contains(&(slot(&op.key.0) % width)) && of_key(op) > 1;
            let repeated = values.iter().enumerate().any(|(at, value)| values[..at].contains(value));
            for (what, holds) in [
                ("one hot key", plan.ops.iter().any(|op| 2 * of_key(op) > plan.ops.len())),
                ("repeated values", repeated),
                ("empty value", values.contains(&&b""[..])),
                ("1 MiB", values.iter().any(|value| value.len() == 1 << 20)),
                ("too large", values.iter().any(|value| value.len() > plan.shape.patience.value_bytes_max as usize)),
                ("longest key", plan.ops.iter().any(|op| op.key.0.len() == quorate_core::id::Key::BYTES_MAX)),
                ("shortest key", plan.ops.iter().any(|op| op.key.0.len() == 1)),
                ("key on a border", plan.ops.iter().any(border)),
                ("deletes", plan.ops.iter().any(|op| op.what == Do::Delete)),
                ("contexts", plan.ops.iter().any(|op| op.context)),
                ("forged versions", plan.ops.iter().any(|op| op.forged.is_some())),
                ("abandoned", plan.ops.iter().any(|op| op.gone.is_some())),
                ("retries", plan.ops.iter().any(|op| op.retry.is_some())),
            ] {
                *seeds_with.entry(what).or_default() += u32::from(holds);
            }
        }
        for (what, seeds) in seeds_with {
            // A key of one byte needs a keyspace without prefix, which leaves no name to the others.
            let least = match what {
                "shortest key" => 1,
                "1 MiB" => 30,
                _ => 50,
            };
            assert!(seeds >= least, "{what}: {seeds} of 1,000");
        }
    }

    #[test]
    fn a_kind_that_is_switched_off_is_never_drawn() {
        let faults = FaultKind::ALL.iter().copied().filter(|kind| *kind != FaultKind::Crash).collect();
        let options = DrawOptions { faults, ..DrawOptions::default() };
        for seed in 0..300 {
            let plan = draw(seed, &options);
            assert!(plan.faults.iter().all(|record| record.fault.kind() != FaultKind::Crash));
            assert!(draw(seed, &DrawOptions::of(Scenario::Quiet)).faults.is_empty());
        }
    }
}
