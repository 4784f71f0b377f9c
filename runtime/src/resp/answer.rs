//! Answers into replies: what a finished slot is written as.

use super::reply::{Protocol, Writer};
use super::slots::{Join, JoinKind, Part, Shape, Slot, State};
use super::words::{self, Asked};
use super::{Output, SessionLimits, token};
use bytes::Bytes;
use quorate_core::effect::{ClientResponse, Outcome};

/// Writes the reply of a finished slot.
pub(super) fn write(slot: Slot, protocol: Protocol, limits: &SessionLimits, output: &mut Output) {
    let Slot { state, shape, asked, .. } = slot;
    match state {
        State::Waiting => panic!("a slot is written when it is finished"),
        State::Written(bytes) => output.append(bytes),
        State::Answered(response) => answered(response, shape, &asked, protocol, output),
        State::Joining(join) => joined(*join, protocol, limits, output),
    }
}

fn answered(response: ClientResponse, shape: Shape, asked: &Asked, protocol: Protocol, output: &mut Output) {
    if words::is_failure(&response.outcome) {
        let text = words::error(&response, asked).unwrap_or_default();
        return Writer::new(output.tail(), protocol).error(text);
    }
    let ClientResponse { outcome, version, acks } = response;
    let mut writer = Writer::new(output.tail(), protocol);
    match shape {
        Shape::Value => value_or_null(found(outcome), protocol, output),
        Shape::Ok => writer.ok(),
        Shape::Length => writer.integer(found(outcome).map_or(0, |value| value.len() as i64)),
        Shape::Type => writer.simple(if found(outcome).is_some() { "string" } else { "none" }),
        Shape::Context => writer.bulk(token::encode(version).as_bytes()),
        Shape::WriteMeta | Shape::ReadMeta => {
            let is_read = shape == Shape::ReadMeta;
            writer.map(if is_read { 5 } else { 4 });
            if is_read {
                let value = found(outcome);
                writer.bulk(b"values");
                writer.array(usize::from(value.is_some()));
                if value.is_some() {
                    value_or_null(value, protocol, output);
                }
                writer = Writer::new(output.tail(), protocol);
            }
            writer.bulk(b"version");
            writer.bulk(version.to_string().as_bytes());
            writer.bulk(b"ctx");
            writer.bulk(token::encode(version).as_bytes());
            writer.bulk(b"level");
            writer.bulk(asked.level_text().as_bytes());
            writer.bulk(b"acks");
            writer.integer(i64::from(acks));
        }
        Shape::Joined => panic!("a joined reply has parts"),
    }
}

fn found(outcome: Outcome) -> Option<Bytes> {
    match outcome {
        Outcome::Value(value) => Some(value),
        Outcome::Missing | Outcome::Stored | Outcome::Unknown => None,
        Outcome::Unavailable(_) | Outcome::Overloaded { .. } | Outcome::Refused(_) => None,
    }
}

fn value_or_null(value: Option<Bytes>, protocol: Protocol, output: &mut Output) {
    let mut writer = Writer::new(output.tail(), protocol);
    let Some(value) = value else { return writer.null() };
    writer.bulk_header(value.len());
    output.append(value);
    Writer::new(output.tail(), protocol).end();
}

fn joined(join: Join, protocol: Protocol, limits: &SessionLimits, output: &mut Output) {
    let mut writer = Writer::new(output.tail(), protocol);
    if let Some(text) = join.failure_text() {
        return writer.error(text);
    }
    match join.kind {
        JoinKind::Store => writer.ok(),
        JoinKind::Count | JoinKind::Delete => writer.integer(join.done() as i64),
        // One reply must leave room for the client to take it.
        JoinKind::Values if join.value_bytes > limits.output_bytes_max / 4 * 3 => {
            let (bytes, bytes_max) = (join.value_bytes, limits.output_bytes_max / 4 * 3);
            writer.error(format_args!("ERR the values have {bytes} bytes together, at most {bytes_max} fit one reply"));
        }
        JoinKind::Values => {
            writer.array(join.parts.len());
            for part in join.parts {
                let value = match part {
                    Part::Value(value) => Some(value),
                    Part::Missing | Part::Done | Part::Failed | Part::Open(_) | Part::OpenAgain(..) => None,
                };
                value_or_null(value, protocol, output);
            }
        }
    }
}
