//! First everything may go wrong; then everything is healed, and the cluster must come to rest.
//!
//! At [`quorate_traces::Phases::heal_at`] all faults end, all machines start, and the clocks that stood still run. Once
//! every operation has ended, every node that may count does and nothing is on its way, each key is read once, at ALL:
//! these reads repair what lags, since no other repair runs yet. When nothing is on its way any more, the homes of
//! each key are compared with one another and with the ledger. In some runs the first question of each of these reads is
//! lost on every link, since a cluster that never asks twice would otherwise look well.
//!
//! A node whose disk was harmed on purpose may stay out for good; its keys are then read on all others, and it is not
//! compared.

use crate::history::Ending;
use crate::host::Host;
use crate::oracle::{Judgement, Ledger, Property, node_name};
use crate::world::{Event, World};
use quorate_core::Standing;
use quorate_core::effect::BlankReason;
use quorate_core::version::Record;
use quorate_traces::{Do, Level, Op, Phases};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// How often it is asked whether everything is done.
const PROBE_EVERY: u64 = 20_000;
/// How long a cluster of which nothing is demanded may take for its last reads.
const LAST_READS_WITHIN: u64 = 3_000_000;

/// Registers have one level, a majority, and a home that does not know the coordinator's boot yet does not hear its
/// question: their last reads are repeated through every coordinator while homes differ, and so often more.
const REGISTER_ROUNDS_EXTRA: u32 = 3;

/// How far a run has come.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Phase {
    /// Everything may go wrong.
    #[default]
    Faults,
    /// Healed: operations end, nodes come back.
    Healed { deadline: u64 },
    /// Each key is read once: the operations that do it.
    LastReads { deadline: u64, reads: Vec<u32>, rounds: u32 },
    /// Nothing more is asked; messages come to rest.
    Settling { deadline: u64, quiet_probes: u32, rounds: u32 },
    /// Over.
    Over { complete: bool },
}

impl Phase {
    pub(crate) fn is_over(&self) -> bool {
        matches!(self, Self::Over { .. })
    }
    pub(crate) fn is_healed(&self) -> bool {
        !matches!(self, Self::Faults)
    }
}

impl World {
    /// Everything is healed.
    pub(crate) fn heal(&mut self) {
        let within = self.plan.shape.phases.live_within.unwrap_or(LAST_READS_WITHIN);
        self.phase = Phase::Healed { deadline: self.now.saturating_add(within) };
        self.network.heal();
        for node in 0..self.hosts.len() {
            let host = &mut self.hosts[node];
            host.disk.set_capacity(u64::MAX);
            host.disk.set_lying(false);
            host.slow_by = 0;
            host.slow_inputs = (0, 0);
            host.doom = None;
            host.clock.set_frozen(self.now, false);
            if host.paused_until.is_some() {
                host.paused_until = Some(self.now);
                self.resume(node);
            }
            let host = &mut self.hosts[node];
            if host.running().is_none() {
                let (generation, later) = (host.generation, host.stream.below(10_000));
                self.at(self.now + later, node, Event::Restart { node: node as u32, generation });
            }
        }
        self.at(self.now + PROBE_EVERY, 0, Event::Probe);
    }

