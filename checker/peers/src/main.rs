//! Judges the same histories here and by a peer, in one run, and says what each answer cost.
//!
//! ```text
//! cargo run --release --manifest-path checker/peers/Cargo.toml -- verdicts
//! cargo run --release --manifest-path checker/peers/Cargo.toml -- compare FILE...
//! ```
//! `verdicts` judges every history of porcupine's own tests, compares with the published verdicts and verifies every
//! certificate; it fails if one differs. `compare` judges files of any form both here and by the peer and fails where
//! the two answers contradict each other.
//!
//! The peer is given operations that are already in memory, in the form it wants; ours reads the file besides, which is
//! counted apart.

mod model;
mod published;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use quorate_checker::{Options, Recorded, Report, Verdict, check_history, minimize, read, verify_all};

/// After this the peer is asked to give up.
const PEER_TIME_MAX: Duration = Duration::from_secs(15);

/// What our answer to one history took.
struct Ours {
    recorded: Recorded,
    options: Options,
    report: Report,
    read: Duration,
    judged: Duration,
}

fn ours(path: &Path, certificates: bool) -> Result<Ours, String> {
    let name = path.display();
    let begun = Instant::now();
    let file = std::fs::File::open(path).map_err(|error| format!("{name}: {error}"))?;
    let recorded = read(file, None, None).map_err(|error| format!("{name}: {error}"))?;
    let read = begun.elapsed();
    let begun = Instant::now();
    let options = Options { certificates, ..recorded.options() };
    let report = check_history(&recorded.history, &options);
    Ok(Ours { recorded, options, report, read, judged: begun.elapsed() })
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// Judges one file both ways and tells whether the answers can both be right.
fn compare(path: &Path) -> Result<bool, String> {
    let Ours { recorded, options, report, read, judged } = ours(path, false)?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let ours = report.verdict;
    print!("{name:<14} {:>8} operations  {:<9}", recorded.history.len(), ours.name());
    print!(" read {:>9.3} ms, judged {:>9.3} ms", milliseconds(read), milliseconds(judged));
    let Some(parts) = model::parts(&recorded.history, &options) else {
        println!("  peer: no such model");
        return Ok(true);
    };
    let begun = Instant::now();
    let peer = model::judge(&parts, PEER_TIME_MAX);
    let took = begun.elapsed();
    println!(
        "  peer {:<9} {:>9.1} ms, {:.0}x of judging, {:.0}x of both",
        peer.name(),
        milliseconds(took),
        took.as_secs_f64() / judged.as_secs_f64(),
        took.as_secs_f64() / (read + judged).as_secs_f64()
    );
    Ok(ours == peer || ours == Verdict::Unknown || peer == Verdict::Unknown)
}

fn compare_all(paths: &[PathBuf]) -> Result<(), String> {
    let mut wrong = 0;
    for path in paths {
        wrong += usize::from(!compare(path)?);
    }
    if wrong == 0 { Ok(()) } else { Err(format!("{wrong} files are judged differently")) }
}

fn verdicts() -> Result<(), String> {
    let histories = peer_files()?.join("test_data");
    let (mut all, mut wrong, mut verified) = (0, 0, 0);
    let (mut ours_took, mut longest) = (Duration::ZERO, Duration::ZERO);
    for (file, published) in published::verdicts() {
        let Ours { recorded, options, mut report, read, judged } = ours(&histories.join(&file), true)?;
        let took = read + judged;
        (all, ours_took, longest) = (all + 1, ours_took + took, longest.max(took));
        if report.verdict != published {
            wrong += 1;
            println!("{file}: {} here, published is {}", report.verdict.name(), published.name());
        }
        report.keys.iter_mut().for_each(|key| minimize(&recorded.history, key, &options));
        match verify_all(&recorded.history, &report, &options) {
            Ok(held) => verified += held,
            Err((key, refusal)) => return Err(format!("{file}: key {}: {refusal}", recorded.history.key_name(key))),
        }
    }
    println!(
        "{all} histories with a published verdict, {wrong} judged differently, {verified} certificates of keys verified; \
         read and judged in {:.1} ms, the longest {:.2} ms",
        milliseconds(ours_took),
        milliseconds(longest)
    );
    if wrong == 0 { Ok(()) } else { Err(format!("{wrong} verdicts differ")) }
}

/// Where the peer's package lies.
fn peer_files() -> Result<PathBuf, String> {
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
    let cargo = std::env::var_os("CARGO").unwrap_or("cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--format-version", "1", "--locked", "--manifest-path", manifest])
        .output()
        .map_err(|error| format!("cargo metadata: {error}"))?;
    let metadata: serde_json::Value =
        serde_json::from_slice(&output.stdout).map_err(|error| format!("cargo metadata: {error}"))?;
    let packages = metadata["packages"].as_array().ok_or("cargo metadata names no packages")?;
    let peer = packages.iter().find(|package| package["name"] == "porcupine-rs").ok_or("the peer is not there")?;
    let manifest = peer["manifest_path"].as_str().ok_or("the peer has no place")?;
    Ok(Path::new(manifest).parent().ok_or("the peer has no place")?.to_path_buf())
}

fn main() -> ExitCode {
    let mut given = std::env::args_os().skip(1);
    let what = given.next().unwrap_or_default();
    let paths: Vec<PathBuf> = given.map(PathBuf::from).collect();
    let done = match what.to_str() {
        Some("verdicts") if paths.is_empty() => verdicts(),
        Some("compare") if !paths.is_empty() => compare_all(&paths),
        _ => {
            eprintln!("peers: say `verdicts`, or `compare` and which files");
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("peers: {problem}");
            ExitCode::FAILURE
        }
    }
}
