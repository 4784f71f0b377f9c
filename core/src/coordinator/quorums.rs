//! How many homes are enough: a pure table.

use crate::config::{Keyspace, Mode};
use crate::effect::Refused;
use crate::input::Consistency;

/// How many answers a request needs.
///
/// # Errors
/// [`Refused::HomesOutOfRange`], [`Refused::NotLinearizable`] or [`Refused::LevelFixed`]; nothing was sent.
pub(super) fn needed(keyspace: &Keyspace, consistency: Consistency, is_read: bool) -> Result<u8, Refused> {
    let n = keyspace.n;
    let homes = match (keyspace.mode, consistency) {
        // A register has one level; asking for a majority by name is the same thing said otherwise.
        (Mode::Register, Consistency::Keyspace | Consistency::Linearizable | Consistency::Quorum) => {
            keyspace.majority()
        }
        (Mode::Register, Consistency::Homes(homes)) if homes == keyspace.majority() => homes,
        (Mode::Register, Consistency::One | Consistency::Two | Consistency::All | Consistency::Homes(_)) => {
            return Err(Refused::LevelFixed);
        }
        (Mode::Lww, Consistency::Linearizable) => return Err(Refused::NotLinearizable),
        (Mode::Lww, Consistency::Keyspace) if is_read => keyspace.r,
        (Mode::Lww, Consistency::Keyspace) => keyspace.w,
        (Mode::Lww, Consistency::One) => 1,
        (Mode::Lww, Consistency::Two) => 2,
        (Mode::Lww, Consistency::Quorum) => keyspace.majority(),
        (Mode::Lww, Consistency::All) => n,
        (Mode::Lww, Consistency::Homes(homes)) => homes,
    };
    if homes == 0 || homes > n {
        return Err(Refused::HomesOutOfRange { asked: homes, n });
    }
    Ok(homes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    #[test]
    fn each_level_needs_its_number_of_homes() {
        let lww = |n, r, w| Keyspace { prefix: Bytes::new(), mode: Mode::Lww, n, r, w };
        let register = |n| Keyspace { prefix: Bytes::new(), mode: Mode::Register, n, r: 1, w: 1 };
        for (keyspace, consistency, is_read, expected) in [
            (lww(3, 1, 2), Consistency::Keyspace, true, Ok(1)),
            (lww(3, 1, 2), Consistency::Keyspace, false, Ok(2)),
            (lww(3, 1, 2), Consistency::Quorum, true, Ok(2)),
            (lww(5, 1, 2), Consistency::Quorum, false, Ok(3)),
            (lww(4, 1, 2), Consistency::Quorum, false, Ok(3)),
            (lww(3, 1, 2), Consistency::All, true, Ok(3)),
            (lww(1, 1, 1), Consistency::Two, true, Err(Refused::HomesOutOfRange { asked: 2, n: 1 })),
            (lww(3, 1, 2), Consistency::Homes(0), true, Err(Refused::HomesOutOfRange { asked: 0, n: 3 })),
            (lww(3, 1, 2), Consistency::Homes(4), true, Err(Refused::HomesOutOfRange { asked: 4, n: 3 })),
            (lww(3, 1, 2), Consistency::Linearizable, true, Err(Refused::NotLinearizable)),
            // A register's numbers come from its copies, whatever r and w say.
            (register(3), Consistency::Keyspace, true, Ok(2)),
            (register(5), Consistency::Linearizable, false, Ok(3)),
            (register(3), Consistency::Homes(2), false, Ok(2)),
            (register(3), Consistency::One, true, Err(Refused::LevelFixed)),
            (register(3), Consistency::All, false, Err(Refused::LevelFixed)),
        ] {
            assert_eq!(needed(&keyspace, consistency, is_read), expected, "{keyspace:?} {consistency:?} {is_read}");
        }
    }
}
