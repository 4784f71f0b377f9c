//! From file, environment and flags to one set of values, each with its origin.
//!
//! Later wins: default, file, environment (`QUORATE_SECTION_KEY`), flag (`--set section.key=value`). A key that is not
//! known is a problem, never passed over: a setting that somebody believes in must not be without effect.

use super::keys::{KEYSPACE_KEYS, LATER, MEMBER_KEYS, Raw, Sections};
use super::value::{Setting, nearest};
use std::collections::BTreeMap;
use std::fmt;

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Nobody said otherwise.
    Default,
    /// The file of this name.
    File(String),
    /// The environment variable of this name.
    Environment(String),
    /// A `--set` flag.
    Flag,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(name) => f.write_str(name),
            Self::Environment(name) => write!(f, "${name}"),
            Self::Flag => f.write_str("--set"),
        }
    }
}

/// What is wrong with a configuration: one line each, all that were found. Nothing was started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems(pub Vec<String>);

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("\n"))
    }
}
impl std::error::Error for Problems {}

/// One `[[member]]` as it stands in the file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemberEntry {
    /// Its number; 0 when it is missing.
    pub id: u32,
    /// Its name; `n3` for number 3 unless given.
    pub name: String,
    /// Where peers reach it.
    pub peer: String,
    /// Where clients reach it.
    pub client: String,
    /// Where its health can be asked for; for tools.
    pub admin: String,
    /// Failure domain around racks.
    pub zone: String,
    /// Failure domain.
    pub rack: String,
}

/// One `[[keyspace]]` as it stands in the file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyspaceEntry {
    /// Keys that begin with this.
    pub prefix: String,
    /// `lww` or `register`.
    pub mode: String,
    /// Copies; the cluster's `rf` when left out.
    pub n: Option<u8>,
    /// Homes that a read waits for; a majority when left out.
    pub r: Option<u8>,
    /// Homes that a write waits for; a majority when left out.
    pub w: Option<u8>,
}

/// All values, with their origins. [`Config::check`] makes them fit to run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// Settings that stand once.
    pub sections: Sections,
    /// The members, in the order of the file.
    pub members: Vec<MemberEntry>,
    /// The keyspaces, in the order of the file.
    pub keyspaces: Vec<KeyspaceEntry>,
    pub(super) origins: BTreeMap<(String, String), Origin>,
}

impl Config {
    /// Merges a file (its name and text), environment variables and the arguments of `--set`.
    ///
    /// # Errors
    /// [`Problems`]: everything that is no key, or no value of its key.
    pub fn load(
        file: Option<(&str, &str)>,
        environment: impl IntoIterator<Item = (String, String)>,
        flags: &[String],
    ) -> Result<Self, Problems> {
        let mut config = Self::default();
        let mut problems = Vec::new();
        if let Some((name, text)) = file {
            match text.parse::<toml::Table>() {
                Ok(table) => config.take_file(name, &table, &mut problems),
                Err(error) => problems.push(format!("{name}: {}", error.to_string().trim_end())),
            }
        }
        for (name, value) in environment {
            config.take_variable(&name, &value, &mut problems);
        }
        for flag in flags {
            config.take_flag(flag, &mut problems);
        }
        if problems.is_empty() { Ok(config) } else { Err(Problems(problems)) }
    }

    /// Where the value of a key comes from.
    pub fn origin(&self, section: &str, key: &str) -> &Origin {
        self.origins.get(&(section.to_owned(), key.to_owned())).unwrap_or(&Origin::Default)
    }

    fn take_file(&mut self, name: &str, table: &toml::Table, problems: &mut Vec<String>) {
        for (section, value) in table {
            match (section.as_str(), value) {
                ("member", toml::Value::Array(entries)) => {
                    self.members =
                        entries.iter().enumerate().map(|(at, entry)| member(name, at, entry, problems)).collect();
                }
                ("keyspace", toml::Value::Array(entries)) => {
                    let entries = entries.iter().enumerate();
                    self.keyspaces = entries.map(|(at, entry)| keyspace(name, at, entry, problems)).collect();
                }
                ("member" | "keyspace", _) => {
                    problems.push(format!("{name}: write [[{section}]] with double brackets, once for each"));
                }
                (section, toml::Value::Table(keys)) if is_section(section) => {
                    for (key, value) in keys {
                        let problem = self.assign(section, key, &Raw::Toml(value), Origin::File(name.to_owned()));
                        problems.extend(problem.map(|problem| format!("{name}: {problem}")));
                    }
                }
                (section, _) if is_section(section) => {
                    problems.push(format!("{name}: {section} is a section: write [{section}] on a line of its own"));
                }
                (section, _) => problems.push(format!("{name}: {}", unknown_section(section))),
            }
        }
    }

    fn take_variable(&mut self, name: &str, value: &str, problems: &mut Vec<String>) {
        let Some(path) = name.strip_prefix("QUORATE_") else { return };
        let path = path.to_ascii_lowercase();
        // Variables of other commands share the prefix, so only a known section makes it ours.
        let Some((section, key)) = path.split_once('_').filter(|(section, _)| is_section(section)) else { return };
        let problem = self.assign(section, key, &Raw::Text(value), Origin::Environment(name.to_owned()));
        problems.extend(problem.map(|problem| format!("${name}: {problem}")));
    }

