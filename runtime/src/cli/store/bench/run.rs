//! The clients of a bench: ask, wait, time, note.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use tokio::task::LocalSet;

use super::super::record::{Ending, Names, Operation, Recorder, Verb};
use super::super::resp::{Connection, Reply};
use super::Bench;
use super::draw::{Drawer, Request, name_of};
use super::pace::Pace;
use crate::cli::console::{self, Console};
use crate::cli::exit::{Exit, Failure, OrExit};

/// A client that gets no connection tries again after so long.
const RECONNECT_PAUSE: Duration = Duration::from_millis(50);
/// No answer for so long counts as none at all.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a bench measured.
pub(super) struct Measured {
    /// Latencies in nanoseconds: reads, writes.
    pub(super) reads: Histogram<u64>,
    pub(super) writes: Histogram<u64>,
    pub(super) answered: u64,
    /// Reads that found nothing.
    pub(super) missing: u64,
    /// Answers that said no, and the first of them.
    pub(super) errors: u64,
    pub(super) first_error: Option<String>,
    /// Requests without an answer: the connection broke.
    pub(super) unanswered: u64,
    /// Values that nobody could have written so.
    pub(super) wrong_values: u64,
    /// In an open loop: requests that were due but never sent.
    pub(super) unsent: u64,
    pub(super) unreachable: bool,
    pub(super) elapsed: Duration,
}

struct Shared {
    measured: Measured,
    recorder: Option<Recorder>,
    connected: bool,
}

/// One request on its way.
struct Sent {
    request: Request,
    /// When it was due; in a closed loop, when it was sent.
    due: Instant,
    invoked_us: u64,
    /// Its place in the pipeline: operations that overlap are different clients to a history.
    lane: usize,
}

pub(super) async fn run(bench: &Bench, console: &Console) -> Result<Measured, Failure> {
    let histogram = || Histogram::new_with_bounds(1_000, 600_000_000_000, 3).expect("fixed bounds");
    let measured = Measured {
        reads: histogram(),
        writes: histogram(),
        answered: 0,
        missing: 0,
        errors: 0,
        first_error: None,
        unanswered: 0,
        wrong_values: 0,
        unsent: 0,
        unreachable: false,
        elapsed: bench.time,
    };
    let recorder = bench.record.as_deref().map(console::create).transpose()?.map(Recorder::new);
    let shared = Rc::new(RefCell::new(Shared { measured, recorder, connected: false }));
    let begin = Instant::now() + bench.warmup;
    let end = begin + bench.time;
    let pace = Pace::start().or_exit(Exit::Io)?;
    let tasks = LocalSet::new();
    for number in 0..bench.clients {
        let client = Client::new(bench, number, Rc::clone(&shared), pace.clone(), begin, end);
        tasks.spawn_local(client.run());
    }
    let mut progress = console.progress((bench.warmup + bench.time).as_secs().max(1), "bench");
    let started = Instant::now();
    let watched = Rc::clone(&shared);
    tasks.spawn_local(async move {
        while Instant::now() < end {
            tokio::time::sleep(Duration::from_millis(200)).await;
            let shared = watched.borrow();
            let answered = shared.measured.answered;
            progress.at(started.elapsed().as_secs(), || format!("{answered} answered"));
        }
        progress.end();
    });
    tasks.await;
    let shared = Rc::into_inner(shared).expect("every task has ended").into_inner();
    if let Some(mut recorder) = shared.recorder {
        recorder.flush().or_exit(Exit::Io)?;
    }
    Ok(Measured { unreachable: !shared.connected, ..shared.measured })
}

struct Client {
    address: String,
    /// One for each place in the pipeline.
    lanes: Vec<Names>,
    level: Option<String>,
    drawer: Drawer,
    size: usize,
    pipeline: usize,
    schedule: Option<Schedule>,
    pace: Pace,
    shared: Rc<RefCell<Shared>>,
    begin: Instant,
    end: Instant,
}

