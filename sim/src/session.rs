//! A run that can be walked through: step by step, saved and gone on with elsewhere, or led into another future.
//!
//! Between two events a world is a value. [`Session::save`] writes it down, and [`Session::load`] goes on in another
//! process exactly as the first would have: run(0..T) equals run(0..S), save, load, run(S..T), by digest. Stepping
//! backwards is loading an earlier one and walking forward.
//!
//! A branch is a session that is told something new: chance drawn from another seed, or one thing changed.

use crate::moment::Moment;
use crate::oracle::Violation;
use crate::report::Report;
use crate::rng::{Purpose, Stream};
use crate::run::{caught, finish};
use crate::world::{Event, World};
use quorate_core::id::NodeId;
use quorate_traces::{Directive, FaultRecord, MessageName, Plan};
use std::fmt;
use std::sync::Arc;

/// The version of the format: a snapshot is for the build that wrote it, and its header says which.
const MAGIC: &[u8; 8] = b"QSNAP\x00\x00\x01";

/// A run in progress.
#[derive(Clone, Debug)]
pub struct Session {
    world: Box<World>,
}

/// Why a snapshot cannot be gone on with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SnapshotError {
    /// It is no snapshot, or of another version of the format.
    Format,
    /// Another build wrote it.
    OtherBuild {
        /// Which.
        core: String,
    },
    /// It is damaged.
    Damaged,
}

impl fmt::Display for SnapshotError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Format => f.write_str("not a snapshot of this version of the format"),
            Self::OtherBuild { core } => write!(f, "the snapshot is of another build ({core}): replay from the start"),
            Self::Damaged => f.write_str("the snapshot is damaged"),
        }
    }
}

impl std::error::Error for SnapshotError {}

impl Session {
    /// The beginning of a plan's run.
    ///
    /// # Errors
    /// The plan contradicts itself; in words.
    pub fn new(plan: &Plan) -> Result<Self, String> {
        let world = caught(plan.shape.seed, || World::new(plan)).map_err(|violation| violation.words)??;
        Ok(Self { world: Box::new(world) })
    }

    /// Keeps no digest from here on: only to measure what it costs.
    pub fn unfold(&mut self) {
        self.world.unfolded = true;
    }

    /// How many messages have arrived.
    pub fn deliveries(&self) -> u64 {
        self.world.deliveries
    }

    /// The next event happens. False if the run is over. A panic is a broken promise, and ends it.
    pub fn step(&mut self) -> bool {
        let before = self.world.events;
        self.walk_to(before + 1);
        self.world.events > before
    }

    /// Walks on until so many events have happened in all, or the run is over.
    pub fn walk_to(&mut self, events: u64) {
        let world = &mut *self.world;
        if let Err(violation) = caught(world.plan.shape.seed, || world.run(events)) {
            world.violations.push(Violation { at: world.now, ..*violation });
        }
    }

    /// How many events have happened.
    pub fn events(&self) -> u64 {
        self.world.events
    }

    /// The virtual time, in microseconds.
    pub fn now(&self) -> u64 {
        self.world.now
    }

    /// The fold over everything that has happened.
    pub fn digest(&self) -> u64 {
        self.world.digest.value()
    }

    /// What happens next; `None` if nothing does.
    pub fn next_moment(&self) -> Option<Moment> {
        let over = !self.world.violations.is_empty() || self.world.phase.is_over();
        let (at, event) = self.world.next_event().filter(|_| !over)?;
        Some(Moment::of(&self.world, at, event))
    }

    /// When the next event happens.
    pub fn next_at(&self) -> Option<u64> {
        let over = !self.world.violations.is_empty() || self.world.phase.is_over();
        self.world.next_event().filter(|_| !over).map(|(at, _)| at)
    }

    /// The promises that are broken so far.
    pub fn violations(&self) -> &[Violation] {
        &self.world.violations
    }

    /// How often marks whose words contain these have been reached.
    pub(crate) fn marks_like(&self, words: &str) -> u64 {
        self.world.audit.marks().iter().filter(|(mark, _)| mark.contains(words)).map(|(_, count)| count).sum()
    }

    /// The plan, with what was added on the way.
    pub fn plan(&self) -> &Plan {
        &self.world.plan
    }

