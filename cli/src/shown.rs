//! How events, values, authors and times are shown, as JSON and to people.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use jiff::Timestamp;
use quipu_merge::{AuthorKey, Body, Control, DagJsonBytes, EventId, Micros, Operation, Shown};
use quipu_store::{EventInfo, KeyKind, ReadError, RegisterWrite, Snapshot, Value};
use serde::{Serialize, Serializer};

use crate::long;

/// What the ids of all events begin with.
const ID_START: &str = "bafyr4i";
const SHORT_ID: usize = 10;
const SHORT_KEY: usize = 8;
/// Longer values are cut off where an overview is wanted, in characters.
const MAX_SHOWN: usize = 60;

/// A time in RFC 3339, to the microsecond.
pub fn time(micros: Micros) -> String {
    let timestamp =
        i64::try_from(micros.0).ok().and_then(|micros| Timestamp::from_microsecond(micros).ok());
    timestamp.map_or_else(|| format!("{micros} µs"), |timestamp| format!("{timestamp:.6}"))
}

/// A part of an id that is enough for people, and for `quipu show`.
pub fn short_id(id: EventId) -> String {
    let text = id.to_string();
    text.strip_prefix(ID_START).unwrap_or(&text).chars().take(SHORT_ID).collect()
}

/// A hash in lower hex.
pub fn hex(hash: &[u8; 32]) -> String {
    data_encoding::HEXLOWER.encode(hash)
}

/// The word for a kind.
pub const fn kind(kind: KeyKind) -> &'static str {
    match kind {
        KeyKind::Register => "register",
        KeyKind::Counter => "counter",
        KeyKind::Set => "set",
        KeyKind::List => "list",
    }
}

/// Text that cannot move the cursor of the terminal it is shown on.
pub fn clean(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    for letter in text.chars() {
        if letter.is_control() {
            clean.extend(letter.escape_default());
        } else {
            clean.push(letter);
        }
    }
    clean
}

/// Bytes on one line: text where they are text.
pub fn bytes(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => {
            let cut: String = text.chars().take(MAX_SHOWN).collect();
            let more = if cut.len() < text.len() { "…" } else { "" };
            format!("{}{more}", clean(&cut))
        }
        Err(_) => format!("<{} bytes>", bytes.len()),
    }
}

