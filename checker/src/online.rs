//! Judging while it happens: invocations and returns in the order of time, the first illegal return at once.
//!
//! Here are many keys, and what can be said of them so far; how one is judged says `key.rs`. Its memory is that of the
//! calls that are open and of what they may still observe.
//!
//! What it cannot judge: failed compare-and-sets that do not say what they saw. They are counted.

mod key;

use crate::history::{KeyId, Operation, Time};
use crate::value::FastMap;
use crate::{Anomaly, FailedCas, Options, Value, Verdict};
pub(crate) use key::{Answer, Confirmed, OnlineKey, Stop};

/// The caller's number for a call.
pub type CallId = u64;

/// A return that no order explains.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Illegal {
    /// The key.
    pub key: KeyId,
    /// When it returned.
    pub at: Time,
    /// What kind of violation.
    pub anomaly: Anomaly,
    /// The call whose return was illegal.
    pub call: CallId,
    /// Calls that it cannot be ordered with, as far as they are still known.
    pub others: Vec<CallId>,
}

/// What an online judge can say at any moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// Keys on which nothing is claimed, because an answer could have come from several writes.
    pub undecided_keys: usize,
    /// Failed compare-and-sets that said only what the value was not.
    pub unjudged_calls: u64,
    /// Illegal returns so far.
    pub illegal: u64,
    /// Blocks and open calls held in memory now.
    pub held: usize,
}

impl Standing {
    /// Ok only if everything was judged.
    pub fn verdict(&self) -> Verdict {
        if self.illegal > 0 {
            Verdict::Violation
        } else if self.undecided_keys > 0 || self.unjudged_calls > 0 {
            Verdict::Unknown
        } else {
            Verdict::Ok
        }
    }
}

/// Judges many keys online.
#[derive(Clone, Debug)]
pub struct Online {
    init: Value,
    failed_cas: FailedCas,
    keys: FastMap<KeyId, OnlineKey>,
    /// The version under which the initial value is read, where all versions are told.
    init_version: Option<Value>,
    unjudged_calls: u64,
    illegal: u64,
}

impl Online {
    /// A judge that has seen nothing.
    pub fn new(options: &Options) -> Self {
        Online {
            init: options.init.clone(),
            failed_cas: options.failed_cas,
            keys: FastMap::default(),
            init_version: None,
            unjudged_calls: 0,
            illegal: 0,
        }
    }

    /// Versions are told ([`Self::on_version`]) before an answer can carry them, and reads of the initial value carry this
    /// one, in keys that come from now on: no answer is taken for that of a write whose version is not known yet.
    #[must_use]
    pub fn with_versions_told(mut self, init: Value) -> Self {
        self.init_version = Some(init);
        self
    }

    /// A call begins, at `call.invoke`. What it will read is not known yet; what it writes is.
    ///
    /// # Panics
    /// If calls of one key do not come in the order of time, or an open number is used again.
    pub fn on_invoke(&mut self, id: CallId, call: &Operation) {
        let Online { init, init_version, .. } = self;
        let new = || OnlineKey::new(init.clone(), init_version.clone());
        self.keys.entry(call.key).or_insert_with(new).on_invoke(id, call);
    }

    /// The version of a write is known before its answer comes, if one ever does. Of several the first counts; if an
    /// answer with another version was taken for that of this write, the key is undecided.
    pub fn on_version(&mut self, id: CallId, key: KeyId, version: Value) {
        if let Some(key) = self.keys.get_mut(&key) {
            key.on_version(id, version);
        }
    }

    /// A call ends, at `call.ret`, with what it saw. An unknown outcome is reported when it is known to be unknown.
    ///
    /// # Panics
    /// If the call was not invoked, or calls of one key do not come in the order of time.
    pub fn on_return(&mut self, id: CallId, call: &Operation) -> Result<(), Illegal> {
        let key = self.keys.get_mut(&call.key).expect("a call returns after its invocation");
        match key.on_return(id, call, self.failed_cas) {
            Ok(Answer::Judged(_)) => Ok(()),
            Ok(Answer::NotJudged) => {
                self.unjudged_calls += u64::from(!key.undecided);
                Ok(())
            }
            Err(Stop { anomaly, others }) => {
                self.illegal += 1;
                Err(Illegal { key: call.key, at: call.ret, anomaly, call: id, others })
            }
        }
    }

    /// Whether nothing is claimed about this key, because an answer could have come from several writes.
    pub fn is_undecided(&self, key: KeyId) -> bool {
        self.keys.get(&key).is_some_and(|key| key.undecided)
    }

    /// What can be said so far.
    pub fn standing(&self) -> Standing {
        Standing {
            undecided_keys: self.keys.values().filter(|key| key.undecided).count(),
            unjudged_calls: self.unjudged_calls,
            illegal: self.illegal,
            held: self.keys.values().map(OnlineKey::held).sum(),
        }
    }
}
