use super::*;
use std::sync::atomic::AtomicU64;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

struct Bench {
    status: Arc<Status>,
    turns: Arc<AtomicU64>,
    metrics: Arc<Metrics>,
}

fn bench() -> Bench {
    let metrics = Arc::new(Metrics::new("0.1.0", "abc", "1"));
    let turns = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&turns);
    let status = Arc::new(Status::new(Arc::clone(&metrics), move || counted.load(Ordering::Relaxed)));
    Bench { status, turns, metrics }
}

/// Asks over a real socket, on the loop that a node would share; returns status line and body.
fn ask(status: &Arc<Status>, path: &str) -> (String, String) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let address = spawn(bind("127.0.0.1:0").unwrap(), Arc::clone(status)).unwrap();
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.lines().next().unwrap().to_owned(), body.to_owned())
    })
}

#[test]
fn a_node_is_ready_once_every_check_has_passed() {
    let Bench { status, metrics, .. } = bench();
    let (code, body) = ask(&status, "/readyz");
    assert_eq!(code, "HTTP/1.1 503 Service Unavailable");
    let failing = "[-]storage-open failed\n[-]wal-replayed failed\n[-]ring-epoch-known failed\n[-]joined failed\n";
    assert_eq!(body, format!("{failing}not ready\n"));
    status.storage_is_open();
    metrics.epoch.set(1);
    assert_eq!(ask(&status, "/readyz").1, "[-]joined failed\nnot ready\n");
    metrics.set_node_state(NodeState::Ready);
    assert_eq!(ask(&status, "/readyz"), ("HTTP/1.1 200 OK".to_owned(), "ok\n".to_owned()));
    let verbose = ask(&status, "/readyz?verbose").1;
    assert!(verbose.starts_with("[+]storage-open ok\n") && verbose.ends_with("[+]not-draining ok\nok\n"), "{verbose}");
    status.is_draining();
    assert_eq!(ask(&status, "/readyz").1, "[-]not-draining failed\nnot ready\n");
}

#[test]
fn a_node_that_stays_out_says_why() {
    let Bench { status, metrics, .. } = bench();
    status.storage_is_open();
    metrics.epoch.set(1);
    metrics.set_node_state(NodeState::Blank);
    metrics.set_why_blank("its disk was lost".to_owned());
    let (code, body) = ask(&status, "/readyz");
    assert_eq!(code, "HTTP/1.1 503 Service Unavailable");
    assert_eq!(body, "[-]joined failed\nthis node stays out: its disk was lost\nnot ready\n");
}

#[test]
fn missing_members_degrade_a_node_but_do_not_unready_it() {
    let Bench { status, metrics, .. } = bench();
    status.storage_is_open();
    metrics.epoch.set(1);
    metrics.set_node_state(NodeState::Ready);
    let health = crate::metrics::PartitionHealth { ok: 0, quorum: 10, lost: 6, failures_tolerated: 0 };
    metrics.set_partitions(health);
    let (code, body) = ask(&status, "/readyz");
    assert_eq!(code, "HTTP/1.1 200 OK");
    assert_eq!(body, "degraded: 16 partitions lack a copy that can be reached\n");
    assert_eq!(ask(&status, "/livez").0, "HTTP/1.1 200 OK", "liveness never asks for peers");
}

#[test]
fn a_loop_that_stands_still_is_not_alive() {
    let Bench { status, turns, .. } = bench();
    let begin = Instant::now();
    let after = |seconds: u64| begin + Duration::from_secs(seconds);
    turns.store(1, Ordering::Relaxed);
    assert!(status.is_alive(after(1)));
    assert!(status.is_alive(after(5)));
    assert!(!status.is_alive(after(7)));
    turns.store(2, Ordering::Relaxed);
    assert!(status.is_alive(after(60)), "it turns again");
}

#[test]
fn metrics_are_served_with_what_the_system_knows() {
    let Bench { status, .. } = bench();
    let (code, body) = ask(&status, "/metrics");
    assert_eq!(code, "HTTP/1.1 200 OK");
    assert!(body.contains("quorate_build_info") && body.ends_with("# EOF\n"), "{body}");
    if cfg!(target_os = "linux") {
        let memory = body.lines().find(|line| line.starts_with("process_resident_memory_bytes ")).unwrap();
        assert_ne!(memory, "process_resident_memory_bytes 0");
    }
    assert_eq!(ask(&status, "/other").0, "HTTP/1.1 404 Not Found");
}
