//! The commands of the real store: a node, its clients, load on it, and a whole cluster on this machine.

pub(crate) mod bench;
mod client;
pub(crate) mod demo;
pub(crate) mod kv;
mod record;
mod resp;
pub(crate) mod serve;
