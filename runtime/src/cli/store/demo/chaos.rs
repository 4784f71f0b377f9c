//! The faults of a demo: processes killed and restarted, stopped and continued, links cut and healed, while clients go
//! on. What happens when is drawn from a seed; when exactly it takes effect is the machine's business.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tokio::task::spawn_local;

use super::cluster::{Cluster, State, is_ready};
use super::relay::Flow;

/// Which kinds of faults are on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Kinds {
    pub(super) kill: bool,
    pub(super) pause: bool,
    pub(super) cut: bool,
}

impl std::str::FromStr for Kinds {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let mut kinds = Kinds { kill: false, pause: false, cut: false };
        for word in text.split(',') {
            match word.trim() {
                "kill" => kinds.kill = true,
                "pause" => kinds.pause = true,
                "cut" => kinds.cut = true,
                "all" => kinds = Kinds { kill: true, pause: true, cut: true },
                other => return Err(format!("'{other}' is none of kill, pause, cut, all")),
            }
        }
        Ok(kinds)
    }
}

/// When chaos is over.
#[derive(Clone, Copy, Debug)]
pub(super) enum Until {
    Time(Duration),
    Kills(u32),
}

/// What was done to the cluster.
#[derive(Clone, Debug, Default)]
pub(super) struct Done {
    pub(super) kills: u32,
    pub(super) pauses: u32,
    pub(super) cuts: u32,
    /// From the start of a killed process to its word that it is ready.
    pub(super) restarts: Vec<Duration>,
}

impl Done {
    pub(super) fn slowest_restart(&self) -> Duration {
        self.restarts.iter().max().copied().unwrap_or_default()
    }
}

/// How a fault ends.
#[derive(Clone, Debug)]
enum Undo {
    Start(usize),
    Continue(usize),
    Heal,
}

pub(super) struct Chaos<'a> {
    cluster: &'a mut Cluster,
    rng: ChaCha8Rng,
    kinds: Kinds,
    done: Done,
    restarts: Rc<RefCell<Vec<Duration>>>,
    /// Counts the starts of each node, so that a wait for readiness knows whether it is still meant.
    starts: Vec<Rc<Cell<u32>>>,
    undo: Vec<(Instant, Undo)>,
    next_victim: usize,
    said: &'a dyn Fn(&str),
}

impl<'a> Chaos<'a> {
    pub(super) fn new(cluster: &'a mut Cluster, kinds: Kinds, seed: u64, said: &'a dyn Fn(&str)) -> Self {
        let starts = cluster.nodes.iter().map(|_| Rc::default()).collect();
        let rng = ChaCha8Rng::seed_from_u64(seed);
        let (done, restarts, undo) = (Done::default(), Rc::default(), Vec::new());
        Chaos { cluster, rng, kinds, done, restarts, starts, undo, next_victim: 0, said }
    }

