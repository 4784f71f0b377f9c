//! One simulated machine: a node, its store, its disk and its clocks; and what a crash leaves of them.
//!
//! The disk, the tree's durable part and the clocks belong to the machine and outlive the process. The node and the
//! store are the process: a crash takes them away, and [`Host::start`] makes new ones from what the disk holds, through
//! the same doors as a real process: found, recover, or blank.

use crate::clock::HostClock;
use crate::disk::SimDisk;
use crate::rng::{Purpose, Stream};
use crate::tree::SimTree;
use crate::world::Event;
use quorate_core::Node;
use quorate_core::config::{Config, Founding};
use quorate_core::id::{Boot, Incarnation, NodeId};
use quorate_core::store::{OpenError, Store};
use quorate_core::wal::{self, Batch, DiskError, Position, Prepare};
use quorate_traces::{ClockPlan, CrashPoint, DiskFate, DiskPlan};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// A machine.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Host {
    pub(crate) id: NodeId,
    pub(crate) clock: HostClock,
    pub(crate) disk: SimDisk,
    pub(crate) stream: Stream,
    pub(crate) life: Life,
    /// Counts processes: what was meant for an earlier one is dropped.
    pub(crate) generation: u32,
    /// Until when it stands still, and what has come in meanwhile.
    pub(crate) paused_until: Option<u64>,
    pub(crate) backlog: Vec<Event>,
    /// Added to every disk operation.
    pub(crate) slow_by: u64,
    /// How long it takes for each input, and until when it is at the last one.
    pub(crate) slow_inputs: (u64, u64),
    /// How long it stays down when its disk has failed it.
    pub(crate) down_after_stop: u64,
    /// Life and boot that its messages named last, and which process said so.
    pub(crate) spoke_as: Option<(Incarnation, Boot, u32)>,
    /// A crash that waits for its moment.
    pub(crate) doom: Option<Doom>,
    /// Its disk was harmed on purpose: it may recover less than it had, and stay out.
    pub(crate) harmed: bool,
    /// Its log has reported a loss, and the disk is still the same: every later start must report it too.
    pub(crate) told_loss: bool,
    /// The life that its peers know it by.
    pub(crate) incarnation: Incarnation,
    /// How often in a row its store could not be opened.
    pub(crate) open_failures: u32,
    /// It has been a member at least once.
    pub(crate) was_member: bool,
    /// The disk and tree of an earlier time, by the number of the fault that will put them back.
    pub(crate) backups: Vec<(u32, SimDisk, SimTree)>,
}

/// Whether a process runs.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Life {
    /// No: this is what its tree had on disk.
    Down { tree: SimTree },
    /// Yes.
    Up(Box<Running>),
}

/// A process.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Running {
    pub(crate) node: Node,
    pub(crate) store: Store<SimTree>,
    /// The batch in flight, and how its write ended.
    pub(crate) batch: Option<(Batch, Result<(), DiskError>)>,
    pub(crate) preparing: Option<Prepare>,
    /// Keys of the operations in the log's memory, in order.
    pub(crate) keys_waiting: VecDeque<Option<u32>>,
    /// When it is to be woken.
    pub(crate) wake: Option<u64>,
    pub(crate) mark_asked: bool,
    pub(crate) flushing: bool,
    pub(crate) batches_unflushed: u32,
}

/// A crash that waits for its moment.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Doom {
    pub(crate) point: CrashPoint,
    pub(crate) disk: DiskFate,
    pub(crate) down: u64,
}

/// How a process began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Start {
    /// A member of a new cluster, on an empty disk.
    Founded,
    /// From what its disk held.
    Recovered,
    /// Without an identity.
    Blank,
}

/// What to do with a disk that holds no identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EmptyDisk {
    Found,
    StayBlank,
}

