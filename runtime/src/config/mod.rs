//! What an operator decides about one node: `quorate.toml`, environment and flags, checked.

mod secret;

pub use secret::Secret;
