//! One event of a run, as people read it and as conditions ask about it.
//!
//! A debugger stops at a line; a run of a cluster has none. What it has is events, each with a place in the order, a
//! time, and somebody whom it concerns. A [`Condition`] names some of that, and a walk stops after the first event that
//! has all of it: `event=deliver & node=n2 & kind=Store`, `op=7`, `fault=crash`, `mark=read repair`.

use crate::network::KINDS;
use crate::world::{Event, World};
use quorate_core::id::NodeId;
use quorate_traces::{FaultKind, MessageName};
use std::fmt;
use std::str::FromStr;

/// An event that is due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moment {
    /// Its place in the order of events, from 1.
    pub step: u64,
    /// When it happens, in microseconds.
    pub at: u64,
    /// What kind of event.
    pub event: &'static str,
    /// Which node it concerns.
    pub node: Option<NodeId>,
    /// The message that arrives.
    pub message: Option<MessageName>,
    /// The client operation that it belongs to, by its number in the plan.
    pub op: Option<u32>,
    /// The kind of fault that begins, ends or changes.
    pub fault: Option<FaultKind>,
    /// All of it, in words.
    pub words: String,
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>6}  {}.{:06}s  {}", self.step, self.at / 1_000_000, self.at % 1_000_000, self.words)
    }
}

/// Words for each kind of event, as conditions write them.
const EVENTS: [&str; 17] = [
    "deliver", "wake", "sync", "mark", "prepared", "flushed", "restart", "resume", "begin", "finish", "flap", "backup",
    "op", "ask", "answer", "heal", "probe",
];

impl Moment {
    pub(crate) fn of(world: &World, at: u64, event: &Event) -> Self {
        let op_of = |call: u32| world.ops[world.calls[call as usize].op as usize].op;
        let fault_of = |fault: u32| world.plan.faults[fault as usize].fault.kind();
        let node_of = |node: u32| Some(NodeId(node + 1));
        let asked = |call: u32| node_of(world.calls[call as usize].node);
        let step = world.events + 1;
        let mut moment =
            Self { step, at, event: "", node: None, message: None, op: None, fault: None, words: String::new() };
        let mut is = |event, node, words: String| (moment.event, moment.node, moment.words) = (event, node, words);
        match event {
            Event::Deliver { name, bytes, flipped, repeated } => {
                let damaged = if *flipped { ", damaged" } else { "" };
                let again = if *repeated { ", again" } else { "" };
                let words = format!("{} arrives ({} bytes{damaged}{again})", name.public(), bytes.len());
                is("deliver", node_of(name.to), words);
                moment.message = Some(name.public());
            }
            Event::Wake { node, .. } => is("wake", node_of(*node), format!("n{} wakes", node + 1)),
            Event::Sync { node, .. } => is("sync", node_of(*node), format!("n{} syncs its log", node + 1)),
            Event::Mark { node, .. } => is("mark", node_of(*node), format!("n{}'s log has been idle", node + 1)),
            Event::Prepared { node, .. } => {
                is("prepared", node_of(*node), format!("n{} has made a log segment", node + 1));
            }
            Event::Flushed { node, .. } => is("flushed", node_of(*node), format!("n{} has flushed its tree", node + 1)),
            Event::Restart { node, .. } => is("restart", node_of(*node), format!("n{} starts", node + 1)),
            Event::Resume { node } => is("resume", node_of(*node), format!("n{} goes on", node + 1)),
            Event::Begin { fault } | Event::Finish { fault } | Event::Flap { fault, .. } | Event::BackUp { fault } => {
                let (word, what) = match event {
                    Event::Begin { .. } => ("begin", "begins"),
                    Event::Finish { .. } => ("finish", "ends"),
                    Event::Flap { cut: true, .. } => ("flap", "closes"),
                    Event::Flap { .. } => ("flap", "opens"),
                    _ => ("backup", "takes its copy of the disk"),
                };
                let record = &world.plan.faults[*fault as usize];
                let nodes: String = record.fault.nodes().iter().map(|node| format!(" {node}")).collect();
                is(word, record.fault.nodes().first().copied(), format!("{}{nodes} {what}", fault_of(*fault).name()));
                moment.fault = Some(fault_of(*fault));
            }
            Event::Op { op } | Event::Again { op } => {
                let asked = &world.ops[*op as usize];
                let again = if matches!(event, Event::Again { .. }) { " is asked again" } else { " is due" };
                let words = format!("op {} c{} {:?} {}{again}", asked.op, asked.client, asked.what, key_of(world, *op));
                is("op", Some(asked.via), words);
                moment.op = Some(asked.op);
            }
            Event::Ask { call } => {
                is("ask", asked(*call), format!("op {} arrives at n{}", op_of(*call), node_number(world, *call)));
                moment.op = Some(op_of(*call));
            }
            Event::Answer { call, .. } | Event::GaveUp { call } | Event::Gone { call } => {
                let words = match event {
                    Event::Answer { .. } => format!("the client of op {} hears its answer", op_of(*call)),
                    Event::GaveUp { .. } => format!("the client of op {} stops waiting", op_of(*call)),
                    _ => {
                        format!("n{} learns that the client of op {} has gone", node_number(world, *call), op_of(*call))
                    }
                };
                is("answer", asked(*call), words);
                moment.op = Some(op_of(*call));
            }
            Event::Heal => is("heal", None, "everything is healed".to_owned()),
            Event::Probe => is("probe", None, "is everything done?".to_owned()),
        }
        moment
    }
}

