//! One member of the cluster: routes each input to the protocol it belongs to, and decides nothing.

use crate::config::{Config, Founding};
use crate::context::{Context, Shared};
use crate::coordinator::Coordinator;
use crate::durable::{DurableState, Identity as Passport, StoreOutcome};
use crate::effect::{BlankReason, Effects, Notice, Unavailable};
use crate::id::{Boot, Epoch, Incarnation, LogPosition, NodeId, Owner};
use crate::identity::{Identity, Standing};
use crate::input::Input;
use crate::message::{Body, Message, Sender};
use crate::placement::Placement;
use crate::reach::sometimes;
use crate::replica::Replica;
use crate::stamps::Stamps;
use crate::time::{Instant, Now};
use crate::timers::{Timer, Timers};
use alloc::boxed::Box;
use alloc::collections::VecDeque;
use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};
use serde::{Deserialize, Serialize};

/// The epoch of a cluster whose members are fixed at its founding.
pub const STATIC_EPOCH: Epoch = Epoch(1);

/// One member of the cluster, or a node that stays out. [`Node::handle`] is the only way to change it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Node {
    now: Instant,
    role: Role,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
enum Role {
    /// Without an identity: counts for nothing, says so to whoever asks.
    Blank { told: bool },
    /// With one.
    Named(Box<Named>),
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Named {
    shared: Shared,
    identity: Identity,
    coordinator: Coordinator,
    replica: Replica,
}

impl Node {
    /// A member named by the founding record of a new cluster, on an empty disk. It counts once every member has
    /// remembered it. `seed` feeds every random choice it will ever make.
    ///
    /// # Panics
    /// When the founding record does not name `me`: the host checks its configuration first.
    pub fn found(me: NodeId, founding: Founding, config: Config, seed: u64) -> Self {
        let incarnation = Incarnation(stream(seed, 0, 0).next_u64().max(1));
        let identity = Passport { me, incarnation, founding, complete: false };
        let durable = DurableState { identity: Some(identity), ..DurableState::default() };
        Self::named(config, seed, &durable, LogPosition(0))
    }

    /// A node without an identity: its disk holds none, and it was not told to found one. It counts for nothing.
    pub fn blank() -> Self {
        Self { now: Instant::ZERO, role: Role::Blank { told: false } }
    }

    /// A node as its durable state left it; blank if that holds no identity. `recovered` is where its log ends.
    /// Volatile state starts empty: that is what a crash is.
    pub fn recover(config: Config, seed: u64, durable: &DurableState, recovered: LogPosition) -> Self {
        match durable.identity {
            Some(_) => Self::named(config, seed, durable, recovered),
            None => Self::blank(),
        }
    }

    fn named(config: Config, seed: u64, durable: &DurableState, recovered: LogPosition) -> Self {
        let passport = durable.identity.as_ref().expect("a named node has an identity");
        let founding = passport.founding.clone();
        assert!(founding.names(passport.me), "the founding record names us");
        let boot = Boot(durable.boot.0 + 1);
        let incarnation = passport.incarnation;
        let shared = Shared {
            me: passport.me,
            sender: Sender { incarnation, boot, position: recovered },
            epoch: STATIC_EPOCH,
            config,
            placement: Placement::of(&founding),
            fingerprint: founding.fingerprint(),
            founding,
            stamps: Stamps::recover(durable.leases),
            timers: Timers::default(),
            rng: stream(seed, incarnation.0, boot.0),
            stores_issued: 0,
            to_self: VecDeque::new(),
        };
        let mut shared = shared;
        // The first tick, whenever it comes, starts this boot.
        shared.timers.set(Timer::Introduce, Instant::ZERO);
        let identity = Identity::recover(durable, recovered);
        let named = Named { shared, identity, coordinator: Coordinator::default(), replica: Replica::default() };
        Self { now: Instant::ZERO, role: Role::Named(Box::new(named)) }
    }

