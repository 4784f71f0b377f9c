use crate::{History, Kind, NEVER, Online, Operation, Options, Value};

#[test]
fn what_is_held_doubles_between_sweeps_so_that_sweeping_stays_cheap() {
    let (mut online, mut history) = (Online::new(&Options::default()), History::new());
    let key = history.key("k");
    // Nobody sees these writes, so nothing can be swept away; what is held is each of them and the initial value.
    let mut swept_at = vec![0];
    for at in 0..1_000 {
        let client = history.client(&format!("c{at}"));
        let operation = Operation::new(client, key, Kind::Write, Value::Int(at), at, NEVER).unknown();
        online.on_invoke(at as u64, &operation);
        online.on_return(at as u64, &operation).expect("a write tells nothing");
        swept_at.push(online.keys[&key].swept_at);
    }
    swept_at.dedup();
    assert_eq!(swept_at, [0, 17, 51, 119, 255, 527]);
    // An answer that only one write explains needs no sweep either.
    let read = Operation::new(history.client("r"), key, Kind::Read, Value::Int(7), 2_000, 2_001);
    online.on_invoke(1_000, &read);
    online.on_return(1_000, &read).expect("7 was written");
    assert_eq!(online.keys[&key].swept_at, 527);
}
