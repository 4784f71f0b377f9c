//! Files that are not traces: each is refused, and the error names the line and what is wrong with it.

use quorate_traces::{NodeTrace, PlanTrace};

const HEADER: &str =
    r#"{"quorate_trace":1,"name":"t","scenario":"default","expect":{"verdict":"ok"},"origin":{"seed":"0x7"}}"#;
const CFG: &str = concat!(
    r#"{"cfg":{"seed":"0x7","cluster":{"nodes":3,"rf":3,"partitions":16,"racks":1,"keyspaces":[{"prefix":"reg/","#,
    r#""mode":"register","n":3,"r":2,"w":2,"linearizable":true}]},"patience":{"request":100000,"resend":10000,"#,
    r#""introduce":10000,"drift_max":500000,"sequence_lease":64,"in_flight_max":100,"remembered_max":100,"#,
    r#""value_bytes_max":8192,"client":200000},"net":{"latency":{"uniform":{"min":100,"max":200}},"rack_penalty":0,"#,
    r#""client_latency":{"uniform":{"min":1,"max":1}},"fifo":false,"bandwidth":0},"disk":{"write":{"uniform":"#,
    r#"{"min":10,"max":10}},"sync":{"uniform":{"min":100,"max":100}},"segment_bytes":65536,"batch_bytes_max":65536,"#,
    r#""block_bytes":512,"flush_after_batches":16,"flush":100},"clocks":[{"skew":0,"drift_ppm":0,"tick":1},"#,
    r#"{"skew":0,"drift_ppm":0,"tick":1},{"skew":0,"drift_ppm":0,"tick":1}],"scheduler":"latency","#,
    r#""phases":{"heal_at":1000000,"live_within":10000000,"durability_void":false}}}"#
);
const OP: &str = r#"{"at":0,"op":1,"c":"c1","do":"put","key":"reg/k3","val":"v7","via":"n2"}"#;
const FAULT: &str = r#"{"at":5,"fault":"partition","a":["n1"],"b":["n3"],"until":9}"#;

fn file(lines: &[&str]) -> String {
    lines.join("\n")
}