fn node_number(world: &World, call: u32) -> u32 {
    world.calls[call as usize].node + 1
}

fn key_of(world: &World, op: u32) -> &str {
    &world.keys[world.op_keys[op as usize] as usize].name
}

/// What a walk stops at: an event that has all of these.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Condition {
    event: Option<&'static str>,
    node: Option<NodeId>,
    message: Option<MessageName>,
    kind: Option<&'static str>,
    op: Option<u32>,
    fault: Option<FaultKind>,
    mark: Option<String>,
}

impl Condition {
    /// Whether an event has what is asked of it; of [`Self::mark`] it knows nothing.
    pub fn fits(&self, moment: &Moment) -> bool {
        let kind = moment.message.as_ref().map(|message| message.kind.as_str());
        self.event.is_none_or(|event| event == moment.event)
            && (self.node.is_none() || self.node == moment.node)
            && (self.message.is_none() || self.message == moment.message)
            && (self.kind.is_none() || self.kind == kind)
            && (self.op.is_none() || self.op == moment.op)
            && (self.fault.is_none() || self.fault == moment.fault)
    }

    /// The reach mark that the event must have set, by a part of its words.
    pub fn mark(&self) -> Option<&str> {
        self.mark.as_deref()
    }
}

impl FromStr for Condition {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let mut condition = Self::default();
        for term in text.split('&').map(str::trim) {
            let (name, value) =
                term.split_once('=').ok_or_else(|| format!("'{term}': write event=deliver, node=n2, ..."))?;
            match name {
                "event" => condition.event = Some(known(value, &EVENTS, "event")?),
                "kind" => condition.kind = Some(known(value, &KINDS, "kind of message")?),
                "node" => {
                    let number = value.strip_prefix('n').and_then(|digits| digits.parse().ok());
                    condition.node = Some(NodeId(number.ok_or_else(|| format!("'{value}' is no node; write n1"))?));
                }
                "message" => condition.message = Some(value.parse::<MessageName>()?),
                "op" => {
                    condition.op = Some(value.parse().map_err(|_| format!("'{value}' is no operation; write op=7"))?)
                }
                "fault" => {
                    let kind = FaultKind::from_name(value).ok_or_else(|| format!("'{value}' is no kind of fault"))?;
                    condition.fault = Some(kind);
                }
                "mark" => condition.mark = Some(value.to_owned()),
                _ => return Err(format!("'{name}' is none of event, node, message, kind, op, fault, mark")),
            }
        }
        Ok(condition)
    }
}

fn known(value: &str, words: &[&'static str], what: &str) -> Result<&'static str, String> {
    let word = words.iter().find(|word| **word == value);
    word.copied().ok_or_else(|| format!("'{value}' is no {what}; there are {}", words.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_asks_for_all_of_its_terms() {
        let moment = Moment {
            step: 3,
            at: 1_000,
            event: "deliver",
            node: Some(NodeId(2)),
            message: Some("n1>n2/Store#4".parse().unwrap()),
            op: None,
            fault: None,
            words: String::new(),
        };
        let fits = |text: &str| text.parse::<Condition>().unwrap().fits(&moment);
        for text in ["event=deliver", "node=n2 & kind=Store", "message=n1>n2/Store#4", "mark=anything"] {
            assert!(fits(text), "{text}");
        }
        for text in ["event=wake", "node=n1", "node=n2 & kind=Query", "message=n1>n2/Store#5", "op=1", "fault=crash"] {
            assert!(!fits(text), "{text}");
        }
        for text in ["", "deliver", "event=arrive", "kind=Letter", "node=2", "op=x", "fault=gremlins", "colour=red"] {
            assert!(text.parse::<Condition>().is_err(), "{text}");
        }
    }
}
