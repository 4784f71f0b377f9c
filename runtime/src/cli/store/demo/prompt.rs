//! What can be typed at the prompt of `quorate demo`.

use std::str::FromStr;

use crate::cli::units;

/// One line of the prompt. Nodes are counted from 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// `kill n2`: SIGKILL.
    Kill(usize),
    /// `start n2`: again, on the same disk.
    Start(usize),
    /// `stop n2`: SIGSTOP.
    Stop(usize),
    /// `cont n2`: SIGCONT.
    Continue(usize),
    /// `partition n1,n2 / n3`.
    Partition(Vec<usize>, Vec<usize>),
    /// `heal`.
    Heal,
    /// `load 1000/s`, `load off`.
    Load(u64),
    /// `check`: judges what was recorded so far.
    Check,
    Status,
    Help,
    Quit,
    Nothing,
}

pub(super) const HELP: &str = "\
kill n2               SIGKILL; start n2 brings it back on its disk
stop n2, cont n2      SIGSTOP and SIGCONT: a node that is slow to wake
partition n1,n2 / n3  cut the links between the two sides; heal opens all
load 1000/s           clients read and write so often; load off
check                 judge everything recorded so far
status                nodes and links
quit";

impl FromStr for Line {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let (word, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
        let rest = rest.trim();
        let alone = |line: Line| if rest.is_empty() { Ok(line) } else { Err(format!("'{word}' takes nothing more")) };
        match word {
            "kill" => node(rest).map(Line::Kill),
            "start" => node(rest).map(Line::Start),
            "stop" => node(rest).map(Line::Stop),
            "cont" => node(rest).map(Line::Continue),
            "partition" => {
                let (left, right) = rest.split_once('/').ok_or("write: partition n1,n2 / n3")?;
                let (left, right) = (nodes(left)?, nodes(right)?);
                match left.iter().find(|node| right.contains(node)) {
                    Some(both) => Err(format!("n{} stands on both sides", both + 1)),
                    None => Ok(Line::Partition(left, right)),
                }
            }
            "load" if rest == "off" => Ok(Line::Load(0)),
            "load" => units::count(rest.strip_suffix("/s").unwrap_or(rest)).map(Line::Load),
            "heal" => alone(Line::Heal),
            "check" => alone(Line::Check),
            "status" => alone(Line::Status),
            "help" | "?" => alone(Line::Help),
            "quit" | "exit" => alone(Line::Quit),
            "" => Ok(Line::Nothing),
            _ => Err(format!("'{word}' is no command; try help")),
        }
    }
}

/// `n2` as 1.
fn node(text: &str) -> Result<usize, String> {
    let number = text.strip_prefix('n').and_then(|digits| digits.parse::<usize>().ok());
    number.and_then(|number| number.checked_sub(1)).ok_or_else(|| format!("'{text}' is no node; write n1, n2, ..."))
}

fn nodes(text: &str) -> Result<Vec<usize>, String> {
    let mut nodes: Vec<usize> = text.split(',').map(|name| node(name.trim())).collect::<Result<_, _>>()?;
    nodes.sort_unstable();
    nodes.dedup();
    Ok(nodes)
}

impl Line {
    /// The largest node that is named.
    pub(super) fn largest_node(&self) -> Option<usize> {
        match self {
            Line::Kill(node) | Line::Start(node) | Line::Stop(node) | Line::Continue(node) => Some(*node),
            Line::Partition(left, right) => left.iter().chain(right).max().copied(),
            Line::Heal | Line::Load(_) | Line::Check | Line::Status | Line::Help | Line::Quit | Line::Nothing => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_reads_as_it_is_typed() {
        for (text, line) in [
            ("kill n2", Line::Kill(1)),
            ("  start   n1 ", Line::Start(0)),
            ("stop n10", Line::Stop(9)),
            ("cont n3", Line::Continue(2)),
            ("partition n1,n2 / n3", Line::Partition(vec![0, 1], vec![2])),
            ("partition n2, n1,n2/n3", Line::Partition(vec![0, 1], vec![2])),
            ("heal", Line::Heal),
            ("load 1000/s", Line::Load(1_000)),
            ("load 5k", Line::Load(5_000)),
            ("load off", Line::Load(0)),
            ("check", Line::Check),
            ("quit", Line::Quit),
            ("", Line::Nothing),
        ] {
            assert_eq!(text.parse(), Ok(line), "{text}");
        }
    }

    #[test]
    fn what_is_not_understood_is_said() {
        for text in [
            "kill",
            "kill 2",
            "kill n0",
            "kill n-1",
            "partition n1",
            "partition n1 / n1",
            "partition / n2",
            "load fast",
            "heal n1",
            "fly",
        ] {
            assert!(text.parse::<Line>().is_err(), "{text}");
        }
    }
}
