//! The driver: the one place where a real node is fed, and where its effects are carried out.
//!
//! A switchboard with one operator. Calls come in on many lines; the operator takes from each lit line once, says
//! everything to the node in one go, then plugs all answers: peers first, because they start to work (and to sync) the
//! sooner, then clients, then the disk. That round is a *turn*.
//!
//! ```text
//! tasks of connections:   read once -> decode -> Node::handle -> effects: outboxes, sessions, log
//! the turn's end:         ends of storage -> timers -> one write per dirty peer -> one write per dirty client
//!                         -> one group commit (inline when few records wait, else on the sync thread) -> again
//! ```
//!
//! Everything runs on one thread, in local tasks over one [`Host`]: nothing is locked, and per message there is no task,
//! no channel and no allocation beyond the message itself. Tasks woken by one look at the sockets run before the turn's
//! end does, since that one is woken by the first of them and queues behind the rest.
//!
//! What storage ends at once (a read) comes back to the node through a queue, never by recursion. Both clocks are read
//! once per turn. After a failure of the disk nothing is fed, sent or answered any more: the process ends, and the node
//! recovers from what its disk remembers.

mod accept;
mod clients;
mod clock;
mod notices;

pub use accept::accept_clients;
pub(crate) use notices::why_blank;

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use quorate_core::durable::StoreOutcome;
use quorate_core::effect::{Effect, Effects};
use quorate_core::id::{CallId, NodeId, StoreToken};
use quorate_core::input::Input;
use quorate_core::message::Message;
use quorate_core::node::STATIC_EPOCH;
use quorate_core::time::{Duration, Instant, Now};
use quorate_core::{Node, Standing};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::Notify;

use crate::disk::FileDisk;
use crate::peer::{PeerCounters, PeerHost, Peers};
use crate::resp::{Door, Figures, SessionCall};
use crate::storage::{Engine, Failure, StorageFigures};
use clients::Clients;
use clock::Clock;
use notices::Told;

/// An idle log is marked after this long, so that damage to its newest records is seen as loss.
const MARK_AFTER: Duration = Duration::from_millis(10);
/// How often slow things are looked at: figures, sessions that wait too long.
const HOUSEKEEPING_INTERVAL: Duration = Duration::from_secs(1);

/// What the driver lets other threads see.
#[derive(Debug, Default)]
pub struct Pulse {
    /// Turns that have ended: whoever sees it stand still for long knows that the driver hangs.
    turns: AtomicU64,
}

impl Pulse {
    /// Turns that have ended so far. At least one a second while the driver lives.
    pub fn turns(&self) -> u64 {
        self.turns.load(Ordering::Relaxed)
    }
}

/// A node's figures at one moment.
#[derive(Clone, Debug)]
pub struct NodeFigures {
    /// What the node may do.
    pub standing: Standing,
    /// Traffic with peers.
    pub peers: PeerCounters,
    /// The log and the tree.
    pub storage: StorageFigures,
    /// Client connections.
    pub clients: usize,
    /// Client requests at work.
    pub in_flight: usize,
    /// Turns so far.
    pub turns: u64,
    /// Inputs so far.
    pub inputs: u64,
}

/// The node and all that serves it. See the module's page.
struct Driver {
    clock: Clock,
    now: Now,
    /// A turn has begun: its clock has been read, and its end is on the way.
    in_turn: bool,
    node: Node,
    engine: Engine<FileDisk>,
    peers: Peers,
    clients: Clients,
    door: Rc<Door>,
    effects: Effects,
    /// Storage operations that have ended and the node does not know yet.
    ended: Vec<(StoreToken, StoreOutcome)>,
    ended_at_once: VecDeque<(StoreToken, StoreOutcome)>,
    /// Calls that a session made while the node was answering another.
    further: VecDeque<(u64, SessionCall)>,
    scratch: Vec<SessionCall>,
    last_commit: Instant,
    next_housekeeping: Instant,
    commits_seen: (u64, u64),
    log_bytes_seen: u64,
    inputs: u64,
    failed: bool,
    told: Told,
    pulse: Arc<Pulse>,
}

/// The driver as the tasks of one node share it.
pub struct Host {
    driver: RefCell<Driver>,
    bell: Arc<Notify>,
    draining: Cell<bool>,
}

impl Host {
    /// A driver for `node`. `bell` is what the storage threads ring.
    pub fn new(node: Node, engine: Engine<FileDisk>, peers: Peers, door: Rc<Door>, bell: Arc<Notify>) -> Rc<Self> {
        let clock = Clock::start();
        let driver = Driver {
            clock,
            now: clock.now(),
            in_turn: false,
            node,
            engine,
            peers,
            clients: Clients::new(Rc::clone(&door)),
            door,
            effects: Effects::default(),
            ended: Vec::new(),
            ended_at_once: VecDeque::new(),
            further: VecDeque::new(),
            scratch: Vec::new(),
            last_commit: Instant::ZERO,
            next_housekeeping: Instant::ZERO,
            commits_seen: (0, 0),
            log_bytes_seen: 0,
            inputs: 0,
            failed: false,
            told: Told::default(),
            pulse: Arc::default(),
        };
        Rc::new(Self { driver: RefCell::new(driver), bell, draining: Cell::new(false) })
    }

