//! `quorate demo`: a whole cluster on this machine, to play with and to break.
//!
//! N real processes with real disks, `quorate serve` children of this executable. Their links run through relays of the
//! demo ([`relay`]), so that they can be cut. Every client operation is recorded; the history is judged at the end, by
//! the same checker that judges simulated runs. With `--chaos` a seed decides who is killed, stopped and cut off when.

mod chaos;
mod cluster;
mod judge;
mod load;
mod prompt;
mod relay;

use std::io::{BufRead, IsTerminal};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};
use quorate_checker::Verdict;
use serde_json::json;
use tokio::sync::mpsc;

use super::client::Answer;
use super::record::{Recorder, Verb};
use crate::cli::console::{self, Console, Format, ResultFile};
use crate::cli::exit::{Ended, Exit, Failure, OrExit};
use crate::cli::units::{self, grouped, show};
use chaos::{Chaos, Kinds, Until};
use cluster::{Cluster, Layout, State};
use judge::{Judgement, Plain};
use load::{Client, Load};
use prompt::Line;
use relay::Flow;

/// Run a whole cluster on this machine, break it, and judge what its clients saw
#[derive(Args, Debug)]
pub(crate) struct Demo {
    /// How many nodes
    #[arg(short = 'n', long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=9), value_name = "N")]
    nodes: u8,
    /// Copies of each key; 3 or as many as there are nodes by default
    #[arg(long, value_parser = clap::value_parser!(u8).range(1..=9), value_name = "N")]
    rf: Option<u8>,
    /// Kill, stop and cut off nodes under load
    #[arg(long)]
    chaos: bool,
    /// How long chaos lasts
    #[arg(long, default_value = "30s", value_parser = units::duration, value_name = "TIME")]
    time: Duration,
    /// Chaos lasts until so many kills instead
    #[arg(long, requires = "chaos", value_name = "N")]
    kills: Option<u32>,
    /// Kinds of faults: kill, pause, cut, all
    #[arg(long, default_value = "all", value_name = "LIST")]
    faults: Kinds,
    /// What chaos and load are drawn from; printed, random by default
    #[arg(long, value_name = "SEED")]
    seed: Option<u64>,
    /// Operations per second of the clients during chaos
    #[arg(long, default_value = "500", value_parser = units::count, value_name = "N")]
    rate: u64,
    /// How many clients
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=1_000), value_name = "N")]
    clients: u32,
    /// Stop at no prompt: end with the verdict
    #[arg(long)]
    yes: bool,
    /// A prepared case instead
    #[arg(long, value_enum, conflicts_with_all = ["chaos", "kills"], value_name = "NAME")]
    scenario: Option<Scenario>,
    /// Where configuration, disks, logs and the history lie; a temporary folder by default
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Keep that folder
    #[arg(long)]
    keep: bool,
    /// Write what every client saw to FILE, for `quorate check`; into the folder by default
    #[arg(long, value_name = "FILE")]
    record: Option<PathBuf>,
    #[command(flatten)]
    file: ResultFile,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Scenario {
    /// R=1 and W=1, judged as if it were linearizable: a violation every time
    UnsafeQuorum,
}

/// Nodes must be ready within this long.
const READY_PATIENCE: Duration = Duration::from_secs(30);
/// The client that reads every key when everything is over.
const LAST_READER: &str = "last";

/// What a demo came to.
struct Outcome {
    judgement: Judgement,
    headline: String,
    object: serde_json::Value,
}

impl Demo {
    pub(crate) fn run(&self, console: &Console) -> Ended {
        let seed = self.seed.unwrap_or_else(rand_seed);
        let folder = self
            .dir
            .clone()
            .unwrap_or_else(|| std::env::temp_dir().join(format!("quorate-demo-{}-{seed:x}", std::process::id())));
        if folder.join("n1").exists() {
            return Err(Failure::usage(format!("{} holds an earlier demo", folder.display())));
        }
        std::fs::create_dir_all(&folder).or_exit(Exit::Io)?;
        // The children are found by absolute paths, wherever they are started.
        let folder = folder.canonicalize().or_exit(Exit::Io)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().or_exit(Exit::Io)?;
        let tasks = tokio::task::LocalSet::new();
        let ended = tasks.block_on(&runtime, async {
            tokio::select! {
                ended = self.play(console, &folder, seed) => ended,
                exit = interrupted() => Ok((None, exit)),
            }
        });
        let failed = !matches!(ended, Ok((_, Exit::Ok | Exit::Interrupted | Exit::Terminated)));
        let is_expected = self.scenario.is_some() && matches!(ended, Ok((_, Exit::Violation)));
        if self.keep || (failed && !is_expected) {
            console.note(format!("kept: {}", folder.display()));
        } else if self.dir.is_none() {
            std::fs::remove_dir_all(&folder).or_exit(Exit::Io)?;
        }
        let (outcome, exit) = ended?;
        if let Some(outcome) = outcome {
            self.print(console, &outcome)?;
        }
        Ok(exit)
    }

