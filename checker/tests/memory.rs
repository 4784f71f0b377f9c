//! What a history may take while it is read, and what is said when it does not suffice.

use std::path::PathBuf;

use quorate_checker::{
    Budget, Clock, Options, ReadError, RunError, RunOptions, RunReport, Source, Verdict, check_history, check_stream,
    read_jsonl, run, write_jepsen_edn,
};

/// A folder of our own, gone at the end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("quorate-checker-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a temporary folder");
        Folder(folder)
    }

    fn source(&self, name: &str, text: impl AsRef<[u8]>) -> Source {
        let path = self.0.join(name);
        std::fs::write(&path, text).expect("a file");
        Source::File(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).expect("our own folder");
    }
}

fn within(bytes: usize) -> RunOptions {
    let options = Options::default();
    RunOptions { options: Options { budget: Budget { bytes, ..options.budget }, ..options }, ..RunOptions::default() }
}

fn judged(source: &Source, bytes: usize) -> RunReport {
    run(std::slice::from_ref(source), &within(bytes), &|_| {})
}

fn is_out_of_memory(report: &RunReport) -> bool {
    matches!(report.files[0].outcome, Err(RunError::Read(ReadError::Memory { .. })))
}

/// Puts of one client, one after another.
fn puts(count: usize, key: impl Fn(usize) -> String, value: impl Fn(usize) -> String) -> String {
    let line = |n| {
        let (key, value) = (key(n), value(n));
        format!(
            "{{\"p\":\"a\",\"f\":\"put\",\"k\":\"{key}\",\"v\":\"{value}\",\"inv\":{},\"ret\":{}}}\n",
            n * 2,
            n * 2 + 1
        )
    };
    (0..count).map(line).collect()
}

#[test]
fn every_form_that_does_not_fit_is_unknown_and_one_that_fits_is_judged() {
    let folder = Folder::new("forms");
    let lines = puts(2_000, |_| "k".into(), |n| format!("v{n}"));
    let mut history = read_jsonl(lines.as_bytes()).expect("well-formed");
    history.set_clock(Clock::Ns);
    let mut edn = Vec::new();
    write_jepsen_edn(&history, &mut edn).expect("memory takes everything");
    let row = |n: usize| format!("a,put,{n},{},{}\n", n * 2, n * 2 + 1);
    let csv: String = std::iter::once("client,op,value,inv,ret\n".into()).chain((0..2_000).map(row)).collect();
    let event = |n: usize| format!("jepsen.util - 0 :invoke :write {n}\njepsen.util - 0 :ok :write {n}\n");
    let log: String = (0..2_000).map(event).collect();
    let cases = [
        folder.source("jsonl", lines),
        folder.source("edn", edn),
        folder.source("csv", csv),
        folder.source("log", log),
        // Few operations, but large values, deep ones, many names: each is counted.
        folder.source("values", puts(20, |_| "k".into(), |n| format!("{n:08192}"))),
        folder.source("names", puts(1_000, |n| format!("{n:0120}"), |_| "v".into())),
        folder.source(
            "lists",
            puts(20, |_| "k".into(), |_| "LIST".into())
                .replace("\"LIST\"", &format!("[{}]", vec!["1"; 8_192].join(","))),
        ),
    ];
    for source in &cases {
        // Every case needs between 160 kB and 8 MB.
        let report = judged(source, 160_000);
        assert!(is_out_of_memory(&report), "{source:?}: {:?}", report.files);
        assert_eq!((report.exit_code(), report.verdict()), (3, Some(Verdict::Unknown)));
        assert!(report.text().starts_with("UNKNOWN  ") && report.text().contains("160000 bytes"), "{}", report.text());
        assert!(report.json().contains("\"verdict\":\"unknown\",\"exit\":3,\"error\":\"line "), "{}", report.json());
        let report = judged(source, 8_000_000);
        assert_eq!(report.exit_code(), 0, "{source:?}: {}", report.text());
    }
}

#[test]
fn a_line_that_did_not_fit_is_named() {
    let folder = Folder::new("line");
    let source = folder.source("jsonl", puts(1_000, |_| "k".into(), |n| format!("v{n}")));
    let report = judged(&source, 60_000);
    let Err(RunError::Read(ReadError::Memory { line, bytes_max })) = &report.files[0].outcome else {
        panic!("{:?}", report.files)
    };
    // An operation takes some hundred bytes.
    assert!((300..900).contains(line) && *bytes_max == 60_000, "{line}");
}