    /// Takes one input at time `now` and appends what must happen next to `effects`.
    ///
    /// # Panics
    /// When monotonic time runs backwards, or when an invariant of the node is broken: then going on would do harm.
    pub fn handle(&mut self, now: Now, input: Input, effects: &mut Effects) {
        assert!(now.monotonic >= self.now, "monotonic time never runs backwards");
        self.now = now.monotonic;
        match &mut self.role {
            Role::Named(named) => named.handle(now, input, effects),
            Role::Blank { told } => blank(told, input, effects),
        }
    }

    /// When the host should next pass [`Input::Tick`]; earlier or extra ticks are harmless.
    pub fn next_deadline(&self) -> Option<Instant> {
        match &self.role {
            Role::Named(named) => named.shared.timers.next_deadline(),
            Role::Blank { told } => (!told).then_some(self.now),
        }
    }

    /// Checks everything that must be true between two inputs. What costs the same however much is going on is checked
    /// after every input anyway; this also looks at every open request, so a host calls it as often as it can afford.
    ///
    /// # Panics
    /// When something is not true.
    pub fn check_invariants(&self) {
        if let Role::Named(named) = &self.role {
            named.coordinator.scan(&named.shared);
        }
    }

    /// What this node may do.
    pub fn standing(&self) -> Standing {
        match &self.role {
            Role::Named(named) => named.identity.standing(),
            Role::Blank { .. } => Standing::Blank(BlankReason::NoIdentity),
        }
    }

    /// The life and boot that this node speaks as; `None` for a node without identity.
    pub fn sender(&self) -> Option<Sender> {
        match &self.role {
            Role::Named(named) => Some(named.shared.sender),
            Role::Blank { .. } => None,
        }
    }

    /// The table of homes; `None` for a node without identity.
    pub fn placement(&self) -> Option<&Placement> {
        match &self.role {
            Role::Named(named) => Some(&named.shared.placement),
            Role::Blank { .. } => None,
        }
    }

    /// The largest stamp that this node's clock has shown, for oracles and metrics.
    pub fn clock(&self) -> Option<crate::version::Hlc> {
        match &self.role {
            Role::Named(named) => Some(named.shared.stamps.clock()),
            Role::Blank { .. } => None,
        }
    }

