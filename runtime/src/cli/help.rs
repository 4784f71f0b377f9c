//! `quorate help [COMMAND]...` and `quorate help exit-codes`.

use std::fmt::Write;

use clap::Args;

use super::exit::{Ended, Exit, Failure};

/// Explain a command, or the exit codes
#[derive(Args, Debug)]
pub(crate) struct Help {
    /// A command, such as `sim` or `trace show`; or `exit-codes`
    topic: Vec<String>,
}

impl Help {
    pub(crate) fn run(&self, root: clap::Command) -> Ended {
        let text = if self.topic == ["exit-codes"] { exit_codes() } else { self.command(root)? };
        super::console::finish(std::io::Write::write_all(&mut std::io::stdout(), text.as_bytes()))?;
        Ok(Exit::Ok)
    }

    fn command(&self, mut command: clap::Command) -> Result<String, Failure> {
        command.build();
        for word in &self.topic {
            let Some(below) = command.find_subcommand(word) else {
                return Err(Failure::usage(format!("no help on '{}'; try: quorate help", self.topic.join(" "))));
            };
            command = below.clone();
        }
        Ok(command.render_long_help().to_string())
    }
}

fn exit_codes() -> String {
    let mut text = String::from("How quorate ends:\n\n");
    for (_, code, words) in Exit::TABLE {
        writeln!(text, "  {code:>3}  {words}").expect("a string takes all");
    }
    text
}
