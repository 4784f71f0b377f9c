use super::*;
use crate::cluster::Rules;
use crate::model::{self, AnyModel};
use crate::{FailedCas, History, Kind, ModelKind, Operation, Value};

#[test]
fn a_compacted_trail_keeps_the_orders_that_are_alive_and_nothing_else() {
    let mut trail = Trail::default();
    let mut leaves = [NO_TRAIL; 4];
    // Three orders that part after ten steps and grow by turns, and one that has not begun; every other step is
    // dead at once.
    for step in 0..300u32 {
        let at = if step < 10 { 0 } else { step as usize % 3 };
        leaves[at] = trail.push(Taken { parent: leaves[at], call: step, event: step });
        trail.push(Taken { parent: leaves[at], call: 1_000 + step, event: step });
        if step == 9 {
            (leaves[1], leaves[2]) = (leaves[0], leaves[0]);
        }
    }
    let calls = |trail: &Trail, leaf| trail.order(leaf).iter().map(|taken| taken.call).collect::<Vec<u32>>();
    let before = leaves.map(|leaf| calls(&trail, leaf));
    assert_eq!((before[1].len(), before[1][..12].to_vec()), (107, vec![0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 13]));
    trail.compact(leaves.iter_mut());
    assert_eq!(leaves.map(|leaf| calls(&trail, leaf)), before);
    assert_eq!((trail.steps.len(), trail.kept, leaves[3]), (300, 300, NO_TRAIL));
}

#[test]
fn a_trail_is_overgrown_when_most_of_it_may_be_dead() {
    let step = Taken { parent: NO_TRAIL, call: 0, event: 0 };
    let with = |steps, kept| Trail { steps: vec![step; steps], kept }.is_overgrown();
    assert!(!with(0, 0) && !with(65_536, 0) && with(65_537, 0));
    assert!(!with(265_536, 100_000) && with(265_537, 100_000));
}

#[test]
fn counts_compare_kind_by_kind() {
    let mut counts = Counts::new(2);
    let one_none = counts.plus_one(0, 0);
    let (two_none, one_one) = (counts.plus_one(one_none, 0), counts.plus_one(one_none, 1));
    assert_eq!(counts.plus_one(one_none, 1), one_one, "interned");
    for (a, b, at_most) in [
        (0, 0, true),
        (0, one_none, true),
        (one_none, 0, false),
        (one_none, one_one, true),
        (one_one, two_none, false),
        (two_none, one_one, false),
        (two_none, two_none, true),
    ] {
        assert_eq!(counts.at_most(a, b), at_most, "{a} {b}");
    }
    // Four vectors of two counts of four bytes, each twice, with two pointers, two lengths and a table entry.
    assert_eq!(counts.bytes(), 4 * (2 * 8 + 64));
}

#[test]
fn all_that_is_held_counts_as_memory() {
    let mut history = History::new();
    let (client, key) = (history.client("c"), history.key("k"));
    history.push(Operation::new(client, key, Kind::Write, Value::Int(1), 0, 1));
    let rules = Rules { init: Value::Absent, failed_cas: FailedCas::Mismatch, eventual_too: false };
    let (model, calls) = model::compile(&history, &[0], &rules, ModelKind::Register).expect("a register");
    let AnyModel::Register(model) = model else { unreachable!() };
    let budget = |bytes| crate::Budget { states: 10, bytes, time: None };
    let stop = AtomicBool::new(false);
    let judged = |bytes: usize| {
        let clock = Clock::start(budget(bytes));
        let mut explorer = Explorer::<_, 1>::new(&calls, Window::new(&calls), model.clone(), &clock, &stop);
        (0..5).for_each(|_| _ = explorer.push(NO_TRAIL, 0));
        let held = 3 * 4 * size_of::<Configuration<1>>() + 5 * 3 * size_of::<Taken>();
        (explorer.count(3), held + explorer.counts.bytes() + explorer.model.bytes())
    };
    let (_, held) = judged(0);
    assert_eq!((judged(held - 1).0, judged(held).0), (Err("memory"), Ok(())));
}
