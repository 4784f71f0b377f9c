//! The way to the disk: group commit, marks, segments, flushes; and how processes end and begin.
//!
//! A batch is written when it is sealed and synced a while later: what lies between is what a crash may lose or tear.

use crate::host::{EmptyDisk, Host, Life, Start};
use crate::oracle::{Property, node_name};
use crate::world::{Event, World};
use quorate_core::Input;
use quorate_core::durable::StoreOutcome;
use quorate_core::id::StoreToken;
use quorate_core::store::OpenError;
use quorate_core::version::Version;
use quorate_core::wal::{self, DiskError};
use quorate_traces::{CrashPoint, DiskFate, FaultKind};

/// How long the log is idle before a mark proves its newest batch.
const MARK_AFTER: u64 = 10_000;
/// How long a machine whose store cannot be opened waits before it tries again.
const REOPEN_AFTER: u64 = 20_000;

impl World {
    /// Sends what waits on its way to the disk, if nothing is on its way.
    pub(crate) fn seal(&mut self, node: usize) {
        let Some(running) = self.hosts[node].running_mut() else { return };
        if running.batch.is_some() {
            return;
        }
        if let Some(batch) = running.store.seal() {
            self.write(node, batch);
        }
        self.prepare(node);
    }

    fn write(&mut self, node: usize, batch: wal::Batch) {
        let host = &mut self.hosts[node];
        if host.is_doomed_at(CrashPoint::BeforeWrite).is_some() {
            return self.crash_as_doomed(node);
        }
        let plan = &self.plan.shape.disk;
        let wait = host.stream.latency(&plan.write) + host.stream.latency(&plan.sync) + 2 * host.slow_by;
        if host.slow_by > 0 {
            self.audit.mattered(FaultKind::SlowDisk);
        }
        let written = batch.write(&mut host.disk);
        self.oracles.durable.sealed(node, batch.records());
        let generation = host.generation;
        if host.is_doomed_at(CrashPoint::BeforeSync).is_some() {
            // Somewhere between the two.
            let doom = host.doom.take().expect("seen above");
            host.doom = Some(crate::host::Doom { point: CrashPoint::Now, ..doom });
        }
        let Life::Up(running) = &mut host.life else { unreachable!("it was running above") };
        running.batch = Some((batch, written));
        self.at(self.now + wait, node, Event::Sync { node: node as u32, generation });
    }

    fn prepare(&mut self, node: usize) {
        let host = &mut self.hosts[node];
        let Life::Up(running) = &mut host.life else { return };
        if let Some(prepare) = running.store.prepare() {
            running.preparing = Some(prepare);
            // A new file is filled with zeros first: that takes far longer than a sync.
            let wait = 3 * host.stream.latency(&self.plan.shape.disk.sync) + host.slow_by;
            let generation = host.generation;
            self.at(self.now + wait, node, Event::Prepared { node: node as u32, generation });
        }
    }

    /// What the store and the disk of a node have to tell the audit.
    pub(crate) fn note_reached(&mut self, node: usize) {
        let host = &mut self.hosts[node];
        if let Life::Up(running) = &mut host.life {
            let reached = running.store.take_reached();
            if !reached.is_empty() {
                reached.words().for_each(|words| self.audit.mark(words.into()));
            }
        }
        for fault in host.disk.take_struck() {
            self.audit.mattered(kind_of(&fault));
        }
    }

    pub(crate) fn prepared(&mut self, node: usize) {
        let Host { life: Life::Up(running), disk, .. } = &mut self.hosts[node] else { return };
        let Some(prepare) = running.preparing.take() else { return };
        let result = prepare.carry_out(disk);
        if result == Err(DiskError::Full) {
            self.audit.mattered(FaultKind::DiskFull);
        }
        match running.store.prepared(result) {
            wal::Prepared::Ready | wal::Prepared::Full => self.seal(node),
            wal::Prepared::Stopped => return self.fail_stop(node),
        }
        self.note_reached(node);
    }

