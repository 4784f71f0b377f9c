//! Depth first: follow one order as far as it goes, fewest optional calls first.
//!
//! Finds a witness fast where there are many, and needs memory only for the dead ends it remembers. To prove that
//! there is none it must see every configuration; breadth first does that better.
//!
//! Source: Wing, Gong, *Testing and verifying concurrent objects* (JPDC 1993), with Lowe's memory of configurations.

use super::Answer;
use super::explorer::{Configuration, Explorer, Identity};
use super::window::{Event, Step};
use crate::model::Model;
use crate::value::FastSet;

/// Judges all calls of the explorer.
pub(crate) fn judge<M: Model, const N: usize>(explorer: &mut Explorer<'_, M, N>) -> Answer {
    let mut stack: Vec<(usize, Configuration<N>)> = vec![(0, explorer.initial())];
    let mut dead: FastSet<(usize, Identity<N>)> = FastSet::default();
    // The latest event at which an order got stuck.
    let mut farthest = 0;
    while let Some((event, mut configuration)) = stack.pop() {
        explorer.window.seek(event);
        let Some(Event { call, .. }) = follow(explorer, &mut configuration) else {
            return Answer::Ok(explorer.witness(configuration.trail));
        };
        let stuck_at = explorer.window.next;
        farthest = farthest.max(stuck_at);
        if !dead.insert((stuck_at, configuration.identity())) {
            continue;
        }
        if let Err(budget) = explorer.count(dead.len() + stack.len()) {
            explorer.window.seek(farthest);
            return Answer::Unknown(explorer.blocked(budget));
        }
        if explorer.trail.is_overgrown() {
            let alive = stack.iter_mut().map(|(_, one)| &mut one.trail);
            explorer.trail.compact(alive.chain([&mut configuration.trail]));
        }
        let slot = explorer.window.slot(call);
        let begin = stack.len();
        explorer.for_each_next(&configuration, call, |next| stack.push((stuck_at, next)));
        // The last is tried first: the call that must return, then the others by slot, optional ones last.
        stack[begin..].reverse();
        if let Some(direct) = (begin..stack.len()).find(|at| stack[*at].1.has(slot)) {
            let last = stack.len() - 1;
            stack.swap(direct, last);
        }
    }
    explorer.window.seek(farthest);
    let last = explorer.window.events[farthest].call;
    explorer.violation(last)
}

/// Passes events as long as the configuration need not choose; the return at which it must, or `None` at the end.
fn follow<M: Model, const N: usize>(
    explorer: &mut Explorer<'_, M, N>,
    configuration: &mut Configuration<N>,
) -> Option<Event> {
    loop {
        let event = *explorer.window.events.get(explorer.window.next)?;
        match event.step {
            Step::Offer => {}
            Step::Invoke => explorer.begin(configuration, event.call),
            Step::Return => {
                let slot = explorer.window.slot(event.call);
                if !configuration.has(slot) {
                    return Some(event);
                }
                configuration.clear(slot);
            }
        }
        explorer.window.pass();
    }
}
