//! The tree below the log: an LSM tree from a library, with our rows, our positions and our moments to flush.
//!
//! A library that files books well, and a librarian who decides when the cart is emptied. The library knows sorted
//! tables, Bloom filters, block caches and compaction. We know what a batch is: every batch of the log becomes one step
//! of the memtable together with the row `applied`, and the memtable is exchanged only between batches. So whatever the
//! tree has flushed is one consistent cut that knows which position of the log it stands for.
//!
//! Rows:
//!
//! ```text
//! d | key       hlc u64 | node u32 | incarnation u64 | sequence u64 | 0 tombstone, 1 value | value     (little-endian)
//! s | applied   position u64
//! s | facts     the facts about the node itself, postcard
//! ```
//!
//! State: the library's tree; a record cache bounded in bytes in front of it. Every row's sequence number is the log
//! position of its batch. Nothing here syncs: between flushes the log is what is durable.

use std::cell::RefCell;
use std::path::Path;
use std::sync::Arc;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use lsm_tree::config::{BloomConstructionPolicy, CompressionPolicy, FilterPolicy, FilterPolicyEntry};
use lsm_tree::{AbstractTree, AnyTree, Cache, CompressionType, SequenceNumberCounter};
use quick_cache::Weighter;
use quick_cache::unsync::Cache as RecordCache;
use quorate_core::durable::{DurableState, StoreError};
use quorate_core::id::{Incarnation, Key, NodeId};
use quorate_core::store::{Tree, TreeBatch};
use quorate_core::version::{Actor, Content, Dot, Hlc, Record, Version};
use quorate_core::wal::Position;

const DATA: u8 = b'd';
const APPLIED: &[u8] = b"sapplied";
const FACTS: &[u8] = b"sfacts";
const VERSION_BYTES: usize = 28;
const HEAD_BYTES: usize = VERSION_BYTES + 1;
/// What a cached record costs beside its key and value, roughly: handles, the entry, its place in the queue.
const CACHE_OVERHEAD_BYTES: u64 = 160;
/// A value that is smaller than this part of the block it was read from is copied out, so that the cache does not keep
/// whole blocks alive for the sake of a few bytes.
const COPY_BELOW: usize = 16 * 1024;

/// Sizes of the tree.
#[derive(Clone, Debug)]
pub struct LsmOptions {
    /// Bytes of records kept in memory in front of the tree.
    pub record_cache_bytes: u64,
    /// Bytes of blocks that the library keeps in memory.
    pub block_cache_bytes: u64,
    /// Bits per key of the Bloom filters.
    pub bloom_bits: u8,
    /// Whether blocks are compressed (lz4).
    pub compress: bool,
}

/// See the module's page.
pub struct LsmTree {
    tree: AnyTree,
    cache: RefCell<RecordCache<Key, Record, ByBytes>>,
}

#[derive(Clone)]
struct ByBytes;

impl Weighter<Key, Record> for ByBytes {
    fn weight(&self, key: &Key, record: &Record) -> u64 {
        key.bytes().len() as u64 + record.content.len() as u64 + CACHE_OVERHEAD_BYTES
    }
}

impl LsmTree {
    /// Opens the tree in `folder`, or makes an empty one.
    ///
    /// # Errors
    /// The library's: a file is missing, damaged or not readable. Nothing was changed.
    pub fn open(folder: &Path, options: &LsmOptions) -> Result<Self, lsm_tree::Error> {
        let bloom = FilterPolicyEntry::Bloom(BloomConstructionPolicy::BitsPerKey(f32::from(options.bloom_bits)));
        // Counters of their own: they number the library's versions, not our rows.
        let counter = SequenceNumberCounter::default;
        let mut config = lsm_tree::Config::new(folder, counter(), counter())
            .use_cache(Arc::new(Cache::with_capacity_bytes(options.block_cache_bytes)))
            .filter_policy(FilterPolicy::all(bloom));
        if !options.compress {
            config = config.data_block_compression_policy(CompressionPolicy::all(CompressionType::None));
        }
        let average_record_bytes = 512;
        let items = usize::try_from(options.record_cache_bytes / average_record_bytes).unwrap_or(usize::MAX).max(16);
        let cache = RecordCache::with_weighter(items, options.record_cache_bytes, ByBytes);
        Ok(Self { tree: config.open()?, cache: RefCell::new(cache) })
    }

    /// A second handle, for the thread that flushes and compacts.
    pub fn inner(&self) -> AnyTree {
        self.tree.clone()
    }

    /// Bytes in the memtable that takes the next batch.
    pub fn memtable_bytes(&self) -> u64 {
        self.tree.active_memtable().size()
    }

    /// How many exchanged memtables wait to be flushed.
    pub fn memtables_waiting(&self) -> usize {
        self.tree.sealed_memtable_count()
    }

