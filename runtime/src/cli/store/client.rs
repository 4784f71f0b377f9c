//! One operation on a node of ours, and what its answer means.
//!
//! `Q.GET`, `Q.PUT` and `Q.DEL` with `META` tell the version; an error says whether the write may have happened
//! ("indeterminate") and under which version, which a retry presents to be the same write.

use std::io;
use std::time::Duration;

use super::record::Verb;
use super::resp::{Connection, Reply};

/// What an answer means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Value(Vec<u8>),
    Missing,
    Stored,
    /// It did not happen: no quorum, overloaded, refused. The words say which.
    Failed(String),
    /// It may have happened, or may yet.
    Unknown(String),
}

/// An answer with what came beside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answered {
    pub(crate) answer: Answer,
    /// The version seen or chosen, where the answer names one.
    pub(crate) version: Option<String>,
    /// What a later write passes back as `CTX`.
    pub(crate) context: Option<String>,
}

/// One operation to ask for.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Asked<'a> {
    pub(crate) key: &'a [u8],
    /// What a put writes.
    pub(crate) value: &'a [u8],
    pub(crate) level: Option<&'a str>,
    pub(crate) context: Option<&'a str>,
    /// A retry: the version that an indeterminate answer named.
    pub(crate) presented: Option<&'a str>,
}

/// Asks a node. An error means that no answer came: nobody knows what became of a write.
pub(crate) async fn ask(
    connection: &mut Connection,
    verb: Verb,
    asked: &Asked<'_>,
    patience: Duration,
) -> io::Result<Answered> {
    let mut words: Vec<&[u8]> = match verb {
        Verb::Get => vec![b"Q.GET", asked.key],
        Verb::Put => vec![b"Q.PUT", asked.key, asked.value],
        Verb::Delete => vec![b"Q.DEL", asked.key],
    };
    for (name, value) in [("LEVEL", asked.level), ("CTX", asked.context), ("VERSION", asked.presented)] {
        if let Some(value) = value {
            words.extend([name.as_bytes(), value.as_bytes()]);
        }
    }
    words.push(b"META");
    Ok(interpret(verb, connection.call(&words, patience).await?))
}

fn interpret(verb: Verb, reply: Reply) -> Answered {
    let fields = match reply {
        Reply::Error(text) => return failure(text),
        Reply::Array(fields) => fields,
        other => {
            let answer = Answer::Failed(format!("an answer that is not of a node of ours: {other:?}"));
            return Answered { answer, version: None, context: None };
        }
    };
    let mut answered = Answered { answer: Answer::Missing, version: None, context: None };
    if verb != Verb::Get {
        answered.answer = Answer::Stored;
    }
    let mut fields = fields.into_iter();
    while let (Some(name), Some(value)) = (fields.next(), fields.next()) {
        match (text(&name).as_deref(), value) {
            (Some("values"), Reply::Array(values)) if verb == Verb::Get => {
                if let Some(Reply::BulkString(value)) = values.into_iter().next() {
                    answered.answer = Answer::Value(value);
                }
            }
            (Some("version"), value) => answered.version = text(&value),
            (Some("ctx"), value) => answered.context = text(&value),
            _ => {}
        }
    }
    answered
}

fn failure(text: String) -> Answered {
    let named = text.split_once(" version=").map(|(_, version)| version);
    let version = named.and_then(|version| version.split(' ').next()).map(str::to_string);
    let unknown = text.contains("(indeterminate)");
    let answer = if unknown { Answer::Unknown(text) } else { Answer::Failed(text) };
    Answered { answer, version, context: None }
}

fn text(reply: &Reply) -> Option<String> {
    match reply {
        Reply::BulkString(bytes) | Reply::SimpleString(bytes) => String::from_utf8(bytes.clone()).ok(),
        Reply::Error(_) | Reply::Integer(_) | Reply::Array(_) | Reply::Null => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bulk(text: &str) -> Reply {
        Reply::BulkString(text.as_bytes().to_vec())
    }

    #[test]
    fn only_an_indeterminate_answer_leaves_a_write_open() {
        for (text, unknown, version) in [
            ("QUORUM have 1 need 2 (indeterminate) version=17.n2.i9.4", true, Some("17.n2.i9.4")),
            ("QUORUM have 1 need 2 (indeterminate)", true, None),
            ("QUORUM have 1 need 2 (timed out; nothing was written)", false, None),
            (
                "ERR this ID is older than what this node remembers: it may have been done (indeterminate); read first",
                true,
                None,
            ),
            ("LOADING this node has just started", false, None),
        ] {
            let answered = interpret(Verb::Put, Reply::Error(text.to_string()));
            assert_eq!(matches!(answered.answer, Answer::Unknown(_)), unknown, "{text}");
            assert_eq!(answered.version.as_deref(), version, "{text}");
        }
    }

    #[test]
    fn an_answer_tells_value_version_and_context() {
        let fields = |values: Vec<Reply>| {
            Reply::Array(vec![
                bulk("values"),
                Reply::Array(values),
                bulk("ctx"),
                bulk("q1ff"),
                bulk("version"),
                bulk("17.n2.i9.4"),
            ])
        };
        let answered = interpret(Verb::Get, fields(vec![bulk("v")]));
        assert_eq!(answered.answer, Answer::Value(b"v".to_vec()));
        assert_eq!((answered.version.as_deref(), answered.context.as_deref()), (Some("17.n2.i9.4"), Some("q1ff")));
        assert_eq!(interpret(Verb::Get, fields(vec![])).answer, Answer::Missing);
        assert_eq!(interpret(Verb::Put, fields(vec![])).answer, Answer::Stored);
        assert!(matches!(interpret(Verb::Put, Reply::Integer(1)).answer, Answer::Failed(_)));
    }
}
