//! Kinds of faults: what sweeps count, what `--faults` names, and which of them a fault is.
//!
//! A few kinds are no records of a schedule: a clock may be wrong from the beginning, and clients have habits.

use crate::Fault;
use serde::{Deserialize, Serialize};

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident = $text:literal),* $(,)?) => {
        /// Kinds of faults, as sweeps count them and `--faults` names them.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "kebab-case")]
        pub enum FaultKind { $($(#[$doc])* $name,)* }

        impl FaultKind {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The word used in files and on the command line.
            pub fn name(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }
    };
}

kinds! {
    /// See [`Fault::Partition`].
    Partition = "partition",
    /// See [`Fault::OneWay`].
    OneWay = "one-way",
    /// See [`Fault::Ring`].
    Ring = "ring",
    /// See [`Fault::Flap`].
    Flap = "flap",
    /// See [`Fault::Filter`].
    Filter = "filter",
    /// See [`Fault::Loss`].
    Loss = "loss",
    /// See [`Fault::Duplicate`].
    Duplicate = "duplicate",
    /// See [`Fault::Replay`].
    Replay = "replay",
    /// See [`Fault::Corrupt`].
    Corrupt = "corrupt",
    /// See [`Fault::SlowLink`].
    SlowLink = "slow-link",
    /// See [`Fault::Crash`].
    Crash = "crash",
    /// See [`Fault::PowerLoss`].
    PowerLoss = "power-loss",
    /// See [`Fault::Pause`].
    Pause = "pause",
    /// See [`Fault::SyncFails`].
    SyncFails = "sync-fails",
    /// See [`Fault::WriteFails`].
    WriteFails = "write-fails",
    /// See [`Fault::DiskFull`].
    DiskFull = "disk-full",
    /// See [`Fault::SlowDisk`].
    SlowDisk = "slow-disk",
    /// See [`Fault::Rot`].
    Rot = "rot",
    /// See [`Fault::Misdirect`].
    Misdirect = "misdirect",
    /// See [`Fault::Wipe`].
    Wipe = "wipe",
    /// See [`Fault::Restore`].
    Restore = "restore",
    /// See [`Fault::Lying`].
    Lying = "lying",
    /// See [`Fault::ClockStep`].
    ClockStep = "clock-step",
    /// See [`Fault::ClockFreeze`].
    ClockFreeze = "clock-freeze",
    /// See [`Fault::ClockDrift`].
    ClockDrift = "clock-drift",
    /// A clock that is wrong from the beginning: [`crate::ClockPlan`].
    ClockSkew = "clock-skew",
    /// A client that goes away: [`crate::Op::gone`].
    ClientGone = "client-gone",
    /// A client that asks again: [`crate::Op::retry`].
    ClientRetry = "client-retry",
    /// See [`Fault::RackCut`].
    RackCut = "rack-cut",
    /// See [`Fault::RegionCut`].
    RegionCut = "region-cut",
    /// See [`Fault::HomesCut`].
    HomesCut = "homes-cut",
    /// See [`Fault::Throttle`].
    Throttle = "throttle",
    /// See [`Fault::LargeLost`].
    LargeLost = "large-lost",
    /// See [`Fault::Reset`].
    Reset = "reset",
    /// See [`Fault::SlowNode`].
    SlowNode = "slow-node",
    /// See [`Fault::ReadFails`].
    ReadFails = "read-fails",
    /// See [`Fault::CreateFails`].
    CreateFails = "create-fails",
    /// See [`Fault::Truncate`].
    Truncate = "truncate",
    /// A client that presents a version which nobody has given it: [`crate::Op::forged`].
    ClientForged = "client-forged",
}

impl FaultKind {
    /// The kind of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|kind| kind.name() == name)
    }
}

impl Fault {
    /// Its kind.
    pub fn kind(&self) -> FaultKind {
        match self {
            Self::Partition { .. } => FaultKind::Partition,
            Self::OneWay { .. } => FaultKind::OneWay,
            Self::Ring { .. } => FaultKind::Ring,
            Self::Flap { .. } => FaultKind::Flap,
            Self::Filter { .. } => FaultKind::Filter,
            Self::Loss { .. } => FaultKind::Loss,
            Self::Duplicate { .. } => FaultKind::Duplicate,
            Self::Replay { .. } => FaultKind::Replay,
            Self::Corrupt { .. } => FaultKind::Corrupt,
            Self::SlowLink { .. } => FaultKind::SlowLink,
            Self::Crash { .. } => FaultKind::Crash,
            Self::PowerLoss { .. } => FaultKind::PowerLoss,
            Self::Pause { .. } => FaultKind::Pause,
            Self::SyncFails { .. } => FaultKind::SyncFails,
            Self::WriteFails { .. } => FaultKind::WriteFails,
            Self::DiskFull { .. } => FaultKind::DiskFull,
            Self::SlowDisk { .. } => FaultKind::SlowDisk,
            Self::Rot { .. } => FaultKind::Rot,
            Self::Misdirect { .. } => FaultKind::Misdirect,
            Self::Wipe { .. } => FaultKind::Wipe,
            Self::Restore { .. } => FaultKind::Restore,
            Self::Lying { .. } => FaultKind::Lying,
            Self::ClockStep { .. } => FaultKind::ClockStep,
            Self::ClockFreeze { .. } => FaultKind::ClockFreeze,
            Self::ClockDrift { .. } => FaultKind::ClockDrift,
            Self::RackCut { .. } => FaultKind::RackCut,
            Self::RegionCut { .. } => FaultKind::RegionCut,
            Self::HomesCut { .. } => FaultKind::HomesCut,
            Self::Throttle { .. } => FaultKind::Throttle,
            Self::LargeLost { .. } => FaultKind::LargeLost,
            Self::Reset { .. } => FaultKind::Reset,
            Self::SlowNode { .. } => FaultKind::SlowNode,
            Self::ReadFails { .. } => FaultKind::ReadFails,
            Self::CreateFails { .. } => FaultKind::CreateFails,
            Self::Truncate { .. } => FaultKind::Truncate,
        }
    }
}