#[test]
fn what_reading_took_is_missing_for_judging() {
    let folder = Folder::new("judging");
    // Two open writes of one value: a search. Its first states need some hundred bytes.
    let mut lines = puts(200, |_| "k".into(), |_| "v".into());
    lines.push_str("{\"p\":\"b\",\"f\":\"put\",\"k\":\"k\",\"v\":\"v\",\"inv\":0,\"ret\":500}\n");
    lines.push_str("{\"p\":\"c\",\"f\":\"append\",\"k\":\"k\",\"v\":\"w\",\"inv\":0,\"ret\":500}\n");
    lines.push_str("{\"p\":\"d\",\"f\":\"get\",\"k\":\"k\",\"v\":\"vw\",\"inv\":0,\"ret\":500}\n");
    let source = folder.source("jsonl", lines);
    let least = |wanted: &dyn Fn(usize) -> bool| {
        (0..1_000_000).step_by(1_000).find(|bytes| wanted(*bytes)).expect("a megabyte is enough for 200 lines")
    };
    let to_read = least(&|bytes| !is_out_of_memory(&judged(&source, bytes)));
    let Source::File(path) = &source else { unreachable!("a file") };
    let history = read_jsonl(std::fs::File::open(path).expect("it is there")).expect("well-formed");
    let to_judge = least(&|bytes| check_history(&history, &within(bytes).options).verdict == Verdict::Ok);
    assert!(to_judge > 2_000, "{to_judge}");
    let report = judged(&source, to_read + to_judge - 2_000);
    let found = report.files[0].outcome.as_ref().expect("it was read");
    assert_eq!(found.verdict, Verdict::Unknown, "{} and {to_read} to read, {to_judge} to judge", found.text);
    assert!(found.text.contains("memory"), "{}", found.text);
    assert_eq!(judged(&source, to_read + to_judge).exit_code(), 0);
}

#[test]
fn texts_that_are_read_whole_and_what_they_are_parsed_into_are_counted() {
    let folder = Folder::new("whole");
    let noise = "INFO  jepsen.core - nothing that anybody asked\n".repeat(10_000);
    let log = "jepsen.util - 0 :invoke :write 1\njepsen.util - 0 :ok :write 1\n".to_string() + &noise;
    let log = folder.source("log", log);
    assert!(is_out_of_memory(&judged(&log, 400_000)));
    assert_eq!(judged(&log, 600_000).exit_code(), 0);
    // 140 kB of text, but a form of many parts for each line.
    let form = "{:process :nemesis :type :info :f :a :b 1 :c 2 :d 3}\n".repeat(2_000);
    let forms = folder.source("forms", form + "{:process 0 :type :invoke :f :read}\n");
    assert!(is_out_of_memory(&judged(&forms, 400_000)));
    assert_eq!(judged(&forms, 4_000_000).exit_code(), 0);
}

#[test]
fn files_side_by_side_share_the_memory() {
    let folder = Folder::new("share");
    let lines = puts(2_000, |_| "k".into(), |n| format!("v{n}"));
    let (one, other) = (folder.source("one", &lines), folder.source("other", &lines));
    let enough_for_one = 300_000;
    assert_eq!(judged(&one, enough_for_one).exit_code(), 0);
    let mut options = within(enough_for_one);
    options.options.parallel = false;
    assert_eq!(run(&[one.clone(), other.clone()], &options, &|_| {}).exit_code(), 0, "one after the other");
    if std::thread::available_parallelism().is_ok_and(|threads| threads.get() > 1) {
        assert_eq!(run(&[one, other], &within(enough_for_one), &|_| {}).exit_code(), 3);
    }
}

#[test]
fn a_dump_that_does_not_fit_is_no_dump() {
    let folder = Folder::new("dump");
    let source = folder.source("jsonl", puts(10, |_| "k".into(), |n| format!("v{n}")));
    let Source::File(dump) = folder.source("dump", "{\"n\":\"n1\",\"k\":\"k\",\"v\":\"v9\"}\n".repeat(3_000)) else {
        unreachable!("a file")
    };
    let exit = |bytes| {
        let options = RunOptions { dump: Some(dump.clone()), ..within(bytes) };
        run(std::slice::from_ref(&source), &options, &|_| {}).exit_code()
    };
    assert_eq!((exit(1_000_000), exit(100_000)), (0, 3));
}

#[test]
fn a_stream_that_holds_too_much_is_unknown_unless_it_was_wrong_before() {
    let open = |n: usize| format!("{{\"p\":\"c{n}\",\"f\":\"put\",\"k\":\"k\",\"v\":{n},\"inv\":{}}}\n", n + 10);
    let many: String = (0..5_000).map(open).collect();
    let wrong =
        "{\"p\":\"a\",\"f\":\"get\",\"k\":\"k\",\"inv\":0}\n{\"p\":\"a\",\"ret\":1,\"r\":\"ok\",\"v\":\"never\"}\n";
    let judge = |text: &str, bytes| {
        let options = Options::default();
        let options = Options { budget: Budget { bytes, ..options.budget }, ..options };
        check_stream(text.as_bytes(), &options).map(|report| report.verdict)
    };
    assert!(matches!(judge(&many, 100_000), Err(ReadError::Memory { .. })));
    assert_eq!(judge(&many, 10_000_000).ok(), Some(Verdict::Ok));
    assert_eq!(judge(&(wrong.to_string() + &many), 100_000).ok(), Some(Verdict::Violation));
}
