//! A run walked through from the command line: stopped, saved, gone on with, branched, explained.

use std::io::Write;
use std::path::Path;
use std::process::Stdio;

use tempfile::TempDir;

fn command(folder: &Path, arguments: &[&str]) -> std::process::Command {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_quorate"));
    command.args(arguments).current_dir(folder).env_remove("GITHUB_ACTIONS").env("NO_COLOR", "1");
    command
}

/// Runs and returns code, stdout and stderr.
fn run(folder: &Path, arguments: &[&str]) -> (i32, String, String) {
    let output = command(folder, arguments).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

/// The same, with commands on stdin.
fn walk(folder: &Path, arguments: &[&str], commands: &str) -> (i32, String, String) {
    let mut command = command(folder, arguments);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(commands.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

/// The digests that a text names, in order.
fn digests(text: &str) -> Vec<&str> {
    text.split("q:").skip(1).map(|rest| &rest[..16]).collect()
}

/// A seed of a scenario that fails on purpose, as decimal text.
fn failing(folder: &Path) -> String {
    let line = ["sim", "--scenario", "unsafe-quorum", "--seeds", "0..60", "--format", "jsonl", "-q", "--shrink", "0s"];
    let (code, stdout, _) = run(folder, &line);
    assert_eq!(code, 1);
    let failed = stdout.lines().find(|line| line.contains("\"violation\"")).expect("it fails soon");
    let seed = failed.split("\"seed\":\"").nth(1).unwrap().split('"').next().unwrap();
    seed.to_string()
}

#[test]
fn a_run_is_walked_through_forward_and_back_by_commands_from_a_pipe() {
    let folder = TempDir::new().unwrap();
    let (code, stdout, stderr) = walk(
        folder.path(),
        &["replay", "7", "--interactive"],
        "until 100\nstep 3\nback 3\nstep 3\nbreak event=deliver & node=n2\nbreaks\ngo\nshow n2\nuntil 40\nfly\n\
         until 100\nclear\nuntil 50ms\nhelp\ngo\nshow report\nquit\n",
    );
    assert_eq!(code, 0, "{stdout}\n{stderr}");
    assert!(stderr.contains("'fly' is no command"), "{stderr}");
    let at = |step: u64| -> Vec<&str> {
        let head = format!("after event {step} ");
        stdout.lines().filter(|line| line.starts_with(&head)).collect()
    };
    assert_eq!(at(100).len(), 3, "{stdout}");
    assert!(at(100).iter().all(|line| *line == at(100)[0]), "back is where it was: {stdout}");
    let step = |step: u64| -> Vec<&str> {
        stdout.lines().filter(|line| line.trim_start().starts_with(&format!("{step}  "))).collect()
    };
    assert_eq!(step(103).len(), 2);
    assert_eq!(step(103)[0], step(103)[1], "the same events again");
    assert!(stdout.contains("break 1: event=deliver & node=n2"), "{stdout}");
    let stop = stdout.lines().find(|line| line.starts_with("stop ")).expect("it stops");
    assert!(stop.contains(">n2/") && stop.contains("arrives"), "{stop}");
    assert!(stdout.contains("== n2 after event"), "{stdout}");
    assert!(stdout.contains("the run is over") && stdout.contains("\nok  "), "{stdout}");
    // What it ends with is what a plain replay ends with.
    let (_, whole, _) = run(folder.path(), &["replay", "7"]);
    let end = stdout.lines().rfind(|line| line.starts_with("after event")).unwrap();
    assert_eq!(digests(end), digests(&whole));
}

#[test]
fn a_run_stops_where_it_is_told_to_and_goes_on_from_its_snapshot() {
    let folder = TempDir::new().unwrap();
    let (_, whole, _) = run(folder.path(), &["replay", "9"]);
    for until in [&["--until", "300"][..], &["--until", "60ms"], &["--break", "event=op & op=5"]] {
        let (code, early, stderr) =
            run(folder.path(), &[&["replay", "9", "--save-snapshot", "a.snap"], until].concat());
        assert_eq!(code, 0, "{early}{stderr}");
        assert!(early.contains("not judged: it was stopped early") && early.contains("next "), "{early}");
        assert_eq!(early.starts_with("stop "), until[0] == "--break", "{early}");
        let (code, rest, _) = run(folder.path(), &["replay", "a.snap"]);
        assert_eq!((code, &rest), (0, &whole), "{until:?}");
        let (code, same, _) = run(folder.path(), &["trace", "diff", "a.snap", "a.snap"]);
        assert_eq!((code, same.as_str()), (0, "OK  the two runs are one\n"));
    }
    let bytes = std::fs::read(folder.path().join("a.snap")).unwrap();
    std::fs::write(folder.path().join("short.snap"), &bytes[..bytes.len() / 2]).unwrap();
    let mut other = bytes.clone();
    // The build stands in the header.
    other[13] ^= 1;
    std::fs::write(folder.path().join("other.snap"), &other).unwrap();
    for (file, expected) in [("short.snap", 2), ("other.snap", 6), ("nowhere.snap", 74)] {
        let (code, _, stderr) = run(folder.path(), &["replay", file]);
        assert_eq!(code, expected, "{stderr}");
    }
    for wrong in [["--until", "soon"], ["--break", "colour=red"]] {
        assert_eq!(run(folder.path(), &[&["replay", "9"], &wrong[..]].concat()).0, 2);
    }
}

#[test]
fn a_failure_is_explained_and_its_other_futures_are_run() {
    let folder = TempDir::new().unwrap();
    let seed = failing(folder.path());
    let small = ["sim", "shrink", &seed, "--scenario", "unsafe-quorum", "--time", "5s", "-o", "s.trace.jsonl"];
    assert_eq!(run(folder.path(), &small).0, 1);
    let (code, why, stderr) = run(folder.path(), &["trace", "why", "s.trace.jsonl"]);
    assert_eq!(code, 1, "{stderr}");
    assert!(why.contains("necessary operations") && why.contains("nevitable"), "{why}");
    let (code, object, _) = run(folder.path(), &["trace", "why", "s.trace.jsonl", "--format", "json"]);
    assert_eq!(code, 1);
    let object: serde_json::Value = serde_json::from_str(&object).unwrap();
    let ops = object["operations"].as_array().unwrap();
    assert!(!ops.is_empty());
    let (code, _, stderr) = run(folder.path(), &["trace", "why", "1", "--scenario", "quiet"]);
    assert_eq!(code, 4, "{stderr}");
    // At its last event the run fails whatever the dice say; at its first one other futures exist.
    let events = object["events"].as_u64().unwrap();
    let last = format!("s.trace.jsonl@{}", events - 1);
    let (code, futures, stderr) = run(folder.path(), &["sim", "branch", &last]);
    assert_eq!(code, 1, "{futures}{stderr}");
    assert!(futures.contains("16 of 16 other futures fail"), "{futures}");
    let (code, healed, _) = run(folder.path(), &["sim", "branch", "7@200", "--set", "heal", "--set", "ops=40"]);
    assert_eq!(code, 0, "{healed}");
    assert!(healed.contains("  heal "), "{healed}");
    let done = format!("s.trace.jsonl@{}", events + 1);
    for (arguments, expected) in [
        (["sim", "branch", &done, "--set", "heal"], 4),
        (["sim", "branch", "7@10", "--set", "crash n99"], 2),
        (["sim", "branch", "7@10", "--set", "explode n1"], 2),
        (["sim", "branch", "7", "--set", "heal"], 2),
    ] {
        assert_eq!(run(folder.path(), &arguments).0, expected, "{arguments:?}");
    }
    let (code, parted, _) = run(folder.path(), &["trace", "diff", "s.trace.jsonl", "7"]);
    assert_eq!(code, 1);
    assert!(parted.starts_with("the runs part at event "), "{parted}");
}

#[test]
fn two_processes_are_walked_side_by_side_to_where_they_part() {
    let folder = TempDir::new().unwrap();
    let (code, same, _) = run(folder.path(), &["trace", "diff", "7", "7", "--apart"]);
    assert_eq!((code, same.as_str()), (0, "OK  the two runs are one\n"));
    // Two moments of one run are as different as two runs.
    run(folder.path(), &["replay", "7", "--until", "200", "--save-snapshot", "a.snap"]);
    run(folder.path(), &["replay", "7", "--until", "203", "--save-snapshot", "b.snap"]);
    let (code, parted, _) = run(folder.path(), &["trace", "diff", "a.snap", "b.snap", "--apart"]);
    assert_eq!(code, 1, "{parted}");
    assert!(parted.starts_with("they differ from the beginning\n"), "{parted}");
    assert!(parted.contains(" differs\n") && parted.contains("      first   "), "{parted}");
}
