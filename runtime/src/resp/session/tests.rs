use super::*;
use crate::config::Secret;
use crate::metrics::Metrics;
use crate::resp::{ClusterView, Figures, MemberView, token};
use bytes::Bytes;
use proptest::prelude::*;
use quorate_core::config::{Founding, Keyspace, Member};
use quorate_core::effect::Unavailable;
use quorate_core::id::{ClusterId, NodeId};
use quorate_core::time::WallTime;
use quorate_core::version::Version;
use std::collections::BTreeMap;
use std::sync::Arc;

mod limits;

fn door(password: Option<&str>, limits: SessionLimits) -> Rc<Door> {
    let ids = [1, 2, 3].map(NodeId);
    let members = ids.map(|id| Member { id, zone: "z".to_owned(), rack: format!("r{id}") });
    let keyspace =
        |prefix: &'static str, mode| Keyspace { prefix: Bytes::from_static(prefix.as_bytes()), mode, n: 3, r: 2, w: 2 };
    let keyspaces = vec![keyspace("", Mode::Lww), keyspace("reg/", Mode::Register)];
    let founding = Founding::checked(ClusterId(1), members.to_vec(), 16, 3, keyspaces).unwrap();
    let views = ids.map(|id| MemberView {
        id,
        name: format!("{id}"),
        host: "127.0.0.1".to_owned(),
        port: 7000 + id.0 as u16,
        peer_port: 8000 + id.0 as u16,
    });
    let view = ClusterView::new("test".to_owned(), NodeId(1), founding, views.to_vec());
    let metrics = Arc::new(Metrics::new("0", "0", "0"));
    Rc::new(Door::new(view, limits, password.map(Secret::new), true, metrics))
}

fn at(micros: u64) -> Now {
    Now { monotonic: Instant::from_micros(micros), wall: WallTime::from_micros(1_700_000_000_000_000 + micros) }
}

/// A session with a node behind it that is a map and answers when told to.
struct Bench {
    session: Session,
    store: BTreeMap<Bytes, Bytes>,
    open: Vec<SessionCall>,
    clock: u64,
}

impl Bench {
    fn new() -> Self {
        Self::with(None, SessionLimits::default())
    }
    fn with(password: Option<&str>, limits: SessionLimits) -> Self {
        let door = door(password, limits);
        door.set_figures(Figures { keys_estimate: 12, is_ready: true, ..Figures::default() });
        let session = Session::new(door, 7, "127.0.0.1:5".to_owned(), at(0));
        Self { session, store: BTreeMap::new(), open: Vec::new(), clock: 0 }
    }
    fn now(&mut self) -> Now {
        self.clock += 10;
        at(self.clock)
    }
    /// Bytes arrive as they do from a socket: into the read buffer, as far as there is room.
    fn feed(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() && self.session.wants_input() {
            let buffer = self.session.read_buffer();
            let room = (buffer.capacity() - buffer.len()).min(bytes.len());
            assert!(room > 0);
            buffer.extend_from_slice(&bytes[..room]);
            bytes = &bytes[room..];
            self.advance();
        }
    }
    fn advance(&mut self) {
        let now = self.now();
        self.session.advance(now, &mut self.open);
    }
    /// The node answers the call at this place among the open ones.
    fn answer_one(&mut self, place: usize) {
        let SessionCall { sequence, request: ClientRequest { key, command, .. } } = self.open.remove(place);
        let outcome = match command {
            NodeCommand::Get => self.store.get(key.bytes()).cloned().map_or(Outcome::Missing, Outcome::Value),
            NodeCommand::Put { value, .. } => {
                self.store.insert(key.bytes().clone(), value);
                Outcome::Stored
            }
            NodeCommand::Delete { .. } => {
                self.store.remove(key.bytes());
                Outcome::Stored
            }
        };
        self.finish(sequence, outcome);
    }
    fn finish(&mut self, sequence: u64, outcome: Outcome) {
        let response = ClientResponse { outcome, version: version(), acks: 2 };
        let now = self.now();
        self.session.complete(now, sequence, response, &mut self.open);
    }
    fn answer_all(&mut self) {
        while !self.open.is_empty() {
            self.answer_one(0);
            self.advance();
        }
    }
    fn written(&mut self) -> String {
        let mut written = Vec::new();
        let output = self.session.output();
        while output.has_remaining() {
            let chunk = output.chunk().to_vec();
            output.advance(chunk.len());
            written.extend(chunk);
        }
        String::from_utf8_lossy(&written).into_owned()
    }
    /// What a line typed by hand is answered, line ends shown as spaces.
    fn say(&mut self, line: &str) -> String {
        self.feed(format!("{line}\r\n").as_bytes());
        self.answer_all();
        self.written().replace("\r\n", " ").trim_end().to_owned()
    }
}

