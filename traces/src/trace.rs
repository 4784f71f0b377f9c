//! Plan traces: a run that re-runs, and what is expected of it. `NAME.trace.jsonl`.
//!
//! ```text
//! {"quorate_trace":1,"name":..,"scenario":..,"core":..,"expect":{..},"origin":{..}}    first, once
//! {"cfg":{..}}                                                                          second, once
//! {"at":0,"op":1,"c":"c1","do":"put","key":"reg/k3","val":"v7","via":"n2"}              client operations
//! {"at":1201000,"fault":"partition","a":["n1"],"b":["n3"],"until":1699000}              faults
//! {"m":"n4>n3/Query#7","act":"drop"}                                                    decisions about messages
//! {"step":800,"digest":"q:…"}                                                           digests on the way
//! {"end":1311,"digest":"q:…"}                                                           last, at most once
//! ```
//!
//! One thing per line, keys in a fixed order, whole microseconds: so `git diff`, `grep` and `jq` work. An unknown kind of
//! line or field is an error, except that a kind beginning with `x-` is skipped and lost.
//!
//! Digests are for a binary built from the same sources (`core`); verdicts are always compared.

use crate::lines::{Line, LineError, TraceError, lines, push_line, read_file};
use crate::plan::{Directive, Op, Plan, Shape};
use crate::{FaultRecord, names};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::path::Path;

/// The version of the file format.
const VERSION: u32 = 1;
/// The most operations, faults or directives of one trace.
const RECORDS_MAX: usize = 1 << 20;

/// A recorded run of a whole cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlanTrace {
    /// The trace's name, as its file's.
    pub name: String,
    /// Hash of the sources of core and simulator that the digests are of; empty if unknown.
    pub core: String,
    /// What a run of the plan must come to, on the current tree.
    pub expect: Expect,
    /// Where the trace comes from.
    pub origin: Origin,
    /// What is run.
    pub plan: Plan,
    /// Digests on the way.
    pub checkpoints: Vec<Checkpoint>,
    /// The digest at the end.
    pub end: Option<End>,
}

/// How a run can end, in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum VerdictWord {
    /// Everything holds.
    Ok,
    /// A property is broken.
    Violation,
    /// A budget ended before there was an answer.
    Unknown,
}

/// What a run must come to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expect {
    /// The verdict.
    pub verdict: VerdictWord,
    /// Which property is broken, for a violation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub property: Option<String>,
    /// Of which key, where it concerns one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
}

/// Where a trace comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Origin {
    /// The seed that drew it, on that commit.
    #[serde(with = "names::seed")]
    pub seed: u64,
    /// The commit.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub commit: String,
    /// What was broken when it was found, if it has been mended since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub violated: Option<String>,
    /// How many events the run had before it was made small.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shrunk_from_events: Option<u64>,
    /// Why it is kept, in a few words.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub story: String,
}

/// The digest after so many events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Checkpoint {
    /// How many events.
    pub step: u64,
    /// Their fold.
    #[serde(with = "names::digest")]
    pub digest: u64,
}

/// The digest of the whole run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct End {
    /// How many events.
    pub end: u64,
    /// Their fold.
    #[serde(with = "names::digest")]
    pub digest: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    quorate_trace: u32,
    name: String,
    scenario: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    core: String,
    expect: Expect,
    origin: Origin,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Cfg {
    cfg: Shape,
}

impl PlanTrace {
    /// The file's text.
    pub fn write(&self) -> String {
        let Self { name, core, expect, origin, plan, checkpoints, end } = self;
        let mut text = String::new();
        let header = Header {
            quorate_trace: VERSION,
            name: name.clone(),
            scenario: plan.scenario.clone(),
            core: core.clone(),
            expect: expect.clone(),
            origin: origin.clone(),
        };
        push_line(&mut text, &header);
        push_line(&mut text, &Cfg { cfg: plan.shape.clone() });
        plan.ops.iter().for_each(|op| push_line(&mut text, op));
        plan.faults.iter().for_each(|fault| push_line(&mut text, fault));
        plan.directives.iter().for_each(|directive| push_line(&mut text, directive));
        checkpoints.iter().for_each(|checkpoint| push_line(&mut text, checkpoint));
        if let Some(end) = end {
            push_line(&mut text, end);
        }
        text
    }

