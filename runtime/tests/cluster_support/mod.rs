//! Processes, a small RESP client, and what a stranger might say on a peer port.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use quorate_core::config::{Config, Founding, Keyspace, Member, Mode};
use quorate_core::id::{ClusterId, NodeId};
use quorate_core::wal;
use quorate_core::wire::Hello;
use quorate_runtime::metrics::Metrics;
use quorate_runtime::resp::{ClusterView, Door, MemberView, SessionLimits};
use quorate_runtime::server::{EngineSettings, ServeError, Settings, serve};
use quorate_runtime::storage::{DiskOptions, LsmOptions};

const PATIENCE: Duration = Duration::from_secs(10);

/// A cluster of child processes on loopback.
pub(crate) struct Cluster {
    folder: tempfile::TempDir,
    clients: Vec<u16>,
    peers: Vec<u16>,
    processes: Vec<Option<Child>>,
    engine: &'static str,
    /// Whether (re)started nodes may found themselves.
    pub(crate) bootstrap: bool,
}

impl Cluster {
    /// Starts it and waits until every node counts.
    pub(crate) fn start(nodes: usize) -> Self {
        Self::start_with(nodes, "lsm")
    }

    /// Without logs.
    pub(crate) fn start_in_memory(nodes: usize) -> Self {
        Self::start_with(nodes, "memory")
    }

    fn start_with(nodes: usize, engine: &'static str) -> Self {
        let ports = free_ports(2 * nodes);
        let (clients, peers) = (ports[..nodes].to_vec(), ports[nodes..].to_vec());
        let folder = tempfile::tempdir().unwrap();
        let processes = (0..nodes).map(|_| None).collect();
        let mut cluster = Self { folder, clients, peers, processes, engine, bootstrap: true };
        for node in 0..nodes {
            cluster.restart(node);
        }
        for node in 0..nodes {
            cluster.wait_for(node, PATIENCE, &["SET", "warm", "up"], &Reply::status("OK"));
        }
        cluster
    }

