//! Judging the end: do all replicas agree, and was anything lost?
//!
//! After a run has been healed and is quiet, each replica's content is dumped. Judged are convergence (every replica
//! holds the same), origin (each final value was written, and by a write that no other is causally after: so nothing
//! deleted came back and nothing overwritten did), and loss (an acknowledged write that no write of the key came
//! causally after must still be there, where siblings are kept; where the last writer wins, one of them must be).
//! The ledger splits the acknowledged writes into those that must have survived and those that may be gone.
//!
//! A dump is JSON lines: `{"n":"n1","k":"cart","v":"x"}`, or `"vs":[..]` for siblings; an absent key needs no line. With
//! `"at":TIME` on its lines a file holds several dumps: the last is judged, and since when the replicas agreed as they
//! do at the end is the convergence time.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::io::{BufRead, BufReader, Read};

use super::relation::{Node, Relation, Unrelated};
use crate::check::{Options, Verdict};
use crate::history::{Clock, History, KeyId, Kind, NEVER, OperationId, Outcome, TIME_MIN, Time};
use crate::read::{ReadError, json_dump_line};
use crate::render::put_operation;
use crate::write::put_text;
use crate::{Value, describe};

/// What every replica holds: replica, key, values.
type Replicas = BTreeMap<String, BTreeMap<String, BTreeSet<Value>>>;

/// What every replica holds at the end, and held at moments before.
#[derive(Clone, Debug, Default)]
pub struct Dump {
    /// By the time of the dump; dumps that do not say theirs are the only ones.
    moments: BTreeMap<Time, Replicas>,
}

impl Dump {
    /// An empty dump.
    pub fn new() -> Self {
        Self::default()
    }

    /// Notes that a replica answered at the end, even if it holds nothing.
    pub fn add_replica(&mut self, replica: &str) {
        self.add_replica_at(NEVER, replica);
    }

    /// Notes one value that a replica holds at the end.
    pub fn add(&mut self, replica: &str, key: &str, value: Value) {
        self.add_at(NEVER, replica, key, value);
    }

    /// Notes that a replica answered at this time, even if it holds nothing.
    pub fn add_replica_at(&mut self, at: Time, replica: &str) {
        self.moments.entry(at).or_default().entry(replica.to_string()).or_default();
    }

    /// Notes one value that a replica held at this time.
    pub fn add_at(&mut self, at: Time, replica: &str, key: &str, value: Value) {
        let of_replica = self.moments.entry(at).or_default().entry(replica.to_string()).or_default();
        if !value.is_absent() {
            of_replica.entry(key.to_string()).or_default().insert(value);
        }
    }

    /// Reads JSON lines.
    pub fn read(input: impl Read) -> Result<Self, ReadError> {
        let mut dump = Dump::new();
        for (at, line) in BufReader::new(input).split(b'\n').enumerate() {
            let line = line?;
            if line.trim_ascii().is_empty() {
                continue;
            }
            let (moment, replica, key, values) =
                json_dump_line(&line).map_err(|reason| ReadError::Line { line: at as u64 + 1, reason })?;
            let moment = moment.unwrap_or(NEVER);
            dump.add_replica_at(moment, &replica);
            values.into_iter().for_each(|value| dump.add_at(moment, &replica, &key, value));
        }
        Ok(dump)
    }

    /// The last dump.
    fn last(&self) -> Option<&Replicas> {
        self.moments.values().next_back()
    }

    /// Since when all replicas hold what they hold at the end, as far as the dumps tell.
    fn agreed_since(&self) -> Option<Time> {
        let end = self.last()?.values().next()?;
        let agreed = |(_, replicas): &(&Time, &Replicas)| replicas.values().all(|held| held == end);
        let since = self.moments.iter().rev().take_while(agreed).last().map(|(time, _)| *time)?;
        (since != NEVER).then_some(since)
    }
}

/// How replicas resolve concurrent writes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Conflicts {
    /// One of them wins.
    #[default]
    LastWriterWins,
    /// All are kept.
    Siblings,
}

/// What is wrong at the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// On which key.
    pub key: String,
    /// What, in one sentence.
    pub words: String,
    /// The operations that show it.
    pub operations: Vec<OperationId>,
}

