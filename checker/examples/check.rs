//! Judges files and says what it cost: the library as a command line needs it, for measuring.
//!
//! ```text
//! cargo run --release -p quorate-checker --example check -- FILE... [--stream] [--verify] [--minimize] [--certificates]
//!     [--level NAME] [--one-thread] [--bytes N] [--json] [--quiet] [--read-only] [--floor]
//! ```

use std::time::Instant;

use quorate_checker::{Asked, RunOptions, Source, read, run};

fn main() {
    let mut options = RunOptions::default();
    let (mut sources, mut json, mut quiet, mut read_only, mut floor) = (Vec::new(), false, false, false, false);
    let mut given = std::env::args().skip(1);
    while let Some(argument) = given.next() {
        match argument.as_str() {
            "--stream" => options.stream = true,
            "--verify" => options.verify = true,
            "--minimize" => options.minimize = true,
            "--certificates" => options.options.certificates = true,
            "--one-thread" => options.options.parallel = false,
            "--json" => json = true,
            "--quiet" => quiet = true,
            "--read-only" => read_only = true,
            "--floor" => floor = true,
            "--bytes" => {
                let bytes = given.next().and_then(|bytes| bytes.parse().ok());
                options.options.budget.bytes = bytes.unwrap_or_else(|| {
                    eprintln!("check: --bytes needs a number");
                    std::process::exit(2);
                });
            }
            "--level" => {
                let level = given.next().unwrap_or_default();
                options.asked = Asked::from_name(&level).unwrap_or_else(|| {
                    eprintln!("check: unknown level {level}");
                    std::process::exit(2);
                });
            }
            name => sources.push(Source::from_argument(name)),
        }
    }
    if read_only {
        return read_all(&sources);
    }
    if floor {
        return sort_all(&sources);
    }
    let begun = Instant::now();
    let report = run(&sources, &options, &|_| {});
    let took = begun.elapsed();
    if json {
        print!("{}", report.json());
    } else if !quiet {
        print!("{}", report.text());
    }
    eprintln!(
        "{} files, exit {}, {:.3} s, peak {} MB",
        sources.len(),
        report.exit_code(),
        took.as_secs_f64(),
        peak_mb()
    );
    std::process::exit(i32::from(report.exit_code()));
}

/// Reads without judging: the parser alone.
fn read_all(sources: &[Source]) {
    for source in sources {
        let Source::File(path) = source else { continue };
        let bytes = std::fs::read(path).expect("a file that can be read");
        let begun = Instant::now();
        let recorded = read(bytes.as_slice(), None, None).expect("a history");
        let seconds = begun.elapsed().as_secs_f64();
        let speed = bytes.len() as f64 / seconds / 1e6;
        eprintln!("{} operations read in {seconds:.3} s, {speed:.0} MB/s", recorded.history.len());
    }
}

/// The least that any judge must do: read the file, find one number a line, sort.
fn sort_all(sources: &[Source]) {
    for source in sources {
        let Source::File(path) = source else { continue };
        let begun = Instant::now();
        let bytes = std::fs::read(path).expect("a file that can be read");
        let number = |line: &[u8]| {
            let digits =
                line.iter().rev().skip_while(|byte| !byte.is_ascii_digit()).take_while(|byte| byte.is_ascii_digit());
            digits
                .fold((0u64, 1u64), |(sum, ten), byte| {
                    (sum.saturating_add(u64::from(byte - b'0').saturating_mul(ten)), ten.saturating_mul(10))
                })
                .0
        };
        let mut numbers: Vec<u64> = bytes.split(|byte| *byte == b'\n').map(number).collect();
        numbers.sort_unstable();
        let seconds = begun.elapsed().as_secs_f64();
        eprintln!("{} lines sorted in {seconds:.3} s, peak {} MB", numbers.len(), peak_mb());
    }
}

/// Peak resident memory of this process.
fn peak_mb() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kb = line.and_then(|line| line.split_ascii_whitespace().next()?.parse::<u64>().ok());
    kb.unwrap_or(0) / 1024
}
