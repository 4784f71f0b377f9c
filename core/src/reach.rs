//! Rare branches report themselves, so that a sweep can say which of them were never taken.
//!
//! A test that never enters a branch says nothing about it. Each branch worth asking for carries `sometimes!(place,
//! "..")`; the words stand once in the code and once in [`MARKS`], and the macro looks them up while compiling, so a
//! mark that is missing in the table is no program. Protocols tell of a mark by a `Notice`; the log and the store, which
//! have no effects, keep a set of bits that their host takes ([`Reached`]).
//!
//! State: none here. A mark costs a bit, or an effect that a host may drop; it allocates nothing.

use serde::{Deserialize, Serialize};

/// Every mark of this crate, by module; each names its branch in words that a sweep prints.
pub const MARKS: &[&str] = &[
    "node: a lease could not be made durable",
    "node: a peer's clock is too far ahead",
    "node: spoken to before its boot is durable",
    "node: data before the founding is complete",
    "node: spoken to although it was refused",
    "node: asked by a client although it was refused",
    "node: asked by a client before it counts",
    "identity: nobody is left to be told",
    "identity: a founding goes on after a restart",
    "identity: a known peer has restarted",
    "identity: an introduction is repeated",
    "identity: introduction of an earlier boot",
    "identity: word about an earlier boot",
    "identity: a boot was seen before",
    "identity: a boot is tried once more",
    "identity: a known boot introduces itself again",
    "identity: the founding is being completed already",
    "identity: a member was founded a second time",
    "identity: a stranger spoke",
    "identity: could not be made durable",
    "identity: introductions have become as rare as they get",
    "identity: a peer came back with less",
    "identity: a peer that knew us has forgotten us",
    "identity: a peer that was accepted has restarted",
    "identity: a peer says twice that it knows us",
    "identity: could not remember a peer",
    "identity: refused before it was founded",
    "coordinator: an answer to a question that is settled",
    "coordinator: a refused retry is called unknown",
    "coordinator: an answer to an earlier phase",
    "coordinator: asks itself alone",
    "coordinator: too many refusals",
    "coordinator: silent homes are asked again",
    "coordinator: no copy of its own",
    "coordinator: a write ends as unknown",
    "coordinator: a retry joined its first attempt",
    "coordinator: a read is given up with its client",
    "coordinator: refused by some, but enough may still agree",
    "coordinator: a request timed out",
    "coordinator: a retry is turned away and called unknown",
    "coordinator: a home answers twice",
    "coordinator: a newer version after the answer",
    "coordinator: a read fails in its write-back",
    "coordinator: a write is sent again",
    "coordinator: a read fails while it asks",
    "coordinator: a write-back is complete",
    "coordinator: a version from the future",
    "coordinator: an answer to an earlier boot",
    "coordinator: a deletion is stored",
    "coordinator: a writer has seen more than a majority",
    "coordinator: the last slot is taken",
    "coordinator: too much is going on",
    "coordinator: a retry repeats the store phase",
    "coordinator: a write goes on with its lease",
    "coordinator: one of several callers went away",
    "coordinator: still waiting for a lease",
    "coordinator: one answer for several calls",
    "coordinator: an operation id is too old to be judged",
    "coordinator: a read writes back",
    "coordinator: a write waits for a lease",
    "coordinator: a write waits for the wall after a restart",
    "coordinator: the last homes were not waited for",
    "coordinator: done, and nobody waits any more",
    "coordinator: an acknowledgement by a home that holds more",
    "coordinator: a read finds a deletion",
    "coordinator: the oldest operation id is forgotten",
    "coordinator: a write goes on without its client",
    "coordinator: a register has one level",
    "coordinator: a later answer is newer",
    "coordinator: a write-back is sent again",
    "coordinator: a read writes a deletion back",
    "coordinator: a value is too large",
    "coordinator: every home had answered in time",
    "coordinator: a version right above one from a faster clock",
    "coordinator: a client went away after its answer",
    "coordinator: a home lags behind another",
    "coordinator: an operation id is free again",
    "coordinator: a write fails before it stored anything",
    "coordinator: a laggard is repaired in the background",
    "coordinator: more homes than copies",
    "replica: a write is stamped too far in the future",
    "replica: a write arrived again",
    "replica: a question about what was deleted",
    "replica: a write arrived after a newer one",
    "replica: the disk is full",
    "replica: a question about what is absent",
    "store: a full disk refuses several at once",
    "store: two writes of a key in one batch",
    "store: a deletion replaces a value",
    "store: a merge changes nothing",
    "store: a batch without records",
    "store: more waits behind the batch",
    "store: a replay behind what the tree has",
    "store: nothing to replay",
    "log: the disk fails and the log stops",
    "log: a segment is given up",
    "log: a full disk refuses a batch",
    "log: a batch begins a segment made ahead",
    "log: a segment could not be made",
    "log: more waits than one batch holds",
    "log: a batch waits for its segment",
    "log: no room for a segment made ahead",
    "log: a segment is kept to be recycled",
    "log: a full disk is asked again",
    "log: a mark proves the newest batch",
    "log: a batch makes its segment itself",
    "log: a segment is recycled",
    "recovery: a segment that was never used is kept",
    "recovery: the start of a later segment is cleared",
    "recovery: a mark covers the torn tail",
    "recovery: unused segments wait for the first release",
    "recovery: a batch that the tree has already",
    "recovery: the log goes on in the next segment",
    "recovery: no mark behind the newest batch",
    "recovery: old segments are skipped unread",
    "recovery: a torn batch is cut",
    "recovery: the newest batch was never all written",
    "recovery: the log ends before what the tree has",
    "recovery: a damaged record is named",
    "recovery: batches are missing before a sound one",
    "recovery: the newest batch stays unproven",
    "recovery: a mark is read",
    "recovery: a loss without a mark is left as it is",
];