/// What was found out about the end of a run.
#[derive(Clone, Debug)]
pub struct EndReport {
    /// Ok, violation, or unknown where answers do not name their writes.
    pub verdict: Verdict,
    /// What is wrong.
    pub findings: Vec<Finding>,
    /// Acknowledged writes that must have survived.
    pub must_survive: Vec<OperationId>,
    /// Acknowledged writes that something newer, or something concurrent that won, may have replaced.
    pub may_be_lost: Vec<OperationId>,
    /// How long after the last acknowledged write the replicas were first seen to hold what they hold at the end, and
    /// all the same; `None` where the dumps carry no times, or the replicas never agreed.
    pub converged_after: Option<Time>,
}

/// Judges final dumps against what clients were told.
pub fn check_end(history: &History, dump: &Dump, conflicts: Conflicts, options: &Options) -> EndReport {
    let mut report = EndReport {
        verdict: Verdict::Ok,
        findings: Vec::new(),
        must_survive: Vec::new(),
        may_be_lost: Vec::new(),
        converged_after: converged_after(history, dump),
    };
    let nothing = Replicas::new();
    let replicas = dump.last().unwrap_or(&nothing);
    report.check_convergence(replicas);
    let relation = match Relation::of_all_writes(history, options) {
        Ok(relation) => relation,
        Err(Unrelated::ThinAir(broken)) => {
            report.find("", broken.words, broken.operations);
            return report;
        }
        Err(Unrelated::Unknown(_)) => {
            report.verdict = report.verdict.max(Verdict::Unknown);
            return report;
        }
    };
    let empty_replica = BTreeMap::new();
    let held = replicas.values().next().unwrap_or(&empty_replica);
    for key in 0..history.keys().len() as u32 {
        let name = history.key_name(KeyId(key));
        let empty = BTreeSet::new();
        report.check_key(&relation, KeyId(key), name, held.get(name).unwrap_or(&empty), conflicts);
    }
    for (key, values) in held.iter().filter(|(key, _)| history.keys().find(key).is_none()) {
        let first = values.first().map(Value::to_string).unwrap_or_default();
        report.find(key, format!("the replicas hold {first}, but no client ever wrote this key"), Vec::new());
    }
    report
}

/// From the last acknowledged write to the first dump since which nothing changed and all agreed.
fn converged_after(history: &History, dump: &Dump) -> Option<Time> {
    let since = dump.agreed_since()?;
    let writes = history
        .operations()
        .iter()
        .filter(|operation| operation.outcome == Outcome::Ok && !matches!(operation.kind, Kind::Read | Kind::Dequeue));
    let last = writes.map(|operation| operation.ret).max().unwrap_or(TIME_MIN);
    Some(since.saturating_sub(last).max(0))
}

/// Findings shown in full in text, and in JSON.
const SHOWN_MAX: usize = 5;
const JSON_FINDINGS_MAX: usize = 100;
/// Writes of each side of the ledger that the JSON names.
const JSON_LEDGER_MAX: usize = 1_000;

impl EndReport {
    pub(crate) fn text(&self, clock: Clock) -> String {
        let mut text = String::new();
        let _ = writeln!(
            text,
            "end of the run: {} acknowledged writes must have survived, {} may be gone",
            self.must_survive.len(),
            self.may_be_lost.len()
        );
        let _ = match self.converged_after {
            Some(after) => writeln!(text, "  replicas agree since {} after the last write", clock.show(after)),
            None if self.verdict == Verdict::Violation => Ok(()),
            None => writeln!(text, "  replicas agree; the dumps do not say since when"),
        };
        for finding in self.findings.iter().take(SHOWN_MAX) {
            let _ = writeln!(text, "  key {}: {}", finding.key, finding.words);
        }
        if self.findings.len() > SHOWN_MAX {
            let _ = writeln!(text, "  … and {} more", self.findings.len() - SHOWN_MAX);
        }
        text
    }

