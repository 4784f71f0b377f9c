//! `engine = "lsm"`: the log, the tree below it, and the threads that do their blocking work.
//!
//! A shop with a cellar. The counter (the driver) takes goods in; a porter (the sync thread) carries one full tray at a
//! time down to the cellar, and only what has arrived there is on the books; when nobody else is waiting the counter
//! carries a single item down itself, which is faster than calling the porter. A second hand keeps the next empty shelf
//! ready (the next log segment), and a third sorts (flush and compaction).
//!
//! State: the store; where the disk handle is just now (here, or with the sync thread together with the batch in
//! flight); which memtable is being flushed. Nothing is acknowledged before [`DiskStore::collect`] or an inline commit
//! has said so, and after the first failure nothing ever again.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lsm_tree::{AbstractTree, AnyTree};
use quorate_core::durable::{StoreOp, StoreOutcome};
use quorate_core::id::{LogPosition, StoreToken};
use quorate_core::store::{OpenError, Opened, Store};
use quorate_core::wal::{self, Batch, BatchId, Disk, DiskError, Position, Prepare, Prepared, SegmentId};
use tracing::{debug, warn};

use super::lsm::{LsmOptions, LsmTree};
use super::worker::{Bell, Worker};

/// What a disk store is built from.
#[derive(Clone, Debug)]
pub struct DiskOptions {
    /// Sizes of the log.
    pub log: wal::Options,
    /// Sizes of the tree.
    pub tree: LsmOptions,
    /// A memtable that is larger is exchanged and flushed.
    pub memtable_bytes: u64,
    /// The log never grows beyond this: the tree is flushed before, and if the flush is not done in time, writes wait.
    pub log_bytes_max: u64,
}

/// Why the store stopped for good. Nothing that was not acknowledged before may be acknowledged now.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The log's disk failed; what was being written may or may not be there.
    #[error("the disk failed while the log was written or synced")]
    Log,
    /// The tree could not take a batch or could not be flushed.
    #[error("the tree below the log failed: {0}")]
    Tree(String),
}

/// Why a store could not be opened. Nothing that was readable before has been changed.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The tree could not.
    #[error("the tree in {folder} cannot be opened: {error}")]
    Tree {
        /// Where.
        folder: String,
        /// Why.
        error: lsm_tree::Error,
    },
    /// The log could not, or the two do not fit.
    #[error(transparent)]
    Store(#[from] OpenError),
    /// No thread.
    #[error("a storage thread cannot be started: {0}")]
    Thread(std::io::Error),
}

/// Figures for whoever watches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StorageFigures {
    /// Group commits so far, marks not counted.
    pub commits: u64,
    /// Group commits that the driver's own thread carried out.
    pub commits_inline: u64,
    /// Records in them.
    pub records: u64,
    /// Bytes written to the log.
    pub log_bytes_written: u64,
    /// Bytes of log that a restart would read.
    pub log_bytes: u64,
    /// Writes to the log that have ended, marks included.
    pub commits_ended: u64,
    /// How long those took together, in microseconds.
    pub commit_micros: u64,
    /// Flushes so far.
    pub flushes: u64,
    /// How often writes waited for a flush.
    pub stalls: u64,
    /// Records in the tree, roughly.
    pub records_estimate: u64,
}

/// See the module's page.
pub struct DiskStore<D> {
    store: Store<LsmTree>,
    /// Here, unless the sync thread has it.
    disk: Option<D>,
    syncer: Worker<(D, Batch), Synced<D>>,
    preparer: Worker<Upkeep, PrepareEnd>,
    flusher: Worker<TreeJob, Result<TreeEnd, lsm_tree::Error>>,
    /// What the memtable that is being flushed stands for.
    flushing: Option<Position>,
    /// What the newest batch applied stands for.
    applied: Position,
    options: DiskOptions,
    stalled: bool,
    figures: StorageFigures,
}

struct Synced<D> {
    disk: D,
    batch: BatchId,
    result: Result<(), DiskError>,
    took: Duration,
}

/// What the second disk handle is for.
enum Upkeep {
    Prepare(Prepare),
    Delete(SegmentId),
}

/// What the tree's thread does.
enum TreeJob {
    /// Write what was exchanged; it stands for this position.
    Flush(Position),
    /// One step of compaction; nobody needs rows that a newer row at or below this position hides.
    Compact(Position),
}

enum TreeEnd {
    Flushed(Position),
    /// There was something to compact, so there may be more.
    Compacted(Position),
    NothingToCompact,
}

/// The end of a preparation; deletions end without a word.
type PrepareEnd = Option<Result<(), DiskError>>;

