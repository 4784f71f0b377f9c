//! Models: what an object answers, for the search.
//!
//! A model numbers its states and the distinct calls of one history, and says what a call does to a state. Numbers
//! instead of values keep the engines small and make equal states equal words.

pub(crate) mod counter;
pub(crate) mod kv;
pub(crate) mod queue;
pub(crate) mod register;
pub(crate) mod set;

use crate::Value;
use crate::cluster::{Rules, interval};
use crate::history::{History, Kind, OperationId, Outcome};
use crate::search::Call;
use crate::value::FastMap;

/// Which object a key is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum ModelKind {
    /// Whatever the calls on the key suggest.
    #[default]
    Auto,
    /// Reads, writes, deletes and compare-and-sets.
    Register,
    /// A register that can also be appended to.
    Kv,
    /// Elements are added and removed; a read returns all of them.
    Set,
    /// Numbers are added; a read returns the sum.
    Counter,
    /// First in, first out.
    Queue,
}

impl ModelKind {
    /// The name used on the command line and in output.
    pub fn name(self) -> &'static str {
        match self {
            ModelKind::Auto => "auto",
            ModelKind::Register => "register",
            ModelKind::Kv => "kv",
            ModelKind::Set => "set",
            ModelKind::Counter => "counter",
            ModelKind::Queue => "queue",
        }
    }

    /// The model of that name; `cas` is a register.
    pub fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "auto" => ModelKind::Auto,
            "register" | "cas" => ModelKind::Register,
            "kv" => ModelKind::Kv,
            "set" => ModelKind::Set,
            "counter" => ModelKind::Counter,
            "queue" => ModelKind::Queue,
            _ => return None,
        })
    }

    /// What the calls on one key suggest.
    pub(crate) fn suggested(history: &History, ids: &[OperationId]) -> Self {
        // One bit a kind: which kind comes next cannot be foreseen, and a wrong guess costs more than all the rest.
        let bit = |kind: Kind| 1u32 << kind as u32;
        let operations = || ids.iter().map(|id| history.operation(*id));
        let kinds = operations().fold(0, |kinds, operation| kinds | bit(operation.kind));
        let any = |wanted: &[Kind]| wanted.iter().any(|kind| kinds & bit(*kind) != 0);
        let lists = || operations().any(|call| call.kind == Kind::Read && matches!(call.value, Value::List(_)));
        if any(&[Kind::Append]) {
            ModelKind::Kv
        } else if any(&[Kind::Enqueue, Kind::Dequeue]) {
            ModelKind::Queue
        } else if any(&[Kind::Remove]) || any(&[Kind::Add]) && lists() {
            ModelKind::Set
        } else if any(&[Kind::Add]) {
            ModelKind::Counter
        } else {
            ModelKind::Register
        }
    }
}

/// An object with numbered states.
pub(crate) trait Model: Clone + Send {
    /// The state before the first call.
    fn initial(&mut self) -> u32;

    /// The state after a call, or `None` if the object would have answered otherwise.
    fn step(&mut self, state: u32, op: u32) -> Option<u32>;

    /// Does this call hide all that was before?
    fn hides(&self, op: u32) -> bool;

    /// Does every call that changes the state hide all that was before?
    fn always_hides(&self) -> bool;

    /// Is no answer legal any more until some call hides this state?
    fn is_lost(&self, state: u32) -> bool;

    /// Bytes held by tables that grow during the search.
    fn bytes(&self) -> usize;
}

/// Any of the models.
#[derive(Clone, Debug)]
pub(crate) enum AnyModel {
    Register(register::Register),
    Kv(kv::Kv),
    Set(set::Set),
    Counter(counter::Counter),
    Queue(queue::Queue),
}

macro_rules! each {
    ($self:expr, $model:ident => $call:expr) => {
        match $self {
            AnyModel::Register($model) => $call,
            AnyModel::Kv($model) => $call,
            AnyModel::Set($model) => $call,
            AnyModel::Counter($model) => $call,
            AnyModel::Queue($model) => $call,
        }
    };
}

