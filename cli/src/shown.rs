//! How events, values, authors and times are shown, as JSON and to people.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use quipu_merge::{AuthorKey, Body, Control, EventId, Operation};
use quipu_net::{AboutEvent, OperationOut};
use quipu_store::{EventInfo, ReadError, Snapshot, Value};
use serde::{Serialize, Serializer};

/// What the ids of all events begin with.
const ID_START: &str = "bafyr4i";
const SHORT_ID: usize = 10;
const SHORT_KEY: usize = 8;
/// Longer values are cut off where an overview is wanted, in characters.
const MAX_SHOWN: usize = 60;

/// A part of an id that is enough for people, and for `quipu show`.
pub fn short_id(id: EventId) -> String {
    let text = id.to_string();
    text.strip_prefix(ID_START).unwrap_or(&text).chars().take(SHORT_ID).collect()
}

/// A hash in lower hex.
pub fn hex(hash: &[u8; 32]) -> String {
    data_encoding::HEXLOWER.encode(hash)
}

/// Text of which everything can be seen, and nothing moves what stands beside it on a terminal.
pub fn clean(text: &str) -> String {
    escaped(text, &['\'', '"', '\\'])
}

/// Escapes what does not print, as marks that turn the direction of writing or have no width, and quotes and
/// backslashes but for those that are kept.
fn escaped(text: &str, kept: &[char]) -> String {
    let mut escaped = String::with_capacity(text.len());
    for piece in text.split_inclusive(kept) {
        let plain = piece.strip_suffix(kept).unwrap_or(piece);
        escaped.extend(plain.escape_debug());
        escaped.push_str(&piece[plain.len()..]);
    }
    escaped
}

/// Bytes on one line: text where they are text.
pub fn bytes(bytes: &[u8]) -> String {
    overview(bytes, clean)
}

/// Bytes on one line, text between quotes.
pub fn quoted_bytes(bytes: &[u8]) -> String {
    overview(bytes, quoted)
}

fn overview(bytes: &[u8], show: fn(&str) -> String) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => {
            let cut: String = text.chars().take(MAX_SHOWN).collect();
            let more = if cut.len() < text.len() { "…" } else { "" };
            format!("{}{more}", show(&cut))
        }
        Err(_) => format!("<{} bytes>", bytes.len()),
    }
}

/// A text between quotes, so that it cannot be taken for what stands beside it, nor one text for another.
pub fn quoted(text: &str) -> String {
    format!("\"{}\"", escaped(text, &['\'']))
}

/// A value on one line.
pub fn value(value: &Value) -> String {
    match value {
        Value::Bytes(content) => bytes(content),
        Value::Long(link) => format!("<{} bytes>", link.size),
        gone => format!("<{}>", gone.unavailable().unwrap_or_default()),
    }
}

/// The local names of authors.
pub struct Names(BTreeMap<AuthorKey, String>);

impl Names {
    pub fn of(snapshot: &Snapshot<'_>) -> Result<Self, ReadError> {
        Ok(Self(snapshot.names()?))
    }

    /// The name of an author, if it has one.
    pub fn name(&self, author: AuthorKey) -> Option<&str> {
        self.0.get(&author).map(String::as_str)
    }

    /// All names.
    pub const fn all(&self) -> &BTreeMap<AuthorKey, String> {
        &self.0
    }

    /// The name of an author, or the start of its key.
    pub fn show(&self, author: AuthorKey) -> String {
        self.show_long(author, SHORT_KEY)
    }

    /// The name of an author, or as much of the start of its key.
    pub fn show_long(&self, author: AuthorKey, letters: usize) -> String {
        match self.0.get(&author) {
            Some(name) => clean(name),
            None => author.to_string().chars().take(letters).collect(),
        }
    }
}

/// An author in JSON.
#[derive(Clone, Copy)]
pub struct AuthorJson(pub AuthorKey);

