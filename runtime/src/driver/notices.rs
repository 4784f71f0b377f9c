//! What the node says about itself, for the log, the metrics and the door.

use quorate_core::Standing;
use quorate_core::effect::{BlankReason, Notice, PhaseKind};
use quorate_core::id::NodeId;
use quorate_core::time::{Duration, Instant, Now};
use std::collections::BTreeMap;
use tracing::{error, info, warn};

use crate::metrics::NodeState;
use crate::resp::{Door, Figures};

/// Clock refusals of one peer are logged this often at most.
const CLOCK_NOTE_INTERVAL: Duration = Duration::from_secs(10);

/// Remembers what was said already, so that the log says things once.
#[derive(Debug, Default)]
pub(super) struct Told {
    clocks: BTreeMap<NodeId, Instant>,
    state: Option<NodeState>,
}

impl Told {
    pub(super) fn notice(&mut self, notice: Notice, now: Now, door: &Door) {
        match notice {
            Notice::Ready => {
                info!(ev = "node.ready", "every member that answers knows this node; it counts");
                self.state(NodeState::Ready, door);
                door.set_figures(Figures { is_ready: true, ..door.figures() });
            }
            Notice::Blank(reason) => {
                let why = why_blank(reason);
                error!(ev = "node.blank", "this node stays out: {why}");
                self.state(NodeState::Blank, door);
                door.metrics.set_why_blank(why);
                door.set_figures(Figures { is_ready: false, ..door.figures() });
            }
            Notice::PeerRefused { peer, reason } => {
                warn!(ev = "peer.refused", peer = %peer, ?reason, "a peer's identity is refused; it must stay out");
            }
            Notice::ClockRefused { peer, by_micros } => {
                let due = self.clocks.get(&peer).is_none_or(|&last| now.monotonic >= last + CLOCK_NOTE_INTERVAL);
                if due {
                    self.clocks.insert(peer, now.monotonic);
                    let ahead_ms = by_micros / 1_000;
                    warn!(ev = "clock.skew", peer = %peer, ahead_ms, "a clock runs too far ahead and is not followed");
                }
            }
            Notice::PhaseDone { phase: PhaseKind::WriteBack, .. } => {
                door.metrics.read_repairs.inc();
            }
            // For oracles.
            Notice::PhaseDone { phase: PhaseKind::Query | PhaseKind::Store, .. }
            | Notice::Chosen { .. }
            | Notice::Mark(_) => {}
        }
    }

    pub(super) fn standing(&mut self, standing: Standing, door: &Door) {
        let state = match standing {
            Standing::Member => NodeState::Ready,
            Standing::Starting | Standing::Founding => NodeState::Starting,
            Standing::Blank(_) => NodeState::Blank,
        };
        self.state(state, door);
    }

    fn state(&mut self, state: NodeState, door: &Door) {
        if self.state != Some(state) {
            self.state = Some(state);
            door.metrics.set_node_state(state);
        }
    }
}

/// Why a node counts for nothing, and what an operator can do.
pub(crate) fn why_blank(reason: BlankReason) -> String {
    match reason {
        BlankReason::NoIdentity => "its data directory holds no identity. To found a new cluster, start every member \
             with an empty data directory and --set cluster.bootstrap=true; to bring back a member of a running cluster, \
             restore its data directory"
            .to_owned(),
        BlankReason::Refused { by, reason } => {
            use quorate_core::message::IdentityRefusal as Refusal;
            let why = match reason {
                Refusal::OtherIncarnation { .. } => {
                    "it knows this member as another life: this one was founded anew after its data was lost. Restore \
                     the old data directory, or leave this member down"
                }
                Refusal::SeenTwice => {
                    "two processes claim this identity: the data directory was copied, or an old copy was restored. \
                     Stop one of them"
                }
                Refusal::StateLost { .. } => {
                    "this node recovered less than it had acknowledged: its disk lost state, or an old copy was \
                     restored. Restore the newest data directory, or leave this member down"
                }
                Refusal::OtherFounding => "members or keyspaces differ from this node's: check both configurations",
            };
            format!("{by} refuses it: {why}")
        }
    }
}
