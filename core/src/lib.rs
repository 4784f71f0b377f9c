//! The protocol core of Quorate: a node is a function from inputs to effects.
//!
//! Five sentences carry the whole house:
//!
//! 1. **A node is a function**: [`Node::handle`] is the only way to change a node, so a run is a list of inputs.
//! 2. **Data flows one way**: input, node, one protocol, effects, host, and later an input again.
//! 3. **Hosts are thin and replaceable**: a simulator and a TCP runtime both deliver inputs, carry out effects and wake
//!    the node at [`Node::next_deadline`].
//! 4. **Everything that decides is in the node's state**: clock readings come in, the random generator is a field, the
//!    ends of storage operations come in. A node is `Clone + Serialize`; a snapshot plus inputs replays exactly.
//! 5. **What is acknowledged is durable**: storage ends are inputs, so a crash can come between "asked" and "durable".
//!
//! Layers; a file imports only from rows above its own:
//!
//! ```text
//! vocabulary   shared  id  time  config  version/  durable
//! calculation  placement  quorum  reach: marks of rare branches
//! speech       message/  timers  input  effect            wire/: messages as bytes
//! stage        stamps  context
//! protocols    identity  replica  coordinator/
//! node         node: the only file that imports protocols
//! storage      wal/: the log over `trait Disk`;  store: log, then tree. Used by hosts, not by protocols.
//! ```
//!
//! Read [`node`] first, then `coordinator/mod.rs`.
#![no_std]
extern crate alloc;

pub mod config;
mod context;
mod coordinator;
pub mod durable;
pub mod effect;
pub mod id;
mod identity;
pub mod input;
pub mod message;
pub mod node;
pub mod placement;
pub mod quorum;
pub mod reach;
mod replica;
pub mod shared;
mod stamps;
pub mod store;
pub mod time;
pub mod timers;
pub mod version;
pub mod wal;
pub mod wire;

pub use effect::{Effect, Effects};
pub use identity::Standing;
pub use input::Input;
pub use node::Node;