impl<D: Disk + Send + 'static> DiskStore<D> {
    /// Recovers from `disk` and the tree in `tree_folder`. `second` is another handle of the same disk, for making and
    /// deleting segments beside the syncs. `bell` is rung whenever [`Self::collect`] has something to collect.
    ///
    /// # Errors
    /// [`StartError`]; the node must not serve.
    pub fn open(
        mut disk: D,
        mut second: D,
        tree_folder: &Path,
        options: DiskOptions,
        bell: &Bell,
    ) -> Result<(Self, Opened), StartError> {
        let tree = LsmTree::open(tree_folder, &options.tree)
            .map_err(|error| StartError::Tree { folder: tree_folder.display().to_string(), error })?;
        let inner = tree.inner();
        let (store, opened) = Store::open(&mut disk, tree, options.log.clone())?;
        let applied = Position(store.synced().0);
        let start = StartError::Thread;
        let syncer = Worker::start("log-sync", Arc::clone(bell), carry_out).map_err(start)?;
        let preparer =
            Worker::start("log-segments", Arc::clone(bell), move |job| upkeep(&mut second, job)).map_err(start)?;
        let flusher = Worker::start("tree", Arc::clone(bell), move |job| tend_tree(&inner, job)).map_err(start)?;
        let store = Self {
            store,
            disk: Some(disk),
            syncer,
            preparer,
            flusher,
            flushing: None,
            applied,
            options,
            stalled: false,
            figures: StorageFigures::default(),
        };
        Ok((store, opened))
    }

    /// Asks for an operation: see [`Store::submit`].
    pub fn submit(&mut self, token: StoreToken, op: StoreOp) -> Option<StoreOutcome> {
        self.store.submit(token, op)
    }

    /// Commits what waits. With `inline` a batch of few records is carried out here and now and its ends are appended
    /// to `ended`; otherwise the batch goes to the sync thread, and [`Self::collect`] brings the ends.
    ///
    /// # Errors
    /// [`Failure`]: stop.
    pub fn commit(&mut self, inline: bool, ended: &mut Vec<(StoreToken, StoreOutcome)>) -> Result<(), Failure> {
        if self.must_wait() {
            return Ok(());
        }
        let Some(batch) = self.store.seal() else { return Ok(()) };
        self.figures.commits += 1;
        self.figures.log_bytes_written += u64::from(batch.bytes());
        self.figures.records += u64::from(batch.records());
        if inline && batch.records() <= INLINE_RECORDS_MAX && batch.bytes() <= INLINE_BYTES_MAX {
            self.figures.commits_inline += 1;
            let disk = self.disk.take().expect("no batch is in flight, or there would be none to seal");
            let synced = carry_out((disk, batch));
            return self.end(synced, ended);
        }
        self.hand_over(batch);
        Ok(())
    }

    /// Proves the newest batch durable, for a log that has been idle: see [`Store::seal_mark`].
    pub fn mark(&mut self) {
        if let Some(batch) = self.store.seal_mark() {
            self.hand_over(batch);
        }
    }

    /// Whether [`Self::mark`] has something to prove.
    pub fn mark_due(&self) -> bool {
        self.store.mark_due()
    }

    /// Takes what the threads have finished; the ends of operations are appended to `ended`.
    ///
    /// # Errors
    /// [`Failure`]: stop.
    pub fn collect(&mut self, ended: &mut Vec<(StoreToken, StoreOutcome)>) -> Result<(), Failure> {
        while let Some(synced) = self.syncer.take() {
            self.end(synced, ended)?;
        }
        while let Some(end) = self.preparer.take() {
            let Some(result) = end else { continue };
            match self.store.prepared(result) {
                Prepared::Ready => {}
                Prepared::Full => {
                    warn!(ev = "disk.low", "no space for the next log segment; the write that needs it tries again")
                }
                Prepared::Stopped => return Err(Failure::Log),
            }
        }
        while let Some(end) = self.flusher.take() {
            match end.map_err(|error| Failure::Tree(error.to_string()))? {
                TreeEnd::Flushed(cut) => {
                    self.flushing = None;
                    self.figures.flushes += 1;
                    self.release(cut);
                    self.flusher.send(TreeJob::Compact(cut));
                }
                // A step at a time, so that a flush need not wait for more than one.
                TreeEnd::Compacted(cut) => self.flusher.send(TreeJob::Compact(cut)),
                TreeEnd::NothingToCompact => {}
            }
        }
        Ok(())
    }

    fn release(&mut self, cut: Position) {
        for segment in self.store.flushed(cut) {
            self.preparer.send(Upkeep::Delete(segment));
        }
    }

    /// Flushes everything applied so far and waits for it, so that the next start has nothing to replay.
    ///
    /// # Errors
    /// [`Failure`]: the next start replays the log instead.
    pub fn flush_all(&mut self) -> Result<(), Failure> {
        let tree = self.store.tree_mut();
        tree.exchange_memtable();
        let inner = tree.inner();
        let result = inner.flush(&inner.get_flush_lock(), self.applied.0 + 1);
        result.map_err(|error| Failure::Tree(error.to_string()))?;
        self.release(self.applied);
        Ok(())
    }

    /// How much of the log is durable.
    pub fn synced(&self) -> LogPosition {
        self.store.synced()
    }

    /// Whether a batch is with the sync thread.
    pub fn is_syncing(&self) -> bool {
        self.disk.is_none()
    }

    /// Bytes that wait for a batch.
    pub fn bytes_waiting(&self) -> u64 {
        self.store.bytes_waiting()
    }

    /// Figures for whoever watches.
    pub fn figures(&self) -> StorageFigures {
        let records_estimate = self.store.tree().records_estimate() as u64;
        StorageFigures { log_bytes: self.store.log_bytes(), records_estimate, ..self.figures }
    }

    fn hand_over(&mut self, batch: Batch) {
        let disk = self.disk.take().expect("no batch is in flight, or there would be none to seal");
        self.syncer.send((disk, batch));
    }

    fn end(&mut self, synced: Synced<D>, ended: &mut Vec<(StoreToken, StoreOutcome)>) -> Result<(), Failure> {
        let Synced { disk, batch, result, took } = synced;
        self.disk = Some(disk);
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.figures.commits_ended += 1;
        self.figures.commit_micros = self.figures.commit_micros.saturating_add(micros);
        let before = ended.len();
        self.store.committed(batch, result, ended).map_err(|_| match result {
            Err(_) => Failure::Log,
            Ok(()) => Failure::Tree("a durable batch could not be applied".to_owned()),
        })?;
        if ended.len() > before {
            self.applied = Position(self.store.synced().0);
        }
        if let Some(prepare) = self.store.prepare() {
            self.preparer.send(Upkeep::Prepare(prepare));
        }
        self.checkpoint();
        Ok(())
    }

    /// Between two batches: exchanges the memtable when it is large, or when the log needs the room.
    fn checkpoint(&mut self) {
        let log_bytes = self.store.log_bytes();
        let tree = self.store.tree_mut();
        // Half, so that the log can go on while the flush runs.
        let due = tree.memtable_bytes() >= self.options.memtable_bytes || log_bytes >= self.options.log_bytes_max / 2;
        if due && self.flushing.is_none() && tree.exchange_memtable() {
            debug!(applied = self.applied.0, log_bytes, "flushing the tree");
            self.flushing = Some(self.applied);
            self.flusher.send(TreeJob::Flush(self.applied));
        }
    }

    /// Whether writes must wait because a flush or compaction lags.
    fn must_wait(&mut self) -> bool {
        let tree = self.store.tree();
        let memtables_full = self.flushing.is_some() && tree.memtable_bytes() >= 2 * self.options.memtable_bytes;
        let waits = self.flushing.is_some() && (memtables_full || self.store.log_bytes() >= self.options.log_bytes_max);
        if waits && !self.stalled {
            self.figures.stalls += 1;
            warn!(ev = "disk.slow", log_bytes = self.store.log_bytes(), "writes wait: the tree's flush lags behind");
        }
        self.stalled = waits;
        waits
    }
}

