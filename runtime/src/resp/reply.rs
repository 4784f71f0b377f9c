//! Replies into bytes: RESP2, or RESP3 where the client asked for it.
//!
//! A [`Writer`] appends to a buffer and keeps nothing. Text that came from outside goes through [`Writer::error`] or a
//! bulk string only, so no reply can be broken by what a client sent.

use bytes::{BufMut, BytesMut};
use std::fmt::{self, Display, Write};

/// Which of the two protocols a connection speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protocol {
    /// What every client speaks that did not ask for more.
    #[default]
    Resp2,
    /// After `HELLO 3`.
    Resp3,
}

impl Protocol {
    /// Its number.
    pub fn number(self) -> i64 {
        match self {
            Self::Resp2 => 2,
            Self::Resp3 => 3,
        }
    }
}

/// Appends replies to a buffer.
#[derive(Debug)]
pub struct Writer<'a> {
    out: &'a mut BytesMut,
    protocol: Protocol,
}

impl<'a> Writer<'a> {
    /// A writer of that protocol.
    pub fn new(out: &'a mut BytesMut, protocol: Protocol) -> Self {
        Self { out, protocol }
    }

    /// The protocol it writes.
    pub fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// `+text`; `text` is ours and has no line end.
    pub fn simple(&mut self, text: &'static str) {
        self.out.put_u8(b'+');
        self.out.put_slice(text.as_bytes());
        self.end();
    }

    /// `+OK`.
    pub fn ok(&mut self) {
        self.out.put_slice(b"+OK\r\n");
    }

    /// `-text`; line ends within become spaces.
    pub fn error(&mut self, text: impl Display) {
        self.out.put_u8(b'-');
        write!(OneLine(self.out), "{text}").expect("a buffer takes all that is written to it");
        self.end();
    }

    /// `:value`.
    pub fn integer(&mut self, value: i64) {
        self.out.put_u8(b':');
        self.number(value);
    }

    /// A bulk string.
    pub fn bulk(&mut self, bytes: &[u8]) {
        self.bulk_header(bytes.len());
        self.out.put_slice(bytes);
        self.end();
    }

    /// The length line of a bulk string whose bytes and line end the caller appends.
    pub fn bulk_header(&mut self, bytes: usize) {
        self.header(b'$', bytes);
    }

    /// What [`Self::bulk_header`] begins, this ends.
    pub fn end(&mut self) {
        self.out.put_slice(b"\r\n");
    }

    /// A text for people: `INFO` and its like.
    pub fn text(&mut self, text: &str) {
        match self.protocol {
            Protocol::Resp2 => self.bulk(text.as_bytes()),
            Protocol::Resp3 => {
                self.header(b'=', text.len() + 4);
                self.out.put_slice(b"txt:");
                self.out.put_slice(text.as_bytes());
                self.end();
            }
        }
    }

    /// Nothing.
    pub fn null(&mut self) {
        match self.protocol {
            Protocol::Resp2 => self.out.put_slice(b"$-1\r\n"),
            Protocol::Resp3 => self.out.put_slice(b"_\r\n"),
        }
    }

    /// Begins an array of so many replies.
    pub fn array(&mut self, length: usize) {
        self.header(b'*', length);
    }

    /// Begins a map of so many pairs: a flat array in RESP2.
    pub fn map(&mut self, pairs: usize) {
        match self.protocol {
            Protocol::Resp2 => self.header(b'*', pairs * 2),
            Protocol::Resp3 => self.header(b'%', pairs),
        }
    }

    /// Begins a set of so many replies: an array in RESP2.
    pub fn set(&mut self, length: usize) {
        match self.protocol {
            Protocol::Resp2 => self.header(b'*', length),
            Protocol::Resp3 => self.header(b'~', length),
        }
    }

    fn header(&mut self, mark: u8, length: usize) {
        self.out.put_u8(mark);
        self.number(i64::try_from(length).expect("lengths fit"));
    }

    fn number(&mut self, value: i64) {
        self.out.put_slice(itoa::Buffer::new().format(value).as_bytes());
        self.end();
    }
}

/// Lets text through on one line.
struct OneLine<'a>(&'a mut BytesMut);

impl fmt::Write for OneLine<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            self.0.put_u8(if byte == b'\r' || byte == b'\n' { b' ' } else { byte });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(protocol: Protocol, write: impl Fn(&mut Writer<'_>)) -> String {
        let mut out = BytesMut::new();
        write(&mut Writer::new(&mut out, protocol));
        String::from_utf8(out.to_vec()).unwrap()
    }

    #[test]
    fn each_kind_of_reply_in_both_protocols() {
        type Case = (fn(&mut Writer<'_>), &'static str, &'static str);
        let cases: [Case; 9] = [
            (|w| w.ok(), "+OK\r\n", "+OK\r\n"),
            (|w| w.integer(-7), ":-7\r\n", ":-7\r\n"),
            (|w| w.bulk(b""), "$0\r\n\r\n", "$0\r\n\r\n"),
            (|w| w.bulk(b"a\r\nb"), "$4\r\na\r\nb\r\n", "$4\r\na\r\nb\r\n"),
            (|w| w.null(), "$-1\r\n", "_\r\n"),
            (|w| w.array(2), "*2\r\n", "*2\r\n"),
            (|w| w.map(2), "*4\r\n", "%2\r\n"),
            (|w| w.set(2), "*2\r\n", "~2\r\n"),
            (|w| w.text("hi"), "$2\r\nhi\r\n", "=6\r\ntxt:hi\r\n"),
        ];
        for (write, resp2, resp3) in cases {
            assert_eq!(written(Protocol::Resp2, write), resp2);
            assert_eq!(written(Protocol::Resp3, write), resp3);
        }
    }

    #[test]
    fn an_error_stays_on_one_line() {
        assert_eq!(written(Protocol::Resp2, |w| w.error("ERR a\r\n+OK\r\n")), "-ERR a  +OK  \r\n");
    }
}
