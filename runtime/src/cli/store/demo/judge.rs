//! What a demo's history comes to.
//!
//! Register keys (`lin:`): the checker decides whether they are linearizable; the last reads are part of the history, so
//! a lost acknowledged write is a violation like any other. Other keys are lww at R+W>N: a ledger compares what was
//! acknowledged with what was read last, and every read with what had been shown before it began.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::path::Path;

use quorate_checker::{
    History, KeyId, Kind, Operation, Options, Outcome, Time, Value, Verdict, check_history, describe, read_jsonl,
};
use quorate_core::version::Version;

/// How keys without the prefix `lin:` are judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Plain {
    /// By what lww promises at R+W>N.
    Lww,
    /// As if they were linearizable.
    Linearizable,
}

/// What was found.
#[derive(Debug)]
pub(super) struct Judgement {
    pub(super) verdict: Verdict,
    /// What is wrong, in words, the worst first.
    pub(super) findings: Vec<String>,
    pub(super) operations: usize,
    pub(super) linearizable_keys: usize,
    pub(super) lww_keys: usize,
    /// Acknowledged writes of lww keys that were looked for at the end.
    pub(super) ledger: usize,
}

/// Judges a recorded history. `last_reader` is the client whose reads came after everything else, if there was one.
pub(super) fn judge(file: &Path, plain: Plain, last_reader: Option<&str>) -> anyhow::Result<Judgement> {
    let history = read_jsonl(std::fs::File::open(file)?)?;
    Ok(judge_history(&history, plain, last_reader))
}

fn judge_history(history: &History, plain: Plain, last_reader: Option<&str>) -> Judgement {
    let is_strict = |key: KeyId| plain == Plain::Linearizable || history.key_name(key).starts_with("lin:");
    let by_key = history.by_key();
    let keys = (0..by_key.keys() as u32).map(KeyId);
    let (strict, lww): (Vec<_>, Vec<_>) = keys.partition(|key| is_strict(*key));
    let operations: Vec<_> = strict.iter().flat_map(|key| by_key.of(*key)).copied().collect();
    let subset = history.subset(&operations);
    let report = check_history(&subset, &Options::default());
    let mut findings = Vec::new();
    if let Some(first) = report.first_violation(&subset) {
        findings.push(format!("{} is not linearizable: {}", subset.key_name(first.key), first.words));
        findings.extend(first.operations.iter().map(|id| format!("  {}", describe(&subset, *id))));
    }
    let mut ledger = 0;
    for key in &lww {
        let operations: Vec<_> = by_key.of(*key).iter().map(|id| history.operation(*id)).collect();
        let name = history.key_name(*key);
        if let Some(reader) = last_reader {
            let reader = history.clients().find(reader);
            let is_last = |operation: &Operation| Some(operation.client.0) == reader && operation.kind == Kind::Read;
            ledger += lost_writes(&operations, is_last, name, &mut findings);
        }
        stale_reads(&operations, name, history, &mut findings);
    }
    let verdict = match (findings.is_empty(), report.verdict) {
        (true, verdict) => verdict,
        (false, _) => Verdict::Violation,
    };
    Judgement {
        verdict,
        findings,
        operations: history.len(),
        linearizable_keys: strict.len(),
        lww_keys: lww.len(),
        ledger,
    }
}

fn version_of(operation: &Operation) -> Option<Version> {
    let bytes = operation.version()?.as_bytes()?;
    std::str::from_utf8(bytes).ok()?.parse().ok()
}

/// Compares the last reads of a key with its acknowledged writes; returns how many writes were looked for.
fn lost_writes(
    operations: &[&Operation],
    is_last: impl Fn(&Operation) -> bool,
    key: &str,
    findings: &mut Vec<String>,
) -> usize {
    let is_write = |operation: &&&Operation| operation.kind == Kind::Write;
    let acknowledged: BTreeMap<Version, &Value> = (operations.iter().filter(is_write))
        .filter(|write| write.outcome == Outcome::Ok)
        .filter_map(|write| Some((version_of(write)?, &write.value)))
        .collect();
    let highest = acknowledged.last_key_value();
    let last: Vec<_> = operations.iter().filter(|read| is_last(read) && read.outcome == Outcome::Ok).collect();
    if last.is_empty() {
        findings.push(format!("{key} could not be read at the end"));
    }
    for read in last {
        let seen = version_of(read).unwrap_or_default();
        if let Some((highest, value)) = highest
            && *highest > seen
        {
            findings.push(format!(
                "{key} lost the acknowledged write of {value} ({highest}): at the end it holds {} ({seen})",
                read.value
            ));
        }
        let wrote_it = |write: &&&Operation| match version_of(write) {
            Some(version) => version == seen && write.value == read.value,
            // Its coordinator died before it said which version the write has.
            None => write.outcome == Outcome::Unknown && write.value == read.value,
        };
        if !seen.is_absent() && !operations.iter().filter(is_write).any(|write| wrote_it(&write)) {
            findings.push(format!("{key} holds {} ({seen}) at the end, which nobody wrote", read.value));
        }
    }
    acknowledged.len()
}

