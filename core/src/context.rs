//! What a protocol may see and touch beyond its own state.

use crate::config::{Config, Founding};
use crate::durable::{Fact, StoreOp};
use crate::effect::{ClientResponse, Effect, Effects, Notice};
use crate::id::{CallId, Epoch, LogPosition, NodeId, Owner, StoreToken};
use crate::message::{Body, Message, Sender};
use crate::placement::Placement;
use crate::reach::Mark;
use crate::stamps::Stamps;
use crate::time::{Instant, Now};
use crate::timers::Timers;
use crate::version::Actor;
use alloc::borrow::Cow;
use alloc::collections::VecDeque;
use rand_chacha::ChaCha8Rng;
use rand_core::Rng;
use serde::{Deserialize, Serialize};

/// Shared state that outlives one input; borrowed by every protocol through [`Context`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Shared {
    pub(crate) me: NodeId,
    pub(crate) sender: Sender,
    pub(crate) epoch: Epoch,
    pub(crate) config: Config,
    pub(crate) founding: Founding,
    /// The founding record's, which every introduction carries: reckoned once, since it reads all members.
    pub(crate) fingerprint: u64,
    pub(crate) placement: Placement,
    pub(crate) stamps: Stamps,
    pub(crate) timers: Timers,
    pub(crate) rng: ChaCha8Rng,
    pub(crate) stores_issued: u64,
    /// Messages to ourselves: handed over within the same input, never on any network.
    pub(crate) to_self: VecDeque<Body>,
}

/// One input's view of the node: the time, the shared state, and the buffer of effects.
pub(crate) struct Context<'a> {
    pub(crate) now: Now,
    pub(crate) shared: &'a mut Shared,
    pub(crate) effects: &'a mut Effects,
}

impl Context<'_> {
    /// The monotonic clock.
    pub(crate) fn instant(&self) -> Instant {
        self.now.monotonic
    }

    /// Whoever creates write events here.
    pub(crate) fn actor(&self) -> Actor {
        Actor { node: self.shared.me, incarnation: self.shared.sender.incarnation }
    }

    /// Sends to a peer, or hands to ourselves before the input ends.
    pub(crate) fn send(&mut self, to: NodeId, body: Body) {
        if to == self.shared.me {
            self.shared.to_self.push_back(body);
            return;
        }
        let Shared { sender, epoch, stamps, .. } = &*self.shared;
        let message = Message { sender: *sender, clock: stamps.reading(self.now.monotonic), epoch: *epoch, body };
        self.effects.push(Effect::Send { to, message });
    }

    /// Asks storage for something; the token comes back with the outcome.
    pub(crate) fn store(&mut self, owner: Owner, op: StoreOp) -> StoreToken {
        self.shared.stores_issued += 1;
        let token = StoreToken { owner, number: self.shared.stores_issued };
        self.effects.push(Effect::Store { token, op });
        token
    }

    /// Makes a fact durable.
    pub(crate) fn persist(&mut self, owner: Owner, fact: Fact) -> StoreToken {
        self.store(owner, StoreOp::Persist { fact })
    }

    /// Answers a call.
    pub(crate) fn reply(&mut self, call: CallId, response: ClientResponse) {
        self.effects.push(Effect::Reply { call, response });
    }

    /// Tells whoever watches.
    pub(crate) fn notice(&mut self, notice: Notice) {
        self.effects.push(Effect::Notice(notice));
    }

    /// A rare branch was taken: see [`crate::reach`].
    pub(crate) fn sometimes(&mut self, mark: Mark) {
        self.notice(Notice::Mark(Cow::Borrowed(mark.words())));
    }

    /// A number from the node's own stream.
    pub(crate) fn draw(&mut self) -> u64 {
        self.shared.rng.next_u64()
    }

    /// How much of our log is durable, as peers are told.
    pub(crate) fn synced(&mut self, position: LogPosition) {
        let before = self.shared.sender.position;
        assert!(position >= before, "a synced position never goes back");
        self.shared.sender.position = position;
    }

    /// Asks for a longer lease of stamps and dots when it is time.
    pub(crate) fn renew_stamps(&mut self) {
        let Shared { stamps, config, .. } = &mut *self.shared;
        if let Some(leases) = stamps.renewal(self.now.wall, config) {
            self.persist(Owner::Stamps, Fact::Leases(leases));
        }
    }
}
