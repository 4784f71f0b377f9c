//! Commands that tell of the node: answered at once, from what the [`super::Door`] knows.

use super::client::REDIS_VERSION;
use super::commands::{self, COMMANDS, Command, Name};
use super::decode::Request;
use super::reply::Writer;
use super::session::Session;
use super::{Door, Figures};
use quorate_core::time::Now;
use std::fmt::Write;

impl Session {
    /// Carries out a command that needs nothing of the node.
    pub(super) fn answer_command(&mut self, now: Now, name: Name, request: &Request<'_>) {
        match name {
            Name::Ping if request.len() > 2 => self.error("ERR wrong number of arguments for 'ping' command"),
            Name::Ping => self.reply(|writer| match request.arg_if(1) {
                None => writer.simple("PONG"),
                Some(text) => writer.bulk(text),
            }),
            Name::Echo => self.reply(|writer| writer.bulk(request.arg(1))),
            Name::Select if request.arg(1) == b"0" => self.reply(|writer| writer.ok()),
            Name::Select => self.error("ERR DB index is out of range: there is one database, 0"),
            Name::Readonly | Name::Readwrite | Name::Asking => self.reply(|writer| writer.ok()),
            Name::Info => {
                let sections: Vec<_> = (1..request.len()).map(|at| request.arg(at).to_ascii_lowercase()).collect();
                let text = info(&self.door, &sections);
                self.reply(|writer| writer.text(&text));
            }
            Name::Command => self.command_command(request),
            Name::Config => self.config_command(request),
            Name::Dbsize => {
                let keys = self.door.figures().keys_estimate;
                self.reply(|writer| writer.integer(i64::try_from(keys).unwrap_or(i64::MAX)));
            }
            Name::Time => {
                let micros = now.wall.as_micros();
                self.reply(|writer| {
                    writer.array(2);
                    writer.bulk((micros / 1_000_000).to_string().as_bytes());
                    writer.bulk((micros % 1_000_000).to_string().as_bytes());
                });
            }
            Name::Cluster => self.cluster_command(request),
            other => panic!("{other:?} is not answered at once"),
        }
    }

    fn command_command(&mut self, request: &Request<'_>) {
        let named = |from: usize| {
            (from..request.len()).map(|at| commands::lookup(request.arg(at))).collect::<Vec<Option<&Command>>>()
        };
        let all = || COMMANDS.iter().map(Some).collect::<Vec<_>>();
        let subcommand = request.arg_if(1).unwrap_or(b"info").to_ascii_lowercase();
        match &subcommand[..] {
            b"count" => self.reply(|writer| writer.integer(COMMANDS.len() as i64)),
            b"list" => self.reply(|writer| {
                writer.array(COMMANDS.len());
                COMMANDS.iter().for_each(|command| writer.bulk(command.text.as_bytes()));
            }),
            b"info" => {
                let rows = if request.len() > 2 { named(2) } else { all() };
                self.reply(|writer| {
                    writer.array(rows.len());
                    rows.into_iter().for_each(|row| command_row(writer, row));
                });
            }
            b"docs" => {
                let rows = if request.len() > 2 { named(2) } else { all() };
                self.reply(|writer| {
                    writer.map(rows.iter().flatten().count());
                    rows.into_iter().flatten().for_each(|row| command_doc(writer, row));
                });
            }
            other => {
                let shown = other.escape_ascii();
                self.error(format_args!("ERR unknown subcommand '{shown}'; there are COUNT, LIST, DOCS, INFO"));
            }
        }
    }

    fn config_command(&mut self, request: &Request<'_>) {
        match &request.arg(1).to_ascii_lowercase()[..] {
            b"get" if request.len() >= 3 => {
                let settings = settings(&self.door);
                let asked: Vec<_> = (2..request.len()).map(|at| request.arg(at).to_ascii_lowercase()).collect();
                let is_asked = |name: &str| asked.iter().any(|pattern| matches(pattern, name.as_bytes()));
                let found: Vec<_> = settings.iter().filter(|(name, _)| is_asked(name)).collect();
                self.reply(|writer| {
                    writer.map(found.len());
                    for (name, value) in found {
                        writer.bulk(name.as_bytes());
                        writer.bulk(value.as_bytes());
                    }
                });
            }
            b"get" => self.error("ERR wrong number of arguments for 'config|get' command"),
            b"set" | b"rewrite" => {
                self.error("ERR settings are read once, from quorate.toml; change it there and restart the node");
            }
            other => {
                let shown = other.escape_ascii();
                self.error(format_args!("ERR unknown subcommand '{shown}'; there is CONFIG GET"));
            }
        }
    }
}

/// A row of `COMMAND`, in the ten columns of Redis 7.
fn command_row(writer: &mut Writer<'_>, row: Option<&Command>) {
    let Some(command) = row else { return writer.null() };
    writer.array(10);
    writer.bulk(command.text.as_bytes());
    writer.integer(i64::from(command.arity));
    writer.set(command.flags().len());
    command.flags().iter().for_each(|flag| writer.simple(flag));
    command.keys.iter().for_each(|&place| writer.integer(i64::from(place)));
    // Categories, tips, key specifications and subcommands.
    writer.set(0);
    writer.array(0);
    writer.array(0);
    writer.array(0);
}

