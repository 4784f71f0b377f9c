//! The links between the nodes of a demo, as relays that can be cut: partitions without root.
//!
//! Every node is told, for each of its peers, the address of a relay of its own instead of the peer's. The relay
//! forwards bytes both ways and looks at the state of the two directions before each piece:
//!
//! - *open*: forwarded;
//! - *stalled*: nothing moves and nobody is told, as when packets are lost; what waits goes on after the heal;
//! - *severed*: connections are closed and new ones closed at once, as when a host refuses.

use std::io;
use std::rc::Rc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::watch;
use tokio::task::spawn_local;

use super::super::resp::dial;

/// What one direction between two nodes does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Flow {
    #[default]
    Open,
    Stalled,
    Severed,
}

/// The state of all directions.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Flows {
    nodes: usize,
    of: Vec<Flow>,
}

impl Flows {
    fn get(&self, from: usize, to: usize) -> Flow {
        self.of[from * self.nodes + to]
    }
}

/// All links of a cluster. Nodes are counted from 0.
#[derive(Debug)]
pub(super) struct Links {
    state: watch::Sender<Flows>,
    /// The port that `from` dials to reach `to`, at `from * nodes + to`.
    ports: Vec<u16>,
    nodes: usize,
}

impl Links {
    /// Starts one relay for each ordered pair of nodes; `peer_ports` are where the nodes themselves will listen.
    pub(super) async fn start(peer_ports: &[u16]) -> io::Result<Self> {
        let nodes = peer_ports.len();
        let (state, _) = watch::channel(Flows { nodes, of: vec![Flow::Open; nodes * nodes] });
        let mut ports = vec![0; nodes * nodes];
        for from in 0..nodes {
            for to in (0..nodes).filter(|to| *to != from) {
                let listener = TcpListener::bind("127.0.0.1:0").await?;
                ports[from * nodes + to] = listener.local_addr()?.port();
                let relay =
                    Relay { from, to, target: format!("127.0.0.1:{}", peer_ports[to]), state: state.subscribe() };
                spawn_local(Rc::new(relay).accept(listener));
            }
        }
        Ok(Links { state, ports, nodes })
    }

    /// The port that `from` dials to reach `to`.
    pub(super) fn port(&self, from: usize, to: usize) -> u16 {
        assert_ne!(from, to, "a node needs no link to itself");
        self.ports[from * self.nodes + to]
    }

    /// Changes one direction.
    pub(super) fn set(&self, from: usize, to: usize, flow: Flow) {
        self.state.send_modify(|flows| flows.of[from * flows.nodes + to] = flow);
    }

    /// Cuts every direction between two groups.
    pub(super) fn cut(&self, left: &[usize], right: &[usize], flow: Flow) {
        for &a in left {
            for &b in right {
                self.set(a, b, flow);
                self.set(b, a, flow);
            }
        }
    }

    /// Opens everything.
    pub(super) fn heal(&self) {
        self.state.send_modify(|flows| flows.of.fill(Flow::Open));
    }

    /// The directions that are not open.
    pub(super) fn closed(&self) -> Vec<(usize, usize, Flow)> {
        let flows = self.state.borrow();
        let pairs = (0..self.nodes).flat_map(|from| (0..self.nodes).map(move |to| (from, to)));
        pairs.map(|(from, to)| (from, to, flows.get(from, to))).filter(|(.., flow)| *flow != Flow::Open).collect()
    }
}

/// The link that `from` dials to reach `to`.
struct Relay {
    from: usize,
    to: usize,
    target: String,
    state: watch::Receiver<Flows>,
}

/// How long a relay tries to reach the real peer.
const DIAL_PATIENCE: Duration = Duration::from_secs(2);

