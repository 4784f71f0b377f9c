//! One run, from a plan to a report.

use crate::oracle::{Property, Violation};
use crate::phases::Phase;
use crate::report::{Report, key_names};
use crate::world::World;
use quorate_core::id::NodeId;
use quorate_traces::{Act, Directive, NodeTrace, Plan, VerdictWord};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Beyond so many events a run has got stuck in a loop.
pub const EVENTS_MAX: u64 = 20_000_000;

/// Runs a plan. The same plan gives the same report, in any process, build and machine.
///
/// A panic of the node, the store or the simulator is a broken promise like any other.
pub fn run(plan: &Plan) -> Report {
    run_until(plan, EVENTS_MAX)
}

/// Runs a plan for at most so many events; a run that ends so early is not judged as a whole.
pub fn run_until(plan: &Plan, events_max: u64) -> Report {
    let mut world = match caught(plan.shape.seed, || World::new(plan)) {
        Ok(Ok(world)) => world,
        Ok(Err(words)) => {
            let violation = Violation { property: Property::NoPanic, key: None, words, at: 0, ops: vec![] };
            return Report::impossible(plan.shape.seed, &plan.scenario, violation);
        }
        Err(violation) => return Report::impossible(plan.shape.seed, &plan.scenario, *violation),
    };
    if let Err(violation) = caught(plan.shape.seed, || world.run(events_max)) {
        world.violations.push(Violation { at: world.now, ..*violation });
    }
    finish(plan, world)
}

/// Runs a plan and notes what its rates did to single messages, as decrees that do the same without the rates.
pub(crate) fn decisions(plan: &Plan) -> Vec<Directive> {
    let Ok(mut world) = World::new(plan) else { return Vec::new() };
    world.network.noted = Some(Vec::new());
    // What was noted up to a panic is what led there.
    let _ = caught(plan.shape.seed, || world.run(EVENTS_MAX));
    let noted = world.network.noted.take().unwrap_or_default();
    let directive = |(name, act, by): (crate::network::Name, Act, u64)| {
        let by = (act == Act::Repeat).then_some(by);
        Directive { message: name.public(), act, by }
    };
    noted.into_iter().map(directive).collect()
}

/// Runs a plan and records the life of one node, from its last start on.
pub fn record(plan: &Plan, node: NodeId) -> (Report, Option<NodeTrace>) {
    let mut world = match World::new(plan) {
        Ok(world) => world,
        Err(words) => {
            let violation = Violation { property: Property::NoPanic, key: None, words, at: 0, ops: vec![] };
            return (Report::impossible(plan.shape.seed, &plan.scenario, violation), None);
        }
    };
    world.recording = Some((node.0 as usize - 1, None));
    if let Err(violation) = caught(plan.shape.seed, || world.run(EVENTS_MAX)) {
        world.violations.push(Violation { at: world.now, ..*violation });
    }
    let trace = world.recording.take().and_then(|(_, trace)| trace);
    (finish(plan, world), trace)
}

pub(crate) fn caught<T>(seed: u64, run: impl FnOnce() -> T) -> Result<T, Box<Violation>> {
    catch_unwind(AssertUnwindSafe(run)).map_err(|panic| {
        let words = match (panic.downcast_ref::<&str>(), panic.downcast_ref::<String>()) {
            (Some(words), _) => (*words).to_owned(),
            (None, Some(words)) => words.clone(),
            (None, None) => "a panic without words".to_owned(),
        };
        let words = format!("panicked with seed {seed:#x}: {words}");
        Box::new(Violation { property: Property::NoPanic, key: None, words, at: 0, ops: vec![] })
    })
}

pub(crate) fn finish(plan: &Plan, mut world: World) -> Report {
    if let Err(violation) = caught(plan.shape.seed, || world.conclude()) {
        world.violations.push(*violation);
    }
    let unfinished = !world.phase.is_over() || world.phase == Phase::Faults;
    let verdict = match (world.violations.is_empty(), unfinished) {
        (false, _) => VerdictWord::Violation,
        (true, true) => VerdictWord::Unknown,
        (true, false) => VerdictWord::Ok,
    };
    Report {
        scenario: plan.scenario.clone(),
        seed: plan.shape.seed,
        verdict,
        history: world.history(),
        keys: key_names(&world.keys),
        violations: world.violations,
        digest: world.digest.value(),
        events: world.events,
        deliveries: world.deliveries,
        sim_time: world.now,
        audit: world.audit,
        checkpoints: world.checkpoints,
        directives_matched: world.network.matched,
    }
}
