//! The write-ahead log on a disk that is damaged: what is lost is told, what is whole survives, nothing wrong is read.

mod wal_model;

use bytes::Bytes;
use quorate_core::wal::{
    Batch, Committed, Disk, DiskError, Log, Lost, OpenError, Options, Position, Record, Recovered, SegmentId,
};
use quorate_sim::disk::{Fault, SECTOR_BYTES, SimDisk};
use wal_model::small_options;

const ROOM: u64 = 6 * 4_096;

/// A log of several segments, one of them recycled, and what its disk and its records are.
struct Written {
    disk: SimDisk,
    log: Log,
    records: Vec<Record>,
    applied: Position,
    /// What a later batch proves to have been durable.
    mark: Position,
}

fn commit(log: &mut Log, disk: &mut SimDisk, batch: Option<Batch>) {
    let batch = batch.expect("something waits");
    batch.write(disk).expect("a sound disk");
    batch.sync(disk).expect("a sound disk");
    assert_eq!(log.committed(batch.id(), Ok(())), Committed::Synced(batch.last()));
}

fn written(marked: bool) -> Written {
    let mut disk = SimDisk::new(ROOM);
    let (mut log, _) = Log::open(&mut disk, small_options(5), Position::ZERO, &mut |_| ()).expect("an empty disk");
    let mut records: Vec<Record> = Vec::new();
    let (mut applied, mut mark) = (Position::ZERO, Position::ZERO);
    for turn in 0..14_usize {
        for part in 0..=turn % 3 {
            let label = (10 * turn + part) as u32;
            let bytes = Bytes::from(format!("<{label}>").repeat(4 + 40 * turn % 150));
            let position = log.append(label, std::slice::from_ref(&bytes));
            records.push(Record { position, label, bytes });
        }
        mark = log.synced();
        let batch = log.seal();
        commit(&mut log, &mut disk, batch);
        if turn == 8 {
            applied = Position(log.synced().0 - 4);
            assert_eq!(log.release(applied), []);
        }
    }
    if marked {
        assert!(log.mark_due());
        mark = log.synced();
        let batch = log.seal_mark();
        commit(&mut log, &mut disk, batch);
        assert!(!log.mark_due());
    }
    records.retain(|record| record.position > applied);
    Written { disk, log, records, applied, mark }
}

fn open(disk: &mut SimDisk, applied: Position) -> (Log, Recovered, Vec<Record>) {
    let mut found = Vec::new();
    let (log, recovered) =
        Log::open(disk, small_options(6), applied, &mut |record| found.push(record)).expect("no operation fails");
    (log, recovered, found)
}

fn is_lost(lost: &[Lost], position: Position) -> bool {
    lost.iter().any(|lost| lost.first <= position && lost.last.is_none_or(|last| position <= last))
}

/// Opens a damaged copy. Each record must be found as it was or reported lost; those above the mark may also be cut, but
/// then together with all that follow.
fn check_damage(what: &str, sound: &Written, disk: &SimDisk) -> Recovered {
    let mut disk = disk.clone();
    let (mut log, recovered, found) = open(&mut disk, sound.applied);
    for record in &found {
        assert!(sound.records.contains(record), "{what}: {record:?} was never written");
        assert!(!is_lost(&recovered.lost, record.position), "{what}: {} is found and lost", record.position);
    }
    assert!(found.is_sorted_by_key(|record| record.position), "{what}");
    for record in &sound.records {
        let survived = found.contains(record) || is_lost(&recovered.lost, record.position);
        let cut = record.position > sound.mark && record.position > recovered.last;
        assert!(survived || cut, "{what}: {} vanished silently, {recovered:?}", record.position);
    }
    // The loss is told again, and nothing more, after new records have come.
    let position = log.append(1, &[Bytes::from_static(b"new")]);
    assert!(position > recovered.last);
    let batch = log.seal();
    commit(&mut log, &mut disk, batch);
    let (_, again, found_again) = open(&mut disk, sound.applied);
    assert_eq!(found_again.last().map(|record| (&record.bytes[..], record.position)), Some((&b"new"[..], position)));
    assert_eq!(found_again[..found.len()], found, "{what}");
    if recovered.lost.iter().all(|lost| lost.last.is_some()) {
        assert_eq!(again.lost, recovered.lost, "{what}");
    }
    recovered
}

