//! The first frame of a connection.

use crate::refused::malformed;
use crate::*;
use quorate_core::config::{Founding, Keyspace, Member, Mode};
use quorate_core::wire::{Fault, Hello, HelloError};

fn founding(cluster: u64, rf: u8) -> Founding {
    let member = |id| Member { id: NodeId(id), zone: "z".into(), rack: "r".into() };
    let keyspace = Keyspace { prefix: Bytes::new(), mode: Mode::Lww, n: rf, r: 1, w: 1 };
    Founding::checked(ClusterId(cluster), (1..=3).map(member).collect(), 16, rf, vec![keyspace]).unwrap()
}
const ME: NodeId = NodeId(1);

#[test]
fn it_comes_out_as_it_went_in_and_leaves_what_follows() {
    let hello = Hello::new(&founding(7, 3), NodeId(2), ME);
    let mut input = BytesMut::new();
    for byte in hello.encode() {
        assert_eq!(Hello::take(&mut input), Ok(None));
        input.extend_from_slice(&[byte]);
    }
    input.extend_from_slice(b"QRTm");
    assert_eq!(Hello::take(&mut input), Ok(Some(hello)));
    assert_eq!(&input[..], b"QRTm");
}

#[test]
fn its_bytes_are_pinned() {
    let hello = Hello { cluster: CLUSTER, from: NodeId(2), to: ME, founding: 0x3333 };
    let golden = concat!(
        "5152546d01010001efcdab8967452301000000000d0000000d000000000000000d00000015572a81",
        "08021001193333000000000000",
    );
    assert_eq!(hex(&hello.encode()), golden);
}

#[test]
fn what_does_not_fit_is_refused_by_name() {
    let ours = founding(7, 3);
    let judge = |hello: Hello, called| hello.accept(&ours, ME, called);
    let hello = Hello::new(&ours, NodeId(2), ME);
    assert_eq!(judge(hello, None), Ok(NodeId(2)));
    assert_eq!(judge(hello, Some(NodeId(2))), Ok(NodeId(2)));
    let (other, theirs) = (founding(7, 2), founding(8, 3));
    let cases = [
        (Hello::new(&theirs, NodeId(2), ME), HelloError::OtherCluster { ours: ClusterId(7), theirs: ClusterId(8) }),
        (
            Hello::new(&other, NodeId(2), ME),
            HelloError::OtherFounding { ours: ours.fingerprint(), theirs: other.fingerprint() },
        ),
        (Hello { to: NodeId(3), ..hello }, HelloError::NotForUs { ours: ME, wanted: NodeId(3) }),
        (Hello { from: NodeId(9), ..hello }, HelloError::NotAMember { theirs: NodeId(9) }),
        (Hello { from: ME, ..hello }, HelloError::NotAMember { theirs: ME }),
    ];
    for (hello, expected) in cases {
        assert_eq!(judge(hello, None), Err(expected));
    }
    let wrong = HelloError::WrongNode { called: NodeId(3), answered: NodeId(2) };
    assert_eq!(judge(hello, Some(NodeId(3))), Err(wrong));
    assert_eq!(wrong.to_string(), "n2 answered where n3 was called: check the addresses");
}

#[test]
fn a_stranger_costs_almost_nothing() {
    let cases = [
        (Raw::of(1, &vec![0; 257], &[]).bytes(), FrameError::TooLong { declared: 257, max: 256 }),
        (Raw::of(1, &[], b"a").bytes(), malformed("value", Fault::Unexpected)),
        (whole(&stranger()), FrameError::UnexpectedKind { theirs: 19 }),
        (Bytes::from_static(b"GET / HTTP/1.1\r\n"), FrameError::BadMagic { theirs: *b"GET " }),
    ];
    for (bytes, expected) in cases {
        let mut input = BytesMut::from(&bytes[..]);
        let mut taken = None;
        let allocated = allocation_counter::measure(|| taken = Some(Hello::take(&mut input)));
        assert_eq!(taken, Some(Err(expected)));
        assert!(allocated.bytes_max < 256, "{} bytes allocated", allocated.bytes_max);
    }
}
