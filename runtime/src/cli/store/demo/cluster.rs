//! The processes of a demo: `quorate serve` children of this executable, each with its own ports and its own disk.

use std::fs::{self, File};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::Context;
use futures::future::try_join_all;
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};

use super::super::resp::dial;
use super::relay::Links;

/// What a cluster is made of.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    pub(super) nodes: usize,
    pub(super) rf: usize,
    /// R and W of the keyspace without a prefix.
    pub(super) r: usize,
    pub(super) w: usize,
}

/// What a process does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Up,
    Stopped,
    Down,
}

/// One node: where it listens, where it lives, and its process if it has one.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) name: String,
    pub(super) client: String,
    pub(super) admin: String,
    pub(super) folder: PathBuf,
    pub(super) state: State,
    child: Option<Child>,
}

/// All nodes, and the links between them.
#[derive(Debug)]
pub(super) struct Cluster {
    pub(super) nodes: Vec<Node>,
    pub(super) links: Links,
}

/// The ports of one node.
struct Ports {
    client: u16,
    peer: u16,
    admin: u16,
}

impl Cluster {
    /// Takes ports, writes the configuration files and starts the relays; no node runs yet.
    pub(super) async fn prepare(layout: &Layout, folder: &Path) -> anyhow::Result<Self> {
        let ports = free_ports(layout.nodes)?;
        let peers: Vec<u16> = ports.iter().map(|ports| ports.peer).collect();
        let links = Links::start(&peers).await.context("the relays between the nodes")?;
        let mut nodes = Vec::new();
        for (me, mine) in ports.iter().enumerate() {
            let name = format!("n{}", me + 1);
            let folder = folder.join(&name);
            fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
            fs::write(folder.join("quorate.toml"), configuration(layout, &ports, me, &links, &folder))?;
            nodes.push(Node {
                name,
                client: format!("127.0.0.1:{}", mine.client),
                admin: format!("127.0.0.1:{}", mine.admin),
                folder,
                state: State::Down,
                child: None,
            });
        }
        Ok(Cluster { nodes, links })
    }

    pub(super) fn addresses(&self) -> Vec<String> {
        self.nodes.iter().map(|node| node.client.clone()).collect()
    }

    /// Lets every stopped node go on, starts every node that is down, and opens every link.
    pub(super) fn heal(&mut self) -> anyhow::Result<()> {
        self.links.heal();
        for node in &mut self.nodes {
            match node.state {
                State::Up => {}
                State::Stopped => node.proceed()?,
                State::Down => node.start()?,
            }
        }
        Ok(())
    }

    /// Waits until every node says that it is ready. A process that ended by itself is an error, and so is its log.
    pub(super) async fn ready(&mut self, patience: Duration) -> anyhow::Result<()> {
        let deadline = Instant::now() + patience;
        try_join_all(self.nodes.iter_mut().map(|node| node.ready(deadline))).await?;
        Ok(())
    }
}

