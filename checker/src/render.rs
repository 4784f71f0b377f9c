//! Reports as text for readers and as JSON for programs.
//!
//! The JSON holds what a picture needs: the operations of each anomaly, those around it on the same key, and the
//! words. Both are bounded: a report about ten million operations is still a report.

use std::fmt::Write;
use std::time::Duration;

use crate::check::{Blocked, KeyReport, Report, Verdict, Violation};
use crate::history::{Clock, History, Kind, NEVER, OperationId, Outcome};
use crate::read::{Format, StreamReport};
use crate::run::{Asked, RunError};
use crate::timeline::{label, timeline};
use crate::weaker::Ladder;
use crate::weaker::eventual::EndReport;
use crate::write::{put_text, put_value};
use crate::{Identity, Method, describe};

/// Anomalies shown in full.
const SHOWN_MAX: usize = 3;
/// Operations of one anomaly drawn as bars.
const DRAWN_MAX: usize = 24;
/// Operations of one anomaly named in the line under its bars.
const NAMED_MAX: usize = 8;
/// Anomalies in the JSON.
const JSON_ANOMALIES_MAX: usize = 100;
/// Operations around an anomaly in the JSON.
const AROUND_MAX: usize = 400;
/// Keys listed one by one in the JSON, the worst first.
const JSON_KEYS_MAX: usize = 1_000;
/// A history of at most this many operations is in the JSON as a whole.
const JSON_WHOLE_MAX: usize = 2_000;

/// One judged history, ready to be shown.
pub(crate) struct Shown<'a> {
    pub(crate) name: &'a str,
    pub(crate) format: Format,
    pub(crate) history: &'a History,
    pub(crate) report: &'a Report,
    pub(crate) asked: Asked,
    pub(crate) ladder: Option<&'a Ladder>,
    pub(crate) end: Option<&'a EndReport>,
    pub(crate) verdict: Verdict,
    pub(crate) verified: usize,
    pub(crate) took: Duration,
}

/// A duration in three figures or so.
fn show_took(took: Duration) -> String {
    match took.as_millis() {
        0..10 => format!("{:.2} ms", took.as_secs_f64() * 1e3),
        millis @ 10..1_000 => format!("{millis} ms"),
        _ => format!("{:.1} s", took.as_secs_f64()),
    }
}

fn count(report: &Report, is: impl Fn(&KeyReport) -> bool) -> usize {
    report.keys.iter().filter(|key| is(key)).count()
}

