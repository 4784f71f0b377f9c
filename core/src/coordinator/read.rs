//! The query phase, and what a read does with what it found.
//!
//! A read is answered at once only if as many homes as it needs reported exactly the newest version: then every later
//! read meets one of them. Otherwise the newest version is first written back until that many hold it. Without the
//! write-back two reads in a row could find a new value and then an old one.

use super::{Coordinator, Goal, LINGERING_MAX, Phase, Query};
use crate::context::Context;
use crate::effect::{ClientResponse, Outcome, PhaseKind};
use crate::id::{NodeId, RequestId};
use crate::message::{Body, Found, ReplicaRequest, StampRule, Wanted};
use crate::quorum::{Tally, Verdict};
use crate::reach::sometimes;
use crate::timers::Timer;
use crate::version::{Content, Record, Version};
use alloc::vec::Vec;

impl Coordinator {
    /// Asks all homes what they hold.
    pub(super) fn query(&mut self, cx: &mut Context<'_>, request: RequestId, wanted: Wanted) {
        let pending = self.pending(request).expect("only a request in flight asks");
        let tally = Tally::new(pending.needed, &pending.homes);
        let reported = Vec::with_capacity(pending.homes.len());
        let query = Query { tally, wanted, newest: Version::ABSENT, content: None, reported };
        self.begin(cx, request, Phase::Query(query));
    }

    pub(super) fn on_found(&mut self, cx: &mut Context<'_>, request: RequestId, from: NodeId, found: Found) {
        let pending = self.pending(request).expect("checked by the caller");
        match &mut pending.phase {
            Phase::Query(query) => {
                match query.reported.iter().find(|(home, _)| *home == from) {
                    Some(_) => sometimes!(cx, "coordinator: a home answers twice"),
                    None if found.version < query.newest => sometimes!(cx, "coordinator: a home lags behind another"),
                    None if found.version > query.newest && !query.reported.is_empty() => {
                        sometimes!(cx, "coordinator: a later answer is newer");
                    }
                    None => {}
                }
                if query.add(from, found) == Verdict::Reached {
                    self.query_done(cx, request);
                }
            }
            Phase::Linger { newest, tally } => {
                if found.version > newest.version {
                    sometimes!(cx, "coordinator: a newer version after the answer");
                }
                let lagging = (found.version < newest.version).then(|| newest.clone());
                tally.ack(from);
                let all_answered = tally.silent().next().is_none();
                if let Some(record) = lagging {
                    self.repair_in_background(cx, request, from, record);
                }
                if all_answered {
                    self.end(cx, request);
                }
            }
            Phase::AwaitStamp { .. } | Phase::Store { .. } => {
                sometimes!(cx, "coordinator: an answer to a question that is settled");
            }
        }
    }

    fn query_done(&mut self, cx: &mut Context<'_>, request: RequestId) {
        let pending = self.pending(request).expect("only a request in flight is done asking");
        let Phase::Query(query) = &pending.phase else { unreachable!("the caller saw a query") };
        let newest = query.newest;
        Self::notice_done(cx, pending, &query.tally, PhaseKind::Query, newest);
        match &pending.goal {
            Goal::Write(write) => {
                if newest < write.floor {
                    sometimes!(cx, "coordinator: a writer has seen more than a majority");
                }
                let floor = newest.max(write.floor);
                self.choose(cx, request, floor);
            }
            Goal::Get { blocking_repair } => {
                let agreed = query.holders().count() >= usize::from(query.tally.needed());
                if agreed || !blocking_repair {
                    self.answer_read(cx, request);
                } else if query.content == Some(Content::Tombstone) {
                    sometimes!(cx, "coordinator: a read writes a deletion back");
                    self.write_back(cx, request);
                } else {
                    sometimes!(cx, "coordinator: a read writes back");
                    self.write_back(cx, request);
                }
            }
        }
    }

