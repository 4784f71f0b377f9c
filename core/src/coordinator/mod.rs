//! The life of a client's request: ask the homes, count, answer once, repair what lagged.
//!
//! A good clerk: takes the order, asks enough people to be sure, gives one answer, and afterwards tidies up what the
//! slow ones missed. Every request is a sequence of at most two *phases*, each a question to all homes of the key and a
//! tally of their answers:
//!
//! | request            | first phase                    | second phase                                     |
//! |--------------------|--------------------------------|--------------------------------------------------|
//! | get                | query: who holds what          | write back the newest, unless enough hold it     |
//! | put, delete (lww)  | store, under a stamp of ours   |                                                  |
//! | put, delete (reg.) | query: the highest tag         | store, under a tag above it                      |
//! | retry with version | store, under that version      |                                                  |
//!
//! One code path serves `lww` and `register`; they differ in how many answers are enough ([`quorums`]) and in where a
//! new version comes from ([`write`]). An answer counts only for the phase it was asked in. Homes that stay silent are
//! asked again until the deadline. A write that may have reached a home is never called failed: its end is `Stored` or
//! `Unknown`, and `Unknown` carries the version, which a retry may present.
//!
//! State: requests in flight, requests that wait for a lease of stamps, and the versions chosen for operation ids.
//! Nothing survives a crash. After the answer a request lingers for one resend interval to repair late repliers.
//!
//! Sources: Attiya, Bar-Noy, Dolev, *Sharing Memory Robustly* (JACM 1995); Lynch, Shvartsman, *Robust emulation of
//! shared memory* (FTCS 1997); DeCandia et al., *Dynamo* (SOSP 2007), section 4.5.

mod admission;
mod operations;
mod quorums;
mod read;
mod slots;
mod write;

use crate::context::{Context, Shared};
use crate::effect::{ClientResponse, Notice, Outcome, PhaseKind, Unavailable};
use crate::id::{CallId, Key, NodeId, OperationId, RequestId};
use crate::input::{ClientRequest, Command};
use crate::message::{Body, ReplicaReply, ReplicaRequest, StampRule, Wanted};
use crate::placement::Placement;
use crate::quorum::{Tally, Verdict};
use crate::reach::sometimes;
use crate::time::Instant;
use crate::timers::Timer;
use crate::version::{Content, Record, Version};
use alloc::vec::Vec;
use operations::{Known, Operations};
use serde::{Deserialize, Serialize};
use slots::Slots;

/// The most answered requests that linger, each with the value it read. Above that, whoever answers a read late is
/// left to the next read.
const LINGERING_MAX: usize = 1_024;

#[derive(Clone, Default, Debug, Serialize, Deserialize)]
pub(crate) struct Coordinator {
    started: u64,
    /// Open requests, and answered ones that linger.
    in_flight: Slots<Pending>,
    /// How many of them linger.
    lingering: usize,
    /// Requests that need a version while none may be given out, in order of arrival.
    awaiting_stamp: Vec<RequestId>,
    operations: Operations,
}

/// One request in flight.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Pending {
    request: RequestId,
    /// Whoever waits for the answer: none once it is given; more than one when retries joined.
    calls: Vec<CallId>,
    id: Option<OperationId>,
    key: Key,
    homes: Vec<NodeId>,
    /// Answers that a phase needs.
    needed: u8,
    deadline: Instant,
    goal: Goal,
    phase: Phase,
    /// Counts the phases; answers name theirs.
    phase_number: u8,
}

