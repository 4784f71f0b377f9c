//! Every format with a known verdict, and bad input named by line.

use quorate_checker::weaker::eventual::{Conflicts, Dump, check_end};
use quorate_checker::{
    Asked, FailedCas, Format, Kind, Level, NEVER, Online, Options, Outcome, ReadError, Recorded, RunOptions, Source,
    Value, Verdict, check_history, check_stream, read, read_jsonl, run, write_jepsen_edn, write_jsonl,
};

fn recorded(text: &str) -> Recorded {
    read(text.as_bytes(), None, None).unwrap_or_else(|error| panic!("{error}: {text}"))
}

fn verdict(text: &str, format: Format) -> Verdict {
    let recorded = recorded(text);
    assert_eq!(recorded.format, format, "{text}");
    check_history(&recorded.history, &recorded.options()).verdict
}

#[test]
fn our_own_form_is_read_whole_and_as_events() {
    let whole = r#"{"quorate_history":1,"model":"kv","clock":"us"}
{"p":"c1","f":"put","k":"reg/k3","v":"v7","inv":1620000,"ret":1640000,"r":"ok","ver":"9f3a.n1.7","via":"n2","level":"quorum"}
{"p":"c2","f":"cas","k":"reg/k3","from":"v7","to":"v8","inv":1650000,"ret":null,"r":"info"}
{"x-note":"anything","nested":{"a":[1,2,{"b":null}]}}

{"p":3,"f":"get","k":"reg/k3","v":{"b64":"djg="},"inv":1660000,"ret":1670000,"r":"ok","unknown":[1,{"a":1.5}]}
"#;
    assert_eq!(verdict(whole, Format::Jsonl), Verdict::Ok);
    let history = recorded(whole).history;
    assert_eq!((history.len(), history.operation(0).level), (3, Level::Quorum));
    assert_eq!(history.operation(0).version(), Some(&Value::text("9f3a.n1.7")));
    assert_eq!((history.operation(1).outcome, history.operation(1).end()), (Outcome::Unknown, NEVER));
    assert_eq!(history.operation(2).value, Value::text("v8"));
    assert_eq!((history.operation(2).line, history.client_name(history.operation(2).client)), (6, "3"));
    let events = r#"{"p":"a","f":"put","k":"x","v":"1","inv":0}
{"p":"b","f":"get","k":"x","inv":1}
{"p":"b","ret":2,"r":"ok","v":"1","ver":"z"}
{"p":"a","ret":3,"r":"ok"}
{"p":"b","f":"get","k":"x","inv":4}
{"p":"b","ret":5,"r":"ok","v":null}
{"p":"a","f":"put","k":"y","v":"2","inv":6}
"#;
    assert_eq!(verdict(events, Format::Jsonl), Verdict::Violation);
    let history = recorded(events).history;
    assert_eq!((history.len(), history.keys().len()), (4, 2));
    assert_eq!(history.operation(3).outcome, Outcome::Unknown, "never ended");
    let stream = check_stream(events.as_bytes(), &Options::default()).expect("events in order");
    assert_eq!((stream.verdict, stream.illegal[0].call, stream.operations), (Verdict::Violation, 5, 4));
}

#[test]
fn what_is_written_is_read_back_the_same() {
    let text = r#"{"p":"c\"1","f":"put","k":"k\né","v":"a\\b","inv":-5,"ret":7,"r":"ok","level":"one"}
{"p":"c","f":"cas","k":"k","from":1,"to":{"fill":7,"len":1048576},"seen":"x","inv":1,"ret":2,"r":"fail"}
{"p":"c","f":"get","k":"k","v":{"any":1},"inv":3,"ret":4,"r":"ok"}
{"p":"d","f":"add","k":"s","v":[1,"a",null],"inv":3,"ret":null,"r":"info"}
{"p":"d","f":"del","k":"s","inv":3,"ret":9,"r":"ok","ver":12}
{"p":"e","f":"put","k":"s","v":{"b64":"/wA="},"inv":3,"ret":9,"r":"ok"}
{"p":"e","f":"put","k":"s","v":true,"inv":30,"ret":90,"r":"ok"}
"#;
    let first = read_jsonl(text.as_bytes()).expect("well-formed");
    let mut written = Vec::new();
    write_jsonl(&first, &mut written).expect("memory takes everything");
    let second = read_jsonl(written.as_slice()).expect("what was written");
    let without_lines = |history: &quorate_checker::History| {
        let mut operations = history.operations().to_vec();
        operations.iter_mut().for_each(|operation| operation.line = 0);
        operations
    };
    assert_eq!(without_lines(&first), without_lines(&second));
}

