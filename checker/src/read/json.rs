//! A scanner for one flat JSON object per line, made for speed: no tree, no copy of what has no escapes.

use std::borrow::Cow;
use std::sync::Arc;

use crate::Value;

/// Nesting deeper than this is refused, so that hostile input cannot exhaust the stack.
const DEPTH_MAX: usize = 16;
/// `{"fill":..,"len":..}` is kept as two numbers, so any length is harmless; this is a bound on sense.
const FILL_BYTES_MAX: i64 = 1 << 30;

/// Bytes that cannot stand in a string as they are.
const STOPS: [bool; 256] = {
    let mut stops = [false; 256];
    let mut control = 0;
    while control < b' ' as usize {
        stops[control] = true;
        control += 1;
    }
    stops[b'"' as usize] = true;
    stops[b'\\' as usize] = true;
    stops
};

/// A position in a line.
pub(crate) struct Scanner<'a> {
    line: &'a [u8],
    at: usize,
}

type Scan<T> = Result<T, String>;

impl<'a> Scanner<'a> {
    pub(crate) fn new(line: &'a [u8]) -> Self {
        Scanner { line, at: 0 }
    }

    fn peek(&self) -> u8 {
        self.line.get(self.at).copied().unwrap_or(0)
    }

    fn skip_space(&mut self) {
        while matches!(self.peek(), b' ' | b'\t' | b'\r' | b'\n') {
            self.at += 1;
        }
    }

    #[inline]
    pub(crate) fn expect(&mut self, byte: u8) -> Scan<()> {
        if self.line.get(self.at) == Some(&byte) {
            self.at += 1;
            return Ok(());
        }
        self.skip_space();
        if self.peek() == byte && self.at < self.line.len() {
            self.at += 1;
            Ok(())
        } else {
            Err(self.wrong(&format!("'{}'", char::from(byte))))
        }
    }

    fn wrong(&self, wanted: &str) -> String {
        match self.line.get(self.at) {
            Some(byte) => format!("expected {wanted} at column {}, found '{}'", self.at + 1, byte.escape_ascii()),
            None => format!("expected {wanted}, but the line ends"),
        }
    }

    /// Calls `field` with the name of each field, which must read its value.
    pub(crate) fn object(&mut self, mut field: impl FnMut(&mut Self, &[u8]) -> Scan<()>) -> Scan<()> {
        self.expect(b'{')?;
        self.skip_space();
        if self.peek() == b'}' {
            self.at += 1;
            return Ok(());
        }
        loop {
            let name = self.string()?;
            self.expect(b':')?;
            field(self, &name)?;
            self.skip_space();
            match self.peek() {
                b',' => self.at += 1,
                b'}' => {
                    self.at += 1;
                    return Ok(());
                }
                _ => return Err(self.wrong("',' or '}'")),
            }
        }
    }

    pub(crate) fn end(&mut self) -> Scan<()> {
        self.skip_space();
        if self.at == self.line.len() { Ok(()) } else { Err(self.wrong("the end of the line")) }
    }

    pub(crate) fn string(&mut self) -> Scan<Cow<'a, [u8]>> {
        self.expect(b'"')?;
        let rest = &self.line[self.at..];
        let Some(stop) = rest.iter().position(|byte| STOPS[usize::from(*byte)]) else {
            return Err("a string is not closed".to_string());
        };
        if rest[stop] == b'"' {
            self.at += stop + 1;
            return Ok(Cow::Borrowed(&rest[..stop]));
        }
        let mut bytes = Vec::new();
        loop {
            match self.peek() {
                b'"' => {
                    self.at += 1;
                    return Ok(Cow::Owned(bytes));
                }
                b'\\' => self.escape(&mut bytes)?,
                0..b' ' => return Err(self.wrong("a closing '\"'")),
                byte => {
                    bytes.push(byte);
                    self.at += 1;
                }
            }
        }
    }

    fn escape(&mut self, bytes: &mut Vec<u8>) -> Scan<()> {
        self.at += 1;
        let escaped = self.peek();
        self.at += 1;
        let plain = match escaped {
            b'"' | b'\\' | b'/' => escaped,
            b'n' => b'\n',
            b't' => b'\t',
            b'r' => b'\r',
            b'b' => 8,
            b'f' => 12,
            b'u' => {
                let mut code = self.hex4()?;
                if (0xd800..0xdc00).contains(&code) && self.line[self.at..].starts_with(b"\\u") {
                    self.at += 2;
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
        let digits = self.line.get(self.at..self.at + 4).and_then(|digits| std::str::from_utf8(digits).ok());
        let code = digits.and_then(|digits| u32::from_str_radix(digits, 16).ok()).ok_or("a bad \\u escape")?;
        self.at += 4;
        Ok(code)
    }

    pub(crate) fn integer(&mut self) -> Scan<i64> {
        self.skip_space();
        let begin = self.at;
        let negative = self.peek() == b'-';
        self.at += usize::from(negative);
        let mut number: i64 = 0;
        let first = self.at;
        while let digit @ b'0'..=b'9' = self.peek() {
            let digit = i64::from(digit - b'0');
            let next = number.checked_mul(10).and_then(|number| number.checked_sub(digit));
            number = next.ok_or("a number is out of range")?;
            self.at += 1;
        }
        if self.at == first || matches!(self.peek(), b'.' | b'e' | b'E') {
            self.at = begin;
            return Err(self.wrong("an integer"));
        }
        if negative { Ok(number) } else { number.checked_neg().ok_or_else(|| "a number is out of range".to_string()) }
    }

    pub(crate) fn is_string(&mut self) -> bool {
        self.skip_space();
        self.peek() == b'"'
    }

    pub(crate) fn is_null(&mut self) -> bool {
        self.skip_space();
        let null = self.line[self.at..].starts_with(b"null");
        self.at += if null { 4 } else { 0 };
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
                let begin = self.at;
                self.integer().map(Value::Int).or_else(|_| {
                    self.at = begin;
                    self.token()
                })
            }
            b'{' => self.bytes_object(),
            b'[' => {
                self.at += 1;
                let mut items = Vec::new();
                self.skip_space();
                if self.peek() == b']' {
                    self.at += 1;
                    return Ok(Value::List(Arc::new(items)));
                }
                loop {
                    items.push(self.nested_value(depth + 1)?);
                    self.skip_space();
                    let byte = self.peek();
                    self.at += 1;
                    match byte {
                        b',' => {}
                        b']' => return Ok(Value::List(Arc::new(items))),
                        _ => {
                            self.at -= 1;
                            return Err(self.wrong("',' or ']'"));
                        }
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
                self.at += 1;
                self.skip_space();
                if self.peek() == b']' {
                    self.at += 1;
                    return Ok(());
                }
                loop {
                    self.skip_nested(depth + 1)?;
                    self.skip_space();
                    match self.peek() {
                        b',' => self.at += 1,
                        b']' => {
                            self.at += 1;
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
        let rest = &self.line[self.at..];
        let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'+' | b'.');
        let token = &rest[..rest.iter().position(|byte| !is_part(byte)).unwrap_or(rest.len())];
        let text = std::str::from_utf8(token).expect("ascii");
        let number =
            text.starts_with(|first: char| first.is_ascii_digit() || first == '-') && text.parse::<f64>().is_ok();
        if !number && !matches!(text, "true" | "false") {
            return Err(self.wrong("a value"));
        }
        self.at += token.len();
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