/// What the client wants.
#[derive(Clone, Debug, Serialize, Deserialize)]
enum Goal {
    Get { blocking_repair: bool },
    Write(Write),
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Write {
    content: Content,
    /// What the writer had seen; the new version is above it.
    floor: Version,
    stamp: StampRule,
}

/// Where a request stands.
#[derive(Clone, Debug, Serialize, Deserialize)]
enum Phase {
    /// Waits for a lease of stamps, or for the wall after a restart. Nothing was stored.
    AwaitStamp { floor: Version },
    /// Asks who holds what.
    Query(Query),
    /// Stores a record. `write_back` when it serves a read.
    Store { tally: Tally, record: Record, write_back: bool },
    /// Answered; late answers to the query still show who lags. Ends when every home has spoken.
    Linger { newest: Record, tally: Tally },
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Query {
    tally: Tally,
    wanted: Wanted,
    newest: Version,
    content: Option<Content>,
    /// What each home that answered reported.
    reported: Vec<(NodeId, Version)>,
}

impl Coordinator {
    /// Answers a call that this node cannot even begin, and why.
    pub(crate) fn turn_away(&self, cx: &mut Context<'_>, call: CallId, asked: &ClientRequest, why: Unavailable) {
        let attempted = self.attempted(asked);
        if attempted.is_some() {
            sometimes!(cx, "coordinator: a retry is turned away and called unknown");
        }
        cx.reply(call, admission::rejection(Outcome::Unavailable(why), attempted));
    }

    /// A client asks for something.
    pub(crate) fn start(&mut self, cx: &mut Context<'_>, call: CallId, asked: ClientRequest) {
        let attempted = self.attempted(&asked);
        let admitted = match admission::admit(cx, asked, attempted, self.len()) {
            Ok(admitted) => admitted,
            Err(response) => return cx.reply(call, response),
        };
        let presented = match self.recognise(cx, call, &admitted) {
            Known::New => admitted.presented,
            Known::Chosen(version) => Some(version),
            Known::Handled => return,
        };
        let slot = self.in_flight.vacant();
        self.started += 1;
        let request = RequestId { boot: cx.shared.sender.boot, counter: self.started, slot: slot as u32 };
        if let Some(id) = &admitted.id {
            self.operations.begin(id.clone(), request, &admitted.key, admitted.goal.content());
        }
        let homes = homes(&cx.shared.placement, cx.shared.me, &admitted);
        if !homes.contains(&cx.shared.me) {
            sometimes!(cx, "coordinator: no copy of its own");
        } else if homes.len() < usize::from(admitted.n) {
            sometimes!(cx, "coordinator: asks itself alone");
        }
        let pending = Pending {
            request,
            calls: alloc::vec![call],
            id: admitted.id,
            key: admitted.key,
            needed: admitted.needed,
            deadline: cx.instant() + admitted.timeout,
            goal: admitted.goal,
            // Replaced before this input ends, by the first phase.
            phase: Phase::AwaitStamp { floor: Version::ABSENT },
            phase_number: 0,
            homes,
        };
        self.in_flight.insert(pending);
        self.arm(cx, request);
        if self.in_flight.len() == cx.shared.config.in_flight_max {
            sometimes!(cx, "coordinator: the last slot is taken");
        }
        match (&self.in_flight[slot].goal, presented) {
            (Goal::Get { .. }, _) => self.query(cx, request, Wanted::Record),
            (Goal::Write(_), Some(version)) => self.store_chosen(cx, request, version),
            (Goal::Write(_), None) if admitted.query_first => self.query(cx, request, Wanted::Version),
            (Goal::Write(write), None) => {
                let floor = write.floor;
                self.choose(cx, request, floor);
            }
        }
    }

    /// What an earlier attempt of the same operation chose, if there was one that may have been carried out. A refusal
    /// of the retry then says nothing about the operation.
    pub(crate) fn attempted(&self, asked: &ClientRequest) -> Option<Version> {
        let presented = match &asked.command {
            Command::Get => return None,
            Command::Put { presented, .. } | Command::Delete { presented, .. } => *presented,
        };
        presented.or_else(|| self.operations.attempted(asked.id.as_ref()?))
    }

