//! A scanner for one flat JSON object per line, made for speed: no tree, no copy of what has no escapes.

use std::borrow::Cow;
use std::sync::Arc;

use crate::Value;

/// Nesting deeper than this is refused, so that hostile input cannot exhaust the stack.
const DEPTH_MAX: usize = 16;
/// `{"fill":..,"len":..}` is kept as two numbers, so any length is harmless; this is a bound on sense.
const FILL_BYTES_MAX: i64 = 1 << 30;

/// Marks the bytes of a word that end a string or cannot stand in it as they are: quotes, backslashes, control
/// characters. Only the lowest mark is always true.
#[inline]
fn stops(word: [u8; 8]) -> u64 {
    const ONES: u64 = u64::from_le_bytes([1; 8]);
    const TOPS: u64 = u64::from_le_bytes([0x80; 8]);
    let below = |word: u64, bound: u8| word.wrapping_sub(ONES * u64::from(bound)) & !word;
    let word = u64::from_le_bytes(word);
    let quote = below(word ^ (ONES * u64::from(b'"')), 1);
    let backslash = below(word ^ (ONES * u64::from(b'\\')), 1);
    (quote | backslash | below(word, b' ')) & TOPS
}

/// Where the first byte lies that [`stops`] would mark.
fn first_stop(text: &[u8]) -> Option<usize> {
    let (words, rest) = text.as_chunks::<8>();
    if let Some(at) = words.iter().position(|word| stops(*word) != 0) {
        return Some(at * 8 + stops(words[at]).trailing_zeros() as usize / 8);
    }
    let stop = rest.iter().position(|byte| *byte < b' ' || matches!(byte, b'"' | b'\\'))?;
    Some(words.len() * 8 + stop)
}

/// A position in a line.
pub(crate) struct Scanner<'a> {
    line_bytes: usize,
    rest: &'a [u8],
}

type Scan<T> = Result<T, String>;

impl<'a> Scanner<'a> {
    pub(crate) fn new(line: &'a [u8]) -> Self {
        Scanner { line_bytes: line.len(), rest: line }
    }

    /// The next byte, or 0 at the end.
    #[inline]
    fn peek(&self) -> u8 {
        self.rest.first().copied().unwrap_or(0)
    }

    #[inline]
    fn pass(&mut self, bytes: usize) {
        self.rest = &self.rest[bytes..];
    }

    #[inline]
    fn skip_space(&mut self) {
        if self.peek() <= b' ' {
            self.skip_spaces();
        }
    }

    #[cold]
    fn skip_spaces(&mut self) {
        while let [b' ' | b'\t' | b'\r' | b'\n', rest @ ..] = self.rest {
            self.rest = rest;
        }
    }

    #[inline]
    pub(crate) fn expect(&mut self, byte: u8) -> Scan<()> {
        match self.rest {
            [first, rest @ ..] if *first == byte => {
                self.rest = rest;
                Ok(())
            }
            _ => self.expect_behind_space(byte),
        }
    }

    #[cold]
    fn expect_behind_space(&mut self, byte: u8) -> Scan<()> {
        self.skip_space();
        match self.rest {
            [first, rest @ ..] if *first == byte => {
                self.rest = rest;
                Ok(())
            }
            _ => Err(self.wrong(&format!("'{}'", char::from(byte)))),
        }
    }

    #[cold]
    fn wrong(&self, wanted: &str) -> String {
        let column = self.line_bytes - self.rest.len() + 1;
        match self.rest.first() {
            Some(byte) => format!("expected {wanted} at column {column}, found '{}'", byte.escape_ascii()),
            None => format!("expected {wanted}, but the line ends"),
        }
    }

    /// Calls `field` with the name of each field, which must read its value.
    #[inline(always)]
    pub(crate) fn object(&mut self, mut field: impl FnMut(&mut Self, &[u8]) -> Scan<()>) -> Scan<()> {
        self.expect(b'{')?;
        self.skip_space();
        if self.peek() == b'}' {
            self.pass(1);
            return Ok(());
        }
        loop {
            let longer;
            let name = match self.rest {
                // Most names have one letter or three.
                [b'"', b'a'..=b'z', b'"', b':', ..] => self.skipped(1),
                [b'"', b'a'..=b'z', b'a'..=b'z', b'a'..=b'z', b'"', b':', ..] => self.skipped(3),
                _ => {
                    longer = self.string()?;
                    self.expect(b':')?;
                    &longer
                }
            };
            field(self, name)?;
            self.skip_space();
            match self.rest {
                [b',', rest @ ..] => self.rest = rest,
                [b'}', rest @ ..] => {
                    self.rest = rest;
                    return Ok(());
                }
                _ => return Err(self.wrong("',' or '}'")),
            }
        }
    }

