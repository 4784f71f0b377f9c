//! The write-ahead log and crashes: by chance against a model, and by enumeration at small size.

mod wal_model;

use proptest::prelude::*;
use quorate_core::wal::{Disk, DiskError, Position};
use quorate_sim::disk::{Fault, SimDisk};
use wal_model::{Step, TestDisk, World, steps};

const ROOM: u64 = 6 * 4_096;

impl TestDisk for SimDisk {
    fn kill(&mut self) {}

    fn crash(&mut self, seed: u64) {
        let mut state = seed;
        Self::crash(self, |bound| {
            // Knuth's MMIX generator: any will do.
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % bound
        });
    }

    fn set_full(&mut self, full: bool) {
        self.set_capacity(if full { 0 } else { ROOM });
    }

    fn arm(&mut self, choice: u64) {
        let detail = choice >> 8;
        Self::arm(
            self,
            match choice % 6 {
                0 => Fault::CreateFails,
                1 => Fault::WriteFails { sectors: (detail % 4) as u32, error: DiskError::Io },
                5 => Fault::WriteFails { sectors: (detail % 5) as u32, error: DiskError::Full },
                2 => Fault::SyncFails { persisted: detail, visible: false },
                3 => Fault::SyncFails { persisted: detail, visible: true },
                _ => Fault::ReadFails,
            },
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 10_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn survivors_are_a_prefix_that_holds_everything_acknowledged(steps in steps()) {
        World::new(SimDisk::new(ROOM)).run(&steps);
    }
}

/// Every subset of the unsynced sectors of a disk, as the disks it leaves.
fn every_crash(disk: &SimDisk) -> impl Iterator<Item = SimDisk> {
    let unsynced = disk.unsynced().count() as u32;
    assert!(unsynced <= 10, "{unsynced} sectors have too many subsets");
    let disk = disk.clone();
    (0..1_u32 << unsynced).map(move |subset| {
        let mut crashed = disk.clone();
        let mut asked = 0;
        crashed.crash_keeping(|_, _| {
            asked += 1;
            subset >> (asked - 1) & 1 == 1
        });
        crashed
    })
}

fn append(label: u32, letter: u8, bytes: usize) -> Step {
    Step::Append { label, letter, bytes }
}

#[test]
fn every_crash_point_and_every_crash_of_its_recovery_keeps_what_was_acknowledged() {
    // Three segments of which the first is recycled, batches of one to four sectors, a mark, equal bytes in a row.
    let mut story = Vec::new();
    for (turn, bytes) in [900, 300, 900, 900, 10, 900, 900, 700].into_iter().enumerate() {
        story.extend([append(turn as u32, 0, bytes), append(9, (turn % 2) as u8, bytes)]);
        story.extend([Step::Seal, Step::Write, append(8, 0, 5), Step::Sync]);
        if turn % 3 == 2 {
            story.extend([Step::Prepare, Step::Prepared, Step::Release { back: 2 }]);
        }
    }
    story.extend([Step::Seal, Step::Write, Step::Sync, Step::Mark, Step::Write, Step::Sync]);

    let mut world = World::new(SimDisk::new(ROOM));
    let mut openings = 0_u64;
    for step in &story {
        world.step(step);
        for crashed in every_crash(&world.disk) {
            for changes in 0..8 {
                let mut again = world.clone();
                again.disk = crashed.clone();
                again.open_and_die(changes);
                for twice in every_crash(&again.disk) {
                    let mut last = again.clone();
                    last.disk = twice;
                    let _ = last.reopen();
                    openings += 1;
                }
            }
        }
    }
    assert!(openings > 3_000, "only {openings} openings");
}

#[test]
fn a_cut_whose_sync_failed_is_made_again_although_reads_already_show_it() {
    let mut world = World::new(SimDisk::new(ROOM));
    // A batch, and one of two sectors; of that, only the first is there after a crash.
    let first = [append(0, 0, 0), Step::Seal, Step::Write, Step::Sync];
    for step in first.iter().chain(&[append(0, 1, 453), Step::Seal, Step::Write]) {
        world.step(step);
    }
    world.disk.crash_keeping(|_, sector| sector == 1);
    // The first attempt gets as far as writing the cut. Its sync fails; reads show the cut, the platter never will.
    world.open_and_die(3);
    world.disk.arm(Fault::SyncFails { persisted: 0, visible: true });
    let segment = world.disk.list().expect("no operation fails")[0];
    assert_eq!(world.disk.sync(segment), Err(DiskError::Io));
    let _ = world.reopen();
    // The same letters again, written behind the cut in vain.
    for step in [append(0, 1, 453), Step::Seal, Step::Write] {
        world.step(&step);
    }
    world.disk.crash_keeping(|_, _| false);
    assert_eq!(world.reopen().last, Position(1), "what was cut stays cut");
}