#[test]
fn jepsen_edn_is_read_with_and_without_independent_keys() {
    let plain = "; a comment
{:process 0, :type :invoke, :f :read, :value nil, :time 1}
{:process :nemesis, :type :info, :f :start, :value nil, :time 2}
{:process 0, :type :ok, :f :read, :value nil, :time 3}
{:process 1, :type :invoke, :f :write, :value 3, :time 4}
{:process 1, :type :info, :f :write, :value 3, :time 5, :error :timeout}
{:process 0, :type :invoke, :f :cas, :value [3 4], :time 6}
{:process 0, :type :ok, :f :cas, :value [3 4], :time 7}
{:process 2, :type :invoke, :f :cas, :value [4 5], :time 8}
{:process 2, :type :fail, :f :cas, :value [4 5], :time 9}
{:process 0, :type :invoke, :f :read, :value nil, :time 10}
{:process 0, :type :ok, :f :read, :value 4, :time 11}
";
    // A failed swap never happened here, and a nil read says nothing.
    assert_eq!(verdict(plain, Format::JepsenEdn), Verdict::Ok);
    let mismatch = Options { failed_cas: FailedCas::Mismatch, ..Options::default() };
    assert_eq!(check_history(&recorded(plain).history, &mismatch).verdict, Verdict::Violation);
    let vector = format!("[{}]", plain.replace(":value 4, :time 11", ":value 9, :time 11"));
    assert_eq!(verdict(&vector, Format::JepsenEdn), Verdict::Violation);
    let independent = "[#jepsen.history.Op{:process 0, :type :invoke, :f :write, :value [\"x\" 1], :index 0}
 #jepsen.history.Op{:process 0, :type :ok, :f :write, :value [\"x\" 1], :index 1}
 #jepsen.history.Op{:process 0, :type :invoke, :f :cas, :value [\"x\" [1 2]], :index 2}
 #jepsen.history.Op{:process 0, :type :ok, :f :cas, :value [\"x\" [1 2]], :index 3}
 #jepsen.history.Op{:process 1, :type :invoke, :f :read, :value [\"y\" nil], :index 4}
 #jepsen.history.Op{:process 1, :type :ok, :f :read, :value [\"y\" 2], :index 5}]";
    assert_eq!(verdict(independent, Format::JepsenEdn), Verdict::Violation);
    let history = recorded(independent).history;
    assert_eq!((history.keys().len(), history.operation(1).kind), (2, Kind::Cas));
    assert_eq!(history.operation(1).expected(), &Value::Int(1));
}

#[test]
fn jepsen_logs_are_read_among_other_lines() {
    let log = "INFO  jepsen.core - setting up
INFO  jepsen.util - :nemesis\t:info\t:start\tnil
INFO  jepsen.util - 0\t:invoke\t:read\tnil
2014-08-01 INFO  jepsen.util - 1\t:invoke\t:write\t3
INFO  jepsen.util - 0\t:ok\t:read\tnil
INFO  jepsen.util - 1\t:info\t:write\t:timed-out
INFO  jepsen.util - 2   :invoke :cas    [3 4]
INFO  jepsen.util - 2   :fail   :cas    [3 4]
INFO  jepsen.util - 0\t:invoke\t:read\tnil
INFO  jepsen.util - 0\t:fail\t:read\t:timed-out
INFO  jepsen.util - 3\t:invoke\t:read\tnil
INFO  jepsen.util - 3\t:ok\t:read\t3
";
    assert_eq!(verdict(log, Format::JepsenLog), Verdict::Ok);
    assert_eq!(verdict(&log.replace(":read\t3", ":read\t4"), Format::JepsenLog), Verdict::Violation);
    // A nil read says that nothing was there.
    let late = format!("{log}INFO  jepsen.util - 3\t:invoke\t:read\tnil\nINFO  jepsen.util - 3\t:ok\t:read\tnil\n");
    assert_eq!(verdict(&late, Format::JepsenLog), Verdict::Violation);
}

