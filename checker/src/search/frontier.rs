//! Breadth first: carry every state the key may be in, event by event.
//!
//! Calls are placed as late as possible: only when one returns must it have taken effect, together with whatever had
//! to come before it. Of two configurations that differ only in the optional calls used, the one that used fewer
//! wins. When none survives a return, nothing can explain the history up to there, so an illegal history is found at
//! its first illegal return. Memory follows concurrency, not length, except for the trail of the witness, which is
//! compacted as it grows.
//!
//! Source: Lowe, *Testing for linearizability* (CCPE 2017), just-in-time linearization.

use super::Answer;
use super::explorer::{Configuration, Explorer, Identity};
use super::window::{Event, Step};
use crate::model::Model;
use crate::value::{FastMap, FastSet};

/// Judges all calls of the explorer.
pub(crate) fn judge<M: Model, const N: usize>(explorer: &mut Explorer<'_, M, N>) -> Answer {
    let mut configurations = vec![explorer.initial()];
    while let Some(Event { step, call, .. }) = explorer.window.events.get(explorer.window.next).copied() {
        match step {
            Step::Offer => {}
            Step::Invoke => configurations.iter_mut().for_each(|one| explorer.begin(one, call)),
            Step::Return => {
                match place(explorer, configurations, call) {
                    Ok(placed) => configurations = placed,
                    Err(budget) => return Answer::Unknown(explorer.blocked(budget)),
                }
                if configurations.is_empty() {
                    return explorer.violation(call);
                }
                if explorer.trail.is_overgrown() {
                    explorer.trail.compact(configurations.iter_mut().map(|one| &mut one.trail));
                }
            }
        }
        explorer.window.pass();
    }
    Answer::Ok(explorer.witness(configurations[0].trail))
}

/// The configurations in which this open call has taken effect, without its slot.
fn place<M: Model, const N: usize>(
    explorer: &mut Explorer<'_, M, N>,
    configurations: Vec<Configuration<N>>,
    call: u32,
) -> Result<Vec<Configuration<N>>, &'static str> {
    let slot = explorer.window.slot(call);
    let (mut done, mut stack): (Vec<_>, Vec<_>) = configurations.into_iter().partition(|one| one.has(slot));
    let mut seen: FastSet<Identity<N>> = stack.iter().map(Configuration::identity).collect();
    while let Some(configuration) = stack.pop() {
        explorer.count(seen.len() + stack.len() + done.len())?;
        explorer.for_each_next(&configuration, call, |next| {
            if next.has(slot) {
                done.push(next);
            } else if seen.insert(next.identity()) {
                stack.push(next);
            }
        });
    }
    drop(seen);
    done.iter_mut().for_each(|one| one.clear(slot));
    Ok(undominated(explorer, done))
}

/// One configuration per identity, and none that another beats with fewer optional calls or more hidden ones.
fn undominated<M: Model, const N: usize>(
    explorer: &Explorer<'_, M, N>,
    all: Vec<Configuration<N>>,
) -> Vec<Configuration<N>> {
    if all.len() <= 1 {
        return all;
    }
    let mut groups: FastMap<(u32, [u64; N]), Vec<usize>> = FastMap::default();
    let mut is_beaten = vec![false; all.len()];
    for (at, configuration) in all.iter().enumerate() {
        let group = groups.entry((configuration.state, configuration.taken)).or_default();
        let beats = |one: &Configuration<N>, other: &Configuration<N>| {
            explorer.used_at_most(one.used, other.used) && one.hides_more(other)
        };
        if group.iter().any(|other| beats(&all[*other], configuration)) {
            is_beaten[at] = true;
            continue;
        }
        group.retain(|other| {
            is_beaten[*other] = beats(configuration, &all[*other]);
            !is_beaten[*other]
        });
        group.push(at);
    }
    all.into_iter().zip(is_beaten).filter(|(_, beaten)| !beaten).map(|(one, _)| one).collect()
}

#[cfg(test)]
mod tests;
