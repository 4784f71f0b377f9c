//! `quorate check` as its users meet it: levels, several files, dumps, export, streams, and what it says of each.

use std::path::Path;

use assert_cmd::Command;
use serde_json::Value;
use tempfile::TempDir;

const STALE: &str = r#"{"quorate_history":1,"model":"kv","clock":"us"}
{"p":"c1","f":"put","k":"k","v":"1","inv":0,"ret":10,"r":"ok"}
{"p":"c1","f":"put","k":"k","v":"2","inv":20,"ret":30,"r":"ok"}
{"p":"c2","f":"get","k":"k","v":"1","inv":40,"ret":50,"r":"ok"}
"#;
const EVENTS: &str = r#"{"p":"c1","f":"put","k":"k","v":"1","inv":0}
{"p":"c1","ret":10,"r":"ok"}
{"p":"c2","f":"get","k":"k","inv":40}
{"p":"c2","ret":50,"r":"ok","v":SEEN}
"#;
const DUMP: &str = r#"{"at":60,"n":"n1","k":"k","v":"2"}
{"at":60,"n":"n2","k":"k","v":"2"}
"#;

fn folder() -> TempDir {
    let folder = TempDir::new().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write("stale.jsonl", STALE);
    write("ok.jsonl", &STALE.replace(r#""v":"1","inv":40"#, r#""v":"2","inv":40"#));
    write(
        "backwards.jsonl",
        &(STALE.to_string() + r#"{"p":"c1","f":"get","k":"k","v":"1","inv":60,"ret":70,"r":"ok"}"#),
    );
    write("events.jsonl", &EVENTS.replace("SEEN", "\"1\""));
    write("stale-events.jsonl", &EVENTS.replace("SEEN", "null"));
    write("dump.jsonl", DUMP);
    write("split.jsonl", &DUMP.replace(r#""n2","k":"k","v":"2""#, r#""n2","k":"k","v":"1""#));
    write("broken.jsonl", "{\"p\":");
    folder
}

fn check(folder: &Path, line: &str) -> (i32, String, String) {
    let mut command = Command::cargo_bin("quorate").unwrap();
    command.current_dir(folder).arg("check").args(line.split_whitespace());
    let output = command.write_stdin(STALE).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

#[test]
fn each_line_ends_with_its_code_and_says_why() {
    let folder = folder();
    for (line, code, says) in [
        ("ok.jsonl", 0, "OK  ok.jsonl: linearizable"),
        ("stale.jsonl", 1, "✗ no order of {"),
        ("stale.jsonl --verify --minimize", 1, "1 certificate verified"),
        ("stale.jsonl --level linearizable", 1, "1 of 1 keys not linearizable"),
        ("stale.jsonl --level sequential", 0, "OK  stale.jsonl: sequential"),
        ("stale.jsonl --level session", 0, "OK  stale.jsonl"),
        ("stale.jsonl --level strongest", 1, "strongest level that holds: sequential"),
        ("stale.jsonl --level strongest", 1, "delta-atomicity   0.00001s"),
        ("backwards.jsonl --level causal", 1, "came causally before it and after"),
        ("backwards.jsonl --level strongest", 1, "P(> 0 versions) 100"),
        ("backwards.jsonl --level eventual", 0, "OK"),
        ("stale.jsonl --level eventual --dump dump.jsonl", 0, "replicas agree since 0.00003s after the last write"),
        ("stale.jsonl --level eventual --dump split.jsonl", 1, "n1 holds 2, n2 holds 1"),
        ("ok.jsonl --dump split.jsonl --conflicts siblings", 1, "replicas do not hold what they should"),
        ("ok.jsonl --dump broken.jsonl", 2, "broken.jsonl: line 1"),
        ("ok.jsonl --dump nowhere.jsonl", 74, "nowhere.jsonl"),
        ("-", 1, "FAIL  -: 1 of 1 keys"),
        ("- -", 2, "stdin can be read once"),
        ("ok.jsonl stale.jsonl", 1, "OK  ok.jsonl"),
        ("ok.jsonl broken.jsonl", 2, "broken.jsonl: line 1"),
        ("ok.jsonl nowhere.jsonl", 74, "nowhere.jsonl"),
        ("stale.jsonl --level perfect", 2, "'perfect' is none of"),
        ("ok.jsonl --conflicts lww", 2, "--dump"),
        ("ok.jsonl stale.jsonl --dump dump.jsonl", 2, "belong to one history"),
        ("events.jsonl --stream", 0, "OK  events.jsonl"),
        ("stale-events.jsonl --stream", 1, "began on line 3"),
        ("ok.jsonl --stream", 2, "judged by events"),
        ("events.jsonl --stream --verify", 2, "--verify"),
        ("ok.jsonl --export-edn no/such/folder/x.edn", 74, "x.edn"),
        ("ok.jsonl --from csv", 2, "line 1"),
    ] {
        let (ended, stdout, stderr) = check(folder.path(), line);
        assert_eq!(ended, code, "quorate check {line}\n{stdout}\n{stderr}");
        assert!(stdout.contains(says) || stderr.contains(says), "quorate check {line}: {says}\n{stdout}\n{stderr}");
    }
}

#[test]
fn json_holds_what_a_picture_needs() {
    let folder = folder();
    let (_, stdout, _) = check(folder.path(), "stale.jsonl ok.jsonl --level strongest --verify --format json");
    let document: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!((&document["schema"], &document["exit"]), (&"quorate.check/1".into(), &1.into()));
    let (stale, ok) = (&document["files"][0], &document["files"][1]);
    assert_eq!(stale["violations"][0]["operations"].as_array().unwrap().len(), 3);
    assert_eq!(stale["levels"]["strongest"], "sequential");
    assert_eq!(stale["levels"]["staleness"]["delta"], 10);
    assert_eq!(stale["each_key"][0]["verdict"], "violation");
    assert_eq!(stale["history"].as_array().unwrap().len(), 3);
    assert_eq!(ok["each_key"][0]["witness"], serde_json::json!([0, 1, 2]));
    let (_, stdout, _) = check(folder.path(), "stale.jsonl broken.jsonl --dump dump.jsonl --format jsonl");
    assert_eq!(stdout, "", "one dump belongs to one history");
    let (_, stdout, _) = check(folder.path(), "stale.jsonl --dump split.jsonl --format jsonl");
    let object: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(object["end"]["verdict"], "violation");
    assert_eq!(object["end"]["ledger"]["must_survive"], serde_json::json!([1]));
    let (_, stdout, _) = check(folder.path(), "broken.jsonl events.jsonl --format jsonl");
    let exits: Vec<Value> =
        stdout.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["exit"].clone()).collect();
    assert_eq!(exits, [2, 0]);
}

#[test]
fn an_export_is_read_back_with_the_same_verdict() {
    let folder = folder();
    for (file, code) in [("ok.jsonl", 0), ("stale.jsonl", 1)] {
        let (ended, ..) = check(folder.path(), &format!("{file} --export-edn out.edn"));
        assert_eq!(ended, code);
        let (ended, stdout, stderr) = check(folder.path(), "out.edn");
        assert_eq!(ended, code, "{stdout}{stderr}");
        assert!(stdout.contains("jepsen-edn"), "{stdout}");
    }
}
