//! The commands there are: one table that dispatch, `COMMAND` and the checks before execution all read.
//!
//! Names are matched by their bytes in lower case. What Redis has and this build does not is named too, with what to
//! use instead: a client that depends on it should learn so from its first error.

macro_rules! commands {
    ($($(#[$doc:meta])* $variant:ident = $name:literal, $arity:literal, $kind:ident, ($($key:literal),+), $group:literal, $summary:literal;)+) => {
        /// Every command.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(super) enum Name { $($variant),+ }

        /// All commands, in the order of [`Name`].
        pub(super) const COMMANDS: &[Command] = &[
            $(Command {
                name: Name::$variant, text: $name, arity: $arity, kind: Kind::$kind, keys: [$($key),+],
                group: $group, summary: $summary,
            }),+
        ];
    };
}

/// What a command is to the checks that come before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Reads keys.
    Read,
    /// Writes keys.
    Write,
    /// Tells something at once.
    Answer,
    /// Changes the connection itself: waits until every earlier request is answered.
    Connection,
    /// Like `Connection`, and allowed before authentication.
    Greeting,
}

/// One row of the table.
#[derive(Debug)]
pub(super) struct Command {
    pub(super) name: Name,
    /// In lower case.
    pub(super) text: &'static str,
    /// Arguments, the name included: exactly so many, or at least as many as its negative.
    pub(super) arity: i32,
    pub(super) kind: Kind,
    /// First key, last key (from the end when negative), step; zeros when there is none.
    pub(super) keys: [i32; 3],
    pub(super) group: &'static str,
    pub(super) summary: &'static str,
}

commands! {
    Get = "get", 2, Read, (1, 1, 1), "string", "Returns the value of a key, at the keyspace's level.";
    Set = "set", -3, Write, (1, 1, 1), "string", "Stores a value, at the keyspace's level. Takes no options yet.";
    Del = "del", -2, Write, (1, -1, 1), "generic", "Deletes keys one by one; counts those that a read found just before.";
    Unlink = "unlink", -2, Write, (1, -1, 1), "generic", "The same as DEL.";
    Exists = "exists", -2, Read, (1, -1, 1), "generic", "Counts the keys that have a value.";
    Mget = "mget", -2, Read, (1, -1, 1), "string", "Returns the values of keys, each read on its own.";
    Mset = "mset", -3, Write, (1, -1, 2), "string", "Stores values, each on its own: not atomic.";
    Strlen = "strlen", 2, Read, (1, 1, 1), "string", "Returns the length of a value.";
    Type = "type", 2, Read, (1, 1, 1), "generic", "Returns 'string', or 'none' for a missing key.";
    QGet = "q.get", -2, Read, (1, 1, 1), "quorate", "Reads a key: [LEVEL l | R n] [TIMEOUT ms] [META].";
    QPut = "q.put", -3, Write, (1, 1, 1), "quorate", "Writes a key: [CTX c] [LEVEL l | W n] [ID client seq] [VERSION v] [TIMEOUT ms] [META].";
    QDel = "q.del", -2, Write, (1, 1, 1), "quorate", "Deletes a key: [CTX c] [LEVEL l | W n] [ID client seq] [VERSION v] [TIMEOUT ms] [META].";
    Ping = "ping", -1, Answer, (0, 0, 0), "connection", "Answers PONG, or its argument.";
    Echo = "echo", 2, Answer, (0, 0, 0), "connection", "Returns its argument.";
    Hello = "hello", -1, Greeting, (0, 0, 0), "connection", "Chooses the protocol: [2|3 [AUTH name password] [SETNAME name]].";
    Auth = "auth", -2, Greeting, (0, 0, 0), "connection", "Authenticates the connection.";
    Quit = "quit", -1, Greeting, (0, 0, 0), "connection", "Closes the connection.";
    Reset = "reset", 1, Greeting, (0, 0, 0), "connection", "Makes the connection as new.";
    Client = "client", -2, Connection, (0, 0, 0), "connection", "Tells of and names this connection.";
    Select = "select", 2, Answer, (0, 0, 0), "connection", "Takes 0, the only database.";
    Readonly = "readonly", 1, Answer, (0, 0, 0), "cluster", "Accepted: every node answers for every key.";
    Readwrite = "readwrite", 1, Answer, (0, 0, 0), "cluster", "Accepted: every node answers for every key.";
    Asking = "asking", 1, Answer, (0, 0, 0), "cluster", "Accepted: every node answers for every key.";
    Info = "info", -1, Answer, (0, 0, 0), "server", "Tells of this node.";
    Command = "command", -1, Answer, (0, 0, 0), "server", "Tells of the commands: [COUNT | LIST | DOCS | INFO].";
    Config = "config", -2, Answer, (0, 0, 0), "server", "GET tells a few settings; the rest is in quorate.toml.";
    Dbsize = "dbsize", 1, Answer, (0, 0, 0), "server", "About how many records this node holds.";
    Time = "time", 1, Answer, (0, 0, 0), "server", "This node's calendar clock.";
    Cluster = "cluster", -2, Answer, (0, 0, 0), "cluster", "Tells where keys live.";
}

/// The longest name.
const NAME_BYTES_MAX: usize = 12;

/// The command of that name, in any case.
pub(super) fn lookup(name: &[u8]) -> Option<&'static Command> {
    let mut lower = [0; NAME_BYTES_MAX];
    let lower = lower.get_mut(..name.len())?;
    for (to, from) in lower.iter_mut().zip(name) {
        *to = from.to_ascii_lowercase();
    }
    // The two that make up a busy pipeline come first.
    match &*lower {
        b"get" => return Some(&COMMANDS[Name::Get as usize]),
        b"set" => return Some(&COMMANDS[Name::Set as usize]),
        _ => {}
    }
    COMMANDS.iter().find(|command| command.text.as_bytes() == lower)
}

