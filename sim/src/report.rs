//! What a run, and a sweep, have to say.

use crate::audit::Audit;
use crate::history::OpRecord;
use crate::oracle::{KeyFacts, Violation};
use quorate_traces::{Checkpoint, VerdictWord};
use serde::{Deserialize, Serialize};

/// What a run came to. Plain data.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// The scenario.
    pub scenario: String,
    /// The seed.
    #[serde(with = "quorate_traces::names::seed")]
    pub seed: u64,
    /// In one word.
    pub verdict: VerdictWord,
    /// The promises that were broken, the first one first.
    pub violations: Vec<Violation>,
    /// The fold over everything that happened.
    #[serde(with = "quorate_traces::names::digest")]
    pub digest: u64,
    /// How many events there were.
    pub events: u64,
    /// How many of them were messages.
    pub deliveries: u64,
    /// How long it took in virtual time, in microseconds.
    pub sim_time: u64,
    /// Which faults fired and mattered, which marks were reached.
    pub audit: Audit,
    /// What the clients did and saw.
    pub history: Vec<OpRecord>,
    /// The fold on the way.
    pub checkpoints: Vec<Checkpoint>,
    /// Directives of the plan that met their message.
    pub directives_matched: u64,
    /// Names of the keys that [`OpRecord::key`] numbers.
    pub keys: Vec<String>,
}

impl Report {
    /// The first broken promise.
    pub fn first(&self) -> Option<&Violation> {
        self.violations.first()
    }

    /// Which failures are of one kind: the property and the class of the key (its keyspace's prefix).
    pub fn signature(&self) -> Option<String> {
        let first = self.first()?;
        let class = first.key.as_deref().map(|key| key.split_inclusive('/').next().unwrap_or("").to_owned());
        Some(match class.filter(|class| class.ends_with('/')) {
            Some(class) => format!("{} {class}", first.property.name()),
            None => first.property.name().to_owned(),
        })
    }

    /// A run that could not be: its plan contradicts itself.
    pub(crate) fn impossible(seed: u64, scenario: &str, violation: Violation) -> Self {
        Self {
            scenario: scenario.to_owned(),
            seed,
            verdict: VerdictWord::Violation,
            violations: vec![violation],
            digest: 0,
            events: 0,
            deliveries: 0,
            sim_time: 0,
            audit: Audit::default(),
            history: Vec::new(),
            checkpoints: Vec::new(),
            directives_matched: 0,
            keys: Vec::new(),
        }
    }
}

pub(crate) fn key_names(keys: &[KeyFacts]) -> Vec<String> {
    keys.iter().map(|facts| facts.name.clone()).collect()
}