    /// Is everything done? Then on to the next phase.
    pub(crate) fn probe(&mut self) {
        match std::mem::take(&mut self.phase) {
            Phase::Healed { deadline } => {
                if self.is_ready() {
                    self.asked = self.plan.shape.phases.ask_twice.then(BTreeSet::new);
                    let reads = (0..self.keys.len()).map(|key| self.last_read(key, 0)).collect();
                    self.phase = Phase::LastReads { deadline, reads, rounds: 1 };
                } else {
                    self.phase = Phase::Healed { deadline };
                }
                self.check_deadline(deadline, "operations ended and nodes served");
            }
            Phase::LastReads { deadline, mut reads, rounds } => {
                let mut all = true;
                for read in &mut reads {
                    match self.progress[*read as usize].ending {
                        Some(Ending::Ok) => {}
                        None => all = false,
                        Some(Ending::Failed | Ending::Unknown) => {
                            all = false;
                            let key = self.op_keys[*read as usize] as usize;
                            *read = self.last_read(key, *read as usize + 1);
                        }
                    }
                }
                self.phase = match all {
                    true => Phase::Settling { deadline, quiet_probes: 0, rounds },
                    false => Phase::LastReads { deadline, reads, rounds },
                };
                self.check_deadline(deadline, "each key had been read once");
            }
            Phase::Settling { deadline, quiet_probes, rounds } => {
                self.phase = match (self.is_quiet(), quiet_probes) {
                    (true, 1..) => self.rest_or_read_on(deadline, rounds),
                    (true, 0) => Phase::Settling { deadline, quiet_probes: 1, rounds },
                    (false, _) => Phase::Settling { deadline, quiet_probes: 0, rounds },
                };
                self.check_deadline(deadline, "messages had come to rest");
            }
            phase @ (Phase::Faults | Phase::Over { .. }) => self.phase = phase,
        }
        if !self.phase.is_over() {
            self.at(self.now + PROBE_EVERY, 0, Event::Probe);
        }
    }

    /// Everything is quiet: over, or registers whose homes differ are read once more.
    fn rest_or_read_on(&mut self, deadline: u64, rounds: u32) -> Phase {
        let differs = |key: &usize| self.keys[*key].register && self.converged(*key, &self.finals(*key)).is_err();
        let differing: Vec<usize> = (0..self.keys.len()).filter(differs).collect();
        if differing.is_empty() || rounds >= self.hosts.len() as u32 + REGISTER_ROUNDS_EXTRA {
            return Phase::Over { complete: true };
        }
        self.audit.mark("last reads: a register was read once more".into());
        let reads = differing.into_iter().map(|key| self.last_read(key, rounds as usize)).collect();
        Phase::LastReads { deadline, reads, rounds: rounds + 1 }
    }

    /// What each counted home of a key holds.
    fn finals(&self, key: usize) -> Vec<(usize, Option<&Record>)> {
        let facts = &self.keys[key];
        let counted = facts.homes.iter().map(|&home| home as usize).filter(|&home| !self.is_out(home));
        let held = counted.filter_map(|home| {
            let running = self.hosts[home].running()?;
            Some((home, running.store.tree().record(&facts.key)))
        });
        held.collect()
    }

    /// Whether the homes of a key agree. A version is given out twice only where durability is void, by a node that was
    /// put back unnoticed; in any other run that alone breaks a promise.
    fn converged(&self, key: usize, finals: &[(usize, Option<&Record>)]) -> Judgement {
        Ledger::converged(finals, |version| self.oracles.dots.is_doubled(key, version))
    }

    fn check_deadline(&mut self, deadline: u64, what: &str) {
        if self.now < deadline || self.phase.is_over() {
            return;
        }
        self.phase = Phase::Over { complete: false };
        let Phases { live_within, durability_void, .. } = self.plan.shape.phases;
        if live_within.is_some() && !durability_void {
            let words = format!("everything was healed, but time ran out before {what}: {}", self.unfinished());
            self.break_promise(Property::Liveness, None, words, &[]);
        }
    }

    fn unfinished(&self) -> String {
        let mut words = Vec::new();
        for (node, host) in self.hosts.iter().enumerate() {
            match host.running() {
                None => words.push(format!("{} is down", node_name(node))),
                Some(running) => match running.node.standing() {
                    Standing::Member if running.is_idle() => {}
                    Standing::Member => words.push(format!("{} is at work", node_name(node))),
                    standing => words.push(format!("{} is {standing:?}", node_name(node))),
                },
            }
        }
        let open = self.progress.iter().filter(|progress| !progress.is_done()).count();
        words.push(format!("{open} operations open, {} messages on their way", self.flying));
        words.join(", ")
    }

