//! runtime
#[cfg(feature = "store")]
pub mod config;
#[cfg(feature = "store")]
pub mod disk;
#[cfg(feature = "store")]
pub mod metrics;
#[cfg(feature = "store")]
pub mod resp;
#[cfg(feature = "store")]
pub mod peer;
#[cfg(feature = "store")]
pub mod storage;
