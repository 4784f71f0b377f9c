//! Versions: the names and the order of writes.
//!
//! Every write event has a [`Dot`], the name that no other event will ever have, and a [`Version`], the place it takes
//! in its key's order. The order is hybrid time first, then the dot, so it is total and equal on every node. `lww`
//! keyspaces and the linearizable register use the same order; they differ only in how a coordinator chooses a version.
//!
//! Source: Kulkarni et al., *Logical Physical Clocks* (OPODIS 2014), for the stamp; Preguica et al., *Dotted Version
//! Vectors* (2010), for the dot.

mod hlc;
mod record;

pub(crate) use hlc::judge as judge_stamp;
pub use hlc::{ClockAhead, Hlc, HybridClock};
pub use record::{Content, Record};

use crate::id::{Incarnation, NodeId};
use core::fmt;
use core::str::FromStr;
use serde::{Deserialize, Serialize};

/// One life of one member: whoever creates write events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Actor {
    /// Which member.
    pub node: NodeId,
    /// Which of its lives.
    pub incarnation: Incarnation,
}

/// The name of one write event: never used twice (invariant A1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Dot {
    /// Who created the event.
    pub actor: Actor,
    /// Which of its events; leased in durable blocks, so that a restart never repeats one.
    pub sequence: u64,
}

/// Where a write stands in its key's order. Also the *tag* of the linearizable register.
///
/// ```
/// use quorate_core::version::Version;
/// let version: Version = "17.n2.i9.4".parse().unwrap();
/// assert_eq!(version.to_string(), "17.n2.i9.4");
/// assert!(version > Version::ABSENT);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Version {
    /// Hybrid time of the write.
    pub hlc: Hlc,
    /// The write's name, which breaks ties.
    pub dot: Dot,
}

impl Version {
    /// What a home reports for a key it has never seen: below every version that a write can have.
    pub const ABSENT: Self = Self {
        hlc: Hlc::ZERO,
        dot: Dot { actor: Actor { node: NodeId(0), incarnation: Incarnation(0) }, sequence: 0 },
    };

    /// Whether this is [`Self::ABSENT`].
    pub fn is_absent(&self) -> bool {
        *self == Self::ABSENT
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { hlc, dot: Dot { actor, sequence } } = self;
        write!(f, "{}.{}.{}.{sequence}", hlc.as_ticks(), actor.node, actor.incarnation)
    }
}

/// A text is not a version as [`Version`]'s `Display` writes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotAVersion;

impl fmt::Display for NotAVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a version: expected HLC.nNODE.iINCARNATION.SEQUENCE")
    }
}
impl core::error::Error for NotAVersion {}

impl FromStr for Version {
    type Err = NotAVersion;
    fn from_str(text: &str) -> Result<Self, NotAVersion> {
        let mut parts = text.split('.');
        let mut part = |prefix: &str| -> Result<u64, NotAVersion> {
            let digits = parts.next().and_then(|part| part.strip_prefix(prefix)).ok_or(NotAVersion)?;
            digits.parse().map_err(|_| NotAVersion)
        };
        let hlc = Hlc::from_ticks(part("")?).ok_or(NotAVersion)?;
        let node = NodeId(u32::try_from(part("n")?).map_err(|_| NotAVersion)?);
        let incarnation = Incarnation(part("i")?);
        let sequence = part("")?;
        if parts.next().is_some() {
            return Err(NotAVersion);
        }
        Ok(Self { hlc, dot: Dot { actor: Actor { node, incarnation }, sequence } })
    }
}