    /// Overlapping tables at the top of the tree: more of them mean slower reads, and compaction that lags.
    pub fn overlapping_tables(&self) -> usize {
        self.tree.l0_run_count()
    }

    /// How many records there are, roughly: rewritten ones count until compaction has met them.
    pub fn records_estimate(&self) -> usize {
        self.tree.approximate_len()
    }

    /// Exchanges the memtable: what was applied so far can be flushed as one consistent cut. False when it is empty.
    pub fn exchange_memtable(&mut self) -> bool {
        self.tree.rotate_memtable().is_some()
    }

    fn row(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        // Nothing is ever read as of an earlier moment, so the newest row is the only one that matters.
        let row = self.tree.get(key, lsm_tree::SeqNo::MAX).map_err(|error| store_error(&error))?;
        Ok(row.map(Bytes::from))
    }
}

impl Tree for LsmTree {
    fn get(&self, key: &Key) -> Result<Option<Record>, StoreError> {
        if let Some(record) = self.cache.borrow().get(key) {
            return Ok(Some(record.clone()));
        }
        let Some(row) = self.row(&data_key(key))? else { return Ok(None) };
        let mut record = decode_record(row).ok_or(StoreError::Corrupt)?;
        if let Content::Value(value) = &mut record.content
            && value.len() < COPY_BELOW
        {
            *value = Bytes::copy_from_slice(value);
        }
        self.cache.borrow_mut().insert(key.clone(), record.clone());
        Ok(Some(record))
    }

    fn apply(&mut self, batch: TreeBatch) -> Result<(), StoreError> {
        let TreeBatch { rows, facts, applied } = batch;
        let cache = self.cache.get_mut();
        for (key, record) in rows {
            let row = encode_record(&record);
            let content = match record.content {
                Content::Tombstone => Content::Tombstone,
                // The cache shares the row's bytes, not the read buffer that the value came in.
                Content::Value(_) => Content::Value(row.slice(HEAD_BYTES..)),
            };
            let stored = data_key(&key);
            let key = Key::new(stored.slice(1..)).expect("a key stays as long as it was");
            self.tree.insert(stored, row, applied.0);
            cache.insert(key, Record { version: record.version, content });
        }
        if let Some(facts) = facts {
            let bytes = postcard::to_allocvec(&facts).expect("facts are plain data");
            self.tree.insert(FACTS, bytes, applied.0);
        }
        self.tree.insert(APPLIED, applied.0.to_le_bytes(), applied.0);
        Ok(())
    }

    fn cut(&self) -> Result<(Position, DurableState), StoreError> {
        let applied = match self.row(APPLIED)? {
            Some(row) => u64::from_le_bytes(row.as_ref().try_into().map_err(|_| StoreError::Corrupt)?),
            None => 0,
        };
        let facts = match self.row(FACTS)? {
            Some(row) => postcard::from_bytes(&row).map_err(|_| StoreError::Corrupt)?,
            None => DurableState::default(),
        };
        Ok((Position(applied), facts))
    }
}

/// What a failure of the library means to the store.
fn store_error(error: &lsm_tree::Error) -> StoreError {
    match error {
        lsm_tree::Error::Io(_) => StoreError::Io,
        _ => StoreError::Corrupt,
    }
}

fn data_key(key: &Key) -> Bytes {
    let mut stored = BytesMut::with_capacity(1 + key.bytes().len());
    stored.put_u8(DATA);
    stored.put_slice(key.bytes());
    stored.freeze()
}

fn encode_record(record: &Record) -> Bytes {
    let Version { hlc, dot: Dot { actor, sequence } } = record.version;
    let mut row = BytesMut::with_capacity(HEAD_BYTES + record.content.len());
    row.put_u64_le(hlc.as_ticks());
    row.put_u32_le(actor.node.0);
    row.put_u64_le(actor.incarnation.0);
    row.put_u64_le(sequence);
    match &record.content {
        Content::Tombstone => row.put_u8(0),
        Content::Value(value) => {
            row.put_u8(1);
            row.put_slice(value);
        }
    }
    row.freeze()
}

