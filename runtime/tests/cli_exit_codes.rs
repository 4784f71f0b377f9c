//! How the process ends, case by case: the table of `quorate help exit-codes`, kept.

use std::path::Path;

use assert_cmd::Command;
use tempfile::TempDir;

fn quorate(folder: &Path) -> Command {
    let mut command = Command::cargo_bin("quorate").unwrap();
    command.current_dir(folder).env_remove("GITHUB_ACTIONS");
    command
}

/// Runs in a folder of its own and returns code, stdout and stderr.
fn run(folder: &Path, line: &str) -> (i32, String, String) {
    let output = quorate(folder).args(line.split_whitespace()).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

const OK: &str = r#"{"quorate_history":1,"model":"kv","clock":"us"}
{"p":"c1","f":"put","k":"k","v":"1","inv":0,"ret":10,"r":"ok"}
{"p":"c2","f":"get","k":"k","v":"1","inv":20,"ret":30,"r":"ok"}
"#;

fn folder() -> TempDir {
    let folder = TempDir::new().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write("ok.jsonl", OK);
    write("stale.jsonl", &OK.replace(r#""k":"k","v":"1","inv":20"#, r#""k":"k","v":null,"inv":20"#));
    write("broken.jsonl", &OK.replace("\"inv\":20", "\"inv\":\"soon\""));
    // Every value is written twice, so that only a search can tell, and it may look at nothing.
    let writes =
        (0..24).map(|at| format!(r#"{{"p":"c{at}","f":"put","k":"k","v":"{}","inv":0,"ret":100,"r":"ok"}}"#, at % 2));
    let reads =
        (0..6).map(|at| format!(r#"{{"p":"r{at}","f":"get","k":"k","v":"{}","inv":0,"ret":100,"r":"ok"}}"#, at % 2));
    let lines: Vec<String> = writes.chain(reads).collect();
    write("hard.jsonl", &(OK.lines().next().unwrap().to_string() + "\n" + &lines.join("\n") + "\n"));
    folder
}

#[test]
fn commands_end_as_the_table_says() {
    let folder = folder();
    for (line, code) in [
        ("version", 0),
        ("version --format json", 0),
        ("help exit-codes", 0),
        ("help sim", 0),
        ("completion bash", 0),
        ("sim list", 0),
        ("", 2),
        ("fly", 2),
        ("help flying", 2),
        ("sim --seed x", 2),
        ("sim --faults gremlins", 2),
        ("check ok.jsonl", 0),
        ("check ok.jsonl --verify --format json", 0),
        ("check stale.jsonl", 1),
        ("check ok.jsonl stale.jsonl", 1),
        ("check broken.jsonl", 2),
        ("check hard.jsonl --mem 1", 3),
        ("check nowhere.jsonl", 74),
        ("sim --seeds 5..5", 4),
        ("sim --scenario quiet --seeds 0..3 --no-progress", 0),
        ("sim --seeds 0..3 --require-coverage --no-progress", 1),
        ("replay nowhere.trace.jsonl", 74),
        ("replay ok.jsonl", 2),
        ("replay 7 --scenario quiet", 0),
        ("trace check-all .", 4),
    ] {
        let (ended, stdout, stderr) = run(folder.path(), line);
        assert_eq!(ended, code, "quorate {line}\n{stdout}\n{stderr}");
        assert!(code == 0 || !stderr.is_empty() || !stdout.is_empty(), "quorate {line} says why");
    }
}

#[test]
fn the_table_that_is_printed_has_every_code() {
    let folder = folder();
    let (_, table, _) = run(folder.path(), "help exit-codes");
    for code in [0, 1, 2, 3, 4, 5, 6, 69, 70, 74, 75, 77, 130, 143] {
        assert!(table.lines().any(|line| line.trim_start().starts_with(&format!("{code} "))), "{code}");
    }
}

/// A failing sweep, the replay line that it prints, and what becomes of the trace when it is tampered with.
#[test]
fn a_failing_seed_is_written_down_and_its_replay_line_fails_the_same_way() {
    let folder = folder();
    let line = "sim --scenario unsafe-quorum --seeds 0..40 --fail-fast 1 --shrink 2s --no-progress -j 1";
    let (code, stdout, _) = run(folder.path(), line);
    assert_eq!(code, 1, "{stdout}");
    let field = |name: &str| {
        let line = stdout.lines().find(|line| line.trim_start().starts_with(name)).expect("the block has this line");
        line.trim_start()[name.len()..].trim().to_string()
    };
    let (replay, digest) = (field("replay"), field("digest"));
    let (code, again, _) = run(folder.path(), replay.strip_prefix("quorate ").unwrap());
    assert_eq!(code, 1);
    assert!(again.contains(&digest), "{digest} in {again}");
    let file = folder.path().join(replay.split(' ').next_back().unwrap());
    let trace = std::fs::read_to_string(&file).unwrap();
    std::fs::create_dir(folder.path().join("traces")).unwrap();
    let kept = folder.path().join("traces/kept.trace.jsonl");
    for (title, text, check_code, replay_code) in [
        ("as it was", trace.clone(), 0, 1),
        ("another verdict is expected", trace.replace(r#""verdict":"violation""#, r#""verdict":"ok""#), 1, 1),
        ("another digest was recorded", trace.replace(digest.as_str(), "q:0000000000000001"), 5, 5),
        ("a later format", trace.replace(r#""quorate_trace":1"#, r#""quorate_trace":2"#), 6, 6),
        ("no trace at all", "{}\n".to_string(), 2, 2),
    ] {
        std::fs::write(&kept, &text).unwrap();
        let (code, stdout, stderr) = run(folder.path(), "trace check-all traces");
        assert_eq!(code, check_code, "{title}\n{stdout}\n{stderr}");
        let (code, stdout, stderr) = run(folder.path(), "replay traces/kept.trace.jsonl");
        assert_eq!(code, replay_code, "{title}\n{stdout}\n{stderr}");
    }
}

#[test]
fn the_same_seeds_have_the_same_digests_in_two_processes() {
    let folder = folder();
    let digests = |jobs: &str| {
        let (_, stdout, _) = run(folder.path(), &format!("sim --seeds 0..12 --format jsonl --shrink 0s -q -j {jobs}"));
        let digest = |line: &str| {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            (line["seed"].as_str().unwrap_or("summary").to_string(), line["digest"].as_str().unwrap().to_string())
        };
        let mut digests: Vec<_> = stdout.lines().map(digest).collect();
        digests.sort();
        digests
    };
    let (first, second) = (digests("1"), digests("2"));
    assert_eq!(first.len(), 13);
    assert_eq!(first, second);
}

#[test]
fn an_interrupted_sweep_says_what_it_found() {
    let folder = folder();
    let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_quorate"))
        .args(["sim", "--seeds", "0..100000000", "--scenario", "quiet", "--no-verify-determinism"])
        .current_dir(folder.path())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    // Until it has begun, nothing listens to signals; its first line comes after that.
    let mut first = [0];
    std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut first).unwrap();
    let killed = std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(killed.success());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130));
    let stdout = String::from_utf8(output.stdout).unwrap();
    assert!(stdout.contains("(interrupted)"), "{stdout}");
}

#[cfg(feature = "store")]
mod clients {
    use super::*;
    use std::io::{Read, Write};
    use std::net::TcpListener;

    /// Answers one connection with these bytes, whatever it asks.
    fn answering(answer: &'static [u8]) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let _ = stream.read(&mut [0; 4_096]);
            let _ = stream.write_all(answer);
        });
        address
    }

    #[test]
    fn clients_end_as_the_table_says() {
        let folder = folder();
        const VALUE: &[u8] =
            b"*6\r\n$6\r\nvalues\r\n*1\r\n$2\r\nhi\r\n$3\r\nctx\r\n$3\r\nq1a\r\n$7\r\nversion\r\n$9\r\n1.n1.i1.1\r\n";
        const MISS: &[u8] =
            b"*6\r\n$6\r\nvalues\r\n*0\r\n$3\r\nctx\r\n$3\r\nq1a\r\n$7\r\nversion\r\n$9\r\n0.n0.i0.0\r\n";
        const OPEN: &[u8] = b"-QUORUM have 1 need 2 (indeterminate) version=1.n1.i1.1\r\n";
        const NO_QUORUM: &[u8] = b"-QUORUM have 1 need 2 (timed out)\r\n";
        for (line, answer, code, said) in [
            ("get k", VALUE, 0, "hi\n"),
            ("get k", MISS, 1, ""),
            ("get k", NO_QUORUM, 75, ""),
            ("get k", b"-NOAUTH Authentication required.\r\n", 77, ""),
            ("get k", b"-LEVEL 9 copies were asked for\r\n", 2, ""),
            ("put k v", OPEN, 75, ""),
            // The connection ends without an answer: nobody knows.
            ("put k v", b"", 75, ""),
            ("del k", VALUE, 0, "q1a\n"),
        ] {
            let address = answering(answer);
            let (ended, stdout, stderr) = run(folder.path(), &format!("{line} --addr {address}"));
            assert_eq!((ended, stdout.as_str()), (code, said), "quorate {line}: {stderr}");
        }
        let (code, _, stderr) = run(folder.path(), "put k v --addr 127.0.0.1:1,127.0.0.1:2");
        assert_eq!(code, 69, "{stderr}");
    }

    #[test]
    fn a_retry_of_an_open_write_is_named() {
        let folder = folder();
        let address = answering(b"-QUORUM have 1 need 2 (indeterminate) version=1.n1.i1.1\r\n");
        let (_, _, stderr) = run(folder.path(), &format!("put k v --addr {address}"));
        assert!(stderr.contains("--present 1.n1.i1.1"), "{stderr}");
    }

    #[test]
    fn a_configuration_that_cannot_be_used_starts_nothing() {
        let folder = folder();
        std::fs::write(folder.path().join("quorate.toml"), "[nodes]\nid = \"n1\"\n").unwrap();
        for line in ["serve", "serve --check-config", "serve --config nowhere.toml", "serve --set x"] {
            let (code, _, stderr) = run(folder.path(), line);
            assert_eq!(code, 2, "quorate {line}: {stderr}");
        }
        std::fs::remove_file(folder.path().join("quorate.toml")).unwrap();
        let (code, stdout, _) = run(folder.path(), "serve --example-config");
        assert_eq!(code, 0);
        std::fs::write(folder.path().join("quorate.toml"), &stdout).unwrap();
        let (code, _, stderr) = run(folder.path(), "serve --print-config");
        assert_eq!(code, 0, "the example can be read back: {stderr}");
    }
}
