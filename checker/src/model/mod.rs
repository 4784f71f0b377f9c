//! Models: what an object answers, for the search.
//!
//! A model numbers its states and the distinct calls of one history, and says what a call does to a state. Numbers
//! instead of values keep the engines small and make equal states equal words.

pub(crate) mod register;

/// An object with numbered states.
pub(crate) trait Model: Clone + Send {
    /// The state before the first call.
    fn initial(&mut self) -> u32;

    /// The state after a call, or `None` if the object would have answered otherwise.
    fn step(&mut self, state: u32, op: u32) -> Option<u32>;

    /// Does every call that changes the state hide all that was before?
    fn overwrites(&self) -> bool;

    /// Bytes held by tables that grow during the search.
    fn bytes(&self) -> usize;
}
