//! Plans inside snapshots, as the text that traces use: their optional fields are left out when they are not there, which
//! only a format that names its fields can read back.

use serde::de::{DeserializeOwned, Error as _};
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::sync::Arc;

pub(crate) fn serialize<T: Serialize, S: Serializer>(value: &Arc<T>, to: S) -> Result<S::Ok, S::Error> {
    serde_json::to_string(&**value).map_err(S::Error::custom)?.serialize(to)
}

pub(crate) fn deserialize<'de, T: DeserializeOwned, D: Deserializer<'de>>(from: D) -> Result<Arc<T>, D::Error> {
    serde_json::from_str(&String::deserialize(from)?).map(Arc::new).map_err(D::Error::custom)
}
