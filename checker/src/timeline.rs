//! An anomaly as a picture in text: one line per operation, bars under a common axis.
//!
//! ```text
//! c1  ├──put v7───────ok┤
//! c2                        ├get→v4!┤
//! ```
//! Distances are ranks, not times: every distinct moment among the shown operations gets a column, wide enough for the
//! words between its neighbours, so that a microsecond and an hour are both legible. An operation without an end runs
//! off to the right (`┄?`).

use std::fmt::Write;

use crate::history::{History, Kind, OperationId, Outcome, Time};

/// The words inside a bar.
pub(crate) fn label(history: &History, id: OperationId) -> String {
    let operation = history.operation(id);
    let value = &operation.value;
    let text = match operation.kind {
        Kind::Read => format!("get→{value}"),
        Kind::Write if value.is_absent() => "del".to_string(),
        Kind::Write => format!("put {value}"),
        Kind::Cas => format!("cas {}→{value}", operation.expected()),
        Kind::Append => format!("append {value}"),
        Kind::Add => format!("add {value}"),
        Kind::Remove => format!("remove {value}"),
        Kind::Enqueue => format!("enq {value}"),
        Kind::Dequeue => format!("deq→{value}"),
    };
    match operation.outcome {
        Outcome::Ok => text,
        Outcome::Fail => format!("{text} fail"),
        Outcome::Unknown => format!("{text} ?"),
    }
}

/// The aligned timeline of some operations, in order of invocation; each line ends with the times.
pub fn timeline(history: &History, operations: &[OperationId]) -> String {
    let mut operations = operations.to_vec();
    operations.sort_unstable_by_key(|id| (history.operation(*id).invoke, *id));
    let mut moments: Vec<Time> =
        operations.iter().flat_map(|id| [history.operation(*id).invoke, history.operation(*id).end()]).collect();
    moments.sort_unstable();
    moments.dedup();
    let rank = |time: Time| moments.partition_point(|moment| *moment < time);
    // Columns move right until every bar holds its words.
    let mut columns: Vec<usize> = (0..moments.len()).map(|rank| rank * 2).collect();
    for id in &operations {
        let operation = history.operation(*id);
        let (begin, end) = (rank(operation.invoke), rank(operation.end()));
        let needed = label(history, *id).chars().count() + 1;
        let have = columns[end] - columns[begin];
        if have < needed && end > begin {
            columns[end..].iter_mut().for_each(|column| *column += needed - have);
        }
    }
    let clock = history.clock();
    let names: Vec<&str> = operations.iter().map(|id| history.client_name(history.operation(*id).client)).collect();
    let name_width = names.iter().map(|name| name.chars().count()).max().unwrap_or(0);
    let mut bars: Vec<String> = Vec::new();
    for id in &operations {
        let operation = history.operation(*id);
        let (begin, end) = (columns[rank(operation.invoke)], columns[rank(operation.end())]);
        let words = label(history, *id);
        let room = (end - begin).saturating_sub(1).max(words.chars().count());
        let (fill, last) = if operation.outcome == Outcome::Unknown { ('┄', '→') } else { ('─', '┤') };
        let mut bar = " ".repeat(begin);
        bar.push('├');
        bar.push_str(&words);
        (words.chars().count()..room).for_each(|_| bar.push(fill));
        bar.push(last);
        bars.push(bar);
    }
    let bar_width = bars.iter().map(|bar| bar.chars().count()).max().unwrap_or(0);
    let mut text = String::new();
    for ((id, name), bar) in operations.iter().zip(names).zip(bars) {
        let operation = history.operation(*id);
        let pad = " ".repeat(bar_width - bar.chars().count());
        let gap = " ".repeat(name_width - name.chars().count());
        let (from, to) = (clock.show(operation.invoke), clock.show(operation.end()));
        let line = if operation.line > 0 { format!("  line {}", operation.line) } else { String::new() };
        let _ = writeln!(text, "{name}{gap}  {bar}{pad}  {from} – {to}{line}"); // a String takes everything
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Operation, Value};

    #[test]
    fn bars_stand_under_one_axis() {
        let mut history = History::new();
        let (c1, c2, key) = (history.client("c1"), history.client("client2"), history.key("k"));
        history.push(Operation::new(c1, key, Kind::Write, Value::text("v7"), 1_620_000, 1_640_000));
        history.push(Operation::new(c2, key, Kind::Read, Value::text("v4"), 1_880_000, 1_902_000));
        history.push(Operation::new(c1, key, Kind::Write, Value::Absent, 1_630_000, 1_640_000).unknown());
        let expected = "\
c1       ├put v7┤                          1.620s – 1.640s
c1         ├del ?┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄→            1.630s – never
client2          ├get→v4┤                    1.880s – 1.902s
";
        let shown = timeline(&history, &[0, 1, 2]);
        let starts: Vec<usize> = shown.lines().map(|line| line.chars().position(|c| c == '├').unwrap()).collect();
        assert_eq!(starts.len(), 3);
        assert!(starts[0] < starts[1] && starts[1] < starts[2], "{shown}\n{expected}");
        let times: Vec<usize> = shown.lines().map(|line| line.chars().position(|c| c == '–').unwrap()).collect();
        assert!(times.iter().all(|at| *at == times[0]), "{shown}");
        assert!(shown.contains("never") && shown.contains("put v7") && shown.contains("get→v4"), "{shown}");
    }
}
