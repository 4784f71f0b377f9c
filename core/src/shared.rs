//! Something that clones share until one of them changes it.

use alloc::sync::Arc;
use core::fmt;
use core::ops::Deref;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A value that is cheap to clone. Written down, it is written out in full, as if it were not shared.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Shared<T>(Arc<T>);

impl<T> Shared<T> {
    /// Nobody else has it yet.
    pub fn new(value: T) -> Self {
        Self(Arc::new(value))
    }
}

impl<T: Clone> Shared<T> {
    /// To change it: copies it first if a clone still has it, so that no clone ever sees the change.
    pub fn change(&mut self) -> &mut T {
        Arc::make_mut(&mut self.0)
    }
}

impl<T> Deref for Shared<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T: fmt::Debug> fmt::Debug for Shared<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T: Serialize> Serialize for Shared<T> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        (**self).serialize(to)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Shared<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        T::deserialize(from).map(Self::new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clone_sees_no_change_and_the_bytes_are_those_of_the_value() {
        let mut numbers = Shared::new([1u8, 2]);
        let before = numbers.clone();
        numbers.change()[0] = 9;
        assert_eq!((*before, *numbers), ([1, 2], [9, 2]));
        let bytes = postcard::to_allocvec(&numbers).unwrap();
        assert_eq!(bytes, postcard::to_allocvec(&[9u8, 2]).unwrap());
        assert_eq!(postcard::from_bytes::<Shared<[u8; 2]>>(&bytes).unwrap(), numbers);
    }
}