fn version() -> Version {
    "17.n2.i9.4".parse().unwrap()
}

fn encoded(args: &[&[u8]]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", args.len()).into_bytes();
    for arg in args {
        bytes.extend(format!("${}\r\n", arg.len()).bytes());
        bytes.extend(*arg);
        bytes.extend(b"\r\n");
    }
    bytes
}

#[test]
fn keys_are_set_got_counted_and_deleted() {
    let mut bench = Bench::new();
    for (line, expected) in [
        ("get k", "$-1"),
        ("SET k hello", "+OK"),
        ("get k", "$5 hello"),
        ("strlen k", ":5"),
        ("strlen none", ":0"),
        ("type k", "+string"),
        ("type none", "+none"),
        ("mset a 1 b 2 c 3", "+OK"),
        ("mget a none b", "*3 $1 1 $-1 $1 2"),
        ("exists a b none a", ":3"),
        ("del a none", ":1"),
        ("unlink b c", ":2"),
        ("exists a b c", ":0"),
        ("mset a 1 b", "-ERR wrong number of arguments for 'mset' command"),
        ("get", "-ERR wrong number of arguments for 'get' command"),
        ("get \"\"", "-ERR a key has 1 to 4096 bytes, not 0"),
        ("mget a \"\"", "-ERR a key has 1 to 4096 bytes, not 0"),
    ] {
        assert_eq!(bench.say(line), expected, "{line}");
    }
}

#[test]
fn a_command_that_cannot_be_kept_names_what_can() {
    let mut bench = Bench::new();
    for (line, expected) in [
        ("set k v nx", "-ERR SET NX is a conditional write"),
        ("set k v ex 10", "-ERR SET EX: values do not expire in this build; delete with DEL"),
        ("set k v level one", "-ERR SET does not take LEVEL; use Q.PUT"),
        ("set k v wrong", "-ERR syntax error"),
        ("incr k", "-ERR 'incr' is not supported: it needs an atomic read-modify-write"),
        ("expire k 10", "-ERR 'expire' is not supported: values do not expire"),
        ("multi", "-ERR 'multi' is not supported: there are no transactions"),
        ("nonsense\\x01 k", "-ERR unknown command 'nonsense\\\\x01'"),
        ("config set save 1", "-ERR settings are read once"),
        ("cluster meet 1.2.3.4 5", "-ERR members and slots follow from [[member]]"),
        ("select 1", "-ERR DB index is out of range"),
        ("client kill x", "-ERR unknown subcommand"),
    ] {
        let said = bench.say(line);
        assert!(said.starts_with(expected), "{line}: {said}");
        assert_eq!(bench.store.len(), 0, "nothing was executed");
    }
}

#[test]
fn own_commands_show_versions_and_levels() {
    let mut bench = Bench::new();
    let token = token::encode(version());
    assert_eq!(bench.say("q.put k v"), format!("$66 {token}"));
    assert_eq!(
        bench.say("q.get k meta level quorum"),
        format!("*10 $6 values *1 $1 v $7 version $10 17.n2.i9.4 $3 ctx $66 {token} $5 level $6 quorum $4 acks :2")
    );
    bench.say("hello 3");
    assert_eq!(
        bench.say("q.get none meta"),
        format!("%5 $6 values *0 $7 version $10 17.n2.i9.4 $3 ctx $66 {token} $5 level $3 r=2 $4 acks :2")
    );
    assert_eq!(
        bench.say(&format!("q.del reg/k ctx {token} meta")),
        format!("%4 $7 version $10 17.n2.i9.4 $3 ctx $66 {token} $5 level $12 linearizable $4 acks :2")
    );
    assert_eq!(bench.say("q.get none"), "_");
}

