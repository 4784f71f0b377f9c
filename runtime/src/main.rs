//! `quorate`: the front door. One binary, two halves that never mix: `sim`, `replay`, `trace` and `check` work offline;
//! `serve`, `get`, `put`, `del`, `bench` and `demo` are the real store. This is the only place that knows all rooms.

mod cli;

fn main() -> std::process::ExitCode {
    cli::run()
}