    /// The batch in flight is synced, and the node learns of it.
    pub(crate) fn sync(&mut self, node: usize) {
        let host = &mut self.hosts[node];
        if host.is_doomed_at(CrashPoint::Now).is_some() {
            return self.crash_as_doomed(node);
        }
        let dies_unreported = host.is_doomed_at(CrashPoint::BeforeReport).is_some();
        let Life::Up(running) = &mut host.life else { return };
        let (batch, written) = running.batch.take().expect("a sync follows a write");
        let result = written.and_then(|()| batch.sync(&mut host.disk));
        if result == Ok(()) {
            self.oracles.durable.synced(node);
        }
        if dies_unreported {
            return self.crash_as_doomed(node);
        }
        let mut ended = Vec::new();
        if running.store.committed(batch.id(), result, &mut ended).is_err() {
            return self.fail_stop(node);
        }
        if result == Err(DiskError::Full) {
            self.audit.mattered(FaultKind::DiskFull);
            self.oracles.durable.forgotten(node);
        }
        self.ended(node, ended);
        self.flush(node);
        self.mark_later(node);
    }

    fn ended(&mut self, node: usize, ended: Vec<(StoreToken, StoreOutcome)>) {
        let generation = self.hosts[node].generation;
        let keys: Vec<Option<u32>> = match self.hosts[node].running_mut() {
            Some(running) => running.keys_waiting.drain(..ended.len()).collect(),
            None => return,
        };
        for ((token, outcome), key) in ended.into_iter().zip(keys) {
            if let (StoreOutcome::Merged { new, .. }, Some(key)) = (&outcome, key) {
                self.shown(node, key as usize, *new);
            }
            let Some(running) = self.hosts[node].running() else { return };
            if self.hosts[node].generation != generation || !self.violations.is_empty() {
                return;
            }
            let synced = running.store.synced();
            self.feed(node, Input::Stored { token, outcome, synced });
        }
        if self.hosts[node].generation == generation {
            self.seal(node);
        }
    }

    /// The tree is written out now and then, so that the log can give up segments.
    fn flush(&mut self, node: usize) {
        let plan = &self.plan.shape.disk;
        let host = &mut self.hosts[node];
        let (generation, slow_by) = (host.generation, host.slow_by);
        let Life::Up(running) = &mut host.life else { return };
        running.batches_unflushed += 1;
        if running.flushing || running.batches_unflushed < plan.flush_after_batches {
            return;
        }
        running.batches_unflushed = 0;
        running.flushing = true;
        let position = running.store.tree().applied();
        let at = self.now + plan.flush + slow_by;
        self.at(at, node, Event::Flushed { node: node as u32, generation, position });
    }

    fn mark_later(&mut self, node: usize) {
        let generation = self.hosts[node].generation;
        let Some(running) = self.hosts[node].running_mut() else { return };
        if running.mark_asked || !running.store.mark_due() {
            return;
        }
        running.mark_asked = true;
        self.at(self.now + MARK_AFTER, node, Event::Mark { node: node as u32, generation });
    }

    pub(crate) fn mark(&mut self, node: usize) {
        let Some(running) = self.hosts[node].running_mut() else { return };
        running.mark_asked = false;
        if running.batch.is_some() {
            return;
        }
        if let Some(batch) = running.store.seal_mark() {
            self.write(node, batch);
        }
    }

    /// The disk has failed its node: nothing more is acknowledged, and the process starts again from the disk.
    fn fail_stop(&mut self, node: usize) {
        self.audit.mark("host: the disk failed and the node stopped".into());
        let down = self.hosts[node].down_after_stop;
        self.crash(node, DiskFate::AnySubset, down);
    }

    pub(crate) fn crash_as_doomed(&mut self, node: usize) {
        let doom = self.hosts[node].doom.take().expect("only the doomed die so");
        self.audit.mattered(FaultKind::Crash);
        self.crash(node, doom.disk, doom.down);
    }

    /// A process dies and is started again after a while.
    pub(crate) fn crash(&mut self, node: usize, fate: DiskFate, down: u64) {
        if self.hosts[node].running().is_none() {
            return;
        }
        self.note_reached(node);
        let unread = self.hosts[node].backlog.iter().filter(|event| matches!(event, Event::Deliver { .. })).count();
        self.flying -= unread as u64;
        self.hosts[node].die(fate);
        self.oracles.durable.forgotten(node);
        self.connections_reset(node);
        if let Some((recorded, trace)) = &mut self.recording
            && *recorded == node
        {
            // The last life is the one that is kept.
            *trace = None;
        }
        let generation = self.hosts[node].generation;
        let at = self.now.saturating_add(down.max(1));
        self.at(at, node, Event::Restart { node: node as u32, generation });
    }

