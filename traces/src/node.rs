//! Node traces: one node's life, input by input, with the effects that each had. `NAME.node.jsonl`.
//!
//! A node is a function of its state and its inputs, so a snapshot and the inputs after it are enough to live that life
//! again, from a simulation and from a real process alike. [`NodeTrace::replay`] names the first step at which this
//! build answers differently.
//!
//! ```text
//! {"quorate_node":1,"core":..,"node":"…"}               the snapshot, first: postcard in base64
//! {"now":[monotonic,wall],"input":{..},"effects":[..]}  one per step
//! ```
//!
//! The snapshot's fields are those of the build that wrote it, so it is for builds whose node has the same fields; a
//! build that cannot read it says so.

use crate::lines::{LineError, TraceError, lines, push_line, read_file};
use crate::names::{base64, from_base64};
use quorate_core::time::Now;
use quorate_core::{Effect, Effects, Input, Node};
use serde::{Deserialize, Serialize};
use std::path::Path;

const VERSION: u32 = 1;

/// One node's life from a snapshot on.
#[derive(Clone, Debug)]
pub struct NodeTrace {
    /// Hash of the sources that wrote it; empty if unknown.
    pub core: String,
    /// The node before the first step.
    pub start: Node,
    /// What happened to it, in order.
    pub steps: Vec<Step>,
}

/// One input and its effects.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// Both clocks.
    pub now: Now,
    /// What happened.
    pub input: Input,
    /// What the node wanted done.
    pub effects: Vec<Effect>,
}

/// The first step at which a replay differs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Divergence {
    /// Which step, counted from 0.
    pub step: usize,
    /// What was recorded.
    pub recorded: Vec<Effect>,
    /// What this build does.
    pub replayed: Vec<Effect>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    quorate_node: u32,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    core: String,
    node: String,
}

impl NodeTrace {
    /// Begins with a snapshot of the node.
    pub fn new(node: &Node, core: &str) -> Self {
        Self { core: core.to_owned(), start: node.clone(), steps: Vec::new() }
    }

    /// Notes one step.
    pub fn record(&mut self, now: Now, input: Input, effects: &Effects) {
        self.steps.push(Step { now, input, effects: effects.as_slice().to_vec() });
    }

    /// Lives the life again.
    ///
    /// # Errors
    /// The first step at which this build answers differently.
    pub fn replay(&self) -> Result<Node, Box<Divergence>> {
        let mut node = self.start.clone();
        let mut effects = Effects::default();
        for (step, recorded) in self.steps.iter().enumerate() {
            node.handle(recorded.now, recorded.input.clone(), &mut effects);
            let replayed: Vec<Effect> = effects.drain().collect();
            if replayed != recorded.effects {
                return Err(Box::new(Divergence { step, recorded: recorded.effects.clone(), replayed }));
            }
        }
        Ok(node)
    }

    /// The file's text.
    pub fn write(&self) -> String {
        let mut text = String::new();
        let node = base64(&postcard::to_allocvec(&self.start).expect("a node is plain data"));
        push_line(&mut text, &Header { quorate_node: VERSION, core: self.core.clone(), node });
        self.steps.iter().for_each(|step| push_line(&mut text, step));
        text
    }

    /// The trace that a text holds.
    ///
    /// # Errors
    /// The first line that is not what it should be.
    pub fn read(text: &str) -> Result<Self, LineError> {
        let mut lines = lines(text);
        let nothing = LineError { line: 1, problem: "an empty file is no trace".into() };
        let first = lines.next().unwrap_or(Err(nothing))?;
        if first.fields.get("quorate_node").and_then(serde_json::Value::as_u64) != Some(u64::from(VERSION)) {
            return Err(first.wrong("a node trace begins with {\"quorate_node\":1,…}"));
        }
        let Header { core, node, .. } = first.parse()?;
        let bytes = from_base64(&node).ok_or_else(|| first.wrong("the node's state is not base64"))?;
        let start = postcard::from_bytes(&bytes);
        let start = start.map_err(|_| first.wrong("the node's state is damaged, or of a build with another node"))?;
        let mut trace = Self { core, start, steps: Vec::new() };
        for line in lines {
            let line = line?;
            if line.fields.contains_key("input") {
                trace.steps.push(line.parse()?);
            } else if !line.fields.keys().any(|field| field.starts_with("x-")) {
                return Err(line.wrong("not a step: an unknown kind of line"));
            }
        }
        Ok(trace)
    }

    /// Reads a file.
    ///
    /// # Errors
    /// The file cannot be read, is too long, or a line is not what it should be.
    pub fn load(file: &Path) -> Result<Self, TraceError> {
        let text = read_file(file)?;
        Self::read(&text).map_err(|error| TraceError::Line { file: file.to_owned(), error })
    }
}
