//! Jepsen's text logs: `INFO  jepsen.util - 3   :invoke :write  2`.
//!
//! Lines that are no events are passed over: a log holds much else. Times are positions. A read that saw nil saw that
//! nothing was there; a failed compare-and-set found another value.

use super::ReadError;
use super::edn::{Edn, Reader};
use super::jepsen::kind_of;
use super::pairing::{Event, Pairing, Phase};
use super::room::Room;
use crate::Value;
use crate::history::{History, Kind};

/// What stands before every event.
pub(crate) const MARK: &str = "jepsen.util - ";

pub(crate) fn read(bytes: &[u8], room: &mut Room) -> Result<History, ReadError> {
    let mut pairing = Pairing::new(room);
    let mut found = false;
    for (number, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
        let number = number as u64 + 1;
        let Ok(line) = std::str::from_utf8(line) else { continue };
        let Some((_, event)) = line.split_once(MARK) else { continue };
        let mut words = event.split_ascii_whitespace();
        let (Some(process), Some(phase), Some(called)) = (words.next(), words.next(), words.next()) else { continue };
        let phase = phase.strip_prefix(':').and_then(Phase::from_name);
        let (Some(phase), true) = (phase, process.bytes().all(|byte| byte.is_ascii_digit())) else { continue };
        let kind = called.strip_prefix(':').and_then(kind_of);
        let kind = kind.ok_or_else(|| ReadError::at(number, format!("unknown operation {called}")))?;
        let shown = event.split_once(called).map_or("", |(_, shown)| shown);
        let value = Reader::new(shown.as_bytes()).form().map_err(|reason| ReadError::at(number, reason))?;
        let (expected, value) = split(kind, phase, value.unwrap_or(Edn::Nil), number)?;
        pairing.push(Event { line: number, client: process, phase, kind, key: "", value, expected, time: None })?;
        found = true;
    }
    if found { Ok(pairing.finish()) } else { Err(ReadError::at(1, "no event of jepsen.util in the whole log")) }
}

fn split(kind: Kind, phase: Phase, value: Edn<'_>, line: u64) -> Result<(Option<Value>, Value), ReadError> {
    match (kind, value) {
        (Kind::Cas, Edn::Many(pair)) if pair.len() == 2 => Ok((Some(pair[0].value()), pair[1].value())),
        (Kind::Cas, _) if phase == Phase::Invoke => Err(ReadError::at(line, "the value of a cas is a pair [old new]")),
        (_, value) => Ok((None, value.value())),
    }
}