impl Shown<'_> {
    /// The violating keys, earliest first.
    fn violations(&self) -> Vec<&Violation> {
        let end = |violation: &&Violation| {
            let ends = violation.operations.iter().map(|id| self.history.operation(*id).end());
            (ends.filter(|end| *end != NEVER).max(), violation.key)
        };
        let mut violations: Vec<&Violation> = self.report.violations().collect();
        violations.sort_by_key(end);
        violations
    }

    fn blocked(&self) -> impl Iterator<Item = (&KeyReport, &Blocked)> {
        self.report.keys.iter().filter_map(|key| Some((key, key.blocked.as_ref()?)))
    }

    pub(crate) fn text(&self) -> String {
        let (history, report) = (self.history, self.report);
        let mut text = String::new();
        let (zones, search) =
            (count(report, |key| key.method == Method::Zones), count(report, |key| key.method == Method::Search));
        let _ = writeln!(
            text,
            "{}  {}  {} operations, {} keys, {} clients  (near-linear {zones}, search {search})",
            self.name,
            self.format.name(),
            history.len(),
            report.keys.len(),
            history.clients().len(),
        );
        let versions = count(report, |key| key.identity == Identity::Version);
        if versions > 0 {
            let _ = writeln!(text, "  answers tied to writes by their version on {versions} keys");
        }
        // Whoever asks for a weaker level reads about that one.
        let violations = if matches!(self.asked, Asked::Weaker(_)) { Vec::new() } else { self.violations() };
        for violation in violations.iter().take(SHOWN_MAX) {
            self.show_violation(violation, &mut text);
        }
        if violations.len() > SHOWN_MAX {
            let _ = writeln!(text, "  … and {} more keys", violations.len() - SHOWN_MAX);
        }
        for (key, blocked) in self.blocked().take(SHOWN_MAX) {
            let until = show_until(history.clock(), blocked.proven_until);
            let name = history.key_name(key.key);
            let _ = writeln!(
                text,
                "UNKNOWN  key {name}  {} operations: {} ended after {} states; {until}, {} operations open there",
                key.operations,
                blocked.budget,
                key.states,
                blocked.window.len()
            );
            for id in blocked.window.iter().take(SHOWN_MAX) {
                let _ = writeln!(text, "    open: {}", describe(history, *id));
            }
        }
        if self.verified > 0 {
            let plural = if self.verified == 1 { "" } else { "s" };
            let _ = writeln!(text, "  {} certificate{plural} verified", self.verified);
        }
        if let Some(ladder) = self.ladder {
            text.push_str(&ladder.text(history));
        }
        if let Some(end) = self.end {
            text.push_str(&end.text(history.clock()));
        }
        let word = match self.verdict {
            Verdict::Ok => "OK",
            Verdict::Violation => "FAIL",
            Verdict::Unknown => "UNKNOWN",
        };
        let _ = writeln!(text, "{word}  {}: {}, {}", self.name, self.conclusion(), show_took(self.took));
        text
    }

    /// The verdict in a few words.
    fn conclusion(&self) -> String {
        let keys = self.report.keys.len();
        let of = |verdict| count(self.report, |key| key.verdict == verdict);
        let linearizable = match self.report.verdict {
            Verdict::Ok => "linearizable".to_string(),
            Verdict::Violation => format!("{} of {keys} keys not linearizable", of(Verdict::Violation)),
            Verdict::Unknown => format!("no verdict on {} of {keys} keys", of(Verdict::Unknown)),
        };
        let of_calls = match (self.asked, self.ladder) {
            (Asked::Linearizable, _) | (_, None) => linearizable,
            (Asked::Weaker(level), Some(ladder)) => match ladder.verdict(level) {
                Verdict::Ok => level.name().to_string(),
                Verdict::Violation => format!("not {}", level.name()),
                Verdict::Unknown => format!("nobody knows whether it is {}", level.name()),
            },
            (Asked::Strongest, Some(ladder)) => match ladder.strongest() {
                Some(level) => format!("strongest level that holds: {}", level.name()),
                None => "no level is known to hold".to_string(),
            },
        };
        match self.end.map(|end| end.verdict) {
            None | Some(Verdict::Ok) => of_calls,
            Some(Verdict::Violation) => format!("{of_calls}; replicas do not hold what they should"),
            Some(Verdict::Unknown) => format!("{of_calls}; not known whether replicas hold what they should"),
        }
    }

    fn show_violation(&self, violation: &Violation, text: &mut String) {
        let key = self.history.key_name(violation.key);
        let _ = writeln!(text, "FAIL  key {key}  ({})\n  {}", violation.anomaly.name(), violation.words);
        let drawn = &violation.operations[..violation.operations.len().min(DRAWN_MAX)];
        for line in timeline(self.history, drawn).lines() {
            let _ = writeln!(text, "    {line}");
        }
        if violation.operations.len() <= NAMED_MAX {
            let names: Vec<String> = violation.operations.iter().map(|id| label(self.history, *id)).collect();
            let _ = writeln!(text, "    ✗ no order of {{{}}} fits", names.join(", "));
        }
        if violation.operations.len() > DRAWN_MAX {
            let more = violation.operations.len() - DRAWN_MAX;
            let _ = writeln!(text, "    … and {more} more operations (--minimize makes this small)");
        }
    }

    pub(crate) fn json(&self) -> String {
        let mut json = String::from("{\"schema\":\"quorate.check/1\",\"file\":");
        put_text(self.name, &mut json);
        let _ = write!(
            json,
            ",\"format\":\"{}\",\"verdict\":\"{}\",\"exit\":{},\"operations\":{},\"keys\":{},\"clients\":{},\"clock\":\"{}\",\"us\":{}",
            self.format.name(),
            self.verdict.name(),
            self.verdict.exit_code(),
            self.history.len(),
            self.report.keys.len(),
            self.history.clients().len(),
            self.history.clock().name(),
            self.took.as_micros()
        );
        let method = |wanted: Method| count(self.report, |key| key.method == wanted);
        let verdict = |wanted: Verdict| count(self.report, |key| key.verdict == wanted);
        let _ = write!(
            json,
            ",\"by_method\":{{\"zones\":{},\"search\":{}}},\"by_verdict\":{{\"ok\":{},\"violation\":{},\"unknown\":{}}},\"verified\":{verified}",
            method(Method::Zones),
            method(Method::Search),
            verdict(Verdict::Ok),
            verdict(Verdict::Violation),
            verdict(Verdict::Unknown),
            verified = self.verified,
        );
        json.push_str(",\"violations\":[");
        let by_key = self.history.by_key();
        for (at, violation) in self.violations().into_iter().take(JSON_ANOMALIES_MAX).enumerate() {
            json.push_str(if at > 0 { ",{\"key\":" } else { "{\"key\":" });
            put_text(self.history.key_name(violation.key), &mut json);
            let _ = write!(json, ",\"anomaly\":\"{}\",\"words\":", violation.anomaly.name());
            put_text(&violation.words, &mut json);
            json.push_str(",\"operations\":");
            self.put_operations(&violation.operations, &mut json);
            json.push_str(",\"around\":");
            self.put_operations(&self.around(violation, by_key.of(violation.key)), &mut json);
            json.push('}');
        }
        json.push_str("],\"unknown\":[");
        for (at, (key, blocked)) in self.blocked().take(JSON_ANOMALIES_MAX).enumerate() {
            json.push_str(if at > 0 { ",{\"key\":" } else { "{\"key\":" });
            put_text(self.history.key_name(key.key), &mut json);
            let _ = write!(json, ",\"budget\":\"{}\",\"states\":{},\"proven_until\":", blocked.budget, key.states);
            match blocked.proven_until {
                i64::MIN => json.push_str("null"),
                until => json.push_str(&until.to_string()),
            }
            json.push_str(",\"window\":");
            self.put_operations(&blocked.window, &mut json);
            json.push('}');
        }
        json.push(']');
        if let Some(ladder) = self.ladder {
            json.push_str(",\"levels\":");
            json.push_str(&ladder.json(self.history));
        }
        if let Some(end) = self.end {
            json.push_str(",\"end\":");
            json.push_str(&end.json(self.history));
        }
        self.put_keys(&mut json);
        if self.history.len() <= JSON_WHOLE_MAX {
            json.push_str(",\"history\":[");
            for id in 0..self.history.len() as OperationId {
                if id > 0 {
                    json.push(',');
                }
                put_operation(self.history, id, &mut json);
            }
            json.push(']');
        }
        json.push('}');
        json
    }

    /// The keys one by one, the worst and then the longest first; with witness orders if there are any.
    fn put_keys(&self, json: &mut String) {
        let mut keys: Vec<&KeyReport> = self.report.keys.iter().collect();
        keys.sort_by_key(|key| std::cmp::Reverse((key.verdict, key.operations)));
        json.push_str(",\"each_key\":[");
        for (at, key) in keys.into_iter().take(JSON_KEYS_MAX).enumerate() {
            json.push_str(if at > 0 { ",{\"key\":" } else { "{\"key\":" });
            put_text(self.history.key_name(key.key), json);
            let _ = write!(
                json,
                ",\"verdict\":\"{}\",\"method\":\"{}\",\"operations\":{},\"states\":{}",
                key.verdict.name(),
                key.method.name(),
                key.operations,
                key.states
            );
            let whole = self.history.len() <= JSON_WHOLE_MAX;
            if let Some(witness) = key.witness.as_ref().filter(|_| whole) {
                let _ = write!(json, ",\"witness\":{witness:?}");
            }
            json.push('}');
        }
        json.push(']');
    }

    /// Operations of the key that overlap the span of an anomaly.
    fn around(&self, violation: &Violation, of_key: &[OperationId]) -> Vec<OperationId> {
        let operations = || violation.operations.iter().map(|id| self.history.operation(*id));
        let first = operations().map(|operation| operation.invoke).min().unwrap_or(0);
        let last = operations().map(|operation| operation.end()).filter(|end| *end != NEVER).max().unwrap_or(NEVER);
        let overlaps = |id: &&OperationId| {
            let operation = self.history.operation(**id);
            operation.invoke <= last && operation.end() >= first && !violation.operations.contains(id)
        };
        of_key.iter().filter(overlaps).take(AROUND_MAX).copied().collect()
    }

    fn put_operations(&self, ids: &[OperationId], json: &mut String) {
        json.push('[');
        for (at, id) in ids.iter().take(AROUND_MAX).enumerate() {
            if at > 0 {
                json.push(',');
            }
            put_operation(self.history, *id, json);
        }
        json.push(']');
    }
}

