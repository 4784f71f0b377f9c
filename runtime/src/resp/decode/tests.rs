use super::*;
use proptest::prelude::*;

const OPEN: Bounds = Bounds { frame_bytes_max: (1 << 20) + (64 << 10), args_max: 2_048 };
const STRANGER: Bounds = Bounds { frame_bytes_max: 16 << 10, args_max: 8 };

/// All requests of a stream and how it ends, with the bytes coming in pieces of at most `step`.
fn decode(stream: &[u8], step: usize, bounds: Bounds) -> (Vec<Vec<Vec<u8>>>, Result<Progress, Malformed>) {
    let mut decoder = Decoder::default();
    let (mut requests, mut begin, mut come) = (Vec::new(), 0, 0);
    loop {
        match decoder.step(&stream[begin..come], bounds) {
            Ok(Progress::Complete { frame_bytes }) => {
                let request = decoder.request(&stream[begin..begin + frame_bytes]);
                requests.push((0..request.len()).map(|index| request.arg(index).to_vec()).collect());
                decoder.take();
                begin += frame_bytes;
            }
            Ok(progress) if come == stream.len() => return (requests, Ok(progress)),
            Ok(Progress::Incomplete { bytes_needed }) => {
                assert!(bytes_needed > come - begin, "asks for bytes that are there");
                assert!(bytes_needed <= bounds.frame_bytes_max.max(INLINE_BYTES_MAX), "asks for more than it takes");
                come = stream.len().min(come + step);
            }
            Err(malformed) => return (requests, Err(malformed)),
        }
    }
}

fn words(stream: &str) -> String {
    let (requests, end) = decode(stream.as_bytes(), usize::MAX, OPEN);
    let requests: Vec<_> = requests
        .iter()
        .map(|args| args.iter().map(|arg| arg.escape_ascii().to_string()).collect::<Vec<_>>().join("|"))
        .collect();
    match end {
        Ok(_) => requests.join("; "),
        Err(malformed) => format!("{}! {malformed}", requests.join("; ")),
    }
}

#[test]
fn requests_are_split_into_their_arguments() {
    for (stream, expected) in [
        ("*1\r\n$4\r\nPING\r\n", "PING"),
        ("*2\r\n$3\r\nGET\r\n$0\r\n\r\n", "GET|"),
        ("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$4\r\na\r\nb\r\n*1\r\n$4\r\nPING\r\n", r"SET|k|a\r\nb; PING"),
        ("PING\r\n", "PING"),
        ("PING\n", "PING"),
        ("  set  k   v \r\n", "set|k|v"),
        ("set k \"a b\\n\\x41\\q\" 'c d\\'' \r\n", r"set|k|a b\nAq|c d\'"),
        ("set k \"\"\r\n", "set|k|"),
        ("\r\n\r\nPING\r\n", "; ; PING"),
        ("*0\r\n*-1\r\nPING\r\n", "; ; PING"),
        // A value that looks like a command is a value.
        ("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$14\r\n\r\nFLUSHALL\r\n\r\n\r\n", r"SET|k|\r\nFLUSHALL\r\n\r\n"),
        ("GET /index.html\r\n", "GET|/index.html"),
        ("*1\r\n$4\r\nPI", ""),
    ] {
        assert_eq!(words(stream), expected, "{stream:?}");
    }
}

