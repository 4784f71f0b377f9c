//! The options of `Q.GET`, `Q.PUT` and `Q.DEL`.

use super::decode::Request;
use super::token;
use quorate_core::id::OperationId;
use quorate_core::input::Consistency;
use quorate_core::time::Duration;
use quorate_core::version::Version;

/// What stood behind the key and value.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Options {
    pub(super) consistency: Consistency,
    pub(super) context: Option<Version>,
    pub(super) presented: Option<Version>,
    pub(super) id: Option<OperationId>,
    pub(super) timeout: Option<Duration>,
    pub(super) meta: bool,
}

/// The longest time that a request may ask for, in milliseconds.
const TIMEOUT_MILLIS_MAX: u64 = 60_000;

/// Reads the options from argument `from` on.
///
/// # Errors
/// An error line that says what is wrong and what would be right.
pub(super) fn parse(request: &Request<'_>, from: usize, is_read: bool) -> Result<Options, String> {
    let mut options = Options::default();
    let mut at = from;
    let mut level = None;
    while at < request.len() {
        let name = request.arg(at).to_ascii_lowercase();
        let shown = name.escape_ascii();
        let of = |offset: usize| {
            let value = request.arg_if(at + offset);
            value.ok_or_else(|| format!("ERR {} needs {offset} more argument(s)", name.escape_ascii()))
        };
        let mut taken = 2;
        match &name[..] {
            b"meta" => {
                options.meta = true;
                taken = 1;
            }
            b"level" => once(&mut level, level_of(of(1)?)?)?,
            b"r" if is_read => once(&mut level, homes(of(1)?)?)?,
            b"w" if !is_read => once(&mut level, homes(of(1)?)?)?,
            b"timeout" => options.timeout = Some(timeout(of(1)?)?),
            b"ctx" if !is_read => {
                options.context = Some(token::decode(of(1)?).map_err(|problem| format!("ERR {problem}"))?);
            }
            b"version" if !is_read => options.presented = Some(version(of(1)?)?),
            b"id" if !is_read => {
                let sequence =
                    number(of(2)?).ok_or("ERR ID takes a client's name and its count: ID client sequence")?;
                let client = request.own(at + 1);
                let id = OperationId::checked(client, sequence);
                options.id = Some(id.ok_or("ERR the client's name in ID has 1 to 64 bytes")?);
                taken = 3;
            }
            b"r" => return Err("ERR R is for reads; a write takes W".to_owned()),
            b"w" => return Err("ERR W is for writes; a read takes R".to_owned()),
            b"ctx" | b"version" | b"id" => {
                return Err(format!("ERR {} is for writes", shown.to_string().to_uppercase()));
            }
            b"ttl" | b"ex" | b"px" => {
                return Err("ERR values do not expire in this build; leave TTL out and delete with Q.DEL".to_owned());
            }
            _ => {
                let known = if is_read { "LEVEL R TIMEOUT META" } else { "CTX LEVEL W ID VERSION TIMEOUT META" };
                return Err(format!("ERR unknown option '{shown}'; there are {known}"));
            }
        }
        at += taken;
    }
    options.consistency = level.unwrap_or_default();
    Ok(options)
}

fn once(level: &mut Option<Consistency>, value: Consistency) -> Result<(), String> {
    match level.replace(value) {
        None => Ok(()),
        Some(_) => Err("ERR a request has one level: LEVEL, R or W, once".to_owned()),
    }
}

fn level_of(word: &[u8]) -> Result<Consistency, String> {
    Ok(match &word.to_ascii_lowercase()[..] {
        b"one" => Consistency::One,
        b"two" => Consistency::Two,
        b"quorum" => Consistency::Quorum,
        b"all" => Consistency::All,
        b"linearizable" => Consistency::Linearizable,
        b"local_one" | b"local_quorum" | b"each_quorum" => {
            return Err("LEVEL there are no regions in this build; use one, two, quorum or all".to_owned());
        }
        other => {
            let shown = other.escape_ascii();
            return Err(format!("LEVEL '{shown}' is none of one, two, quorum, all, linearizable"));
        }
    })
}

fn homes(word: &[u8]) -> Result<Consistency, String> {
    let count = number(word).and_then(|count| u8::try_from(count).ok()).filter(|&count| count > 0);
    count.map(Consistency::Homes).ok_or_else(|| "LEVEL R and W take a number of copies from 1 on".to_owned())
}