    /// One node's whole state, in words; `None` while it is down.
    pub fn node(&self, node: NodeId) -> Option<String> {
        let host = self.world.hosts.get(node.0.checked_sub(1)? as usize)?;
        host.running().map(|running| format!("{:#?}", running.node))
    }

    /// How many nodes there are.
    pub fn nodes(&self) -> u32 {
        self.world.hosts.len() as u32
    }

    /// What the run has come to, judged as if it ended here.
    pub fn report(self) -> Report {
        let plan = self.world.plan.clone();
        finish(&plan, *self.world)
    }

    /// The whole world as bytes. `core` names the build, as traces do.
    pub fn save(&self, core: &str) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        let world = postcard::to_allocvec(&(core, xxhash_rust::xxh3::xxh3_64(core.as_bytes()))).expect("plain data");
        bytes.extend((world.len() as u32).to_le_bytes());
        bytes.extend(world);
        let body = postcard::to_allocvec(&*self.world).expect("a world is plain data");
        bytes.extend(xxhash_rust::xxh3::xxh3_64(&body).to_le_bytes());
        bytes.extend(body);
        bytes
    }

    /// Goes on from bytes that [`Self::save`] wrote, by the same build.
    ///
    /// # Errors
    /// [`SnapshotError`].
    pub fn load(bytes: &[u8], core: &str) -> Result<Self, SnapshotError> {
        let rest = bytes.strip_prefix(&MAGIC[..]).ok_or(SnapshotError::Format)?;
        let (length, rest) = rest.split_first_chunk::<4>().ok_or(SnapshotError::Damaged)?;
        let length = u32::from_le_bytes(*length) as usize;
        let (head, rest) = rest.split_at_checked(length).ok_or(SnapshotError::Damaged)?;
        let (theirs, _): (String, u64) = postcard::from_bytes(head).map_err(|_| SnapshotError::Damaged)?;
        if theirs != core {
            return Err(SnapshotError::OtherBuild { core: theirs });
        }
        let (sum, body) = rest.split_first_chunk::<8>().ok_or(SnapshotError::Damaged)?;
        if xxhash_rust::xxh3::xxh3_64(body) != u64::from_le_bytes(*sum) {
            return Err(SnapshotError::Damaged);
        }
        let mut world: Box<World> = postcard::from_bytes(body).map_err(|_| SnapshotError::Damaged)?;
        world.tell_judge_again();
        Ok(Self { world })
    }

    /// Another future: from here on chance is drawn from another seed.
    pub fn reseed(&mut self, seed: u64) {
        let world = &mut *self.world;
        world.tie_seed = Stream::new(seed, Purpose::Ties, 0).word();
        world.client_seed = Stream::new(seed, Purpose::Client, 0).word();
        world.network.reseed(seed);
        for (index, host) in world.hosts.iter_mut().enumerate() {
            host.stream = Stream::new(seed, Purpose::Disk, index as u64);
        }
    }

    /// Another future: one more fault, not before now.
    pub fn add_fault(&mut self, record: FaultRecord) {
        let at = record.at.max(self.world.now);
        Arc::make_mut(&mut self.world.plan).faults.push(FaultRecord { at, ..record });
        self.world.schedule_fault(self.world.plan.faults.len() - 1);
    }

    /// Another future: one message that has not been sent yet fares otherwise.
    pub fn add_directive(&mut self, directive: Directive) {
        self.world.network.direct(&directive);
        Arc::make_mut(&mut self.world.plan).directives.push(directive);
    }

    /// Another future: a message that is on its way, with all its copies, is lost or arrives later. False if it is not.
    pub(crate) fn take_flying(&mut self, message: &MessageName, later: Option<u64>) -> bool {
        let is_named = |event: &Event| matches!(event, Event::Deliver { name, .. } if name.public() == *message);
        let taken = self.world.take_events(is_named);
        for (at, event) in &taken {
            match later {
                Some(by) => self.world.at(at.saturating_add(by), message.to.0 as usize - 1, event.clone()),
                None => self.world.flying -= 1,
            }
        }
        !taken.is_empty()
    }

    /// Another future: everything is healed now.
    pub fn heal(&mut self) {
        if !self.world.phase.is_healed() {
            self.world.heal();
        }
    }
}
