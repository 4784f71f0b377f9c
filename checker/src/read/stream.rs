//! Judging our own form while it streams in, in the memory of what is open.
//!
//! For this the lines must be events in the order of time: an invocation when a call begins, a completion when it ends,
//! as a recorder writes them. Nothing is kept of what is over, so there is no witness and an anomaly names lines.

use std::io::Read;

use super::ReadError;
use super::jsonl::{self, Item};
use super::room::Room;
use crate::history::{ClientId, KeyId, Names, Operation, OperationId};
use crate::online::{Illegal, Online, Standing};
use crate::value::FastMap;
use crate::{Options, Verdict};

/// Illegal returns that are kept in full.
const KEPT_ILLEGAL_MAX: usize = 100;

/// What a stream showed.
#[derive(Debug)]
pub struct StreamReport {
    /// Ok only if everything was judged.
    pub verdict: Verdict,
    /// Calls that began.
    pub operations: u64,
    /// What stands at the end.
    pub standing: Standing,
    /// The most that was held at once, sampled at every chunk of input.
    pub held_max: usize,
    /// The first illegal returns; calls are numbered by the line they began on.
    pub illegal: Vec<Illegal>,
    /// Names of the keys.
    pub keys: Names,
}

/// What one thing takes that is held, with its place in the tables: 436 MB were taken for 579,335 of them beside a
/// million names.
const HELD_BYTES: usize = 448;

/// Judges a stream of events in our own form.
pub fn check_stream(input: impl Read, options: &Options) -> Result<StreamReport, ReadError> {
    let mut online = Online::new(options);
    let (mut clients, mut keys) = (Names::default(), Names::default());
    let mut open: FastMap<ClientId, Operation> = FastMap::default();
    let mut illegal = Vec::new();
    let (mut operations, mut held_max) = (0, 0);
    let mut last = crate::TIME_MIN;
    let read = jsonl::for_each_chunk(input, |chunk, first_line| {
        let client_of: Vec<ClientId> =
            (0..chunk.clients.len()).map(|at| ClientId(clients.number(chunk.clients.name(at as u32)))).collect();
        let key_of: Vec<KeyId> =
            (0..chunk.keys.len()).map(|at| KeyId(keys.number(chunk.keys.name(at as u32)))).collect();
        for item in chunk.items.drain(..) {
            match item {
                Item::Clock(_) => {}
                Item::Whole(operation) => {
                    let line = first_line + u64::from(operation.line);
                    return Err(ReadError::at(line, "a stream is judged by events: invocation and completion apart"));
                }
                Item::Invoke(mut operation) => {
                    let line = first_line + u64::from(operation.line);
                    operation.client = client_of[operation.client.0 as usize];
                    operation.key = key_of[operation.key.0 as usize];
                    last = in_order(last, operation.invoke, line)?;
                    online.on_invoke(id(line), &operation);
                    operations += 1;
                    let client = operation.client;
                    operation.line = line as OperationId;
                    if open.insert(client, operation.unknown()).is_some() {
                        let reason = format!("client {} already has an operation open", clients.name(client.0));
                        return Err(ReadError::at(line, reason));
                    }
                }
                Item::Return(closing, given) => {
                    let line = first_line + u64::from(closing.line);
                    let client = client_of[closing.client.0 as usize];
                    let Some(mut operation) = open.remove(&client) else {
                        let reason = format!("client {} has no operation open", clients.name(client.0));
                        return Err(ReadError::at(line, reason));
                    };
                    if closing.ret != crate::NEVER {
                        last = in_order(last, closing.ret, line)?;
                    }
                    jsonl::close(&mut operation, closing, given).map_err(|reason| ReadError::at(line, reason))?;
                    if let Err(found) = online.on_return(id(u64::from(operation.line)), &operation)
                        && illegal.len() < KEPT_ILLEGAL_MAX
                    {
                        illegal.push(found);
                    }
                }
            }
        }
        let held = online.standing().held;
        held_max = held_max.max(held);
        let names = clients.bytes() + keys.bytes();
        let mut room = Room::new(options.budget.bytes);
        room.take(names.saturating_add(held.saturating_mul(HELD_BYTES)), first_line + 1)
    });
    match read {
        // What was found stays a violation, whatever would have followed.
        Err(ReadError::Memory { .. }) if !illegal.is_empty() => {}
        read => read?,
    }
    let standing = online.standing();
    Ok(StreamReport { verdict: standing.verdict(), operations, standing, held_max, illegal, keys })
}

/// Calls are numbered by line, as far as an operation can remember its line.
fn id(line: u64) -> u64 {
    u64::from(line as OperationId)
}

fn in_order(last: i64, time: i64, line: u64) -> Result<i64, ReadError> {
    if time >= last { Ok(time) } else { Err(ReadError::at(line, "a stream must be in the order of time")) }
}