#[test]
fn what_is_no_request_is_refused_with_a_reason() {
    let too_long = "Protocol error: request too long, at most 1114112 bytes are taken here";
    for (stream, expected) in [
        ("*x\r\n", "Protocol error: invalid multibulk length"),
        ("*\r\n", "Protocol error: invalid multibulk length"),
        ("*-\r\n", "Protocol error: invalid multibulk length"),
        ("*1\n", "Protocol error: invalid multibulk length"),
        ("*1\r$", "Protocol error: invalid multibulk length"),
        ("*+1\r\n", "Protocol error: invalid multibulk length"),
        ("*99999999999999999999\r\n", "Protocol error: invalid multibulk length"),
        ("*00000000000000000000000000000000001\r\n", "Protocol error: invalid multibulk length"),
        ("*2049\r\n", "Protocol error: invalid multibulk length, at most 2048 arguments are taken here"),
        ("*1048576\r\n", "Protocol error: invalid multibulk length, at most 2048 arguments are taken here"),
        ("*9223372036854775807\r\n", "Protocol error: invalid multibulk length, at most 2048 arguments are taken here"),
        ("*1\r\n*1\r\n*1\r\n", "Protocol error: expected '$', got '*'"),
        ("*1\r\n:4\r\n", "Protocol error: expected '$', got ':'"),
        ("*1\r\n\r\n", r"Protocol error: expected '$', got '\r'"),
        ("*1\r\n$-1\r\n", "Protocol error: invalid bulk length"),
        ("*1\r\n$-2147483648\r\n", "Protocol error: invalid bulk length"),
        ("*1\r\n$abc\r\n", "Protocol error: invalid bulk length"),
        ("*1\r\n$18446744073709551615\r\n", "Protocol error: invalid bulk length"),
        ("*1\r\n$9223372036854775807\r\n", too_long),
        ("*1\r\n$2147483648\r\n", too_long),
        ("*1\r\n$1114102\r\n", too_long),
        ("*1\r\n$4\r\nPINGxx", "Protocol error: an argument does not end with CR LF"),
        ("*1\r\n$4\r\nPING\n\r", "Protocol error: an argument does not end with CR LF"),
        ("set k \"a\r\n", "Protocol error: unbalanced quotes in request"),
        ("set k 'a\r\n", "Protocol error: unbalanced quotes in request"),
        ("set k \"a\"b\r\n", "Protocol error: unbalanced quotes in request"),
        ("\u{1}\u{2}", "Protocol error: byte 0x01 begins no request"),
        ("\u{7f}ELF", "Protocol error: byte 0x7f begins no request"),
        ("\u{16}\u{3}\u{1}", "this port speaks plain text, not TLS; nothing was executed"),
        ("POST / HTTP/1.1\r\n", "this port speaks the Redis protocol, not HTTP; nothing was executed"),
        ("post /x\r\n", "this port speaks the Redis protocol, not HTTP; nothing was executed"),
        ("GET / HTTP/1.1\r\n", "this port speaks the Redis protocol, not HTTP; nothing was executed"),
        ("Host: localhost\r\n", "this port speaks the Redis protocol, not HTTP; nothing was executed"),
        ("PRI * HTTP/2.0\r\n", "this port speaks the Redis protocol, not HTTP; nothing was executed"),
    ] {
        assert_eq!(words(stream), format!("! {expected}"), "{stream:?}");
    }
}

#[test]
fn nothing_after_a_foreign_protocol_is_read_as_a_command() {
    let (requests, end) = decode(b"POST / HTTP/1.1\r\nHost: x\r\n\r\nSET k v\r\n", usize::MAX, OPEN);
    assert_eq!((requests.len(), end), (0, Err(Malformed::Http)));
    let (requests, end) = decode(b"PING\r\nHost: x\r\nSET k v\r\n", usize::MAX, OPEN);
    assert_eq!((requests.len(), end), (1, Err(Malformed::Http)));
}

#[test]
fn a_stranger_may_ask_less() {
    for (stream, is_ok) in [
        ("*8\r\n".to_owned(), true),
        ("*9\r\n".to_owned(), false),
        ("*1\r\n$16000\r\n".to_owned(), true),
        ("*1\r\n$16384\r\n".to_owned(), false),
        // The limit is on the whole request, not on each part.
        (format!("*8\r\n{}", "$4096\r\n".to_owned() + &"x".repeat(4_096) + "\r\n").repeat(1), true),
        (format!("*8\r\n{}", ("$4096\r\n".to_owned() + &"x".repeat(4_096) + "\r\n").repeat(4)), false),
        ("x".repeat(16_383), true),
        ("x".repeat(16_384), false),
        ("x ".repeat(9) + "\r\n", false),
    ] {
        assert_eq!(decode(stream.as_bytes(), usize::MAX, STRANGER).1.is_ok(), is_ok, "{:.20} ...", stream);
    }
    assert!(decode("x".repeat(65_536).as_bytes(), 1_000, OPEN).1.is_err(), "no inline command is longer than 64 KiB");
}

