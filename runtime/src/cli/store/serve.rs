//! `quorate serve`: one node, in the foreground.

use std::path::{Path, PathBuf};

use clap::Args;
use quorate_runtime::config::{Config, Problems};
use quorate_runtime::server::{Ended as Stopped, run};

use crate::cli::console::{Console, ResultFile};
use crate::cli::exit::{Ended, Exit, Failure, OrExit};

/// Run one node of the store
#[derive(Args, Debug)]
pub(crate) struct Serve {
    /// The configuration file; quorate.toml here, if there is one, by default
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Sets one key, over file and environment
    #[arg(long, value_name = "SECTION.KEY=VALUE")]
    set: Vec<String>,
    /// Say what is wrong with the configuration, and start nothing
    #[arg(long, conflicts_with = "print_config")]
    check_config: bool,
    /// Print every value and where it comes from, and start nothing
    #[arg(long)]
    print_config: bool,
    /// Print a configuration file with every key at its default, and start nothing
    #[arg(long, conflicts_with_all = ["print_config", "check_config", "config"])]
    example_config: bool,
}

const DEFAULT_FILE: &str = "quorate.toml";

impl Serve {
    pub(crate) fn run(&self, console: &Console) -> Ended {
        let stdout = ResultFile::default();
        if self.example_config {
            console.print(&stdout, &Config::example())?;
            return Ok(Exit::Ok);
        }
        let config = self.load()?;
        if self.print_config {
            console.print(&stdout, &config.print())?;
            return Ok(Exit::Ok);
        }
        let checked = config.check().map_err(|problems| wrong(&problems))?;
        if self.check_config {
            for warning in &checked.warnings {
                console.complain("warning", warning);
            }
            console.note("the configuration is fit to run");
            return Ok(Exit::Ok);
        }
        match run(&checked) {
            Ok(Stopped::Interrupted) => Ok(Exit::Interrupted),
            Ok(Stopped::Terminated) => Ok(Exit::Terminated),
            Err(error) => {
                let exit = if error.exit_code() == Exit::Usage.code() { Exit::Usage } else { Exit::Io };
                Err(Failure { exit, error: error.into() })
            }
        }
    }

    fn load(&self) -> Result<Config, Failure> {
        let implied = Path::new(DEFAULT_FILE);
        let file = self.config.as_deref().or_else(|| implied.exists().then_some(implied));
        let text = match file {
            None => None,
            Some(file) => {
                let named = |error: std::io::Error| anyhow::anyhow!("{}: {error}", file.display());
                let text = std::fs::read_to_string(file).map_err(named).or_exit(Exit::Usage)?;
                Some((file.display().to_string(), text))
            }
        };
        let environment =
            std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
        let file = text.as_ref().map(|(name, text)| (name.as_str(), text.as_str()));
        Config::load(file, environment, &self.set).map_err(|problems| wrong(&problems))
    }
}

/// All problems at once, one line each.
fn wrong(problems: &Problems) -> Failure {
    Failure::usage(format!("the configuration cannot be used:\n  {}", problems.0.join("\n  ")))
}