impl Relay {
    async fn accept(self: Rc<Self>, listener: TcpListener) {
        loop {
            match listener.accept().await {
                Ok((near, _)) => {
                    spawn_local(Rc::clone(&self).connect(near));
                }
                // Out of descriptors, most likely: the dialler tries again, and so do we.
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    }

    async fn connect(self: Rc<Self>, near: tokio::net::TcpStream) {
        let (there, back) = ((self.from, self.to), (self.to, self.from));
        let mut state = self.state.clone();
        // A first packet that is lost means a connection that is not made yet.
        if !opened(&mut state, there).await || !opened(&mut state, back).await {
            return;
        }
        let Ok(far) = dial(&self.target, DIAL_PATIENCE).await else { return };
        if near.set_nodelay(true).is_err() {
            return;
        }
        let (near_read, near_write) = near.into_split();
        let (far_read, far_write) = far.into_split();
        // Both halves end together: a connection of which one direction is gone is no connection.
        tokio::select! {
            () = pump(near_read, far_write, self.state.clone(), there) => {}
            () = pump(far_read, near_write, self.state.clone(), back) => {}
        }
    }
}

/// Waits until a direction is open; `false` if it is severed.
async fn opened(state: &mut watch::Receiver<Flows>, (from, to): (usize, usize)) -> bool {
    let settled = state.wait_for(|flows| flows.get(from, to) != Flow::Stalled).await;
    settled.is_ok_and(|flows| flows.get(from, to) == Flow::Open)
}

/// Forwards one direction until it is severed or either side ends.
async fn pump(
    mut read: OwnedReadHalf,
    mut write: OwnedWriteHalf,
    mut state: watch::Receiver<Flows>,
    pair: (usize, usize),
) {
    let mut buffer = vec![0; 64 << 10];
    loop {
        if !opened(&mut state, pair).await {
            return;
        }
        let length = tokio::select! {
            biased;
            changed = state.changed() => match changed {
                Ok(()) => continue,
                Err(_) => return,
            },
            length = read.read(&mut buffer) => match length {
                Ok(0) | Err(_) => return,
                Ok(length) => length,
            },
        };
        if write.write_all(&buffer[..length]).await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpStream;
    use tokio::time::timeout;

    const SHORT: Duration = Duration::from_millis(150);

    async fn echo_listener() -> (u16, tokio::task::JoinHandle<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let echo = spawn_local(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                spawn_local(async move {
                    let (mut read, mut write) = stream.split();
                    let _ = tokio::io::copy(&mut read, &mut write).await;
                });
            }
        });
        (port, echo)
    }

    fn run(test: impl Future<Output = ()>) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        tokio::task::LocalSet::new().block_on(&runtime, test);
    }

    async fn says(stream: &mut TcpStream, byte: u8) -> bool {
        stream.write_all(&[byte]).await.unwrap();
        let mut answer = [0];
        matches!(timeout(SHORT, stream.read_exact(&mut answer)).await, Ok(Ok(_))) && answer == [byte]
    }

    #[test]
    fn a_stalled_link_holds_what_is_said_until_it_is_healed() {
        run(async {
            let (port, _echo) = echo_listener().await;
            let links = Links::start(&[1, port]).await.unwrap();
            let mut stream = TcpStream::connect(("127.0.0.1", links.port(0, 1))).await.unwrap();
            assert!(says(&mut stream, 1).await);
            links.cut(&[0], &[1], Flow::Stalled);
            assert_eq!(links.closed().len(), 2);
            assert!(!says(&mut stream, 2).await, "nothing comes through");
            links.heal();
            let mut answer = [0];
            timeout(SHORT, stream.read_exact(&mut answer)).await.expect("it goes on").unwrap();
            assert_eq!(answer, [2]);
        });
    }

    #[test]
    fn a_severed_link_closes_its_connections_and_takes_no_new_ones() {
        run(async {
            let (port, _echo) = echo_listener().await;
            let links = Links::start(&[1, port]).await.unwrap();
            let address = ("127.0.0.1", links.port(0, 1));
            let mut stream = TcpStream::connect(address).await.unwrap();
            assert!(says(&mut stream, 1).await);
            links.cut(&[0], &[1], Flow::Severed);
            assert_eq!(timeout(SHORT, stream.read(&mut [0])).await.expect("closed").unwrap_or(0), 0);
            let mut second = TcpStream::connect(address).await.unwrap();
            assert_eq!(timeout(SHORT, second.read(&mut [0])).await.expect("closed").unwrap_or(0), 0);
            links.heal();
            let mut third = TcpStream::connect(address).await.unwrap();
            assert!(says(&mut third, 3).await);
        });
    }

    #[test]
    fn one_direction_can_be_cut_alone() {
        run(async {
            let (port, _echo) = echo_listener().await;
            let links = Links::start(&[1, port]).await.unwrap();
            let mut stream = TcpStream::connect(("127.0.0.1", links.port(0, 1))).await.unwrap();
            assert!(says(&mut stream, 1).await);
            links.set(1, 0, Flow::Stalled);
            assert!(!says(&mut stream, 2).await, "the echo does not come back");
            links.heal();
            assert!(!says(&mut stream, 3).await, "the older echo comes first");
        });
    }
}
