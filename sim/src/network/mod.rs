//! The network: what becomes of each message.
//!
//! A post office with a temper. Every message is named by its link, its kind and its number of that kind on that link,
//! so a decision about it holds even if everything around it changes. Its fate is one word of its link's stream: how
//! long it takes, whether it is lost, repeated, kept for much later, or damaged on the way.
//!
//! The *weather* is what faults have switched on at the moment: rates, cuts and slow links. Cuts hold at sending and at
//! arrival. On links with order (streams, as TCP's) no message overtakes another; without, each goes alone.
//!
//! State per link exists only once something was sent on it, so large clusters cost what they use.

mod weather;

pub(crate) use weather::Weather;

use crate::rng::{Dice, Purpose, Stream};
use quorate_core::message::{Body, IdentityMessage, ReplicaReply, ReplicaRequest};
use quorate_traces::{Act, Directive, FaultKind, NetworkPlan, Scheduler};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

/// How long a message waits in line at most, in microseconds: what would wait longer is dropped, as by a full buffer.
const QUEUE_MAX: u64 = 1_000_000;

/// The kinds of messages, by their number in this module.
pub(crate) const KINDS: [&str; 9] =
    ["Introduce", "Known", "Refused", "Stranger", "Query", "Store", "Found", "Stored", "Refusal"];

/// The number of a message's kind.
pub(crate) fn kind_of(body: &Body) -> u8 {
    match body {
        Body::Identity(IdentityMessage::Introduce { .. }) => 0,
        Body::Identity(IdentityMessage::Known { .. }) => 1,
        Body::Identity(IdentityMessage::Refused { .. }) => 2,
        Body::Identity(IdentityMessage::Stranger { .. }) => 3,
        Body::Replica(ReplicaRequest::Query { .. }) => 4,
        Body::Replica(ReplicaRequest::Store { .. }) => 5,
        Body::ReplicaReply(ReplicaReply::Found { .. }) => 6,
        Body::ReplicaReply(ReplicaReply::Stored { .. }) => 7,
        Body::ReplicaReply(ReplicaReply::Refused { .. }) => 8,
    }
}

/// The stable name of a message: link, kind, and number of that kind on that link from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Name {
    /// Who sent it; nodes count from 0 here.
    pub(crate) from: u32,
    /// To whom.
    pub(crate) to: u32,
    /// See [`KINDS`].
    pub(crate) kind: u8,
    /// Which of that kind on that link.
    pub(crate) count: u32,
}

impl Name {
    /// As traces write it.
    pub(crate) fn public(&self) -> quorate_traces::MessageName {
        quorate_traces::MessageName {
            from: quorate_core::id::NodeId(self.from + 1),
            to: quorate_core::id::NodeId(self.to + 1),
            kind: KINDS[usize::from(self.kind)].to_owned(),
            count: self.count,
        }
    }
}

/// What becomes of one message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Fate {
    /// When it arrives.
    pub(crate) first: Option<u64>,
    /// When a copy of it arrives.
    pub(crate) second: Option<u64>,
    /// Which bit of the first turns on the way, modulo its length.
    pub(crate) flipped: Option<u64>,
    /// The fault that mattered most.
    pub(crate) because: Option<FaultKind>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Link {
    stream: Stream,
    counts: [u32; KINDS.len()],
    last_arrival: u64,
    busy_until: u64,
    /// What had been sent when the connection broke last.
    broken_at: [u32; KINDS.len()],
}

/// All links.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Network {
    nodes: u32,
    seed: u64,
    #[serde(with = "crate::as_json")]
    plan: Arc<NetworkPlan>,
    racks: u32,
    regions: u32,
    held_back: Option<(u32, u64)>,
    links: Vec<Option<Box<Link>>>,
    decided: BTreeMap<Name, (Act, u64)>,
    /// Directives that have met their message.
    pub(crate) matched: u64,
    /// What the weather has done to single messages, if that is noted.
    pub(crate) noted: Option<Vec<(Name, Act, u64)>>,
    /// What is switched on now.
    pub(crate) weather: Weather,
}