fn command_doc(writer: &mut Writer<'_>, command: &Command) {
    writer.bulk(command.text.as_bytes());
    writer.map(3);
    for (field, value) in [("summary", command.summary), ("since", "7.0.0"), ("group", command.group)] {
        writer.bulk(field.as_bytes());
        writer.bulk(value.as_bytes());
    }
}

/// What tools ask `CONFIG GET` for.
fn settings(door: &Door) -> Vec<(&'static str, String)> {
    vec![
        ("appendonly", "yes".to_owned()),
        ("cluster-enabled", if door.announce_cluster { "yes" } else { "no" }.to_owned()),
        ("databases", "1".to_owned()),
        ("maxmemory", "0".to_owned()),
        ("maxmemory-policy", "noeviction".to_owned()),
        ("proto-max-bulk-len", door.limits.frame_bytes_max.to_string()),
        ("save", String::new()),
        ("timeout", (door.limits.idle.as_micros() / 1_000_000).to_string()),
    ]
}

/// Whether a name fits a pattern in which `*` stands for anything.
fn matches(pattern: &[u8], name: &[u8]) -> bool {
    let mut parts = pattern.split(|&byte| byte == b'*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = name.strip_prefix(first) else { return false };
    let mut last = None;
    for part in parts {
        if let Some(middle) = last.replace(part) {
            let Some(at) = memchr::memmem::find(rest, middle) else { return false };
            rest = &rest[at + middle.len()..];
        }
    }
    match last {
        None => rest.is_empty(),
        Some(end) => rest.ends_with(end),
    }
}

/// The text of `INFO`: all sections, or those named.
fn info(door: &Door, sections: &[Vec<u8>]) -> String {
    let Figures { keys_estimate, memory_bytes, disk_bytes, uptime_seconds, is_ready } = door.figures();
    let wants = |name: &str| {
        let is_all = |section: &Vec<u8>| matches!(&section[..], b"all" | b"default" | b"everything");
        sections.is_empty() || sections.iter().any(|section| section == name.as_bytes() || is_all(section))
    };
    let (clients, mode) = (door.metrics.clients_connected(), door.mode());
    let me = door.cluster.me();
    let member = &door.cluster.members()[me];
    let (port, run_id) = (member.port, door.cluster.hex_id(me));
    let (process, days) = (std::process::id(), uptime_seconds / 86_400);
    let members = door.cluster.members();
    let reachable = (0..members.len()).filter(|&index| door.is_reachable(index)).count();
    let epoch = door.metrics.epoch.get();
    let sections_of_info = [
        (
            "server",
            format!(
                "# Server\r\nredis_version:{REDIS_VERSION}\r\nredis_mode:{mode}\r\nos:{os}\r\narch_bits:64\r\n\
                 process_id:{process}\r\nrun_id:{run_id}\r\ntcp_port:{port}\r\nuptime_in_seconds:{uptime_seconds}\r\n\
                 uptime_in_days:{days}\r\n",
                os = std::env::consts::OS,
            ),
        ),
        ("clients", format!("# Clients\r\nconnected_clients:{clients}\r\n")),
        ("memory", format!("# Memory\r\nused_memory:{memory_bytes}\r\nmaxmemory:0\r\nmaxmemory_policy:noeviction\r\n")),
        (
            "persistence",
            "# Persistence\r\nloading:0\r\nasync_loading:0\r\nrdb_bgsave_in_progress:0\r\naof_enabled:1\r\n".to_owned(),
        ),
        ("replication", "# Replication\r\nrole:master\r\nconnected_slaves:0\r\n".to_owned()),
        ("cluster", format!("# Cluster\r\ncluster_enabled:{}\r\n", u8::from(door.announce_cluster))),
        ("keyspace", format!("# Keyspace\r\ndb0:keys={keys_estimate},expires=0,avg_ttl=0\r\n")),
        (
            "quorate",
            format!(
                "# Quorate\r\nnode:{name}\r\ncluster:{cluster}\r\nready:{ready}\r\nmembers:{count}\r\n\
                 members_reachable:{reachable}\r\nepoch:{epoch}\r\ndisk_bytes:{disk_bytes}\r\n",
                name = member.name,
                cluster = door.cluster.name(),
                ready = u8::from(is_ready),
                count = members.len(),
            ),
        ),
    ];
    let mut text = String::new();
    for (name, section) in sections_of_info {
        if wants(name) {
            let gap = if text.is_empty() { "" } else { "\r\n" };
            write!(text, "{gap}{section}").expect("a String takes all that is written to it");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_stand_for_anything() {
        for (pattern, name, expected) in [
            ("save", "save", true),
            ("save", "saved", false),
            ("*", "save", true),
            ("max*", "maxmemory", true),
            ("*memory", "maxmemory", true),
            ("m*m*y", "maxmemory", true),
            ("m*z*y", "maxmemory", false),
            ("maxmemory*y", "maxmemory", false),
            ("", "save", false),
        ] {
            assert_eq!(matches(pattern.as_bytes(), name.as_bytes()), expected, "{pattern} {name}");
        }
    }
}