impl Host {
    pub(crate) fn new(seed: u64, index: u32, clock: &ClockPlan) -> Self {
        Self {
            id: NodeId(index + 1),
            clock: HostClock::new(clock),
            disk: SimDisk::new(u64::MAX),
            stream: Stream::new(seed, Purpose::Disk, u64::from(index)),
            life: Life::Down { tree: SimTree::default() },
            generation: 0,
            paused_until: None,
            backlog: Vec::new(),
            slow_by: 0,
            slow_inputs: (0, 0),
            down_after_stop: 0,
            spoke_as: None,
            doom: None,
            harmed: false,
            told_loss: false,
            incarnation: Incarnation(0),
            open_failures: 0,
            was_member: false,
            backups: Vec::new(),
        }
    }

    pub(crate) fn running(&self) -> Option<&Running> {
        match &self.life {
            Life::Up(running) => Some(running),
            Life::Down { .. } => None,
        }
    }

    pub(crate) fn running_mut(&mut self) -> Option<&mut Running> {
        match &mut self.life {
            Life::Up(running) => Some(running),
            Life::Down { .. } => None,
        }
    }

    /// Starts a process on what the disk holds.
    ///
    /// # Errors
    /// The store cannot be opened; the machine stays down.
    pub(crate) fn start(
        &mut self,
        founding: &Founding,
        config: &Config,
        plan: &DiskPlan,
        seed: u64,
        empty: EmptyDisk,
    ) -> Result<(Start, Vec<wal::Lost>), OpenError> {
        let Life::Down { tree } = &mut self.life else { panic!("only a machine that is down is started") };
        let options = log_options(plan, self.stream.word());
        let (store, opened) = Store::open(&mut self.disk, tree.clone(), options)?;
        self.open_failures = 0;
        let node_seed = Stream::new(seed, Purpose::Node, u64::from(self.id.0)).word();
        let (node, start) = if !opened.lost.is_empty() {
            (Node::blank(), Start::Blank)
        } else if opened.facts.identity.is_some() {
            let node = Node::recover(config.clone(), node_seed, &opened.facts, opened.recovered);
            (node, Start::Recovered)
        } else {
            match empty {
                EmptyDisk::Found => {
                    let seed = node_seed.wrapping_add(u64::from(self.generation));
                    (Node::found(self.id, founding.clone(), config.clone(), seed), Start::Founded)
                }
                EmptyDisk::StayBlank => (Node::blank(), Start::Blank),
            }
        };
        // A life that begins after the disk was lost is not the one whose answers count.
        if let (Some(sender), false) = (node.sender(), self.was_member) {
            self.incarnation = sender.incarnation;
        }
        self.life = Life::Up(Box::new(Running {
            node,
            store,
            batch: None,
            preparing: None,
            keys_waiting: VecDeque::new(),
            wake: None,
            mark_asked: false,
            flushing: false,
            batches_unflushed: 0,
        }));
        Ok((start, opened.lost))
    }

    /// Whether each input takes it time.
    pub(crate) fn is_slow(&self) -> bool {
        self.slow_inputs.0 > 0
    }

    /// When a slow machine can take its next input, if that is later than now. Otherwise it takes this one.
    pub(crate) fn busy(&mut self, now: u64) -> Option<u64> {
        let (each, until) = &mut self.slow_inputs;
        if now < *until {
            return Some(*until);
        }
        *until = now + *each;
        None
    }

    /// The process dies. What was not synced survives as `fate` says, the tree as its stream says.
    pub(crate) fn die(&mut self, fate: DiskFate) {
        let Life::Up(running) = &mut self.life else { return };
        let mut tree = std::mem::take(running.store.tree_mut());
        let stream = &mut self.stream;
        let kept = match fate {
            // The process died and the machine did not: what the tree had written is in the page cache.
            DiskFate::KeepUnsynced => tree.unflushed(),
            DiskFate::LoseUnsynced => 0,
            DiskFate::AnySubset => stream.below(tree.unflushed() as u64 + 1) as usize,
        };
        tree.throw_back(kept);
        match fate {
            DiskFate::LoseUnsynced => self.disk.crash_keeping(|_, _| false),
            DiskFate::KeepUnsynced => self.disk.crash_keeping(|_, _| true),
            DiskFate::AnySubset => self.disk.crash(|below| stream.below(below)),
        }
        self.life = Life::Down { tree };
        self.generation += 1;
        self.backlog.clear();
        self.paused_until = None;
        self.doom = None;
    }

