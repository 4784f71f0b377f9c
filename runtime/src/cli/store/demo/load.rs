//! The clients of a demo: they read and write through any node, and record what they saw.
//!
//! An answer that does not come, or that says "indeterminate", leaves a write open. Where the version is known the write
//! is tried again elsewhere under that version, and is still one operation. Where it stays open it is recorded as
//! unknown, and the client goes on under a new name.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

use futures::future::join_all;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tokio::task::{JoinHandle, spawn_local};

use super::super::client::{Answer, Answered, Asked, ask};
use super::super::record::{Ending, Names, Operation, Recorder, Verb};
use super::super::resp::Connection;

/// Keys of each kind. Few, so that clients meet.
const KEYS: u32 = 12;
/// How long a client waits for an answer; coordinators give up after one second.
const PATIENCE: Duration = Duration::from_millis(2_500);
const CONNECT_PATIENCE: Duration = Duration::from_millis(500);
/// How often a write is tried, in all.
const ATTEMPTS: u32 = 4;
const RETRY_PAUSE: Duration = Duration::from_millis(100);

/// What the clients have done so far.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Done {
    pub(super) operations: u64,
    pub(super) acknowledged_writes: u64,
    pub(super) failed: u64,
    pub(super) unknown: u64,
    pub(super) retried: u64,
    /// The longest time without any acknowledged write while there was load.
    pub(super) longest_gap: Duration,
}

/// The clients and what they share.
pub(super) struct Load {
    pub(super) recorder: RefCell<Recorder>,
    addresses: Vec<String>,
    /// Operations per second over all clients; 0 pauses them.
    rate: Cell<u64>,
    stopped: Cell<bool>,
    done: Cell<Done>,
    last_write: Cell<Instant>,
    running: RefCell<Vec<JoinHandle<()>>>,
}

impl Load {
    pub(super) fn new(recorder: Recorder, addresses: Vec<String>) -> Rc<Self> {
        Rc::new(Load {
            recorder: RefCell::new(recorder),
            addresses,
            rate: Cell::new(0),
            stopped: Cell::new(false),
            done: Cell::default(),
            last_write: Cell::new(Instant::now()),
            running: RefCell::default(),
        })
    }

    /// Starts so many clients.
    pub(super) fn start(self: &Rc<Self>, clients: u32, seed: u64) {
        for number in 0..clients {
            let client = Client::new(Rc::clone(self), number, clients, seed);
            self.running.borrow_mut().push(spawn_local(client.run()));
        }
    }

    pub(super) fn set_rate(&self, rate: u64) {
        if self.rate.get() == 0 {
            self.last_write.set(Instant::now());
        }
        self.rate.set(rate);
    }

    pub(super) fn done(&self) -> Done {
        self.done.get()
    }

    /// Lets every client finish what it is at.
    pub(super) async fn stop(&self) {
        self.stopped.set(true);
        let running = self.running.take();
        for ended in join_all(running).await {
            ended.expect("a client does not panic");
        }
    }

    fn count(&self, change: impl FnOnce(&mut Done)) {
        let mut done = self.done.get();
        change(&mut done);
        self.done.set(done);
    }

    fn acknowledged(&self) {
        let gap = self.last_write.replace(Instant::now()).elapsed();
        self.count(|done| {
            done.acknowledged_writes += 1;
            done.longest_gap = done.longest_gap.max(gap);
        });
    }

    /// All keys that clients use.
    pub(super) fn keys() -> impl Iterator<Item = String> {
        (0..KEYS).flat_map(|number| [format!("lin:k{number}"), format!("k{number}")])
    }
}

/// One client.
pub(super) struct Client {
    load: Rc<Load>,
    names: Names,
    /// What its values begin with.
    mark: String,
    /// How long after an operation the next one is due, in operations of all clients.
    share: u32,
    rng: ChaCha8Rng,
    connections: Vec<Option<Connection>>,
    written: u64,
}

impl Client {
    /// One of so many clients that run by themselves.
    fn new(load: Rc<Load>, number: u32, clients: u32, seed: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(u64::from(number) + 1);
        let connections = load.addresses.iter().map(|_| None).collect();
        let names = Names::new(format!("c{number}"));
        Client { load, names, mark: number.to_string(), share: clients, rng, connections, written: 0 }
    }

    /// A client that does what it is told, one operation after the other.
    pub(super) fn named(load: Rc<Load>, name: &str) -> Self {
        let connections = load.addresses.iter().map(|_| None).collect();
        let (names, mark) = (Names::new(name.to_string()), name.to_string());
        Client { load, names, mark, share: 1, rng: ChaCha8Rng::seed_from_u64(0), connections, written: 0 }
    }