impl Network {
    /// The links of a cluster of so many nodes.
    pub(crate) fn new(
        seed: u64,
        nodes: u32,
        (racks, regions): (u32, u32),
        plan: &NetworkPlan,
        scheduler: &Scheduler,
        directives: &[Directive],
    ) -> Self {
        let held_back = match *scheduler {
            Scheduler::DelayBounded { per_million, by } => Some((per_million, by)),
            Scheduler::Latency | Scheduler::Uniform { .. } | Scheduler::Pct { .. } => None,
        };
        let mut network = Self {
            nodes,
            seed,
            plan: Arc::new(plan.clone()),
            racks: racks.max(1),
            regions: regions.max(1),
            held_back,
            links: vec![None; (nodes * nodes) as usize],
            decided: BTreeMap::new(),
            matched: 0,
            noted: None,
            weather: Weather::new(nodes),
        };
        directives.iter().for_each(|directive| network.direct(directive));
        network
    }

    /// Decides about a message that has not been sent yet. A kind that this build does not know matches nothing.
    pub(crate) fn direct(&mut self, directive: &Directive) {
        let message = &directive.message;
        let kind = KINDS.iter().position(|&kind| kind == message.kind);
        let ends = message.from.0.checked_sub(1).zip(message.to.0.checked_sub(1));
        if let (Some(kind), Some((from, to))) = (kind, ends) {
            let name = Name { from, to, kind: kind as u8, count: message.count };
            self.decided.insert(name, (directive.act, directive.by.unwrap_or(0)));
        }
    }

    /// Nothing is lost, cut or slowed any more, and nothing is held back by the scheduler: on links that keep the order,
    /// one message held back often enough would leave no time for anything.
    pub(crate) fn heal(&mut self) {
        self.weather.clear();
        self.held_back = None;
    }

    /// From here on chance is drawn from another seed.
    pub(crate) fn reseed(&mut self, seed: u64) {
        self.seed = seed;
        for (index, link) in self.links.iter_mut().enumerate() {
            let (from, to) = (index as u64 / u64::from(self.nodes), index as u64 % u64::from(self.nodes));
            if let Some(link) = link {
                link.stream = Stream::new(seed, Purpose::Link, from << 32 | to);
            }
        }
    }

    /// A message of `bytes` bytes leaves at `now`.
    pub(crate) fn send(&mut self, now: u64, from: u32, to: u32, kind: u8, bytes: usize) -> (Name, Fate) {
        let index = from * self.nodes + to;
        let seed = self.seed;
        let link = self.links[index as usize].get_or_insert_with(|| {
            let stream = Stream::new(seed, Purpose::Link, u64::from(from) << 32 | u64::from(to));
            Box::new(Link {
                stream,
                counts: [0; KINDS.len()],
                last_arrival: 0,
                busy_until: 0,
                broken_at: [0; KINDS.len()],
            })
        });
        link.counts[usize::from(kind)] += 1;
        let name = Name { from, to, kind, count: link.counts[usize::from(kind)] };
        // One word for each message, whatever is switched on.
        let mut dice = Dice(link.stream.word());
        let mut at = now + dice.latency(&self.plan.latency).max(1);
        let rack = |node: u32| node % self.racks;
        if rack(from) != rack(to) {
            at += self.plan.rack_penalty;
        }
        if from % self.regions != to % self.regions {
            at += self.plan.region_penalty;
        }
        let weather = &self.weather;
        at += weather.slowed(index);
        if let Some((per_million, by)) = self.held_back
            && dice.chance(per_million)
        {
            at += by;
        }
        let throttle = weather.throttles.iter().copied().min();
        // A plan without a limit says 0.
        let limit = throttle.into_iter().chain(Some(self.plan.bandwidth).filter(|&limit| limit > 0)).min();
        let mut is_full = false;
        if let Some(limit) = limit {
            let sending = bytes as u64 * 1_000_000 / limit.max(1);
            let sent = link.busy_until.max(now) + sending;
            is_full = sent - now > QUEUE_MAX;
            if !is_full {
                link.busy_until = sent;
                at += sent - now;
            }
        }
        let mut fate = Fate { first: Some(at), ..Fate::default() };
        if throttle.is_some() {
            fate.because = Some(FaultKind::Throttle);
        }
        if weather.slowed(index) > 0 {
            fate.because = Some(FaultKind::SlowLink);
        }
        if is_full {
            fate = Fate { because: fate.because, ..Fate::default() };
        } else {
            weather.touch(&mut fate, (kind, bytes), &mut dice, now);
        }
        if let Some(noted) = &mut self.noted
            && let Some((act, by)) = decided_by_weather(&fate, at)
        {
            noted.push((name, act, by));
        }
        if let Some(&(act, by)) = self.decided.get(&name) {
            self.matched += 1;
            decree(&mut fate, act, by, at);
        }
        if let Some(kind) = weather.cut(index) {
            fate = Fate { because: Some(kind), ..Fate::default() };
        }
        if self.plan.fifo
            && let Some(first) = &mut fate.first
        {
            *first = (*first).max(link.last_arrival + 1);
            link.last_arrival = *first;
        }
        (name, fate)
    }

