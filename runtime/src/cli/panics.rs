//! Panics of simulated runs: caught by the simulator, counted as broken promises, and told here with the place they
//! came from, which the simulator cannot know.

use std::cell::Cell;
use std::panic;

thread_local! {
    static PLACE: Cell<Option<String>> = const { Cell::new(None) };
}

/// From now on a panic prints nothing by itself; its place is kept for [`place`].
pub(crate) fn quiet() {
    panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(|place| format!("{}:{}", place.file(), place.line()));
        PLACE.set(place);
    }));
}

/// Where the last panic of this thread came from.
pub(crate) fn place() -> Option<String> {
    PLACE.take()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_of_a_panic_is_kept_once() {
        let previous = panic::take_hook();
        quiet();
        let _ = panic::catch_unwind(|| panic!("on purpose"));
        panic::set_hook(previous);
        assert!(place().is_some_and(|place| place.contains("panics.rs:")));
        assert_eq!(place(), None);
    }
}