/// Few records: somebody waits for each of them, and nobody else is there to be served meanwhile.
const INLINE_RECORDS_MAX: u32 = 2;
/// A larger batch takes longer to write than the sync thread takes to wake.
const INLINE_BYTES_MAX: u32 = 128 << 10;

fn carry_out<D: Disk>((mut disk, batch): (D, Batch)) -> Synced<D> {
    let begun = Instant::now();
    let result = batch.write(&mut disk).and_then(|()| batch.sync(&mut disk));
    Synced { disk, batch: batch.id(), result, took: begun.elapsed() }
}

fn upkeep<D: Disk>(disk: &mut D, job: Upkeep) -> PrepareEnd {
    match job {
        Upkeep::Prepare(prepare) => Some(prepare.carry_out(disk)),
        Upkeep::Delete(segment) => {
            if let Err(error) = disk.delete(segment) {
                // It holds nothing that is needed; the next start releases it again.
                warn!(ev = "disk.error", %segment, %error, "a log segment that is no longer needed could not be deleted");
            }
            None
        }
    }
}

/// Nobody reads as of an earlier moment, so every row that a newer one hides may go.
fn tend_tree(inner: &AnyTree, job: TreeJob) -> Result<TreeEnd, lsm_tree::Error> {
    match job {
        TreeJob::Flush(cut) => {
            inner.flush(&inner.get_flush_lock(), cut.0 + 1)?;
            Ok(TreeEnd::Flushed(cut))
        }
        TreeJob::Compact(cut) => {
            let before = inner.current_version().id();
            inner.compact(Arc::new(lsm_tree::compaction::Leveled::default()), cut.0 + 1)?;
            let changed = inner.current_version().id() != before;
            Ok(if changed { TreeEnd::Compacted(cut) } else { TreeEnd::NothingToCompact })
        }
    }
}