    pub(crate) fn json(&self, history: &History) -> String {
        let mut json = String::new();
        let after = self.converged_after.map_or("null".to_string(), |after| after.to_string());
        let _ = write!(
            json,
            "{{\"verdict\":\"{}\",\"converged_after\":{after},\"must_survive\":{},\"may_be_lost\":{},\"findings\":[",
            self.verdict.name(),
            self.must_survive.len(),
            self.may_be_lost.len()
        );
        for (at, finding) in self.findings.iter().take(JSON_FINDINGS_MAX).enumerate() {
            json.push_str(if at > 0 { ",{\"key\":" } else { "{\"key\":" });
            put_text(&finding.key, &mut json);
            json.push_str(",\"words\":");
            put_text(&finding.words, &mut json);
            json.push_str(",\"operations\":[");
            for (at, id) in finding.operations.iter().enumerate() {
                json.push_str(if at > 0 { "," } else { "" });
                put_operation(history, *id, &mut json);
            }
            json.push_str("]}");
        }
        json.push_str("],\"ledger\":{");
        for (at, (name, ids)) in
            [("must_survive", &self.must_survive), ("may_be_lost", &self.may_be_lost)].into_iter().enumerate()
        {
            let ids = &ids[..ids.len().min(JSON_LEDGER_MAX)];
            let comma = if at > 0 { "," } else { "" };
            let _ = write!(json, "{comma}\"{name}\":{ids:?}");
        }
        json.push_str("}}");
        json
    }

    fn find(&mut self, key: &str, words: String, operations: Vec<OperationId>) {
        self.verdict = Verdict::Violation;
        self.findings.push(Finding { key: key.to_string(), words, operations });
    }

    fn check_convergence(&mut self, replicas: &Replicas) {
        let Some((first, held)) = replicas.first_key_value() else { return };
        for (replica, other) in replicas {
            let keys: BTreeSet<&String> = held.keys().chain(other.keys()).collect();
            for key in keys.into_iter().filter(|key| held.get(*key) != other.get(*key)) {
                let show = |values: Option<&BTreeSet<Value>>| match values {
                    Some(values) => values.iter().map(Value::to_string).collect::<Vec<_>>().join(", "),
                    None => "nothing".to_string(),
                };
                let words = format!("{first} holds {}, {replica} holds {}", show(held.get(key)), show(other.get(key)));
                self.find(key, words, Vec::new());
            }
        }
    }

    fn check_key(
        &mut self,
        relation: &Relation<'_>,
        key: KeyId,
        name: &str,
        held: &BTreeSet<Value>,
        conflicts: Conflicts,
    ) {
        let history = relation.history;
        let writes: Vec<Node> =
            relation.writes.get(&key).into_iter().flatten().flat_map(|(_, nodes)| nodes.clone()).collect();
        let operation = |node: Node| history.operation(relation.nodes[node as usize]);
        let newer = |node: Node| writes.iter().copied().find(|other| relation.is_before(node, *other));
        let maximal: Vec<Node> = writes.iter().copied().filter(|node| newer(*node).is_none()).collect();
        let values: Vec<Value> = if held.is_empty() { vec![Value::Absent] } else { held.iter().cloned().collect() };
        for value in &values {
            let of_value: Vec<Node> = writes.iter().copied().filter(|node| operation(*node).value == *value).collect();
            if of_value.iter().any(|node| maximal.contains(node)) {
                continue;
            }
            let never_written =
                value.is_absent() && !maximal.iter().any(|node| operation(*node).outcome == Outcome::Ok);
            match of_value.last() {
                _ if never_written => {}
                None if value.is_absent() => {}
                None => self.find(name, format!("the replicas hold {value}, which nobody wrote"), Vec::new()),
                Some(old) => {
                    let newer = newer(*old).expect("it is not maximal");
                    let words = format!("the replicas hold {value} again, but {}", relation.show(newer));
                    self.find(name, words, vec![relation.nodes[*old as usize], relation.nodes[newer as usize]]);
                }
            }
        }
        let is_held = |node: Node| values.contains(&operation(node).value);
        let any_held = maximal.iter().any(|node| is_held(*node));
        for node in writes.iter().copied().filter(|node| operation(*node).outcome == Outcome::Ok) {
            let id = relation.nodes[node as usize];
            let must = newer(node).is_none() && (conflicts == Conflicts::Siblings || maximal.len() == 1);
            if must {
                self.must_survive.push(id)
            } else {
                self.may_be_lost.push(id)
            }
            let lost = match conflicts {
                // A tombstone need not be seen beside what is concurrent with it.
                Conflicts::Siblings => must && !is_held(node) && !operation(node).value.is_absent(),
                Conflicts::LastWriterWins => newer(node).is_none() && !any_held,
            };
            if lost {
                self.find(name, format!("{}, and it is gone", describe(history, id)), vec![id]);
            }
        }
    }
}