#[test]
fn options_reach_the_node() {
    let mut bench = Bench::new();
    bench.feed(b"q.put k v w 2 id me 7 version 17.n2.i9.4 timeout 250\r\n");
    let ClientRequest { id, timeout, consistency, command, .. } = &bench.open[0].request;
    assert_eq!(id.as_ref().unwrap().sequence, 7);
    assert_eq!(*timeout, Some(Duration::from_millis(250)));
    assert_eq!(*consistency, quorate_core::input::Consistency::Homes(2));
    let value = Bytes::from_static(b"v");
    assert_eq!(*command, NodeCommand::Put { value, context: None, presented: Some(version()) });
}

#[test]
fn replies_leave_in_the_order_of_their_requests() {
    let mut bench = Bench::new();
    bench.session.read_charge = 10;
    bench.store.insert(Bytes::from_static(b"a"), Bytes::from_static(b"1"));
    bench.store.insert(Bytes::from_static(b"b"), Bytes::from_static(b"2"));
    bench.feed(b"get a\r\nping\r\nget b\r\nmget a b\r\nbad\r\nset c 3\r\n");
    assert_eq!(bench.open.len(), 5);
    for place in [4, 3, 2, 1] {
        bench.answer_one(place);
        assert_eq!(bench.written(), "", "the first request is not answered yet");
    }
    bench.answer_one(0);
    assert_eq!(
        bench.written(),
        "$1\r\n1\r\n+PONG\r\n$1\r\n2\r\n*2\r\n$1\r\n1\r\n$1\r\n2\r\n-ERR unknown command 'bad'\r\n+OK\r\n"
    );
}

#[test]
fn a_request_never_overtakes_one_for_the_same_key() {
    for (lines, calls_at_once) in [
        // A read must see the write before it, and must not see the write after it.
        ("set k 1\r\nget k\r\n", 1),
        ("get k\r\nset k 1\r\n", 1),
        ("mset j 0 k 1\r\nmget k\r\n", 2),
        // Stamps of one coordinator order plain writes, but not those of a register.
        ("set k 1\r\nset k 2\r\n", 2),
        ("set reg/k 1\r\nset reg/k 2\r\n", 1),
        ("get k\r\nget k\r\n", 2),
        ("set k 1\r\nget j\r\n", 2),
        // A deletion reads first, so it stands between what came before and after.
        ("set k 1\r\ndel k\r\n", 1),
        ("del k\r\nset k 1\r\n", 1),
        ("del k\r\ndel j\r\n", 2),
        // Within one request the last store of a key counts, and one deletion.
        ("mset reg/k 1 reg/k 2\r\n", 1),
        ("del k k\r\n", 1),
    ] {
        let mut bench = Bench::new();
        bench.feed(lines.as_bytes());
        assert_eq!(bench.open.len(), calls_at_once, "{lines:?}");
        bench.answer_all();
        assert!(bench.session.waiting_calls().is_empty() && bench.session.wants_input(), "{lines:?}");
    }
}

#[test]
fn a_deletion_reads_then_deletes_and_says_how_far_it_came() {
    let mut bench = Bench::new();
    bench.store.insert(Bytes::from_static(b"a"), Bytes::from_static(b"1"));
    bench.feed(b"del a b\r\n");
    bench.answer_one(0);
    let commands: Vec<_> = bench.open.iter().map(|call| call.request.command.clone()).collect();
    assert_eq!(commands, [NodeCommand::Get, NodeCommand::Delete { context: None, presented: None }]);
    let mut waiting = bench.session.waiting_calls();
    waiting.sort_unstable();
    let mut open: Vec<_> = bench.open.iter().map(|call| call.sequence).collect();
    open.sort_unstable();
    assert_eq!(waiting, open);
    let sequence = bench.open.remove(0).sequence;
    bench.finish(sequence, Outcome::Unavailable(Unavailable::TimedOut { have: 1, need: 2 }));
    bench.answer_all();
    assert_eq!(bench.written(), "-QUORUM have 1 need 2 (timed out) (key 2 of 2; 1 deleted)\r\n");
}

#[test]
fn an_unknown_end_is_told_with_the_version_to_present() {
    let mut bench = Bench::new();
    bench.feed(b"set k v\r\n");
    let sequence = bench.open.remove(0).sequence;
    bench.finish(sequence, Outcome::Unknown);
    assert_eq!(bench.written(), "-QUORUM have 2 need 2 (indeterminate) version=17.n2.i9.4\r\n");
}