#[test]
fn a_turned_bit_anywhere_is_found_or_harmless_and_acknowledged_loss_is_always_told() {
    for marked in [true, false] {
        let sound = written(marked);
        assert_eq!(sound.mark == sound.log.synced(), marked);
        let (mut told, mut harmless) = (0, 0);
        let sectors: Vec<(SegmentId, u64)> = sound.disk.written().collect();
        for (segment, sector) in sectors {
            for byte in sector * SECTOR_BYTES..(sector + 1) * SECTOR_BYTES {
                let mut disk = sound.disk.clone();
                assert!(disk.flip(segment, byte * 8 + byte % 8));
                let recovered = check_damage(&format!("byte {byte} of {segment}"), &sound, &disk);
                assert!(recovered.lost.len() <= 1, "one bit damages one record or one batch");
                assert!(recovered.lost.iter().all(|lost| lost.last.is_some()));
                told += usize::from(!recovered.lost.is_empty());
                harmless += usize::from(recovered.lost.is_empty());
            }
        }
        assert!(told > 1_000 && harmless > 1_000, "told {told}, harmless {harmless}");
    }
}

#[test]
fn a_damaged_record_is_named_with_its_label_and_its_neighbours_survive() {
    let sound = written(true);
    let victim = &sound.records[4];
    let (segment, bit) = find(&sound.disk, &victim.bytes);
    let mut disk = sound.disk.clone();
    assert!(disk.flip(segment, bit));
    let recovered = check_damage("a value", &sound, &disk);
    let lost = Lost { first: victim.position, last: Some(victim.position), label: Some(victim.label) };
    assert_eq!(recovered.lost, [lost]);
    assert_eq!(recovered.records, sound.records.len() as u64 - 1);
}

/// Where some bytes lie: segment, and place in bits.
fn find(disk: &SimDisk, wanted: &[u8]) -> (SegmentId, u64) {
    let mut disk = disk.clone();
    for segment in disk.list().expect("no operation fails") {
        let content = disk.read(segment, 0, segment.bytes as usize).expect("no operation fails");
        if let Some(at) = content.windows(wanted.len()).position(|window| window == wanted) {
            return (segment, at as u64 * 8);
        }
    }
    panic!("it was written");
}

#[test]
fn lost_sectors_segments_and_ends_of_files_are_told() {
    let sound = written(true);
    let sectors: Vec<(SegmentId, u64)> = sound.disk.written().collect();
    for (segment, sector) in sectors {
        let what = format!("sector {sector} of {segment}");
        let mut zeroed = sound.disk.clone();
        let zeros = Bytes::from_static(&[0; SECTOR_BYTES as usize]);
        zeroed.write(segment, sector * SECTOR_BYTES, &[zeros]).expect("inside");
        let _ = check_damage(&what, &sound, &zeroed);
        let mut moved = sound.disk.clone();
        let content = moved.read(segment, sector * SECTOR_BYTES, SECTOR_BYTES as usize).expect("inside");
        moved.write(segment, (sector + 1) % 8 * SECTOR_BYTES, &[content]).expect("inside");
        let _ = check_damage(&what, &sound, &moved);
        let mut cut = sound.disk.clone();
        assert!(cut.truncate(segment, sector * SECTOR_BYTES + 100));
        let _ = check_damage(&what, &sound, &cut);
    }
    let segments = sound.disk.clone().list().expect("no operation fails");
    let (_, all_but_newest) = segments.split_last().expect("several");
    for segment in all_but_newest {
        let mut gone = sound.disk.clone();
        gone.delete(*segment).expect("it exists");
        let _ = check_damage("a missing segment", &sound, &gone);
    }
}

#[test]
fn a_log_that_is_older_than_what_was_applied_says_so_and_reuses_no_position() {
    let sound = written(true);
    let mut empty = SimDisk::new(ROOM);
    let (mut log, recovered, found) = open(&mut empty, sound.applied);
    assert_eq!(recovered.lost, [Lost { first: sound.applied.next(), last: None, label: None }]);
    assert_eq!(found, []);
    assert_eq!(log.append(0, &[]), sound.applied.next());
}

/// A record that makes its batch two sectors long, and two of them three.
const LONG: &str = match std::str::from_utf8(&[b'x'; 600]) {
    Ok(text) => text,
    Err(_) => panic!("it is text"),
};