#[test]
fn nothing_is_set_aside_for_what_is_only_declared() {
    let mut decoder = Decoder::default();
    let progress = decoder.step(b"*2048\r\n$1000000\r\n", OPEN).unwrap();
    assert_eq!(progress, Progress::Incomplete { bytes_needed: 17 + 1_000_002 });
    assert_eq!(decoder.args.capacity(), 0);
    assert_eq!(decoder.inline.capacity(), 0);
}

#[test]
fn what_is_kept_is_copied_unless_it_is_a_quarter_of_its_buffer() {
    let frame = Bytes::from_static(b"*3\r\n$3\r\nSET\r\n$3\r\nkey\r\n$8\r\nthevalue\r\n");
    let mut decoder = Decoder::default();
    decoder.step(&frame, OPEN).unwrap();
    let expected = (Bytes::from_static(b"key"), Bytes::from_static(b"thevalue"));
    let is_slice = |kept: &Bytes| frame.as_ptr_range().contains(&kept.as_ptr());
    for (request, key_shared, value_shared) in [
        (decoder.request(&frame), false, false),
        (decoder.shared_request(&frame, 33), false, false),
        (decoder.shared_request(&frame, 32), false, true),
        (decoder.shared_request(&frame, 12), true, true),
    ] {
        let (key, value) = request.own_two(1);
        assert_eq!((is_slice(&key), is_slice(&value)), (key_shared, value_shared));
        assert_eq!((key, value), expected);
        assert_eq!(is_slice(&request.own(2)), value_shared);
    }
}

/// Streams that are nearly requests: their parts, with chance damage.
fn nearly_requests() -> impl Strategy<Value = Vec<u8>> {
    let part = prop_oneof![
        4 => prop::collection::vec(prop::collection::vec(any::<u8>(), 0..20), 0..5).prop_map(|args| {
            let mut bytes = format!("*{}\r\n", args.len()).into_bytes();
            for arg in args {
                bytes.extend(format!("${}\r\n", arg.len()).bytes());
                bytes.extend(arg);
                bytes.extend(b"\r\n");
            }
            bytes
        }),
        2 => "[ -~]{0,30}\r\n".prop_map(String::into_bytes),
        1 => "[*$][-0-9]{0,25}\r\n".prop_map(String::into_bytes),
        1 => prop::collection::vec(any::<u8>(), 0..10),
    ];
    prop::collection::vec(part, 0..8).prop_map(|parts| parts.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn pieces_decode_like_the_whole(stream in nearly_requests(), step in 1usize..9) {
        let (whole, piecemeal) = (decode(&stream, usize::MAX, OPEN), decode(&stream, step, OPEN));
        prop_assert_eq!(&whole.0, &piecemeal.0);
        prop_assert_eq!(whole.1.as_ref().err(), piecemeal.1.as_ref().err());
    }

    #[test]
    fn any_bytes_end_in_requests_or_an_error(stream in prop::collection::vec(any::<u8>(), 0..300), step in 1usize..50) {
        let _ended = decode(&stream, step, STRANGER);
    }

    #[test]
    fn what_is_encoded_is_decoded(requests in prop::collection::vec(
        prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 1..6), 0..6), step in 1usize..30) {
        let mut stream = Vec::new();
        for args in &requests {
            stream.extend(format!("*{}\r\n", args.len()).bytes());
            for arg in args {
                stream.extend(format!("${}\r\n", arg.len()).bytes());
                stream.extend(arg);
                stream.extend(b"\r\n");
            }
        }
        let (decoded, end) = decode(&stream, step, OPEN);
        prop_assert_eq!(decoded, requests);
        prop_assert!(end.is_ok());
    }
}