    async fn run(mut self) {
        let mut due = Instant::now();
        while !self.load.stopped.get() {
            let rate = self.load.rate.get();
            if rate == 0 || due > Instant::now() {
                tokio::time::sleep(Duration::from_millis(1)).await;
                continue;
            }
            // A client that was held up does not catch up: this load is for finding faults, not for measuring.
            due = Instant::now().max(due + Duration::from_secs_f64(f64::from(self.share) / rate as f64));
            self.random_operation().await;
        }
    }

    async fn random_operation(&mut self) {
        let number = self.rng.random_range(0..KEYS);
        let key = if self.rng.random_range(0..2) == 0 { format!("lin:k{number}") } else { format!("k{number}") };
        let via = self.rng.random_range(0..self.connections.len());
        let verb = match self.rng.random_range(0..20) {
            0..9 => Verb::Get,
            9..19 => Verb::Put,
            _ => Verb::Delete,
        };
        self.operation(verb, &key, via, None).await;
    }

    /// Carries out one operation, with its retries, and records it. `None` when it has no answer.
    pub(super) async fn operation(
        &mut self,
        verb: Verb,
        key: &str,
        via: usize,
        level: Option<&str>,
    ) -> Option<Answered> {
        self.written += u64::from(verb == Verb::Put);
        let value = format!("{}-{}", self.mark, self.written);
        let invoked_us = self.load.recorder.borrow().now_us();
        let asked = Asked { key: key.as_bytes(), value: value.as_bytes(), level, ..Asked::default() };
        let (mut via, mut open, mut presented) = (via, false, None::<String>);
        for attempt in 0..ATTEMPTS {
            if attempt > 0 {
                self.load.count(|done| done.retried += 1);
                tokio::time::sleep(RETRY_PAUSE).await;
                via = self.rng.random_range(0..self.connections.len());
            }
            let Some(connection) = self.connection(via).await else {
                // Nothing was sent this time.
                if open {
                    continue;
                } else {
                    return None;
                };
            };
            let asked = Asked { presented: presented.as_deref(), ..asked };
            match ask(connection, verb, &asked, PATIENCE).await {
                Err(_) => {
                    self.connections[via] = None;
                    open = true;
                }
                Ok(Answered { answer: Answer::Unknown(_), version, .. }) => {
                    open = true;
                    presented = version.or(presented);
                }
                // What a refusal says of a retry, it does not say of the attempt before.
                Ok(Answered { answer: Answer::Failed(_), .. }) if open => {}
                Ok(answered) => {
                    let ending = if matches!(answered.answer, Answer::Failed(_)) { Ending::Fail } else { Ending::Ok };
                    self.record(verb, key, &value, invoked_us, ending, &answered, via, level);
                    return Some(answered);
                }
            }
            // A read that nobody answered saw nothing; a write without a version cannot be the same write again.
            if verb == Verb::Get || presented.is_none() {
                break;
            }
        }
        let answered = Answered { answer: Answer::Unknown(String::new()), version: presented, context: None };
        let ending = if verb == Verb::Get { Ending::Fail } else { Ending::Unknown };
        self.record(verb, key, &value, invoked_us, ending, &answered, via, level);
        if ending == Ending::Unknown {
            self.names.renew();
        }
        None
    }

    async fn connection(&mut self, via: usize) -> Option<&mut Connection> {
        if self.connections[via].is_none() {
            self.connections[via] = Connection::open(&self.load.addresses[via], CONNECT_PATIENCE).await.ok();
        }
        self.connections[via].as_mut()
    }

    #[allow(clippy::too_many_arguments)]
    fn record(
        &mut self,
        verb: Verb,
        key: &str,
        written: &str,
        invoked_us: u64,
        ending: Ending,
        answered: &Answered,
        via: usize,
        level: Option<&str>,
    ) {
        self.load.count(|done| {
            done.operations += 1;
            done.failed += u64::from(ending == Ending::Fail);
            done.unknown += u64::from(ending == Ending::Unknown);
        });
        if verb != Verb::Get && ending == Ending::Ok {
            self.load.acknowledged();
        }
        let value = match (verb, &answered.answer) {
            (Verb::Put, _) => Some(written.as_bytes()),
            (Verb::Get, Answer::Value(value)) => Some(value.as_slice()),
            (Verb::Get | Verb::Delete, _) => None,
        };
        let mut recorder = self.load.recorder.borrow_mut();
        let returned_us = recorder.now_us();
        recorder.add(&Operation {
            client: self.names.current(),
            verb,
            key,
            value,
            invoked_us,
            returned_us,
            ending,
            version: answered.version.as_deref(),
            via: Some(&format!("n{}", via + 1)),
            level,
        });
    }
}
