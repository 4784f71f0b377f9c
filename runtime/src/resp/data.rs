//! Commands over keys: from words to requests of the node.

use super::SessionCall;
use super::commands::{Command, Name};
use super::decode::Request;
use super::options::{self, Options};
use super::session::Session;
use super::slots::{JoinKind, Shape};
use super::words::Asked;
use crate::metrics::Op;
use bytes::Bytes;
use quorate_core::id::{Key, KeyLength};
use quorate_core::input::{ClientRequest, Command as NodeCommand, Consistency};
use quorate_core::time::Now;
use std::collections::{BTreeMap, BTreeSet};

impl Session {
    /// Carries out a command over keys.
    pub(super) fn data_command(
        &mut self,
        now: Now,
        command: &Command,
        request: &Request<'_>,
        calls: &mut Vec<SessionCall>,
    ) {
        let done = match command.name {
            Name::Get => self.read(now, Shape::Value, request, calls),
            Name::Set => self.set(now, request, calls),
            Name::Strlen => self.read(now, Shape::Length, request, calls),
            Name::Type => self.read(now, Shape::Type, request, calls),
            Name::Mget => self.joined(now, JoinKind::Values, command, request, calls),
            Name::Exists => self.joined(now, JoinKind::Count, command, request, calls),
            Name::Del | Name::Unlink => self.joined(now, JoinKind::Delete, command, request, calls),
            Name::Mset if request.len().is_multiple_of(2) => {
                Err("ERR wrong number of arguments for 'mset' command".to_owned())
            }
            Name::Mset => self.joined(now, JoinKind::Store, command, request, calls),
            Name::QGet => self.q_get(now, request, calls),
            Name::QPut => self.q_put(now, request, calls),
            Name::QDel => self.q_del(now, request, calls),
            other => panic!("{other:?} is no command over keys"),
        };
        if let Err(text) = done {
            self.error(text);
        }
    }

    fn read(
        &mut self,
        now: Now,
        shape: Shape,
        request: &Request<'_>,
        calls: &mut Vec<SessionCall>,
    ) -> Result<(), String> {
        let key = key(request.own(1))?;
        self.one(now, Op::Get, shape, request, Options::default(), key, NodeCommand::Get, calls);
        Ok(())
    }

    fn set(&mut self, now: Now, request: &Request<'_>, calls: &mut Vec<SessionCall>) -> Result<(), String> {
        if request.len() > 3 {
            return Err(set_option(request.arg(3)));
        }
        let (key_bytes, value) = request.own_two(1);
        let command = NodeCommand::Put { value, context: None, presented: None };
        self.one(now, Op::Put, Shape::Ok, request, Options::default(), key(key_bytes)?, command, calls);
        Ok(())
    }

    fn q_get(&mut self, now: Now, request: &Request<'_>, calls: &mut Vec<SessionCall>) -> Result<(), String> {
        let options = options::parse(request, 2, true)?;
        let shape = if options.meta { Shape::ReadMeta } else { Shape::Value };
        self.one(now, Op::Get, shape, request, options, key(request.own(1))?, NodeCommand::Get, calls);
        Ok(())
    }

    fn q_put(&mut self, now: Now, request: &Request<'_>, calls: &mut Vec<SessionCall>) -> Result<(), String> {
        let options = options::parse(request, 3, false)?;
        let shape = if options.meta { Shape::WriteMeta } else { Shape::Context };
        let (key_bytes, value) = request.own_two(1);
        let command = NodeCommand::Put { value, context: options.context, presented: options.presented };
        self.one(now, Op::Put, shape, request, options, key(key_bytes)?, command, calls);
        Ok(())
    }

    fn q_del(&mut self, now: Now, request: &Request<'_>, calls: &mut Vec<SessionCall>) -> Result<(), String> {
        let options = options::parse(request, 2, false)?;
        let shape = if options.meta { Shape::WriteMeta } else { Shape::Context };
        let command = NodeCommand::Delete { context: options.context, presented: options.presented };
        self.one(now, Op::Del, shape, request, options, key(request.own(1))?, command, calls);
        Ok(())
    }

    #[expect(clippy::too_many_arguments, reason = "one call site per command, all of it known there")]
    fn one(
        &mut self,
        now: Now,
        op: Op,
        shape: Shape,
        request: &Request<'_>,
        options: Options,
        key: Key,
        command: NodeCommand,
        calls: &mut Vec<SessionCall>,
    ) {
        let Options { consistency, id, timeout, .. } = options;
        let asked = Asked::new(self.door.cluster.founding().keyspace(key.bytes()), consistency, op == Op::Get);
        let reply = self.pending(op, shape, asked, request);
        self.send(now, reply, ClientRequest { id, key, timeout, consistency, command }, calls);
    }

    fn joined(
        &mut self,
        now: Now,
        kind: JoinKind,
        command: &Command,
        request: &Request<'_>,
        calls: &mut Vec<SessionCall>,
    ) -> Result<(), String> {
        let mut places: Vec<_> = command.key_places(request.len()).collect();
        let batch_max = self.door.limits.batch_max;
        if places.len() > batch_max {
            return Err(format!("ERR at most {batch_max} keys per command (limits.max_batch)"));
        }
        // A key named twice is one operation, the last of several stores; two at once would have no order.
        match kind {
            JoinKind::Store => {
                let last: BTreeMap<_, _> = places.iter().map(|&place| (request.arg(place), place)).collect();
                places.retain(|&place| last[request.arg(place)] == place);
            }
            JoinKind::Delete => {
                let mut seen = BTreeSet::new();
                places.retain(|&place| seen.insert(request.arg(place)));
            }
            JoinKind::Values | JoinKind::Count => {}
        }
        let mut requests = Vec::with_capacity(places.len());
        for place in places {
            requests.push(match kind {
                JoinKind::Store => {
                    let (key_bytes, value) = request.own_two(place);
                    (key(key_bytes)?, NodeCommand::Put { value, context: None, presented: None })
                }
                JoinKind::Values | JoinKind::Count | JoinKind::Delete => (key(request.own(place))?, NodeCommand::Get),
            });
        }
        let op = if kind == JoinKind::Store { Op::Put } else { Op::Get };
        // Errors of single keys name their own numbers; this counts the request.
        let asked = Asked::new(None, Consistency::Keyspace, op == Op::Get);
        let reply = self.pending(op, Shape::Joined, asked, request);
        self.send_joined(now, kind, reply, requests, calls);
        Ok(())
    }
}

fn key(bytes: Bytes) -> Result<Key, String> {
    Key::new(bytes).map_err(|problem: KeyLength| format!("ERR {problem}"))
}

/// Why a `SET` with this option is refused, and what would do.
fn set_option(option: &[u8]) -> String {
    match &option.to_ascii_lowercase()[..] {
        name @ (b"nx" | b"xx" | b"get" | b"ifeq" | b"ifne") => format!(
            "ERR SET {} is a conditional write, which no keyspace mode of this build promises; \
             read with Q.GET META, write with Q.PUT CTX",
            name.escape_ascii().to_string().to_uppercase()
        ),
        name @ (b"ex" | b"px" | b"exat" | b"pxat" | b"keepttl") => format!(
            "ERR SET {}: values do not expire in this build; delete with DEL when the time has come",
            name.escape_ascii().to_string().to_uppercase()
        ),
        name @ (b"level" | b"w" | b"ctx" | b"id" | b"meta") => {
            format!("ERR SET does not take {}; use Q.PUT", name.escape_ascii().to_string().to_uppercase())
        }
        _ => "ERR syntax error".to_owned(),
    }
}
