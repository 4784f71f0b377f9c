//! Breadth first: carry every state the key may be in, event by event.
//!
//! A configuration is (model state, which open calls have taken effect, how many optional calls of each kind were
//! used). Calls are placed as late as possible: only when one returns must it have taken effect, together with
//! whatever had to come before it. Reads are placed as soon as they are legal, which is never worse. Of two
//! configurations that differ only in the optional calls used, the one that used fewer wins.
//!
//! Memory follows concurrency, not length, except for the trail of the witness, which is compacted as it grows.
//! When no configuration survives a return, nothing can explain the history up to there: an illegal history is
//! found at the first illegal return.
//!
//! Source: Lowe, *Testing for linearizability* (CCPE 2017), just-in-time linearization.

use super::{Answer, Call, Clock, Found};
use crate::check::Blocked;
use crate::history::Time;
use crate::model::Model;
use crate::value::{FastMap, FastSet};

const NO_TRAIL: u32 = u32::MAX;

#[derive(Clone, Copy, Debug)]
struct Configuration<const N: usize> {
    state: u32,
    /// Number of the interned vector of used optional calls.
    used: u32,
    /// Open slots whose call has taken effect.
    taken: [u64; N],
    /// Last step of the order that led here; not part of its identity.
    trail: u32,
}

impl<const N: usize> Configuration<N> {
    fn key(&self) -> (u32, u32, [u64; N]) {
        (self.state, self.used, self.taken)
    }

    fn has(&self, slot: usize) -> bool {
        self.taken[slot / 64] >> (slot % 64) & 1 == 1
    }

    fn set(&mut self, slot: usize) {
        self.taken[slot / 64] |= 1 << (slot % 64);
    }

    fn clear(&mut self, slot: usize) {
        self.taken[slot / 64] &= !(1 << (slot % 64));
    }
}

/// One kind of optional call: interchangeable calls, invoked one after the other.
struct Class {
    op: u32,
    /// Calls invoked so far, by number; the first `used` of them are the ones an order has taken.
    invoked: Vec<u32>,
}

/// The steps of all orders that are still alive, as a tree that grows at its leaves.
#[derive(Default)]
struct Trail {
    steps: Vec<(u32, u32)>,
    kept: usize,
}

/// Interned vectors of counts.
struct Counts {
    all: Vec<Box<[u16]>>,
    by_counts: FastMap<Box<[u16]>, u32>,
    kinds: usize,
}

struct Engine<'a, M, const N: usize> {
    calls: &'a [Call],
    model: M,
    configurations: Vec<Configuration<N>>,
    open: Vec<Option<u32>>,
    classes: Vec<Class>,
    counts: Counts,
    trail: Trail,
    states: u64,
    clock: &'a Clock,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Invoke,
    Return,
}

/// Judges the calls; at most `64 * N` may be open at once.
pub(crate) fn run<const N: usize>(calls: &[Call], mut model: impl Model, clock: &Clock) -> Found {
    let mut events = Vec::with_capacity(calls.len() * 2);
    for (number, call) in calls.iter().enumerate() {
        events.push((call.start, Event::Invoke, number as u32));
        if !call.optional {
            events.push((call.end, Event::Return, number as u32));
        }
    }
    events.sort_unstable();
    let kinds: FastSet<u32> = calls.iter().filter(|call| call.optional).map(|call| call.op).collect();
    let mut counts = Counts { all: Vec::new(), by_counts: FastMap::default(), kinds: kinds.len() };
    let initial = Configuration {
        state: model.initial(),
        used: counts.intern(vec![0; kinds.len()].into()),
        taken: [0; N],
        trail: NO_TRAIL,
    };
    let mut engine = Engine {
        calls,
        model,
        configurations: vec![initial],
        open: Vec::new(),
        classes: Vec::new(),
        counts,
        trail: Trail::default(),
        states: 0,
        clock,
    };
    let answer = engine.judge(&events);
    Found { answer, states: engine.states }
}

