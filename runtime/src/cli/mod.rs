//! The command line: one file per command. Each command parses its flags, calls one of our libraries, prints, and says
//! how the process ends. Nothing here decides a verdict.

mod check;
mod completion;
mod console;
mod exit;
mod help;
mod panics;
mod replay;
mod sim;
#[cfg(feature = "store")]
mod store;
mod trace;
mod units;
mod version;
mod walk;
mod why;

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

use console::{Console, Globals};
use exit::{Ended, Exit, Failure};

/// A distributed key-value store whose whole protocol is a value you feed: simulate it, serve it, judge it, replay it
#[derive(Parser, Debug)]
#[command(
    name = "quorate",
    version = version::LINE,
    disable_help_subcommand = true,
    arg_required_else_help = true,
    after_help = "Exit codes: quorate help exit-codes"
)]
struct Cli {
    #[command(flatten)]
    globals: Globals,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    Sim(Box<sim::Sim>),
    Replay(replay::Replay),
    Trace(trace::Trace),
    Check(check::Check),
    #[cfg(feature = "store")]
    Serve(store::serve::Serve),
    #[cfg(feature = "store")]
    Demo(store::demo::Demo),
    #[cfg(feature = "store")]
    Get(store::kv::Get),
    #[cfg(feature = "store")]
    Put(store::kv::Put),
    #[cfg(feature = "store")]
    Del(store::kv::Del),
    #[cfg(feature = "store")]
    Bench(store::bench::Bench),
    Version(version::Version),
    Completion(completion::Completion),
    Help(help::Help),
}

/// Parses the command line and runs the command.
pub(crate) fn run() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are results; a reader that has gone is nobody's failure.
            let _ = error.print();
            return if error.use_stderr() { Exit::Usage } else { Exit::Ok }.into();
        }
    };
    let console = Console::new(&cli.globals);
    match dispatch(cli.command, &console) {
        Ok(exit) => exit.into(),
        Err(Failure { exit, error }) => {
            console.complain("error", format!("{error:#}"));
            exit.into()
        }
    }
}

fn dispatch(command: Command, console: &Console) -> Ended {
    match command {
        Command::Sim(sim) => sim.run(console),
        Command::Replay(replay) => replay.run(console),
        Command::Trace(trace) => trace.run(console),
        Command::Check(check) => check.run(console),
        #[cfg(feature = "store")]
        Command::Serve(serve) => serve.run(console),
        #[cfg(feature = "store")]
        Command::Demo(demo) => demo.run(console),
        #[cfg(feature = "store")]
        Command::Get(get) => get.run(console),
        #[cfg(feature = "store")]
        Command::Put(put) => put.run(console),
        #[cfg(feature = "store")]
        Command::Del(del) => del.run(console),
        #[cfg(feature = "store")]
        Command::Bench(bench) => bench.run(console),
        Command::Version(version) => version.run(console),
        Command::Completion(completion) => completion.run(),
        Command::Help(help) => help.run(Cli::command()),
    }
}
