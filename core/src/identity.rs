//! Who is who: a node counts only while its peers know it as the one it says it is.
//!
//! A borrowed passport looks like a good one until somebody remembers the face. Every boot introduces itself to every
//! member, and members remember faces: which life (incarnation) of a node they have dealt with, which boot of it, and
//! how much of its log it had called durable. A node that comes back without its disk, with an old copy of it, or twice
//! at once is recognised and stays out: its answers could deny writes that it had acknowledged.
//!
//! Founding: a new node draws its life, makes it durable, and counts for nothing until *every* member has durably
//! remembered it. From then on a second founding of the same member (its disk was wiped and somebody started it as
//! new) is refused by each of them.
//!
//! Every later boot counts as soon as its boot counter is durable, but each peer takes its messages only after an
//! introduction that it accepts, so a refusal comes before any harm. Refused, or without an identity, a node is *blank*:
//! it answers no phase and says why.
//!
//! Where this ends: what a peer has called durable is remembered in memory only, so an old copy of a disk is recognised as
//! long as one member has run since the copy's owner last spoke. A copy taken in the same boot, put back while the whole
//! cluster is without power, passes for what it was. Whoever restores a node has to take the passport out of the copy.
//!
//! State: our own standing; which boots of our peers we accept (volatile: a restart asks again); what we remember of
//! them (durable); how much they had called durable (volatile); who has accepted this boot of ours.

use crate::context::{Context, Shared};
use crate::durable::{DurableState, Fact, Identity as Passport, KnownPeer};
use crate::effect::{BlankReason, Notice};
use crate::id::{Boot, Incarnation, LogPosition, NodeId, Owner, StoreToken};
use crate::message::{Body, IdentityMessage, IdentityRefusal, Sender};
use crate::reach::sometimes;
use crate::time::Duration;
use crate::timers::Timer;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

/// What a node may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Standing {
    /// Its boot counter is not durable yet: it says nothing.
    Starting,
    /// Its life is durable, but not all members have remembered it: it counts for nothing.
    Founding,
    /// It counts.
    Member,
    /// It stays out.
    Blank(BlankReason),
}