impl<M: Model, const N: usize> Engine<'_, M, N> {
    fn judge(&mut self, events: &[(Time, Event, u32)]) -> Answer {
        let mut proven_until = Time::MIN;
        for (at, event, number) in events {
            let call = self.calls[*number as usize];
            match event {
                Event::Invoke if call.optional => self.offer(*number, call.op),
                Event::Invoke => self.invoke(*number),
                Event::Return => {
                    if let Err(budget) = self.on_return(*number) {
                        return Answer::Unknown(self.blocked(budget, proven_until));
                    }
                    if self.configurations.is_empty() {
                        return Answer::Violation(self.invoked_until(*at, *number));
                    }
                    proven_until = *at;
                    self.compact();
                }
            }
        }
        let last = self.configurations[0];
        Answer::Ok(self.trail.order(last.trail).into_iter().map(|number| self.calls[number as usize].id).collect())
    }

    fn offer(&mut self, number: u32, op: u32) {
        match self.classes.iter_mut().find(|class| class.op == op) {
            Some(class) => class.invoked.push(number),
            None => self.classes.push(Class { op, invoked: vec![number] }),
        }
    }

    fn invoke(&mut self, number: u32) {
        let slot = match self.open.iter().position(Option::is_none) {
            Some(free) => free,
            None => {
                self.open.push(None);
                self.open.len() - 1
            }
        };
        assert!(slot < 64 * N, "the caller chose the width");
        self.open[slot] = Some(number);
        let call = self.calls[number as usize];
        if !call.pure {
            return;
        }
        for configuration in &mut self.configurations {
            if self.model.step(configuration.state, call.op).is_some() {
                configuration.set(slot);
                configuration.trail = self.trail.push(configuration.trail, number);
            }
        }
    }

    /// Keeps the configurations in which the call has taken effect, placing it where it has not.
    fn on_return(&mut self, number: u32) -> Result<(), &'static str> {
        let slot = self.open.iter().position(|open| *open == Some(number)).expect("an open call has a slot");
        let mut stack = Vec::new();
        let mut done = Vec::new();
        for configuration in self.configurations.drain(..) {
            if configuration.has(slot) { done.push(configuration) } else { stack.push(configuration) }
        }
        let mut seen: FastSet<(u32, u32, [u64; N])> = stack.iter().map(Configuration::key).collect();
        let mut since_look = 0;
        while let Some(configuration) = stack.pop() {
            self.states += 1;
            since_look += 1;
            if since_look == 256 {
                since_look = 0;
                self.look(seen.len() + stack.len() + done.len())?;
            }
            self.for_each_next(configuration, |next| {
                if next.has(slot) {
                    done.push(next);
                } else if seen.insert(next.key()) {
                    stack.push(next);
                }
            });
        }
        self.look(seen.len() + done.len())?;
        self.open[slot] = None;
        for configuration in &mut done {
            configuration.clear(slot);
        }
        self.configurations = self.undominated(done);
        Ok(())
    }

    fn for_each_next(&mut self, from: Configuration<N>, mut found: impl FnMut(Configuration<N>)) {
        for slot in 0..self.open.len() {
            let Some(number) = self.open[slot] else { continue };
            let call = self.calls[number as usize];
            // A legal pure call was taken when its state came up.
            if from.has(slot) || call.pure {
                continue;
            }
            if let Some(state) = self.model.step(from.state, call.op) {
                let mut next = Configuration { state, trail: self.trail.push(from.trail, number), ..from };
                next.set(slot);
                found(self.take_pure(next));
            }
        }
        for kind in 0..self.classes.len() {
            let used = usize::from(self.counts.all[from.used as usize][kind]);
            let class = &self.classes[kind];
            if used == class.invoked.len() {
                continue;
            }
            let (number, op) = (class.invoked[used], class.op);
            let Some(state) = self.model.step(from.state, op).filter(|state| *state != from.state) else { continue };
            if self.model.overwrites() && !self.enables(&from, state) {
                continue;
            }
            let used = self.counts.plus_one(from.used, kind);
            let next = Configuration { state, used, trail: self.trail.push(from.trail, number), ..from };
            found(self.take_pure(next));
        }
    }

    /// Is there a call that waits for exactly this state? Where a write hides all that was before, an optional one
    /// is worth taking only if something observes it before the next.
    fn enables(&mut self, from: &Configuration<N>, state: u32) -> bool {
        let open = (0..self.open.len()).filter(|slot| !from.has(*slot)).filter_map(|slot| self.open[slot]);
        let mut ops =
            open.map(|number| self.calls[number as usize].op).chain(self.classes.iter().map(|class| class.op));
        ops.any(|op| self.model.step(from.state, op).is_none() && self.model.step(state, op).is_some())
    }

    fn take_pure(&mut self, mut configuration: Configuration<N>) -> Configuration<N> {
        for slot in 0..self.open.len() {
            let Some(number) = self.open[slot] else { continue };
            let call = self.calls[number as usize];
            if call.pure && !configuration.has(slot) && self.model.step(configuration.state, call.op).is_some() {
                configuration.set(slot);
                configuration.trail = self.trail.push(configuration.trail, number);
            }
        }
        configuration
    }

    /// One configuration per state, mask and count, and none that another beats with fewer optional calls.
    fn undominated(&self, all: Vec<Configuration<N>>) -> Vec<Configuration<N>> {
        if all.len() <= 1 {
            return all;
        }
        let mut groups: FastMap<(u32, [u64; N]), Vec<usize>> = FastMap::default();
        let mut kept: Vec<Configuration<N>> = Vec::with_capacity(all.len());
        let mut beaten = Vec::new();
        for configuration in all {
            let group = groups.entry((configuration.state, configuration.taken)).or_default();
            if group.iter().any(|other| self.counts.at_most(kept[*other].used, configuration.used)) {
                continue;
            }
            group.retain(|other| {
                let beats = self.counts.at_most(configuration.used, kept[*other].used);
                if beats {
                    beaten.push(*other);
                }
                !beats
            });
            group.push(kept.len());
            kept.push(configuration);
        }
        beaten.sort_unstable();
        for at in beaten.into_iter().rev() {
            kept.remove(at);
        }
        kept
    }

    fn look(&self, configurations: usize) -> Result<(), &'static str> {
        let bytes = configurations * 2 * std::mem::size_of::<Configuration<N>>()
            + self.trail.steps.len() * 8
            + self.counts.bytes()
            + self.model.bytes();
        self.clock.ended(self.states, bytes).map_or(Ok(()), Err)
    }

    fn compact(&mut self) {
        const WORTHWHILE_STEPS: usize = 1 << 16;
        if self.trail.steps.len() > 2 * self.trail.kept + WORTHWHILE_STEPS {
            self.trail.compact(self.configurations.iter_mut().map(|configuration| &mut configuration.trail));
        }
    }

    fn blocked(&self, budget: &'static str, proven_until: Time) -> Blocked {
        let window = self.open.iter().flatten().map(|number| self.calls[*number as usize].id).collect();
        Blocked { budget, proven_until, window }
    }

    fn invoked_until(&self, at: Time, last: u32) -> Vec<u32> {
        let last = self.calls[last as usize].id;
        let invoked = self.calls.iter().filter(|call| call.start <= at && call.id != last);
        let mut ids: Vec<u32> = invoked.map(|call| call.id).collect();
        ids.push(last);
        ids
    }
}

