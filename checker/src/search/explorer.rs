//! What both engines share: configurations, their successors, and the trail of the witness.
//!
//! A configuration is (model state, which open calls have taken effect, how many optional calls of each kind were
//! used). A successor takes one more call. Three things keep the successors few:
//! - Calls that change nothing are taken as soon as they are legal, which is never worse.
//! - A write that was open when another write hid the state before it may have happened just before that one, unseen.
//!   Such *hidden* calls are only marked; when one of them returns it is placed there after the fact. The same holds for
//!   a call that would have changed nothing in the state that was just left.
//! - So a write is taken before its return only if somebody waits for what it leaves.

use std::sync::atomic::{AtomicBool, Ordering};

use super::window::{Step, Window};
use super::{Answer, Call, Clock};
use crate::check::Blocked;
use crate::history::Time;
use crate::model::Model;
use crate::value::FastMap;

pub(crate) const NO_TRAIL: u32 = u32::MAX;

/// One state a key may be in, between two events.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Configuration<const N: usize> {
    pub(crate) state: u32,
    /// Number of the interned vector of used optional calls.
    pub(crate) used: u32,
    /// Open slots whose call has taken effect.
    pub(crate) taken: [u64; N],
    /// Open slots whose call may have happened unseen, before the state was last hidden or left.
    pub(crate) hidden: [u64; N],
    /// Last step of the order that led here; not part of its identity.
    pub(crate) trail: u32,
}

/// What makes two configurations the same.
pub(crate) type Identity<const N: usize> = (u32, u32, [u64; N], [u64; N]);

impl<const N: usize> Configuration<N> {
    pub(crate) fn identity(&self) -> Identity<N> {
        (self.state, self.used, self.taken, self.hidden)
    }

    pub(crate) fn has(&self, slot: usize) -> bool {
        self.taken[slot / 64] >> (slot % 64) & 1 == 1
    }

    fn may_hide(&self, slot: usize) -> bool {
        self.hidden[slot / 64] >> (slot % 64) & 1 == 1
    }

    pub(crate) fn set(&mut self, slot: usize) {
        self.taken[slot / 64] |= 1 << (slot % 64);
        self.hidden[slot / 64] &= !(1 << (slot % 64));
    }

    /// Can whatever is hidden in the other be hidden in this one?
    pub(crate) fn hides_more(&self, other: &Self) -> bool {
        self.hidden.iter().zip(&other.hidden).all(|(own, other)| other & !own == 0)
    }

    pub(crate) fn clear(&mut self, slot: usize) {
        self.taken[slot / 64] &= !(1 << (slot % 64));
    }
}

/// The lost state, and the events after which it stays lost, and after which it hurts nobody.
#[derive(Clone, Copy, Debug)]
struct Lost {
    state: u32,
    last_hiding: usize,
    last_hurt: usize,
}

/// The state of a search that does not depend on its order.
pub(crate) struct Explorer<'a, M, const N: usize> {
    pub(crate) calls: &'a [Call],
    pub(crate) model: M,
    pub(crate) window: Window,
    pub(crate) trail: Trail,
    pub(crate) states: u64,
    counts: Counts,
    clock: &'a Clock,
    stop: &'a AtomicBool,
    lost: Option<Lost>,
}

impl<'a, M: Model, const N: usize> Explorer<'a, M, N> {
    pub(crate) fn new(calls: &'a [Call], window: Window, model: M, clock: &'a Clock, stop: &'a AtomicBool) -> Self {
        assert!(window.width() <= 64 * N, "the caller chooses the width");
        let counts = Counts::new(window.classes.len());
        Explorer { calls, model, window, trail: Trail::default(), states: 0, counts, clock, stop, lost: None }
    }

    pub(crate) fn initial(&mut self) -> Configuration<N> {
        Configuration { state: self.model.initial(), used: 0, taken: [0; N], hidden: [0; N], trail: NO_TRAIL }
    }

    /// A required call begins: where it changes nothing and is legal, it takes effect.
    pub(crate) fn begin(&mut self, configuration: &mut Configuration<N>, number: u32) {
        let call = self.calls[number as usize];
        if call.pure && self.model.step(configuration.state, call.op).is_some() {
            configuration.set(self.window.slot(number));
            configuration.trail = self.push(configuration.trail, number);
        }
    }

