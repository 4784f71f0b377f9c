//! Judges the same histories here and by a peer, in one run, and says what each answer cost.
//!
//! ```text
//! cargo run --release --manifest-path checker/peers/Cargo.toml -- verdicts
//! cargo run --release --manifest-path checker/peers/Cargo.toml -- compare FILE...
//! ```
//! `verdicts` judges every history of porcupine's own tests and compares with the published verdicts; it fails if one
//! differs. `compare` judges files of any form and fails where two answers contradict each other.
//!
//! The peer is given operations that are already in memory, in the form it wants; ours reads the file besides, which is
//! counted apart.

mod model;
mod published;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use quorate_checker::{Recorded, Verdict, check_history, read};

/// After this the peer is asked to give up.
const PEER_TIME_MAX: Duration = Duration::from_secs(15);

/// What one history took.
struct Measured {
    operations: usize,
    ours: Verdict,
    read: Duration,
    judged: Duration,
    /// Its verdict, `None` where it has no such calls.
    peer: Option<(Verdict, Duration)>,
}

fn measure(path: &Path) -> Result<Measured, String> {
    let name = path.display();
    let begun = Instant::now();
    let file = std::fs::File::open(path).map_err(|error| format!("{name}: {error}"))?;
    let recorded: Recorded = read(file, None, None).map_err(|error| format!("{name}: {error}"))?;
    let read = begun.elapsed();
    let options = recorded.options();
    let begun = Instant::now();
    let ours = check_history(&recorded.history, &options).verdict;
    let judged = begun.elapsed();
    let peer = model::parts(&recorded.history, &options).map(|parts| {
        let begun = Instant::now();
        (model::judge(&parts, PEER_TIME_MAX), begun.elapsed())
    });
    Ok(Measured { operations: recorded.history.len(), ours, read, judged, peer })
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

fn show(path: &Path, measured: &Measured) {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let Measured { operations, ours, read, judged, peer } = measured;
    print!("{name:<14} {operations:>8} operations  {:<9}", ours.name());
    print!(" read {:>9.3} ms, judged {:>9.3} ms", milliseconds(*read), milliseconds(*judged));
    match peer {
        Some((verdict, took)) => println!(
            "  peer {:<9} {:>9.1} ms, {:>6.0}x of judging, {:>6.0}x with reading",
            verdict.name(),
            milliseconds(*took),
            took.as_secs_f64() / judged.as_secs_f64(),
            took.as_secs_f64() / (*read + *judged).as_secs_f64()
        ),
        None => println!("  peer -"),
    }
}

/// Two answers that cannot both be right; an answer that was not found contradicts nothing.
fn contradict(one: Verdict, other: Verdict) -> bool {
    one != other && one != Verdict::Unknown && other != Verdict::Unknown
}

fn compare(paths: &[PathBuf]) -> Result<(), String> {
    let mut wrong = 0;
    for path in paths {
        let measured = measure(path)?;
        show(path, &measured);
        wrong += usize::from(measured.peer.is_some_and(|(peer, _)| contradict(measured.ours, peer)));
    }
    if wrong == 0 { Ok(()) } else { Err(format!("{wrong} files are judged differently")) }
}

fn verdicts() -> Result<(), String> {
    let histories = peer_files()?.join("test_data");
    let (mut all, mut wrong) = (0, 0);
    let (mut ours, mut peers, mut longest) = (Duration::ZERO, Duration::ZERO, Duration::ZERO);
    for (file, published) in published::verdicts() {
        let path = histories.join(&file);
        let measured = measure(&path)?;
        let took = measured.read + measured.judged;
        (all, ours, longest) = (all + 1, ours + took, longest.max(took));
        if let Some((peer, took)) = measured.peer {
            peers += took;
            if peer != published {
                println!("{file}: the peer says {}, published is {}", peer.name(), published.name());
            }
        }
        if measured.ours != published {
            wrong += 1;
            println!("{file}: {} here, published is {}", measured.ours.name(), published.name());
        }
    }
    println!(
        "{all} histories with a published verdict, {wrong} judged differently; read and judged in {:.1} ms, the longest \
         {:.2} ms; the peer judged them in {:.1} ms",
        milliseconds(ours),
        milliseconds(longest),
        milliseconds(peers)
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
        Some("compare") if !paths.is_empty() => compare(&paths),
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
