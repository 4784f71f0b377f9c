//! A small reader of EDN, as far as histories use it.
//!
//! Nil, booleans, numbers, strings, characters, symbols, keywords, lists, vectors, sets, maps, comments, discards
//! (`#_`) and tags (`#inst`, `#jepsen.history.Op`), whose tag is passed over. Nesting is bounded. Texts and names stay
//! where they are in the input, unless something in them is escaped.

use std::borrow::Cow;
use std::sync::Arc;

use crate::Value;

/// One EDN form.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Edn<'a> {
    Nil,
    Int(i64),
    Text(Cow<'a, str>),
    /// Without its colon.
    Keyword(&'a str),
    /// Anything else that is one token: symbols, floats, booleans.
    Token(&'a str),
    /// Lists, vectors and sets.
    Many(Vec<Edn<'a>>),
    Map(Vec<(Edn<'a>, Edn<'a>)>),
}

/// Deeper nesting is refused.
const DEPTH_MAX: usize = 64;
/// An event of Jepsen's has about so many fields.
const PAIRS_USUAL: usize = 8;

/// The bytes that end a token.
const ENDS: [bool; 256] = {
    let (mut ends, stops) = ([false; 256], b" \t\r\n\x0c,;\"()[]{}");
    let mut at = 0;
    while at < stops.len() {
        ends[stops[at] as usize] = true;
        at += 1;
    }
    ends
};

impl<'a> Edn<'a> {
    /// What it takes in memory beside the input, about.
    pub(crate) fn bytes(&self) -> usize {
        let behind = match self {
            Edn::Nil | Edn::Int(_) | Edn::Keyword(_) | Edn::Token(_) | Edn::Text(Cow::Borrowed(_)) => 0,
            Edn::Text(Cow::Owned(text)) => text.capacity(),
            Edn::Many(items) => items.iter().map(Edn::bytes).sum(),
            Edn::Map(entries) => entries.iter().map(|(name, value)| name.bytes() + value.bytes()).sum(),
        };
        size_of::<Edn>() + behind
    }

    /// As a value of a history.
    pub(crate) fn value(&self) -> Value {
        match self {
            Edn::Nil => Value::Absent,
            Edn::Int(number) => Value::Int(*number),
            Edn::Text(text) => Value::text(text),
            Edn::Keyword(name) => Value::Token(Arc::new(format!(":{name}"))),
            Edn::Token(token) => Value::Token(Arc::new(token.to_string())),
            Edn::Many(items) => Value::List(Arc::new(items.iter().map(Edn::value).collect())),
            Edn::Map(pairs) => {
                let items = pairs.iter().flat_map(|(key, value)| [key.value(), value.value()]);
                Value::List(Arc::new(items.collect()))
            }
        }
    }

    /// As the name of a client or key.
    pub(crate) fn name(self) -> Cow<'a, str> {
        match self {
            Edn::Text(text) => text,
            Edn::Token(text) => text.into(),
            Edn::Keyword(name) => format!(":{name}").into(),
            other => other.value().to_string().into(),
        }
    }
}

/// Reads form after form and keeps count of lines.
pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    counted: usize,
    lines: u64,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Reader { bytes, at: 0, counted: 0, lines: 1 }
    }

    /// The line of the next byte, counted from 1.
    pub(crate) fn line(&mut self) -> u64 {
        let passed = &self.bytes[self.counted..self.at];
        self.lines += passed.iter().filter(|byte| **byte == b'\n').count() as u64;
        self.counted = self.at;
        self.lines
    }

    /// Passes over space and comments; the next byte, or `None` at the end.
    pub(crate) fn next_byte(&mut self) -> Option<u8> {
        loop {
            match self.bytes.get(self.at)? {
                b' ' | b'\t' | b'\r' | b'\n' | b',' => self.at += 1,
                b';' => {
                    let rest = &self.bytes[self.at..];
                    self.at += rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len());
                }
                byte => return Some(*byte),
            }
        }
    }

    /// Passes over one byte that [`Reader::next_byte`] showed.
    pub(crate) fn pass(&mut self) {
        self.at += 1;
    }

    /// The next form, or `None` at the end of the input.
    pub(crate) fn form(&mut self) -> Result<Option<Edn<'a>>, String> {
        self.nested(0)
    }

    fn nested(&mut self, depth: usize) -> Result<Option<Edn<'a>>, String> {
        if depth > DEPTH_MAX {
            return Err(format!("forms are nested deeper than {DEPTH_MAX}"));
        }
        let Some(byte) = self.next_byte() else { return Ok(None) };
        Ok(Some(match byte {
            b'"' => Edn::Text(self.text()?),
            b'(' => Edn::Many(self.many(b')', depth)?),
            b'[' => Edn::Many(self.many(b']', depth)?),
            b'{' => {
                let mut pairs = Vec::with_capacity(PAIRS_USUAL);
                self.at += 1;
                while let Some(key) = self.item(b'}', depth)? {
                    let value = self.item(b'}', depth)?.ok_or("a map has a key without a value")?;
                    pairs.push((key, value));
                }
                Edn::Map(pairs)
            }
            b'#' => {
                self.at += 1;
                match self.bytes.get(self.at) {
                    Some(b'{') => Edn::Many(self.many(b'}', depth)?),
                    Some(b'_') => {
                        self.at += 1;
                        self.nested(depth + 1)?.ok_or("nothing to discard after #_")?;
                        return self.nested(depth + 1);
                    }
                    _ => {
                        self.token();
                        return self.nested(depth + 1)?.map(Some).ok_or_else(|| "nothing after a tag".to_string());
                    }
                }
            }
            b')' | b']' | b'}' => return Err(format!("'{}' closes nothing", char::from(byte))),
            _ => self.atom()?,
        }))
    }

    fn many(&mut self, close: u8, depth: usize) -> Result<Vec<Edn<'a>>, String> {
        self.at += 1;
        let mut items = Vec::new();
        while let Some(item) = self.item(close, depth)? {
            items.push(item);
        }
        Ok(items)
    }

    /// The next form of a collection, or `None` behind its end.
    fn item(&mut self, close: u8, depth: usize) -> Result<Option<Edn<'a>>, String> {
        loop {
            match self.next_byte() {
                None => return Err(format!("'{}' is missing at the end", char::from(close))),
                Some(byte) if byte == close => {
                    self.at += 1;
                    return Ok(None);
                }
                Some(b'#') if self.bytes.get(self.at + 1) == Some(&b'_') => {
                    self.at += 2;
                    self.nested(depth + 1)?.ok_or("nothing to discard after #_")?;
                }
                Some(_) => return self.nested(depth + 1),
            }
        }
    }

    fn token(&mut self) -> &'a str {
        let rest = &self.bytes[self.at..];
        let token = &rest[..rest.iter().position(|byte| ENDS[usize::from(*byte)]).unwrap_or(rest.len())];
        self.at += token.len();
        std::str::from_utf8(token).unwrap_or("?")
    }

    fn atom(&mut self) -> Result<Edn<'a>, String> {
        let token = self.token();
        if let Some(name) = token.strip_prefix(':') {
            return Ok(Edn::Keyword(name));
        }
        match token {
            "" => Err("a character that begins no form".to_string()),
            "nil" => Ok(Edn::Nil),
            _ => {
                let digits = token.strip_suffix('N').unwrap_or(token);
                match digits.strip_prefix('+').unwrap_or(digits).parse() {
                    Ok(number) => Ok(Edn::Int(number)),
                    Err(_) => Ok(Edn::Token(token)),
                }
            }
        }
    }

    fn text(&mut self) -> Result<Cow<'a, str>, String> {
        const NOT_UTF8: &str = "a string is not UTF-8";
        self.at += 1;
        let rest = &self.bytes[self.at..];
        let plain = rest.iter().position(|byte| matches!(byte, b'"' | b'\\')).ok_or("a string is not closed")?;
        self.at += plain;
        let mut bytes = match rest[plain] {
            b'"' => {
                self.at += 1;
                return std::str::from_utf8(&rest[..plain]).map(Cow::Borrowed).map_err(|_| NOT_UTF8.to_string());
            }
            _ => rest[..plain].to_vec(),
        };
        loop {
            let byte = *self.bytes.get(self.at).ok_or("a string is not closed")?;
            self.at += 1;
            match byte {
                b'"' => return String::from_utf8(bytes).map(Cow::Owned).map_err(|_| NOT_UTF8.to_string()),
                b'\\' => {
                    let escaped = *self.bytes.get(self.at).ok_or("a string is not closed")?;
                    self.at += 1;
                    match escaped {
                        b'n' => bytes.push(b'\n'),
                        b't' => bytes.push(b'\t'),
                        b'r' => bytes.push(b'\r'),
                        b'"' | b'\\' => bytes.push(escaped),
                        b'u' => {
                            let digits = self.bytes.get(self.at..self.at + 4).ok_or("a bad \\u escape")?;
                            let digits = std::str::from_utf8(digits).map_err(|_| "a bad \\u escape")?;
                            let code = u32::from_str_radix(digits, 16).map_err(|_| "a bad \\u escape")?;
                            let character = char::from_u32(code).ok_or("a bad \\u escape")?;
                            bytes.extend(character.encode_utf8(&mut [0; 4]).as_bytes());
                            self.at += 4;
                        }
                        _ => return Err("an unknown escape in a string".to_string()),
                    }
                }
                byte => bytes.push(byte),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_comments_and_discards_are_read() {
        let text = b"; a comment\n{:a 1, :b [nil \"x\\ny\" #{2} #_ignored -3N]} #tag (true)";
        let mut reader = Reader::new(text);
        let inner = Edn::Many(vec![Edn::Nil, Edn::Text("x\ny".into()), Edn::Many(vec![Edn::Int(2)]), Edn::Int(-3)]);
        let map = Edn::Map(vec![(Edn::Keyword("a"), Edn::Int(1)), (Edn::Keyword("b"), inner)]);
        assert_eq!(reader.form().unwrap(), Some(map));
        assert_eq!(reader.line(), 2);
        assert_eq!(reader.form().unwrap(), Some(Edn::Many(vec![Edn::Token("true")])));
        assert_eq!(reader.form().unwrap(), None);
    }

    #[test]
    fn malformed_forms_are_errors_not_panics() {
        let deep = "[".repeat(100_000);
        for text in ["{:a}", "(", "]", "\"open", "{:a 1", "#_", "#tag", "\"\\u12\"", "\"\\q\"", &deep] {
            assert!(Reader::new(text.as_bytes()).form().is_err(), "{}", &text[..text.len().min(20)]);
        }
    }
}