    /// The trace that a text holds.
    ///
    /// # Errors
    /// The first line that is not what it should be.
    pub fn read(text: &str) -> Result<Self, LineError> {
        let mut lines = lines(text);
        let first = lines.next().unwrap_or_else(|| Err(at_end(0, "an empty file is no trace")))?;
        let Some(version) = first.fields.get("quorate_trace") else {
            return Err(first.wrong("a trace begins with {\"quorate_trace\":1,…}"));
        };
        if version.as_u64() != Some(u64::from(VERSION)) {
            return Err(first.wrong(format!("this is trace format {version}; this program reads {VERSION}")));
        }
        let header: Header = first.parse()?;
        let second = lines.next().unwrap_or_else(|| Err(at_end(1, "the cfg line is missing")))?;
        if !second.fields.contains_key("cfg") {
            return Err(second.wrong("the second line of a trace is {\"cfg\":{…}}"));
        }
        let Cfg { cfg: shape } = second.parse()?;
        check_shape(&second, &shape)?;
        let plan = Plan { scenario: header.scenario, shape, ops: vec![], faults: vec![], directives: vec![] };
        let Header { name, core, expect, origin, .. } = header;
        let mut trace = Self { name, core, expect, origin, plan, checkpoints: Vec::new(), end: None };
        let mut numbers = BTreeSet::new();
        for line in lines {
            trace.add(&line?, &mut numbers)?;
        }
        Ok(trace)
    }

    fn add(&mut self, line: &Line<'_>, numbers: &mut BTreeSet<u32>) -> Result<(), LineError> {
        if self.end.is_some() {
            return Err(line.wrong("nothing follows the end line"));
        }
        let has = |field: &str| line.fields.contains_key(field);
        let plan = &mut self.plan;
        if has("op") {
            let op: Op = line.parse()?;
            check_node(line, plan, op.via.0)?;
            if !numbers.insert(op.op) {
                return Err(line.wrong(format!("operation {} occurs twice", op.op)));
            }
            bounded(line, plan.ops.len())?;
            plan.ops.push(op);
        } else if has("fault") {
            let fault: FaultRecord = line.parse()?;
            for node in fault.fault.nodes() {
                check_node(line, plan, node.0)?;
            }
            bounded(line, plan.faults.len())?;
            plan.faults.push(fault);
        } else if has("m") {
            let directive: Directive = line.parse()?;
            bounded(line, plan.directives.len())?;
            plan.directives.push(directive);
        } else if has("step") {
            bounded(line, self.checkpoints.len())?;
            self.checkpoints.push(line.parse()?);
        } else if has("end") {
            self.end = Some(line.parse()?);
        } else if !line.fields.keys().any(|field| field.starts_with("x-")) {
            return Err(line.wrong("neither op, fault, m, step nor end: an unknown kind of line"));
        }
        Ok(())
    }

    /// Reads a file.
    ///
    /// # Errors
    /// The file cannot be read, is too long, or a line is not what it should be.
    pub fn load(file: &Path) -> Result<Self, TraceError> {
        let text = read_file(file)?;
        Self::read(&text).map_err(|error| TraceError::Line { file: file.to_owned(), error })
    }

    /// Writes a file, making its folder if need be.
    ///
    /// # Errors
    /// The file system said no.
    pub fn save(&self, file: &Path) -> Result<(), TraceError> {
        let failed = |source| TraceError::File { file: file.to_owned(), source };
        if let Some(folder) = file.parent() {
            std::fs::create_dir_all(folder).map_err(failed)?;
        }
        std::fs::write(file, self.write()).map_err(failed)
    }
}

fn at_end(line: usize, problem: &str) -> LineError {
    LineError { line: line + 1, problem: problem.into() }
}

fn bounded(line: &Line<'_>, have: usize) -> Result<(), LineError> {
    if have < RECORDS_MAX { Ok(()) } else { Err(line.wrong(format!("more than {RECORDS_MAX} lines of this kind"))) }
}

fn check_node(line: &Line<'_>, plan: &Plan, node: u32) -> Result<(), LineError> {
    let nodes = plan.shape.cluster.nodes;
    if (1..=nodes).contains(&node) {
        return Ok(());
    }
    Err(line.wrong(format!("n{node} is no member: the cluster has n1 to n{nodes}")))
}

/// What a simulator must be able to rely on without looking again.
fn check_shape(line: &Line<'_>, shape: &Shape) -> Result<(), LineError> {
    let Shape { cluster, clocks, disk, phases, .. } = shape;
    let facts = [
        ((1..=1_000).contains(&cluster.nodes), "cluster.nodes must be 1 to 1000"),
        (cluster.racks >= 1, "cluster.racks must be at least 1"),
        (cluster.regions >= 1, "cluster.regions must be at least 1"),
        (clocks.len() == cluster.nodes as usize, "there must be one clock for each node"),
        (clocks.iter().all(|clock| clock.tick >= 1), "clocks.tick must be at least 1"),
        (clocks.iter().all(|clock| clock.drift_ppm > -1_000_000), "clocks.drift_ppm must be above -1000000"),
        (disk.flush_after_batches >= 1, "disk.flush_after_batches must be at least 1"),
        (phases.heal_at <= 86_400_000_000, "phases.heal_at must be within a day"),
    ];
    match facts.iter().find(|(holds, _)| !holds) {
        None => Ok(()),
        Some((_, problem)) => Err(line.wrong(*problem)),
    }
}