    /// Calls `found` with each configuration in which one more call has taken effect on the way to the return of
    /// `wanted`: the wanted call unseen, open calls in the order of their slots, then optional ones.
    pub(crate) fn for_each_next(
        &mut self,
        from: &Configuration<N>,
        wanted: u32,
        mut found: impl FnMut(Configuration<N>),
    ) {
        let wanted_slot = self.window.slot(wanted);
        if from.may_hide(wanted_slot) {
            let mut next = Configuration { trail: self.push(from.trail, wanted | UNSEEN), ..*from };
            next.set(wanted_slot);
            found(next);
        }
        for slot in 0..self.window.open.len() {
            let Some(number) = self.window.open[slot] else { continue };
            let call = self.calls[number as usize];
            // A legal pure call was taken when its state came up.
            if from.has(slot) || call.pure {
                continue;
            }
            let Some(state) = self.model.step(from.state, call.op) else { continue };
            if slot != wanted_slot && !call.observes && !self.is_worth_taking(from, slot, state, call.op) {
                continue;
            }
            let hidden = self.hidden_after(from, state, call.op);
            let mut next = Configuration { state, hidden, trail: self.push(from.trail, number), ..*from };
            next.set(slot);
            if !self.is_hopeless(&next) {
                found(self.take_pure(next));
            }
        }
        for kind in 0..self.window.classes.len() {
            let used = self.counts.all[from.used as usize][kind] as usize;
            let class = &self.window.classes[kind];
            if used == class.offered {
                continue;
            }
            let (number, op) = (class.calls[used], class.op);
            let Some(state) = self.model.step(from.state, op) else { continue };
            if state == from.state && !self.covers(from, usize::MAX, op) {
                continue;
            }
            if self.model.always_hides() && !self.is_awaited(from, state) {
                continue;
            }
            let used = self.counts.plus_one(from.used, kind);
            let hidden = self.hidden_after(from, state, op);
            let next = Configuration { state, used, hidden, trail: self.push(from.trail, number), ..*from };
            if !self.is_hopeless(&next) {
                found(self.take_pure(next));
            }
        }
    }

    /// Need a call that tells nothing be taken before it returns, to come to this state?
    ///
    /// Not if it changes nothing (then it can be hidden when the state is left), unless it covers others; and not to lose
    /// the state (whatever can be done there can be done without). Where every change hides what was before, only if
    /// somebody waits.
    fn is_worth_taking(&mut self, from: &Configuration<N>, slot: usize, state: u32, op: u32) -> bool {
        if state == from.state {
            return self.covers(from, slot, op);
        }
        !self.model.always_hides() && !self.model.is_lost(state) || self.is_awaited(from, state)
    }

    /// Could an open call be hidden by this one that cannot be yet? Where every change hides what was before, that call
    /// may as well be taken and be followed by this one.
    fn covers(&self, from: &Configuration<N>, own: usize, op: u32) -> bool {
        let may_be_covered = |slot: usize| {
            let call = self.window.open[slot].map(|number| self.calls[number as usize]);
            slot != own && !from.has(slot) && !from.may_hide(slot) && call.is_some_and(|call| !call.observes)
        };
        self.model.hides(op) && !self.model.always_hides() && (0..self.window.open.len()).any(may_be_covered)
    }

    /// The open calls that may have happened unseen once this call has taken effect.
    fn hidden_after(&mut self, from: &Configuration<N>, state: u32, op: u32) -> [u64; N] {
        let mut hidden = from.hidden;
        let hides = self.model.hides(op);
        if state == from.state && !hides {
            return hidden;
        }
        for slot in 0..self.window.open.len() {
            let Some(number) = self.window.open[slot] else { continue };
            let call = self.calls[number as usize];
            if call.observes || from.has(slot) {
                continue;
            }
            if hides || self.model.step(from.state, call.op) == Some(from.state) {
                hidden[slot / 64] |= 1 << (slot % 64);
            }
        }
        hidden
    }

    fn push(&mut self, parent: u32, call: u32) -> u32 {
        self.trail.push(Taken { parent, call, event: self.window.next as u32 })
    }

    /// Is there a call that waits for exactly this state? Where a write hides all that was before, an optional one
    /// is worth taking only if something observes it before the next.
    fn is_awaited(&mut self, from: &Configuration<N>, state: u32) -> bool {
        let open = (0..self.window.open.len()).filter(|slot| !from.has(*slot));
        let open = open.filter_map(|slot| self.window.open[slot]).map(|number| self.calls[number as usize].op);
        let mut ops = open.chain(self.window.classes.iter().map(|class| class.op));
        ops.any(|op| self.model.step(from.state, op).is_none() && self.model.step(state, op).is_some())
    }

