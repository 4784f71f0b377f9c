//! What one connection may use: requests under way, answers that wait, memory, time.

use super::*;

#[test]
fn input_waits_when_enough_is_under_way() {
    let limits = SessionLimits { in_flight_max: 4, ..SessionLimits::default() };
    let mut bench = Bench::with(None, limits);
    bench.session.read_charge = 10;
    for index in 0..8 {
        bench.feed(format!("get k{index}\r\n").as_bytes());
    }
    assert_eq!(bench.open.len(), 4);
    assert!(!bench.session.wants_input());
    bench.answer_one(0);
    assert_eq!(bench.open.len(), 3);
    bench.advance();
    assert_eq!(bench.open.len(), 4, "one answered, one more taken");
}

#[test]
fn a_new_connection_is_not_trusted_with_many_large_answers() {
    let mut bench = Bench::new();
    let value = Bytes::from(vec![b'v'; 1 << 20]);
    for index in 0..64 {
        bench.store.insert(format!("k{index}").into(), value.clone());
    }
    let requests: Vec<u8> = (0..64).flat_map(|index| format!("get k{index}\r\n").into_bytes()).collect();
    bench.session.read_buffer().extend_from_slice(&requests);
    let mut written = 0;
    let mut most_open = 0;
    while written < 64 << 20 {
        bench.advance();
        most_open = most_open.max(bench.open.len());
        while !bench.open.is_empty() {
            bench.answer_one(0);
        }
        assert_eq!(bench.session.close(), Close::No);
        written += bench.written().len();
    }
    assert!(most_open <= 8, "{most_open} answers of 1 MiB at once");
    // With small values the same connection soon asks for many at once.
    bench.store.clear();
    for _ in 0..16 {
        bench.say("get x");
    }
    bench.feed(&requests);
    assert_eq!(bench.open.len(), 64);
}

#[test]
fn who_does_not_take_answers_is_cut_off() {
    let limits = SessionLimits { output_bytes_max: 1_000, ..SessionLimits::default() };
    let mut bench = Bench::with(None, limits);
    bench.session.read_charge = 0;
    bench.store.insert(Bytes::from_static(b"k"), Bytes::from(vec![b'v'; 400]));
    bench.feed(b"get k\r\nget k\r\nget k\r\n");
    for expected in [Close::No, Close::No, Close::Now(CloseReason::OutputFull)] {
        bench.answer_one(0);
        assert_eq!(bench.session.close(), expected);
    }
    let mut bench = Bench::with(None, limits);
    let echo = format!("echo {}\r\n", "x".repeat(600));
    bench.feed(echo.as_bytes());
    let second = 1_000_000;
    for (tick, read, expected) in [
        (1, 0, Close::No),
        (10, 1, Close::No),
        (20, 1, Close::No),
        (30, 0, Close::No),
        (31, 0, Close::Now(CloseReason::OutputFull)),
    ] {
        bench.session.output().advance(read);
        bench.session.on_tick(Instant::from_micros(tick * second));
        assert_eq!(bench.session.close(), expected, "second {tick}");
    }
}

#[test]
fn a_million_tiny_commands_without_reading_fill_no_memory() {
    let mut bench = Bench::new();
    let pings = b"PING\r\n".repeat(10_000);
    let mut taken = 0;
    for _ in 0..200 {
        bench.feed(&pings);
        taken += 1;
        if !bench.session.wants_input() {
            break;
        }
    }
    assert!(taken < 200, "input stops");
    assert!(bench.session.output().len() <= SessionLimits::default().output_bytes_max);
    assert_eq!(bench.session.close(), Close::No);
    while !bench.written().is_empty() {
        bench.advance();
    }
    assert!(bench.session.wants_input());
}

#[test]
fn a_large_value_is_never_copied() {
    let mut bench = Bench::new();
    let value = vec![b'v'; 1 << 20];
    let bytes = encoded(&[b"SET", b"k", &value]);
    let mut begin = None;
    for chunk in bytes.chunks(16 << 10) {
        let buffer = bench.session.read_buffer();
        assert!(buffer.capacity() - buffer.len() >= chunk.len());
        buffer.extend_from_slice(chunk);
        if buffer.len() > 100_000 {
            assert_eq!(*begin.get_or_insert(buffer.as_ptr()), buffer.as_ptr(), "the value does not move");
        }
        bench.advance();
    }
    let NodeCommand::Put { value: kept, .. } = &bench.open[0].request.command else { panic!("a write") };
    assert_eq!(kept.len(), value.len());
    assert_eq!(kept.as_ptr() as usize - begin.unwrap() as usize, bytes.len() - value.len() - 2);
    let kept = kept.as_ptr();
    bench.answer_all();
    bench.written();
    bench.feed(b"get k\r\n");
    bench.answer_all();
    let output = bench.session.output();
    output.advance(output.chunk().len());
    assert_eq!(output.chunk().as_ptr(), kept, "the reply is the same memory");
}

#[test]
fn small_values_do_not_keep_the_read_buffer() {
    let mut bench = Bench::new();
    let buffer = bench.session.read_buffer();
    buffer.extend_from_slice(b"set k small\r\n");
    let range = buffer.as_ptr_range();
    bench.advance();
    let NodeCommand::Put { value, .. } = &bench.open[0].request.command else { panic!("a write") };
    assert!(!range.contains(&value.as_ptr()));
}

#[test]
fn time_runs_out_for_whoever_dawdles() {
    let second = 1_000_000;
    let mut stranger = Bench::with(Some("pw"), SessionLimits::default());
    stranger.session.on_tick(Instant::from_micros(9 * second));
    assert_eq!(stranger.session.close(), Close::No);
    stranger.session.on_tick(Instant::from_micros(11 * second));
    assert_eq!(stranger.session.close(), Close::Now(CloseReason::AuthenticationTimeout));
    let mut slow = Bench::new();
    slow.clock = second;
    slow.feed(b"*1");
    slow.session.on_tick(Instant::from_micros(10 * second));
    assert_eq!(slow.session.close(), Close::No);
    slow.clock = 10 * second;
    slow.feed(b"\r");
    slow.session.on_tick(Instant::from_micros(12 * second));
    assert_eq!(slow.session.close(), Close::Now(CloseReason::RequestTimeout), "one more byte buys no time");
    let limits = SessionLimits { idle: Duration::from_secs(60), ..SessionLimits::default() };
    let mut idle = Bench::with(None, limits);
    idle.say("ping");
    idle.session.on_tick(Instant::from_micros(50 * second));
    assert_eq!(idle.session.close(), Close::No);
    idle.session.on_tick(Instant::from_micros(61 * second));
    assert_eq!(idle.session.close(), Close::Now(CloseReason::Idle));
}