#[test]
fn strangers_may_only_greet() {
    let mut bench = Bench::with(Some("pw"), SessionLimits::default());
    for (line, expected) in [
        ("get k", "-NOAUTH Authentication required."),
        ("nonsense", "-NOAUTH Authentication required."),
        ("auth wrong", "-WRONGPASS invalid username-password pair or user is disabled."),
        ("auth default wrong", "-WRONGPASS invalid username-password pair or user is disabled."),
        ("auth other pw", "-WRONGPASS invalid username-password pair or user is disabled."),
        ("auth pw", "+OK"),
        ("get k", "$-1"),
        ("reset", "+RESET"),
        ("get k", "-NOAUTH Authentication required."),
    ] {
        assert_eq!(bench.say(line), expected, "{line}");
    }
    assert!(bench.say("hello 3").starts_with("-NOAUTH HELLO must be called"));
    assert!(bench.say("hello 3 auth default pw setname me").starts_with("%7 $6 server $5 redis"));
    assert_eq!(bench.say("client getname"), "$2 me");
    assert!(bench.say("hello 4").starts_with("-NOPROTO"));
    let mut stranger = Bench::with(Some("pw"), SessionLimits::default());
    stranger.feed(b"*9\r\n");
    assert!(stranger.written().starts_with("-ERR Protocol error: invalid multibulk length"));
    assert_eq!(stranger.session.close(), Close::AfterOutput);
    let mut open = Bench::new();
    assert!(open.say("auth pw").starts_with("-ERR AUTH called without any password"));
}

#[test]
fn no_byte_after_a_broken_request_is_executed() {
    let mut bench = Bench::new();
    bench.feed(b"set a 1\r\nPOST / HTTP/1.1\r\nHost: x\r\n\r\nset b 2\r\n");
    bench.answer_all();
    let expected = "+OK\r\n-ERR this port speaks the Redis protocol, not HTTP; nothing was executed\r\n";
    assert_eq!(bench.written(), expected);
    assert_eq!(bench.session.close(), Close::AfterOutput);
    bench.feed(b"set c 3\r\n");
    assert_eq!(bench.store.len(), 1);
}

#[test]
fn replies_can_be_turned_off() {
    let mut bench = Bench::new();
    assert_eq!(bench.say("client reply skip"), "");
    assert_eq!(bench.say("set k v"), "");
    assert_eq!(bench.say("get k"), "$1 v");
    assert_eq!(bench.say("client reply off"), "");
    assert_eq!(bench.say("set k w"), "");
    assert_eq!(bench.say("ping"), "");
    assert_eq!(bench.say("client reply on"), "+OK");
    assert_eq!(bench.say("get k"), "$1 w");
}