/// When an open loop's requests are due: evenly spread, each client at its own offset.
struct Schedule {
    started: Instant,
    first: Duration,
    every: Duration,
    sent: u32,
}

impl Schedule {
    fn next(&self) -> Instant {
        self.started + self.first + self.every * self.sent
    }
}

impl Client {
    fn new(bench: &Bench, number: u32, shared: Rc<RefCell<Shared>>, pace: Pace, begin: Instant, end: Instant) -> Self {
        let schedule = (bench.rate > 0).then(|| Schedule {
            started: begin - bench.warmup,
            first: Duration::from_secs_f64(f64::from(number) / bench.rate as f64),
            every: Duration::from_secs_f64(f64::from(bench.clients) / bench.rate as f64),
            sent: 0,
        });
        Client {
            address: bench.addr[number as usize % bench.addr.len()].clone(),
            lanes: (0..bench.pipeline).map(|lane| Names::new(format!("c{number}/{lane}"))).collect(),
            level: bench.level.clone(),
            drawer: Drawer::new(bench, number),
            size: bench.size as usize,
            pipeline: bench.pipeline as usize,
            schedule,
            pace,
            shared,
            begin,
            end,
        }
    }

    /// Asks until the end; a broken connection is made anew.
    async fn run(mut self) {
        while Instant::now() < self.end {
            match Connection::open(&self.address, Duration::from_secs(1)).await {
                Ok(mut connection) => {
                    self.shared.borrow_mut().connected = true;
                    while Instant::now() < self.end {
                        if self.batch(&mut connection).await.is_err() {
                            break;
                        }
                    }
                }
                Err(_) => tokio::time::sleep(RECONNECT_PAUSE).await,
            }
        }
        if let Some(schedule) = &self.schedule {
            let left = self.end.saturating_duration_since(schedule.next().max(self.begin));
            self.shared.borrow_mut().measured.unsent += (left.as_secs_f64() / schedule.every.as_secs_f64()) as u64;
        }
    }