impl Command {
    /// Whether so many arguments, the name included, can be right.
    pub(super) fn takes(&self, args: usize) -> bool {
        let wanted = self.arity.unsigned_abs() as usize;
        if self.arity < 0 { args >= wanted } else { args == wanted }
    }

    /// Whether the node answers with the values of its keys. A deletion reads first.
    pub(super) fn reads_values(&self) -> bool {
        self.kind == Kind::Read || matches!(self.name, Name::Del | Name::Unlink)
    }

    /// Where the keys stand among so many arguments.
    pub(super) fn key_places(&self, args: usize) -> impl Iterator<Item = usize> + use<> {
        let [first, last, step] = self.keys;
        let end = if last < 0 { args as i32 + last } else { last };
        let places = if step == 0 { 0..0 } else { first..end + 1 };
        places.step_by(step.max(1) as usize).map(|place| place as usize)
    }

    /// The flags of `COMMAND`.
    pub(super) fn flags(&self) -> &'static [&'static str] {
        match self.kind {
            Kind::Read => &["readonly", "fast"],
            Kind::Write => &["write"],
            Kind::Answer => &["loading", "stale"],
            Kind::Connection => &["noscript", "loading", "stale"],
            Kind::Greeting => &["noscript", "loading", "stale", "fast", "no_auth"],
        }
    }
}

/// What to do instead of a Redis command that this build does not have.
pub(super) fn instead_of(name: &[u8]) -> Option<&'static str> {
    let name = name.to_ascii_lowercase();
    let groups: [(&[&str], &str); 9] = [
        (
            &[
                "setnx",
                "getset",
                "getdel",
                "getex",
                "append",
                "incr",
                "decr",
                "incrby",
                "decrby",
                "incrbyfloat",
                "setrange",
                "msetnx",
                "setbit",
                "rename",
                "renamenx",
                "copy",
                "q.cas",
            ],
            "it needs an atomic read-modify-write, which no keyspace mode of this build promises; \
             read with Q.GET META, write with Q.PUT CTX",
        ),
        (
            &["setex", "psetex", "expire", "pexpire", "expireat", "pexpireat", "ttl", "pttl", "persist", "touch"],
            "values do not expire in this build; delete with DEL when the time has come",
        ),
        (
            &["keys", "scan", "randomkey", "dump", "restore", "migrate", "object"],
            "keys cannot be listed in this build; keep an index in a key of its own",
        ),
        (
            &[
                "multi",
                "exec",
                "discard",
                "watch",
                "unwatch",
                "eval",
                "evalsha",
                "eval_ro",
                "evalsha_ro",
                "script",
                "fcall",
                "fcall_ro",
                "function",
            ],
            "there are no transactions over keys; each command stands alone",
        ),
        (
            &[
                "subscribe",
                "psubscribe",
                "ssubscribe",
                "unsubscribe",
                "punsubscribe",
                "sunsubscribe",
                "publish",
                "spublish",
                "pubsub",
                "monitor",
            ],
            "there is no publish and subscribe",
        ),
        (
            &["flushall", "flushdb", "swapdb", "move"],
            "a whole store is not emptied by one command; stop the nodes and remove their data directories",
        ),
        (
            &["wait", "waitaof", "save", "bgsave", "bgrewriteaof", "lastsave"],
            "every write says itself how many copies are durable before it is answered; see Q.PUT LEVEL",
        ),
        (
            &["replicaof", "slaveof", "failover", "psync", "sync", "replconf", "shutdown"],
            "a node is led by its configuration and by signals; see 'quorate serve'",
        ),
        (
            &[
                "lpush", "rpush", "lpop", "rpop", "lrange", "llen", "sadd", "srem", "smembers", "scard", "hset",
                "hget", "hgetall", "hdel", "hmset", "hmget", "hincrby", "zadd", "zrange", "zrem", "xadd", "xread",
                "pfadd", "geoadd", "spop", "zpopmin",
            ],
            "values are strings; keep a structure as one encoded value",
        ),
    ];
    groups.iter().find(|(names, _)| names.iter().any(|known| known.as_bytes() == name)).map(|(_, hint)| *hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_name_finds_its_own_row() {
        for (index, command) in COMMANDS.iter().enumerate() {
            assert_eq!(command.name as usize, index, "{}", command.text);
            assert!(command.text.len() <= NAME_BYTES_MAX);
            let found = lookup(command.text.to_ascii_uppercase().as_bytes()).unwrap();
            assert_eq!(found.name, command.name);
            assert!(instead_of(command.text.as_bytes()).is_none(), "{} is both there and not", command.text);
        }
        for unknown in [&b""[..], b"ge", b"gett", b"get\0", b"q.cas", b"a very long name indeed", b"\xff"] {
            assert!(lookup(unknown).is_none());
        }
    }

    #[test]
    fn keys_are_found_where_the_table_says() {
        for (line, expected) in [
            (&["get", "k"][..], &[1][..]),
            (&["mget", "a", "b", "c"], &[1, 2, 3]),
            (&["mset", "a", "1", "b", "2"], &[1, 3]),
            (&["q.put", "k", "v", "level", "one"], &[1]),
            (&["ping"], &[]),
            (&["echo", "x"], &[]),
        ] {
            let command = lookup(line[0].as_bytes()).unwrap();
            assert_eq!(command.key_places(line.len()).collect::<Vec<_>>(), expected, "{line:?}");
        }
    }

    #[test]
    fn a_missing_command_names_another_way() {
        assert!(instead_of(b"INCR").unwrap().contains("Q.PUT CTX"));
        assert!(instead_of(b"expire").unwrap().contains("DEL"));
        assert!(instead_of(b"no-such").is_none());
    }
}
