//! What nodes say to each other: one enum per protocol, below the protocols on purpose.
//!
//! Every message carries who sends it (incarnation, boot and how much of its log is durable), the sender's hybrid
//! clock, and the epoch it was decided under. How it looks as bytes is the business of [`crate::wire`].

mod identity;
mod replica;

pub use identity::{IdentityMessage, IdentityRefusal};
pub use replica::{Found, Refusal, ReplicaReply, ReplicaRequest, StampRule, Wanted};

use crate::id::{Boot, Epoch, Incarnation, LogPosition};
use crate::version::Hlc;
use serde::{Deserialize, Serialize};

/// One message between two nodes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// Which life of which boot speaks.
    pub sender: Sender,
    /// The sender's hybrid clock when it spoke.
    pub clock: Hlc,
    /// The epoch under which the sender decided to speak.
    pub epoch: Epoch,
    /// What it says.
    pub body: Body,
}

/// Which life of a node sent a message; the node's number comes with the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sender {
    /// The life.
    pub incarnation: Incarnation,
    /// How often that life has started.
    pub boot: Boot,
    /// Up to where its log is durable. A node that comes back with less has lost acknowledged state.
    pub position: LogPosition,
}

/// The protocols that talk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Body {
    /// Who is who: see [`IdentityMessage`].
    Identity(IdentityMessage),
    /// A coordinator asks a home.
    Replica(ReplicaRequest),
    /// A home answers a coordinator.
    ReplicaReply(ReplicaReply),
}

impl Body {
    /// A short name for logs and traces.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Identity(IdentityMessage::Introduce { .. }) => "Introduce",
            Self::Identity(IdentityMessage::Known { .. }) => "Known",
            Self::Identity(IdentityMessage::Refused { .. }) => "Refused",
            Self::Identity(IdentityMessage::Stranger { .. }) => "Stranger",
            Self::Replica(ReplicaRequest::Query { .. }) => "Query",
            Self::Replica(ReplicaRequest::Store { .. }) => "Store",
            Self::ReplicaReply(ReplicaReply::Found { .. }) => "Found",
            Self::ReplicaReply(ReplicaReply::Stored { .. }) => "Stored",
            Self::ReplicaReply(ReplicaReply::Refused { .. }) => "Refusal",
        }
    }
}