    fn print(&self, console: &Console, outcome: &Outcome) -> Result<(), Failure> {
        let Outcome { judgement, headline, object } = outcome;
        let text = match console.format {
            Format::Json | Format::Jsonl => format!("{object}\n"),
            Format::Text => {
                let mut text: String = judgement.findings.iter().map(|finding| format!("{finding}\n")).collect();
                text += &console.verdict(headline);
                text + "\n"
            }
        };
        console.print(&self.file, &text)
    }

    async fn play(&self, console: &Console, folder: &Path, seed: u64) -> Result<(Option<Outcome>, Exit), Failure> {
        let nodes = usize::from(self.nodes);
        let rf = self.rf.map_or(nodes.min(3), usize::from).min(nodes);
        let (r, w) = if self.scenario.is_some() { (1, 1) } else { (rf / 2 + 1, rf / 2 + 1) };
        let rf = if self.scenario.is_some() { nodes } else { rf };
        let layout = Layout { nodes, rf, r, w };
        let mut cluster = Cluster::prepare(&layout, folder).await.or_exit(Exit::Io)?;
        cluster.nodes.iter_mut().try_for_each(cluster::Node::start).or_exit(Exit::Io)?;
        cluster.ready(READY_PATIENCE).await.or_exit(Exit::Unreachable)?;
        let history = self.record.clone().unwrap_or_else(|| folder.join("history.jsonl"));
        let recorder = Recorder::new(console::create(&history)?);
        let load = Load::new(recorder, cluster.addresses());
        let mut facts = Facts { seed, started: Instant::now(), chaos: None };
        introduce(console, &cluster, &layout);
        if self.scenario == Some(Scenario::UnsafeQuorum) {
            unsafe_quorum(console, &cluster, &load).await?;
            let outcome = facts.judge(&load, &history, Plain::Linearizable, None)?;
            return Ok((Some(outcome.0), outcome.1));
        }
        load.start(self.clients, seed);
        if self.chaos {
            load.set_rate(self.rate.max(1));
            facts.chaos = Some(self.break_things(console, &mut cluster, &load, seed).await.or_exit(Exit::Bug)?);
            load.set_rate(0);
        }
        if !self.yes {
            converse(console, &mut cluster, &load, &history).await?;
        }
        load.stop().await;
        if load.done().operations == 0 {
            return Ok((None, Exit::Ok));
        }
        cluster.heal().or_exit(Exit::Bug)?;
        cluster.ready(READY_PATIENCE).await.or_exit(Exit::Bug)?;
        read_everything(&load, nodes).await;
        let outcome = facts.judge(&load, &history, Plain::Lww, Some(LAST_READER))?;
        Ok((Some(outcome.0), outcome.1))
    }

    async fn break_things(
        &self,
        console: &Console,
        cluster: &mut Cluster,
        load: &Rc<Load>,
        seed: u64,
    ) -> anyhow::Result<chaos::Done> {
        let until = self.kills.map_or(Until::Time(self.time), Until::Kills);
        let length = self.kills.map_or(self.time.as_secs().max(1), u64::from);
        let mut progress = console.progress(length, "chaos");
        let started = Instant::now();
        let said = |line: &str| {
            if console.verbose > 0 {
                eprintln!("{:>8}  {line}", show(started.elapsed()));
            }
        };
        let watched = Rc::clone(load);
        let done = Chaos::new(cluster, self.faults, seed, &said)
            .run(until, |done| {
                let at = if self.kills.is_some() { u64::from(done.kills) } else { started.elapsed().as_secs() };
                progress.at(at.min(length), || {
                    let load = watched.done();
                    format!(
                        "{} kills, {} pauses, {} cuts; {} operations, {} unknown",
                        done.kills, done.pauses, done.cuts, load.operations, load.unknown
                    )
                });
            })
            .await;
        progress.end();
        done
    }
}

fn rand_seed() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(std::process::id()) >> 32
}

/// SIGINT or SIGTERM; the children end with us.
async fn interrupted() -> Exit {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut terminated) = signal(SignalKind::terminate()) else { return std::future::pending().await };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => Exit::Interrupted,
        _ = terminated.recv() => Exit::Terminated,
    }
}