    /// Whether the operation id is known, and what follows from that.
    fn recognise(&mut self, cx: &mut Context<'_>, call: CallId, admitted: &admission::Admitted) -> Known {
        let Some(id) = &admitted.id else { return Known::New };
        match self.operations.find(id, &admitted.key, admitted.goal.content()) {
            Ok(operations::Found::Never) => Known::New,
            Ok(operations::Found::InFlight(request)) => {
                sometimes!(cx, "coordinator: a retry joined its first attempt");
                let pending = &mut self.in_flight[request.slot as usize];
                assert!(pending.request == request);
                pending.calls.push(call);
                Known::Handled
            }
            Ok(operations::Found::Chosen(version)) => {
                sometimes!(cx, "coordinator: a retry repeats the store phase");
                Known::Chosen(version)
            }
            Err(refused) => {
                sometimes!(cx, "coordinator: an operation id is too old to be judged");
                cx.reply(call, admission::rejection(Outcome::Refused(refused), None));
                Known::Handled
            }
        }
    }

    /// A home answered.
    pub(crate) fn on_reply(&mut self, cx: &mut Context<'_>, from: NodeId, reply: ReplicaReply) {
        let (ReplicaReply::Found { request, phase, .. }
        | ReplicaReply::Stored { request, phase, .. }
        | ReplicaReply::Refused { request, phase, .. }) = reply;
        if request.boot != cx.shared.sender.boot {
            return sometimes!(cx, "coordinator: an answer to an earlier boot");
        }
        // An answer that comes after its request has ended has nothing left to do.
        let Some(pending) = self.pending(request) else { return };
        if !pending.homes.contains(&from) {
            return;
        }
        if pending.phase_number != phase {
            return sometimes!(cx, "coordinator: an answer to an earlier phase");
        }
        match reply {
            ReplicaReply::Found { found, .. } => self.on_found(cx, request, from, found),
            ReplicaReply::Stored { held, .. } => self.on_stored(cx, request, from, held),
            ReplicaReply::Refused { .. } => self.on_refused(cx, request, from),
        }
    }

    fn on_refused(&mut self, cx: &mut Context<'_>, request: RequestId, from: NodeId) {
        let pending = self.pending(request).expect("checked by the caller");
        let (Phase::Query(Query { tally, .. }) | Phase::Store { tally, .. }) = &mut pending.phase else { return };
        if tally.nack(from) != Verdict::Unreachable {
            return sometimes!(cx, "coordinator: refused by some, but enough may still agree");
        }
        sometimes!(cx, "coordinator: too many refusals");
        let (have, need) = (tally.acks(), tally.needed());
        self.fail(cx, request, Unavailable::TooManyRefusals { have, need });
    }

    /// The request cannot succeed. What the client is told depends on whether anything may have been stored.
    fn fail(&mut self, cx: &mut Context<'_>, request: RequestId, why: Unavailable) {
        let pending = self.pending(request).expect("only a request in flight fails");
        let (outcome, version, acks) = match (&pending.goal, &pending.phase) {
            (Goal::Write(_), Phase::Store { tally, record, .. }) => (Outcome::Unknown, record.version, tally.acks()),
            (Goal::Get { .. } | Goal::Write(_), Phase::Query(Query { newest, tally, .. })) => {
                (Outcome::Unavailable(why), *newest, tally.acks())
            }
            (Goal::Get { .. }, Phase::Store { record, tally, .. }) => {
                (Outcome::Unavailable(why), record.version, tally.acks())
            }
            (_, Phase::AwaitStamp { .. }) => (Outcome::Unavailable(why), Version::ABSENT, 0),
            (_, Phase::Linger { .. }) => unreachable!("an answered request cannot fail"),
        };
        match (&pending.goal, &pending.phase) {
            (Goal::Write(_), Phase::Store { .. }) => sometimes!(cx, "coordinator: a write ends as unknown"),
            (Goal::Write(_), _) => sometimes!(cx, "coordinator: a write fails before it stored anything"),
            (Goal::Get { .. }, Phase::Store { .. }) => sometimes!(cx, "coordinator: a read fails in its write-back"),
            (Goal::Get { .. }, _) => sometimes!(cx, "coordinator: a read fails while it asks"),
        }
        self.answer(cx, request, ClientResponse { outcome, version, acks });
        self.end(cx, request);
    }

