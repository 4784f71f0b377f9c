//! Histories: who called what, on which key, in which closed interval, and how it ended.
//!
//! A history is a list of operations and nothing else; nothing here knows how to judge. Times are integers of one
//! clock, in any unit. Intervals are *closed*: a call that ends at 5 and one that starts at 5 may have overlapped,
//! since a clock may return the same value twice. An operation whose outcome is unknown has no end
//! ([`NEVER`]): it may take effect at any later time, or not at all.

use crate::Value;
use crate::value::{FastMap, Short};

/// A point in time, in whatever unit the recorder used. Negative times are allowed.
pub type Time = i64;

/// The end of an operation that has none.
pub const NEVER: Time = Time::MAX;

/// The earliest time an operation may carry; what lies before belongs to the initial value.
pub const TIME_MIN: Time = Time::MIN + 1;

/// Position of an operation in its [`History`].
pub type OperationId = u32;

/// A client (a session, a process), numbered in order of appearance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClientId(pub u32);

/// A key, numbered in order of appearance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyId(pub u32);

/// What was called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// Read the key; [`Operation::value`] is what was seen.
    Read,
    /// Write [`Operation::value`]; a delete is a write of [`Value::Absent`].
    Write,
    /// Write [`Operation::value`] if the key holds [`Operation::expected`].
    Cas,
    /// Append [`Operation::value`] to the text the key holds.
    Append,
    /// Add an element to a set, or a number to a counter.
    Add,
    /// Remove an element from a set.
    Remove,
    /// Put an element at the end of a queue.
    Enqueue,
    /// Take the element at the front of a queue; absent if it was empty.
    Dequeue,
}

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Outcome {
    /// It took effect between invocation and return.
    Ok,
    /// It definitely had no effect. What a failed compare-and-set tells is [`crate::FailedCas`]'s matter.
    Fail,
    /// Nobody knows: it may take effect at any time after its invocation, or never.
    Unknown,
}

/// The level an operation asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(missing_docs)]
pub enum Level {
    /// The recorder did not say: judged as strict.
    #[default]
    Unspecified,
    One,
    Two,
    LocalOne,
    LocalQuorum,
    EachQuorum,
    Quorum,
    All,
    Linearizable,
}

impl Level {
    /// May a read at this level see an old value by design? Such reads are not held to linearizability.
    pub fn is_eventual(self) -> bool {
        match self {
            Level::One | Level::Two | Level::LocalOne | Level::LocalQuorum => true,
            Level::Unspecified | Level::EachQuorum | Level::Quorum | Level::All | Level::Linearizable => false,
        }
    }

    /// The name used in files.
    pub fn name(self) -> &'static str {
        match self {
            Level::Unspecified => "",
            Level::One => "one",
            Level::Two => "two",
            Level::LocalOne => "local_one",
            Level::LocalQuorum => "local_quorum",
            Level::EachQuorum => "each_quorum",
            Level::Quorum => "quorum",
            Level::All => "all",
            Level::Linearizable => "linearizable",
        }
    }

    /// The level of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        const ALL: [Level; 9] = [
            Level::Unspecified,
            Level::One,
            Level::Two,
            Level::LocalOne,
            Level::LocalQuorum,
            Level::EachQuorum,
            Level::Quorum,
            Level::All,
            Level::Linearizable,
        ];
        ALL.into_iter().find(|level| level.name().eq_ignore_ascii_case(name))
    }
}

/// What few operations carry, kept apart so that the many stay small.
#[derive(Clone, Debug, PartialEq, Eq)]
struct More {
    expected: Value,
    seen: Option<Value>,
    version: Option<Value>,
}

impl More {
    fn bytes(&self) -> usize {
        let values = [Some(&self.expected), self.seen.as_ref(), self.version.as_ref()];
        size_of::<More>() + values.into_iter().flatten().map(Value::bytes_behind).sum::<usize>()
    }
}

const NO_MORE: More = More { expected: Value::Absent, seen: None, version: None };

/// One call and what became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    /// Who called.
    pub client: ClientId,
    /// On which key.
    pub key: KeyId,
    /// Line of the file it came from, counted from 1; 0 if from no file.
    pub line: u32,
    /// What was called.
    pub kind: Kind,
    /// How it ended.
    pub outcome: Outcome,
    /// The level it asked for.
    pub level: Level,
    /// What was read, written, appended, added; for a compare-and-set the new value.
    pub value: Value,
    /// When it was called.
    pub invoke: Time,
    /// When its answer came; [`NEVER`] if none came.
    pub ret: Time,
    more: Option<Box<More>>,
}

impl Operation {
    /// An operation that returned ok; set other outcomes with [`Operation::unknown`] and [`Operation::failed`].
    pub fn new(client: ClientId, key: KeyId, kind: Kind, value: Value, invoke: Time, ret: Time) -> Self {
        Operation {
            client,
            key,
            line: 0,
            kind,
            outcome: Outcome::Ok,
            level: Level::Unspecified,
            value,
            invoke,
            ret,
            more: None,
        }
    }