    /// Can no answer to come be legal any more?
    fn is_hopeless(&mut self, configuration: &Configuration<N>) -> bool {
        if !self.model.is_lost(configuration.state) {
            return false;
        }
        let lost = match self.lost {
            Some(lost) => lost,
            None => {
                let lost = self.find_lost(configuration.state);
                self.lost = Some(lost);
                lost
            }
        };
        let optional = self.window.classes.iter().any(|class| self.model.hides(class.op));
        if optional || self.window.next < lost.last_hiding {
            return false;
        }
        let open = (0..self.window.open.len()).filter(|slot| !configuration.has(*slot));
        let open = open.filter_map(|slot| self.window.open[slot]).map(|number| self.calls[number as usize].op);
        let (mut hidden, mut hurt) = (false, self.window.next < lost.last_hurt);
        for op in open {
            hidden |= self.model.hides(op);
            hurt |= self.model.step(configuration.state, op).is_none();
        }
        hurt && !hidden
    }

    fn find_lost(&mut self, state: u32) -> Lost {
        let mut lost = Lost { state, last_hiding: 0, last_hurt: 0 };
        for (number, event) in self.window.events.iter().enumerate().filter(|(_, event)| event.step == Step::Invoke) {
            let op = self.calls[event.call as usize].op;
            if self.model.hides(op) {
                lost.last_hiding = number;
            }
            if self.model.step(state, op).is_none() {
                lost.last_hurt = number;
            }
        }
        lost
    }

    fn take_pure(&mut self, mut configuration: Configuration<N>) -> Configuration<N> {
        for slot in 0..self.window.open.len() {
            let Some(number) = self.window.open[slot] else { continue };
            let call = self.calls[number as usize];
            if call.pure && !configuration.has(slot) && self.model.step(configuration.state, call.op).is_some() {
                configuration.set(slot);
                configuration.trail = self.push(configuration.trail, number);
            }
        }
        configuration
    }

    /// Has one used at most as many optional calls of every kind as the other?
    pub(crate) fn used_at_most(&self, one: u32, other: u32) -> bool {
        self.counts.at_most(one, other)
    }

    /// Counts one more state and checks the budget, with this many configurations held.
    pub(crate) fn count(&mut self, configurations: usize) -> Result<(), &'static str> {
        const STATES_A_LOOK: u64 = 64;
        self.states += 1;
        let bytes = self.bytes(configurations);
        if !self.states.is_multiple_of(STATES_A_LOOK) {
            return self.clock.spent(self.states, bytes).map_or(Ok(()), Err);
        }
        if self.stop.load(Ordering::Relaxed) {
            return Err("another engine was faster");
        }
        self.clock.ended(self.states, bytes).map_or(Ok(()), Err)
    }

    /// What a search holds that has this many configurations: lists and tables have room to grow, while a table grows
    /// there are two of it, and to compact the trail takes half as much again.
    fn bytes(&self, configurations: usize) -> usize {
        configurations * 4 * std::mem::size_of::<Configuration<N>>()
            + self.trail.steps.len() * 3 * std::mem::size_of::<Taken>()
            + self.counts.bytes()
            + self.model.bytes()
    }

    /// Why there is no answer, with the window before the return that was not placed.
    pub(crate) fn blocked(&self, budget: &'static str) -> Blocked {
        let window = self.window.open.iter().flatten().map(|number| self.calls[*number as usize].id).collect();
        Blocked { budget, proven_until: self.window.returned_before(), window }
    }

    /// The operations that leave no order: all that began until this call returned. Where a lost state was given up
    /// before an answer showed it, also what began until the answers that would have.
    pub(crate) fn violation(&mut self, last: u32) -> Answer {
        let last = &self.calls[last as usize];
        let mut until = last.end;
        if let Some(Lost { state, .. }) = self.lost {
            let Explorer { calls, window, model, .. } = self;
            let mut hurt = |call: &&Call| !call.optional && model.step(state, call.op).is_none();
            let open = window.open.iter().flatten().map(|number| &calls[*number as usize]);
            let open = open.filter(&mut hurt).map(|call| call.end).max();
            let to_come = calls.iter().filter(|call| call.start > last.end).filter(hurt).map(|call| call.end).min();
            until = until.max(open.unwrap_or(until)).max(to_come.unwrap_or(until));
        }
        // A call that adds up is part of what later answers show, and one that takes something away shows it itself.
        while !self.model.always_hides() {
            let begun = self.calls.iter().filter(|call| call.start <= until && call.observes && !call.pure);
            match begun.filter(|call| !call.optional).map(|call| call.end).max() {
                Some(end) if end > until => until = end,
                _ => break,
            }
        }
        let invoked = self.calls.iter().filter(|call| call.start <= until && call.id != last.id);
        let invoked = invoked.filter(|call| !call.pure || call.end <= until);
        Answer::Violation(invoked.map(|call| call.id).chain([last.id]).collect())
    }

    /// The order behind a configuration, with the unseen calls put where nothing saw them.
    pub(crate) fn witness(&mut self, trail: u32) -> Vec<u32> {
        // The seen calls, each with the event at which it was taken and the state before it.
        let mut seen: Vec<(u32, Time, u32)> = Vec::new();
        let mut unseen: Vec<(usize, u32)> = Vec::new();
        let mut state = self.model.initial();
        for Taken { call, event, .. } in self.trail.order(trail) {
            if call & UNSEEN == 0 {
                let at = self.window.events[event as usize].at;
                seen.push((call, at, state));
                let op = self.calls[call as usize].op;
                state = self.model.step(state, op).expect("it was taken because it was legal");
                continue;
            }
            let call = call & !UNSEEN;
            let Call { start, op, .. } = self.calls[call as usize];
            let before = (0..seen.len()).rev().find(|at| {
                let (other, taken_at, state) = seen[*at];
                let hides = self.model.hides(self.calls[other as usize].op);
                taken_at >= start && (hides || self.model.step(state, op) == Some(state))
            });
            unseen.push((before.expect("it was marked as hidden there"), call));
        }
        unseen.sort_by_key(|(before, _)| *before);
        let mut unseen = unseen.into_iter().peekable();
        let mut order = Vec::with_capacity(seen.len());
        for (at, (call, ..)) in seen.into_iter().enumerate() {
            while let Some((_, hidden)) = unseen.next_if(|(before, _)| *before == at) {
                order.push(self.calls[hidden as usize].id);
            }
            order.push(self.calls[call as usize].id);
        }
        order
    }
}