    /// What other threads may watch.
    pub fn pulse(&self) -> Arc<Pulse> {
        Arc::clone(&self.driver.borrow().pulse)
    }

    /// Figures of this moment.
    pub fn figures(&self) -> NodeFigures {
        let driver = self.driver.borrow();
        NodeFigures {
            standing: driver.node.standing(),
            peers: driver.peers.counters(),
            storage: driver.engine.figures(),
            clients: driver.clients.len(),
            in_flight: driver.node.in_flight(),
            turns: driver.pulse.turns(),
            inputs: driver.inputs,
        }
    }

    /// Ends turns for ever: whenever something was fed, a storage thread has finished, or a deadline has come.
    ///
    /// # Errors
    /// [`Failure`] of the storage. Nothing was acknowledged since, and nothing may be.
    pub async fn run(&self) -> Result<(), Failure> {
        let clock = self.driver.borrow().clock;
        let mut alarm = pin!(tokio::time::sleep_until(tokio::time::Instant::now()));
        let mut set_for = Instant::ZERO;
        loop {
            {
                let mut rung = pin!(self.bell.notified());
                poll_fn(|cx| match rung.as_mut().poll(cx) {
                    Poll::Ready(()) => Poll::Ready(()),
                    Poll::Pending => alarm.as_mut().poll(cx),
                })
                .await;
            }
            let wake_at = self.driver.borrow_mut().end_turn()?;
            // An alarm that is early does no harm, and moving it on every turn would cost more than waking once.
            if wake_at < set_for || alarm.is_elapsed() {
                set_for = wake_at;
                alarm.as_mut().reset(clock.to_std(wake_at).into());
            }
        }
    }

    /// Stops taking requests; resolves when those that were taken are answered and written, or never.
    pub async fn drain(&self) {
        self.draining.set(true);
        self.driver.borrow_mut().clients.drain();
        while self.driver.borrow().clients.len() > 0 {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    }

    /// Writes what the next start would otherwise have to replay.
    ///
    /// # Errors
    /// [`Failure`]: the next start replays the log instead.
    pub fn flush_storage(&self) -> Result<(), Failure> {
        let driver = &mut *self.driver.borrow_mut();
        if driver.failed { Ok(()) } else { driver.engine.flush_all() }
    }

    fn is_draining(&self) -> bool {
        self.draining.get()
    }

    fn client_refused(&self) {
        self.driver.borrow().door.metrics.connections_refused.inc();
    }

    fn client_count(&self) -> usize {
        self.driver.borrow().clients.len()
    }

    fn add_client(&self, writer: OwnedWriteHalf, peer: String) -> u64 {
        let driver = &mut *self.driver.borrow_mut();
        driver.begin_turn(&self.bell);
        driver.clients.add(writer, peer, driver.now)
    }

    fn poll_client(&self, number: u64, reader: &mut OwnedReadHalf, cx: &mut Context<'_>) -> Poll<()> {
        let driver = &mut *self.driver.borrow_mut();
        driver.begin_turn(&self.bell);
        let mut calls = std::mem::take(&mut driver.scratch);
        let polled = driver.clients.poll(number, reader, driver.now, cx, &mut calls);
        for SessionCall { sequence, request } in calls.drain(..) {
            driver.feed(Input::Client { call: CallId { connection: number, sequence }, request });
        }
        driver.scratch = calls;
        polled
    }

    fn remove_client(&self, number: u64) {
        let driver = &mut *self.driver.borrow_mut();
        driver.begin_turn(&self.bell);
        for call in driver.clients.remove(number) {
            driver.feed(Input::ClientGone { call });
        }
    }
}

impl PeerHost for Host {
    fn peers<R>(&self, access: impl FnOnce(&mut Peers) -> R) -> R {
        access(&mut self.driver.borrow_mut().peers)
    }

    fn heard(&self, from: NodeId, messages: &mut Vec<Message>) {
        let driver = &mut *self.driver.borrow_mut();
        driver.begin_turn(&self.bell);
        for message in messages.drain(..) {
            driver.feed(Input::Message { from, message });
        }
    }

    fn lost(&self, peer: NodeId) {
        let driver = &mut *self.driver.borrow_mut();
        driver.begin_turn(&self.bell);
        driver.door.set_reachable(peer, driver.peers.is_connected(peer));
        driver.feed(Input::PeerLost { peer });
    }

    fn connected(&self, peer: NodeId) {
        self.driver.borrow().door.set_reachable(peer, true);
    }
}

impl Driver {
    /// Reads the clocks and sees to it that the turn ends behind everybody who is ready now.
    fn begin_turn(&mut self, bell: &Notify) {
        if !self.in_turn {
            self.in_turn = true;
            self.now = self.clock.now();
            bell.notify_one();
        }
    }

    /// The one place where the node is spoken to.
    fn feed(&mut self, input: Input) {
        if self.failed {
            return;
        }
        self.inputs += 1;
        self.node.handle(self.now, input, &mut self.effects);
        self.carry_out();
    }