/// None for bytes that no record of ours has: they are outside input, since a disk may return anything.
fn decode_record(mut row: Bytes) -> Option<Record> {
    if row.len() < HEAD_BYTES {
        return None;
    }
    let hlc = Hlc::from_ticks(row.get_u64_le())?;
    let actor = Actor { node: NodeId(row.get_u32_le()), incarnation: Incarnation(row.get_u64_le()) };
    let version = Version { hlc, dot: Dot { actor, sequence: row.get_u64_le() } };
    let content = match (row.get_u8(), row.is_empty()) {
        (0, true) => Content::Tombstone,
        (1, _) => Content::Value(row),
        _ => return None,
    };
    Some(Record { version, content })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    const OPTIONS: LsmOptions =
        LsmOptions { record_cache_bytes: 4_096, block_cache_bytes: 1 << 20, bloom_bits: 10, compress: true };

    fn key(name: &str) -> Key {
        Key::new(Bytes::copy_from_slice(name.as_bytes())).unwrap()
    }
    fn record(ticks: u64, value: Option<&str>) -> Record {
        let actor = Actor { node: NodeId(2), incarnation: Incarnation(9) };
        let version = Version { hlc: Hlc::from_ticks(ticks).unwrap(), dot: Dot { actor, sequence: ticks } };
        let content =
            value.map_or(Content::Tombstone, |value| Content::Value(Bytes::copy_from_slice(value.as_bytes())));
        Record { version, content }
    }
    fn apply(tree: &mut LsmTree, position: u64, rows: &[(&str, Record)], facts: Option<DurableState>) {
        let rows: BTreeMap<_, _> = rows.iter().map(|(name, record)| (key(name), record.clone())).collect();
        tree.apply(TreeBatch { rows, facts, applied: Position(position) }).unwrap();
    }
    fn flush(tree: &mut LsmTree) {
        assert!(tree.exchange_memtable());
        let inner = tree.inner();
        inner.flush(&inner.get_flush_lock(), u64::MAX).unwrap();
    }

    #[test]
    fn a_reopened_tree_holds_exactly_the_last_flushed_cut() {
        let folder = tempfile::tempdir().unwrap();
        let mut facts = DurableState::default();
        facts.leases.sequence = 77;
        {
            let mut tree = LsmTree::open(folder.path(), &OPTIONS).unwrap();
            assert_eq!(tree.cut().unwrap(), (Position::ZERO, DurableState::default()));
            apply(&mut tree, 3, &[("a", record(1, Some("one"))), ("b", record(2, None))], Some(facts.clone()));
            flush(&mut tree);
            apply(&mut tree, 9, &[("a", record(5, Some("five"))), ("c", record(6, Some("")))], None);
            assert_eq!(tree.get(&key("a")).unwrap(), Some(record(5, Some("five"))));
        }
        let tree = LsmTree::open(folder.path(), &OPTIONS).unwrap();
        assert_eq!(tree.cut().unwrap(), (Position(3), facts), "position and facts are of the same cut");
        assert_eq!(tree.get(&key("a")).unwrap(), Some(record(1, Some("one"))));
        assert_eq!(tree.get(&key("b")).unwrap(), Some(record(2, None)));
        assert_eq!(tree.get(&key("c")).unwrap(), None);
    }

    #[test]
    fn the_cut_survives_compaction() {
        let folder = tempfile::tempdir().unwrap();
        let facts = DurableState { boot: quorate_core::id::Boot(4), ..DurableState::default() };
        {
            let mut tree = LsmTree::open(folder.path(), &OPTIONS).unwrap();
            for position in 1..=8 {
                let facts = (position == 1).then(|| facts.clone());
                apply(&mut tree, position, &[("k", record(position, Some("v")))], facts);
                flush(&mut tree);
            }
            tree.inner().major_compact(64 << 20, u64::MAX).unwrap();
        }
        let tree = LsmTree::open(folder.path(), &OPTIONS).unwrap();
        assert_eq!(tree.cut().unwrap(), (Position(8), facts));
        assert_eq!(tree.get(&key("k")).unwrap(), Some(record(8, Some("v"))));
    }

    #[test]
    fn a_small_cache_never_shows_an_older_record() {
        let folder = tempfile::tempdir().unwrap();
        let mut tree = LsmTree::open(folder.path(), &OPTIONS).unwrap();
        let value = "x".repeat(200);
        for round in 1..=4u64 {
            for name in 0..100 {
                let position = round * 100 + name;
                apply(&mut tree, position, &[(&format!("k{name}"), record(position, Some(&value)))], None);
            }
            flush(&mut tree);
        }
        for name in 0..100 {
            assert_eq!(tree.get(&key(&format!("k{name}"))).unwrap(), Some(record(400 + name, Some(&value))));
        }
        assert!(tree.cache.borrow().weight() <= OPTIONS.record_cache_bytes);
    }

    #[test]
    fn bytes_that_are_no_record_are_an_error() {
        for row in [&b""[..], b"short", &[0; HEAD_BYTES - 1], &[0xff; HEAD_BYTES], &[0; HEAD_BYTES + 1]] {
            assert_eq!(decode_record(Bytes::copy_from_slice(row)), None, "{row:?}");
        }
        let mut row = encode_record(&record(1, Some("v"))).to_vec();
        row[VERSION_BYTES] = 7;
        assert_eq!(decode_record(row.into()), None);
    }
}
