//! Sequential consistency: one order that respects each client's own order.
//!
//! Not local and NP-complete, so this is a search within the budget. Reads are taken as soon as they are legal. A
//! write may replace another only once every answer that shows the other has been taken, which leaves little to try.

use super::Broken;
use super::relation::{Node, Relation};
use crate::check::Options;
use crate::cluster::NONE;
use crate::history::KeyId;
use crate::search::Clock;
use crate::value::{FastMap, FastSet};

/// Orders tried at most, whatever the budget says.
const STATES_MAX: u64 = 2_000_000;

struct State {
    /// How far each session has gone.
    next: Vec<usize>,
    /// The last write of each key.
    held: FastMap<KeyId, Node>,
    /// Answers not yet taken, per write and, for the initial value, per key.
    owed: Vec<u32>,
    owed_initial: FastMap<KeyId, u32>,
}

/// Judges the whole history; `None` if the budget ended.
pub(crate) fn judge(relation: &Relation<'_>, options: &Options) -> Option<Result<(), Broken>> {
    let clock = Clock::start(options.budget);
    let mut sessions: Vec<Vec<Node>> = vec![Vec::new(); relation.sessions];
    let mut state = State {
        next: vec![0; relation.sessions],
        held: FastMap::default(),
        owed: vec![0; relation.nodes.len()],
        owed_initial: FastMap::default(),
    };
    for node in 0..relation.nodes.len() {
        sessions[relation.session[node] as usize].push(node as Node);
        match relation.shows[node] {
            Some(NONE) => *state.owed_initial.entry(relation.key[node]).or_default() += 1,
            Some(shown) => state.owed[shown as usize] += 1,
            None => {}
        }
    }
    let mut search =
        Search { relation, sessions, state, seen: FastSet::default(), taken: Vec::new(), left: 0, states: 0 };
    search.left = relation.nodes.len();
    search.run(&clock)
}

/// How far each session has gone, and what each key holds.
type Place = (Vec<usize>, Vec<(KeyId, Node)>);

struct Search<'a> {
    relation: &'a Relation<'a>,
    sessions: Vec<Vec<Node>>,
    state: State,
    seen: FastSet<Place>,
    /// What was taken, and what its key held before.
    taken: Vec<(Node, Option<Node>)>,
    left: usize,
    states: u64,
}

impl Search<'_> {
    /// Depth first without recursion: each frame holds the sessions still to try and how much was taken before it.
    fn run(&mut self, clock: &Clock) -> Option<Result<(), Broken>> {
        let mut frames: Vec<(Vec<u32>, usize)> = Vec::new();
        self.take_reads();
        frames.push((self.choices(), self.taken.len()));
        let mut farthest = (0, Vec::new());
        loop {
            if self.left == 0 {
                return Some(Ok(()));
            }
            self.states += 1;
            let bytes = self.seen.len() * (self.relation.sessions * 8 + 64);
            if self.states > STATES_MAX || self.states.is_multiple_of(256) && clock.ended(self.states, bytes).is_some()
            {
                return None;
            }
            let (choices, mark) = frames.last_mut().expect("ends when it is empty");
            let mark = *mark;
            let choice = choices.pop();
            self.undo(mark);
            let Some(session) = choice else {
                if self.taken.len() >= farthest.0 {
                    let stuck = (0..self.sessions.len()).filter_map(|session| self.next_of(session as u32));
                    farthest = (self.taken.len(), stuck.take(8).collect());
                }
                frames.pop();
                if frames.is_empty() {
                    let words = "no one order fits every client's own; the farthest got stuck before these".to_string();
                    return Some(Err(self.relation.broken(words, &farthest.1)));
                }
                continue;
            };
            self.take(session);
            self.take_reads();
            let mut held: Vec<(KeyId, Node)> = self.state.held.iter().map(|(key, node)| (*key, *node)).collect();
            held.sort_unstable();
            if self.seen.insert((self.state.next.clone(), held)) {
                let choices = self.choices();
                frames.push((choices, self.taken.len()));
            }
        }
    }

    fn next_of(&self, session: u32) -> Option<Node> {
        self.sessions[session as usize].get(self.state.next[session as usize]).copied()
    }

    /// May this node come next?
    fn is_legal(&self, node: Node) -> bool {
        let at = node as usize;
        let key = self.relation.key[at];
        // An operation of unknown outcome has a session of its own, behind what its client had done.
        let before = self.relation.before[at];
        if before != NONE {
            let session = self.relation.session[before as usize] as usize;
            if self.state.next[session] < self.relation.index[before as usize] as usize {
                return false;
            }
        }
        let held = self.state.held.get(&key).copied().unwrap_or(NONE);
        if self.relation.shows[at].is_some_and(|shown| shown != held) {
            return false;
        }
        // A swap is itself one of the answers that show what it replaces.
        let own = u32::from(self.relation.shows[at].is_some());
        let owed = if held == NONE {
            self.state.owed_initial.get(&key).copied().unwrap_or(0)
        } else {
            self.state.owed[held as usize]
        };
        !self.relation.is_write[at] || owed == own
    }

    fn choices(&self) -> Vec<u32> {
        let legal = |session: &u32| self.next_of(*session).is_some_and(|node| self.is_legal(node));
        let mut choices: Vec<u32> = (0..self.sessions.len() as u32).filter(legal).collect();
        // Tried from the back: what was called first comes last.
        choices.sort_by_key(|session| std::cmp::Reverse(self.next_of(*session)));
        choices
    }

    fn take_reads(&mut self) {
        let mut again = true;
        while std::mem::take(&mut again) {
            for session in 0..self.sessions.len() as u32 {
                while let Some(node) = self.next_of(session)
                    && !self.relation.is_write[node as usize]
                    && self.is_legal(node)
                {
                    self.take(session);
                    again = true;
                }
            }
        }
    }

    fn owed_mut(&mut self, node: Node) -> Option<&mut u32> {
        match self.relation.shows[node as usize]? {
            NONE => self.state.owed_initial.get_mut(&self.relation.key[node as usize]),
            shown => Some(&mut self.state.owed[shown as usize]),
        }
    }

    fn take(&mut self, session: u32) {
        let node = self.next_of(session).expect("a legal choice");
        let key = self.relation.key[node as usize];
        let before = self.state.held.get(&key).copied();
        if let Some(owed) = self.owed_mut(node) {
            *owed -= 1;
        }
        if self.relation.is_write[node as usize] {
            self.state.held.insert(key, node);
        }
        self.state.next[session as usize] += 1;
        self.taken.push((node, before));
        self.left -= 1;
    }

    fn undo(&mut self, mark: usize) {
        while self.taken.len() > mark {
            let (node, before) = self.taken.pop().expect("longer than the mark");
            let key = self.relation.key[node as usize];
            match before {
                Some(before) => self.state.held.insert(key, before),
                None => self.state.held.remove(&key),
            };
            if let Some(owed) = self.owed_mut(node) {
                *owed += 1;
            }
            self.state.next[self.relation.session[node as usize] as usize] -= 1;
            self.left += 1;
        }
    }
}