    /// Gives every waiting call its one answer.
    fn answer(&mut self, cx: &mut Context<'_>, request: RequestId, response: ClientResponse) {
        let pending = self.pending(request).expect("only a request in flight is answered");
        let calls = core::mem::take(&mut pending.calls);
        match calls.len() {
            0 => sometimes!(cx, "coordinator: done, and nobody waits any more"),
            1 => {}
            2.. => sometimes!(cx, "coordinator: one answer for several calls"),
        }
        for call in calls {
            cx.reply(call, response.clone());
        }
        let pending = self.pending(request).expect("seen above");
        if let Some(id) = pending.id.clone() {
            let chosen = matches!(response.outcome, Outcome::Stored | Outcome::Unknown);
            let limit = cx.shared.config.remembered_operations_max;
            if !chosen {
                sometimes!(cx, "coordinator: an operation id is free again");
            }
            if self.operations.end(&id, chosen.then_some(response.version), limit) {
                sometimes!(cx, "coordinator: the oldest operation id is forgotten");
            }
        }
    }

    /// Forgets a request.
    fn end(&mut self, cx: &mut Context<'_>, request: RequestId) {
        let pending = self.in_flight.remove(request.slot as usize);
        assert!(pending.request == request && pending.calls.is_empty(), "a request ends after its answer");
        self.lingering -= usize::from(matches!(pending.phase, Phase::Linger { .. }));
        self.awaiting_stamp.retain(|&waiting| waiting != request);
        cx.shared.timers.cancel(Timer::Request(request));
    }

    /// The time has come to ask again, or to give up.
    pub(crate) fn on_timeout(&mut self, cx: &mut Context<'_>, request: RequestId) {
        let pending = self.pending(request).expect("a finished request leaves no timer");
        if matches!(pending.phase, Phase::Linger { .. }) {
            sometimes!(cx, "coordinator: the last homes were not waited for");
            return self.end(cx, request);
        }
        if cx.instant() >= pending.deadline {
            let (have, need) = match &pending.phase {
                Phase::Query(Query { tally, .. }) | Phase::Store { tally, .. } => (tally.acks(), tally.needed()),
                Phase::AwaitStamp { .. } | Phase::Linger { .. } => (0, pending.needed),
            };
            sometimes!(cx, "coordinator: a request timed out");
            return self.fail(cx, request, Unavailable::TimedOut { have, need });
        }
        match &pending.phase {
            Phase::Query(_) => sometimes!(cx, "coordinator: silent homes are asked again"),
            Phase::Store { write_back: true, .. } => sometimes!(cx, "coordinator: a write-back is sent again"),
            Phase::Store { write_back: false, .. } => sometimes!(cx, "coordinator: a write is sent again"),
            Phase::AwaitStamp { .. } => sometimes!(cx, "coordinator: still waiting for a lease"),
            Phase::Linger { .. } => unreachable!("ended above"),
        }
        self.ask_silent(cx, request);
        self.arm(cx, request);
    }

    /// Nobody waits for this call any more. Writes go on: they may have happened already.
    pub(crate) fn on_client_gone(&mut self, cx: &mut Context<'_>, call: CallId) {
        let abandoned = self.in_flight.iter_mut().find_map(|(_, pending)| {
            let at = pending.calls.iter().position(|&waiting| waiting == call)?;
            pending.calls.remove(at);
            let is_get = matches!(pending.goal, Goal::Get { .. });
            Some((pending.request, is_get, pending.calls.is_empty()))
        });
        match abandoned {
            Some((request, true, true)) => {
                sometimes!(cx, "coordinator: a read is given up with its client");
                self.end(cx, request);
            }
            Some((_, false, true)) => sometimes!(cx, "coordinator: a write goes on without its client"),
            Some((_, _, false)) => sometimes!(cx, "coordinator: one of several callers went away"),
            None => sometimes!(cx, "coordinator: a client went away after its answer"),
        }
    }