    /// Client requests that this node works on.
    pub fn in_flight(&self) -> usize {
        match &self.role {
            Role::Named(named) => named.coordinator.len(),
            Role::Blank { .. } => 0,
        }
    }
}

/// A generator of its own for each life and boot, so that a recovered node does not redraw its past.
fn stream(seed: u64, incarnation: u64, boot: u64) -> ChaCha8Rng {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(incarnation ^ boot.rotate_left(32));
    rng
}

fn blank(told: &mut bool, input: Input, effects: &mut Effects) {
    if !core::mem::replace(told, true) {
        effects.push(crate::Effect::Notice(Notice::Blank(BlankReason::NoIdentity)));
    }
    if let Input::Client { call, .. } = input {
        let outcome = crate::effect::Outcome::Unavailable(Unavailable::Blank);
        let response = crate::effect::ClientResponse { outcome, version: Default::default(), acks: 0 };
        effects.push(crate::Effect::Reply { call, response });
    }
}

impl Named {
    fn handle(&mut self, now: Now, input: Input, effects: &mut Effects) {
        let Self { shared, identity, coordinator, replica } = self;
        shared.stamps.look_at_wall(now, &shared.config);
        let concerns_identity = concerns_identity(&input);
        let cx = &mut Context { now, shared, effects };
        match input {
            Input::Client { call, request } => match identity.standing() {
                Standing::Member => coordinator.start(cx, call, request),
                Standing::Starting | Standing::Founding => {
                    sometimes!(cx, "node: asked by a client before it counts");
                    coordinator.turn_away(cx, call, &request, Unavailable::Starting);
                }
                Standing::Blank(_) => {
                    sometimes!(cx, "node: asked by a client although it was refused");
                    coordinator.turn_away(cx, call, &request, Unavailable::Blank);
                }
            },
            Input::ClientGone { call } => coordinator.on_client_gone(cx, call),
            Input::Message { from, message } => hear(cx, identity, coordinator, replica, from, message),
            Input::Stored { token, outcome, synced } => {
                cx.synced(synced);
                match token.owner {
                    Owner::Replica => replica.on_stored(cx, token, outcome),
                    Owner::Identity => identity.on_stored(cx, token, is_durable(&outcome)),
                    Owner::Stamps => {
                        let durable = is_durable(&outcome);
                        if durable {
                            cx.shared.stamps.leased()
                        } else {
                            sometimes!(cx, "node: a lease could not be made durable");
                            cx.shared.stamps.lease_failed()
                        }
                        coordinator.on_lease(cx, durable);
                    }
                }
            }
            // Silence is judged by deadlines; the hint is for protocols that route around the dead.
            Input::PeerLost { .. } => {}
            Input::Tick => {
                while let Some(timer) = cx.shared.timers.pop_due(now.monotonic) {
                    match timer {
                        Timer::Introduce => identity.on_timeout(cx),
                        Timer::Stamps => coordinator.on_wall_caught_up(cx),
                        Timer::Request(request) => coordinator.on_timeout(cx, request),
                    }
                }
            }
        }
        // What we said to ourselves is heard before the input ends.
        while let Some(body) = cx.shared.to_self.pop_front() {
            let (me, epoch) = (cx.shared.me, cx.shared.epoch);
            route(cx, coordinator, replica, me, epoch, body);
        }
        assert!(self.shared.to_self.is_empty());
        // In a large cluster its tables are the largest part of a node, and no other input changes what it asserts.
        if concerns_identity {
            self.identity.invariants(&self.shared);
        }
        self.coordinator.invariants(&self.shared);
        self.shared.stamps.invariants();
    }
}

/// Whether an input may change who we are, whom we accept, or who knows us.
fn concerns_identity(input: &Input) -> bool {
    match input {
        Input::Message { message, .. } => matches!(message.body, Body::Identity(_)),
        Input::Stored { token, .. } => token.owner == Owner::Identity,
        Input::Tick => true,
        Input::Client { .. } | Input::ClientGone { .. } | Input::PeerLost { .. } => false,
    }
}

fn is_durable(outcome: &StoreOutcome) -> bool {
    match outcome {
        StoreOutcome::Persisted => true,
        StoreOutcome::Failed { .. } => false,
        StoreOutcome::Merged { .. } | StoreOutcome::Found { .. } => unreachable!("a fact was to be made durable"),
    }
}

/// A message from a peer: heard only by a node that counts, and only from a boot that was accepted.
fn hear(
    cx: &mut Context<'_>,
    identity: &mut Identity,
    coordinator: &mut Coordinator,
    replica: &mut Replica,
    from: NodeId,
    message: Message,
) {
    let Message { sender, clock, epoch, body } = message;
    if !cx.shared.founding.names(from) || from == cx.shared.me {
        return;
    }
    match (identity.standing(), body) {
        (Standing::Starting, _) => sometimes!(cx, "node: spoken to before its boot is durable"),
        (Standing::Blank(_), _) => sometimes!(cx, "node: spoken to although it was refused"),
        (Standing::Founding | Standing::Member, Body::Identity(message)) => {
            identity.on_message(cx, from, sender, message);
        }
        (Standing::Founding, Body::Replica(_) | Body::ReplicaReply(_)) => {
            sometimes!(cx, "node: data before the founding is complete");
        }
        (Standing::Member, body @ (Body::Replica(_) | Body::ReplicaReply(_))) => {
            if !identity.admits(cx, from, &sender) {
                return;
            }
            let Shared { stamps, config, .. } = &mut *cx.shared;
            if let Err(ahead) = stamps.observe(cx.now.wall, clock, config) {
                sometimes!(cx, "node: a peer's clock is too far ahead");
                cx.notice(Notice::ClockRefused { peer: from, by_micros: ahead.by_micros });
            }
            route(cx, coordinator, replica, from, epoch, body);
        }
    }
}

fn route(
    cx: &mut Context<'_>,
    coordinator: &mut Coordinator,
    replica: &mut Replica,
    from: NodeId,
    epoch: Epoch,
    body: Body,
) {
    match body {
        Body::Replica(asked) => replica.on_message(cx, from, epoch, asked),
        Body::ReplicaReply(reply) => coordinator.on_reply(cx, from, reply),
        Body::Identity(_) => unreachable!("nobody introduces himself to himself"),
    }
}