fn show_until(clock: Clock, until: i64) -> String {
    match until {
        i64::MIN => "nothing is proven".to_string(),
        until => format!("everything that returned up to {} has an order", clock.show(until)),
    }
}

/// One operation as a JSON object with its number, line and words.
pub(crate) fn put_operation(history: &History, id: OperationId, json: &mut String) {
    let operation = history.operation(id);
    let called = match operation.kind {
        Kind::Read => "get",
        Kind::Write => "put",
        Kind::Cas => "cas",
        Kind::Append => "append",
        Kind::Add => "add",
        Kind::Remove => "remove",
        Kind::Enqueue => "enqueue",
        Kind::Dequeue => "dequeue",
    };
    let _ = write!(json, "{{\"id\":{id},\"line\":{},\"p\":", operation.line);
    put_text(history.client_name(operation.client), json);
    let _ = write!(json, ",\"f\":\"{called}\",\"k\":");
    put_text(history.key_name(operation.key), json);
    json.push_str(",\"v\":");
    put_value(&operation.value, json);
    if operation.kind == Kind::Cas {
        json.push_str(",\"from\":");
        put_value(operation.expected(), json);
    }
    if let Some(seen) = operation.seen() {
        json.push_str(",\"seen\":");
        put_value(seen, json);
    }
    if let Some(version) = operation.version() {
        json.push_str(",\"ver\":");
        put_value(version, json);
    }
    let result = match operation.outcome {
        Outcome::Ok => "ok",
        Outcome::Fail => "fail",
        Outcome::Unknown => "info",
    };
    let ret = if operation.end() == NEVER { "null".to_string() } else { operation.ret.to_string() };
    let _ = write!(json, ",\"inv\":{},\"ret\":{ret},\"r\":\"{result}\"}}", operation.invoke);
}

