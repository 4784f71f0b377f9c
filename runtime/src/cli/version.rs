//! `quorate version`: which build this is.

use clap::Args;
use serde_json::json;

use super::console::{Console, Format, ResultFile};
use super::exit::{Ended, Exit};

/// The commit this was built from, or `unknown`.
pub(crate) const COMMIT: &str = env!("QUORATE_COMMIT");
/// Fingerprint of the sources that decide what a simulated run does.
pub(crate) const CORE: &str = env!("QUORATE_CORE");
const VERSION: &str = env!("CARGO_PKG_VERSION");
const FEATURES: &[&str] = if cfg!(feature = "store") { &["store"] } else { &[] };

/// What `--version` says.
pub(crate) const LINE: &str = concat!(env!("CARGO_PKG_VERSION"), " (", env!("QUORATE_COMMIT"), ")");

/// Print version, commit and schemas
#[derive(Args, Debug)]
pub(crate) struct Version {
    #[command(flatten)]
    file: ResultFile,
}

/// The commit as headlines show it.
pub(crate) fn short_commit() -> &'static str {
    COMMIT.get(..7).unwrap_or(COMMIT)
}

/// The commit and whether what is checked out has changed since: `3f2c1ab (clean)`. Outside a checkout of that commit
/// only the commit is known.
pub(crate) fn commit_state() -> String {
    let git = |arguments: &[&str]| {
        let output = std::process::Command::new("git").args(arguments).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_string())
    };
    let commit = short_commit();
    match git(&["rev-parse", "HEAD"]) {
        Some(head) if head == COMMIT => match git(&["status", "--porcelain", "--untracked-files=no"]) {
            Some(changes) if changes.is_empty() => format!("{commit} (clean)"),
            Some(_) => format!("{commit}+dirty"),
            None => commit.to_string(),
        },
        Some(_) | None => commit.to_string(),
    }
}

impl Version {
    pub(crate) fn run(&self, console: &Console) -> Ended {
        let profile = if cfg!(debug_assertions) { "debug" } else { "release" };
        let text = match console.format {
            Format::Text => format!(
                "quorate {VERSION} ({})\ncore {CORE}  {profile}  features: {}\n",
                short_commit(),
                if FEATURES.is_empty() { "none".to_string() } else { FEATURES.join(", ") },
            ),
            Format::Json | Format::Jsonl => {
                let object = json!({
                    "schema": "quorate.version/1", "version": VERSION, "commit": COMMIT, "core": CORE,
                    "profile": profile, "features": FEATURES, "trace_schema": 1, "history_schema": 1,
                });
                format!("{object}\n")
            }
        };
        console.print(&self.file, &text)?;
        Ok(Exit::Ok)
    }
}