    /// A name of so many letters, passed over with its quotes and its colon.
    #[inline]
    fn skipped(&mut self, letters: usize) -> &'a [u8] {
        let (name, rest) = self.rest.split_at(letters + 3);
        self.rest = rest;
        &name[1..=letters]
    }

    pub(crate) fn end(&mut self) -> Scan<()> {
        self.skip_space();
        if self.rest.is_empty() { Ok(()) } else { Err(self.wrong("the end of the line")) }
    }

    #[inline(always)]
    pub(crate) fn string(&mut self) -> Scan<Cow<'a, [u8]>> {
        // Most texts are shorter than a word.
        if let [b'"', text @ ..] = self.rest
            && let Some(word) = text.first_chunk()
        {
            let stop = stops(*word).trailing_zeros() as usize / 8;
            if let Some((text, [b'"', rest @ ..])) = text.split_at_checked(stop) {
                self.rest = rest;
                return Ok(Cow::Borrowed(text));
            }
        }
        self.string_longer()
    }

    #[inline(never)]
    fn string_longer(&mut self) -> Scan<Cow<'a, [u8]>> {
        self.expect(b'"')?;
        match first_stop(self.rest) {
            Some(stop) if self.rest[stop] == b'"' => {
                let text = &self.rest[..stop];
                self.pass(stop + 1);
                Ok(Cow::Borrowed(text))
            }
            Some(_) => self.escaped().map(Cow::Owned),
            None => Err("a string is not closed".to_string()),
        }
    }

    /// The rest of a string in which something is escaped.
    #[cold]
    fn escaped(&mut self) -> Scan<Vec<u8>> {
        let mut bytes = Vec::new();
        loop {
            match self.peek() {
                b'"' => {
                    self.pass(1);
                    return Ok(bytes);
                }
                b'\\' => self.escape(&mut bytes)?,
                0..b' ' => return Err(self.wrong("a closing '\"'")),
                byte => {
                    bytes.push(byte);
                    self.pass(1);
                }
            }
        }
    }

    fn escape(&mut self, bytes: &mut Vec<u8>) -> Scan<()> {
        let [_, escaped, rest @ ..] = self.rest else { return Err("a string is not closed".to_string()) };
        let escaped = *escaped;
        self.rest = rest;
        let plain = match escaped {
            b'"' | b'\\' | b'/' => escaped,
            b'n' => b'\n',
            b't' => b'\t',
            b'r' => b'\r',
            b'b' => 8,
            b'f' => 12,
            b'u' => {
                let mut code = self.hex4()?;
                if (0xd800..0xdc00).contains(&code) && self.rest.starts_with(b"\\u") {
                    self.pass(2);
                    let low = self.hex4()?;
                    code = 0x10000 + ((code - 0xd800) << 10) + (low.wrapping_sub(0xdc00) & 0x3ff);
                }
                let character = char::from_u32(code).ok_or("a lone surrogate in a string")?;
                bytes.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                return Ok(());
            }
            _ => return Err("an unknown escape in a string".to_string()),
        };
        bytes.push(plain);
        Ok(())
    }

    fn hex4(&mut self) -> Scan<u32> {
        let digits = self.rest.get(..4).and_then(|digits| std::str::from_utf8(digits).ok());
        let code = digits.and_then(|digits| u32::from_str_radix(digits, 16).ok()).ok_or("a bad \\u escape")?;
        self.pass(4);
        Ok(code)
    }

    #[inline]
    pub(crate) fn integer(&mut self) -> Scan<i64> {
        /// So many digits fit whatever they are.
        const DIGITS_SAFE: usize = 18;
        self.skip_space();
        let sign = usize::from(self.peek() == b'-');
        let (mut number, mut at) = (0i64, sign);
        while let Some(byte @ b'0'..=b'9') = self.rest.get(at) {
            number = number.wrapping_mul(10).wrapping_add(i64::from(byte - b'0'));
            at += 1;
        }
        if at == sign || matches!(self.rest.get(at), Some(b'.' | b'e' | b'E')) {
            return Err(self.wrong("an integer"));
        }
        let (text, rest) = self.rest.split_at(at);
        if at - sign > DIGITS_SAFE {
            let number = std::str::from_utf8(text).expect("ascii").parse();
            self.rest = rest;
            return number.map_err(|_| "a number is out of range".to_string());
        }
        self.rest = rest;
        Ok(if sign == 1 { -number } else { number })
    }

    pub(crate) fn is_string(&mut self) -> bool {
        self.skip_space();
        self.peek() == b'"'
    }

    pub(crate) fn is_null(&mut self) -> bool {
        self.skip_space();
        let null = self.rest.starts_with(b"null");
        self.pass(if null { 4 } else { 0 });
        null
    }

    /// Any JSON value as a [`Value`]; `{"b64":..}` and `{"fill":..,"len":..}` are byte strings, `{"any":1}` is a read that
    /// did not say what it saw.
    pub(crate) fn value(&mut self) -> Scan<Value> {
        self.nested_value(0)
    }

    fn nested_value(&mut self, depth: usize) -> Scan<Value> {
        if depth > DEPTH_MAX {
            return Err(format!("values are nested deeper than {DEPTH_MAX}"));
        }
        self.skip_space();
        match self.peek() {
            b'"' => Ok(Value::bytes(&self.string()?)),
            b'n' if self.is_null() => Ok(Value::Absent),
            b'-' | b'0'..=b'9' => {
                let begin = self.rest;
                self.integer().map(Value::Int).or_else(|_| {
                    self.rest = begin;
                    self.token()
                })
            }
            b'{' => self.bytes_object(),
            b'[' => {
                self.pass(1);
                let mut items = Vec::new();
                self.skip_space();
                if self.peek() == b']' {
                    self.pass(1);
                    return Ok(Value::List(Arc::new(items)));
                }
                loop {
                    items.push(self.nested_value(depth + 1)?);
                    self.skip_space();
                    match self.rest {
                        [b',', rest @ ..] => self.rest = rest,
                        [b']', rest @ ..] => {
                            self.rest = rest;
                            return Ok(Value::List(Arc::new(items)));
                        }
                        _ => return Err(self.wrong("',' or ']'")),
                    }
                }
            }
            _ => self.token(),
        }
    }

    /// Passes over any JSON value.
    pub(crate) fn skip_value(&mut self) -> Scan<()> {
        self.skip_nested(0)
    }

    fn skip_nested(&mut self, depth: usize) -> Scan<()> {
        if depth > DEPTH_MAX {
            return Err(format!("values are nested deeper than {DEPTH_MAX}"));
        }
        self.skip_space();
        match self.peek() {
            b'"' => self.string().map(|_| ()),
            b'{' => self.object(|scanner, _| scanner.skip_nested(depth + 1)),
            b'[' => {
                self.pass(1);
                self.skip_space();
                if self.peek() == b']' {
                    self.pass(1);
                    return Ok(());
                }
                loop {
                    self.skip_nested(depth + 1)?;
                    self.skip_space();
                    match self.rest {
                        [b',', rest @ ..] => self.rest = rest,
                        [b']', rest @ ..] => {
                            self.rest = rest;
                            return Ok(());
                        }
                        _ => return Err(self.wrong("',' or ']'")),
                    }
                }
            }
            b'n' if self.is_null() => Ok(()),
            _ => self.token().map(|_| ()),
        }
    }

    /// `true`, `false`, or a number that is not an integer.
    fn token(&mut self) -> Scan<Value> {
        let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'+' | b'.');
        let token = &self.rest[..self.rest.iter().position(|byte| !is_part(byte)).unwrap_or(self.rest.len())];
        let text = std::str::from_utf8(token).expect("ascii");
        let number =
            text.starts_with(|first: char| first.is_ascii_digit() || first == '-') && text.parse::<f64>().is_ok();
        if !number && !matches!(text, "true" | "false") {
            return Err(self.wrong("a value"));
        }
        self.rest = &self.rest[token.len()..];
        Ok(Value::Token(Arc::new(text.to_string())))
    }

    fn bytes_object(&mut self) -> Scan<Value> {
        let (mut base64, mut fill, mut len, mut any) = (None, None, None, false);
        self.object(|scanner, name| {
            match name {
                b"b64" => base64 = Some(decode_base64(&scanner.string()?)?),
                b"fill" => fill = Some(scanner.integer()?),
                b"len" => len = Some(scanner.integer()?),
                b"any" => {
                    any = true;
                    scanner.skip_value()?;
                }
                _ => return Err("an object value is {\"b64\":..} or {\"fill\":..,\"len\":..}".to_string()),
            }
            Ok(())
        })?;
        match (base64, fill, len) {
            (None, None, None) if any => Ok(Value::Any),
            (Some(bytes), None, None) => Ok(Value::bytes(&bytes)),
            (None, Some(byte @ 0..=255), Some(len @ 0..=FILL_BYTES_MAX)) => {
                Ok(Value::Fill { byte: byte as u8, len: len as u32 })
            }
            _ => Err("an object value is {\"b64\":..} or {\"fill\":0..255,\"len\":..}".to_string()),
        }
    }
}