    fn take_flag(&mut self, flag: &str, problems: &mut Vec<String>) {
        let Some((path, value)) = flag.split_once('=') else {
            return problems.push(format!("--set {flag}: write section.key=value"));
        };
        let Some((section, key)) = path.split_once('.') else {
            return problems.push(format!("--set {flag}: write section.key=value"));
        };
        let problem = match section {
            "member" | "keyspace" => Some(format!("[[{section}]] can be set in the file only")),
            section if !is_section(section) => Some(unknown_section(section)),
            section => self.assign(section, key, &Raw::Text(value), Origin::Flag),
        };
        problems.extend(problem.map(|problem| format!("--set {path}: {problem}")));
    }

    /// Sets one key; returns what is wrong with it.
    fn assign(&mut self, section: &str, key: &str, raw: &Raw<'_>, origin: Origin) -> Option<String> {
        match self.sections.set(section, key, raw) {
            Some(Ok(())) => {
                self.origins.insert((section.to_owned(), key.to_owned()), origin);
                None
            }
            Some(Err(looks)) => Some(format!("{section}.{key} takes {looks}")),
            None => {
                let known = Sections::KEYS.iter().filter(|(of, ..)| *of == section).map(|(_, key, _)| *key);
                Some(unknown_key(section, key, known))
            }
        }
    }
}

fn is_section(name: &str) -> bool {
    Sections::KEYS.iter().any(|(section, ..)| *section == name)
}

fn unknown_section(section: &str) -> String {
    if let Some(reason) = later(section, "") {
        return format!("[{section}] is not in this version: {reason}; remove it");
    }
    let known = Sections::KEYS.iter().map(|(section, ..)| *section).chain(["member", "keyspace"]);
    match nearest(section, known) {
        Some(near) => format!("[{section}] is no section; did you mean [{near}]?"),
        None => format!("[{section}] is no section"),
    }
}

fn unknown_key<'a>(section: &str, key: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    if let Some(reason) = later(section, key) {
        return format!("{section}.{key} is not in this version: {reason}; remove it");
    }
    match nearest(key, known) {
        Some(near) => format!("{section}.{key} is no key; did you mean {section}.{near}?"),
        None => format!("{section}.{key} is no key"),
    }
}

/// Why a key of a later version is not taken, and what to do.
fn later(section: &str, key: &str) -> Option<&'static str> {
    let path = format!("{section}.{key}");
    LATER.iter().find(|(later, _)| *later == path).map(|(_, reason)| *reason)
}

/// One entry of an array of tables.
struct Entry<'a> {
    /// File, kind and place, for messages.
    place: String,
    kind: &'static str,
    table: &'a toml::Table,
    problems: &'a mut Vec<String>,
}

impl Entry<'_> {
    fn get<T: Setting>(&mut self, key: &str) -> Option<T> {
        let value = T::from_toml(self.table.get(key)?);
        if value.is_none() {
            self.problems.push(format!("{}: {}.{key} takes {}", self.place, self.kind, T::LOOKS));
        }
        value
    }

    fn check_keys(&mut self, known: &[&str]) {
        for key in self.table.keys().filter(|key| !known.contains(&key.as_str())) {
            let problem = unknown_key(self.kind, key, known.iter().copied());
            self.problems.push(format!("{}: {problem}", self.place));
        }
    }
}

fn member(file: &str, at: usize, entry: &toml::Value, problems: &mut Vec<String>) -> MemberEntry {
    let place = format!("{file}: [[member]] {}", at + 1);
    let Some(table) = entry.as_table() else {
        problems.push(format!("{place} is no table"));
        return MemberEntry::default();
    };
    let mut entry = Entry { place, kind: "member", table, problems };
    entry.check_keys(MEMBER_KEYS);
    let id: u32 = entry.get("id").unwrap_or_default();
    let mut text = |key: &str| entry.get(key).unwrap_or_default();
    let (name, peer, client, admin): (String, _, _, _) = (text("name"), text("peer"), text("client"), text("admin"));
    let name = if name.is_empty() { format!("n{id}") } else { name };
    MemberEntry { id, name, peer, client, admin, zone: text("zone"), rack: text("rack") }
}

fn keyspace(file: &str, at: usize, entry: &toml::Value, problems: &mut Vec<String>) -> KeyspaceEntry {
    let place = format!("{file}: [[keyspace]] {}", at + 1);
    let Some(table) = entry.as_table() else {
        problems.push(format!("{place} is no table"));
        return KeyspaceEntry::default();
    };
    let mut entry = Entry { place, kind: "keyspace", table, problems };
    entry.check_keys(KEYSPACE_KEYS);
    KeyspaceEntry {
        prefix: entry.get("prefix").unwrap_or_default(),
        mode: entry.get("mode").unwrap_or_else(|| "lww".to_owned()),
        n: entry.get("n"),
        r: entry.get("r"),
        w: entry.get("w"),
    }
}