    fn carry_out(&mut self) {
        let mut effects = std::mem::take(&mut self.effects);
        for effect in effects.drain() {
            match effect {
                Effect::Send { to, message } => self.peers.send(to, &message),
                Effect::Reply { call, response } => {
                    let mut calls = Vec::new();
                    self.clients.complete(self.now, call, response, &mut calls);
                    self.further.extend(calls.into_iter().map(|further| (call.connection, further)));
                }
                Effect::Store { token, op } => {
                    if let Some(outcome) = self.engine.submit(token, op) {
                        self.ended_at_once.push_back((token, outcome));
                    }
                }
                Effect::Notice(notice) => self.told.notice(notice, self.now, &self.door),
            }
        }
        self.effects = effects;
    }

    /// Feeds everything that came out of feeding, until nothing more does.
    fn work_off(&mut self) {
        loop {
            for (token, outcome) in std::mem::take(&mut self.ended) {
                self.stored(token, outcome);
            }
            if let Some((token, outcome)) = self.ended_at_once.pop_front() {
                self.stored(token, outcome);
            } else if let Some((connection, SessionCall { sequence, request })) = self.further.pop_front() {
                self.feed(Input::Client { call: CallId { connection, sequence }, request });
            } else {
                return;
            }
        }
    }

    fn stored(&mut self, token: StoreToken, outcome: StoreOutcome) {
        let synced = self.engine.synced();
        self.feed(Input::Stored { token, outcome, synced });
    }

    /// Ends the turn: everything that was fed takes effect. Returns when the next one must end at the latest.
    fn end_turn(&mut self) -> Result<Instant, Failure> {
        if !self.in_turn {
            // Woken by a deadline or by a storage thread.
            self.now = self.clock.now();
        }
        // Whatever is fed from here on is dealt with below.
        self.in_turn = true;
        let ended = self.finish();
        self.in_turn = false;
        self.failed = ended.is_err();
        self.pulse.turns.fetch_add(1, Ordering::Relaxed);
        ended.map(|()| self.wake_at())
    }

    fn finish(&mut self) -> Result<(), Failure> {
        self.engine.collect(&mut self.ended)?;
        if self.node.next_deadline().is_some_and(|deadline| deadline <= self.now.monotonic) {
            self.feed(Input::Tick);
        }
        let mut blocked = Vec::new();
        loop {
            self.work_off();
            if self.clients.advance_blocked(self.now, &mut blocked) {
                self.further.extend(blocked.drain(..));
                continue;
            }
            self.peers.flush();
            self.clients.write();
            self.commit()?;
            if self.ended.is_empty() && !self.clients.is_dirty() {
                break;
            }
        }
        self.mark_when_idle();
        if self.now.monotonic >= self.next_housekeeping {
            self.keep_house();
        }
        Ok(())
    }

    fn commit(&mut self) -> Result<(), Failure> {
        self.engine.commit(true, &mut self.ended)?;
        if !self.ended.is_empty() {
            // Time has passed while the disk was waited for.
            self.now = self.clock.now();
            self.last_commit = self.now.monotonic;
        }
        Ok(())
    }

    fn mark_when_idle(&mut self) {
        if self.engine.is_syncing() {
            self.last_commit = self.now.monotonic;
        } else if self.engine.mark_due() && self.now.monotonic >= self.last_commit + MARK_AFTER {
            self.engine.mark();
            self.last_commit = self.now.monotonic;
        }
    }

    fn wake_at(&self) -> Instant {
        let mark = self.engine.mark_due().then(|| self.last_commit + MARK_AFTER);
        let deadline = self.node.next_deadline();
        [mark, deadline].into_iter().flatten().fold(self.next_housekeeping, Instant::min)
    }

    fn keep_house(&mut self) {
        self.next_housekeeping = self.now.monotonic + HOUSEKEEPING_INTERVAL;
        self.clients.on_tick(self.now.monotonic);
        let storage = self.engine.figures();
        let metrics = &self.door.metrics;
        metrics.epoch.set(self.node.sender().map_or(0, |_| STATIC_EPOCH.0 as i64));
        metrics.in_flight.set(self.node.in_flight() as i64);
        metrics.wal_bytes.inc_by(storage.log_bytes_written.saturating_sub(self.log_bytes_seen));
        self.log_bytes_seen = storage.log_bytes_written;
        // The histogram gets the second's mean for each commit of the second.
        let (commits, micros) = (storage.commits_ended, storage.commit_micros);
        let new = commits.saturating_sub(self.commits_seen.0);
        if let Some(mean) = micros.saturating_sub(self.commits_seen.1).checked_div(new) {
            (0..new).for_each(|_| metrics.wal_sync_seconds.observe(mean as f64 / 1e6));
        }
        self.commits_seen = (commits, micros);
        self.told.standing(self.node.standing(), &self.door);
        self.door.set_figures(Figures {
            keys_estimate: storage.records_estimate,
            is_ready: self.node.standing() == Standing::Member,
            uptime_seconds: self.now.monotonic.as_micros() / 1_000_000,
            ..self.door.figures()
        });
    }
}
