//! The hello: the first frame of a connection, in both directions. Only the TCP runtime uses it.
//!
//! Two strangers meet on a line and each says: which cluster, who I am, whom I take you for, and how that cluster was
//! founded. Each judges what the other said by itself ([`Hello::accept`]). The side that was called answers with its
//! own hello *before* it hangs up, so that both logs can name what does not fit.
//!
//! The hello proves nothing: where that matters, TLS does, and the runtime compares the certificate with
//! [`Hello::from`]. Life and boot are absent on purpose, since every message carries them.
//!
//! State: none. A hello takes at most [`HELLO_BYTES_MAX`] bytes, so a caller that nobody knows yet costs no more.

use super::convert::{Meta, read_alone};
use super::error::FrameError;
use super::frame::{HEADER_BYTES, Header, Kind, cut};
use super::structs as meta;
use crate::config::Founding;
use crate::id::{ClusterId, NodeId};
use bytes::{Buf, Bytes, BytesMut};
use core::fmt;

/// The longest hello without its header; ours takes 19 to 33 bytes, the rest is room for fields of later versions.
const HELLO_BYTES_MAX: usize = 256;

/// What each side of a new connection says first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hello {
    /// The speaker's cluster.
    pub cluster: ClusterId,
    /// The speaker.
    pub from: NodeId,
    /// Whom the speaker takes the other side for.
    pub to: NodeId,
    /// [`Founding::fingerprint`] of the speaker's founding record: members and keyspaces must be equal on all nodes.
    pub founding: u64,
}

/// The other side said a hello, and we cannot work with it. The connection must be closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HelloError {
    /// It belongs to another cluster.
    OtherCluster {
        /// Ours.
        ours: ClusterId,
        /// Theirs.
        theirs: ClusterId,
    },
    /// Same cluster id, but members or keyspaces differ from ours.
    OtherFounding {
        /// Our fingerprint.
        ours: u64,
        /// Theirs.
        theirs: u64,
    },
    /// It takes us for somebody else: an address in the configuration is wrong.
    NotForUs {
        /// Us.
        ours: NodeId,
        /// Whom it wanted.
        wanted: NodeId,
    },
    /// It is not the node that we called: an address in the configuration is wrong.
    WrongNode {
        /// Whom we called.
        called: NodeId,
        /// Who answered.
        answered: NodeId,
    },
    /// It claims a number that no other member of the cluster has.
    NotAMember {
        /// Which.
        theirs: NodeId,
    },
}

impl Hello {
    /// What `from` says first to whom it takes for `to`.
    pub fn new(founding: &Founding, from: NodeId, to: NodeId) -> Self {
        Self { cluster: founding.cluster(), from, to, founding: founding.fingerprint() }
    }

    /// The hello as bytes: one frame.
    pub fn encode(&self) -> Bytes {
        let meta = meta::Hello { from: self.from.0, to: self.to.0, founding: self.founding };
        cut(self.cluster, 0, &Meta::Hello(meta), Bytes::new()).into_bytes()
    }

    /// Takes a hello from the front of `input`; `None` when more bytes are needed. What follows it is left for a
    /// [`super::Decoder`].
    ///
    /// # Errors
    /// [`FrameError`]: what came first is no hello. The connection must be closed.
    pub fn take(input: &mut BytesMut) -> Result<Option<Self>, FrameError> {
        let Some(header) = Header::read(input, HELLO_BYTES_MAX)? else { return Ok(None) };
        let Some(frame) = input.get(..header.frame_bytes()) else { return Ok(None) };
        let kind = header.verify(frame)?;
        if kind != Kind::Hello {
            return Err(FrameError::UnexpectedKind { theirs: kind as u8 });
        }
        let mut payload = input.split_to(header.frame_bytes()).freeze();
        payload.advance(HEADER_BYTES);
        let meta::Hello { from, to, founding } = read_alone(header.meta_bytes, payload)?;
        Ok(Some(Self { cluster: header.cluster(), from: NodeId(from), to: NodeId(to), founding }))
    }

    /// Judges what the other side said, and returns who it is. `called` is whom we called, or `None` where the other
    /// side called us.
    ///
    /// # Errors
    /// [`HelloError`] names what does not fit; the connection must be closed.
    pub fn accept(&self, founding: &Founding, me: NodeId, called: Option<NodeId>) -> Result<NodeId, HelloError> {
        if self.cluster != founding.cluster() {
            return Err(HelloError::OtherCluster { ours: founding.cluster(), theirs: self.cluster });
        }
        if self.founding != founding.fingerprint() {
            return Err(HelloError::OtherFounding { ours: founding.fingerprint(), theirs: self.founding });
        }
        if self.to != me {
            return Err(HelloError::NotForUs { ours: me, wanted: self.to });
        }
        if let Some(called) = called
            && self.from != called
        {
            return Err(HelloError::WrongNode { called, answered: self.from });
        }
        if self.from == me || !founding.members().iter().any(|member| member.id == self.from) {
            return Err(HelloError::NotAMember { theirs: self.from });
        }
        Ok(self.from)
    }
}

impl fmt::Display for HelloError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OtherCluster { ours, theirs } => write!(f, "the peer belongs to {theirs}, this node to {ours}"),
            Self::OtherFounding { ours, theirs } => write!(
                f,
                "the peer was founded otherwise ({theirs:016x}) than this node ({ours:016x}): members or keyspaces differ"
            ),
            Self::NotForUs { ours, wanted } => {
                write!(f, "the peer takes this node for {wanted}, but it is {ours}: check the addresses")
            }
            Self::WrongNode { called, answered } => {
                write!(f, "{answered} answered where {called} was called: check the addresses")
            }
            Self::NotAMember { theirs } => write!(f, "the peer says it is {theirs}, which no other member is"),
        }
    }
}
impl core::error::Error for HelloError {}