    /// Breaks and mends until it is over; leaves everything healed and running. `each` is called all the time.
    pub(super) async fn run(mut self, until: Until, mut each: impl FnMut(&Done)) -> anyhow::Result<Done> {
        let started = Instant::now();
        let mut next = started + Duration::from_millis(500);
        loop {
            let over = match until {
                Until::Time(time) => started.elapsed() >= time,
                Until::Kills(kills) => self.done.kills >= kills,
            };
            if over && self.undo.is_empty() {
                break;
            }
            let now = Instant::now();
            while let Some(at) = self.undo.iter().position(|(due, _)| over || *due <= now) {
                let (_, undo) = self.undo.remove(at);
                self.mend(undo)?;
            }
            if !over && now >= next {
                self.strike().await?;
                next = Instant::now() + self.between(200, 1_200);
            }
            each(&self.done);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        self.cluster.heal()?;
        self.cluster.ready(Duration::from_secs(30)).await?;
        self.done.restarts = self.restarts.borrow().clone();
        Ok(self.done)
    }

    fn between(&mut self, low_ms: u64, high_ms: u64) -> Duration {
        Duration::from_millis(self.rng.random_range(low_ms..high_ms))
    }

    async fn strike(&mut self) -> anyhow::Result<()> {
        let mut acts = Vec::new();
        let nodes = self.cluster.nodes.len();
        let away = self.cluster.nodes.iter().filter(|node| node.state != State::Up).count();
        // Mostly a minority is away, so that there is progress to lose; sometimes more than that.
        let most = if self.rng.random_range(0..6) == 0 { nodes - 1 } else { (nodes - 1) / 2 };
        if self.kinds.kill && away < most.max(1) {
            acts.push(Act::Kill);
        }
        if self.kinds.pause && away < most.max(1) {
            acts.push(Act::Pause);
        }
        if self.kinds.cut && nodes > 1 && !self.undo.iter().any(|(_, undo)| matches!(undo, Undo::Heal)) {
            acts.push(Act::Cut);
        }
        if acts.is_empty() {
            return Ok(());
        }
        match acts[self.rng.random_range(0..acts.len())] {
            Act::Kill => self.kill().await,
            Act::Pause => self.pause(),
            Act::Cut => {
                self.cut();
                Ok(())
            }
        }
    }

    /// The next node that is up: each in turn, so that every one is struck.
    fn victim(&mut self) -> usize {
        let nodes = self.cluster.nodes.len();
        loop {
            let victim = self.next_victim % nodes;
            self.next_victim += 1;
            if self.cluster.nodes[victim].state == State::Up {
                return victim;
            }
        }
    }

    async fn kill(&mut self) -> anyhow::Result<()> {
        let victim = self.victim();
        self.cluster.nodes[victim].kill().await?;
        self.done.kills += 1;
        let down = self.between(50, 1_500);
        (self.said)(&format!("kill -9 n{}, start after {} ms", victim + 1, down.as_millis()));
        self.undo.push((Instant::now() + down, Undo::Start(victim)));
        Ok(())
    }

    fn pause(&mut self) -> anyhow::Result<()> {
        let victim = self.victim();
        self.cluster.nodes[victim].stop()?;
        self.done.pauses += 1;
        let time = self.between(50, 3_000);
        (self.said)(&format!("stop n{} for {} ms", victim + 1, time.as_millis()));
        self.undo.push((Instant::now() + time, Undo::Continue(victim)));
        Ok(())
    }

    fn cut(&mut self) {
        let nodes = self.cluster.nodes.len();
        let alone = self.rng.random_range(0..nodes);
        let flow = if self.rng.random_range(0..3) == 0 { Flow::Severed } else { Flow::Stalled };
        let others: Vec<usize> = (0..nodes).filter(|node| *node != alone).collect();
        let words = match self.rng.random_range(0..4) {
            0 => {
                let other = others[self.rng.random_range(0..others.len())];
                self.cluster.links.cut(&[alone], &[other], flow);
                format!("n{}|n{}", alone + 1, other + 1)
            }
            1 => {
                others.iter().for_each(|other| self.cluster.links.set(alone, *other, flow));
                format!("everything from n{}", alone + 1)
            }
            2 => {
                others.iter().for_each(|other| self.cluster.links.set(*other, alone, flow));
                format!("everything to n{}", alone + 1)
            }
            _ => {
                self.cluster.links.cut(&[alone], &others, flow);
                format!("n{} from all", alone + 1)
            }
        };
        self.done.cuts += 1;
        let time = self.between(100, 3_000);
        (self.said)(&format!("cut {words} ({flow:?}) for {} ms", time.as_millis()));
        self.undo.push((Instant::now() + time, Undo::Heal));
    }

    fn mend(&mut self, undo: Undo) -> anyhow::Result<()> {
        match undo {
            Undo::Start(node) => {
                self.cluster.nodes[node].start()?;
                self.watch(node);
            }
            Undo::Continue(node) => self.cluster.nodes[node].proceed()?,
            Undo::Heal => self.cluster.links.heal(),
        }
        Ok(())
    }

    /// Notes how long the node that has just started takes until it serves.
    fn watch(&mut self, node: usize) {
        let start = self.starts[node].get() + 1;
        self.starts[node].set(start);
        let (starts, restarts) = (Rc::clone(&self.starts[node]), Rc::clone(&self.restarts));
        let admin = self.cluster.nodes[node].admin.clone();
        spawn_local(async move {
            let started = Instant::now();
            while starts.get() == start && started.elapsed() < Duration::from_secs(30) {
                if is_ready(&admin).await {
                    restarts.borrow_mut().push(started.elapsed());
                    return;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        });
    }
}

/// Kinds of strikes.
#[derive(Clone, Copy, Debug)]
enum Act {
    Kill,
    Pause,
    Cut,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_read_from_a_list() {
        assert_eq!("kill,cut".parse(), Ok(Kinds { kill: true, pause: false, cut: true }));
        assert_eq!("all".parse(), Ok(Kinds { kill: true, pause: true, cut: true }));
        assert!("flood".parse::<Kinds>().is_err());
    }
}
