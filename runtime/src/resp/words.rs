//! What clients are told when it did not go as they asked.
//!
//! The first word is a prefix that libraries act on: `TRYAGAIN`, `LOADING` and `CLUSTERDOWN` make them try again,
//! `QUORUM` and `LEVEL` are ours. "indeterminate" stands in every answer to a request that may have happened, and in
//! no other.

use crate::metrics::{Level, RequestResult};
use quorate_core::config::{Keyspace, Mode};
use quorate_core::effect::{ClientResponse, Outcome, Refused, Unavailable};
use quorate_core::input::Consistency;

/// What a reply says about how a request was counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Asked {
    /// The level that was asked for.
    pub(super) consistency: Consistency,
    /// The mode of the key's keyspace; `None` when no keyspace takes the key.
    pub(super) mode: Option<Mode>,
    /// How many homes that means; 0 when it cannot be done.
    pub(super) needed: u8,
    /// A read, not a write.
    pub(super) is_read: bool,
}

impl Asked {
    /// What a level means in a keyspace, in words. The node judges; this only explains.
    pub(super) fn new(keyspace: Option<&Keyspace>, consistency: Consistency, is_read: bool) -> Self {
        let needed = keyspace.map_or(0, |keyspace| match (keyspace.mode, consistency) {
            (Mode::Register, _) | (Mode::Lww, Consistency::Quorum | Consistency::Linearizable) => keyspace.majority(),
            (Mode::Lww, Consistency::Keyspace) if is_read => keyspace.r,
            (Mode::Lww, Consistency::Keyspace) => keyspace.w,
            (Mode::Lww, Consistency::One) => 1,
            (Mode::Lww, Consistency::Two) => 2,
            (Mode::Lww, Consistency::All) => keyspace.n,
            (Mode::Lww, Consistency::Homes(homes)) => homes,
        });
        Self { consistency, mode: keyspace.map(|keyspace| keyspace.mode), needed, is_read }
    }

    /// The level's word in a `META` reply.
    pub(super) fn level_text(&self) -> String {
        let counted = || format!("{}={}", if self.is_read { "r" } else { "w" }, self.needed);
        match (self.mode, self.consistency) {
            (Some(Mode::Register), _) | (_, Consistency::Linearizable) => "linearizable".to_owned(),
            (_, Consistency::Keyspace | Consistency::Homes(_)) => counted(),
            (_, Consistency::One) => "one".to_owned(),
            (_, Consistency::Two) => "two".to_owned(),
            (_, Consistency::Quorum) => "quorum".to_owned(),
            (_, Consistency::All) => "all".to_owned(),
        }
    }

    /// The level's label in a metric.
    pub(super) fn level(&self) -> Level {
        match self.consistency {
            Consistency::Keyspace => Level::Keyspace,
            Consistency::One => Level::One,
            Consistency::Two => Level::Two,
            Consistency::Quorum => Level::Quorum,
            Consistency::All => Level::All,
            Consistency::Homes(_) => Level::Homes,
            Consistency::Linearizable => Level::Linearizable,
        }
    }
}

/// How a request ended, for the metrics.
pub(super) fn result(outcome: &Outcome) -> RequestResult {
    match outcome {
        Outcome::Value(_) | Outcome::Stored => RequestResult::Ok,
        Outcome::Missing => RequestResult::Miss,
        Outcome::Unavailable(Unavailable::TimedOut { .. }) => RequestResult::Timeout,
        Outcome::Unavailable(_) | Outcome::Refused(_) => RequestResult::Error,
        Outcome::Overloaded { .. } => RequestResult::Shed,
        Outcome::Unknown => RequestResult::Indeterminate,
    }
}

/// Bytes of the value in an outcome.
pub(super) fn value_bytes(outcome: &Outcome) -> usize {
    match outcome {
        Outcome::Value(value) => value.len(),
        Outcome::Missing | Outcome::Stored | Outcome::Unknown => 0,
        Outcome::Unavailable(_) | Outcome::Overloaded { .. } | Outcome::Refused(_) => 0,
    }
}

/// Whether an outcome is answered with an error.
pub(super) fn is_failure(outcome: &Outcome) -> bool {
    !matches!(outcome, Outcome::Value(_) | Outcome::Missing | Outcome::Stored)
}

/// Whether too few homes answered.
pub(super) fn is_shortfall(outcome: &Outcome) -> bool {
    match outcome {
        Outcome::Unavailable(Unavailable::TimedOut { .. } | Unavailable::TooManyRefusals { .. }) => true,
        Outcome::Unknown => true,
        Outcome::Unavailable(Unavailable::Starting | Unavailable::Blank) => false,
        Outcome::Value(_) | Outcome::Missing | Outcome::Stored => false,
        Outcome::Overloaded { .. } | Outcome::Refused(_) => false,
    }
}

