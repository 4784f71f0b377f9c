//! `quorate replay --interactive`: a run walked through by commands, one on each line of stdin.
//!
//! Works as well from a pipe as from a terminal: a prompt appears on a terminal only, answers go to stdout, complaints to
//! stderr, and an empty line repeats the last command. Going back is cheap, since earlier worlds are kept.

use std::io::{self, BufRead, IsTerminal, Write};
use std::path::Path;
use std::str::FromStr;

use quorate_core::id::NodeId;
use quorate_sim::{Condition, EVENTS_MAX, Halt, Journey, Session, VerdictWord};

use super::console::finish;
use super::exit::{Ended, Exit, Failure, OrExit};
use super::{units, version};

const HELP: &str = "\
step [N]         the next event, or the next N
back [N]         one event back, or N
until PLACE      forward or back to event 812, or forward to 1.5s of virtual time
break EXPR       stop after an event that fits, such as: event=deliver & node=n2 & kind=Store
                 terms: event= node= message= kind= op= fault= mark=
breaks           the conditions, by number
clear [N]        forget a condition, or all
go               on to the next stop, or to the end
show             where the run is, and what comes next
show n2          the whole state of a node
show report      what the run has come to
save FILE        write a snapshot: quorate replay FILE.snap goes on from here
quit";

/// An event by its number, or a virtual time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Step(u64),
    /// In microseconds.
    Time(u64),
}

impl FromStr for Place {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text.parse() {
            Ok(step) => Ok(Place::Step(step)),
            Err(_) => units::duration(text)
                .map(|time| Place::Time(time.as_micros() as u64))
                .map_err(|_| format!("'{text}' is no place in a run; write an event's number, or a time such as 1.5s")),
        }
    }
}

/// Walks to a place; forward only where it is a time.
pub(crate) fn walk_to(journey: &mut Journey, place: Place) -> Halt {
    match place {
        Place::Step(step) => journey.go_to(step.min(EVENTS_MAX)),
        Place::Time(micros) => journey.go_to_time(micros),
    }
}

/// Where a run is, in a line or two.
pub(crate) fn whereabouts(session: &Session) -> String {
    let (events, now) = (session.events(), session.now());
    let mut text =
        format!("after event {events}  {}.{:06}s  q:{:016x}\n", now / 1_000_000, now % 1_000_000, session.digest());
    for violation in session.violations() {
        text += &format!("broken  {}: {}\n", violation.property.name(), violation.words);
    }
    match session.next_moment() {
        Some(moment) => text += &format!("next {moment}\n"),
        None => text += "the run is over\n",
    }
    text
}

/// Writes the whole world down.
pub(crate) fn save(session: &Session, file: &Path) -> Result<usize, Failure> {
    let bytes = session.save(version::CORE);
    if let Some(folder) = file.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder).or_exit(Exit::Io)?;
    }
    let named = |error: io::Error| anyhow::anyhow!("{}: {error}", file.display());
    std::fs::write(file, &bytes).map_err(named).or_exit(Exit::Io)?;
    Ok(bytes.len())
}

/// What a line of input comes to.
enum Answer {
    Text(String),
    Complaint(String),
    Quit,
}

struct Walk {
    journey: Journey,
    conditions: Vec<(String, Condition)>,
}

/// Takes commands until the input ends. The exit code is the run's, as far as it has come.
pub(crate) fn interact(journey: Journey, conditions: Vec<(String, Condition)>) -> Ended {
    let mut walk = Walk { journey, conditions };
    let prompt = io::stdin().is_terminal();
    let mut last = String::new();
    let show = |text: &str| {
        let mut out = io::stdout().lock();
        finish(out.write_all(text.as_bytes()).and_then(|()| out.flush()))
    };
    show(&whereabouts(walk.journey.session()))?;
    let mut lines = io::stdin().lock().lines();
    loop {
        if prompt {
            eprint!("{}> ", walk.journey.session().events());
        }
        let Some(line) = lines.next() else { break };
        let line = line.or_exit(Exit::Io)?;
        if !line.trim().is_empty() {
            last = line.trim().to_string();
        }
        match walk.obey(&last) {
            Answer::Text(text) => show(&text)?,
            Answer::Complaint(words) => eprintln!("{words}"),
            Answer::Quit => break,
        }
    }
    let broken = !walk.journey.session().violations().is_empty();
    Ok(if broken { Exit::Violation } else { Exit::Ok })
}