    /// Stores the newest version on the homes that lack it, until enough hold it. Those that reported it count.
    fn write_back(&mut self, cx: &mut Context<'_>, request: RequestId) {
        let pending = self.pending(request).expect("only a request in flight writes back");
        let Phase::Query(query) = &pending.phase else { unreachable!("a write-back follows a query") };
        let record = query.record().expect("a mismatch means that some home holds something");
        let mut tally = Tally::new(pending.needed, &pending.homes);
        for home in query.holders() {
            tally.ack(home);
        }
        self.begin(cx, request, Phase::Store { tally, record, write_back: true });
    }

    fn answer_read(&mut self, cx: &mut Context<'_>, request: RequestId) {
        let pending = self.pending(request).expect("only a request in flight is answered");
        let Phase::Query(query) = &pending.phase else { unreachable!("this read needed no write-back") };
        let response = read_response(query.newest, query.content.clone(), query.tally.acks());
        let record = query.record();
        let laggards: Vec<_> =
            query.reported.iter().filter(|(_, version)| *version < query.newest).map(|&(home, _)| home).collect();
        let tally = query.tally.clone();
        if response.outcome == Outcome::Missing && record.is_some() {
            sometimes!(cx, "coordinator: a read finds a deletion");
        }
        self.answer(cx, request, response);
        match record {
            Some(newest) => self.linger(cx, request, newest, tally, &laggards),
            None => self.end(cx, request),
        }
    }

    /// Repairs whoever is known to lag, and stays a little to see who else does.
    fn linger(&mut self, cx: &mut Context<'_>, request: RequestId, newest: Record, tally: Tally, laggards: &[NodeId]) {
        for &home in laggards {
            self.repair_in_background(cx, request, home, newest.clone());
        }
        let all_answered = tally.silent().next().is_none();
        if all_answered {
            sometimes!(cx, "coordinator: every home had answered in time");
        }
        if all_answered || self.lingering >= LINGERING_MAX {
            return self.end(cx, request);
        }
        self.lingering += 1;
        let pending = self.pending(request).expect("only a request in flight lingers");
        pending.phase = Phase::Linger { newest, tally };
        let until = cx.instant() + cx.shared.config.resend_interval;
        cx.shared.timers.set(Timer::Request(request), until);
    }

    /// One message, no answer awaited: the next read tries again if it is lost.
    fn repair_in_background(&mut self, cx: &mut Context<'_>, request: RequestId, home: NodeId, record: Record) {
        sometimes!(cx, "coordinator: a laggard is repaired in the background");
        let pending = self.pending(request).expect("only a request in flight repairs");
        // A phase that will never be: the answer counts for nothing.
        let phase = u8::MAX;
        let (key, stamp) = (pending.key.clone(), StampRule::Existing);
        cx.send(home, Body::Replica(ReplicaRequest::Store { request, phase, key, record, stamp }));
    }
}

/// What a read tells its client.
pub(super) fn read_response(version: Version, content: Option<Content>, acks: u8) -> ClientResponse {
    let outcome = match content {
        Some(Content::Value(value)) => Outcome::Value(value),
        Some(Content::Tombstone) | None => Outcome::Missing,
    };
    ClientResponse { outcome, version, acks }
}

impl Query {
    fn add(&mut self, from: NodeId, found: Found) -> Verdict {
        if self.reported.iter().any(|(home, _)| *home == from) {
            return self.tally.verdict();
        }
        self.reported.push((from, found.version));
        if found.version > self.newest {
            self.newest = found.version;
            self.content = found.content;
        }
        self.tally.ack(from)
    }

    /// The homes that reported exactly the newest version.
    fn holders(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.reported.iter().filter(|(_, version)| *version == self.newest).map(|&(home, _)| home)
    }

    /// The newest record, unless every home said "absent".
    fn record(&self) -> Option<Record> {
        self.content.clone().map(|content| Record { version: self.newest, content })
    }
}