impl Serialize for AuthorJson {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

/// A number for each author, in JSON.
pub fn by_author(numbers: &BTreeMap<AuthorKey, u64>) -> BTreeMap<String, u64> {
    numbers.iter().map(|(author, number)| (author.to_string(), *number)).collect()
}

/// An event in JSON, with all of its operations.
#[derive(Serialize)]
pub struct EventJson {
    #[serde(flatten)]
    about: AboutEvent,
    ops: Vec<OperationOut>,
}

impl EventJson {
    pub fn new(snapshot: &Snapshot<'_>, event: &EventInfo) -> Result<Self, ReadError> {
        let mut ops = Vec::new();
        while let Some(operation) = OperationOut::of(snapshot, event, ops.len())? {
            ops.push(operation);
        }
        Ok(Self { about: event.into(), ops })
    }
}

/// What is shown of an event whose body is gone.
const PRUNED: &str = "(operations pruned)";

/// What an operation of a body does, on one line; `None` past the last one.
pub fn operation_line(
    snapshot: &Snapshot<'_>,
    names: &Names,
    event: &EventInfo,
    index: usize,
) -> Result<Option<String>, ReadError> {
    let Some(body) = &event.body else {
        return Ok((index == 0).then(|| PRUNED.to_owned()));
    };
    Ok(match (body, index) {
        (Body::Genesis(genesis), 0) => Some(format!("genesis {:?}", genesis.name)),
        (Body::Merge, 0) => Some("merge".to_owned()),
        (Body::Control(operations), _) => operations.get(index).map(|operation| match operation {
            Control::Grant { author, role } => format!("grant {} {role}", names.show(*author)),
            Control::Revoke { author } => format!("revoke {}", names.show(*author)),
            Control::Redact { event } => format!("redact {}", short_id(*event)),
        }),
        (Body::Data(operations), _) => match operations.get(index) {
            Some(operation) => Some(data_line(operation, event.value(snapshot, index)?.as_ref())),
            None => None,
        },
        _ => None,
    })
}

fn data_line(operation: &Operation, content: Option<&Value>) -> String {
    let key = clean(operation.key().as_str());
    let content = content.map(value).unwrap_or_default();
    match operation {
        Operation::Put { .. } => format!("put {key} = {content}"),
        Operation::Append { .. } => format!("append {key} {content}"),
        Operation::Del { .. } => format!("del {key}"),
        Operation::Inc { by, .. } => format!("inc {key} {by:+}"),
        Operation::Add { member, .. } => format!("add {key} {}", bytes(member.as_bytes())),
        Operation::Rem { member, .. } => format!("rem {key} {}", bytes(member.as_bytes())),
    }
}

/// The first operations of an event, and how many more there are, on one line.
pub fn summary(
    snapshot: &Snapshot<'_>,
    names: &Names,
    event: &EventInfo,
) -> Result<String, ReadError> {
    const FIRST: usize = 2;
    let mut line = String::new();
    for index in 0..FIRST {
        if let Some(operation) = operation_line(snapshot, names, event, index)? {
            if !line.is_empty() {
                line.push_str("; ");
            }
            line.push_str(&operation);
        }
    }
    let count = match &event.body {
        Some(Body::Data(operations)) => operations.len(),
        Some(Body::Control(operations)) => operations.len(),
        _ => 1,
    };
    if count > FIRST {
        let _ = write!(line, "; and {} more", count - FIRST);
    }
    Ok(line)
}

#[cfg(test)]
mod tests {
    use super::{clean, quoted};

    #[test]
    fn no_text_is_shown_as_another() {
        let plain = "Zürich, हिन्दी's \u{1f9f6} key/1";
        assert_eq!((clean(plain), quoted(plain)), (plain.to_owned(), format!("\"{plain}\"")));
        // Of no width, turning the direction, ending the line, steering the terminal.
        for hidden in
            ['\u{200b}', '\u{feff}', '\u{202e}', '\u{2066}', '\u{2028}', '\n', '\u{1b}', '\u{9b}']
        {
            let text = format!("paid{hidden}0");
            let shown = format!("paid{}0", hidden.escape_debug());
            assert_eq!((clean(&text), quoted(&text)), (shown.clone(), format!("\"{shown}\"")));
            assert!(!shown.contains(hidden));
        }
        // Between quotes, an escape is told from the same letters.
        assert_eq!(quoted(r#"\u{200b}" of"#), r#""\\u{200b}\" of""#);
        assert_eq!(clean(r#"C:\dir "x""#), r#"C:\dir "x""#);
    }
}
