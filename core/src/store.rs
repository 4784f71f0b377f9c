//! A node's storage: the log first, then the tree; used by hosts, not by protocols.
//!
//! An entry goes into the ledger before the goods go on the shelf, and the customer is served from the shelf alone.
//! [`Store::submit`] puts a merge's *operand* into the log. Once its batch is durable, and in log order,
//! [`Store::committed`] reads the record from the tree, applies the pure merge, writes the result and the position it
//! stands for in one tree batch, and only then reports the end. Reads see applied records only, so what a node shows is
//! durable.
//!
//! State: the log, the tree, the facts about the node itself, and what waits for its batch. Recovery asks the tree how
//! far it had come and replays the log from there; replay may start earlier, since a merge is idempotent.
//!
//! What the log reports as lost acknowledged state is handed on in [`Opened::lost`]: whoever opened the store decides,
//! and until nodes can rejoin the answer is to stay out.
//!
//! Operands in the log (all integers little-endian):
//!
//! ```text
//! merge   1 | key length u16 | key | hlc u64 | node u32 | incarnation u64 | sequence u64 | 0 tombstone, 1 value | value
//! fact    2 | a [`Fact`], postcard
//! ```

use crate::durable::{DurableState, Fact, StoreError, StoreOp, StoreOutcome};
use crate::id::{Incarnation, Key, LogPosition, NodeId, StoreToken};
use crate::placement;
use crate::reach::{Reached, sometimes};
use crate::version::{Actor, Content, Dot, Hlc, Record, Version};
use crate::wal::{self, Batch, BatchId, Committed, Disk, DiskError, Log, Lost, Position, Prepare, Prepared, SegmentId};
use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;
use bytes::{Buf, BufMut, Bytes, BytesMut};
use core::fmt;
use serde::{Deserialize, Serialize};

/// The sorted table below the log.
pub trait Tree {
    /// The record of a key, as far as batches were applied.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] or [`StoreError::Io`], never a wrong record.
    fn get(&self, key: &Key) -> Result<Option<Record>, StoreError>;

    /// Applies one batch atomically: after a crash all of it is there, or nothing.
    ///
    /// # Errors
    /// The store stops: the node must recover from its disk.
    fn apply(&mut self, batch: TreeBatch) -> Result<(), StoreError>;

    /// What the tree's durable part stands for: the position applied, and the facts as of then. Asked once, at opening.
    ///
    /// # Errors
    /// The tree cannot be read.
    fn cut(&self) -> Result<(Position, DurableState), StoreError>;
}

/// One atomic step of the tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TreeBatch {
    /// Records that replace what is there.
    pub rows: BTreeMap<Key, Record>,
    /// The facts, when they changed.
    pub facts: Option<DurableState>,
    /// The position that the tree stands for with this batch.
    pub applied: Position,
}

/// What opening a store found.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "a loss that nobody looks at is a silent loss"]
pub struct Opened {
    /// The facts to recover the node from.
    pub facts: DurableState,
    /// Where the log ends.
    pub recovered: LogPosition,
    /// How many records were replayed.
    pub replayed: u64,
    /// Acknowledged state that cannot be read any more. Unless empty, this disk counts as lost: start blank.
    pub lost: Vec<Lost>,
    /// A torn tail was cut; nothing in it had been acknowledged.
    pub cut: Option<wal::Cut>,
}

/// Why a store could not be opened. Nothing that was readable before has been changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenError {
    /// The log could not.
    Log(wal::OpenError),
    /// The tree could not, or refused the replay.
    Tree(StoreError),
    /// A record of the log is whole but not one of ours: another version wrote it.
    Record {
        /// Where it stands.
        position: Position,
    },
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Log(error) => write!(f, "the log cannot be opened: {error}"),
            Self::Tree(error) => write!(f, "the tree cannot be opened: {error}"),
            Self::Record { position } => {
                write!(
                    f,
                    "record {position} of the log is not of a kind this version knows: was it written by a newer one?"
                )
            }
        }
    }
}
impl core::error::Error for OpenError {}

/// The disk or the tree failed: nothing more is acknowledged, and the node must recover from its disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stopped;

impl fmt::Display for Stopped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the disk failed while writing: nothing more is acknowledged until the node recovers from it")
    }
}
impl core::error::Error for Stopped {}

