//! A run walked through in both directions.
//!
//! Time in a run only moves forward, but a world is a value: a walk keeps a ring of earlier worlds, and a step backwards
//! is the nearest one before, walked forward again. The ring has a bound; when it is full every second one is dropped and
//! the distance between two doubles, so going back costs at most that distance, however long the run is.

use crate::moment::{Condition, Moment};
use crate::session::Session;

/// Worlds that are kept at most.
const KEPT_MAX: usize = 48;
/// Events between two of them, at first.
const EVERY: u64 = 64;

/// Where a walk came to rest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Halt {
    /// It came as far as it was asked to.
    There,
    /// After this event, which fits the condition.
    Condition(Moment),
    /// The run is over: everything is done, or a promise is broken.
    Over,
}

/// A session that can go back.
#[derive(Clone, Debug)]
pub struct Journey {
    now: Session,
    /// Earlier worlds, in order; the first is where the walk began.
    kept: Vec<Session>,
    every: u64,
}

impl Journey {
    /// A walk that begins here and cannot go back beyond.
    pub fn new(start: Session) -> Self {
        Self { kept: vec![start.clone()], now: start, every: EVERY }
    }

    /// Where it is.
    pub fn session(&self) -> &Session {
        &self.now
    }

    /// The session where it is, to be gone on with.
    pub fn into_session(self) -> Session {
        self.now
    }

    /// The first event that can be gone back to.
    pub fn first(&self) -> u64 {
        self.kept[0].events()
    }

    /// The next event happens; what it was, or `None` if the run is over.
    pub fn step(&mut self) -> Option<Moment> {
        self.keep();
        let moment = self.now.next_moment();
        if self.now.step() { moment } else { None }
    }

    /// Goes to where so many events have happened, forward or back.
    pub fn go_to(&mut self, step: u64) -> Halt {
        if step < self.now.events() {
            let at = self.kept.iter().rposition(|kept| kept.events() <= step).unwrap_or(0);
            self.now = self.kept[at].clone();
            // What lies ahead is made again on the way.
            self.kept.truncate(at + 1);
        }
        while self.now.events() < step {
            self.keep();
            let stop = step.min(self.now.events() + self.every);
            self.now.walk_to(stop);
            if self.now.events() < stop {
                return Halt::Over;
            }
        }
        Halt::There
    }

    /// Goes forward to the last event at or before a time.
    pub fn go_to_time(&mut self, micros: u64) -> Halt {
        while self.now.next_at().is_some_and(|at| at <= micros) {
            self.keep();
            if !self.now.step() {
                return Halt::Over;
            }
        }
        if self.now.next_at().is_none() { Halt::Over } else { Halt::There }
    }

    /// Goes forward until an event fits one of the conditions, or so many events have happened.
    pub fn go_until(&mut self, conditions: &[Condition], step: u64) -> Halt {
        if conditions.is_empty() {
            return self.go_to(step.max(self.now.events()));
        }
        while self.now.events() < step {
            let before: Vec<u64> = conditions.iter().map(|condition| self.marks(condition)).collect();
            let Some(moment) = self.step() else { return Halt::Over };
            let fits = |(condition, before): (&Condition, &u64)| {
                condition.fits(&moment) && (condition.mark().is_none() || self.marks(condition) > *before)
            };
            if conditions.iter().zip(&before).any(fits) {
                return Halt::Condition(moment);
            }
        }
        Halt::There
    }

    /// How often the marks that a condition names have been reached.
    fn marks(&self, condition: &Condition) -> u64 {
        condition.mark().map_or(0, |mark| self.now.marks_like(mark))
    }

    fn keep(&mut self) {
        let last = self.kept.last().map_or(0, Session::events);
        if self.now.events() < last + self.every {
            return;
        }
        if self.kept.len() >= KEPT_MAX {
            let mut at = 0;
            self.kept.retain(|_| (at += 1, at % 2 == 1).1);
            self.every *= 2;
        }
        self.kept.push(self.now.clone());
    }
}
