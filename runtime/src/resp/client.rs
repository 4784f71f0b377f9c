//! Who is at the other end of a connection, and the commands about that.

use super::commands::Name;
use super::decode::Request;
use super::reply::Protocol;
use super::session::Session;
use super::{Close, Door};
use quorate_core::time::{Instant, Now};

/// What a client said of itself, and how it wants to be spoken to.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) protocol: Protocol,
    pub(super) is_authenticated: bool,
    id: u64,
    peer: String,
    born: Instant,
    name: String,
    lib_name: String,
    lib_version: String,
    wants_replies: bool,
    skips_this: bool,
    skips_next: bool,
}

/// The Redis whose commands we follow: what clients read to learn what they may send.
pub(super) const REDIS_VERSION: &str = "7.4.0";

impl Client {
    pub(super) fn new(id: u64, peer: String, is_authenticated: bool, born: Instant) -> Self {
        Self {
            protocol: Protocol::Resp2,
            is_authenticated,
            id,
            peer,
            born,
            name: String::new(),
            lib_name: String::new(),
            lib_version: String::new(),
            wants_replies: true,
            skips_this: false,
            skips_next: false,
        }
    }

    /// Another request begins.
    pub(super) fn begin_request(&mut self) {
        self.skips_this = std::mem::take(&mut self.skips_next);
    }

    /// Whether this request's reply is unwanted.
    pub(super) fn is_silent(&self) -> bool {
        self.skips_this || !self.wants_replies
    }

    /// The connection as new.
    fn reset(&mut self, door: &Door) {
        let peer = std::mem::take(&mut self.peer);
        *self = Self::new(self.id, peer, door.password.is_none(), self.born);
    }

    /// One line of `CLIENT INFO`.
    fn line(&self, now: Now) -> String {
        let Self { id, peer, name, lib_name, lib_version, .. } = self;
        let age = now.monotonic.since(self.born).as_micros() / 1_000_000;
        let resp = self.protocol.number();
        format!(
            "id={id} addr={peer} name={name} age={age} idle=0 flags=N db=0 user=default \
             lib-name={lib_name} lib-ver={lib_version} resp={resp}\n"
        )
    }
}

impl Session {
    /// Carries out a command about the connection itself.
    pub(super) fn connection_command(&mut self, now: Now, name: Name, request: &Request<'_>) {
        match name {
            Name::Hello => self.hello(request),
            Name::Auth => self.auth(request),
            Name::Client => self.client_command(now, request),
            Name::Quit => {
                self.reply(|writer| writer.ok());
                self.close = Close::AfterOutput;
            }
            Name::Reset => {
                self.client.reset(&self.door);
                self.reply(|writer| writer.simple("RESET"));
            }
            other => panic!("{other:?} is not about the connection"),
        }
    }

    fn hello(&mut self, request: &Request<'_>) {
        let protocol = match request.arg_if(1) {
            None => self.client.protocol,
            Some(b"2") => Protocol::Resp2,
            Some(b"3") => Protocol::Resp3,
            Some(_) => return self.error("NOPROTO unsupported protocol version"),
        };
        let (mut at, mut name) = (2, None);
        while let Some(option) = request.arg_if(at) {
            match (&option.to_ascii_lowercase()[..], request.arg_if(at + 1), request.arg_if(at + 2)) {
                (b"auth", Some(user), Some(password)) => {
                    if let Err(text) = self.check_password(user, password) {
                        return self.error(text);
                    }
                    at += 3;
                }
                (b"setname", Some(offered), _) => {
                    let Some(offered) = printable(offered) else { return self.error(BAD_NAME) };
                    name = Some(offered);
                    at += 2;
                }
                _ => return self.error(format_args!("ERR syntax error in HELLO option '{}'", option.escape_ascii())),
            }
        }
        if !self.client.is_authenticated {
            return self.error(
                "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO <proto> AUTH \
                 <user> <pass> option can be used to authenticate the client and select the RESP protocol version at \
                 the same time",
            );
        }
        if let Some(name) = name {
            self.client.name = name;
        }
        self.client.protocol = protocol;
        let (id, mode) = (self.client.id, self.door.mode());
        self.reply(|writer| {
            writer.map(7);
            for (field, value) in [("server", "redis"), ("version", REDIS_VERSION)] {
                writer.bulk(field.as_bytes());
                writer.bulk(value.as_bytes());
            }
            writer.bulk(b"proto");
            writer.integer(writer.protocol().number());
            writer.bulk(b"id");
            writer.integer(i64::try_from(id).unwrap_or(i64::MAX));
            for (field, value) in [("mode", mode), ("role", "master")] {
                writer.bulk(field.as_bytes());
                writer.bulk(value.as_bytes());
            }
            writer.bulk(b"modules");
            writer.array(0);
        });
    }