    /// Whether a node may be missing for good.
    fn is_out(&self, node: usize) -> bool {
        let standing = self.hosts[node].running().map(|running| running.node.standing());
        match standing {
            Some(Standing::Blank(BlankReason::NoIdentity | BlankReason::Refused { .. })) => true,
            Some(Standing::Starting | Standing::Founding | Standing::Member) => false,
            None => self.hosts[node].is_given_up(),
        }
    }

    /// Nothing is on its way, and nobody is at work: what is read now is not overtaken by what was asked before. A client
    /// that went away may have left a request on its way, too.
    fn is_quiet(&self) -> bool {
        let idle = |host: &Host| host.running().is_none_or(|running| running.is_idle());
        let asked = |event: &Event| matches!(event, Event::Ask { .. });
        self.flying == 0 && self.hosts.iter().all(idle) && !self.queue.any(asked)
    }

    fn is_ready(&self) -> bool {
        let member = |node: &usize| {
            let running = self.hosts[*node].running();
            running.is_some_and(|running| running.node.standing() == Standing::Member)
        };
        let nodes_ready = (0..self.hosts.len()).all(|node| member(&node) || self.is_out(node));
        nodes_ready && self.is_quiet() && self.progress.iter().all(|progress| progress.is_done())
    }

    fn last_read(&mut self, key: usize, attempt: usize) -> u32 {
        let facts = &self.keys[key];
        let counted = facts.homes.iter().filter(|&&home| !self.is_out(home as usize)).count() as u8;
        let level = match (facts.register, counted == facts.n()) {
            (true, _) => Level::Keyspace,
            (false, true) => Level::All,
            (false, false) => Level::Homes(counted.max(1)),
        };
        let number = self.next_op;
        self.next_op += 1;
        // A client of its own for each read, so that none waits for another.
        let client = self.clients.len() as u32;
        let via = self.coordinator(key + attempt).unwrap_or(quorate_core::id::NodeId(1));
        let op = Op {
            at: self.now,
            op: number,
            client,
            what: Do::Get,
            key: quorate_traces::names::Blob(facts.key.bytes().clone()),
            value: None,
            via,
            level,
            context: false,
            forged: None,
            id: false,
            gone: None,
            retry: None,
        };
        self.add_op(op, key as u32)
    }

    /// The end of a run: what only the whole can show.
    pub(crate) fn conclude(&mut self) {
        let complete = self.phase == Phase::Over { complete: true };
        if complete && self.violations.is_empty() {
            self.compare_homes();
            self.unanswered();
        }
        if self.violations.is_empty() && cfg!(debug_assertions) {
            self.judge_again();
        }
    }

    fn compare_homes(&mut self) {
        let phases = self.plan.shape.phases.clone();
        for key in 0..self.keys.len() {
            let finals = self.finals(key);
            let settled: Judgement = match phases.durability_void {
                true => Ok(()),
                false => self.oracles.ledger.settle(key, &finals),
            };
            let op = self.oracles.ledger.must_survive(key).1;
            let converged = match phases.live_within {
                Some(_) => self.converged(key, &finals),
                None => Ok(()),
            };
            self.judge(Some(key), op.as_slice(), settled);
            self.judge(Some(key), &[], converged);
        }
    }

    /// A call that a living node has never answered, although nothing is left to do.
    fn unanswered(&mut self) {
        let open = (0..self.calls.len()).find(|&call| self.oracles.answers.is_open(call));
        if let Some(call) = open {
            let (node, op) = (self.calls[call].node as usize, self.calls[call].op);
            let words = format!("{} never answered a call of op {}", node_name(node), self.ops[op as usize].op);
            self.break_promise(Property::AnsweredOnce, Some(self.op_keys[op as usize] as usize), words, &[op]);
        }
    }
}