    /// The disk is replaced by an empty one. Only while down.
    pub(crate) fn wipe(&mut self) {
        self.disk.wipe();
        self.told_loss = false;
        self.life = Life::Down { tree: SimTree::default() };
    }

    /// Disk and tree are put back to an earlier time. Only while down. False if there is no such copy.
    pub(crate) fn restore(&mut self, fault: u32, marked: bool) -> bool {
        let Some(at) = self.backups.iter().position(|(number, ..)| *number == fault) else { return false };
        let (_, disk, tree) = self.backups.swap_remove(at);
        if marked {
            // The restore command removes the identity; what is left is data without an owner.
            self.wipe();
        } else {
            self.disk.restore(&disk);
            self.told_loss = false;
            self.life = Life::Down { tree };
        }
        true
    }

    /// A disk that was harmed so that its store cannot be opened: its operator gives it up.
    pub(crate) fn is_given_up(&self) -> bool {
        const TRIES: u32 = 8;
        self.harmed && self.open_failures >= TRIES
    }

    /// Takes a copy, as a backup of a crashed disk would be: what is durable now.
    pub(crate) fn back_up(&mut self, fault: u32) {
        let mut disk = self.disk.clone();
        disk.crash_keeping(|_, _| false);
        let tree = match &self.life {
            Life::Up(running) => {
                let mut tree = running.store.tree().clone();
                tree.throw_back(0);
                tree
            }
            Life::Down { tree } => tree.clone(),
        };
        self.backups.push((fault, disk, tree));
    }

    /// Whether the current moment is a crash's moment: for points of the disk's work.
    pub(crate) fn is_doomed_at(&self, point: CrashPoint) -> Option<Doom> {
        self.doom.filter(|doom| doom.point == point)
    }

    /// One input passes: how many of its effects are still carried out, if it is the fatal one.
    pub(crate) fn fatal_effects(&mut self) -> Option<usize> {
        let doom = self.doom.as_mut()?;
        match &mut doom.point {
            CrashPoint::Handling { after: 0, effects } => Some(*effects as usize),
            CrashPoint::Handling { after, .. } => {
                *after -= 1;
                None
            }
            CrashPoint::Now | CrashPoint::BeforeWrite | CrashPoint::BeforeSync | CrashPoint::BeforeReport => None,
        }
    }
}

impl Running {
    /// Whether nothing is on its way to the disk and no request is worked on.
    pub(crate) fn is_idle(&self) -> bool {
        self.batch.is_none() && self.keys_waiting.is_empty() && self.node.in_flight() == 0
    }

    /// Whether every record of the log is proven by a later batch, so that damage to one is seen as such.
    pub(crate) fn is_proven(&self) -> bool {
        self.is_idle() && !self.store.mark_due()
    }

    /// The tree's flush has ended.
    pub(crate) fn flushed(&mut self, position: Position, disk: &mut SimDisk) {
        use quorate_core::wal::Disk;
        self.flushing = false;
        self.store.tree_mut().flushed(position);
        for segment in self.store.flushed(position) {
            // A segment that is gone already is as good as deleted.
            let _ = disk.delete(segment);
        }
    }
}

/// The log's sizes.
fn log_options(plan: &DiskPlan, salt: u64) -> wal::Options {
    wal::Options {
        segment_bytes: plan.segment_bytes,
        batch_bytes_max: plan.batch_bytes_max,
        record_bytes_max: plan.batch_bytes_max / 2,
        batch_records_max: 1_024,
        block_bytes: plan.block_bytes,
        spare_segments_max: 1,
        salt,
    }
}