/// Finds reads that are older than what an operation had shown that ended before they began.
fn stale_reads(operations: &[&Operation], key: &str, history: &History, findings: &mut Vec<String>) {
    let shown = operations.iter().filter(|operation| operation.outcome == Outcome::Ok);
    let mut by_start: Vec<(&Operation, Version)> =
        shown.map(|operation| (*operation, version_of(operation).unwrap_or_default())).collect();
    by_start.sort_by_key(|(operation, _)| operation.invoke);
    let mut ended: BinaryHeap<Reverse<(Time, usize)>> = BinaryHeap::new();
    let mut newest: Option<usize> = None;
    for (at, (operation, version)) in by_start.iter().enumerate() {
        while let Some(Reverse((ret, earlier))) = ended.peek()
            && *ret < operation.invoke
        {
            if newest.is_none_or(|newest| by_start[newest].1 < by_start[*earlier].1) {
                newest = Some(*earlier);
            }
            ended.pop();
        }
        if let Some(newest) = newest
            && operation.kind == Kind::Read
            && *version < by_start[newest].1
        {
            let before = describe_with_version(history, by_start[newest]);
            findings.push(format!("{key}: {}, after {before}", describe_with_version(history, (operation, *version))));
            return;
        }
        ended.push(Reverse((operation.ret, at)));
    }
}

fn describe_with_version(history: &History, (operation, version): (&Operation, Version)) -> String {
    let verb = if operation.kind == Kind::Read { "read" } else { "wrote" };
    let ret = history.clock().show(operation.ret);
    format!("{} {verb} {} ({version}) at {ret}", history.client_name(operation.client), operation.value)
}

/// Writes whose value occurs twice would make every judgement doubtful: values of a demo never do.
#[cfg(test)]
pub(super) fn values_are_unique(history: &History) -> bool {
    let mut seen = std::collections::HashSet::new();
    let writes = history.operations().iter().filter(|operation| operation.kind == Kind::Write);
    writes.filter(|write| !write.value.is_absent()).all(|write| seen.insert(write.value.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(lines: &str, plain: Plain) -> Judgement {
        let history = read_jsonl(lines.as_bytes()).unwrap();
        assert!(values_are_unique(&history));
        judge_history(&history, plain, Some("last"))
    }

    const GOOD: &str = r#"
{"p":"a","f":"put","k":"k","v":"1","inv":0,"ret":1,"r":"ok","ver":"10.n1.i1.1"}
{"p":"b","f":"put","k":"k","v":"2","inv":2,"ret":3,"r":"ok","ver":"20.n2.i1.1"}
{"p":"last","f":"get","k":"k","v":"2","inv":10,"ret":11,"r":"ok","ver":"20.n2.i1.1"}"#;

    #[test]
    fn a_history_that_keeps_its_promises_is_ok() {
        let judgement = judged(GOOD, Plain::Lww);
        assert_eq!((judgement.verdict, judgement.ledger), (Verdict::Ok, 2), "{:?}", judgement.findings);
        assert_eq!(judged(GOOD, Plain::Linearizable).verdict, Verdict::Ok);
    }

    #[test]
    fn each_broken_promise_is_found() {
        let last = |line: &str| {
            GOOD.lines().filter(|line| !line.contains("last")).collect::<Vec<_>>().join("\n") + "\n" + line
        };
        for (title, history, word) in [
            (
                "an acknowledged write is lost",
                last(r#"{"p":"last","f":"get","k":"k","v":"1","inv":10,"ret":11,"r":"ok","ver":"10.n1.i1.1"}"#),
                "lost",
            ),
            (
                "the key is gone",
                last(r#"{"p":"last","f":"get","k":"k","v":null,"inv":10,"ret":11,"r":"ok","ver":"0.n0.i0.0"}"#),
                "lost",
            ),
            (
                "a value nobody wrote",
                last(r#"{"p":"last","f":"get","k":"k","v":"7","inv":10,"ret":11,"r":"ok","ver":"30.n1.i1.7"}"#),
                "nobody wrote",
            ),
            (
                "nobody could read it",
                last(r#"{"p":"last","f":"get","k":"k","inv":10,"ret":11,"r":"fail"}"#),
                "could not be read",
            ),
            (
                "a read went back",
                format!(
                    "{GOOD}\n{}",
                    r#"{"p":"c","f":"get","k":"k","v":"1","inv":5,"ret":6,"r":"ok","ver":"10.n1.i1.1"}"#
                ),
                "after b wrote",
            ),
        ] {
            let judgement = judged(&history, Plain::Lww);
            assert_eq!(judgement.verdict, Verdict::Violation, "{title}");
            assert!(
                judgement.findings.iter().any(|finding| finding.contains(word)),
                "{title}: {:?}",
                judgement.findings
            );
        }
    }

    #[test]
    fn an_unknown_write_may_be_what_is_there_at_the_end() {
        let history = format!(
            "{}\n{}\n{}",
            GOOD.lines().filter(|line| !line.contains("last")).collect::<Vec<_>>().join("\n"),
            r#"{"p":"c","f":"put","k":"k","v":"3","inv":4,"ret":null,"r":"info"}"#,
            r#"{"p":"last","f":"get","k":"k","v":"3","inv":10,"ret":11,"r":"ok","ver":"30.n3.i1.1"}"#,
        );
        assert_eq!(judged(&history, Plain::Lww).verdict, Verdict::Ok);
    }

    #[test]
    fn register_keys_are_the_checkers() {
        let history =
            GOOD.replace("\"k\":\"k\"", "\"k\":\"lin:k\"").replace("\"v\":\"2\",\"inv\":10", "\"v\":\"1\",\"inv\":10");
        let history =
            history.replace(r#""inv":10,"ret":11,"r":"ok","ver":"20.n2.i1.1""#, r#""inv":10,"ret":11,"r":"ok""#);
        let judgement = judged(&history, Plain::Lww);
        assert_eq!((judgement.verdict, judgement.linearizable_keys), (Verdict::Violation, 1));
    }
}
