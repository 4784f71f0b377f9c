//! Choosing a version, and the store phase.
//!
//! A version is chosen once. For `lww` it comes from our clock; for a register it is the successor of the highest tag
//! that a majority reported, or of our clock if that is higher. From the moment a store message leaves, the write may
//! happen: it ends as `Stored` or `Unknown`, never as failed.

use super::{Coordinator, Goal, Phase, Write, read};
use crate::context::Context;
use crate::effect::{ClientResponse, Notice, Outcome, PhaseKind};
use crate::id::{NodeId, RequestId};
use crate::message::StampRule;
use crate::quorum::{Tally, Verdict};
use crate::reach::sometimes;
use crate::timers::Timer;
use crate::version::{Record, Version};

impl Coordinator {
    /// Chooses a version above `floor`, or waits: for a lease that covers one, or for the wall of a restarted node.
    pub(super) fn choose(&mut self, cx: &mut Context<'_>, request: RequestId, floor: Version) {
        let pending = self.pending(request).expect("only a request in flight chooses");
        // A register's tag needs no wall: a majority has just told the highest one.
        let by_wall = matches!(&pending.goal, Goal::Write(Write { stamp: StampRule::Fresh, .. }));
        if by_wall && let Some(at) = cx.shared.stamps.held_until(cx.instant()) {
            sometimes!(cx, "coordinator: a write waits for the wall after a restart");
            cx.shared.timers.set(Timer::Stamps, at);
            return self.await_stamp(request, floor);
        }
        let actor = cx.actor();
        let wall = cx.now.wall;
        let chosen = cx.shared.stamps.version(actor, wall, floor.hlc);
        cx.renew_stamps();
        match chosen {
            Some(version) => {
                assert!(version > floor, "a new version is above everything its writer has seen");
                if version.hlc == floor.hlc.successor() && !floor.is_absent() {
                    sometimes!(cx, "coordinator: a version right above one from a faster clock");
                }
                let pending = self.pending(request).expect("only a request in flight chooses");
                cx.notice(Notice::Chosen { request, key: pending.key.clone(), version });
                self.store_chosen(cx, request, version);
            }
            None => {
                sometimes!(cx, "coordinator: a write waits for a lease");
                self.await_stamp(request, floor);
            }
        }
    }

    fn await_stamp(&mut self, request: RequestId, floor: Version) {
        let pending = self.pending(request).expect("only a request in flight waits");
        pending.phase = Phase::AwaitStamp { floor };
        self.awaiting_stamp.push(request);
    }

    /// The wall of a restarted node has caught up with its clock: whoever waited tries again.
    pub(crate) fn on_wall_caught_up(&mut self, cx: &mut Context<'_>) {
        self.on_lease(cx, true);
    }

    /// A lease has ended, one way or the other: whoever waited tries again.
    pub(crate) fn on_lease(&mut self, cx: &mut Context<'_>, durable: bool) {
        let waiting = core::mem::take(&mut self.awaiting_stamp);
        for request in waiting {
            let pending = self.pending(request).expect("a request that ends stops waiting");
            let Phase::AwaitStamp { floor } = pending.phase else { unreachable!("it waits for a lease") };
            if durable {
                sometimes!(cx, "coordinator: a write goes on with its lease");
                self.choose(cx, request, floor);
            } else {
                let need = pending.needed;
                self.fail(cx, request, crate::effect::Unavailable::TooManyRefusals { have: 0, need });
            }
        }
    }

    /// Stores the client's content under a version that is chosen already.
    pub(super) fn store_chosen(&mut self, cx: &mut Context<'_>, request: RequestId, version: Version) {
        let pending = self.pending(request).expect("only a request in flight stores");
        let Goal::Write(write) = &pending.goal else { unreachable!("only writes choose versions") };
        let record = Record { version, content: write.content.clone() };
        if matches!(record.content, crate::version::Content::Tombstone) {
            sometimes!(cx, "coordinator: a deletion is stored");
        }
        let tally = Tally::new(pending.needed, &pending.homes);
        if let Some(id) = pending.id.clone() {
            self.operations.chose(&id, version);
        }
        self.begin(cx, request, Phase::Store { tally, record, write_back: false });
    }

    pub(super) fn on_stored(&mut self, cx: &mut Context<'_>, request: RequestId, from: NodeId, held: Version) {
        let pending = self.pending(request).expect("checked by the caller");
        let Phase::Store { tally, record, write_back } = &mut pending.phase else { return };
        if held < record.version {
            // It says that it has less than we sent: that is no acknowledgement of anything.
            return;
        }
        if held > record.version {
            sometimes!(cx, "coordinator: an acknowledgement by a home that holds more");
        }
        if tally.ack(from) != Verdict::Reached {
            return;
        }
        if *write_back {
            sometimes!(cx, "coordinator: a write-back is complete");
        }
        let (version, acks) = (record.version, tally.acks());
        let response = if *write_back {
            read::read_response(version, Some(record.content.clone()), acks)
        } else {
            ClientResponse { outcome: Outcome::Stored, version, acks }
        };
        let kind = if *write_back { PhaseKind::WriteBack } else { PhaseKind::Store };
        let pending = self.pending(request).expect("checked above");
        let Phase::Store { tally, .. } = &pending.phase else { unreachable!("seen above") };
        Self::notice_done(cx, pending, tally, kind, version);
        self.answer(cx, request, response);
        self.end(cx, request);
    }
}