/// A value on one line.
pub fn value(value: &Value) -> String {
    match value {
        Value::Bytes(content) => bytes(content),
        Value::Long(link) => format!("<{} bytes>", link.size),
        gone => format!("<{}>", long::unavailable(gone).unwrap_or_default()),
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

/// A value in JSON: itself or a link, and what else is to be told of it.
#[derive(Serialize)]
pub struct ValueJson {
    value: Shown,
    /// Length of a long value, in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
    /// Why `value` is null.
    #[serde(skip_serializing_if = "Option::is_none")]
    unavailable: Option<&'static str>,
}

impl From<&Value> for ValueJson {
    fn from(value: &Value) -> Self {
        let (shown, size) = match value {
            Value::Bytes(bytes) => (Shown::Bytes(bytes.clone()), None),
            Value::Long(link) => (Shown::Link(link.block), Some(link.size)),
            _ => (Shown::Nothing, None),
        };
        Self { value: shown, size, unavailable: long::unavailable(value) }
    }
}

/// Bytes in JSON.
pub struct BytesJson(pub Vec<u8>);

impl Serialize for BytesJson {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        DagJsonBytes(&self.0).serialize(serializer)
    }
}

/// A write of a register in JSON.
#[derive(Serialize)]
pub struct WriteJson {
    event: String,
    author: AuthorJson,
    time: String,
    #[serde(flatten)]
    value: ValueJson,
}

impl From<&RegisterWrite> for WriteJson {
    fn from(write: &RegisterWrite) -> Self {
        Self {
            event: write.event.to_string(),
            author: AuthorJson(write.author),
            time: time(write.time),
            value: ValueJson::from(write.value.as_ref().unwrap_or(&Value::Missing)),
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

/// An event in JSON.
#[derive(Serialize)]
pub struct EventJson {
    event: String,
    author: AuthorJson,
    seq: u64,
    time: String,
    micros: u64,
    prev: Option<String>,
    parents: Vec<String>,
    void: bool,
    /// The checkpoint that holds it first.
    certified: Option<u64>,
    /// Whether its operations have been pruned: there are none below then.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pruned: bool,
    ops: Vec<OperationJson>,
}

impl EventJson {
    pub fn new(snapshot: &Snapshot<'_>, event: &EventInfo) -> Result<Self, ReadError> {
        Ok(Self {
            event: event.id.to_string(),
            author: AuthorJson(event.author),
            seq: event.seq.0,
            time: time(event.time),
            micros: event.time.0,
            prev: event.prev.map(|id| id.to_string()),
            parents: event.parents.iter().map(ToString::to_string).collect(),
            void: event.void,
            certified: event.certified.map(|height| height.0),
            pruned: event.body.is_none(),
            ops: operations(snapshot, event)?,
        })
    }
}

/// An operation in JSON, as the format names its parts.
#[derive(Serialize)]
#[serde(tag = "op", rename_all = "lowercase")]
pub enum OperationJson {
    Put {
        key: String,
        #[serde(flatten)]
        value: ValueJson,
    },
    Del {
        key: String,
    },
    Inc {
        key: String,
        by: i64,
    },
    Add {
        key: String,
        member: BytesJson,
    },
    Rem {
        key: String,
        member: BytesJson,
    },
    Append {
        key: String,
        #[serde(flatten)]
        value: ValueJson,
    },
    Grant {
        author: AuthorJson,
        role: &'static str,
    },
    Revoke {
        author: AuthorJson,
    },
    Redact {
        event: String,
    },
    Genesis {
        name: String,
        policy: &'static str,
        forks: &'static str,
        admins: Vec<AuthorJson>,
        validators: Vec<AuthorJson>,
    },
    Merge,
}

/// The operations of an event in JSON.
fn operations(snapshot: &Snapshot<'_>, event: &EventInfo) -> Result<Vec<OperationJson>, ReadError> {
    let authors = |keys: &[AuthorKey]| keys.iter().copied().map(AuthorJson).collect();
    let Some(body) = &event.body else { return Ok(Vec::new()) };
    Ok(match body {
        Body::Genesis(genesis) => vec![OperationJson::Genesis {
            name: genesis.name.clone(),
            policy: genesis.policy.word(),
            forks: genesis.forks.word(),
            admins: authors(&genesis.admins),
            validators: authors(&genesis.validators),
        }],
        Body::Merge => vec![OperationJson::Merge],
        Body::Control(operations) => operations.iter().map(control).collect(),
        Body::Data(operations) => (0..operations.len())
            .filter_map(|index| operation(snapshot, event, index).transpose())
            .collect::<Result<_, _>>()?,
    })
}

/// One data operation of an event in JSON.
pub fn operation(
    snapshot: &Snapshot<'_>,
    event: &EventInfo,
    index: usize,
) -> Result<Option<OperationJson>, ReadError> {
    let Some(operation) = event.operations().get(index) else { return Ok(None) };
    let key = operation.key().to_string();
    let value = event.value(snapshot, index)?.unwrap_or(Value::Missing);
    Ok(Some(match operation {
        Operation::Put { .. } => OperationJson::Put { key, value: ValueJson::from(&value) },
        Operation::Append { .. } => OperationJson::Append { key, value: ValueJson::from(&value) },
        Operation::Del { .. } => OperationJson::Del { key },
        Operation::Inc { by, .. } => OperationJson::Inc { key, by: by.get() },
        Operation::Add { member, .. } => {
            OperationJson::Add { key, member: BytesJson(member.as_bytes().to_vec()) }
        }
        Operation::Rem { member, .. } => {
            OperationJson::Rem { key, member: BytesJson(member.as_bytes().to_vec()) }
        }
    }))
}

fn control(operation: &Control) -> OperationJson {
    match operation {
        Control::Grant { author, role } => {
            OperationJson::Grant { author: AuthorJson(*author), role: role.word() }
        }
        Control::Revoke { author } => OperationJson::Revoke { author: AuthorJson(*author) },
        Control::Redact { event } => OperationJson::Redact { event: event.to_string() },
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