    /// Starts a node that does not run, and waits until it says that it serves.
    pub(crate) fn restart(&mut self, node: usize) {
        assert!(self.processes[node].is_none());
        let log = File::create(self.log_path(node)).unwrap();
        self.processes[node] = Some(self.command(node, node, log).spawn().unwrap());
        let until = Instant::now() + PATIENCE;
        while !self.log(node).contains("serving after") {
            assert!(Instant::now() < until, "node {node} does not start:\n{}", self.log(node));
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Runs `node` on the directory of `owner` until it gives up; returns what it said.
    pub(crate) fn run_beside(&self, node: usize, owner: usize) -> String {
        let path = self.folder.path().join("beside.log");
        let mut command = self.command(node, owner, File::create(&path).unwrap());
        let free = free_ports(2);
        let ports = |mut all: Vec<u16>, port| {
            all[node] = port;
            join(&all)
        };
        command.env("QUORATE_TEST_CLIENTS", ports(self.clients.clone(), free[0]));
        command.env("QUORATE_TEST_PEERS", ports(self.peers.clone(), free[1]));
        assert!(!command.status().unwrap().success());
        fs::read_to_string(path).unwrap()
    }

    fn command(&self, node: usize, owner: usize, log: File) -> Command {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command
            .args(["--ignored", "--exact", "one_node", "--nocapture"])
            .env("QUORATE_TEST_NODE", node.to_string())
            .env("QUORATE_TEST_CLIENTS", join(&self.clients))
            .env("QUORATE_TEST_PEERS", join(&self.peers))
            .env("QUORATE_TEST_DIR", self.directory(owner))
            .env("QUORATE_TEST_ENGINE", self.engine)
            .env("QUORATE_TEST_BOOTSTRAP", if self.bootstrap { "1" } else { "" })
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log);
        command
    }

    /// What a node has written to its log since its last start.
    pub(crate) fn log(&self, node: usize) -> String {
        fs::read_to_string(self.log_path(node)).unwrap()
    }

    /// Waits until the log says something: a connection may close a moment before its reason is written.
    pub(crate) fn wait_for_log(&self, node: usize, what: &str) {
        let until = Instant::now() + PATIENCE;
        while !self.log(node).contains(what) {
            assert!(Instant::now() < until, "the log must say {what:?}:\n{}", self.log(node));
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn log_path(&self, node: usize) -> PathBuf {
        self.folder.path().join(format!("{node}.log"))
    }

    fn directory(&self, node: usize) -> PathBuf {
        self.folder.path().join(format!("data{node}"))
    }

    /// What a node keeps in memory, in bytes.
    pub(crate) fn memory(&self, node: usize) -> u64 {
        let pid = self.processes[node].as_ref().expect("it runs").id();
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("the kernel tells it");
        resident.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
    }

    /// `kill -9`.
    pub(crate) fn kill(&mut self, node: usize) {
        let mut child = self.processes[node].take().expect("it runs");
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// `kill -TERM`.
    pub(crate) fn terminate(&self, node: usize) {
        let pid = self.processes[node].as_ref().expect("it runs").id();
        assert!(Command::new("kill").args(["-TERM", &pid.to_string()]).status().unwrap().success());
    }

    /// How it ended by itself.
    pub(crate) fn wait_exit(&mut self, node: usize) -> ExitStatus {
        self.processes[node].take().expect("it runs").wait().unwrap()
    }

    /// Takes a stopped node's disk away.
    pub(crate) fn wipe(&self, node: usize) {
        fs::remove_dir_all(self.directory(node)).unwrap();
    }

    /// A connection to a node's client port.
    pub(crate) fn client(&self, node: usize) -> Client {
        let stream = TcpStream::connect(("127.0.0.1", self.clients[node])).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Client { stream: BufReader::new(stream) }
    }

    /// Asks until the answer is the one that is waited for.
    pub(crate) fn wait_for(&self, node: usize, patience: Duration, ask: &[&str], wanted: &Reply) {
        let until = Instant::now() + patience;
        loop {
            let answer = self.client(node).ask(ask);
            if answer == *wanted {
                return;
            }
            assert!(Instant::now() < until, "node {node} answers {ask:?} with {answer:?}:\n{}", self.log(node));
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Says `bytes` on a node's peer port; whether the node closes the connection within a while.
    pub(crate) fn peer_hangs_up(&self, node: usize, bytes: &[u8]) -> bool {
        let mut stream = TcpStream::connect(("127.0.0.1", self.peers[node])).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(7))).unwrap();
        // The node may hang up before it has read all.
        let _ = stream.write_all(bytes);
        let mut heard = [0; 1_024];
        loop {
            match stream.read(&mut heard) {
                Ok(0) => return true,
                Ok(_) => {}
                Err(error) => return error.kind() == std::io::ErrorKind::ConnectionReset,
            }
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for child in self.processes.iter_mut().flatten() {
            // It may have ended by itself.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn join(ports: &[u16]) -> String {
    ports.iter().map(u16::to_string).collect::<Vec<_>>().join(",")
}

fn free_ports(count: usize) -> Vec<u16> {
    let listeners: Vec<_> = (0..count).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    listeners.iter().map(|listener| listener.local_addr().unwrap().port()).collect()
}

/// What a server says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    Status(String),
    Error(String),
    Bulk(String),
    Missing,
}

impl Reply {
    pub(crate) fn status(text: &str) -> Self {
        Self::Status(text.to_owned())
    }
    pub(crate) fn bulk(text: &str) -> Self {
        Self::Bulk(text.to_owned())
    }
    pub(crate) fn is_error(&self) -> bool {
        matches!(self, Self::Error(_))
    }
}

/// Just enough of RESP.
pub(crate) struct Client {
    stream: BufReader<TcpStream>,
}

impl Client {
    pub(crate) fn say(&mut self, words: &[&str]) {
        let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
        for word in words {
            bytes.extend(format!("${}\r\n{word}\r\n", word.len()).bytes());
        }
        self.stream.get_mut().write_all(&bytes).unwrap();
    }

    pub(crate) fn hear(&mut self) -> Reply {
        self.try_hear().expect("an answer")
    }

    /// None once the connection is closed.
    pub(crate) fn try_hear(&mut self) -> Option<Reply> {
        let mut line = String::new();
        if self.stream.read_line(&mut line).ok()? == 0 {
            return None;
        }
        let (kind, rest) = line.trim_end().split_at(1);
        Some(match (kind, rest) {
            ("+", _) => Reply::status(rest),
            ("-", _) => Reply::Error(rest.to_owned()),
            ("$", "-1") | ("_", _) => Reply::Missing,
            ("$", _) => {
                let mut bytes = vec![0; rest.parse::<usize>().unwrap() + 2];
                self.stream.read_exact(&mut bytes).unwrap();
                bytes.truncate(bytes.len() - 2);
                Reply::Bulk(String::from_utf8(bytes).unwrap())
            }
            _ => panic!("unexpected reply {line:?}"),
        })
    }

    pub(crate) fn ask(&mut self, words: &[&str]) -> Reply {
        self.say(words);
        self.hear()
    }
}

fn founding(nodes: usize) -> Founding {
    let members =
        (1..=nodes as u32).map(|id| Member { id: NodeId(id), zone: "z".to_owned(), rack: format!("r{id}") }).collect();
    let keyspaces = vec![
        Keyspace { prefix: "".into(), mode: Mode::Lww, n: 3, r: 2, w: 2 },
        Keyspace { prefix: "lin:".into(), mode: Mode::Register, n: 3, r: 2, w: 2 },
    ];
    Founding::checked(ClusterId(4_711), members, 64, 3, keyspaces).unwrap()
}

/// Things that no peer says: a name, the bytes, and what the node's log must say about them.
pub(crate) fn peer_talk(cluster: &Cluster) -> Vec<(&'static str, Vec<u8>, &'static str)> {
    let founding = founding(cluster.clients.len());
    let hello = Hello::new(&founding, NodeId(1), NodeId(2));
    let encoded = |hello: Hello| hello.encode().to_vec();
    let mut damaged = encoded(hello);
    *damaged.last_mut().unwrap() ^= 1;
    let mut behind = encoded(hello);
    behind.extend([0xff; 200]);
    let mut huge = encoded(hello)[..20].to_vec();
    huge.extend([0xff; 60]);
    vec![
        ("HTTP", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(), "is no hello"),
        ("RESP", b"*1\r\n$4\r\nPING\r\n".to_vec(), "is no hello"),
        ("noise", (0..10_000u32).map(|at| (at * 7 % 251) as u8).collect(), "is no hello"),
        ("a damaged hello", damaged, "is no hello"),
        ("a hello that declares too much", huge, "is no hello"),
        ("a hello of another cluster", encoded(Hello { cluster: ClusterId(1), ..hello }), "belongs to"),
        ("a hello of another founding record", encoded(Hello { founding: 1, ..hello }), "founded otherwise"),
        ("a hello of no member", encoded(Hello { from: NodeId(9), ..hello }), "which no other member is"),
        ("a hello of the node itself", encoded(Hello { from: NodeId(2), ..hello }), "which no other member is"),
        ("a hello of a member that never calls", encoded(Hello { from: NodeId(3), ..hello }), "never calls it"),
        ("a hello for another node", encoded(Hello { to: NodeId(3), ..hello }), "takes this node for"),
        ("noise behind a good hello", behind, "what no node sends"),
    ]
}

/// Serves as the environment says, until terminated.
pub(crate) fn serve_as_told() {
    if std::env::var_os("QUORATE_TEST_NODE").is_none() {
        // Somebody asked for all ignored tests.
        return;
    }
    let told = |name: &str| std::env::var(format!("QUORATE_TEST_{name}")).unwrap();
    let ports = |name| told(name).split(',').map(|port| port.parse().unwrap()).collect::<Vec<u16>>();
    let (clients, peers) = (ports("CLIENTS"), ports("PEERS"));
    let index: usize = told("NODE").parse().unwrap();
    tracing_subscriber::fmt().with_ansi(false).with_writer(std::io::stderr).init();
    let me = NodeId(index as u32 + 1);
    let founding = founding(clients.len());
    let address = |port: &u16| format!("127.0.0.1:{port}");
    let settings = Settings {
        me,
        founding: founding.clone(),
        node: Config::default(),
        peer_addresses: BTreeMap::from_iter((1..).map(NodeId).zip(peers.iter().map(address))),
        listen_peer: address(&peers[index]),
        listen_client: address(&clients[index]),
        data_dir: Path::new(&told("DIR")).to_owned(),
        bootstrap: !told("BOOTSTRAP").is_empty(),
        engine: if told("ENGINE") == "memory" { EngineSettings::Memory } else { EngineSettings::Lsm(disk_options()) },
        clients_max: 1_000,
        connect_timeout: Duration::from_millis(500),
        peer_bytes_max: 16 << 20,
        drain_max: Duration::from_secs(5),
    };
    let members = founding.members().iter().enumerate().map(|(at, member)| MemberView {
        id: member.id,
        name: member.id.to_string(),
        host: "127.0.0.1".to_owned(),
        port: clients[at],
        peer_port: peers[at],
    });
    let view = ClusterView::new("test".to_owned(), me, founding.clone(), members.collect());
    let metrics = Arc::new(Metrics::new("test", "none", "0"));
    let door = Door::new(view, SessionLimits::default(), None, true, metrics);
    let stop = async {
        let mut term = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()).unwrap();
        term.recv().await;
    };
    let started = |serving: &quorate_runtime::server::Serving| {
        println!("serving after {:?}, replayed {}, {:?}", serving.took, serving.replayed, serving.blank);
    };
    if let Err(error) = serve(settings, door, started, stop) {
        let error: ServeError = error;
        println!("{error}");
        std::process::exit(error.exit_code().into());
    }
}

fn disk_options() -> DiskOptions {
    let log = wal::Options { segment_bytes: 16 << 20, ..wal::Options::default() };
    let tree = LsmOptions { record_cache_bytes: 64 << 20, block_cache_bytes: 16 << 20, bloom_bits: 10, compress: true };
    DiskOptions { log, tree, memtable_bytes: 16 << 20, log_bytes_max: 128 << 20 }
}