/// A source that could not be read, as JSON.
pub(crate) fn error_json(name: &str, error: &RunError) -> String {
    let mut json = String::from("{\"schema\":\"quorate.check/1\",\"file\":");
    put_text(name, &mut json);
    let verdict = if error.exit_code() == Verdict::Unknown.exit_code() { "\"unknown\"" } else { "null" };
    let _ = write!(json, ",\"verdict\":{verdict},\"exit\":{},\"error\":", error.exit_code());
    put_text(&error.to_string(), &mut json);
    json.push('}');
    json
}

/// A judged stream as text.
pub(crate) fn stream_text(name: &str, report: &StreamReport, took: Duration) -> String {
    let mut text = String::new();
    let _ = writeln!(
        text,
        "{name}  stream  {} operations, {} keys, at most {} things held at once",
        report.operations,
        report.keys.len(),
        report.held_max
    );
    for illegal in report.illegal.iter().take(SHOWN_MAX) {
        let others: Vec<String> =
            illegal.others.iter().filter(|other| **other != u64::MAX).map(|line| format!("line {line}")).collect();
        let _ = writeln!(
            text,
            "FAIL  key {}  ({})\n  the call that began on line {} and returned at {} cannot be ordered with {}",
            report.keys.name(illegal.key.0),
            illegal.anomaly.name(),
            illegal.call,
            illegal.at,
            if others.is_empty() { "what was over before".to_string() } else { others.join(", ") }
        );
    }
    let standing = report.standing;
    if standing.undecided_keys > 0 || standing.unjudged_calls > 0 {
        let _ = writeln!(
            text,
            "  not judged: {} keys whose values repeat at one time, {} failed swaps that did not say what they saw",
            standing.undecided_keys, standing.unjudged_calls
        );
    }
    let _ = match report.verdict {
        Verdict::Ok => writeln!(text, "OK  {name}: linearizable, {}", show_took(took)),
        Verdict::Violation => {
            writeln!(text, "FAIL  {name}: {} illegal returns, {}", standing.illegal, show_took(took))
        }
        Verdict::Unknown => writeln!(text, "UNKNOWN  {name}: not everything could be judged, {}", show_took(took)),
    };
    text
}

/// A judged stream as JSON.
pub(crate) fn stream_json(name: &str, report: &StreamReport, took: Duration) -> String {
    let mut json = String::from("{\"schema\":\"quorate.check/1\",\"file\":");
    put_text(name, &mut json);
    let standing = report.standing;
    let _ = write!(
        json,
        ",\"format\":\"jsonl\",\"stream\":true,\"verdict\":\"{}\",\"exit\":{},\"operations\":{},\"keys\":{},\"us\":{},\"held_max\":{},\"undecided_keys\":{},\"unjudged_calls\":{},\"illegal\":[",
        report.verdict.name(),
        report.verdict.exit_code(),
        report.operations,
        report.keys.len(),
        took.as_micros(),
        report.held_max,
        standing.undecided_keys,
        standing.unjudged_calls
    );
    for (at, illegal) in report.illegal.iter().enumerate() {
        json.push_str(if at > 0 { ",{\"key\":" } else { "{\"key\":" });
        put_text(report.keys.name(illegal.key.0), &mut json);
        let lines: Vec<String> =
            illegal.others.iter().filter(|other| **other != u64::MAX).map(u64::to_string).collect();
        let _ = write!(
            json,
            ",\"anomaly\":\"{}\",\"line\":{},\"ret\":{},\"lines\":[{}]}}",
            illegal.anomaly.name(),
            illegal.call,
            illegal.at,
            lines.join(",")
        );
    }
    json.push_str("]}");
    json
}