#[test]
fn the_cluster_is_told_with_reachable_homes_first() {
    let mut bench = Bench::new();
    let slots = bench.say("cluster slots");
    assert!(slots.starts_with("*16 ") || slots.starts_with("*15 "), "{slots}");
    let nodes = bench.say("cluster nodes").replace("\n", "|");
    assert!(nodes.contains("127.0.0.1:7001@8001 myself,master - 0 0 1 connected 0-"), "{nodes}");
    assert!(nodes.contains("127.0.0.1:7002@8002 master - 0 0 2 connected "), "{nodes}");
    bench.session.door.set_reachable(NodeId(2), false);
    let text = bench.session.door.metrics.encode();
    assert!(text.contains(r#"quorate_cluster_partitions{health="quorum"} 16"#), "{text}");
    assert!(text.contains("quorate_cluster_failures_tolerated 0"), "{text}");
    let nodes = bench.say("cluster nodes");
    assert!(nodes.contains("127.0.0.1:7002@8002 master,fail - 0 0 2 disconnected\n"), "{nodes}");
    assert_eq!(bench.say("cluster keyslot foo"), ":12182");
    assert_eq!(bench.say("cluster myid"), format!("$40 {}", bench.session.door.cluster.hex_id(0)));
    assert!(bench.say("cluster info").contains("cluster_state:ok"));
    assert_eq!(bench.say("cluster countkeysinslot 16384"), "-ERR Invalid slot");
    assert_eq!(bench.say("cluster countkeysinslot 7"), ":1");
    assert!(bench.say("cluster shards").contains("$4 role $6 master"));
}

#[test]
fn the_server_tells_of_itself() {
    let mut bench = Bench::new();
    let info = bench.say("info");
    for line in ["redis_mode:cluster", "cluster_enabled:1", "role:master", "loading:0", "# Quorate", "members:3"] {
        assert!(info.contains(line), "{line} in {info}");
    }
    assert!(!bench.say("info keyspace").contains("role:master"));
    assert_eq!(bench.say("dbsize"), ":12");
    assert_eq!(bench.say("config get save appendonly"), "*4 $10 appendonly $3 yes $4 save $0");
    assert_eq!(bench.say("command count"), format!(":{}", commands::COMMANDS.len()));
    assert!(bench.say("command info get nope").starts_with("*2 *10 $3 get :2 *2 +readonly +fast :1 :1 :1"));
    assert!(bench.say("command docs set").contains("$7 summary"));
    assert!(bench.say("time").starts_with("*2 $10 1700000000"));
    assert_eq!(bench.say("client id"), ":7");
    assert!(bench.say("client info").contains("addr=127.0.0.1:5"));
    assert_eq!(bench.say("quit"), "+OK");
    assert_eq!(bench.session.close(), Close::AfterOutput);
}

#[test]
fn ended_requests_are_counted() {
    let mut bench = Bench::new();
    bench.say("get none");
    bench.say("q.put k v level one");
    bench.say("del k");
    let metrics = bench.session.door.metrics.clone();
    let text = metrics.encode();
    for line in [
        r#"quorate_requests_total{api="resp",op="get",level="keyspace",result="miss"} 1"#,
        r#"quorate_requests_total{api="resp",op="put",level="one",result="ok"} 1"#,
        r#"quorate_requests_total{api="resp",op="del",level="keyspace",result="ok"} 1"#,
    ] {
        assert!(text.contains(line), "{line} in {text}");
    }
}

/// Lines that a client might send, over few keys so that they meet.
fn lines() -> impl Strategy<Value = Vec<String>> {
    let line = prop_oneof![
        "get [abc]",
        "set [abc] [0-9]{1,3}",
        "del [abc] [abc]",
        "mget [abc] [abc] [abc]",
        "mset [abc] [0-9] [abc] [0-9]",
        "set reg/[ab] [0-9]",
        "get reg/[ab]",
        "exists [abc]",
        "ping",
        "nonsense",
        "hello [23]",
        "client reply (skip|on|off)",
    ];
    prop::collection::vec(line, 0..40)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    /// However the bytes are cut and in whatever order the node answers, a client sees what it would see if each of its
    /// requests were answered before the next is sent.
    #[test]
    fn a_pipeline_reads_like_one_request_at_a_time(
        lines in lines(), cut in 1usize..40, picks in prop::collection::vec(any::<prop::sample::Index>(), 200),
    ) {
        let mut alone = Bench::new();
        let mut expected = String::new();
        for line in &lines {
            alone.feed(format!("{line}\r\n").as_bytes());
            alone.answer_all();
            expected += &alone.written();
        }
        let mut bench = Bench::new();
        let stream: String = lines.iter().map(|line| format!("{line}\r\n")).collect();
        let mut bytes = stream.as_bytes();
        let mut seen = String::new();
        let mut picks = picks.into_iter().cycle();
        while !bytes.is_empty() || !bench.open.is_empty() || bench.session.is_blocked() {
            if !bytes.is_empty() && bench.session.wants_input() {
                let step = cut.min(bytes.len());
                bench.feed(&bytes[..step]);
                bytes = &bytes[step..];
            } else if bench.open.is_empty() {
                bench.advance();
            }
            // Writes of one plain key keep their order at the node: only the first of each key may be answered next.
            let ready: Vec<usize> = (0..bench.open.len())
                .filter(|&place| bench.open[..place].iter().all(|call| call.request.key != bench.open[place].request.key))
                .collect();
            if let (false, Some(pick)) = (ready.is_empty(), picks.next()) {
                bench.answer_one(*pick.get(&ready));
                bench.advance();
            }
            seen += &bench.written();
        }
        prop_assert_eq!(seen, expected);
        prop_assert_eq!(bench.session.in_flight_bytes, 0);
        prop_assert_eq!(bench.session.held_bytes, 0);
        prop_assert!(bench.session.marks.is_empty());
    }

    #[test]
    fn any_bytes_leave_the_session_whole(bytes in prop::collection::vec(any::<u8>(), 0..400), cut in 1usize..50) {
        let mut bench = Bench::new();
        for piece in bytes.chunks(cut) {
            bench.feed(piece);
            bench.answer_all();
        }
        prop_assert_eq!(bench.session.held_bytes, 0);
    }
}