/// The lines to copy.
fn introduce(console: &Console, cluster: &Cluster, layout: &Layout) {
    if console.quiet || console.format != Format::Text {
        return;
    }
    println!("{} nodes, {} copies of each key; keys that begin with lin: are linearizable", layout.nodes, layout.rf);
    for node in &cluster.nodes {
        let (host, port) = node.client.rsplit_once(':').expect("an address has a port");
        println!(
            "{}  redis-cli -h {host} -p {port}    curl http://{}/metrics    {}",
            node.name,
            node.admin,
            node.folder.display()
        );
    }
    println!("all  quorate put lin:greeting hello --addr {}", cluster.addresses().join(","));
}

/// Two sides of a cut, each content with itself.
async fn unsafe_quorum(console: &Console, cluster: &Cluster, load: &Rc<Load>) -> Result<(), Failure> {
    let missing = |what: &str| Failure { exit: Exit::Bug, error: anyhow::anyhow!("{what} was not answered") };
    let nodes = cluster.nodes.len();
    if nodes < 2 {
        return Err(Failure::usage("a link can be cut between two nodes only: -n 2 or more"));
    }
    let mut one = Client::named(Rc::clone(load), "one");
    let mut other = Client::named(Rc::clone(load), "other");
    let others: Vec<usize> = (1..nodes).collect();
    for key in ["cart", "stock"] {
        one.operation(Verb::Put, key, 0, Some("all")).await.ok_or_else(|| missing("the first write"))?;
    }
    cluster.links.cut(&[0], &others, Flow::Stalled);
    console.note("cut: n1 from all others");
    other.operation(Verb::Put, "cart", 1, None).await.ok_or_else(|| missing("a write beyond the cut"))?;
    one.operation(Verb::Get, "cart", 0, None).await.ok_or_else(|| missing("a read on this side"))?;
    one.operation(Verb::Put, "stock", 0, None).await.ok_or_else(|| missing("a write on this side"))?;
    other.operation(Verb::Get, "stock", 1, None).await.ok_or_else(|| missing("a read beyond the cut"))?;
    cluster.links.heal();
    Ok(())
}

