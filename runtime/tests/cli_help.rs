//! The help of every command, as a snapshot: what users read changes only on purpose.
#![cfg(feature = "store")]

use assert_cmd::Command;

/// Every command there is.
const COMMANDS: [&str; 23] = [
    "",
    "sim",
    "sim list",
    "sim shrink",
    "sim branch",
    "sim merge",
    "replay",
    "trace",
    "trace check-all",
    "trace show",
    "trace record",
    "trace why",
    "trace diff",
    "check",
    "serve",
    "demo",
    "get",
    "put",
    "del",
    "bench",
    "version",
    "completion",
    "help",
];

fn help(command: &str) -> String {
    let mut quorate = Command::cargo_bin("quorate").unwrap();
    quorate.args(command.split_whitespace()).arg("--help").env("COLUMNS", "100").env_remove("CLICOLOR_FORCE");
    let output = quorate.assert().success().get_output().stdout.clone();
    String::from_utf8(output).unwrap()
}

#[test]
fn every_command_explains_itself() {
    for command in COMMANDS {
        let name = if command.is_empty() { "quorate".to_string() } else { command.replace(' ', "-") };
        insta::assert_snapshot!(name, help(command));
    }
}

#[test]
fn no_command_is_missing_from_the_table() {
    for command in COMMANDS {
        let text = help(command);
        let Some((_, listed)) = text.split_once("Commands:\n") else { continue };
        for line in listed.lines().take_while(|line| !line.is_empty()) {
            let below = line.split_whitespace().next().unwrap();
            let path = format!("{command} {below}");
            assert!(COMMANDS.contains(&path.trim()), "{path} is not in the table");
        }
    }
}