    fn auth(&mut self, request: &Request<'_>) {
        let checked = match request.len() {
            2 => self.check_password(b"default", request.arg(1)),
            3 => self.check_password(request.arg(1), request.arg(2)),
            _ => Err("ERR wrong number of arguments for 'auth' command"),
        };
        match checked {
            Ok(()) => self.reply(|writer| writer.ok()),
            Err(text) => self.error(text),
        }
    }

    fn check_password(&mut self, user: &[u8], password: &[u8]) -> Result<(), &'static str> {
        match &self.door.password {
            None => Err("ERR AUTH called without any password configured for the default user: see auth.password_file"),
            Some(secret) if user == b"default" && secret.matches(password) => {
                self.client.is_authenticated = true;
                Ok(())
            }
            Some(_) => Err("WRONGPASS invalid username-password pair or user is disabled."),
        }
    }

    fn client_command(&mut self, now: Now, request: &Request<'_>) {
        let subcommand = request.arg(1).to_ascii_lowercase();
        match (&subcommand[..], request.len()) {
            (b"id", 2) => {
                let id = i64::try_from(self.client.id).unwrap_or(i64::MAX);
                self.reply(|writer| writer.integer(id));
            }
            (b"getname", 2) => {
                let name = self.client.name.clone();
                self.reply(|writer| if name.is_empty() { writer.null() } else { writer.bulk(name.as_bytes()) });
            }
            (b"setname", 3) => match printable(request.arg(2)) {
                Some(name) => {
                    self.client.name = name;
                    self.reply(|writer| writer.ok());
                }
                None => self.error(BAD_NAME),
            },
            (b"setinfo", 4) => self.set_info(request),
            (b"info", 2) | (b"list", _) => {
                // A session knows itself only, so the list has one line.
                let line = self.client.line(now);
                self.reply(|writer| writer.text(&line));
            }
            (b"no-evict" | b"no-touch", 3) => self.reply(|writer| writer.ok()),
            (b"reply", 3) => self.set_replies(request),
            _ => {
                let shown = subcommand.escape_ascii();
                self.error(format_args!(
                    "ERR unknown subcommand or wrong number of arguments for 'client|{shown}'; there are \
                     ID, SETNAME, GETNAME, SETINFO, INFO, LIST, NO-EVICT, NO-TOUCH, REPLY"
                ));
            }
        }
    }

    fn set_info(&mut self, request: &Request<'_>) {
        let Some(value) = printable(request.arg(3)) else { return self.error(BAD_NAME) };
        match &request.arg(2).to_ascii_lowercase()[..] {
            b"lib-name" => self.client.lib_name = value,
            b"lib-ver" => self.client.lib_version = value,
            _ => return self.error("ERR CLIENT SETINFO takes LIB-NAME or LIB-VER"),
        }
        self.reply(|writer| writer.ok());
    }

    fn set_replies(&mut self, request: &Request<'_>) {
        match &request.arg(2).to_ascii_lowercase()[..] {
            b"on" => {
                self.client.wants_replies = true;
                self.reply(|writer| writer.ok());
            }
            b"off" => self.client.wants_replies = false,
            b"skip" => self.client.skips_next = true,
            _ => self.error("ERR CLIENT REPLY takes ON, OFF or SKIP"),
        }
    }
}

const BAD_NAME: &str = "ERR Client names cannot contain spaces, newlines or special characters.";
/// The longest name that a client may give itself.
const NAME_BYTES_MAX: usize = 256;

/// A name that can stand in a line of text.
fn printable(bytes: &[u8]) -> Option<String> {
    let fits = bytes.len() <= NAME_BYTES_MAX && bytes.iter().all(u8::is_ascii_graphic);
    fits.then(|| String::from_utf8(bytes.to_vec()).ok()).flatten()
}