impl Node {
    /// Starts the process; on a disk that it has used before, it recovers.
    pub(super) fn start(&mut self) -> anyhow::Result<()> {
        assert!(self.child.is_none(), "one process per disk");
        let executable = std::env::current_exe().context("the path of this executable")?;
        let log = File::options().create(true).append(true).open(self.folder.join("log")).context("its log")?;
        let child = Command::new(executable)
            .args(["serve", "--config"])
            .arg(self.folder.join("quorate.toml"))
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("starting {}", self.name))?;
        self.child = Some(child);
        self.state = State::Up;
        Ok(())
    }

    /// SIGKILL: what was not synced stays with the kernel, what was in memory is gone.
    pub(super) async fn kill(&mut self) -> anyhow::Result<()> {
        if let Some(mut child) = self.child.take() {
            child.kill().await.with_context(|| format!("killing {}", self.name))?;
        }
        self.state = State::Down;
        Ok(())
    }

    /// SIGSTOP.
    pub(super) fn stop(&mut self) -> anyhow::Result<()> {
        self.signal(Signal::STOP)?;
        self.state = State::Stopped;
        Ok(())
    }

    /// SIGCONT.
    pub(super) fn proceed(&mut self) -> anyhow::Result<()> {
        self.signal(Signal::CONT)?;
        self.state = State::Up;
        Ok(())
    }

    fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        let number = self.child.as_ref().and_then(Child::id).and_then(|number| i32::try_from(number).ok());
        let process = number.and_then(Pid::from_raw).with_context(|| format!("{} is not running", self.name))?;
        kill_process(process, signal).with_context(|| format!("signalling {}", self.name))
    }

    /// Waits until the node says that it is ready. A process that has ended meanwhile is started again a few times:
    /// one of its ports may have been taken for a moment by somebody's outgoing connection.
    pub(super) async fn ready(&mut self, deadline: Instant) -> anyhow::Result<()> {
        let mut restarts = 0;
        loop {
            if is_ready(&self.admin).await {
                return Ok(());
            }
            if let Some(child) = &mut self.child
                && let Some(status) = child.try_wait()?
            {
                anyhow::ensure!(
                    restarts < RESTARTS_MAX,
                    "{} ended by itself ({status}):\n{}",
                    self.name,
                    self.log_tail()
                );
                restarts += 1;
                self.child = None;
                tokio::time::sleep(Duration::from_millis(100)).await;
                self.start()?;
            }
            anyhow::ensure!(Instant::now() < deadline, "{} is not ready in time:\n{}", self.name, self.log_tail());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// The end of its log.
    fn log_tail(&self) -> String {
        let text = fs::read_to_string(self.folder.join("log")).unwrap_or_default();
        let lines: Vec<_> = text.lines().collect();
        lines[lines.len().saturating_sub(12)..].join("\n")
    }
}

const RESTARTS_MAX: u32 = 3;

/// Asks `/readyz` once.
pub(super) async fn is_ready(admin: &str) -> bool {
    let asking = async {
        let mut stream = dial(admin, Duration::from_millis(500)).await?;
        stream.write_all(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await?;
        let mut answer = Vec::new();
        stream.take(4_096).read_to_end(&mut answer).await?;
        Ok::<bool, std::io::Error>(answer.starts_with(b"HTTP/1.1 200"))
    };
    tokio::time::timeout(Duration::from_secs(1), asking).await.is_ok_and(|answer| answer.unwrap_or(false))
}

/// Ports that nobody uses, found by binding them all at once.
fn free_ports(nodes: usize) -> anyhow::Result<Vec<Ports>> {
    let listeners: Vec<TcpListener> =
        (0..3 * nodes).map(|_| TcpListener::bind("127.0.0.1:0")).collect::<Result<_, _>>().context("free ports")?;
    let ports = listeners.iter().map(|listener| Ok(listener.local_addr()?.port()));
    let ports: Vec<u16> = ports.collect::<std::io::Result<_>>()?;
    Ok(ports.chunks(3).map(|ports| Ports { client: ports[0], peer: ports[1], admin: ports[2] }).collect())
}

/// The configuration file of one node. It knows its peers by the relays that lead to them.
fn configuration(layout: &Layout, ports: &[Ports], me: usize, links: &Links, folder: &Path) -> String {
    use std::fmt::Write;
    let Ports { client, peer, admin } = ports[me];
    let Layout { rf, r, w, .. } = layout;
    let data = folder.join("data");
    let mut text = format!(
        "[node]\nid = \"n{}\"\ndata_dir = {data:?}\n\n\
         [listen]\nclient = \"127.0.0.1:{client}\"\npeer = \"127.0.0.1:{peer}\"\nadmin = \"127.0.0.1:{admin}\"\n\n\
         [cluster]\nname = \"demo\"\npartitions = 64\nrf = {rf}\nbootstrap = true\n\n\
         [[keyspace]]\nprefix = \"\"\nmode = \"lww\"\nn = {rf}\nr = {r}\nw = {w}\n\n\
         [[keyspace]]\nprefix = \"lin:\"\nmode = \"register\"\nn = {rf}\n",
        me + 1,
    );
    for (other, ports) in ports.iter().enumerate() {
        let peer = if other == me { peer } else { links.port(me, other) };
        write!(
            text,
            "\n[[member]]\nid = {id}\nname = \"n{id}\"\npeer = \"127.0.0.1:{peer}\"\nclient = \"127.0.0.1:{client}\"\n",
            id = other + 1,
            client = ports.client,
        )
        .expect("a string takes all");
    }
    text
}
