//! Cutting one hot register key into parts that are judged on their own.
//!
//! At a quiet moment, when nothing is open, a register holds what the last write left. If one write began after every
//! other write had ended, it is certain which that was, and what follows can be judged apart from what went before.
//! Witnesses are simply joined. A write of unknown outcome may take effect after any cut; the cuts after it go where
//! more than one part could have observed it, since it can be used only once.

use rayon::prelude::*;

use super::{Answer, Call, Clock, Found, run};
use crate::history::Time;
use crate::model::Model;
use crate::model::register::{Op, Register};
use crate::value::FastMap;

/// Fewer calls than this are not worth a thread.
pub(crate) const PART_CALLS_MIN: usize = 2_000;

struct Part {
    initial: u32,
    calls: Vec<Call>,
}

/// Judges the parts, or `None` if the key cannot be cut with profit.
pub(crate) fn judge(calls: &[Call], register: &Register, clock: &Clock, calls_min: usize) -> Option<Found> {
    if calls.len() < 2 * calls_min {
        return None;
    }
    let parts = cut(calls, register, calls_min)?;
    let threads = rayon::current_num_threads().max(1);
    // Parts that are judged at the same time share the memory, and all of them the states.
    let bytes = clock.budget.bytes / threads;
    let judge_part = |part: &Part| {
        let share = u128::from(clock.budget.states) * part.calls.len() as u128 / calls.len() as u128;
        let states = u64::try_from(share).expect("a part has no more calls than the key");
        run(&part.calls, register.beginning_with(part.initial), false, &clock.with(states, bytes))
    };
    let found: Vec<Found> = parts.par_iter().map(judge_part).collect();
    let states = found.iter().map(|found| found.states).sum();
    let mut order = Vec::with_capacity(calls.len());
    for (number, found) in found.into_iter().enumerate() {
        // The first part that is not ok stands for all: what went before it has an order, and says what it began with.
        match found.answer {
            Answer::Ok(witness) => order.extend(witness),
            Answer::Violation(operations) => {
                let before = parts[..number].iter().flat_map(|part| &part.calls).map(|call| call.id);
                return Some(Found { answer: Answer::Violation(before.chain(operations).collect()), states });
            }
            answer @ Answer::Unknown(_) => return Some(Found { answer, states }),
        }
    }
    Some(Found { answer: Answer::Ok(order), states })
}

fn cut(calls: &[Call], register: &Register, calls_min: usize) -> Option<Vec<Part>> {
    let mut order: Vec<&Call> = calls.iter().filter(|call| !call.optional).collect();
    order.sort_unstable_by_key(|call| call.start);
    let mut initial = register.clone().initial();
    let mut parts = vec![Part { initial, calls: Vec::new() }];
    let mut starts = vec![Time::MIN];
    let (mut ended, mut writes_ended) = (Time::MIN, Time::MIN);
    // The value that is certain once nothing is open; `None` while two writes could both have been the last.
    let mut certain = Some(initial);
    for call in order {
        let last = parts.last_mut().expect("there is one");
        if call.start > ended
            && last.calls.len() >= calls_min
            && let Some(value) = certain
        {
            initial = value;
            parts.push(Part { initial, calls: Vec::new() });
            starts.push(call.start);
        }
        parts.last_mut().expect("there is one").calls.push(*call);
        ended = ended.max(call.end);
        if let Op::Write(value) | Op::Swap(_, value) = register.op(call.op) {
            certain = (call.start > writes_ended).then_some(value);
            writes_ended = writes_ended.max(call.end);
        }
    }
    share_optional(calls, register, &mut parts, &starts)?;
    (parts.len() > 1).then_some(parts)
}

/// Gives each optional write to the one part that can observe it, joining parts where several can.
fn share_optional(calls: &[Call], register: &Register, parts: &mut Vec<Part>, starts: &[Time]) -> Option<()> {
    let optional: Vec<&Call> = calls.iter().filter(|call| call.optional).collect();
    if optional.is_empty() {
        return Some(());
    }
    // For each value the first and last part that observes it. "Not this value" observes every other: no cuts then,
    // and none where an optional swap could pass a value on.
    let mut observed: FastMap<u32, Vec<usize>> = FastMap::default();
    for (number, part) in parts.iter().enumerate() {
        for call in &part.calls {
            match register.op(call.op) {
                Op::Write(_) => {}
                Op::Observe(value) | Op::Swap(value, _) => {
                    let by = observed.entry(value).or_default();
                    if by.last() != Some(&number) {
                        by.push(number);
                    }
                }
                Op::Differ(_) => return None,
            }
        }
    }
    let mut join_until: Vec<usize> = (0..parts.len()).collect();
    let mut homes = Vec::new();
    for call in optional {
        let Op::Write(value) = register.op(call.op) else { return None };
        let born = starts.partition_point(|start| *start <= call.start) - 1;
        let by = observed.get(&value).map(Vec::as_slice).unwrap_or_default();
        let by = &by[by.partition_point(|part| *part < born)..];
        if let (Some(first), Some(last)) = (by.first(), by.last()) {
            // What was observed may also have been the last write of that part: only a part with a write of its own
            // makes the value certain again.
            let mut last = *last + 1;
            while last < parts.len() && !parts[last].calls.iter().any(|call| !call.pure) {
                last += 1;
            }
            join_until[*first] = join_until[*first].max(last);
            homes.push((*first, *call));
        }
    }
    // A part that a joined one reaches into belongs to it.
    let mut joined: Vec<Part> = Vec::new();
    let mut home_of = vec![0; parts.len()];
    let mut until = 0;
    for (number, part) in std::mem::take(parts).into_iter().enumerate() {
        if number > until || joined.is_empty() {
            joined.push(part);
        } else {
            joined.last_mut().expect("not empty").calls.extend(part.calls);
        }
        until = until.max(join_until[number]).max(number);
        home_of[number] = joined.len() - 1;
    }
    for (first, call) in homes {
        joined[home_of[first]].calls.push(call);
    }
    *parts = joined;
    Some(())
}

#[cfg(test)]
mod tests;
