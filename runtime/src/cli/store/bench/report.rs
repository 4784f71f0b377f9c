//! The figures of a bench, for people and as JSON.

use std::fmt::Write;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde_json::{Value, json};

use super::Bench;
use super::run::Measured;
use crate::cli::console::Format;
use crate::cli::units::{grouped, show};

const PERCENTILES: [(&str, f64); 5] = [("p50", 50.0), ("p90", 90.0), ("p99", 99.0), ("p99.9", 99.9), ("max", 100.0)];

pub(super) fn render(bench: &Bench, measured: &Measured, format: Format) -> String {
    match format {
        Format::Text => text(bench, measured),
        Format::Json | Format::Jsonl => format!("{}\n", object(bench, measured)),
    }
}

fn per_second(measured: &Measured) -> f64 {
    measured.answered as f64 / measured.elapsed.as_secs_f64()
}

fn text(bench: &Bench, measured: &Measured) -> String {
    let mut text = String::new();
    let mut line = |words: String| writeln!(text, "{words}").expect("a string takes all");
    let loop_kind = match bench.rate {
        0 => "closed loop".to_string(),
        rate => format!("open loop at {}/s, timed from when each request was due", grouped(rate)),
    };
    line(format!(
        "{loop_kind}: {} clients, pipeline {}, reads:writes {}:{}, {} keys {}, {} B, {}",
        bench.clients,
        bench.pipeline,
        bench.mix.reads,
        bench.mix.writes,
        grouped(bench.keys),
        bench.dist,
        bench.size,
        show(measured.elapsed),
    ));
    let rate = per_second(measured);
    line(format!("throughput  {} answers/s  ({} answers)", grouped(rate as u64), grouped(measured.answered)));
    for (name, histogram) in [("reads", &measured.reads), ("writes", &measured.writes)] {
        if !histogram.is_empty() {
            let figures = PERCENTILES
                .map(|(word, at)| format!("{word} {}", show(Duration::from_nanos(histogram.value_at_percentile(at)))));
            line(format!("{name:<10}  {}  ({})", figures.join("  "), grouped(histogram.len())));
        }
    }
    for (words, count) in [
        ("reads found nothing", measured.missing),
        ("answers were errors", measured.errors),
        ("requests got no answer", measured.unanswered),
        ("requests were due but could not be sent in time", measured.unsent),
        ("VALUES WERE WRONG", measured.wrong_values),
    ] {
        if count > 0 {
            line(format!("{} {words}", grouped(count)));
        }
    }
    if let Some(error) = &measured.first_error {
        line(format!("first error: {error}"));
    }
    text
}

fn object(bench: &Bench, measured: &Measured) -> Value {
    let figures = |histogram: &Histogram<u64>| {
        let mut object = serde_json::Map::new();
        object.insert("count".to_string(), json!(histogram.len()));
        for (word, at) in PERCENTILES {
            object.insert(format!("{word}_us"), json!(histogram.value_at_percentile(at) / 1_000));
        }
        Value::Object(object)
    };
    json!({
        "schema": "quorate.bench/1",
        "clients": bench.clients, "pipeline": bench.pipeline, "rate": bench.rate,
        "mix": format!("{}:{}", bench.mix.reads, bench.mix.writes), "keys": bench.keys,
        "dist": bench.dist.to_string(), "size": bench.size, "seed": bench.seed,
        "elapsed_us": measured.elapsed.as_micros() as u64,
        "answers_per_second": per_second(measured) as u64,
        "answered": measured.answered, "missing": measured.missing, "errors": measured.errors,
        "unanswered": measured.unanswered, "unsent": measured.unsent, "wrong_values": measured.wrong_values,
        "reads": figures(&measured.reads), "writes": figures(&measured.writes),
    })
}