/// The wait between introductions doubles this often: from a quarter of a second to 8 s by default.
const ROUNDS_DOUBLED_MAX: u32 = 5;

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Identity {
    standing: Standing,
    /// The founding is not complete: all members must know us first.
    founding: bool,
    nonce: u64,
    recovered: LogPosition,
    /// Members that have accepted this boot.
    known_by: BTreeSet<NodeId>,
    /// Boots of peers that we accept messages from.
    accepted: BTreeMap<NodeId, (Incarnation, Boot)>,
    remembered: BTreeMap<NodeId, KnownPeer>,
    /// The most of its log that each peer has called durable.
    heard: BTreeMap<NodeId, LogPosition>,
    /// Rounds of introductions so far, up to [`ROUNDS_DOUBLED_MAX`].
    rounds: u32,
    /// What is being made durable, and what is done with it then.
    pending: BTreeMap<StoreToken, Purpose>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
enum Purpose {
    /// Our passport and boot: then we may speak.
    Start,
    /// The founding is complete: then we count.
    Complete,
    /// A peer's life: then it may know that we know it.
    Remember { peer: NodeId, known: KnownPeer },
}

impl Identity {
    /// A node as its durable state left it; `founding` when not all members have remembered it yet.
    pub(crate) fn recover(durable: &DurableState, recovered: LogPosition) -> Self {
        let founding = durable.identity.as_ref().is_some_and(|identity| !identity.complete);
        Self {
            standing: Standing::Starting,
            founding,
            nonce: 0,
            recovered,
            known_by: BTreeSet::new(),
            accepted: BTreeMap::new(),
            remembered: (*durable.peers).clone(),
            heard: BTreeMap::new(),
            rounds: 0,
            pending: BTreeMap::new(),
        }
    }

    pub(crate) fn standing(&self) -> Standing {
        self.standing
    }

    /// A new boot begins: nothing is said before its counter, and for a new life the passport, are durable.
    pub(crate) fn start(&mut self, cx: &mut Context<'_>) {
        self.nonce = cx.draw();
        if self.founding {
            if cx.shared.sender.boot > Boot(1) {
                sometimes!(cx, "identity: a founding goes on after a restart");
            }
            let fact = Fact::Identity(self.passport(cx, false));
            cx.persist(Owner::Identity, fact);
        }
        // Stores end in order, so the boot counter's end stands for the passport's too.
        let token = cx.persist(Owner::Identity, Fact::Boot(cx.shared.sender.boot));
        self.pending.insert(token, Purpose::Start);
    }

    fn passport(&self, cx: &Context<'_>, complete: bool) -> Passport {
        let incarnation = cx.shared.sender.incarnation;
        Passport { me: cx.shared.me, incarnation, founding: cx.shared.founding.clone(), complete }
    }

    /// Something we made durable is, or could not be.
    pub(crate) fn on_stored(&mut self, cx: &mut Context<'_>, token: StoreToken, durable: bool) {
        // The passport's own end: the boot counter behind it speaks for both.
        let Some(purpose) = self.pending.remove(&token) else { return };
        match purpose {
            Purpose::Start | Purpose::Complete if !durable => {
                // The disk is full before we have begun. Try again when we introduce ourselves.
                sometimes!(cx, "identity: could not be made durable");
                self.introduce_later(cx);
            }
            Purpose::Start => {
                self.standing = if self.founding { Standing::Founding } else { Standing::Member };
                if !self.founding {
                    cx.notice(Notice::Ready);
                }
                self.introduce(cx);
                self.complete_founding(cx);
            }
            Purpose::Complete => {
                self.founding = false;
                self.standing = Standing::Member;
                cx.notice(Notice::Ready);
            }
            Purpose::Remember { peer, known } if durable => self.accept(cx, peer, known),
            Purpose::Remember { .. } => sometimes!(cx, "identity: could not remember a peer"),
        }
    }

    /// Tells every member that has not accepted this boot who we are, and does so again later.
    fn introduce(&mut self, cx: &mut Context<'_>) {
        let members = cx.shared.founding.members();
        let me = cx.shared.me;
        let strangers: Vec<_> =
            members.iter().map(|member| member.id).filter(|id| *id != me && !self.known_by.contains(id)).collect();
        if strangers.is_empty() {
            return sometimes!(cx, "identity: nobody is left to be told");
        }
        if self.rounds == ROUNDS_DOUBLED_MAX {
            sometimes!(cx, "identity: introductions have become as rare as they get");
        } else if self.rounds > 0 {
            sometimes!(cx, "identity: an introduction is repeated");
        }
        for peer in strangers {
            self.introduce_to(cx, peer);
        }
        self.introduce_later(cx);
        self.rounds = (self.rounds + 1).min(ROUNDS_DOUBLED_MAX);
    }

    /// Waits twice as long each round: a member that is down for a week is not asked four times a second.
    fn introduce_later(&self, cx: &mut Context<'_>) {
        if !cx.shared.timers.is_set(Timer::Introduce) {
            let wait = cx.shared.config.introduce_interval.as_micros() << self.rounds;
            let again = cx.instant() + Duration::from_micros(wait);
            cx.shared.timers.set(Timer::Introduce, again);
        }
    }

    fn introduce_to(&self, cx: &mut Context<'_>, peer: NodeId) {
        let founding = cx.shared.fingerprint;
        let introduce = IdentityMessage::Introduce { nonce: self.nonce, recovered: self.recovered, founding };
        cx.send(peer, Body::Identity(introduce));
    }

    pub(crate) fn on_timeout(&mut self, cx: &mut Context<'_>) {
        match self.standing {
            Standing::Starting if self.pending.is_empty() => {
                if cx.shared.stores_issued > 0 {
                    sometimes!(cx, "identity: a boot is tried once more");
                }
                self.start(cx);
            }
            Standing::Starting | Standing::Blank(_) => {}
            Standing::Founding | Standing::Member => {
                self.introduce(cx);
                self.complete_founding(cx);
            }
        }
    }

    /// Whether a message that is not about identity may be heard. A stranger is asked to introduce itself.
    pub(crate) fn admits(&mut self, cx: &mut Context<'_>, from: NodeId, sender: &Sender) -> bool {
        if self.accepted.get(&from) != Some(&(sender.incarnation, sender.boot)) {
            sometimes!(cx, "identity: a stranger spoke");
            cx.send(from, Body::Identity(IdentityMessage::Stranger { boot: sender.boot }));
            return false;
        }
        let heard = self.heard.entry(from).or_default();
        *heard = sender.position.max(*heard);
        true
    }

    pub(crate) fn on_message(&mut self, cx: &mut Context<'_>, from: NodeId, sender: Sender, message: IdentityMessage) {
        let boot = cx.shared.sender.boot;
        let is_ours = |about: Boot, nonce: u64| about == boot && nonce == self.nonce;
        match message {
            IdentityMessage::Introduce { nonce, recovered, founding } => {
                let introduced = KnownPeer { incarnation: sender.incarnation, boot: sender.boot, nonce };
                self.on_introduce(cx, from, introduced, recovered, founding);
            }
            IdentityMessage::Known { boot, nonce } if is_ours(boot, nonce) => {
                if !self.known_by.insert(from) {
                    sometimes!(cx, "identity: a peer says twice that it knows us");
                }
                self.complete_founding(cx);
            }
            IdentityMessage::Refused { boot, nonce, reason } if is_ours(boot, nonce) => {
                self.become_blank(cx, BlankReason::Refused { by: from, reason });
            }
            IdentityMessage::Stranger { boot: about } if about == boot => {
                if self.known_by.remove(&from) {
                    sometimes!(cx, "identity: a peer that knew us has forgotten us");
                }
                self.introduce_to(cx, from);
                self.introduce_later(cx);
            }
            // About an earlier boot of ours: a late message that concerns nobody.
            IdentityMessage::Known { .. } | IdentityMessage::Refused { .. } | IdentityMessage::Stranger { .. } => {
                sometimes!(cx, "identity: word about an earlier boot");
            }
        }
    }

    fn on_introduce(
        &mut self,
        cx: &mut Context<'_>,
        from: NodeId,
        introduced: KnownPeer,
        recovered: LogPosition,
        founding: u64,
    ) {
        let remembered = self.remembered.get(&from).copied();
        if let Some(known) = remembered
            && known.incarnation == introduced.incarnation
            && introduced.boot < known.boot
        {
            // A late copy of an earlier boot's introduction, or an old disk that came back. The first must not harm the
            // boot that is alive; the second learns of it, because the answer names the boot that it is about.
            sometimes!(cx, "identity: introduction of an earlier boot");
        }
        match self.judge(cx, from, introduced, recovered, founding) {
            Ok(()) if remembered == Some(introduced) => {
                sometimes!(cx, "identity: a known boot introduces itself again");
                self.accept(cx, from, introduced);
            }
            Ok(()) => {
                if remembered.is_some() {
                    sometimes!(cx, "identity: a known peer has restarted");
                }
                let token = cx.persist(Owner::Identity, Fact::Peer { peer: from, known: introduced });
                self.pending.insert(token, Purpose::Remember { peer: from, known: introduced });
            }
            Err(reason) => {
                match reason {
                    IdentityRefusal::OtherFounding => {}
                    IdentityRefusal::OtherIncarnation { .. } => {
                        sometimes!(cx, "identity: a member was founded a second time");
                    }
                    IdentityRefusal::SeenTwice => sometimes!(cx, "identity: a boot was seen before"),
                    IdentityRefusal::StateLost { .. } => sometimes!(cx, "identity: a peer came back with less"),
                }
                cx.notice(Notice::PeerRefused { peer: from, reason });
                let KnownPeer { boot, nonce, .. } = introduced;
                cx.send(from, Body::Identity(IdentityMessage::Refused { boot, nonce, reason }));
            }
        }
    }

    fn judge(
        &self,
        cx: &Context<'_>,
        from: NodeId,
        introduced: KnownPeer,
        recovered: LogPosition,
        founding: u64,
    ) -> Result<(), IdentityRefusal> {
        if founding != cx.shared.fingerprint {
            return Err(IdentityRefusal::OtherFounding);
        }
        // What is on its way to the disk was judged already; a second life must not slip in beside it.
        let under_way = self.pending.values().filter_map(|purpose| match purpose {
            Purpose::Remember { peer, known } if *peer == from => Some(*known),
            Purpose::Remember { .. } | Purpose::Start | Purpose::Complete => None,
        });
        let Some(known) = under_way.chain(self.remembered.get(&from).copied()).max_by_key(|known| known.boot) else {
            return Ok(());
        };
        if known.incarnation != introduced.incarnation {
            return Err(IdentityRefusal::OtherIncarnation { known: known.incarnation });
        }
        if introduced.boot < known.boot || (introduced.boot == known.boot && introduced.nonce != known.nonce) {
            return Err(IdentityRefusal::SeenTwice);
        }
        if let Some(&heard) = self.heard.get(&from)
            && introduced.boot > known.boot
            && recovered < heard
        {
            return Err(IdentityRefusal::StateLost { heard });
        }
        Ok(())
    }

    fn accept(&mut self, cx: &mut Context<'_>, peer: NodeId, known: KnownPeer) {
        if self.remembered.get(&peer).is_some_and(|remembered| remembered.boot > known.boot) {
            // A later boot was accepted while this one was on its way to the disk.
            return;
        }
        let KnownPeer { incarnation, boot, nonce } = known;
        self.remembered.insert(peer, known);
        let before = self.accepted.insert(peer, (incarnation, boot));
        cx.send(peer, Body::Identity(IdentityMessage::Known { boot, nonce }));
        if before == Some((incarnation, boot)) {
            return;
        }
        if before.is_some() {
            // It has restarted, and so it has forgotten that it knew us.
            sometimes!(cx, "identity: a peer that was accepted has restarted");
            self.known_by.remove(&peer);
        }
        if !self.known_by.contains(&peer) {
            // One message now saves a round trip when we first have something to say.
            self.introduce_to(cx, peer);
            self.introduce_later(cx);
        }
    }

    fn complete_founding(&mut self, cx: &mut Context<'_>) {
        let everybody = self.known_by.len() + 1 == cx.shared.founding.members().len();
        let in_progress = self.pending.values().any(|purpose| matches!(purpose, Purpose::Complete));
        if self.standing == Standing::Founding && everybody && in_progress {
            sometimes!(cx, "identity: the founding is being completed already");
        }
        if self.standing == Standing::Founding && everybody && !in_progress {
            let fact = Fact::Identity(self.passport(cx, true));
            let token = cx.persist(Owner::Identity, fact);
            self.pending.insert(token, Purpose::Complete);
        }
    }

    fn become_blank(&mut self, cx: &mut Context<'_>, reason: BlankReason) {
        if !matches!(self.standing, Standing::Blank(_)) {
            if self.standing == Standing::Founding {
                sometimes!(cx, "identity: refused before it was founded");
            }
            self.standing = Standing::Blank(reason);
            cx.shared.timers.cancel(Timer::Introduce);
            cx.notice(Notice::Blank(reason));
        }
    }

    pub(crate) fn invariants(&self, shared: &Shared) {
        assert!(!self.known_by.contains(&shared.me));
        assert!(!self.accepted.contains_key(&shared.me));
        let speaks = matches!(self.standing, Standing::Founding | Standing::Member);
        if speaks && self.known_by.len() + 1 < shared.founding.members().len() {
            assert!(shared.timers.is_set(Timer::Introduce), "whoever does not know us is told again");
        }
        if self.standing == Standing::Member {
            assert!(!self.founding, "a founded node counts only when everybody knows it");
        }
    }
}
