//! A small reader of EDN, as far as histories use it.
//!
//! Nil, booleans, numbers, strings, characters, symbols, keywords, lists, vectors, sets, maps, comments, discards
//! (`#_`) and tags (`#inst`, `#jepsen.history.Op`), whose tag is passed over. Nesting is bounded.

use std::sync::Arc;

use crate::Value;

/// One EDN form.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Edn {
    Nil,
    Int(i64),
    Text(String),
    /// Without its colon.
    Keyword(String),
    /// Anything else that is one token: symbols, floats, booleans.
    Token(String),
    /// Lists, vectors and sets.
    Many(Vec<Edn>),
    Map(Vec<(Edn, Edn)>),
}

/// Deeper nesting is refused.
const DEPTH_MAX: usize = 64;

impl Edn {
    /// What it takes in memory, about.
    pub(crate) fn bytes(&self) -> usize {
        let behind = match self {
            Edn::Nil | Edn::Int(_) => 0,
            Edn::Text(text) | Edn::Keyword(text) | Edn::Token(text) => text.capacity(),
            Edn::Many(items) => items.iter().map(Edn::bytes).sum(),
            Edn::Map(entries) => entries.iter().map(|(name, value)| name.bytes() + value.bytes()).sum(),
        };
        size_of::<Edn>() + behind
    }

    /// The value under a keyword of a map.
    pub(crate) fn get(&self, keyword: &str) -> Option<&Edn> {
        let Edn::Map(pairs) = self else { return None };
        pairs.iter().find(|(key, _)| matches!(key, Edn::Keyword(name) if name == keyword)).map(|(_, value)| value)
    }

    /// As a value of a history.
    pub(crate) fn value(&self) -> Value {
        match self {
            Edn::Nil => Value::Absent,
            Edn::Int(number) => Value::Int(*number),
            Edn::Text(text) => Value::text(text),
            Edn::Keyword(name) => Value::Token(Arc::new(format!(":{name}"))),
            Edn::Token(token) => Value::Token(Arc::new(token.clone())),
            Edn::Many(items) => Value::List(Arc::new(items.iter().map(Edn::value).collect())),
            Edn::Map(pairs) => {
                let items = pairs.iter().flat_map(|(key, value)| [key.value(), value.value()]);
                Value::List(Arc::new(items.collect()))
            }
        }
    }

    /// As the name of a client or key.
    pub(crate) fn name(&self) -> String {
        match self {
            Edn::Text(text) | Edn::Token(text) => text.clone(),
            Edn::Keyword(name) => format!(":{name}"),
            other => other.value().to_string(),
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
    pub(crate) fn form(&mut self) -> Result<Option<Edn>, String> {
        self.nested(0)
    }

    fn nested(&mut self, depth: usize) -> Result<Option<Edn>, String> {
        if depth > DEPTH_MAX {
            return Err(format!("forms are nested deeper than {DEPTH_MAX}"));
        }
        let Some(byte) = self.next_byte() else { return Ok(None) };
        Ok(Some(match byte {
            b'"' => Edn::Text(self.text()?),
            b'(' => Edn::Many(self.many(b')', depth)?),
            b'[' => Edn::Many(self.many(b']', depth)?),
            b'{' => {
                let mut items = self.many(b'}', depth)?.into_iter();
                if items.len() % 2 == 1 {
                    return Err("a map has a key without a value".to_string());
                }
                let mut pairs = Vec::with_capacity(items.len() / 2);
                while let (Some(key), Some(value)) = (items.next(), items.next()) {
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

    fn many(&mut self, close: u8, depth: usize) -> Result<Vec<Edn>, String> {
        self.at += 1;
        let mut items = Vec::new();
        loop {
            match self.next_byte() {
                None => return Err(format!("'{}' is missing at the end", char::from(close))),
                Some(byte) if byte == close => {
                    self.at += 1;
                    return Ok(items);
                }
                Some(b'#') if self.bytes.get(self.at + 1) == Some(&b'_') => {
                    self.at += 2;
                    self.nested(depth + 1)?.ok_or("nothing to discard after #_")?;
                }
                Some(_) => items.extend(self.nested(depth + 1)?),
            }
        }
    }

    fn token(&mut self) -> &'a str {
        let rest = &self.bytes[self.at..];
        let ends = |byte: &u8| byte.is_ascii_whitespace() || b",;\"()[]{}".contains(byte);
        let token = &rest[..rest.iter().position(ends).unwrap_or(rest.len())];
        self.at += token.len();
        std::str::from_utf8(token).unwrap_or("?")
    }

    fn atom(&mut self) -> Result<Edn, String> {
        let token = self.token();
        if let Some(name) = token.strip_prefix(':') {
            return Ok(Edn::Keyword(name.to_string()));
        }
        match token {
            "" => Err("a character that begins no form".to_string()),
            "nil" => Ok(Edn::Nil),
            _ => {
                let digits = token.strip_suffix('N').unwrap_or(token);
                match digits.strip_prefix('+').unwrap_or(digits).parse() {
                    Ok(number) => Ok(Edn::Int(number)),
                    Err(_) => Ok(Edn::Token(token.to_string())),
                }
            }
        }
    }

    fn text(&mut self) -> Result<String, String> {
        self.at += 1;
        let mut bytes = Vec::new();
        loop {
            let byte = *self.bytes.get(self.at).ok_or("a string is not closed")?;
            self.at += 1;
            match byte {
                b'"' => return String::from_utf8(bytes).map_err(|_| "a string is not UTF-8".to_string()),
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
        let map = reader.form().unwrap().unwrap();
        assert_eq!(map.get("a"), Some(&Edn::Int(1)));
        let inner = Edn::Many(vec![Edn::Nil, Edn::Text("x\ny".into()), Edn::Many(vec![Edn::Int(2)]), Edn::Int(-3)]);
        assert_eq!(map.get("b"), Some(&inner));
        assert_eq!(reader.line(), 2);
        assert_eq!(reader.form().unwrap(), Some(Edn::Many(vec![Edn::Token("true".into())])));
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