impl Walk {
    fn obey(&mut self, line: &str) -> Answer {
        let (command, rest) = line.split_once(' ').map_or((line, ""), |(command, rest)| (command, rest.trim()));
        let number = || if rest.is_empty() { Ok(1) } else { rest.parse::<u64>() };
        match command {
            "" => Answer::Text(String::new()),
            "step" | "s" => match number() {
                Ok(count) => Answer::Text(self.step(count)),
                Err(_) => Answer::Complaint(format!("'{rest}' is no number of steps")),
            },
            "back" | "b" => match number() {
                Ok(count) => {
                    let (at, first) = (self.journey.session().events(), self.journey.first());
                    self.journey.go_to(at.saturating_sub(count).max(first));
                    self.here()
                }
                Err(_) => Answer::Complaint(format!("'{rest}' is no number of steps")),
            },
            "until" | "u" => match rest.parse() {
                Ok(place) => {
                    walk_to(&mut self.journey, place);
                    self.here()
                }
                Err(words) => Answer::Complaint(words),
            },
            "break" => match rest.parse::<Condition>() {
                Ok(condition) => {
                    self.conditions.push((rest.to_string(), condition));
                    Answer::Text(format!("break {}: {rest}\n", self.conditions.len()))
                }
                Err(words) => Answer::Complaint(words),
            },
            "breaks" => {
                let lines = self.conditions.iter().enumerate();
                Answer::Text(lines.map(|(at, (words, _))| format!("break {}: {words}\n", at + 1)).collect())
            }
            "clear" => self.clear(rest),
            "go" | "g" => {
                let conditions: Vec<Condition> = self.conditions.iter().map(|(_, own)| own.clone()).collect();
                match self.journey.go_until(&conditions, EVENTS_MAX) {
                    Halt::Condition(moment) => Answer::Text(format!("stop {moment}\n")),
                    Halt::There | Halt::Over => self.here(),
                }
            }
            "show" => self.show(rest),
            "save" if !rest.is_empty() => match save(self.journey.session(), Path::new(rest)) {
                Ok(bytes) => Answer::Text(format!("{rest}: {bytes} bytes\n")),
                Err(failure) => Answer::Complaint(format!("{:#}", failure.error)),
            },
            "help" | "?" => Answer::Text(format!("{HELP}\n")),
            "quit" | "q" => Answer::Quit,
            _ => Answer::Complaint(format!("'{line}' is no command; there are\n{HELP}")),
        }
    }

    fn here(&self) -> Answer {
        Answer::Text(whereabouts(self.journey.session()))
    }

    fn step(&mut self, count: u64) -> String {
        let mut text = String::new();
        for _ in 0..count {
            let Some(moment) = self.journey.step() else { break };
            text += &format!("{moment}  q:{:016x}\n", self.journey.session().digest());
        }
        if self.journey.session().next_moment().is_none() {
            text += &whereabouts(self.journey.session());
        }
        text
    }

    fn clear(&mut self, rest: &str) -> Answer {
        match rest.parse::<usize>() {
            _ if rest.is_empty() => self.conditions.clear(),
            Ok(number @ 1..) if number <= self.conditions.len() => drop(self.conditions.remove(number - 1)),
            Ok(_) | Err(_) => return Answer::Complaint(format!("there is no condition '{rest}'")),
        }
        Answer::Text(String::new())
    }

    fn show(&self, rest: &str) -> Answer {
        let session = self.journey.session();
        let node = rest.strip_prefix('n').and_then(|digits| digits.parse().ok()).map(NodeId);
        match (rest, node) {
            ("" | "next", _) => self.here(),
            ("report", _) => {
                let report = session.clone().report();
                let verdict = match report.verdict {
                    VerdictWord::Ok => "ok",
                    VerdictWord::Violation => "violation",
                    VerdictWord::Unknown => "not over yet",
                };
                let operations = report.history.len();
                let mut text = format!("{verdict}  {} events  {operations} operations begun\n", report.events);
                for violation in &report.violations {
                    text += &format!("broken  {}: {}\n", violation.property.name(), violation.words);
                }
                Answer::Text(text)
            }
            (_, Some(node)) if node.0 >= 1 && node.0 <= session.nodes() => {
                let state = session.node(node).unwrap_or_else(|| "down".to_string());
                Answer::Text(format!("== {node} after event {}\n{state}\n", session.events()))
            }
            _ => Answer::Complaint(format!("'{rest}' cannot be shown; show, show n1, or show report")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_an_event_or_a_time() {
        assert_eq!("812".parse(), Ok(Place::Step(812)));
        assert_eq!("1.5s".parse(), Ok(Place::Time(1_500_000)));
        assert!("soon".parse::<Place>().is_err());
    }
}