    /// Sends what is due, at most a pipeline full, and reads the answers.
    async fn batch(&mut self, connection: &mut Connection) -> std::io::Result<()> {
        let mut batch = Vec::with_capacity(self.pipeline);
        match &mut self.schedule {
            None => (0..self.pipeline).for_each(|_| batch.push(Instant::now())),
            Some(schedule) => {
                self.pace.until(schedule.next().min(self.end)).await;
                let now = Instant::now();
                while batch.len() < self.pipeline && schedule.next() <= now && schedule.next() < self.end {
                    batch.push(schedule.next());
                    schedule.sent += 1;
                }
            }
        }
        let sent: Vec<Sent> =
            batch.into_iter().enumerate().map(|(lane, due)| self.send(connection, due, lane)).collect();
        let patience = tokio::time::timeout(PATIENCE, connection.flush()).await;
        let mut broken = patience.unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into()));
        for sent in sent {
            if broken.is_ok() {
                let reply = tokio::time::timeout(PATIENCE, connection.read()).await;
                match reply.unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into())) {
                    Ok(reply) => {
                        self.answered(&sent, &reply);
                        continue;
                    }
                    Err(error) => broken = Err(error),
                }
            }
            self.unanswered(&sent);
        }
        broken
    }

    fn send(&mut self, connection: &mut Connection, due: Instant, lane: usize) -> Sent {
        let request = self.drawer.next();
        let key = request.key.as_bytes();
        match (&request.value, &self.level) {
            (None, None) => connection.push(&[b"GET", key]),
            (Some(value), None) => connection.push(&[b"SET", key, value]),
            (None, Some(level)) => connection.push(&[b"Q.GET", key, b"LEVEL", level.as_bytes()]),
            (Some(value), Some(level)) => connection.push(&[b"Q.PUT", key, value, b"LEVEL", level.as_bytes()]),
        }
        let invoked_us = self.shared.borrow().recorder.as_ref().map_or(0, Recorder::now_us);
        Sent { request, due, invoked_us, lane }
    }

    fn answered(&mut self, sent: &Sent, reply: &Reply) {
        let now = Instant::now();
        let shared = &mut *self.shared.borrow_mut();
        let found = match (&sent.request.value, reply) {
            (_, Reply::Error(text)) => Err(text.clone()),
            (None, reply) => Ok(Found::of(reply, self.size)),
            (Some(_), _) => Ok(Found::Nothing),
        };
        if now >= self.begin && sent.due >= self.begin && sent.due < self.end {
            let measured = &mut shared.measured;
            match &found {
                Ok(found) => {
                    measured.answered += 1;
                    measured.missing += u64::from(sent.request.value.is_none() && *found == Found::Nothing);
                    measured.wrong_values += u64::from(*found == Found::Wrong);
                    let latency = now.saturating_duration_since(sent.due).as_nanos() as u64;
                    let histogram =
                        if sent.request.value.is_some() { &mut measured.writes } else { &mut measured.reads };
                    histogram.saturating_record(latency);
                }
                Err(text) => {
                    measured.errors += 1;
                    measured.first_error.get_or_insert_with(|| text.clone());
                }
            }
        }
        let ending = match (&found, &sent.request.value) {
            (Ok(_), _) => Ending::Ok,
            (Err(_), None) => Ending::Fail,
            // Without knowing the server's words, an error may come after the write was sent on.
            (Err(_), Some(_)) => Ending::Unknown,
        };
        let value = match (&sent.request.value, &found) {
            (Some(written), _) => name_of(written, self.size).map(str::as_bytes),
            (None, Ok(Found::Name(name))) => Some(name.as_bytes()),
            (None, Ok(Found::Wrong)) => Some(b"(a value that nobody wrote)".as_slice()),
            (None, Ok(Found::Nothing) | Err(_)) => None,
        };
        Self::record(&mut shared.recorder, &mut self.lanes[sent.lane], self.level.as_deref(), sent, value, ending);
    }

    fn unanswered(&mut self, sent: &Sent) {
        let shared = &mut *self.shared.borrow_mut();
        if Instant::now() >= self.begin {
            shared.measured.unanswered += 1;
        }
        let written = sent.request.value.as_deref().and_then(|written| name_of(written, self.size));
        let value = written.map(str::as_bytes);
        Self::record(
            &mut shared.recorder,
            &mut self.lanes[sent.lane],
            self.level.as_deref(),
            sent,
            value,
            Ending::Unknown,
        );
    }

    fn record(
        recorder: &mut Option<Recorder>,
        names: &mut Names,
        level: Option<&str>,
        sent: &Sent,
        value: Option<&[u8]>,
        ending: Ending,
    ) {
        let Some(recorder) = recorder else { return };
        let is_read = sent.request.value.is_none();
        recorder.add(&Operation {
            client: names.current(),
            verb: if is_read { Verb::Get } else { Verb::Put },
            key: &sent.request.key,
            value,
            invoked_us: sent.invoked_us,
            returned_us: recorder.now_us(),
            ending: if is_read && ending == Ending::Unknown { Ending::Fail } else { ending },
            version: None,
            via: None,
            level,
        });
        if ending == Ending::Unknown && !is_read {
            names.renew();
        }
    }
}

/// What a read found.
#[derive(PartialEq, Eq)]
enum Found {
    Nothing,
    Name(String),
    Wrong,
}

impl Found {
    fn of(reply: &Reply, size: usize) -> Self {
        match reply {
            Reply::Null => Found::Nothing,
            Reply::BulkString(bytes) => name_of(bytes, size).map_or(Found::Wrong, |name| Found::Name(name.to_string())),
            // Q.GET answers with a list; the value is looked for in it.
            Reply::Array(items) => {
                let found = items.iter().map(|item| Found::of(item, size));
                found.into_iter().find(|found| matches!(found, Found::Name(_))).unwrap_or(Found::Nothing)
            }
            Reply::SimpleString(_) | Reply::Integer(_) | Reply::Error(_) => Found::Wrong,
        }
    }
}
