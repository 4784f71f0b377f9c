//! `quorate completion SHELL`: a script that completes commands and flags.

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use super::exit::{Ended, Exit};

/// Print a completion script for a shell
#[derive(Args, Debug)]
pub(crate) struct Completion {
    /// For which shell
    shell: Shell,
}

impl Completion {
    pub(crate) fn run(&self) -> Ended {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut super::Cli::command(), "quorate", &mut script);
        super::console::finish(std::io::Write::write_all(&mut std::io::stdout(), &script))?;
        Ok(Exit::Ok)
    }
}
