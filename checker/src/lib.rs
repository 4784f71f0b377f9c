//! Judges recorded histories of replicated stores.
//!
//! Give it what clients saw, from a simulator, a real cluster or anybody's test, and it says whether some order
//! explains every answer. It shares no code with the store it judges.
//!
//! ```
//! use quorate_checker::{History, Kind, Operation, Options, Value, Verdict, check_history};
//!
//! let mut history = History::new();
//! let (c1, c2) = (history.client("c1"), history.client("c2"));
//! let k = history.key("k");
//! history.push(Operation::new(c1, k, Kind::Write, Value::text("old"), 0, 10));
//! history.push(Operation::new(c1, k, Kind::Write, Value::text("new"), 20, 30));
//! history.push(Operation::new(c2, k, Kind::Read, Value::text("old"), 40, 50));
//!
//! let report = check_history(&history, &Options::default());
//! assert_eq!(report.verdict, Verdict::Violation);
//! let violation = report.first_violation(&history).expect("one key is at fault");
//! assert_eq!(violation.operations.len(), 3);
//! println!("{}", violation.words);
//! ```

/// The example of the README, compiled with the others.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

#[cfg(test)]
extern crate self as quorate_checker;

mod certificate;
mod check;
mod cluster;
mod explain;
mod history;
mod inequality;
mod minimize;
mod model;
mod online;
mod read;
mod register;
mod render;
mod run;
mod search;
mod sweep;
mod timeline;
mod value;
pub mod weaker;
mod write;
mod writers;

pub use certificate::{Identity, Refusal};
pub use check::{
    Anomaly, Blocked, Budget, FailedCas, KeyReport, Method, Options, Report, Verdict, Violation, check_history,
    check_history_with, verify, verify_all,
};
pub use explain::describe;
pub use history::{
    ByKey, ClientId, Clock, History, KeyId, Kind, Level, NEVER, Names, Operation, OperationId, Outcome, TIME_MIN, Time,
};
pub use minimize::minimize;
pub use model::ModelKind;
pub use online::{CallId, Illegal, Online, Standing};
pub use read::{Format, ReadError, Recorded, StreamReport, check_stream, read, read_jsonl};
pub use run::{Asked, FileReport, FileVerdict, Progress, RunError, RunOptions, RunReport, Source, run, strongest};
pub use timeline::timeline;
pub use value::{Short, Value};
pub use write::{write_jepsen_edn, write_jsonl};
