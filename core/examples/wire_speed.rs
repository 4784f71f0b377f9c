//! How long messages take to become bytes and to be read again, one thread, nothing else.
//!
//! `cargo run --release -p quorate-core --example wire_speed`

#![allow(clippy::disallowed_types, clippy::disallowed_methods, reason = "a stopwatch around the core, not in it")]

use bytes::{Bytes, BytesMut};
use quorate_core::id::{Boot, ClusterId, Epoch, Incarnation, Key, LogPosition, NodeId, RequestId};
use quorate_core::message::{Body, Message, ReplicaReply, ReplicaRequest, Sender, StampRule, Wanted};
use quorate_core::version::{Actor, Content, Dot, Hlc, Record, Version};
use quorate_core::wire::{self, Decoder, Limits};
use std::hint::black_box;
use std::time::Instant;

const CLUSTER: ClusterId = ClusterId(0x0123_4567_89ab_cdef);
/// Many short rounds: the best of them fits between two interruptions even on a busy machine.
const ROUNDS: u32 = 200;

fn main() {
    let request = RequestId { boot: Boot(12), counter: 7_000_000, slot: 300 };
    let key = Key::new(Bytes::from_static(b"user:0000000123456789")).expect("of a key's length");
    let version = Version {
        hlc: Hlc::from_ticks(1_700_000_000_123_456_789).expect("in range"),
        dot: Dot { actor: Actor { node: NodeId(3), incarnation: Incarnation(u64::MAX / 3) }, sequence: 9_000_000 },
    };
    let store = |bytes: usize| {
        let record = Record { version, content: Content::Value(vec![7; bytes].into()) };
        Body::Replica(ReplicaRequest::Store { request, phase: 1, key: key.clone(), record, stamp: StampRule::Fresh })
    };
    let query = ReplicaRequest::Query { request, phase: 0, key: key.clone(), wanted: Wanted::Record };
    println!("{:<22} {:>8} {:>12} {:>16} {:>14}", "message", "bytes", "encode", "decode (stream)", "decode (whole)");
    for (name, body, times) in [
        ("Query", Body::Replica(query), 1_000),
        ("Store of 100 B", store(100), 1_000),
        ("Store of 1 KiB", store(1 << 10), 1_000),
        ("Store of 16 KiB", store(16 << 10), 500),
        ("Store of 1 MiB", store(1 << 20), 10),
        ("Stored", Body::ReplicaReply(ReplicaReply::Stored { request, phase: 1, held: version }), 1_000),
    ] {
        measure(name, body, times);
    }
}

fn measure(name: &str, body: Body, times: u32) {
    let sender = Sender { incarnation: Incarnation(u64::MAX / 5), boot: Boot(12), position: LogPosition(1 << 34) };
    let message = Message { sender, clock: Hlc::from_ticks(1 << 60).expect("in range"), epoch: Epoch(4), body };
    let bytes = wire::encode(CLUSTER, 0, &message).into_bytes();
    let encode = best(times, || {
        for _ in 0..times {
            black_box(wire::encode(CLUSTER, 0, black_box(&message)));
        }
    });
    let whole = best(times, || {
        for _ in 0..times {
            black_box(wire::decode_whole(CLUSTER, black_box(bytes.clone())).expect("our own bytes"));
        }
    });
    // As a connection does it: reads of some 64 KiB that hold many messages.
    let per_read = (64 << 10) / bytes.len() + 1;
    let mut stream = f64::MAX;
    for _ in 0..ROUNDS {
        let reads = times as usize / per_read + 1;
        let mut inputs: Vec<_> = (0..reads).map(|_| BytesMut::from(&bytes.repeat(per_read)[..])).collect();
        let mut decoder = Decoder::new(CLUSTER, Limits::default());
        let begin = Instant::now();
        for input in &mut inputs {
            while let Some(message) = decoder.next(input).expect("our own bytes") {
                black_box(message);
            }
        }
        stream = stream.min(begin.elapsed().as_nanos() as f64 / (reads * per_read) as f64);
    }
    println!("{name:<22} {:>8} {encode:>9.0} ns {stream:>13.0} ns {whole:>11.0} ns", bytes.len());
}

/// Nanoseconds for one time, in the best of some rounds: what the code costs, not what the machine was busy with.
fn best(times: u32, mut run: impl FnMut()) -> f64 {
    let round = |_| {
        let begin = Instant::now();
        run();
        begin.elapsed().as_nanos() as f64 / f64::from(times)
    };
    (0..ROUNDS).map(round).fold(f64::MAX, f64::min)
}