impl Model for AnyModel {
    fn initial(&mut self) -> u32 {
        each!(self, model => model.initial())
    }

    fn step(&mut self, state: u32, op: u32) -> Option<u32> {
        each!(self, model => model.step(state, op))
    }

    fn hides(&self, op: u32) -> bool {
        each!(self, model => model.hides(op))
    }

    fn always_hides(&self) -> bool {
        each!(self, model => model.always_hides())
    }

    fn is_lost(&self, state: u32) -> bool {
        each!(self, model => model.is_lost(state))
    }

    fn bytes(&self) -> usize {
        each!(self, model => model.bytes())
    }
}

/// The model and the calls of one key.
pub(crate) fn compile(
    history: &History,
    ids: &[OperationId],
    rules: &Rules,
    kind: ModelKind,
) -> Result<(AnyModel, Vec<Call>), OperationId> {
    let kind = if kind == ModelKind::Auto { ModelKind::suggested(history, ids) } else { kind };
    Ok(match kind {
        ModelKind::Auto | ModelKind::Register => {
            let (model, calls) = register::compile(history, ids, rules)?;
            (AnyModel::Register(model), calls)
        }
        ModelKind::Kv => {
            let (model, calls) = kv::compile(history, ids, rules)?;
            (AnyModel::Kv(model), calls)
        }
        ModelKind::Set => {
            let (model, calls) = set::compile(history, ids, rules)?;
            (AnyModel::Set(model), calls)
        }
        ModelKind::Counter => {
            let (model, calls) = counter::compile(history, ids, rules)?;
            (AnyModel::Counter(model), calls)
        }
        ModelKind::Queue => {
            let (model, calls) = queue::compile(history, ids, rules)?;
            (AnyModel::Queue(model), calls)
        }
    })
}

/// Numbers distinct calls and lists the operations that make them.
pub(crate) struct Calls<Op> {
    pub(crate) ops: Vec<Op>,
    known: FastMap<Op, u32>,
    calls: Vec<Call>,
}

impl<Op: Clone + Eq + std::hash::Hash> Calls<Op> {
    pub(crate) fn new() -> Self {
        Calls { ops: Vec::new(), known: FastMap::default(), calls: Vec::new() }
    }

    pub(crate) fn push(&mut self, history: &History, id: OperationId, op: Op, pure: bool) {
        let (start, end) = interval(history, id);
        let optional = history.operation(id).outcome == Outcome::Unknown;
        let op = *self.known.entry(op.clone()).or_insert_with(|| {
            self.ops.push(op);
            self.ops.len() as u32 - 1
        });
        // A call that changes nothing and that nobody knows to have happened constrains nothing.
        if !(optional && pure) {
            let observes = matches!(history.operation(id).kind, Kind::Read | Kind::Cas | Kind::Dequeue);
            self.calls.push(Call { id, start, end, optional, pure, observes, op });
        }
    }

    pub(crate) fn finish(self) -> (Vec<Op>, Vec<Call>) {
        (self.ops, self.calls)
    }
}

/// Numbers states that are too large to be numbers themselves.
#[derive(Clone, Debug)]
pub(crate) struct States<S> {
    all: Vec<S>,
    by_state: FastMap<S, u32>,
    bytes: usize,
}

impl<S: Clone + Eq + std::hash::Hash> States<S> {
    pub(crate) fn new() -> Self {
        States { all: Vec::new(), by_state: FastMap::default(), bytes: 0 }
    }

    /// The number of a state that takes this many bytes.
    pub(crate) fn number(&mut self, state: S, bytes: usize) -> u32 {
        if let Some(number) = self.by_state.get(&state) {
            return *number;
        }
        let number = self.all.len() as u32;
        self.all.push(state.clone());
        self.by_state.insert(state, number);
        self.bytes += 2 * (bytes + std::mem::size_of::<S>()) + 16;
        number
    }

    pub(crate) fn get(&self, number: u32) -> &S {
        &self.all[number as usize]
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }
}