/// Reads every key, after everything: at ALL where the level can be chosen.
async fn read_everything(load: &Rc<Load>, nodes: usize) {
    let mut reader = Client::named(Rc::clone(load), LAST_READER);
    let deadline = Instant::now() + READY_PATIENCE;
    for (at, key) in Load::keys().enumerate() {
        let level = (!key.starts_with("lin:")).then_some("all");
        loop {
            let answered = reader.operation(Verb::Get, &key, at % nodes, level).await;
            if answered.is_some_and(|answered| !matches!(answered.answer, Answer::Failed(_)))
                || Instant::now() > deadline
            {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

/// What the verdict line tells beside the verdict.
struct Facts {
    seed: u64,
    started: Instant,
    chaos: Option<chaos::Done>,
}

impl Facts {
    fn judge(&self, load: &Load, file: &Path, plain: Plain, reader: Option<&str>) -> Result<(Outcome, Exit), Failure> {
        load.recorder.borrow_mut().flush().or_exit(Exit::Io)?;
        let judgement = judge::judge(file, plain, reader).or_exit(Exit::Io)?;
        let (done, took) = (load.done(), self.started.elapsed());
        let (word, exit) = match judgement.verdict {
            Verdict::Ok => ("OK", Exit::Ok),
            Verdict::Violation => ("FAIL", Exit::Violation),
            Verdict::Unknown => ("UNKNOWN", Exit::Unknown),
        };
        let mut headline = format!("{word}  {} operations in {}", grouped(judgement.operations as u64), show(took));
        if let Some(chaos) = &self.chaos {
            headline += &format!(
                " with {} kills, {} pauses, {} cuts (seed {}), {} unknown; slowest restart {}; longest time without an acknowledged write {}",
                chaos.kills,
                chaos.pauses,
                chaos.cuts,
                self.seed,
                done.unknown,
                show(chaos.slowest_restart()),
                show(done.longest_gap),
            );
        }
        let linear = match judgement.verdict {
            Verdict::Ok => "linearizable",
            Verdict::Violation | Verdict::Unknown => "judged as linearizable",
        };
        headline += &format!("; {} keys {linear}", judgement.linearizable_keys);
        if judgement.lww_keys > 0 {
            headline += &format!(
                ", {} lww keys: {} acknowledged writes looked for, {} findings",
                judgement.lww_keys,
                grouped(judgement.ledger as u64),
                judgement.findings.len(),
            );
        }
        let object = json!({
            "schema": "quorate.demo/1", "verdict": judgement.verdict.name(), "findings": judgement.findings,
            "operations": judgement.operations, "acknowledged_writes": done.acknowledged_writes,
            "failed": done.failed, "unknown": done.unknown, "retried": done.retried,
            "linearizable_keys": judgement.linearizable_keys, "lww_keys": judgement.lww_keys,
            "ledger_writes": judgement.ledger, "us": took.as_micros() as u64,
            "longest_gap_us": done.longest_gap.as_micros() as u64,
            "chaos": self.chaos.as_ref().map(|chaos| json!({
                "seed": self.seed, "kills": chaos.kills, "pauses": chaos.pauses, "cuts": chaos.cuts,
                "slowest_restart_us": chaos.slowest_restart().as_micros() as u64,
                "restarts": chaos.restarts.len(),
            })),
        });
        Ok((Outcome { judgement, headline, object }, exit))
    }
}

/// The prompt: one line, one act, until `quit` or the end of the input.
async fn converse(console: &Console, cluster: &mut Cluster, load: &Rc<Load>, history: &Path) -> Result<(), Failure> {
    let (sender, mut lines) = mpsc::unbounded_channel();
    // Blocking reads of stdin cannot be awaited; this thread ends with the process.
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines() {
            let Ok(line) = line else { return };
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    let is_terminal = std::io::stdin().is_terminal();
    if is_terminal {
        eprintln!("{}", prompt::HELP);
    }
    loop {
        if is_terminal {
            eprint!("> ");
        }
        let Some(line) = lines.recv().await else { return Ok(()) };
        match line.parse::<Line>() {
            Ok(Line::Quit) => return Ok(()),
            Ok(line) if line.largest_node().is_some_and(|node| node >= cluster.nodes.len()) => {
                console.complain("error", format!("there are nodes n1 to n{}", cluster.nodes.len()));
            }
            Ok(line) => match act(&line, cluster, load, history).await {
                Ok(words) if words.is_empty() => {}
                Ok(words) => println!("{words}"),
                Err(error) => console.complain("error", format!("{error:#}")),
            },
            Err(problem) => console.complain("error", problem),
        }
    }
}

async fn act(line: &Line, cluster: &mut Cluster, load: &Rc<Load>, history: &Path) -> anyhow::Result<String> {
    let said = match line {
        Line::Kill(node) => {
            cluster.nodes[*node].kill().await?;
            format!("n{} is dead", node + 1)
        }
        Line::Start(node) => {
            anyhow::ensure!(cluster.nodes[*node].state == State::Down, "n{} runs already", node + 1);
            cluster.nodes[*node].start()?;
            let started = Instant::now();
            cluster.nodes[*node].ready(started + READY_PATIENCE).await?;
            format!("n{} is ready after {}", node + 1, show(started.elapsed()))
        }
        Line::Stop(node) => {
            cluster.nodes[*node].stop()?;
            format!("n{} is stopped", node + 1)
        }
        Line::Continue(node) => {
            cluster.nodes[*node].proceed()?;
            format!("n{} goes on", node + 1)
        }
        Line::Partition(left, right) => {
            cluster.links.cut(left, right, Flow::Stalled);
            format!("{} directions are cut", cluster.links.closed().len())
        }
        Line::Heal => {
            cluster.links.heal();
            "all links are open".to_string()
        }
        Line::Load(rate) => {
            load.set_rate(*rate);
            if *rate == 0 {
                "the clients rest".to_string()
            } else {
                format!("{} operations per second", grouped(*rate))
            }
        }
        Line::Check => {
            load.recorder.borrow_mut().flush()?;
            let judgement = judge::judge(history, Plain::Lww, None)?;
            let mut words: Vec<String> = judgement.findings.clone();
            words.push(format!("{} so far: {} operations", judgement.verdict.name(), judgement.operations));
            words.join("\n")
        }
        Line::Status => status(cluster, load),
        Line::Help => prompt::HELP.to_string(),
        Line::Quit | Line::Nothing => String::new(),
    };
    Ok(said)
}

fn status(cluster: &Cluster, load: &Load) -> String {
    let mut lines: Vec<String> =
        cluster.nodes.iter().map(|node| format!("{}  {:?}  {}", node.name, node.state, node.client)).collect();
    for (from, to, flow) in cluster.links.closed() {
        lines.push(format!("n{} > n{}  {flow:?}", from + 1, to + 1));
    }
    let done = load.done();
    lines.push(format!("{} operations, {} failed, {} unknown", done.operations, done.failed, done.unknown));
    lines.join("\n")
}
