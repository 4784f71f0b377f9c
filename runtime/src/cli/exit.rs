//! How a command ends: one table, printed by `quorate help exit-codes` and asserted by a test.

use std::process::ExitCode;

/// Why the process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    Ok,
    /// A property was violated, a history is invalid, a trace answers differently; `get`: the key is missing.
    Violation,
    Usage,
    /// A budget ended before a verdict.
    Unknown,
    NothingRun,
    /// The same input gave two different runs.
    Diverged,
    Incompatible,
    #[cfg_attr(not(feature = "store"), allow(dead_code))]
    Unreachable,
    Bug,
    Io,
    #[cfg_attr(not(feature = "store"), allow(dead_code))]
    Temporary,
    #[cfg_attr(not(feature = "store"), allow(dead_code))]
    Permission,
    Interrupted,
    Terminated,
}

impl Exit {
    #[rustfmt::skip]
    pub(crate) const TABLE: [(Exit, u8, &'static str); 14] = [
        (Exit::Ok, 0, "ok"),
        (Exit::Violation, 1, "a property is violated, a history is invalid, a trace answers differently; get: no such key"),
        (Exit::Usage, 2, "usage or configuration error, unreadable input"),
        (Exit::Unknown, 3, "unknown: the budget of time or memory ended before a verdict"),
        (Exit::NothingRun, 4, "nothing was selected, nothing was run"),
        (Exit::Diverged, 5, "nondeterminism: the same input gave two different runs"),
        (Exit::Incompatible, 6, "the trace was made by an incompatible schema"),
        (Exit::Unreachable, 69, "no node could be reached"),
        (Exit::Bug, 70, "our bug: please report it"),
        (Exit::Io, 74, "a file could not be read or written"),
        (Exit::Temporary, 75, "temporary: no quorum, or the outcome of a write is unknown; read before you retry"),
        (Exit::Permission, 77, "refused: password or permission"),
        (Exit::Interrupted, 130, "interrupted (SIGINT); what was found so far is printed"),
        (Exit::Terminated, 143, "terminated (SIGTERM); what was found so far is printed"),
    ];

    pub(crate) fn code(self) -> u8 {
        let row = Self::TABLE.iter().find(|(exit, ..)| *exit == self);
        row.expect("every way to end stands in the table").1
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(exit.code())
    }
}

/// An error with the way it ends the process.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) exit: Exit,
    pub(crate) error: anyhow::Error,
}

/// What a command comes to.
pub(crate) type Ended = Result<Exit, Failure>;

impl Failure {
    pub(crate) fn usage(message: impl std::fmt::Display) -> Self {
        Failure { exit: Exit::Usage, error: anyhow::anyhow!("{message}") }
    }
}

/// Says how the process ends if this goes wrong.
pub(crate) trait OrExit<T> {
    fn or_exit(self, exit: Exit) -> Result<T, Failure>;
}

impl<T, E: Into<anyhow::Error>> OrExit<T> for Result<T, E> {
    fn or_exit(self, exit: Exit) -> Result<T, Failure> {
        self.map_err(|error| Failure { exit, error: error.into() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_code_stands_once_in_the_table() {
        for (at, (exit, code, words)) in Exit::TABLE.iter().enumerate() {
            assert_eq!(exit.code(), *code);
            assert!(!words.is_empty());
            assert!(Exit::TABLE[..at].iter().all(|(_, earlier, _)| earlier < code), "in rising order");
        }
    }
}
