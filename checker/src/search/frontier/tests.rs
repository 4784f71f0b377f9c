use std::sync::atomic::AtomicBool;

use super::*;
use crate::Options;
use crate::model::counter;
use crate::search::{Clock, Window};

#[test]
fn of_equal_states_only_those_are_kept_that_hide_what_no_other_hides() {
    let (clock, never) = (Clock::start(Options::deterministic(1).budget), AtomicBool::new(false));
    let rules =
        crate::cluster::Rules { init: crate::Value::Absent, failed_cas: crate::FailedCas::Never, eventual_too: false };
    let (model, calls) = counter::compile(&crate::History::new(), &[], &rules).expect("no call, no stranger");
    let explorer = Explorer::<_, 1>::new(&calls, Window::new(&calls), model, &clock, &never);
    let kept = |hidden: &[u64]| -> Vec<u64> {
        let of = |(state, hidden): (u32, u64)| Configuration { state, used: 0, taken: [0], hidden: [hidden], trail: 0 };
        // Another state is not compared.
        let all = hidden.iter().map(|hidden| (1, *hidden)).chain([(2, 0)]);
        let mut kept: Vec<u64> =
            undominated(&explorer, all.map(of).collect()).iter().map(|one| one.hidden[0]).collect();
        assert_eq!(kept.pop(), Some(0));
        kept
    };
    for (all, expected) in [
        (&[0b01, 0b10][..], &[0b01, 0b10][..]),
        (&[0b01, 0b01], &[0b01]),
        (&[0b01, 0b10, 0b01, 0b10], &[0b01, 0b10]),
        (&[0b01, 0b10, 0b11], &[0b11]),
        (&[0b11, 0b01, 0b10], &[0b11]),
        (&[0b001, 0b010, 0b101, 0b001, 0b010], &[0b010, 0b101]),
    ] {
        assert_eq!(kept(all), expected, "{all:?}");
    }
}