/// The error line of an answer, or `None` when it went well.
pub(super) fn error(response: &ClientResponse, asked: &Asked) -> Option<String> {
    let nothing = if asked.is_read { "" } else { "; nothing was written" };
    let text = match &response.outcome {
        Outcome::Value(_) | Outcome::Missing | Outcome::Stored => return None,
        Outcome::Unavailable(Unavailable::Starting) => {
            "LOADING this node has just started and waits for its peers; nothing was done, try again".to_owned()
        }
        Outcome::Unavailable(Unavailable::Blank) => {
            "CLUSTERDOWN this node has lost its place in the cluster and stays out; ask another node".to_owned()
        }
        Outcome::Unavailable(Unavailable::TimedOut { have, need }) => {
            format!("QUORUM have {have} need {need} (timed out{nothing})")
        }
        Outcome::Unavailable(Unavailable::TooManyRefusals { have, need }) => {
            format!("QUORUM have {have} need {need} (the others refused{nothing})")
        }
        Outcome::Overloaded { retry_after } => {
            let millis = retry_after.as_micros().div_ceil(1_000);
            format!("TRYAGAIN overloaded, nothing was done; retry after {millis} ms")
        }
        Outcome::Refused(refused) => refusal(refused),
        Outcome::Unknown => {
            let (have, need) = (response.acks, asked.needed);
            let version =
                if response.version.is_absent() { String::new() } else { format!(" version={}", response.version) };
            format!("QUORUM have {have} need {need} (indeterminate){version}")
        }
    };
    Some(text)
}

fn refusal(refused: &Refused) -> String {
    match refused {
        Refused::NoKeyspace => {
            "ERR no keyspace takes this key; one with prefix \"\" in the configuration would take all".to_owned()
        }
        Refused::ValueTooLarge { bytes, bytes_max } => {
            format!("ERR the value has {bytes} bytes, at most {bytes_max} are taken (storage.max_value)")
        }
        Refused::HomesOutOfRange { asked, n } => {
            format!("LEVEL {asked} copies were asked for, this key's keyspace keeps {n}")
        }
        Refused::NotLinearizable => {
            "LEVEL this key's keyspace is not linearizable; use one whose mode is register, or another LEVEL".to_owned()
        }
        Refused::LevelFixed => {
            "LEVEL a register keyspace has one level; leave LEVEL, R and W out, or say LEVEL linearizable".to_owned()
        }
        Refused::VersionAhead { by_micros } => {
            let millis = by_micros.div_ceil(1_000);
            format!("ERR CTX or VERSION lies {millis} ms ahead of this node's clock; nothing was done")
        }
        Refused::IdReused => "ERR this ID named another operation before; nothing was done, count on".to_owned(),
        Refused::IdTooOld => {
            "ERR this ID is older than what this node remembers: it may have been done (indeterminate); read first"
                .to_owned()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use quorate_core::time::Duration;
    use quorate_core::version::Version;

    fn line(outcome: Outcome, version: &str, is_read: bool) -> String {
        let keyspace = Keyspace { prefix: Bytes::new(), mode: Mode::Lww, n: 3, r: 2, w: 2 };
        let response = ClientResponse { outcome, version: version.parse().unwrap(), acks: 1 };
        error(&response, &Asked::new(Some(&keyspace), Consistency::Keyspace, is_read)).unwrap_or_default()
    }

    #[test]
    fn each_bad_end_has_its_words() {
        const NONE: &str = "0.n0.i0.0";
        for (outcome, expected) in [
            (Outcome::Stored, ""),
            (Outcome::Missing, ""),
            (Outcome::Unknown, "QUORUM have 1 need 2 (indeterminate)"),
            (
                Outcome::Unavailable(Unavailable::TimedOut { have: 1, need: 2 }),
                "QUORUM have 1 need 2 (timed out; nothing was written)",
            ),
            (
                Outcome::Overloaded { retry_after: Duration::from_millis(50) },
                "TRYAGAIN overloaded, nothing was done; retry after 50 ms",
            ),
            (
                Outcome::Refused(Refused::HomesOutOfRange { asked: 4, n: 3 }),
                "LEVEL 4 copies were asked for, this key's keyspace keeps 3",
            ),
        ] {
            assert_eq!(line(outcome, NONE, false), expected);
        }
        assert_eq!(
            line(Outcome::Unknown, "17.n2.i9.4", false),
            "QUORUM have 1 need 2 (indeterminate) version=17.n2.i9.4"
        );
        let too_few = Outcome::Unavailable(Unavailable::TooManyRefusals { have: 1, need: 2 });
        assert_eq!(line(too_few, NONE, true), "QUORUM have 1 need 2 (the others refused)");
        assert!(Version::ABSENT.is_absent());
    }

    #[test]
    fn a_level_is_named_as_it_was_kept() {
        let lww = Keyspace { prefix: Bytes::new(), mode: Mode::Lww, n: 3, r: 1, w: 2 };
        let register = Keyspace { mode: Mode::Register, ..lww.clone() };
        for (keyspace, consistency, is_read, expected) in [
            (&lww, Consistency::Keyspace, true, "r=1"),
            (&lww, Consistency::Keyspace, false, "w=2"),
            (&lww, Consistency::Homes(3), true, "r=3"),
            (&lww, Consistency::Quorum, true, "quorum"),
            (&register, Consistency::Keyspace, true, "linearizable"),
        ] {
            assert_eq!(Asked::new(Some(keyspace), consistency, is_read).level_text(), expected);
        }
    }
}
