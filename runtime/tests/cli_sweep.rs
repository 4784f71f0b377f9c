//! Sweeps as machines use them: shards, reports, annotations, interruptions.

use std::path::Path;
use std::process::{Command, Stdio};

use tempfile::TempDir;

const SWEEP: [&str; 10] =
    ["sim", "--scenario", "unsafe-quorum", "--seeds", "0..97", "--shrink", "0s", "-q", "--report", "json,junit,github"];

fn quorate(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_quorate"));
    command.current_dir(folder).env("NO_COLOR", "1");
    for variable in ["GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY", "SLURM_ARRAY_TASK_ID", "JOB_COMPLETION_INDEX"] {
        command.env_remove(variable);
    }
    command
}

fn code(command: &mut Command) -> i32 {
    command.stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap().code().unwrap()
}

/// The reports of a folder, as bytes.
fn reports(folder: &Path) -> Vec<Vec<u8>> {
    ["report.json", "junit.xml", "summary.md"].map(|name| std::fs::read(folder.join(name)).unwrap()).into()
}

#[test]
fn eight_shards_merged_are_the_sweep_that_was_not_split_byte_for_byte() {
    let folder = TempDir::new().unwrap();
    let path = folder.path();
    assert_eq!(code(quorate(path).args(SWEEP).args(["--out", "whole", "-j", "1"])), 1);
    // GNU parallel where it is installed, as the manual says; otherwise one after the other.
    let line = format!("{} {} --shard {{}}/8 --out part{{}} -j 2", env!("CARGO_BIN_EXE_quorate"), SWEEP.join(" "));
    let parallel = Command::new("parallel")
        .args(["-j", "2", &line, ":::", "0", "1", "2", "3", "4", "5", "6", "7"])
        .current_dir(path)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    if parallel.is_err() {
        for part in 0..8 {
            let (shard, out) = (format!("{part}/8"), format!("part{part}"));
            code(quorate(path).args(SWEEP).args(["--shard", &shard, "--out", &out]));
        }
    }
    let parts: Vec<String> = (0..8).map(|part| format!("part{part}")).collect();
    assert_eq!(code(quorate(path).args(["sim", "merge", "-o", "few"]).args(&parts[..7])), 3, "one is missing");
    let twice = parts.iter().rev().chain(&parts[2..3]);
    assert_eq!(code(quorate(path).args(["sim", "merge", "-o", "merged"]).args(twice)), 1);
    let (whole, merged) = (reports(&path.join("whole")), reports(&path.join("merged")));
    assert!(whole == merged, "{}", String::from_utf8_lossy(&merged[0]));
    let lines = |name: &str| std::fs::read_to_string(path.join(name).join("failures.txt")).unwrap().lines().count();
    assert_eq!(lines("whole"), lines("merged"));
    // Another sweep's shard does not fit.
    assert_eq!(
        code(quorate(path).args([
            "sim",
            "--scenario",
            "quiet",
            "--report",
            "json",
            "--seeds",
            "0..3",
            "--out",
            "other"
        ])),
        0
    );
    assert_eq!(code(quorate(path).args(["sim", "merge", "-o", "few", "part0", "other"])), 2);
}

#[test]
fn a_job_array_needs_no_flag() {
    let folder = TempDir::new().unwrap();
    let path = folder.path();
    let mut tallies = Vec::new();
    let base = ["sim", "--scenario", "quiet", "--seeds", "0..20", "-q", "--report", "json", "--out"];
    for (out, variables) in [
        ("flag", &[][..]),
        ("slurm", &[("SLURM_ARRAY_TASK_ID", "3"), ("SLURM_ARRAY_TASK_COUNT", "4"), ("SLURM_ARRAY_TASK_MIN", "1")]),
        ("kubernetes", &[("JOB_COMPLETION_INDEX", "2"), ("QUORATE_SHARDS", "4")]),
    ] {
        let mut command = quorate(path);
        command.args(base).arg(out).envs(variables.iter().copied());
        if variables.is_empty() {
            command.args(["--shard", "2/4"]);
        }
        assert_eq!(code(&mut command), 0);
        tallies.push(std::fs::read(path.join(out).join("report.json")).unwrap());
    }
    assert!(tallies[0] == tallies[1] && tallies[0] == tallies[2]);
    let mut wrong = quorate(path);
    wrong.args(base).arg("wrong").env("SLURM_ARRAY_TASK_ID", "9").env("SLURM_ARRAY_TASK_COUNT", "4");
    assert_eq!(code(&mut wrong), 2);
}

#[test]
fn on_github_a_failure_is_an_annotation_and_the_step_has_a_summary() {
    let folder = TempDir::new().unwrap();
    let summary = folder.path().join("step.md");
    let mut command = quorate(folder.path());
    command.args(["sim", "--scenario", "unsafe-quorum", "--seeds", "0..40", "--shrink", "0s", "--fail-fast", "1"]);
    command.args(["-j", "1", "--out", "o"]).env("GITHUB_ACTIONS", "true").env("GITHUB_STEP_SUMMARY", &summary);
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let stderr = String::from_utf8(output.stderr).unwrap();
    let line = stderr.lines().find(|line| line.starts_with("::error ")).expect("an annotation");
    assert!(line.contains("file=o/") && line.contains("replay: quorate replay o/"), "{line}");
    let summary = std::fs::read_to_string(summary).unwrap();
    assert!(summary.starts_with("### quorate sim: **1 violations**"), "{summary}");
}

#[test]
fn an_interrupted_sweep_leaves_a_partial_report() {
    let folder = TempDir::new().unwrap();
    let mut command = quorate(folder.path());
    command.args(["sim", "--seeds", "0..100000000", "--scenario", "quiet", "--report", "json,junit", "--out", "o"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    // Until it has begun, nothing listens to signals; its first line comes after that.
    let mut first = [0];
    std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut first).unwrap();
    std::thread::sleep(std::time::Duration::from_millis(300));
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130));
    let report: serde_json::Value =
        serde_json::from_slice(&std::fs::read(folder.path().join("o/report.json")).unwrap()).unwrap();
    assert_eq!(report["interrupted"], true);
    assert!(report["seeds"].as_u64().unwrap() > 0);
    let junit = std::fs::read_to_string(folder.path().join("o/junit.xml")).unwrap();
    assert!(junit.starts_with("<?xml"));
}