const _: () = assert!(MARKS.len() <= 192, "a mark is one of 192 bits");

/// The place of a mark in [`MARKS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark(u8);

impl Mark {
    /// The mark of these words. Only for constants: a word that is not in the table does not compile.
    pub(crate) const fn named(words: &str) -> Self {
        let mut at = 0;
        while at < MARKS.len() {
            if is_equal(MARKS[at].as_bytes(), words.as_bytes()) {
                return Self(at as u8);
            }
            at += 1;
        }
        panic!("this mark is not in the table of reach.rs")
    }

    /// Its words.
    pub(crate) const fn words(self) -> &'static str {
        MARKS[self.0 as usize]
    }
}

const fn is_equal(a: &[u8], b: &[u8]) -> bool {
    if a.len() != b.len() {
        return false;
    }
    let mut at = 0;
    while at < a.len() {
        if a[at] != b[at] {
            return false;
        }
        at += 1;
    }
    true
}

/// A rare branch was taken: `sometimes!(cx, "..")`, or a [`Reached`] instead of a context.
macro_rules! sometimes {
    ($place:expr, $words:literal) => {
        $place.sometimes(const { $crate::reach::Mark::named($words) })
    };
}
pub(crate) use sometimes;

/// Marks passed since they were taken last. Between two inputs of a host that takes them it is empty.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reached([u64; 3]);

impl Reached {
    pub(crate) fn sometimes(&mut self, Mark(at): Mark) {
        self.0[usize::from(at / 64)] |= 1 << (at % 64);
    }

    pub(crate) fn join(&mut self, other: Self) {
        self.0.iter_mut().zip(other.0).for_each(|(mine, theirs)| *mine |= theirs);
    }

    /// Hands over what was passed, and forgets it.
    pub(crate) fn take(&mut self) -> Self {
        core::mem::take(self)
    }

    /// Whether no mark was passed.
    pub fn is_empty(self) -> bool {
        self.0 == [0; 3]
    }

    /// The words of each, in the order of [`MARKS`].
    pub fn words(self) -> impl Iterator<Item = &'static str> {
        let bits = |mut left: u64| {
            core::iter::from_fn(move || {
                let lowest = left.trailing_zeros() as usize;
                left &= left.checked_sub(1)?;
                Some(lowest)
            })
        };
        self.0.into_iter().enumerate().flat_map(move |(word, set)| bits(set).map(move |bit| MARKS[word * 64 + bit]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::BTreeSet;
    use alloc::vec::Vec;

    #[test]
    fn each_mark_has_words_of_its_own() {
        let distinct: BTreeSet<&str> = MARKS.iter().copied().collect();
        assert_eq!(distinct.len(), MARKS.len());
        assert!(MARKS.len() >= 100, "{}", MARKS.len());
    }

    #[test]
    fn what_was_passed_is_handed_over_once() {
        let mut reached = Reached::default();
        let (first, last) = (MARKS[0], MARKS[MARKS.len() - 1]);
        reached.sometimes(Mark::named(last));
        reached.sometimes(Mark::named(first));
        assert_eq!(reached.take().words().collect::<Vec<_>>(), [first, last]);
        assert!(reached.is_empty());
    }
}