/// Standard base64, padding optional.
pub(crate) fn decode_base64(text: &[u8]) -> Scan<Vec<u8>> {
    let text = text.strip_suffix(b"==").or(text.strip_suffix(b"=")).unwrap_or(text);
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3 + 2);
    let (mut bits, mut count) = (0u32, 0);
    for digit in text {
        let six = match digit {
            b'A'..=b'Z' => digit - b'A',
            b'a'..=b'z' => digit - b'a' + 26,
            b'0'..=b'9' => digit - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return Err("bad base64".to_string()),
        };
        bits = bits << 6 | u32::from(six);
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count) as u8);
            bits &= (1 << count) - 1;
        }
    }
    if count >= 6 { Err("bad base64".to_string()) } else { Ok(bytes) }
}

/// Standard base64 with padding.
pub(crate) fn encode_base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let bits = chunk.iter().enumerate().fold(0u32, |bits, (at, byte)| bits | u32::from(*byte) << (16 - 8 * at));
        for digit in 0..4 {
            let shown = digit <= chunk.len();
            text.push(if shown { char::from(DIGITS[(bits >> (18 - 6 * digit) & 63) as usize]) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_string_ends_at_its_quote_wherever_that_lies() {
        for length in 0..40 {
            for special in [b'"', b'\\', b'\n', 0x1f, b' ', b'!', b'#', b'[', 0x7f, 0x80, 0xa2, 0xff] {
                for at in 0..length {
                    let mut text = vec![b'a'; length];
                    text[at] = special;
                    let naive = text.iter().position(|byte| *byte < b' ' || matches!(byte, b'"' | b'\\'));
                    assert_eq!(first_stop(&text), naive, "{special} at {at} of {length}");
                    let line = [b"\"".as_slice(), &text, b"\"  "].concat();
                    let read = Scanner::new(&line).string();
                    match special {
                        b'"' => assert_eq!(read.as_deref(), Ok(&text[..at])),
                        b'\\' | b'\n' | 0x1f => assert!(read.is_err(), "{special} at {at} of {length}"),
                        _ => assert_eq!(read.as_deref(), Ok(text.as_slice())),
                    }
                }
            }
        }
    }

    #[test]
    fn integers_are_read_up_to_their_bounds_and_no_further() {
        let read = |text: &str| Scanner::new(text.as_bytes()).integer().ok();
        for number in [0, 7, -7, 999_999_999_999_999_999, i64::MAX - 1, i64::MAX, i64::MIN + 1, i64::MIN] {
            assert_eq!(read(&number.to_string()), Some(number));
            assert_eq!(read(&format!(" {number},")), Some(number));
        }
        for text in ["", "-", "+1", "1.5", "1e3", "9223372036854775808", "-9223372036854775809", "x"] {
            assert_eq!(read(text), None, "{text}");
        }
        assert_eq!(read("00000000000000000000000007"), Some(7));
    }
}