    /// A compare-and-set that swapped.
    pub fn cas(client: ClientId, key: KeyId, expected: Value, new: Value, invoke: Time, ret: Time) -> Self {
        let mut operation = Operation::new(client, key, Kind::Cas, new, invoke, ret);
        operation.more_mut().expected = expected;
        operation
    }

    /// The same call with an unknown outcome: the time its client gave up is not its end.
    #[must_use]
    pub fn unknown(mut self) -> Self {
        self.outcome = Outcome::Unknown;
        self.ret = NEVER;
        self
    }

    /// The same call, definitely without effect.
    #[must_use]
    pub fn failed(mut self) -> Self {
        self.outcome = Outcome::Fail;
        self
    }

    /// The same call, asked at a level.
    #[must_use]
    pub fn at_level(mut self, level: Level) -> Self {
        self.level = level;
        self
    }

    /// The same call with the version (or write id) its answer carried.
    #[must_use]
    pub fn with_version(mut self, version: Value) -> Self {
        self.more_mut().version = Some(version);
        self
    }

    /// A failed compare-and-set that said which value it found instead.
    #[must_use]
    pub fn having_seen(mut self, seen: Value) -> Self {
        self.more_mut().seen = Some(seen);
        self
    }

    /// The value a compare-and-set expects; absent for every other call.
    pub fn expected(&self) -> &Value {
        &self.more().expected
    }

    /// The value that made a compare-and-set fail, where the source tells.
    pub fn seen(&self) -> Option<&Value> {
        self.more().seen.as_ref()
    }

    /// The version the answer carried: for a write its own, for a read the one it saw.
    pub fn version(&self) -> Option<&Value> {
        self.more().version.as_ref()
    }

    /// When it must have taken effect at the latest: its return if it is ok or failed, else [`NEVER`].
    pub fn end(&self) -> Time {
        match self.outcome {
            Outcome::Ok | Outcome::Fail => self.ret,
            Outcome::Unknown => NEVER,
        }
    }

    /// What lies behind its pointers, about.
    #[inline]
    pub(crate) fn bytes_behind(&self) -> usize {
        self.value.bytes_behind() + self.more.as_ref().map_or(0, |more| more.bytes())
    }

    fn more(&self) -> &More {
        self.more.as_deref().unwrap_or(&NO_MORE)
    }

    pub(crate) fn set_expected(&mut self, expected: Value) {
        self.more_mut().expected = expected;
    }

    pub(crate) fn set_seen(&mut self, seen: Option<Value>) {
        self.more_mut().seen = seen;
    }

    pub(crate) fn set_version(&mut self, version: Option<Value>) {
        self.more_mut().version = version;
    }

    fn more_mut(&mut self) -> &mut More {
        self.more.get_or_insert_with(|| Box::new(NO_MORE))
    }
}

/// A list of names, numbered in order of appearance.
#[derive(Clone, Debug, Default)]
pub struct Names {
    names: Vec<Box<str>>,
    /// Most names fit in place and are compared without a look behind a pointer.
    short: FastMap<Short, u32>,
    long: FastMap<Box<str>, u32>,
    /// Names come in runs, and many histories have one key only.
    last: Option<(Short, u32)>,
    /// What all this takes, about.
    bytes: usize,
}

impl Names {
    /// The number of a name, given out at its first appearance.
    pub fn number(&mut self, name: &str) -> u32 {
        if let Some(number) = self.known(name.as_bytes()) {
            return number;
        }
        let number = u32::try_from(self.names.len()).expect("fewer than 2^32 names");
        self.names.push(name.into());
        // A list entry, a table entry and its spare room, two small allocations.
        const NAME_BYTES: usize = 160;
        self.bytes += NAME_BYTES + name.len() * 2;
        match Short::new(name.as_bytes()) {
            Some(short) => self.short.insert(short, number),
            None => self.long.insert(name.into(), number),
        };
        number
    }

    /// The number of a name that has appeared, which need not be checked for being a text again.
    #[inline]
    pub(crate) fn known(&mut self, name: &[u8]) -> Option<u32> {
        let Some(short) = Short::new(name) else { return self.find(std::str::from_utf8(name).ok()?) };
        match self.last {
            Some((last, number)) if last == short => Some(number),
            _ => {
                let number = *self.short.get(&short)?;
                self.last = Some((short, number));
                Some(number)
            }
        }
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The number of a name that has appeared.
    pub fn find(&self, name: &str) -> Option<u32> {
        match Short::new(name.as_bytes()) {
            Some(short) => self.short.get(&short).copied(),
            None => self.long.get(name).copied(),
        }
    }

    /// The name of a number, or `?`.
    pub fn name(&self, number: u32) -> &str {
        self.names.get(number as usize).map_or("?", |name| name)
    }

    /// How many names there are.
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Is there no name yet?
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }
}

/// What one tick of the recorder's clock is; for display only.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Clock {
    /// Nanoseconds.
    Ns,
    /// Microseconds.
    #[default]
    Us,
    /// Milliseconds.
    Ms,
    /// Ticks without a unit, such as positions in a log.
    Ticks,
}