/// See the module's page.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Store<T> {
    log: Log,
    tree: T,
    facts: DurableState,
    waiting: VecDeque<Waiting>,
    reached: Reached,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Waiting {
    position: Position,
    token: StoreToken,
    operand: Operand,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Operand {
    Merge { key: Key, record: Record },
    Fact(Fact),
}

/// Replayed records are applied in steps of so many, to bound what recovery holds.
const REPLAY_STEP: usize = 1_024;

impl<T: Tree> Store<T> {
    /// Recovers from what a disk and a tree hold.
    ///
    /// # Errors
    /// [`OpenError`]; try again, or count the disk as lost.
    pub fn open<D: Disk + ?Sized>(disk: &mut D, tree: T, options: wal::Options) -> Result<(Self, Opened), OpenError> {
        let (applied, facts) = tree.cut().map_err(OpenError::Tree)?;
        let mut replay = Replay { step: Step::new(facts, applied), tree, failed: None, holed: false, steps: 0 };
        let (log, recovered) =
            Log::open(disk, options, applied, &mut |record| replay.record(record)).map_err(OpenError::Log)?;
        replay.finish();
        if let Some(error) = replay.failed {
            return Err(error);
        }
        let wal::Recovered { last, records, lost, cut } = recovered;
        let mut reached = replay.step.reached;
        if records > 0 && last.0 > records {
            sometimes!(reached, "store: a replay behind what the tree has");
        }
        if records == 0 && last > Position::ZERO {
            sometimes!(reached, "store: nothing to replay");
        }
        let facts = replay.step.facts;
        let opened = Opened { facts: facts.clone(), recovered: LogPosition(last.0), replayed: records, lost, cut };
        Ok((Self { log, tree: replay.tree, facts, waiting: VecDeque::new(), reached }, opened))
    }

    /// Asks for an operation. A read ends at once; everything else ends in [`Self::committed`].
    pub fn submit(&mut self, token: StoreToken, op: StoreOp) -> Option<StoreOutcome> {
        let operand = match op {
            StoreOp::Read { key } => {
                return Some(match self.tree.get(&key) {
                    Ok(record) => StoreOutcome::Found { record },
                    Err(error) => StoreOutcome::Failed { error },
                });
            }
            // The log has stopped: the host is about to recover this node.
            _ if self.log.is_stopped() => return Some(StoreOutcome::Failed { error: StoreError::Io }),
            StoreOp::Merge { key, record } => Operand::Merge { key, record },
            StoreOp::Persist { fact } => Operand::Fact(fact),
        };
        let position = operand.append(&mut self.log);
        self.waiting.push_back(Waiting { position, token, operand });
        None
    }

    /// One batch of everything that waits: see [`Log::seal`].
    pub fn seal(&mut self) -> Option<Batch> {
        self.log.seal()
    }

    /// A batch that proves the newest one durable, when the log has been idle: see [`Log::seal_mark`].
    pub fn seal_mark(&mut self) -> Option<Batch> {
        self.log.seal_mark()
    }

    /// Whether [`Self::seal_mark`] has something to prove.
    pub fn mark_due(&self) -> bool {
        self.log.mark_due()
    }

    /// A segment to make ahead of need: see [`Log::prepare`].
    pub fn prepare(&mut self) -> Option<Prepare> {
        self.log.prepare()
    }

    /// The end of a preparation: see [`Log::prepared`].
    pub fn prepared(&mut self, result: Result<(), DiskError>) -> Prepared {
        self.log.prepared(result)
    }

    /// The batch in flight has ended. What it made durable is applied; every operation that ended with it, either way,
    /// is appended to `ended` in the order of the log.
    ///
    /// # Errors
    /// [`Stopped`]: nothing is appended, nothing may be acknowledged, recover from the disk.
    pub fn committed(
        &mut self,
        batch: BatchId,
        result: Result<(), DiskError>,
        ended: &mut Vec<(StoreToken, StoreOutcome)>,
    ) -> Result<(), Stopped> {
        match self.log.committed(batch, result) {
            Committed::Synced(position) => self.apply(position, ended),
            Committed::Refused(synced) => {
                assert!(self.waiting.front().is_none_or(|waiting| waiting.position > synced));
                if self.waiting.len() > 1 {
                    sometimes!(self.reached, "store: a full disk refuses several at once");
                }
                let failed = StoreOutcome::Failed { error: StoreError::Full };
                ended.extend(self.waiting.drain(..).map(|waiting| (waiting.token, failed.clone())));
                Ok(())
            }
            Committed::Stopped(_) => Err(Stopped),
        }
    }

    fn apply(&mut self, synced: Position, ended: &mut Vec<(StoreToken, StoreOutcome)>) -> Result<(), Stopped> {
        let count = self.waiting.iter().take_while(|waiting| waiting.position <= synced).count();
        if count == 0 {
            // A mark: nothing to apply, and the tree's own position may stay behind.
            sometimes!(self.reached, "store: a batch without records");
            return Ok(());
        }
        let mut step = Step::new(core::mem::take(&mut self.facts), synced);
        for Waiting { token, operand, .. } in self.waiting.drain(..count) {
            let outcome = step.add(&self.tree, operand);
            ended.push((token, outcome));
        }
        if !self.waiting.is_empty() {
            sometimes!(self.reached, "store: more waits behind the batch");
        }
        self.reached.join(step.reached);
        let written = self.tree.apply(step.batch());
        self.facts = step.facts;
        written.map_err(|_| Stopped)
    }

    /// The tree has everything up to `applied` durably: the log gives up what nobody needs any more. Returns segments
    /// for the host to delete.
    pub fn flushed(&mut self, applied: Position) -> Vec<SegmentId> {
        self.log.release(applied)
    }

    /// The rare branches of store and log since this was asked last.
    pub fn take_reached(&mut self) -> Reached {
        let mut reached = self.reached.take();
        reached.join(self.log.take_reached());
        reached
    }

    /// How much of the log is durable, as peers are told.
    pub fn synced(&self) -> LogPosition {
        LogPosition(self.log.synced().0)
    }

    /// Bytes of the log that are not released.
    pub fn log_bytes(&self) -> u64 {
        self.log.bytes_held()
    }

    /// Bytes of operands that wait for a batch.
    pub fn bytes_waiting(&self) -> u64 {
        self.log.bytes_waiting()
    }

    /// The tree, for reading.
    pub fn tree(&self) -> &T {
        &self.tree
    }

    /// The tree, for its host's own upkeep (flushes); never for writing records.
    pub fn tree_mut(&mut self) -> &mut T {
        &mut self.tree
    }
}

/// One tree batch in the making: later operands see what earlier ones left.
struct Step {
    rows: BTreeMap<Key, Record>,
    facts: DurableState,
    facts_changed: bool,
    applied: Position,
    reached: Reached,
}

impl Step {
    fn new(facts: DurableState, applied: Position) -> Self {
        Self { rows: BTreeMap::new(), facts, facts_changed: false, applied, reached: Reached::default() }
    }

    fn add<T: Tree>(&mut self, tree: &T, operand: Operand) -> StoreOutcome {
        let (key, came) = match operand {
            Operand::Fact(fact) => {
                self.facts.learn(fact);
                self.facts_changed = true;
                return StoreOutcome::Persisted;
            }
            Operand::Merge { key, record } => (key, record),
        };
        let held = match self.rows.get(&key) {
            Some(record) => {
                sometimes!(self.reached, "store: two writes of a key in one batch");
                Some(record.clone())
            }
            None => match tree.get(&key) {
                Ok(record) => record,
                // Nothing is known of what is there, so nothing may replace it. The operand stays in the log.
                Err(error) => return StoreOutcome::Failed { error },
            },
        };
        let old = held.as_ref().map_or(Version::ABSENT, |record| record.version);
        let merged = Record::merge(held, came);
        let new = merged.version;
        if new != old {
            if merged.content == Content::Tombstone && old != Version::ABSENT {
                sometimes!(self.reached, "store: a deletion replaces a value");
            }
            self.rows.insert(key, merged);
        } else {
            sometimes!(self.reached, "store: a merge changes nothing");
        }
        StoreOutcome::Merged { old, new }
    }

    fn batch(&mut self) -> TreeBatch {
        let facts = core::mem::take(&mut self.facts_changed).then(|| self.facts.clone());
        TreeBatch { rows: core::mem::take(&mut self.rows), facts, applied: self.applied }
    }
}

struct Replay<T> {
    step: Step,
    tree: T,
    failed: Option<OpenError>,
    /// A record is missing. What comes behind it is not applied: the tree would then stand for a position whose records
    /// it does not have, and the next opening would find nothing missing.
    holed: bool,
    steps: usize,
}

impl<T: Tree> Replay<T> {
    fn record(&mut self, record: wal::Record) {
        let position = record.position;
        self.holed |= position != self.step.applied.next();
        if self.holed {
            return;
        }
        let Some(operand) = Operand::decode(record.bytes) else {
            self.failed.get_or_insert(OpenError::Record { position });
            return;
        };
        if let StoreOutcome::Failed { error } = self.step.add(&self.tree, operand) {
            self.failed.get_or_insert(OpenError::Tree(error));
        }
        self.step.applied = position;
        self.steps += 1;
        if self.steps.is_multiple_of(REPLAY_STEP) {
            self.finish();
        }
    }

    fn finish(&mut self) {
        if self.failed.is_none()
            && let Err(error) = self.tree.apply(self.step.batch())
        {
            self.failed = Some(OpenError::Tree(error));
        }
    }
}

const MERGE: u8 = 1;
const FACT: u8 = 2;
const TOMBSTONE: u8 = 0;
const VALUE: u8 = 1;
/// What a fact is labelled with in the log; data carries its slot, all below this.
const FACT_LABEL: u32 = u32::MAX;

impl Operand {
    fn append(&self, log: &mut Log) -> Position {
        match self {
            Self::Merge { key, record } => {
                let label = u32::from(placement::slot(key.bytes()));
                let head = encode_head(key, record);
                match &record.content {
                    // The value is shared with the message that brought it, not copied.
                    Content::Value(value) => log.append(label, &[head, value.clone()]),
                    Content::Tombstone => log.append(label, &[head]),
                }
            }
            Self::Fact(fact) => {
                let body = postcard::to_allocvec(fact).expect("a fact is plain data");
                log.append(FACT_LABEL, &[Bytes::from_static(&[FACT]), body.into()])
            }
        }
    }

    fn decode(mut bytes: Bytes) -> Option<Self> {
        match bytes.try_get_u8().ok()? {
            MERGE => {
                let length = usize::from(bytes.try_get_u16_le().ok()?);
                if bytes.len() < length {
                    return None;
                }
                // Copied: both outlive the read buffer that they are slices of.
                let key = Key::new(Bytes::copy_from_slice(&bytes.split_to(length))).ok()?;
                let version = decode_version(&mut bytes)?;
                let content = match bytes.try_get_u8().ok()? {
                    VALUE => Content::Value(Bytes::copy_from_slice(&bytes)),
                    TOMBSTONE if bytes.is_empty() => Content::Tombstone,
                    _ => return None,
                };
                Some(Self::Merge { key, record: Record { version, content } })
            }
            FACT => postcard::from_bytes(&bytes).ok().map(Self::Fact),
            _ => None,
        }
    }
}

fn encode_head(key: &Key, record: &Record) -> Bytes {
    let Record { version: Version { hlc, dot: Dot { actor, sequence } }, content } = record;
    let mut head = BytesMut::with_capacity(32 + key.bytes().len());
    head.put_u8(MERGE);
    head.put_u16_le(key.bytes().len() as u16);
    head.put_slice(key.bytes());
    head.put_u64_le(hlc.as_ticks());
    head.put_u32_le(actor.node.0);
    head.put_u64_le(actor.incarnation.0);
    head.put_u64_le(*sequence);
    head.put_u8(match content {
        Content::Value(_) => VALUE,
        Content::Tombstone => TOMBSTONE,
    });
    head.freeze()
}

fn decode_version(bytes: &mut Bytes) -> Option<Version> {
    let hlc = Hlc::from_ticks(bytes.try_get_u64_le().ok()?)?;
    let node = NodeId(bytes.try_get_u32_le().ok()?);
    let incarnation = Incarnation(bytes.try_get_u64_le().ok()?);
    let sequence = bytes.try_get_u64_le().ok()?;
    Some(Version { hlc, dot: Dot { actor: Actor { node, incarnation }, sequence } })
}