impl Trail {
    fn push(&mut self, parent: u32, number: u32) -> u32 {
        self.steps.push((parent, number));
        (self.steps.len() - 1) as u32
    }

    fn order(&self, mut at: u32) -> Vec<u32> {
        let mut order = Vec::new();
        while at != NO_TRAIL {
            let (parent, number) = self.steps[at as usize];
            order.push(number);
            at = parent;
        }
        order.reverse();
        order
    }

    /// Throws away the steps that lead to none of these leaves.
    fn compact<'t>(&mut self, leaves: impl Iterator<Item = &'t mut u32>) {
        let leaves: Vec<&mut u32> = leaves.collect();
        let mut alive = vec![false; self.steps.len()];
        for leaf in &leaves {
            let mut at = **leaf;
            while at != NO_TRAIL && !std::mem::replace(&mut alive[at as usize], true) {
                at = self.steps[at as usize].0;
            }
        }
        let mut moved = vec![NO_TRAIL; self.steps.len()];
        let mut kept = 0;
        for at in 0..self.steps.len() {
            if alive[at] {
                let (parent, number) = self.steps[at];
                let parent = if parent == NO_TRAIL { NO_TRAIL } else { moved[parent as usize] };
                self.steps[kept] = (parent, number);
                moved[at] = kept as u32;
                kept += 1;
            }
        }
        self.steps.truncate(kept);
        self.kept = kept;
        for leaf in leaves {
            if *leaf != NO_TRAIL {
                *leaf = moved[*leaf as usize];
            }
        }
    }
}

impl Counts {
    fn intern(&mut self, counts: Box<[u16]>) -> u32 {
        if let Some(number) = self.by_counts.get(&counts) {
            return *number;
        }
        let number = self.all.len() as u32;
        self.all.push(counts.clone());
        self.by_counts.insert(counts, number);
        number
    }

    fn plus_one(&mut self, from: u32, kind: usize) -> u32 {
        let mut counts = self.all[from as usize].clone();
        counts[kind] += 1;
        self.intern(counts)
    }

    fn at_most(&self, a: u32, b: u32) -> bool {
        a == b || self.all[a as usize].iter().zip(&*self.all[b as usize]).all(|(a, b)| a <= b)
    }

    fn bytes(&self) -> usize {
        self.all.len() * (self.kinds * 4 + 64)
    }
}
