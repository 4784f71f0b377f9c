//! What messages cost: allocations, and copies of values.

use crate::*;
use quorate_core::wire::Encoded;

#[test]
fn a_long_message_costs_one_buffer_and_only_once_it_has_begun_in_earnest() {
    let bytes = whole(&store_of(1 << 20, 0));
    let (mut decoder, mut input) = (decoder(), BytesMut::from(&bytes[..wire::FRAME_BYTES_MAX - 1]));
    let waiting = allocation_counter::measure(|| assert_eq!(decoder.next(&mut input), Ok(None)));
    assert_eq!(waiting.bytes_max, 0, "a claim alone costs nothing");
    let mut input = BytesMut::from(&bytes[..]);
    let gathered = allocation_counter::measure(|| assert!(decoder.next(&mut input).unwrap().is_some()));
    assert!(gathered.bytes_total < bytes.len() as u64 + 4096, "{} bytes", gathered.bytes_total);
}

#[test]
fn a_short_message_is_written_with_one_allocation_and_read_without_a_copy() {
    let message = store_of(100, 0);
    let Body::Replica(ReplicaRequest::Store { record: Record { content: Content::Value(sent), .. }, .. }) =
        &message.body
    else {
        unreachable!()
    };
    // A buffer that nobody has shared yet pays for its counter once; a value that came from a connection has it.
    let _shared = sent.clone();
    let mut encoded: Option<Encoded> = None;
    let writing = allocation_counter::measure(|| encoded = Some(wire::encode(CLUSTER, 0, &message)));
    assert_eq!(writing.count_total, 1);
    let encoded = encoded.unwrap();
    let chunks: Vec<_> = encoded.chunks().collect();
    assert_eq!(chunks.len(), 2);
    assert_eq!(chunks[1].as_ptr(), sent.as_ptr(), "the value is the same buffer");

    let bytes = encoded.into_bytes();
    let (range, whole) = (bytes.as_ptr_range(), bytes.clone());
    let mut decoded = None;
    let reading = allocation_counter::measure(|| decoded = Some(wire::decode_whole(CLUSTER, whole).unwrap()));
    assert_eq!(reading.count_total, 0);
    let Some(Body::Replica(ReplicaRequest::Store {
        key, record: Record { content: Content::Value(came), .. }, ..
    })) = decoded.map(|message| message.body)
    else {
        unreachable!()
    };
    assert!(range.contains(&came.as_ptr()) && range.contains(&key.bytes().as_ptr()), "slices of what was read");
}

#[test]
fn a_long_value_is_not_copied_on_its_way_out() {
    let sent = value(1 << 20, 0);
    let encoded = wire::encode(CLUSTER, 0, &store(Content::Value(sent.clone())));
    let range = sent.as_ptr_range();
    assert!(encoded.frames().all(|frame| range.contains(&frame.value.as_ptr())));
}