#[test]
fn porcupines_form_appends_to_texts_that_begin_empty() {
    let good = "{:process 0, :type :invoke, :f :get, :key \"1\", :value nil}
{:process 0, :type :ok, :f :get, :key \"1\", :value \"\"}
{:process 0, :type :invoke, :f :append, :key \"1\", :value \"x 0 0 y\"}
{:process 1, :type :invoke, :f :append, :key \"1\", :value \"x 1 0 y\"}
{:process 0, :type :ok, :f :append, :key \"1\", :value \"x 0 0 y\"}
{:process 1, :type :ok, :f :append, :key \"1\", :value \"x 1 0 y\"}
{:process 0, :type :invoke, :f :get, :key \"1\", :value nil}
{:process 0, :type :ok, :f :get, :key \"1\", :value \"x 1 0 yx 0 0 y\"}
{:process 0, :type :invoke, :f :put, :key \"2\", :value \"p\"}
{:process 0, :type :ok, :f :put, :key \"2\", :value \"p\"}
";
    assert_eq!(verdict(good, Format::PorcupineKv), Verdict::Ok);
    assert_eq!(verdict(&good.replace("\"x 1 0 yx 0 0 y\"", "\"x 1 0 y\""), Format::PorcupineKv), Verdict::Violation);
}

#[test]
fn csv_is_read_by_its_first_row_or_by_named_columns() {
    let rows =
        "a,put,k,\"say \"\"hi\"\"\",0,5,ok\nb,get,k,\"say \"\"hi\"\"\",6,7,ok\nb,put,k,2,8,,\nb,get,k,,9,10,ok\n";
    let named = format!("client,op,key,value,start,end,result\n{rows}");
    assert_eq!(verdict(&named, Format::Csv), Verdict::Violation);
    let columns = "client,op,key,value,invoke,return,result";
    let by_flag = read(rows.as_bytes(), None, Some(columns)).expect("columns are named");
    assert_eq!((by_flag.format, by_flag.history.len()), (Format::Csv, 4));
    assert_eq!(by_flag.history.operation(0).value, Value::text("say \"hi\""));
    assert_eq!(by_flag.history.operation(2).outcome, Outcome::Unknown);
    assert_eq!(by_flag.history.operation(3).value, Value::Absent);
}

#[test]
fn bad_input_names_its_line_and_reason() {
    let open = r#"{"p":"a","f":"put","k":"x","v":1,"inv":0}"#;
    let cases = [
        ("{\"p\":\"a\"\n", None, 1, "',' or '}'"),
        (
            "{\"p\":\"a\",\"f\":\"get\",\"v\":1,\"inv\":0,\"ret\":1,\"r\":\"ok\"}\n{\"p\":1.5}",
            None,
            2,
            "text or a number",
        ),
        ("{\"p\":\"a\",\"f\":\"jump\",\"inv\":0,\"ret\":1}", None, 1, "unknown \"f\": jump"),
        ("{\"p\":\"a\",\"f\":\"get\",\"inv\":0,\"ret\":1}", None, 1, "no \"v\""),
        ("{\"p\":\"a\",\"f\":\"put\",\"inv\":0,\"ret\":1}", None, 1, "value written is missing"),
        ("{\"p\":\"a\",\"f\":\"get\",\"v\":1,\"inv\":5,\"ret\":1}", None, 1, "returns at 1 but was invoked at 5"),
        ("{\"p\":\"a\",\"f\":\"get\",\"v\":1,\"inv\":0.5,\"ret\":1}", None, 1, "an integer"),
        ("{\"p\":\"a\",\"f\":\"get\",\"v\":1,\"inv\":0,\"ret\":99999999999999999999}", None, 1, "out of range"),
        ("{\"f\":\"get\",\"v\":1,\"inv\":0,\"ret\":1}", None, 1, "\"p\""),
        ("{\"p\":\"a\",\"f\":\"get\",\"v\":\"\\ud800\",\"inv\":0,\"ret\":1}", None, 1, "surrogate"),
        ("{\"p\":\"a\",\"f\":\"get\",\"v\":1,\"inv\":0,\"ret\":1,\"r\":\"maybe\"}", None, 1, "unknown \"r\""),
        ("{\"p\":\"a\",\"f\":\"get\",\"v\":1,\"inv\":0,\"ret\":1,\"level\":\"most\"}", None, 1, "unknown level"),
        ("{\"p\":\"a\",\"f\":\"cas\",\"to\":1,\"inv\":0,\"ret\":1}", None, 1, "\"from\""),
        ("{\"quorate_history\":2}", None, 1, "version 2"),
        (&format!("{open}\n{open}"), None, 2, "already has an operation open"),
        ("{\"p\":\"a\",\"ret\":1,\"r\":\"ok\"}", None, 1, "no operation open"),
        ("{:process 0, :type :invoke, :f :txn, :value []}", None, 1, ":txn"),
        ("{:process 0, :type :ok, :f :read, :value 1}", None, 1, "no operation open"),
        ("{:process 0, :type :invoke, :f :read}\n\n{:process 0 :type", None, 3, "missing at the end"),
        ("{:process 0, :type :invoke, :f :cas, :value 3}", None, 1, "pair"),
        ("INFO  jepsen.util - 0 :invoke :jump nil", None, 1, ":jump"),
        ("op,invoke,return\nget,1,0\n", None, 2, "returns before"),
        ("op,invoke\n", None, 1, "no column \"return\""),
        ("op,invoke,return,colour\n", None, 1, "colour"),
        ("op,invoke,return\nget,1\n", None, 2, "2 fields where 3"),
        ("op,invoke,return\nget,x,2\n", None, 2, "no time"),
        ("op,invoke,return\nget,\"1,2\n", None, 2, "not closed"),
        ("what is this", None, 1, "no history"),
        ("", None, 1, "no history"),
        ("nothing here", Some(Format::JepsenLog), 1, "no event"),
    ];
    for (text, format, line, reason) in cases {
        match read(text.as_bytes(), format, None) {
            Err(ReadError::Line { line: at, reason: said }) => {
                assert!(at == line && said.contains(reason), "{text:?}: line {at}: {said}");
            }
            other => panic!("{text:?}: {other:?}"),
        }
    }
}

#[test]
fn no_damage_to_a_file_makes_a_reader_panic() {
    let seeds = [
        "{\"p\":\"a\",\"f\":\"cas\",\"k\":\"k\",\"from\":{\"b64\":\"AAA=\"},\"to\":[1,\"\\u00e9\"],\"inv\":0,\"ret\":1,\"r\":\"fail\"}\n",
        "[{:process 0, :type :invoke, :f :cas, :value [\"k\" [1 #{2 3}]], :time 5} #_x {:process 0, :type :ok, :f :cas, :value nil}]",
        "INFO  jepsen.util - 0 :invoke :cas [1 2]\nINFO  jepsen.util - 0 :ok :cas [1 2]\n",
        "client,op,key,value,from,invoke,return,result\na,cas,\"k\"\"\",1,2,3,4,ok\n",
    ];
    let mut state = 7u64;
    let mut next = move |bound: usize| {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 33) as usize % bound
    };
    for seed in seeds {
        for _ in 0..5_000 {
            let mut bytes = seed.as_bytes().to_vec();
            for _ in 0..1 + next(3) {
                if bytes.is_empty() {
                    break;
                }
                let at = next(bytes.len());
                match next(4) {
                    0 => bytes[at] = next(256) as u8,
                    1 => drop(bytes.remove(at)),
                    2 => bytes.insert(at, b"{}[]\":,\\ -9e\n#"[next(14)]),
                    _ => bytes.truncate(at.max(1)),
                }
            }
            if let Ok(recorded) = read(bytes.as_slice(), None, None) {
                let options = Options::deterministic(10_000);
                check_history(&recorded.history, &options);
                let mut online = Online::new(&options);
                if let Some(first) = recorded.history.operations().first() {
                    online.on_invoke(0, first);
                }
            }
        }
    }
}

#[test]
fn a_history_exported_to_jepsen_edn_has_the_same_verdict() {
    let text = r#"{"p":"a","f":"put","k":"x","v":"1","inv":0,"ret":5,"r":"ok"}
{"p":"b","f":"cas","k":"x","from":"1","to":"2","inv":6,"ret":null,"r":"info"}
{"p":"b","f":"get","k":"x","v":"2","inv":9,"ret":10,"r":"ok"}
{"p":"a","f":"get","k":"x","v":"LAST","inv":11,"ret":12,"r":"ok"}
"#;
    for (last, expected) in [("2", Verdict::Ok), ("1", Verdict::Violation)] {
        let history = read_jsonl(text.replace("LAST", last).as_bytes()).expect("well-formed");
        let mut edn = Vec::new();
        write_jepsen_edn(&history, &mut edn).expect("memory takes everything");
        let edn = std::str::from_utf8(&edn).expect("text");
        assert_eq!(verdict(edn, Format::JepsenEdn), expected);
        assert!(edn.contains(":time 5000,"), "microseconds become nanoseconds: {edn}");
    }
}

#[test]
fn a_run_over_several_files_reports_each_and_classifies_the_exit() {
    let folder = std::env::temp_dir().join(format!("quorate-checker-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a temporary folder");
    let good = "{\"p\":\"a\",\"f\":\"put\",\"k\":\"x\",\"v\":1,\"inv\":0,\"ret\":1,\"r\":\"ok\"}\n";
    let bad = format!("{good}{{\"p\":\"a\",\"f\":\"get\",\"k\":\"x\",\"v\":null,\"inv\":2,\"ret\":3,\"r\":\"ok\"}}\n");
    let source = |name: &str, text: &str| {
        let path = folder.join(name);
        std::fs::write(&path, text).expect("a file");
        Source::File(path)
    };
    let (good, bad, broken) = (source("good", good), source("bad", &bad), source("broken", "{\"p\":"));
    let missing = Source::File(folder.join("missing"));
    let options = RunOptions { verify: true, minimize: true, asked: Asked::Strongest, ..RunOptions::default() };
    let exit = |sources: &[Source]| run(sources, &options, &|_| {}).exit_code();
    assert_eq!(exit(std::slice::from_ref(&good)), 0);
    assert_eq!(exit(&[good.clone(), bad.clone(), broken.clone()]), 1);
    assert_eq!(exit(&[good.clone(), broken.clone()]), 2);
    assert_eq!(exit(std::slice::from_ref(&missing)), 74);
    assert_eq!(exit(&[bad.clone(), missing]), 1);
    assert_eq!(exit(&[]), 4);
    let report = run(&[bad, broken], &options, &|_| {});
    let (text, json) = (report.text(), report.json());
    for wanted in
        ["FAIL  key x  (overlap)", "├put 1┤", "line 2", "BAD INPUT", "strongest level that holds", "✗ no order"]
    {
        assert!(text.contains(wanted), "{wanted}: {text}");
    }
    for wanted in
        ["\"schema\":\"quorate.check/1\"", "\"verdict\":\"violation\"", "\"anomaly\":\"overlap\"", "\"exit\":2"]
    {
        assert!(json.contains(wanted), "{wanted}: {json}");
    }
    std::fs::remove_dir_all(&folder).expect("our own folder");
}

#[test]
fn the_end_of_a_run_is_judged_from_dumps() {
    let history = read_jsonl(
        r#"{"p":"a","f":"put","k":"x","v":"1","inv":0,"ret":1,"r":"ok"}
{"p":"a","f":"put","k":"x","v":"2","inv":2,"ret":3,"r":"ok"}
{"p":"b","f":"put","k":"x","v":"3","inv":0,"ret":1,"r":"ok"}
{"p":"a","f":"put","k":"y","v":"4","inv":4,"ret":5,"r":"ok"}
{"p":"a","f":"del","k":"y","inv":6,"ret":7,"r":"ok"}
"#
        .as_bytes(),
    )
    .expect("well-formed");
    let findings = |lines: &str, conflicts| {
        let dump = Dump::read(lines.as_bytes()).expect("well-formed");
        let report = check_end(&history, &dump, conflicts, &Options::default());
        report.findings.into_iter().map(|finding| finding.words).collect::<Vec<String>>().join("; ")
    };
    let last = Conflicts::LastWriterWins;
    assert_eq!(findings("{\"n\":\"n1\",\"k\":\"x\",\"v\":\"2\"}\n{\"n\":\"n2\",\"k\":\"x\",\"v\":\"2\"}", last), "");
    assert_eq!(findings("{\"n\":\"n1\",\"k\":\"x\",\"v\":\"3\"}", last), "");
    let split = findings("{\"n\":\"n1\",\"k\":\"x\",\"v\":\"2\"}\n{\"n\":\"n2\",\"k\":\"x\",\"v\":\"3\"}", last);
    assert!(split.contains("n1 holds 2, n2 holds 3"), "{split}");
    assert!(findings("{\"n\":\"n1\",\"k\":\"x\",\"v\":\"1\"}", last).contains("again"));
    assert!(findings("{\"n\":\"n1\",\"k\":\"x\",\"v\":\"9\"}", last).contains("nobody wrote"));
    assert!(findings("{\"n\":\"n1\",\"k\":\"y\",\"v\":\"4\"}", last).contains("hold 4 again"));
    assert!(findings("{\"n\":\"n1\",\"k\":\"z\",\"v\":\"4\"}", last).contains("no client ever wrote this key"));
    assert!(findings("{\"n\":\"n1\",\"k\":\"q\",\"vs\":[]}", last).contains("gone"));
    let siblings = Conflicts::Siblings;
    assert_eq!(findings("{\"n\":\"n1\",\"k\":\"x\",\"vs\":[\"2\",\"3\"]}", siblings), "");
    assert!(findings("{\"n\":\"n1\",\"k\":\"x\",\"vs\":[\"2\"]}", siblings).contains("wrote x = 3"));
    assert!(Dump::read("{\"k\":1}".as_bytes()).is_err());
    // Dumps with times say since when the replicas held what they hold at the end. The last write ended at 7.
    let after = |lines: &str| {
        let dump = Dump::read(lines.as_bytes()).expect("well-formed");
        check_end(&history, &dump, last, &Options::default()).converged_after
    };
    let line = |at: i64, replica: &str, value: &str| {
        format!("{{\"at\":{at},\"n\":\"{replica}\",\"k\":\"x\",\"v\":\"{value}\"}}\n")
    };
    let apart = line(10, "n1", "1") + &line(10, "n2", "2");
    let agreed = line(20, "n1", "2") + &line(20, "n2", "2") + &line(30, "n1", "2") + &line(30, "n2", "2");
    assert_eq!(after(&(apart.clone() + &agreed)), Some(13));
    assert_eq!(after(&(line(9, "n1", "3") + &line(9, "n2", "3") + &apart + &agreed)), Some(13), "not that agreement");
    assert_eq!(after(&(agreed.clone() + &line(40, "n1", "2") + &line(40, "n2", "3"))), None);
    assert_eq!(after("{\"n\":\"n1\",\"k\":\"x\",\"v\":\"2\"}"), None);
}
