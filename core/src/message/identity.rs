//! The words of [`crate::identity`].

use crate::id::{Boot, Incarnation, LogPosition};
use serde::{Deserialize, Serialize};

/// | message     | from         | to           | when                                                          |
/// |-------------|--------------|--------------|---------------------------------------------------------------|
/// | `Introduce` | a new boot   | every member | its boot counter is durable; again until accepted             |
/// | `Known`     | a member     | the new boot | it accepts that life and boot, and remembers the life durably |
/// | `Refused`   | a member     | the new boot | it knows better: the speaker must stay out                    |
/// | `Stranger`  | a member     | a speaker    | a message came from a boot that was never introduced          |
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum IdentityMessage {
    /// "This is me." The incarnation and boot stand in the message's sender.
    Introduce {
        /// Drawn at each boot, so that two processes with one identity are told apart.
        nonce: u64,
        /// How much of its log this boot recovered. Less than a peer has heard of means lost state.
        recovered: LogPosition,
        /// Hash of the founding record: members and keyspaces must be equal on all nodes.
        founding: u64,
    },
    /// "I accept you."
    Known {
        /// The boot that is accepted.
        boot: Boot,
        /// The nonce it introduced itself with.
        nonce: u64,
    },
    /// "I do not, and you must stay out."
    Refused {
        /// The boot that is refused.
        boot: Boot,
        /// The nonce it introduced itself with: a refusal of another boot is not for us.
        nonce: u64,
        /// Why.
        reason: IdentityRefusal,
    },
    /// "Who are you?" The message that led here was dropped.
    Stranger {
        /// The boot that spoke.
        boot: Boot,
    },
}

/// Why a node is not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum IdentityRefusal {
    /// The member is known under another life: this one was founded anew after its disk was lost.
    OtherIncarnation {
        /// The life that is known.
        known: Incarnation,
    },
    /// Two boots claim the same number: the data directory was copied, or an old copy restored.
    SeenTwice,
    /// It recovered less than it had said to be durable: acknowledged state is lost.
    StateLost {
        /// What it had said to be durable.
        heard: LogPosition,
    },
    /// Its members or keyspaces differ from ours.
    OtherFounding,
}