fn timeout(word: &[u8]) -> Result<Duration, String> {
    let millis = number(word).filter(|millis| (1..=TIMEOUT_MILLIS_MAX).contains(millis));
    millis.map(Duration::from_millis).ok_or_else(|| "ERR TIMEOUT takes 1 to 60000 milliseconds".to_owned())
}

fn version(word: &[u8]) -> Result<Version, String> {
    let text = std::str::from_utf8(word).ok();
    let version = text.and_then(|text| text.parse().ok());
    version.ok_or_else(|| "ERR VERSION takes what an indeterminate reply said: HLC.nNODE.iINCARNATION.SEQ".to_owned())
}

/// A decimal number.
pub(super) fn number(word: &[u8]) -> Option<u64> {
    std::str::from_utf8(word).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resp::decode::{Bounds, Decoder};

    fn parsed(line: &str) -> Result<Options, String> {
        let mut decoder = Decoder::default();
        let line = format!("{line}\r\n");
        decoder.step(line.as_bytes(), Bounds { frame_bytes_max: 1 << 20, args_max: 64 }).unwrap();
        let request = decoder.request(line.as_bytes());
        let is_read = request.arg(0) == b"q.get";
        parse(&request, if request.arg(0) == b"q.put" { 3 } else { 2 }, is_read)
    }

    #[test]
    fn every_option_is_understood_in_any_order() {
        let version: Version = "17.n2.i9.4".parse().unwrap();
        let token = token::encode(version);
        let line = format!("q.put k v meta CTX {token} W 2 id me 7 VERSION 17.n2.i9.4 timeout 250");
        let expected = Options {
            consistency: Consistency::Homes(2),
            context: Some(version),
            presented: Some(version),
            id: OperationId::checked(bytes::Bytes::from_static(b"me"), 7),
            timeout: Some(Duration::from_millis(250)),
            meta: true,
        };
        assert_eq!(parsed(&line), Ok(expected));
        assert_eq!(parsed("q.get k level QUORUM").unwrap().consistency, Consistency::Quorum);
        assert_eq!(parsed("q.get k r 1").unwrap().consistency, Consistency::Homes(1));
        assert_eq!(parsed("q.del k"), Ok(Options::default()));
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (line, expected) in [
            ("q.get k w 1", "ERR W is for writes; a read takes R"),
            ("q.put k v r 1", "ERR R is for reads; a write takes W"),
            ("q.get k ctx x", "ERR CTX is for writes"),
            ("q.get k level", "ERR level needs 1 more argument(s)"),
            ("q.get k level most", "LEVEL 'most' is none of one, two, quorum, all, linearizable"),
            ("q.get k level one r 1", "ERR a request has one level: LEVEL, R or W, once"),
            ("q.get k level local_one", "LEVEL there are no regions in this build; use one, two, quorum or all"),
            ("q.get k r 0", "LEVEL R and W take a number of copies from 1 on"),
            ("q.get k r 256", "LEVEL R and W take a number of copies from 1 on"),
            ("q.get k timeout 0", "ERR TIMEOUT takes 1 to 60000 milliseconds"),
            ("q.get k timeout 60001", "ERR TIMEOUT takes 1 to 60000 milliseconds"),
            ("q.get k timeout +5", "ERR TIMEOUT takes 1 to 60000 milliseconds"),
            ("q.get k soon", "ERR unknown option 'soon'; there are LEVEL R TIMEOUT META"),
            ("q.put k v id me", "ERR id needs 2 more argument(s)"),
            ("q.put k v id me x", "ERR ID takes a client's name and its count: ID client sequence"),
            ("q.put k v id \"\" 1", "ERR the client's name in ID has 1 to 64 bytes"),
            (
                "q.put k v ctx q1abc",
                "ERR CTX is not a token that a reply carried; pass back what Q.GET META or Q.PUT returned",
            ),
            ("q.put k v version 17", "ERR VERSION takes what an indeterminate reply said: HLC.nNODE.iINCARNATION.SEQ"),
            ("q.put k v ttl 5", "ERR values do not expire in this build; leave TTL out and delete with Q.DEL"),
        ] {
            assert_eq!(parsed(line), Err(expected.to_owned()), "{line}");
        }
    }
}
