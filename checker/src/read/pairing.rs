//! Joining invocations with their completions, for formats that record events.

use super::ReadError;
use super::room::Room;
use crate::Value;
use crate::history::{ClientId, Clock, History, Kind, NEVER, Operation, OperationId, Outcome, TIME_MIN, Time};
use crate::value::FastMap;

/// What an event says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Invoke,
    Ended(Outcome),
}

impl Phase {
    /// Jepsen's four types.
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "invoke" => Phase::Invoke,
            "ok" => Phase::Ended(Outcome::Ok),
            "fail" => Phase::Ended(Outcome::Fail),
            "info" => Phase::Ended(Outcome::Unknown),
            _ => return None,
        })
    }
}

/// One event of one client.
pub(crate) struct Event<'a> {
    pub(crate) line: u64,
    pub(crate) client: &'a str,
    pub(crate) phase: Phase,
    pub(crate) kind: Kind,
    pub(crate) key: &'a str,
    pub(crate) value: Value,
    pub(crate) expected: Option<Value>,
    /// Missing where the format has no clock: then the position counts.
    pub(crate) time: Option<Time>,
}

/// Collects events into a history.
pub(crate) struct Pairing<'a> {
    room: &'a mut Room,
    history: History,
    open: FastMap<ClientId, OperationId>,
    positions: Vec<(Time, Time)>,
    events: Time,
    /// The time of the last event, while all events had one and they never went back.
    last_time: Option<Time>,
}

impl<'a> Pairing<'a> {
    pub(crate) fn new(room: &'a mut Room) -> Self {
        Pairing {
            room,
            history: History::new(),
            open: FastMap::default(),
            positions: Vec::new(),
            events: 0,
            last_time: Some(TIME_MIN),
        }
    }

    /// Takes the next event in the order of the record.
    pub(crate) fn push(&mut self, event: Event<'_>) -> Result<(), ReadError> {
        let position = self.events;
        self.events += 1;
        self.last_time = match (self.last_time, event.time) {
            (Some(last), Some(time)) if time >= last && time < NEVER => Some(time),
            _ => None,
        };
        let time = event.time.filter(|_| self.last_time.is_some()).unwrap_or(position);
        let client = self.history.client(event.client);
        match event.phase {
            Phase::Invoke => {
                let key = self.history.key(event.key);
                let mut operation = Operation::new(client, key, event.kind, event.value, time, NEVER).unknown();
                operation.line = event.line as u32;
                if let Some(expected) = event.expected {
                    operation.set_expected(expected);
                }
                self.room.take_operation(&operation)?;
                self.room.take(size_of::<(Time, Time)>(), event.line)?;
                self.room.take_names(&self.history, event.line)?;
                let id = self.history.push(operation);
                self.positions.push((position, NEVER));
                if self.open.insert(client, id).is_some() {
                    let reason = format!("process {} already has an operation open", event.client);
                    return Err(ReadError::at(event.line, reason));
                }
            }
            Phase::Ended(outcome) => {
                let Some(id) = self.open.remove(&client) else {
                    return Err(ReadError::at(event.line, format!("process {} has no operation open", event.client)));
                };
                let operation = &mut self.history.operations_mut()[id as usize];
                if operation.kind != event.kind {
                    return Err(ReadError::at(event.line, "an operation ends as another than it began"));
                }
                operation.outcome = outcome;
                if outcome != Outcome::Unknown {
                    operation.ret = time;
                    self.positions[id as usize].1 = position;
                }
                if outcome == Outcome::Ok && matches!(operation.kind, Kind::Read | Kind::Dequeue) {
                    self.room.take(event.value.bytes_behind(), event.line)?;
                    operation.value = event.value;
                }
            }
        }
        Ok(())
    }

    /// The history; its times are positions if any event had no usable time.
    pub(crate) fn finish(mut self) -> History {
        match self.last_time {
            Some(_) => self.history.set_clock(Clock::Ns),
            None => {
                self.history.set_clock(Clock::Ticks);
                for (operation, (invoke, ret)) in self.history.operations_mut().iter_mut().zip(self.positions) {
                    (operation.invoke, operation.ret) = (invoke, ret);
                }
            }
        }
        self.history
    }
}
