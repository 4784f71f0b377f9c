//! Everything that can be wrong with bytes that came from a peer.
//!
//! Whatever it is, nothing of the frame was believed, and where the next frame would begin is not known any more: the
//! connection must be closed. A new one begins with a new decoder.

use crate::id::ClusterId;
use core::fmt;

/// Bytes are not what a peer of this cluster and version writes. The connection must be closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameError {
    /// These are not our frames at all: another protocol, or a reader that lost its place.
    BadMagic {
        /// The first bytes, as far as they are there, then zeros.
        theirs: [u8; 4],
    },
    /// The frame has another version of the header.
    Version {
        /// Which.
        theirs: u8,
    },
    /// The frame is well formed, and meant for another cluster.
    OtherCluster {
        /// Which.
        theirs: ClusterId,
    },
    /// The frame is well formed, and of a kind that this build does not know or that has no place here.
    UnexpectedKind {
        /// Its number.
        theirs: u8,
    },
    /// A declared length is above its bound. Nothing was allocated for it.
    TooLong {
        /// What was declared, in bytes.
        declared: u32,
        /// What is allowed, in bytes.
        max: u32,
    },
    /// The checksum does not fit the frame: it was damaged on its way.
    Checksum,
    /// A field of the header or of the message holds what no peer of ours writes.
    Malformed {
        /// Which field.
        field: &'static str,
        /// What is wrong with it.
        fault: Fault,
    },
    /// The frame does not continue its stream: a part is missing, came twice, or belongs to another message.
    BrokenStream {
        /// Which stream.
        stream: u32,
    },
    /// The peer began more long messages at once than are allowed.
    TooManyStreams {
        /// How many are allowed.
        max: u32,
    },
    /// The bytes end before the message does ([`super::decode_whole`] only).
    Truncated {
        /// How many bytes are missing at least.
        missing: usize,
    },
    /// There are bytes behind the message ([`super::decode_whole`] only).
    Trailing {
        /// How many.
        bytes: usize,
    },
}

/// What is wrong with a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It must be there, and is not.
    Absent,
    /// It is there, and must not be.
    Unexpected,
    /// Its number lies outside its range.
    OutOfRange,
    /// Its number names nothing that this build knows.
    UnknownNumber,
    /// Its length is not what is allowed, or not what was declared.
    Length,
    /// It cannot be read at all.
    Unreadable,
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadMagic { theirs } => {
                write!(f, "not a frame of ours: it begins with \"{}\"", theirs.escape_ascii())
            }
            Self::Version { theirs } => {
                write!(f, "the frame has version {theirs}, this build speaks {}", super::frame::VERSION)
            }
            Self::OtherCluster { theirs } => write!(f, "the frame belongs to {theirs}, another cluster"),
            Self::UnexpectedKind { theirs } => write!(f, "a message of kind {theirs} has no place here"),
            Self::TooLong { declared, max } => write!(f, "{declared} bytes were declared, at most {max} are allowed"),
            Self::Checksum => f.write_str("the frame was damaged on its way: its checksum does not fit"),
            Self::Malformed { field, fault } => write!(f, "the field `{field}` {fault}"),
            Self::BrokenStream { stream } => write!(f, "a frame does not continue its stream {stream}"),
            Self::TooManyStreams { max } => write!(f, "more than {max} long messages were begun at once"),
            Self::Truncated { missing } => write!(f, "the message is cut short: at least {missing} bytes are missing"),
            Self::Trailing { bytes } => write!(f, "{bytes} bytes stand behind the end of the message"),
        }
    }
}
impl core::error::Error for FrameError {}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Absent => "is absent",
            Self::Unexpected => "is there and must not be",
            Self::OutOfRange => "is out of range",
            Self::UnknownNumber => "has a number that names nothing",
            Self::Length => "has a length that does not fit",
            Self::Unreadable => "cannot be read",
        })
    }
}
