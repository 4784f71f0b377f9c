//! What is judged before anything is sent: limits, levels, versions that clients present. Once, and only here.

use super::quorums;
use super::{Goal, Write};
use crate::config::{Config, Mode};
use crate::context::Context;
use crate::effect::{ClientResponse, Notice, Outcome, Refused};
use crate::id::{Key, OperationId};
use crate::input::{ClientRequest, Command};
use crate::message::StampRule;
use crate::reach::sometimes;
use crate::time::Duration;
use crate::version::{Content, Version, judge_stamp};

/// A request that may be carried out.
pub(super) struct Admitted {
    pub(super) id: Option<OperationId>,
    pub(super) key: Key,
    pub(super) n: u8,
    pub(super) needed: u8,
    pub(super) timeout: Duration,
    pub(super) goal: Goal,
    pub(super) presented: Option<Version>,
    /// A register write looks for the highest tag before it chooses one.
    pub(super) query_first: bool,
}

/// How long an overloaded coordinator asks its clients to stay away.
const OVERLOAD_PAUSE: Duration = Duration::from_millis(50);

/// Whether a request can be carried out as asked.
///
/// # Errors
/// The answer for the client; nothing was sent or stored. An overload or refusal of a retry is answered `Unknown`: it
/// says nothing about the attempt before.
pub(super) fn admit(
    cx: &mut Context<'_>,
    asked: ClientRequest,
    attempted: Option<Version>,
    in_flight: usize,
) -> Result<Admitted, ClientResponse> {
    judge(cx, asked, in_flight).map_err(|outcome| {
        match &outcome {
            _ if attempted.is_some() => sometimes!(cx, "coordinator: a refused retry is called unknown"),
            Outcome::Overloaded { .. } => sometimes!(cx, "coordinator: too much is going on"),
            Outcome::Refused(Refused::ValueTooLarge { .. }) => sometimes!(cx, "coordinator: a value is too large"),
            Outcome::Refused(Refused::LevelFixed) => sometimes!(cx, "coordinator: a register has one level"),
            Outcome::Refused(Refused::HomesOutOfRange { .. }) => sometimes!(cx, "coordinator: more homes than copies"),
            Outcome::Refused(Refused::VersionAhead { .. }) => sometimes!(cx, "coordinator: a version from the future"),
            Outcome::Refused(_) | Outcome::Unavailable(_) | Outcome::Unknown => {}
            Outcome::Value(_) | Outcome::Missing | Outcome::Stored => unreachable!("no rejections"),
        }
        rejection(outcome, attempted)
    })
}

/// The answer of a request that is not carried out.
pub(crate) fn rejection(outcome: Outcome, attempted: Option<Version>) -> ClientResponse {
    match attempted {
        Some(version) => ClientResponse { outcome: Outcome::Unknown, version, acks: 0 },
        None => ClientResponse { outcome, version: Version::ABSENT, acks: 0 },
    }
}

fn judge(cx: &mut Context<'_>, asked: ClientRequest, in_flight: usize) -> Result<Admitted, Outcome> {
    let config = &cx.shared.config;
    if in_flight >= config.in_flight_max {
        return Err(Outcome::Overloaded { retry_after: OVERLOAD_PAUSE });
    }
    let refuse = |refused| Err(Outcome::Refused(refused));
    let ClientRequest { id, key, timeout, consistency, command } = asked;
    let Some(keyspace) = cx.shared.founding.keyspace(key.bytes()) else { return refuse(Refused::NoKeyspace) };
    let is_read = matches!(command, Command::Get);
    let (mode, n) = (keyspace.mode, keyspace.n);
    let needed = quorums::needed(keyspace, consistency, is_read).map_err(Outcome::Refused)?;
    let timeout = timeout.unwrap_or(config.request_timeout).min(Config::REQUEST_TIMEOUT_LIMIT);
    let (content, floor, presented) = match command {
        Command::Get => {
            // A majority of reads then also makes the reads monotonic: what one has shown, the next one finds.
            let blocking_repair = mode == Mode::Register || needed > n / 2;
            let goal = Goal::Get { blocking_repair };
            return Ok(Admitted { id: None, key, n, needed, timeout, goal, presented: None, query_first: false });
        }
        Command::Put { value, context, presented } => (Content::Value(value), context, presented),
        Command::Delete { context, presented } => (Content::Tombstone, context, presented),
    };
    if content.len() > config.value_bytes_max {
        return refuse(Refused::ValueTooLarge { bytes: content.len(), bytes_max: config.value_bytes_max });
    }
    let drift_max = config.clock_drift_max;
    for version in [floor, presented].into_iter().flatten() {
        // A register tag may run ahead of every wall; what a client claims to have read from one is let pass as far as
        // a clock could have carried it.
        let slack = if mode == Mode::Register { REGISTER_TAG_SLACK } else { Duration::ZERO };
        if let Err(ahead) = judge_stamp(cx.now.wall, version.hlc, drift_max + slack) {
            cx.notice(Notice::ClockRefused { peer: cx.shared.me, by_micros: ahead.by_micros });
            return refuse(Refused::VersionAhead { by_micros: ahead.by_micros });
        }
    }
    let stamp = match mode {
        Mode::Lww => StampRule::Fresh,
        Mode::Register => StampRule::Existing,
    };
    let goal = Goal::Write(Write { content, floor: floor.unwrap_or(Version::ABSENT), stamp });
    let query_first = mode == Mode::Register;
    Ok(Admitted { id, key, n, needed, timeout, goal, presented, query_first })
}

/// Clocks of one cluster are assumed to lie within this of one another, in years rather than seconds: a register stays
/// correct under any clocks, and this only bounds what a forged version can do.
const REGISTER_TAG_SLACK: Duration = Duration::from_secs(10 * 365 * 24 * 3600);
