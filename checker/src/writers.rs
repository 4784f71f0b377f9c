//! From values to the writes that wrote them.
//!
//! A million values do not fit into a cache, so a look-up costs what it touches. Here that is one slot of eight bytes,
//! half of it a piece of the hash: the value itself is only looked at, in its operation, where that piece agrees. An
//! answer mostly shows a recent write, whose slot and operation are still at hand.

use std::hash::{BuildHasher, BuildHasherDefault};

use crate::Value;
use crate::value::Folded;

/// Numbers of writes by their value. It never grows: how many there will be is known.
#[derive(Debug)]
pub(crate) struct Writers {
    /// The upper half of the hash and one more than the number, or 0 where nothing is.
    slots: Vec<u64>,
}

impl Writers {
    /// Room for so many writes, at most half of the slots.
    pub(crate) fn with_capacity(writes: usize) -> Self {
        Writers { slots: vec![0; (writes * 2).next_power_of_two().max(2)] }
    }

    /// The number of the write of this value; if there is none, this number becomes it.
    pub(crate) fn find_or_insert<'v>(
        &mut self,
        value: &Value,
        number: u32,
        value_of: impl Fn(u32) -> &'v Value,
    ) -> Option<u32> {
        match self.slot(value, value_of) {
            Ok(found) => Some(found),
            Err((slot, tag)) => {
                self.slots[slot] = tag | (u64::from(number) + 1);
                None
            }
        }
    }

    /// The number of the write of this value.
    pub(crate) fn find<'v>(&self, value: &Value, value_of: impl Fn(u32) -> &'v Value) -> Option<u32> {
        self.slot(value, value_of).ok()
    }

    /// The number under this value, or the empty slot that it would get, and the half of the hash to put there.
    #[inline]
    fn slot<'v>(&self, value: &Value, value_of: impl Fn(u32) -> &'v Value) -> Result<u32, (usize, u64)> {
        const TAG: u64 = 0xffff_ffff << 32;
        let hash = BuildHasherDefault::<Folded>::default().hash_one(value);
        let mask = self.slots.len() - 1;
        let mut at = hash as usize & mask;
        loop {
            let slot = self.slots[at];
            if slot == 0 {
                return Err((at, hash & TAG));
            }
            let number = (slot as u32).wrapping_sub(1);
            if (slot ^ hash) & TAG == 0 && value_of(number) == value {
                return Ok(number);
            }
            at = (at + 1) & mask;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_value_keeps_the_number_it_got_first() {
        let values: Vec<Value> =
            (0..3_000).map(|n| if n % 2 == 0 { n.into() } else { Value::text(&format!("v{n}")) }).collect();
        let value_of = |number: u32| &values[number as usize];
        let mut writers = Writers::with_capacity(values.len());
        for (value, number) in values.iter().zip(0..) {
            assert_eq!(writers.find(value, value_of), None);
            assert_eq!(writers.find_or_insert(value, number, value_of), None);
            assert_eq!(writers.find_or_insert(value, number + 1, value_of), Some(number));
        }
        let looks = std::cell::Cell::new(0);
        let counted = |number: u32| {
            looks.set(looks.get() + 1);
            value_of(number)
        };
        for (value, number) in values.iter().zip(0..) {
            assert_eq!(writers.find(value, counted), Some(number));
        }
        assert_eq!(looks.get(), 3_000, "a value is looked at only where half of its hash agrees");
    }

    #[test]
    fn values_of_one_hash_are_told_apart() {
        // Texts of different lengths that differ in nothing but zeros at their end hash by length too; numbers and
        // short forms share a hash on purpose.
        let values = [Value::Int(5), Value::Fill { byte: 0, len: 5 }, Value::Absent, Value::Int(1)];
        let hash = |value: &Value| BuildHasherDefault::<Folded>::default().hash_one(value);
        assert_eq!((hash(&values[0]), hash(&values[2])), (hash(&values[1]), hash(&values[3])));
        let value_of = |number: u32| &values[number as usize];
        let mut writers = Writers::with_capacity(values.len());
        for (value, number) in values.iter().zip(0..) {
            assert_eq!(writers.find_or_insert(value, number, value_of), None);
        }
        for (value, number) in values.iter().zip(0..) {
            assert_eq!(writers.find(value, value_of), Some(number));
        }
    }
}