    /// A process begins.
    pub(crate) fn start(&mut self, node: usize) {
        let (founding, config, shape) = (&self.founding, &self.config, &self.plan.shape);
        let host = &mut self.hosts[node];
        // Whoever had been a member and finds an empty disk may be started as new by mistake: its peers must notice.
        let empty = match host.was_member && host.stream.one_in(2) {
            true => EmptyDisk::StayBlank,
            false => EmptyDisk::Found,
        };
        match host.start(founding, config, &shape.disk, shape.seed, empty) {
            Ok((start, lost)) => self.started(node, start, &lost),
            Err(error) => self.not_started(node, error),
        }
    }

    fn started(&mut self, node: usize, start: Start, lost: &[wal::Lost]) {
        let (harmed, void) = (self.hosts[node].harmed, self.plan.shape.phases.durability_void);
        if !lost.is_empty() && !harmed && !void {
            let words = format!("the log of {} reports a loss, but nothing harmed its disk: {lost:?}", node_name(node));
            return self.break_promise(Property::HonestLog, None, words, &[]);
        }
        if self.hosts[node].told_loss && lost.is_empty() && !void {
            let words = format!("the log of {} reported a loss at an earlier start and none now", node_name(node));
            return self.break_promise(Property::HonestLog, None, words, &[]);
        }
        self.hosts[node].told_loss |= !lost.is_empty();
        self.oracles.answers.booted(node);
        self.oracles.clocks.booted(node);
        if harmed {
            self.oracles.values.reborn(node);
            self.oracles.clocks.reborn(node);
        }
        if start == Start::Recovered && !void {
            self.compare_recovered(node);
        } else if !void {
            self.oracles.durable.lost(node);
        }
        self.audit.mark(
            match start {
                Start::Founded => "host: founded",
                Start::Recovered => "host: recovered",
                Start::Blank => "host: blank",
            }
            .into(),
        );
        // The first tick starts the boot.
        self.feed(node, Input::Tick);
    }

    /// What was on disk before is there again.
    fn compare_recovered(&mut self, node: usize) {
        let harmed = self.hosts[node].harmed;
        for key in 0..self.keys.len() {
            let Some(running) = self.hosts[node].running() else { return };
            let found = running.store.tree().record(&self.keys[key].key);
            let found = found.map_or(Version::ABSENT, |record| record.version);
            let judgement = self.oracles.durable.recovered(node, key, found, harmed);
            self.judge(Some(key), &[], judgement);
            let judgement = self.oracles.values.shows(node, key, found);
            self.judge(Some(key), &[], judgement);
        }
    }

    fn not_started(&mut self, node: usize, error: OpenError) {
        let host = &mut self.hosts[node];
        let retried = matches!(error, OpenError::Log(wal::OpenError::Disk(_)));
        if !retried && !host.harmed && !self.plan.shape.phases.durability_void {
            let words = format!("{} cannot open its store, but nothing harmed its disk: {error}", node_name(node));
            return self.break_promise(Property::HonestLog, None, words, &[]);
        }
        self.note_reached(node);
        let host = &mut self.hosts[node];
        self.audit.mark("host: the store could not be opened".into());
        host.open_failures += 1;
        if host.is_given_up() {
            return;
        }
        let generation = host.generation;
        let at = self.now + REOPEN_AFTER;
        self.at(at, node, Event::Restart { node: node as u32, generation });
    }
}

/// Which kind of record armed a fault of the disk.
fn kind_of(fault: &crate::disk::Fault) -> FaultKind {
    use crate::disk::Fault;
    match fault {
        Fault::CreateFails => FaultKind::CreateFails,
        Fault::WriteFails { .. } => FaultKind::WriteFails,
        Fault::SyncFails { .. } => FaultKind::SyncFails,
        Fault::ReadFails => FaultKind::ReadFails,
        Fault::WriteMisdirected { .. } | Fault::ReadMisdirected { .. } => FaultKind::Misdirect,
    }
}
