//! `quorate get|put|del`: one operation, from the command line.
//!
//! Nodes are tried in the order given, and the next one only when no connection to the last could be made: once a
//! request has left, nobody but its caller may repeat it.

use std::io::Write;
use std::time::Duration;

use clap::Args;
use serde_json::json;

use super::client::{Answer, Answered, Asked, ask};
use super::record::Verb;
use super::resp::{Connection, Reply};
use crate::cli::console::{Console, Format, ResultFile, finish};
use crate::cli::exit::{Ended, Exit, Failure, OrExit};
use crate::cli::units;

/// Where and how to ask.
#[derive(Args, Debug)]
pub(crate) struct Target {
    /// Nodes to ask, separated by commas; the first that can be reached is asked
    #[arg(long, default_value = "127.0.0.1:6379", value_delimiter = ',', value_name = "HOST:PORT")]
    addr: Vec<String>,
    /// How many copies must answer: one, two, quorum, all, linearizable; the keyspace decides by default
    #[arg(long, value_name = "LEVEL")]
    level: Option<String>,
    /// Give up after so long
    #[arg(long, default_value = "5s", value_parser = units::duration, value_name = "TIME")]
    timeout: Duration,
    /// File with the password of the nodes
    #[arg(long, value_name = "FILE")]
    password_file: Option<std::path::PathBuf>,
}

/// Read a key; exit code 1 and no output if there is nothing
#[derive(Args, Debug)]
pub(crate) struct Get {
    key: String,
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    file: ResultFile,
}

/// Write a key
#[derive(Args, Debug)]
pub(crate) struct Put {
    key: String,
    /// The value; - reads it from stdin
    value: String,
    /// The context of an earlier read: the write goes above what that read saw
    #[arg(long, value_name = "CTX")]
    ctx: Option<String>,
    /// A retry: the version that an indeterminate answer named
    #[arg(long, value_name = "VERSION")]
    present: Option<String>,
    #[command(flatten)]
    target: Target,
}

/// Delete a key
#[derive(Args, Debug)]
pub(crate) struct Del {
    key: String,
    /// The context of an earlier read: the deletion goes above what that read saw
    #[arg(long, value_name = "CTX")]
    ctx: Option<String>,
    /// A retry: the version that an indeterminate answer named
    #[arg(long, value_name = "VERSION")]
    present: Option<String>,
    #[command(flatten)]
    target: Target,
}

impl Get {
    pub(crate) fn run(&self, console: &Console) -> Ended {
        let asked = Asked { key: self.key.as_bytes(), level: self.target.level.as_deref(), ..Asked::default() };
        let answered = self.target.ask(Verb::Get, &asked)?;
        if console.format != Format::Text {
            console.print(&self.file, &object(&answered))?;
        } else if let Answer::Value(value) = &answered.answer {
            let mut out = console.result(&self.file)?;
            // What was stored and nothing else: a file gets the very bytes, a reader gets a line.
            let end: &[u8] = if self.file.output.is_some() { b"" } else { b"\n" };
            finish(out.write_all(value).and_then(|()| out.write_all(end)).and_then(|()| out.flush()))?;
        }
        Ok(exit(console, &answered))
    }
}

impl Put {
    pub(crate) fn run(&self, console: &Console) -> Ended {
        let value = if self.value == "-" {
            let mut value = Vec::new();
            std::io::Read::read_to_end(&mut std::io::stdin(), &mut value).or_exit(Exit::Io)?;
            value
        } else {
            self.value.as_bytes().to_vec()
        };
        let Put { key, ctx, present, target, .. } = self;
        write(console, Verb::Put, key, &value, ctx.as_deref(), present.as_deref(), target)
    }
}

impl Del {
    pub(crate) fn run(&self, console: &Console) -> Ended {
        let Del { key, ctx, present, target } = self;
        write(console, Verb::Delete, key, b"", ctx.as_deref(), present.as_deref(), target)
    }
}

fn write(
    console: &Console,
    verb: Verb,
    key: &str,
    value: &[u8],
    context: Option<&str>,
    presented: Option<&str>,
    target: &Target,
) -> Ended {
    let asked = Asked { key: key.as_bytes(), value, level: target.level.as_deref(), context, presented };
    let answered = target.ask(verb, &asked)?;
    let text = match console.format {
        Format::Text => answered.context.as_ref().map_or(String::new(), |context| format!("{context}\n")),
        Format::Json | Format::Jsonl => object(&answered),
    };
    console.print(&ResultFile::default(), &text)?;
    Ok(exit(console, &answered))
}

fn object(answered: &Answered) -> String {
    let (outcome, value, words) = match &answered.answer {
        Answer::Value(value) => ("value", Some(String::from_utf8_lossy(value)), None),
        Answer::Missing => ("missing", None, None),
        Answer::Stored => ("stored", None, None),
        Answer::Failed(words) => ("failed", None, Some(words)),
        Answer::Unknown(words) => ("indeterminate", None, Some(words)),
    };
    let object = json!({
        "schema": "quorate.answer/1", "outcome": outcome, "value": value, "error": words,
        "version": answered.version, "ctx": answered.context,
    });
    format!("{object}\n")
}

fn exit(console: &Console, answered: &Answered) -> Exit {
    match &answered.answer {
        Answer::Value(_) | Answer::Stored => Exit::Ok,
        Answer::Missing => Exit::Violation,
        Answer::Unknown(words) => {
            let retry = answered.version.as_ref();
            let retry = retry.map_or(String::new(), |version| format!("; the same write again: --present {version}"));
            console.complain("indeterminate", format!("{words}{retry}"));
            Exit::Temporary
        }
        Answer::Failed(words) => {
            console.complain("failed", words);
            match words.split(' ').next() {
                Some("NOAUTH" | "WRONGPASS") => Exit::Permission,
                Some("ERR" | "LEVEL") => Exit::Usage,
                Some(_) | None => Exit::Temporary,
            }
        }
    }
}

impl Target {
    fn ask(&self, verb: Verb, asked: &Asked<'_>) -> Result<Answered, Failure> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().or_exit(Exit::Io)?;
        runtime.block_on(async {
            let mut connection = self.connect().await?;
            if let Some(file) = &self.password_file {
                self.authenticate(&mut connection, file).await?;
            }
            let answered = ask(&mut connection, verb, asked, self.timeout).await;
            Ok(answered.unwrap_or_else(|error| {
                let words = format!("no answer came: {error}");
                let answer = if verb == Verb::Get { Answer::Failed(words) } else { Answer::Unknown(words) };
                Answered { answer, version: None, context: None }
            }))
        })
    }

    async fn connect(&self) -> Result<Connection, Failure> {
        let mut refused = Vec::new();
        for address in &self.addr {
            match Connection::open(address, self.timeout).await {
                Ok(connection) => return Ok(connection),
                Err(error) => refused.push(format!("{address}: {error}")),
            }
        }
        Err(Failure {
            exit: Exit::Unreachable,
            error: anyhow::anyhow!("no node could be reached; {}", refused.join("; ")),
        })
    }

    async fn authenticate(&self, connection: &mut Connection, file: &std::path::Path) -> Result<(), Failure> {
        let named = |error: std::io::Error| anyhow::anyhow!("{}: {error}", file.display());
        let password = std::fs::read(file).map_err(named).or_exit(Exit::Io)?;
        let reply =
            connection.call(&[b"AUTH", password.trim_ascii_end()], self.timeout).await.or_exit(Exit::Unreachable)?;
        match reply {
            Reply::Error(words) => Err(Failure { exit: Exit::Permission, error: anyhow::anyhow!(words) }),
            _ => Ok(()),
        }
    }
}