    /// Begins a phase: all homes are asked, the request's phase number moves on.
    fn begin(&mut self, cx: &mut Context<'_>, request: RequestId, phase: Phase) {
        let pending = self.pending(request).expect("only a request in flight has phases");
        pending.phase = phase;
        pending.phase_number += 1;
        self.ask_silent(cx, request);
    }

    /// Asks every home that has not answered this phase yet.
    ///
    /// All N homes, not only as many as needed: the slowest answers then repair themselves, and one lost message costs
    /// no retry.
    fn ask_silent(&mut self, cx: &mut Context<'_>, request: RequestId) {
        let pending = self.pending(request).expect("only a request in flight asks");
        let Pending { key, phase_number: phase, .. } = &*pending;
        let (key, phase) = (key.clone(), *phase);
        let (silent, message) = match &pending.phase {
            Phase::Query(query) => {
                let wanted = query.wanted;
                (query.tally.silent().collect::<Vec<_>>(), ReplicaRequest::Query { request, phase, key, wanted })
            }
            Phase::Store { tally, record, .. } => {
                let stamp = match &pending.goal {
                    Goal::Get { .. } => StampRule::Existing,
                    Goal::Write(write) => write.stamp,
                };
                let record = record.clone();
                (tally.silent().collect(), ReplicaRequest::Store { request, phase, key, record, stamp })
            }
            Phase::AwaitStamp { .. } | Phase::Linger { .. } => return,
        };
        for home in silent {
            cx.send(home, Body::Replica(message.clone()));
        }
    }

    /// Sets the request's one timer: the next time to ask again, but not past its deadline.
    fn arm(&mut self, cx: &mut Context<'_>, request: RequestId) {
        let pending = self.pending(request).expect("only a request in flight has a timer");
        let again = cx.instant() + cx.shared.config.resend_interval;
        let at = again.min(pending.deadline);
        cx.shared.timers.set(Timer::Request(request), at);
    }

    fn pending(&mut self, request: RequestId) -> Option<&mut Pending> {
        self.in_flight.get_mut(request.slot as usize).filter(|pending| pending.request == request)
    }

    fn notice_done(cx: &mut Context<'_>, pending: &Pending, tally: &Tally, phase: PhaseKind, version: Version) {
        let homes = tally.acked().collect();
        cx.notice(Notice::PhaseDone { request: pending.request, key: pending.key.clone(), phase, version, homes });
    }

    /// How many requests wait for their answer.
    pub(crate) fn len(&self) -> usize {
        self.in_flight.len() - self.lingering
    }

    pub(crate) fn invariants(&self, shared: &Shared) {
        assert!(self.len() <= shared.config.in_flight_max && self.lingering <= LINGERING_MAX);
        let waiting = self.awaiting_stamp.len();
        let woken = shared.stamps.is_renewing() || shared.timers.is_set(Timer::Stamps);
        assert!(waiting == 0 || woken, "whoever waits for a stamp will be woken");
    }

    /// Looks at every open request.
    pub(crate) fn scan(&self, shared: &Shared) {
        for (slot, pending) in self.in_flight.iter() {
            assert!(pending.request.slot as usize == slot);
            assert!(shared.timers.is_set(Timer::Request(pending.request)), "each open request will end");
        }
        let lingering = self.in_flight.iter().filter(|(_, pending)| matches!(pending.phase, Phase::Linger { .. }));
        assert!(lingering.count() == self.lingering);
    }
}

/// Whom a request asks: every home, unless one answer is enough and the copy is our own.
fn homes(placement: &Placement, me: NodeId, admitted: &admission::Admitted) -> Vec<NodeId> {
    let homes = placement.preference_list(&admitted.key, admitted.n);
    let is_read = matches!(admitted.goal, Goal::Get { .. });
    if is_read && admitted.needed == 1 && homes.contains(&me) { alloc::vec![me] } else { homes.to_vec() }
}

impl Goal {
    fn content(&self) -> Option<&Content> {
        match self {
            Self::Get { .. } => None,
            Self::Write(write) => Some(&write.content),
        }
    }
}
