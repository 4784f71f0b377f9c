//! The calls that are open at one moment, for any moment of a history.
//!
//! The events of a key are numbered. A window can stand before any event and move both ways; the slot of a call is the
//! same whenever it is open, so that a mask over slots means the same to every engine.

use super::Call;
use crate::history::Time;
use crate::value::FastMap;

/// What happens to a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Step {
    /// An optional call may take effect from now on.
    Offer,
    /// A required call begins.
    Invoke,
    /// A required call ends: it must have taken effect.
    Return,
}

/// One event: when, what, and of which call.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Event {
    pub(crate) at: Time,
    pub(crate) step: Step,
    pub(crate) call: u32,
}

/// Optional calls that are interchangeable.
#[derive(Clone, Debug)]
pub(crate) struct Class {
    pub(crate) op: u32,
    /// In order of invocation; an order that uses `n` of them uses the first `n`.
    pub(crate) calls: Vec<u32>,
    /// How many have been invoked before the window.
    pub(crate) offered: usize,
}

/// The events of one key and what is open before the next of them.
#[derive(Clone, Debug)]
pub(crate) struct Window {
    pub(crate) events: Vec<Event>,
    /// The number of the next event.
    pub(crate) next: usize,
    pub(crate) open: Vec<Option<u32>>,
    pub(crate) classes: Vec<Class>,
    slots: Vec<u32>,
    class_of: Vec<u32>,
}

impl Window {
    pub(crate) fn new(calls: &[Call]) -> Self {
        let mut events = Vec::with_capacity(calls.len() * 2);
        for (number, call) in calls.iter().enumerate() {
            let number = number as u32;
            let begin = if call.optional { Step::Offer } else { Step::Invoke };
            events.push(Event { at: call.start, step: begin, call: number });
            if !call.optional {
                events.push(Event { at: call.end, step: Step::Return, call: number });
            }
        }
        // Intervals are closed: of events at one time, beginnings come first.
        events.sort_unstable_by_key(|event| (event.at, event.step, event.call));
        let mut window = Window {
            next: 0,
            open: Vec::new(),
            classes: Vec::new(),
            slots: vec![0; calls.len()],
            class_of: vec![0; calls.len()],
            events: Vec::new(),
        };
        window.assign(calls, &events);
        window.events = events;
        window
    }

    fn assign(&mut self, calls: &[Call], events: &[Event]) {
        let mut free = Vec::new();
        let mut width = 0;
        let mut class_of_op = FastMap::default();
        for event in events {
            let number = event.call as usize;
            match event.step {
                Step::Invoke => {
                    self.slots[number] = free.pop().unwrap_or_else(|| {
                        width += 1;
                        width - 1
                    });
                }
                Step::Return => free.push(self.slots[number]),
                Step::Offer => {
                    let op = calls[number].op;
                    let class = *class_of_op.entry(op).or_insert_with(|| {
                        self.classes.push(Class { op, calls: Vec::new(), offered: 0 });
                        self.classes.len() - 1
                    });
                    self.classes[class].calls.push(event.call);
                    self.class_of[number] = class as u32;
                }
            }
        }
        self.open = vec![None; width as usize];
    }

    /// The most calls that are open at once.
    pub(crate) fn width(&self) -> usize {
        self.open.len()
    }

    pub(crate) fn slot(&self, call: u32) -> usize {
        self.slots[call as usize] as usize
    }

    /// The last time before that of the next event at which a call returned.
    pub(crate) fn returned_before(&self) -> Time {
        let now = self.events[self.next].at;
        let mut earlier = self.events[..self.next].iter().rev();
        earlier.find(|event| event.step == Step::Return && event.at < now).map_or(Time::MIN, |event| event.at)
    }

    /// Passes the next event.
    pub(crate) fn pass(&mut self) {
        let Event { step, call, .. } = self.events[self.next];
        match step {
            Step::Offer => self.classes[self.class_of[call as usize] as usize].offered += 1,
            Step::Invoke => self.open[self.slots[call as usize] as usize] = Some(call),
            Step::Return => self.open[self.slots[call as usize] as usize] = None,
        }
        self.next += 1;
    }

    /// Stands before this event.
    pub(crate) fn seek(&mut self, event: usize) {
        while self.next < event {
            self.pass();
        }
        while self.next > event {
            self.next -= 1;
            let Event { step, call, .. } = self.events[self.next];
            match step {
                Step::Offer => self.classes[self.class_of[call as usize] as usize].offered -= 1,
                Step::Invoke => self.open[self.slots[call as usize] as usize] = None,
                Step::Return => self.open[self.slots[call as usize] as usize] = Some(call),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_shows_the_same_from_both_sides() {
        let call = |start, end, optional| Call { id: 0, start, end, optional, pure: false, observes: false, op: 3 };
        let calls = [call(0, 9, false), call(1, 2, false), call(2, 5, false), call(3, 0, true), call(6, 7, false)];
        let mut window = Window::new(&calls);
        let mut seen = Vec::new();
        for event in 0..window.events.len() {
            window.seek(event);
            seen.push((window.open.clone(), window.classes[0].offered));
        }
        for event in (0..window.events.len()).rev() {
            window.seek(event);
            assert_eq!(seen[event], (window.open.clone(), window.classes[0].offered));
        }
        assert_eq!(window.width(), 3, "a call that ends at 2 overlaps one that begins at 2");
    }
}
