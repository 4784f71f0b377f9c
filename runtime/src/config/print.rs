//! The merged configuration as a file, each value with its origin.

use super::keys::Sections;
use super::load::{Config, KeyspaceEntry, MemberEntry};
use std::fmt::Write;

impl Config {
    /// All values and where each comes from, as a file that could be read back. Secrets never stand in it: only the names
    /// of the files that hold them.
    pub fn print(&self) -> String {
        let mut text = String::new();
        let mut last = "";
        for (section, key, _) in Sections::KEYS {
            if *section != last {
                let gap = if last.is_empty() { "" } else { "\n" };
                line(&mut text, &format!("{gap}[{section}]"), "");
                last = section;
            }
            let value = self.sections.show(section, key).unwrap_or_default();
            line(&mut text, &format!("{key} = {value}"), &self.origin(section, key).to_string());
        }
        for MemberEntry { id, name, peer, client, admin, zone, rack } in &self.members {
            line(&mut text, "\n[[member]]", "");
            line(&mut text, &format!("id = {id}"), "");
            let texts =
                [("name", name), ("peer", peer), ("client", client), ("admin", admin), ("zone", zone), ("rack", rack)];
            for (key, value) in texts {
                line(&mut text, &format!("{key} = {value:?}"), "");
            }
        }
        for KeyspaceEntry { prefix, mode, n, r, w } in &self.keyspaces {
            line(&mut text, &format!("\n[[keyspace]]\nprefix = {prefix:?}\nmode = {mode:?}"), "");
            for (key, value) in [("n", n), ("r", r), ("w", w)] {
                if let Some(value) = value {
                    line(&mut text, &format!("{key} = {value}"), "");
                }
            }
        }
        text
    }

    /// A file with every key at its default and what each means.
    pub fn example() -> String {
        let defaults = Sections::default();
        let mut text = String::new();
        let mut last = "";
        for (section, key, meaning) in Sections::KEYS {
            if *section != last {
                let gap = if last.is_empty() { "" } else { "\n" };
                line(&mut text, &format!("{gap}[{section}]"), "");
                last = section;
            }
            line(&mut text, &format!("# {meaning}"), "");
            line(&mut text, &format!("{key} = {}", defaults.show(section, key).unwrap_or_default()), "");
        }
        text
    }
}

/// Where origins begin.
const ORIGIN_COLUMN: usize = 40;

fn line(text: &mut String, content: &str, origin: &str) {
    let written = match origin {
        "" => writeln!(text, "{content}"),
        origin => writeln!(text, "{content:<ORIGIN_COLUMN$} # {origin}"),
    };
    written.expect("a String takes all that is written to it");
}
