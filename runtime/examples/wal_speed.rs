//! How much the log costs above the sync that it cannot avoid.
//!
//! `cargo run --release -p quorate-runtime --example wal_speed [DIRECTORY] [ROUNDS]`
//!
//! Rounds take turns, so that a disk that slows down slows all cases alike: a bare write and `fdatasync` of 4 KiB into
//! a preallocated file, the same into a growing file, one record of 100 bytes through the log, and 64 such records in
//! one batch. Then the processor's share of the log alone, and how fast a log is read back.

use std::fs::{File, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bytes::Bytes;
use quorate_core::wal::{Committed, Log, Options, Position};
use quorate_runtime::disk::FileDisk;

const FILE_BYTES: u64 = 64 << 20;
const BLOCK_BYTES: u64 = 4_096;
const RECORD_BYTES: usize = 100;
const TURN: usize = 50;

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

fn main() -> Outcome<()> {
    let mut arguments = std::env::args().skip(1);
    let base = arguments.next().map_or_else(std::env::temp_dir, PathBuf::from);
    let rounds = arguments.next().map_or(Ok(40), |rounds| rounds.parse::<usize>())?;
    let directory = base.join(format!("wal-speed-{}", std::process::id()));
    std::fs::create_dir_all(&directory)?;
    let outcome = measure(&directory, rounds);
    std::fs::remove_dir_all(&directory)?;
    outcome
}

fn measure(directory: &Path, rounds: usize) -> Outcome<()> {
    let mut preallocated = RawFile::new(&directory.join("preallocated"), true)?;
    let mut growing = RawFile::new(&directory.join("growing"), false)?;
    let mut one = Logged::open(&directory.join("one"))?;
    let mut many = Logged::open(&directory.join("many"))?;
    let mut times = [const { Vec::new() }; 4];
    for round in 0..rounds + 1 {
        // The first round warms up.
        let mut take = |case: usize, time: Duration| {
            if round > 0 {
                times[case].push(time);
            }
        };
        for _ in 0..TURN {
            take(0, preallocated.write()?);
        }
        for _ in 0..TURN {
            take(1, one.commit(1)?);
        }
        for _ in 0..TURN {
            take(2, many.commit(64)?);
        }
        for _ in 0..TURN {
            take(3, growing.write()?);
        }
    }
    let names = ["4 KiB, preallocated", "log, batch of 1", "log, batch of 64", "4 KiB, growing file"];
    println!("{:<22} {:>9} {:>9} {:>9} {:>12}", "synced each time", "p50 us", "p90 us", "p99 us", "records/s");
    for (at, (name, times)) in names.iter().zip(&mut times).enumerate() {
        times.sort_unstable();
        let micros = |per_mille: usize| times[times.len() * per_mille / 1_000].as_secs_f64() * 1e6;
        let records = if at == 2 { 64.0 } else { 1.0 };
        let rate = records * times.len() as f64 / times.iter().sum::<Duration>().as_secs_f64();
        println!("{name:<22} {:>9.1} {:>9.1} {:>9.1} {rate:>12.0}", micros(500), micros(900), micros(990));
    }
    processor_share(&directory.join("processor"))?;
    reopen(&directory.join("reopened"))
}

/// A file that is written and synced block by block.
struct RawFile {
    file: File,
    at: u64,
    wraps: bool,
    block: Vec<u8>,
}

impl RawFile {
    fn new(path: &Path, preallocated: bool) -> std::io::Result<Self> {
        let mut file = OpenOptions::new().write(true).create_new(true).open(path)?;
        if preallocated {
            file.write_all(&vec![0; FILE_BYTES as usize])?;
            file.sync_all()?;
        }
        Ok(Self { file, at: 0, wraps: preallocated, block: vec![7; BLOCK_BYTES as usize] })
    }

    fn write(&mut self) -> std::io::Result<Duration> {
        let begun = Instant::now();
        self.file.seek(SeekFrom::Start(self.at))?;
        self.file.write_all(&self.block)?;
        self.file.sync_data()?;
        self.at += BLOCK_BYTES;
        if self.wraps {
            self.at %= FILE_BYTES;
        }
        Ok(begun.elapsed())
    }
}

/// A log on files.
struct Logged {
    disk: FileDisk,
    log: Log,
}

impl Logged {
    fn open(path: &Path) -> Outcome<Self> {
        let mut disk = FileDisk::open(path)?;
        let (log, _) = Log::open(&mut disk, Options::default(), Position::ZERO, &mut |_| ())?;
        let mut logged = Self { disk, log };
        // The first batch makes the segment.
        logged.commit(1)?;
        Ok(logged)
    }

    /// One batch, from the first append to the acknowledgement.
    fn commit(&mut self, records: usize) -> Outcome<Duration> {
        let value = Bytes::from_static(&[42; RECORD_BYTES]);
        let begun = Instant::now();
        for _ in 0..records {
            self.log.append(0, std::slice::from_ref(&value));
        }
        let batch = self.log.seal().ok_or("a batch is in flight")?;
        let result = batch.write(&mut self.disk).and_then(|()| batch.sync(&mut self.disk));
        let Committed::Synced(_) = self.log.committed(batch.id(), result) else {
            return Err("the disk failed".into());
        };
        let time = begun.elapsed();
        if let Some(prepare) = self.log.prepare() {
            let result = prepare.carry_out(&mut self.disk);
            let _ = self.log.prepared(result);
        }
        for segment in self.log.release(self.log.synced()) {
            quorate_core::wal::Disk::delete(&mut self.disk, segment)?;
        }
        Ok(time)
    }
}

/// Append and seal, with nothing written.
fn processor_share(path: &Path) -> Outcome<()> {
    let mut log = Logged::open(path)?.log;
    let value = Bytes::from_static(&[42; RECORD_BYTES]);
    let batches = 20_000;
    let begun = Instant::now();
    for _ in 0..batches {
        for _ in 0..64 {
            log.append(0, std::slice::from_ref(&value));
        }
        let batch = log.seal().ok_or("a batch is in flight")?;
        let _ = log.committed(batch.id(), Ok(()));
    }
    let nanos = begun.elapsed().as_nanos() / (64 * batches);
    println!("append and seal, batches of 64, nothing written: {nanos} ns per record");
    Ok(())
}

/// A million records, written in large batches and read back.
fn reopen(path: &Path) -> Outcome<()> {
    let mut logged = Logged::open(path)?;
    let value = Bytes::from_static(&[42; RECORD_BYTES]);
    for _ in 0..1_000 {
        for _ in 0..1_000 {
            logged.log.append(0, std::slice::from_ref(&value));
        }
        let batch = logged.log.seal().ok_or("a batch is in flight")?;
        let result = batch.write(&mut logged.disk).and_then(|()| batch.sync(&mut logged.disk));
        let _ = logged.log.committed(batch.id(), result);
    }
    let held = logged.log.bytes_held();
    let begun = Instant::now();
    let mut count = 0_u64;
    let (_, recovered) = Log::open(&mut logged.disk, Options::default(), Position::ZERO, &mut |_| count += 1)?;
    let time = begun.elapsed();
    assert_eq!((count, recovered.lost.len()), (recovered.last.0, 0));
    println!(
        "reopened: {count} records of {RECORD_BYTES} B, {} MiB of log, in {time:.1?} (page cache warm)",
        held >> 20
    );
    Ok(())
}
