//! What an operator decides about one node: `quorate.toml`, environment and flags, checked.
//!
//! ```text
//! file, environment, flags -> load (values with origins) -> check (what a node runs on)
//! ```
//!
//! [`Config::load`] knows single keys and refuses those it does not know. [`Config::check`] knows what ties them
//! together. Both report everything that is wrong at once, each line with the key and what would be right. The keys stand
//! in one table (`keys.rs`), from which the printed and the example file follow.

mod check;
mod keys;
mod load;
mod print;
mod secret;
mod value;

pub use check::{Checked, Log, Storage};
pub use keys::Sections;
pub use load::{Config, KeyspaceEntry, MemberEntry, Origin, Problems};
pub use secret::Secret;
pub use value::{Size, Span};

#[cfg(test)]
mod tests;