#[test]
fn a_whole_trace_is_read_and_written_as_it_was() {
    let directive = r#"{"m":"n1>n2/Store#3","act":"delay","by":500}"#;
    let end = r#"{"end":12,"digest":"q:0123456789abcdef"}"#;
    let text = file(&[HEADER, CFG, OP, FAULT, directive, r#"{"step":8,"digest":"q:00000000000000ff"}"#, end]);
    let trace = PlanTrace::read(&text).expect("it is whole");
    assert_eq!(trace.write().trim_end(), text);
    let foreign = file(&[HEADER, CFG, r#"{"x-note":"made by hand"}"#, OP]);
    assert_eq!(PlanTrace::read(&foreign).expect("x- lines are skipped").plan.ops.len(), 1);
}

#[test]
fn every_malformed_trace_names_its_line() {
    let long = format!("{{\"x-note\":\"{}\"}}", "y".repeat(5 << 20));
    for (lines, expected) in [
        (vec![], "line 1: an empty file is no trace"),
        (vec!["hello"], "line 1: expected value"),
        (vec!["[1]"], "line 1: not a JSON object"),
        (vec![r#"{"quorate_history":1}"#], "line 1: a trace begins with"),
        (vec![r#"{"quorate_trace":2}"#], "line 1: this is trace format 2"),
        (vec![r#"{"quorate_trace":1}"#], "line 1: missing field"),
        (vec![HEADER], "line 2: the cfg line is missing"),
        (vec![HEADER, OP], "line 2: the second line of a trace is"),
        (vec![HEADER, &CFG.replace("\"nodes\":3", "\"nodes\":0")], "line 2: cluster.nodes must be 1 to 1000"),
        (vec![HEADER, &CFG.replace("\"nodes\":3", "\"nodes\":4")], "line 2: there must be one clock for each node"),
        (vec![HEADER, &CFG.replace("\"tick\":1", "\"tick\":0")], "line 2: clocks.tick must be at least 1"),
        (vec![HEADER, &CFG.replace("\"racks\":1", "\"racks\":1,\"zones\":2")], "line 2: unknown field `zones`"),
        (vec![HEADER, &CFG.replace("\"seed\":\"0x7\"", "\"seed\":7")], "line 2: invalid type: integer `7`"),
        (vec![HEADER, CFG, OP, OP], "line 4: operation 1 occurs twice"),
        (vec![HEADER, CFG, &OP.replace("n2", "n4")], "line 3: n4 is no member: the cluster has n1 to n3"),
        (vec![HEADER, CFG, &OP.replace("n2", "n02")], "line 3: expected a name like n3, found \"n02\""),
        (vec![HEADER, CFG, &OP.replace("put", "append")], "line 3: unknown variant `append`"),
        (vec![HEADER, CFG, &OP.replace("\"via\"", "\"level\":\"most\",\"via\"")], "line 3: unknown variant `most`"),
        (vec![HEADER, CFG, &OP.replace("\"via\"", "\"ttl\":5,\"via\"")], "line 3: unknown field `ttl`"),
        (vec![HEADER, CFG, &OP.replace("\"v7\"", "{\"b64\":\"?\"}")], "line 3: not base64"),
        (vec![HEADER, CFG, &OP.replace("\"v7\"", "{\"fill\":1,\"len\":9999999999}")], "line 3: "),
        (vec![HEADER, CFG, &OP.replace("\"at\":0", "\"at\":-1")], "line 3: invalid value: integer `-1`"),
        (vec![HEADER, CFG, &OP.replace("\"at\":0", "\"at\":0.5")], "line 3: invalid type: floating point"),
        (vec![HEADER, CFG, &FAULT.replace("partition", "earthquake")], "line 3: unknown variant `earthquake`"),
        (vec![HEADER, CFG, &FAULT.replace("\"n3\"", "\"n9\"")], "line 3: n9 is no member"),
        (vec![HEADER, CFG, &FAULT.replace("\"until\"", "\"by\":3,\"until\"")], "line 3: unknown field `by`"),
        (vec![HEADER, CFG, r#"{"m":"n4-n3","act":"drop"}"#], "line 3: a message is named n4>n3/Query#7"),
        (vec![HEADER, CFG, r#"{"m":"n1>n2/Query#1","act":"eat"}"#], "line 3: unknown variant `eat`"),
        (vec![HEADER, CFG, r#"{"step":8,"digest":"q:12"}"#], "line 3: a digest is q: and 16 hex digits"),
        (vec![HEADER, CFG, r#"{"end":1,"digest":"q:0000000000000001"}"#, OP], "line 4: nothing follows the end line"),
        (vec![HEADER, CFG, r#"{"comment":"hi"}"#], "line 3: neither op, fault, m, step nor end"),
        (vec![HEADER, CFG, OP.split_at(30).0], "line 3: EOF while parsing"),
        (vec![HEADER, CFG, &long], "line 3: longer than"),
    ] {
        let error = PlanTrace::read(&file(&lines)).expect_err(expected).to_string();
        assert!(error.starts_with(expected), "expected {expected:?}, found {error:?}");
    }
}

#[test]
fn every_malformed_node_trace_names_its_line() {
    for (text, expected) in [
        ("", "line 1: an empty file is no trace"),
        (HEADER, "line 1: a node trace begins with"),
        (r#"{"quorate_node":1}"#, "line 1: missing field `node`"),
        (r#"{"quorate_node":1,"node":"?"}"#, "line 1: the node's state is not base64"),
        (r#"{"quorate_node":1,"node":"////"}"#, "line 1: the node's state is damaged"),
    ] {
        let error = NodeTrace::read(text).expect_err(expected).to_string();
        assert!(error.starts_with(expected), "expected {expected:?}, found {error:?}");
    }
}

#[test]
fn errors_of_files_name_the_file() {
    let missing = std::path::Path::new("/nonexistent/a.trace.jsonl");
    let error = PlanTrace::load(missing).expect_err("there is no such file").to_string();
    assert!(error.starts_with("/nonexistent/a.trace.jsonl: "), "{error}");
}