    /// The connection of two nodes breaks: what is on its way between them will not arrive. A copy that somebody has
    /// kept may.
    pub(crate) fn break_connection(&mut self, a: u32, b: u32) {
        for index in [self.link(a, b), self.link(b, a)] {
            if let Some(link) = &mut self.links[index as usize] {
                link.broken_at = link.counts;
            }
        }
    }

    /// Whether a message was on its way when its connection broke.
    pub(crate) fn was_broken(&self, name: &Name) -> bool {
        let link = &self.links[self.link(name.from, name.to) as usize];
        link.as_ref().is_some_and(|link| name.count <= link.broken_at[usize::from(name.kind)])
    }

    /// Whether a message that arrives now meets a cut.
    pub(crate) fn cut_at_arrival(&self, name: &Name) -> Option<FaultKind> {
        self.weather.cut(name.from * self.nodes + name.to)
    }

    /// The index of a link in the weather's tables.
    pub(crate) fn link(&self, from: u32, to: u32) -> u32 {
        from * self.nodes + to
    }
}

/// What the rates made of a message, as a decree that does the same.
fn decided_by_weather(fate: &Fate, at: u64) -> Option<(Act, u64)> {
    match (fate.because?, fate.second) {
        (FaultKind::Loss | FaultKind::Filter | FaultKind::Corrupt | FaultKind::LargeLost, _) => Some((Act::Drop, 0)),
        (FaultKind::Duplicate | FaultKind::Replay, Some(second)) => Some((Act::Repeat, second - at)),
        _ => None,
    }
}

fn decree(fate: &mut Fate, act: Act, by: u64, at: u64) {
    match act {
        Act::Drop => *fate = Fate::default(),
        Act::Delay => *fate = Fate { first: Some(at.saturating_add(by)), ..Fate::default() },
        Act::Repeat => *fate = Fate { first: Some(at), second: Some(at.saturating_add(by.max(1))), ..Fate::default() },
        Act::Deliver => *fate = Fate { first: Some(at), ..Fate::default() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorate_traces::Latency;

    fn network(fifo: bool) -> Network {
        let plan = NetworkPlan {
            latency: Latency::Uniform { min: 10, max: 1_000 },
            rack_penalty: 0,
            region_penalty: 0,
            client_latency: Latency::Uniform { min: 1, max: 1 },
            fifo,
            bandwidth: 0,
        };
        let name = "n1>n2/Query#3".parse().unwrap();
        let drop = Directive { message: name, act: Act::Drop, by: None };
        Network::new(7, 3, (1, 1), &plan, &Scheduler::Latency, &[drop])
    }

    #[test]
    fn a_stream_keeps_its_order_and_datagrams_do_not() {
        for fifo in [true, false] {
            let mut network = network(fifo);
            let arrivals: Vec<u64> = (0..50).filter_map(|at| network.send(at, 0, 1, 5, 100).1.first).collect();
            assert_eq!(arrivals.windows(2).all(|pair| pair[0] < pair[1]), fifo);
        }
    }

    #[test]
    fn a_directive_meets_its_message_and_no_other() {
        let mut network = network(false);
        let fates: Vec<bool> = (0..5).map(|at| network.send(at, 0, 1, 4, 9).1.first.is_some()).collect();
        assert_eq!(fates, [true, true, false, true, true]);
        assert_eq!(network.matched, 1);
    }

    #[test]
    fn what_is_switched_on_changes_no_other_draw() {
        let (mut calm, mut stormy) = (network(false), network(false));
        stormy.weather.loss = 500_000;
        let mut lost = 0;
        for at in 0..200 {
            let (quiet, wet) = (calm.send(at, 0, 2, 5, 10).1, stormy.send(at, 0, 2, 5, 10).1);
            match wet.first {
                Some(first) => assert_eq!(quiet.first, Some(first)),
                None => lost += 1,
            }
        }
        assert!((60..140).contains(&lost), "{lost}");
    }
}