/// Marks a step of the trail whose call happened unseen, some steps earlier.
const UNSEEN: u32 = 1 << 31;

/// One step of an order: which call was taken, and at which event.
#[derive(Clone, Copy, Debug)]
struct Taken {
    parent: u32,
    call: u32,
    event: u32,
}

/// The steps of all orders that are still alive, as a tree that grows at its leaves.
#[derive(Default)]
pub(crate) struct Trail {
    steps: Vec<Taken>,
    kept: usize,
}

impl Trail {
    fn push(&mut self, taken: Taken) -> u32 {
        self.steps.push(taken);
        (self.steps.len() - 1) as u32
    }

    fn order(&self, mut at: u32) -> Vec<Taken> {
        let mut order = Vec::new();
        while at != NO_TRAIL {
            let taken = self.steps[at as usize];
            order.push(taken);
            at = taken.parent;
        }
        order.reverse();
        order
    }

    /// Has it grown so much that throwing away dead steps is worth the walk?
    pub(crate) fn is_overgrown(&self) -> bool {
        const WORTHWHILE_STEPS: usize = 1 << 16;
        self.steps.len() > 2 * self.kept + WORTHWHILE_STEPS
    }

    /// Throws away the steps that lead to none of these leaves.
    pub(crate) fn compact<'t>(&mut self, leaves: impl Iterator<Item = &'t mut u32>) {
        let leaves: Vec<&mut u32> = leaves.collect();
        let mut alive = vec![false; self.steps.len()];
        for leaf in &leaves {
            let mut at = **leaf;
            while at != NO_TRAIL && !std::mem::replace(&mut alive[at as usize], true) {
                at = self.steps[at as usize].parent;
            }
        }
        let mut moved = vec![NO_TRAIL; self.steps.len()];
        let mut kept = 0;
        for at in 0..self.steps.len() {
            if alive[at] {
                let taken = self.steps[at];
                let parent = if taken.parent == NO_TRAIL { NO_TRAIL } else { moved[taken.parent as usize] };
                self.steps[kept] = Taken { parent, ..taken };
                moved[at] = kept as u32;
                kept += 1;
            }
        }
        self.steps.truncate(kept);
        self.kept = kept;
        for leaf in leaves.into_iter().filter(|leaf| **leaf != NO_TRAIL) {
            *leaf = moved[*leaf as usize];
        }
    }
}

/// Interned vectors of counts; number 0 is all zeros.
struct Counts {
    all: Vec<Box<[u32]>>,
    by_counts: FastMap<Box<[u32]>, u32>,
    kinds: usize,
}

impl Counts {
    fn new(kinds: usize) -> Self {
        let mut counts = Counts { all: Vec::new(), by_counts: FastMap::default(), kinds };
        counts.intern(vec![0; kinds].into());
        counts
    }

    fn intern(&mut self, counts: Box<[u32]>) -> u32 {
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
        self.all.len() * (self.kinds * 8 + 64)
    }
}

#[cfg(test)]
mod tests;