impl Clock {
    /// The name used in files.
    pub fn name(self) -> &'static str {
        match self {
            Clock::Ns => "ns",
            Clock::Us => "us",
            Clock::Ms => "ms",
            Clock::Ticks => "ticks",
        }
    }

    /// The clock of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        [Clock::Ns, Clock::Us, Clock::Ms, Clock::Ticks].into_iter().find(|clock| clock.name() == name)
    }

    /// A time as a reader wants it: `1.640s`, or the bare number of a clock without unit.
    pub fn show(self, time: Time) -> String {
        let digits = match self {
            Clock::Ns => 9,
            Clock::Us => 6,
            Clock::Ms => 3,
            Clock::Ticks => 0,
        };
        match time {
            NEVER => "never".to_string(),
            _ if digits == 0 => format!("{time}"),
            _ => {
                let unit = 10u64.pow(digits);
                let (whole, part) = (time.unsigned_abs() / unit, time.unsigned_abs() % unit);
                let part = format!("{part:0width$}", width = digits as usize);
                let part = part.trim_end_matches('0');
                format!("{}{whole}.{part:0<3}s", if time < 0 { "-" } else { "" })
            }
        }
    }
}

/// Recorded operations, in the order of the record.
#[derive(Clone, Debug, Default)]
pub struct History {
    clock: Clock,
    operations: Vec<Operation>,
    clients: Names,
    keys: Names,
}

impl History {
    /// A history without operations.
    pub fn new() -> Self {
        Self::default()
    }

    /// The clock its times were read from.
    pub fn clock(&self) -> Clock {
        self.clock
    }

    /// Says which clock its times were read from.
    pub fn set_clock(&mut self, clock: Clock) {
        self.clock = clock;
    }

    /// The client of that name.
    pub fn client(&mut self, name: &str) -> ClientId {
        ClientId(self.clients.number(name))
    }

    /// The key of that name.
    pub fn key(&mut self, name: &str) -> KeyId {
        KeyId(self.keys.number(name))
    }

    /// Adds an operation.
    ///
    /// # Panics
    /// If it returns before it was invoked, or its times are outside `TIME_MIN..NEVER`: a recorder that does this is
    /// wrong. Readers of files check first and report the line.
    pub fn push(&mut self, operation: Operation) -> OperationId {
        assert!(operation.invoke <= operation.ret, "an operation cannot return before it was invoked");
        assert!(operation.invoke >= TIME_MIN && operation.invoke < NEVER);
        let id = OperationId::try_from(self.operations.len()).expect("fewer than 2^32 operations");
        self.operations.push(operation);
        id
    }

    /// All operations, in the order of the record.
    pub fn operations(&self) -> &[Operation] {
        &self.operations
    }

    /// One operation.
    pub fn operation(&self, id: OperationId) -> &Operation {
        &self.operations[id as usize]
    }

    /// How many operations there are.
    pub fn len(&self) -> usize {
        self.operations.len()
    }

    /// Is there no operation?
    pub fn is_empty(&self) -> bool {
        self.operations.is_empty()
    }

    /// The keys that occur.
    pub fn keys(&self) -> &Names {
        &self.keys
    }

    /// The clients that occur.
    pub fn clients(&self) -> &Names {
        &self.clients
    }

    /// The name of a key.
    pub fn key_name(&self, key: KeyId) -> &str {
        self.keys.name(key.0)
    }

    /// The name of a client.
    pub fn client_name(&self, client: ClientId) -> &str {
        self.clients.name(client.0)
    }

    /// The operations of each key, in the order of the record.
    pub fn by_key(&self) -> ByKey {
        let mut starts = vec![0usize; self.keys.len() + 1];
        for operation in &self.operations {
            starts[operation.key.0 as usize + 1] += 1;
        }
        for at in 1..starts.len() {
            starts[at] += starts[at - 1];
        }
        let mut next = starts.clone();
        let mut order = vec![0; self.operations.len()];
        for (id, operation) in self.operations.iter().enumerate() {
            let at = &mut next[operation.key.0 as usize];
            order[*at] = id as OperationId;
            *at += 1;
        }
        ByKey { starts, order }
    }

    pub(crate) fn operations_mut(&mut self) -> &mut Vec<Operation> {
        &mut self.operations
    }

    /// A history of some of the operations, with the same clients and keys.
    #[must_use]
    pub fn subset(&self, operations: &[OperationId]) -> History {
        let operations = operations.iter().map(|id| self.operation(*id).clone()).collect();
        History { clock: self.clock, operations, clients: self.clients.clone(), keys: self.keys.clone() }
    }
}

/// The operations of a history, grouped by key.
#[derive(Clone, Debug)]
pub struct ByKey {
    starts: Vec<usize>,
    order: Vec<OperationId>,
}

impl ByKey {
    /// The operations of one key.
    pub fn of(&self, key: KeyId) -> &[OperationId] {
        let key = key.0 as usize;
        &self.order[self.starts[key]..self.starts[key + 1]]
    }

    /// How many keys there are.
    pub fn keys(&self) -> usize {
        self.starts.len() - 1
    }
}