/// A log of one segment with one batch for each entry: the records of the batch, by their bytes.
fn log_of(batches: &[&[&'static str]]) -> (Log, SimDisk, SegmentId) {
    let mut disk = SimDisk::new(ROOM);
    let (mut log, _) = Log::open(&mut disk, small_options(1), Position::ZERO, &mut |_| ()).expect("an empty disk");
    add(&mut log, &mut disk, batches);
    let segment = disk.list().expect("no operation fails")[0];
    (log, disk, segment)
}

/// Commits more such batches; one without records is a mark.
fn add(log: &mut Log, disk: &mut SimDisk, batches: &[&[&'static str]]) {
    for records in batches {
        records.iter().for_each(|record| {
            log.append(3, &[Bytes::from_static(record.as_bytes())]);
        });
        let batch = if records.is_empty() { log.seal_mark() } else { log.seal() };
        commit(log, disk, batch);
    }
}

fn texts(found: &[Record]) -> Vec<&str> {
    found.iter().map(|record| std::str::from_utf8(&record.bytes).expect("it was text")).collect()
}

#[test]
fn a_misdirected_write_loses_its_batch_and_no_other() {
    let (mut log, mut disk, _) = log_of(&[&["one"]]);
    disk.arm(Fault::WriteMisdirected { sectors: 4 });
    add(&mut log, &mut disk, &[&["two"], &["three"]]);
    let (_, recovered, found) = open(&mut disk, Position::ZERO);
    assert_eq!(recovered.lost, [Lost { first: Position(2), last: Some(Position(2)), label: None }]);
    assert_eq!(texts(&found), ["one", "three"]);
}

#[test]
fn a_misdirected_batch_does_not_hide_those_that_lie_in_it() {
    let (mut log, mut disk, _) = log_of(&[&["one"]]);
    disk.arm(Fault::WriteMisdirected { sectors: 1 });
    add(&mut log, &mut disk, &[&[LONG, LONG], &["three"]]);
    let (_, recovered, found) = open(&mut disk, Position::ZERO);
    assert_eq!(recovered.lost, [Lost { first: Position(2), last: Some(Position(3)), label: None }]);
    assert_eq!(texts(&found), ["one", "three"]);
}

#[test]
fn a_misdirected_read_shows_nothing_wrong() {
    for sectors in [-3, -1, 1, 3] {
        let (_, mut disk, _) = log_of(&[&["one"], &["two"], &["three"], &["four"]]);
        disk.arm(Fault::ReadMisdirected { sectors });
        let (_, _, found) = open(&mut disk, Position::ZERO);
        assert!(["one", "two", "three", "four"].starts_with(&texts(&found)), "{found:?}");
    }
}

/// Batches that could not be read for a while were cut away with what they proved, and others were written instead.
/// Then they can be read again.
#[test]
fn what_was_cut_never_continues_what_came_instead() {
    // The first batch lies in sector 0, then come those that are hidden. Opening puts a mark in sector 1; what comes
    // instead follows, and right behind it, from a sector on, the hidden ones return.
    type Batches = &'static [&'static [&'static str]];
    let table: [(&str, Batches, Batches, u64); 3] = [
        ("it continues another batch", &[&["old"], &[], &["later"]], &[&["new"]], 3),
        ("its number was given again", &[&[LONG], &["later"]], &[&["new"]], 3),
        ("its position was given again", &[&["old"], &[], &["older"], &["later"]], &[&[LONG, "a", "b"]], 4),
    ];
    for (what, hidden, instead, back_from) in table {
        let (mut log, mut disk, segment) = log_of(&[&["first"]]);
        add(&mut log, &mut disk, hidden);
        let sound = disk.clone().read(segment, 0, 4_096).expect("inside");
        disk.write(segment, SECTOR_BYTES, &[Bytes::from(vec![0; 3_000])]).expect("inside");
        let (mut log, recovered, found) = open(&mut disk, Position::ZERO);
        assert_eq!((recovered.lost.len(), found.len()), (0, 1), "nobody can know");
        add(&mut log, &mut disk, instead);
        let from = (back_from * SECTOR_BYTES) as usize;
        disk.write(segment, from as u64, &[sound.slice(from..)]).expect("inside");
        let (_, recovered, found) = open(&mut disk, Position::ZERO);
        let expected: Vec<&str> = ["first"].iter().chain(instead.iter().copied().flatten()).copied().collect();
        assert_eq!((texts(&found), recovered.lost.len()), (expected, 0), "{what}");
    }
}

/// Such a log, and one more batch of which only the header reached the disk.
fn torn(batches: &[&[&'static str]]) -> (SimDisk, SegmentId) {
    let (mut log, mut disk, segment) = log_of(batches);
    log.append(3, &[Bytes::from_static(LONG.as_bytes())]);
    let batch = log.seal().expect("it waits");
    batch.write(&mut disk).expect("a sound disk");
    let (_, header) = disk.unsynced().next().expect("it was written");
    disk.crash_keeping(|_, sector| sector == header);
    (disk, segment)
}

#[test]
fn a_torn_batch_proves_what_was_lost_before_it_also_after_it_was_cut() {
    let batches: &[&[&str]] = &[&["one"], &["two"]];
    let value = find(&torn(batches).0, b"two").1;
    let header = SECTOR_BYTES * 8;
    for (what, bit, label) in [("the record", value, Some(3)), ("the header", header, None)] {
        let (mut disk, segment) = torn(batches);
        assert!(disk.flip(segment, bit));
        for opening in 0..3 {
            // Whatever of the last opening was not synced is lost.
            disk.crash_keeping(|_, _| false);
            let (mut log, recovered, found) = open(&mut disk, Position::ZERO);
            let lost = [Lost { first: Position(2), last: Some(Position(2)), label }];
            assert_eq!((texts(&found), &recovered.lost[..]), (vec!["one"], &lost[..]), "{what}, {opening}");
            let cut = recovered.cut.and_then(|cut| cut.records);
            assert_eq!(cut, (opening == 0).then_some(1), "{what}: the cut is durable");
            assert_eq!(log.append(0, &[]), Position(3), "{what}: what was acknowledged keeps its position");
        }
    }
}

#[test]
fn a_torn_batch_that_no_mark_can_replace_stays_a_proof() {
    // The segment is full, so the torn batch stands at the start of the next and a mark has no room.
    let fill: Vec<&[&str]> = vec![&["fill"]; 7];
    let batches = [fill, vec![&["last"]]].concat();
    let (mut disk, segment) = torn(&batches);
    assert!(disk.flip(segment, find(&disk, b"last").1));
    for _ in 0..3 {
        disk.crash_keeping(|_, _| false);
        let (_, recovered, _) = open(&mut disk, Position::ZERO);
        assert_eq!(recovered.lost, [Lost { first: Position(8), last: Some(Position(8)), label: Some(3) }]);
    }
}

#[test]
fn damage_to_what_was_applied_is_no_loss() {
    let sound = written(true);
    let mut disk = sound.disk.clone();
    let (segment, bit) = find(&disk, &sound.records[0].bytes);
    assert!(disk.flip(segment, bit));
    let (_, recovered, _) = open(&mut disk.clone(), sound.applied);
    assert_eq!(recovered.lost.len(), 1);
    let (_, recovered, found) = open(&mut disk, sound.records[0].position);
    assert_eq!(recovered.lost, []);
    assert_eq!(found[..], sound.records[1..]);
}

#[test]
fn half_a_batch_that_was_applied_in_part_is_a_loss_even_at_the_very_end() {
    let sound = written(false);
    let mut disk = sound.disk.clone();
    let last = sound.records.last().expect("many");
    let (segment, bit) = find(&disk, &last.bytes);
    assert!(disk.flip(segment, bit));
    let (_, recovered, _) = open(&mut disk.clone(), sound.applied);
    assert_eq!((recovered.lost.len(), recovered.cut.is_some()), (0, true), "a torn tail, as far as anybody knows");
    let (_, recovered, _) = open(&mut disk, Position(last.position.0 - 1));
    assert_eq!(recovered.lost, [Lost { first: last.position, last: Some(last.position), label: Some(last.label) }]);
}

#[test]
fn a_value_that_holds_a_batch_of_another_log_is_never_read_as_one() {
    // The same log twice, with different salts; one's second batch becomes a value in the other, at its very place.
    let mut other = SimDisk::new(ROOM);
    let (mut log, _) = Log::open(&mut other, small_options(1), Position::ZERO, &mut |_| ()).expect("empty");
    for _ in 0..2 {
        log.append(0, &[Bytes::from_static(b"evil")]);
        let batch = log.seal();
        commit(&mut log, &mut other, batch);
    }
    let theirs = other.list().expect("no operation fails")[0];
    let stolen = other.read(theirs, SECTOR_BYTES, 80).expect("inside");

    for guessed in [false, true] {
        let mut disk = SimDisk::new(ROOM);
        let salt = if guessed { 1 } else { 2 };
        let (mut log, _) = Log::open(&mut disk, small_options(salt), Position::ZERO, &mut |_| ()).expect("empty");
        let header_bytes = 48 + 12;
        let value = [Bytes::from(vec![b' '; SECTOR_BYTES as usize - header_bytes]), stolen.clone()];
        log.append(0, &value);
        let batch = log.seal();
        commit(&mut log, &mut disk, batch);
        let ours = disk.list().expect("no operation fails")[0];
        assert!(disk.flip(ours, 0));
        let (_, recovered, found) = open(&mut disk, Position::ZERO);
        let believed = found.iter().any(|record| &record.bytes[..] == b"evil") || recovered.lost.len() == 1;
        assert_eq!(believed, guessed, "only who knows the salt can speak for the log");
    }
}

#[test]
fn a_full_disk_refuses_what_waits_and_the_log_goes_on_when_there_is_room() {
    let mut disk = SimDisk::new(0);
    let (mut log, _) = Log::open(&mut disk, small_options(1), Position::ZERO, &mut |_| ()).expect("empty");
    let first = log.append(0, &[Bytes::from_static(b"one")]);
    let batch = log.seal().expect("it waits");
    assert_eq!(log.append(0, &[Bytes::from_static(b"two")]), first.next());
    let result = batch.write(&mut disk);
    assert_eq!(log.committed(batch.id(), result), Committed::Refused(Position::ZERO));
    assert!(log.seal().is_none(), "what waited behind is refused too");
    disk.set_capacity(ROOM);
    assert_eq!(log.append(0, &[Bytes::from_static(b"three")]), first);
    let batch = log.seal();
    commit(&mut log, &mut disk, batch);
    let (_, recovered, found) = open(&mut disk, Position::ZERO);
    assert_eq!((recovered.last, found.len(), &found[0].bytes[..]), (first, 1, &b"three"[..]));
}

#[test]
fn a_lying_disk_loses_the_tail_and_nothing_wrong_is_read() {
    let mut sound = written(true);
    let honest = sound.log.synced();
    sound.disk.set_lying(true);
    for _ in 0..3 {
        sound.log.append(0, &[Bytes::from_static(b"believed")]);
        let batch = sound.log.seal();
        commit(&mut sound.log, &mut sound.disk, batch);
    }
    sound.disk.crash_keeping(|_, _| false);
    let (_, recovered, found) = open(&mut sound.disk, sound.applied);
    assert_eq!((recovered.last, found), (honest, sound.records));
}

#[test]
fn strange_segments_are_refused_or_ignored_without_panic_or_large_reads() {
    let id = |sequence, salt, bytes| SegmentId { sequence, salt, bytes };
    let header = |bytes: u32, records: u32| {
        let mut header = b"QWL1....".to_vec();
        header.extend(4_u64.to_le_bytes());
        header.extend(0_u32.to_le_bytes());
        header.extend(bytes.to_le_bytes());
        header.extend([1, 0, 0, 0, 0, 0, 0, 0]);
        header.extend([1, 0, 0, 0, 0, 0, 0, 0]);
        header.extend(0_u32.to_le_bytes());
        header.extend(records.to_le_bytes());
        header
    };
    let contents: [(&str, Vec<u8>); 8] = [
        ("nothing", vec![]),
        ("ones", vec![0xff; 4_096]),
        ("half a header", b"QWL1".to_vec()),
        ("no bytes", header(0, 0)),
        ("all the bytes there are", header(u32::MAX, u32::MAX)),
        ("a batch above every limit", header(1 << 31, 1)),
        ("an index longer than the batch", header(512, 65_536)),
        ("records that the checksum does not know", header(4_096, 300)),
    ];
    for (what, content) in contents {
        for bytes in [512, 4_096, 1 << 20] {
            let segment = id(3, 4, bytes);
            let mut disk = SimDisk::new(1 << 30);
            disk.create(segment).expect("there is room");
            let content = Bytes::from(content.clone()).slice(..content.len().min(bytes as usize));
            disk.write(segment, 0, &[content]).expect("inside");
            let mut watched = Watched { disk, largest: 0 };
            let opened = Log::open(&mut watched, small_options(1), Position::ZERO, &mut |_| panic!("{what}"));
            let (mut log, recovered) = opened.unwrap_or_else(|error| panic!("{what}: {error}"));
            assert_eq!((recovered.lost.len(), recovered.last), (0, Position::ZERO), "{what}");
            assert!(watched.largest <= 256 << 10, "{what}: read {}", watched.largest);
            log.append(0, &[Bytes::from_static(b"goes on")]);
            let batch = log.seal();
            commit(&mut log, &mut watched.disk, batch);
        }
    }
    for ids in [vec![id(1, 1, 512), id(1, 2, 512)], vec![id(u64::MAX, 1, 512)]] {
        let mut disk = SimDisk::new(1 << 30);
        ids.iter().for_each(|id| disk.create(*id).expect("there is room"));
        let opened = Log::open(&mut disk, small_options(1), Position::ZERO, &mut |_| ());
        assert_eq!(opened.map(|_| ()), Err(OpenError::Mixed { sequence: ids[0].sequence }));
    }
    for bytes in [0, 1, 511, 513] {
        let mut sound = written(true);
        let newest = *sound.disk.list().expect("no operation fails").last().expect("several");
        assert!(sound.disk.truncate(newest, bytes));
        let (_, recovered, _) = open(&mut sound.disk, sound.applied);
        assert_eq!(recovered.lost.last().and_then(|lost| lost.last), None, "nobody knows how much is gone");
        assert_eq!(recovered.lost.len(), 1);
    }
}

/// A disk that remembers the largest read.
struct Watched {
    disk: SimDisk,
    largest: usize,
}

impl Disk for Watched {
    fn list(&mut self) -> Result<Vec<SegmentId>, DiskError> {
        self.disk.list()
    }
    fn create(&mut self, segment: SegmentId) -> Result<(), DiskError> {
        self.disk.create(segment)
    }
    fn recycle(&mut self, from: SegmentId, to: SegmentId) -> Result<(), DiskError> {
        self.disk.recycle(from, to)
    }
    fn delete(&mut self, segment: SegmentId) -> Result<(), DiskError> {
        self.disk.delete(segment)
    }
    fn len(&mut self, segment: SegmentId) -> Result<u64, DiskError> {
        self.disk.len(segment)
    }
    fn read(&mut self, segment: SegmentId, offset: u64, bytes: usize) -> Result<Bytes, DiskError> {
        self.largest = self.largest.max(bytes);
        self.disk.read(segment, offset, bytes)
    }
    fn write(&mut self, segment: SegmentId, offset: u64, chunks: &[Bytes]) -> Result<(), DiskError> {
        self.disk.write(segment, offset, chunks)
    }
    fn sync(&mut self, segment: SegmentId) -> Result<(), DiskError> {
        self.disk.sync(segment)
    }
}

#[test]
fn options_that_contradict_each_other_are_named() {
    use quorate_core::wal::OptionsError;
    let good = small_options(0);
    assert_eq!(good.check(), Ok(()));
    assert_eq!(Options::default().check(), Ok(()));
    let table = [
        (Options { block_bytes: 256, ..good.clone() }, OptionsError::BlockBytes),
        (Options { block_bytes: 513, ..good.clone() }, OptionsError::BlockBytes),
        (Options { segment_bytes: 0, ..good.clone() }, OptionsError::SegmentBytes),
        (Options { segment_bytes: 4_097, ..good.clone() }, OptionsError::SegmentBytes),
        (Options { batch_bytes_max: 8_192, ..good.clone() }, OptionsError::BatchBytesMax),
        (Options { record_bytes_max: 2_048, ..good.clone() }, OptionsError::RecordBytesMax),
        (Options { record_bytes_max: u32::MAX, ..good.clone() }, OptionsError::RecordBytesMax),
        (Options { batch_records_max: 0, ..good.clone() }, OptionsError::BatchRecordsMax),
        (Options { batch_records_max: 65_537, ..good }, OptionsError::BatchRecordsMax),
    ];
    for (options, error) in table {
        assert_eq!(options.check(), Err(error));
        let opened = Log::open(&mut SimDisk::new(ROOM), options, Position::ZERO, &mut |_| ());
        assert_eq!(opened.map(|_| ()), Err(OpenError::Options(error)));
    }
}
