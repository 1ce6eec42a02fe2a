//! Events, values, authors and times in JSON.

use std::borrow::Cow;

use data_encoding::{BASE64, BASE64_NOPAD};
use jiff::Timestamp;
use quipu_merge::{AuthorKey, Body, Control, DagJsonBytes, Height, Micros, Operation, Shown};
use quipu_store::{
    Committed, Element, EventInfo, KeyKind, ReadError, RegisterWrite, Snapshot, Value,
};
use serde::{Deserialize, Serialize, Serializer};
use utoipa::openapi::{ObjectBuilder, OneOfBuilder, RefOr, Schema, Type};
use utoipa::{PartialSchema, ToSchema};

/// Bytes: as text where they are UTF-8, otherwise as `{"/": {"bytes": base64}}`.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub enum Bytes {
    /// Text.
    Text(String),
    /// Anything.
    Base64 {
        /// As DAG-JSON has it.
        #[serde(rename = "/")]
        inner: Inner,
    },
}

/// Bytes in base64.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Inner {
    bytes: String,
}

impl Bytes {
    /// The bytes themselves; `None` where they are no base64.
    pub fn decode(&self) -> Option<Cow<'_, [u8]>> {
        match self {
            Self::Text(text) => Some(Cow::Borrowed(text.as_bytes())),
            Self::Base64 { inner: Inner { bytes } } => {
                let bytes = bytes.as_bytes();
                BASE64_NOPAD.decode(bytes).or_else(|_| BASE64.decode(bytes)).ok().map(Cow::Owned)
            }
        }
    }
}

impl PartialSchema for Bytes {
    fn schema() -> RefOr<Schema> {
        let text = ObjectBuilder::new().schema_type(Type::String);
        let bytes = ObjectBuilder::new()
            .property("bytes", ObjectBuilder::new().schema_type(Type::String))
            .required("bytes");
        let link = ObjectBuilder::new().property("/", bytes).required("/");
        let what = "Bytes: text, or {\"/\": {\"bytes\": base64}} where they are not UTF-8.";
        OneOfBuilder::new().item(text).item(link).description(Some(what)).into()
    }
}

impl ToSchema for Bytes {}

/// Bytes to be shown.
#[derive(Debug)]
pub struct BytesOut(pub Vec<u8>);

impl Serialize for BytesOut {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        DagJsonBytes(&self.0).serialize(serializer)
    }
}

/// What can be shown of a value.
#[derive(Debug, Serialize, ToSchema)]
pub struct ValueOut {
    /// Bytes, or a link `{"/": CID}` to the block of a long value; null where it is unavailable.
    #[schema(value_type = Option<Bytes>)]
    value: Shown,
    /// Length of a long value, in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
    /// Why the value is null: `erased`, `pruned`, `not here` or `unreadable`.
    #[serde(skip_serializing_if = "Option::is_none")]
    unavailable: Option<&'static str>,
}

impl From<&Value> for ValueOut {
    fn from(value: &Value) -> Self {
        let (shown, size, unavailable) = match value {
            Value::Bytes(bytes) => (Shown::Bytes(bytes.clone()), None, None),
            Value::Long(link) => (Shown::Link(link.block), Some(link.size), None),
            Value::Erased => (Shown::Nothing, None, Some("erased")),
            Value::Pruned => (Shown::Nothing, None, Some("pruned")),
            Value::Missing => (Shown::Nothing, None, Some("not here")),
            Value::Unreadable => (Shown::Nothing, None, Some("unreadable")),
        };
        Self { value: shown, size, unavailable }
    }
}

/// A write that stands in a register.
#[derive(Debug, Serialize, ToSchema)]
pub struct WriteOut {
    /// The event that wrote it.
    event: String,
    /// Who wrote it.
    author: String,
    /// When the event says that it was written, in RFC 3339.
    time: String,
    #[serde(flatten)]
    value: ValueOut,
}

impl From<&RegisterWrite> for WriteOut {
    fn from(write: &RegisterWrite) -> Self {
        Self {
            event: write.event.to_string(),
            author: write.author.to_string(),
            time: time(write.time),
            value: ValueOut::from(write.value.as_ref().unwrap_or(&Value::Missing)),
        }
    }
}

/// A value of a list.
#[derive(Debug, Serialize, ToSchema)]
pub struct ElementOut {
    /// The event that added it.
    event: String,
    /// The index of the operation in the event.
    index: u16,
    /// Who added it.
    author: String,
    /// When the event says that it was written, in RFC 3339.
    time: String,
    #[serde(flatten)]
    value: ValueOut,
}

impl From<&Element> for ElementOut {
    fn from(element: &Element) -> Self {
        Self {
            event: element.event.to_string(),
            index: element.slot,
            author: element.author.to_string(),
            time: time(element.time),
            value: ValueOut::from(&element.value),
        }
    }
}

/// An event that was written.
#[derive(Debug, Serialize, ToSchema)]
pub struct CommittedOut {
    /// Its id.
    pub event: String,
    /// Its position in this replica's chain.
    seq: u64,
    /// Its time, in RFC 3339.
    time: String,
    /// The height of the checkpoint that certifies it, where that was waited for.
    #[serde(skip_serializing_if = "Option::is_none")]
    checkpoint: Option<u64>,
}

impl CommittedOut {
    /// An event that is written, and certified by a checkpoint if so.
    pub fn new(committed: &Committed, checkpoint: Option<Height>) -> Self {
        Self {
            checkpoint: checkpoint.map(|height| height.0),
            event: committed.event.to_string(),
            seq: committed.seq.0,
            time: time(committed.time),
        }
    }
}

/// An event.
#[derive(Debug, Serialize, ToSchema)]
pub struct EventOut {
    /// Its id.
    event: String,
    /// Who wrote it.
    author: String,
    /// Its position in the author's chain.
    seq: u64,
    /// When it says that it was written, in RFC 3339.
    time: String,
    /// The same in microseconds since 1970.
    micros: u64,
    /// The author's event before.
    prev: Option<String>,
    /// The other events that it follows.
    parents: Vec<String>,
    /// Whether it is void.
    void: bool,
    /// How many operations it has, as far as they are here.
    operations: usize,
    /// Whether its operations have been pruned here.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pruned: bool,
    /// Some of them: as many as a page takes.
    ops: Vec<OperationOut>,
    /// The index from which on there are more.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<usize>,
}

impl EventOut {
    /// An event with up to `limit` of those operations from the index `from` on that are `wanted`.
    pub fn new(
        snapshot: &Snapshot<'_>,
        event: &EventInfo,
        from: usize,
        limit: usize,
        wanted: impl Fn(&Operation) -> bool,
    ) -> Result<Self, ReadError> {
        let (mut ops, mut next) = (Vec::new(), None);
        let operations = event.body.as_ref().map_or(0, count);
        for index in from..operations {
            if event.operations().get(index).is_some_and(|operation| !wanted(operation)) {
                continue;
            }
            if ops.len() >= limit {
                next = Some(index);
                break;
            }
            ops.extend(operation(snapshot, event, index)?);
        }
        Ok(Self {
            event: event.id.to_string(),
            author: event.author.to_string(),
            seq: event.seq.0,
            time: time(event.time),
            micros: event.time.0,
            prev: event.prev.map(|id| id.to_string()),
            parents: event.parents.iter().map(ToString::to_string).collect(),
            void: event.void,
            operations,
            pruned: event.body.is_none(),
            ops,
            next,
        })
    }
}

/// An operation, as the format names its parts.
#[derive(Debug, Serialize, ToSchema)]
#[serde(tag = "op", rename_all = "lowercase")]
pub enum OperationOut {
    /// Writes a register.
    Put {
        /// The register.
        key: String,
        #[serde(flatten)]
        value: ValueOut,
    },
    /// Deletes a register.
    Del {
        /// The register.
        key: String,
    },
    /// Adds to a counter.
    Inc {
        /// The counter.
        key: String,
        /// How much.
        by: i64,
    },
    /// Puts a member into a set.
    Add {
        /// The set.
        key: String,
        /// The member.
        #[schema(value_type = Bytes)]
        member: BytesOut,
    },
    /// Takes a member out of a set.
    Rem {
        /// The set.
        key: String,
        /// The member.
        #[schema(value_type = Bytes)]
        member: BytesOut,
    },
    /// Adds a value to a list.
    Append {
        /// The list.
        key: String,
        #[serde(flatten)]
        value: ValueOut,
    },
    /// Gives a role to an author.
    Grant {
        /// To whom.
        author: String,
        /// Which.
        role: &'static str,
    },
    /// Takes all roles away from an author.
    Revoke {
        /// From whom.
        author: String,
    },
    /// Erases the values of an event.
    Redact {
        /// Of which.
        event: String,
    },
    /// Starts the ledger.
    Genesis {
        /// Its name.
        name: String,
        /// Who may write.
        policy: &'static str,
        /// What becomes of forks.
        forks: &'static str,
        /// Admins beside the author.
        admins: Vec<String>,
        /// The first validators.
        validators: Vec<String>,
    },
    /// Ties heads together.
    Merge,
}

fn count(body: &Body) -> usize {
    match body {
        Body::Data(operations) => operations.len(),
        Body::Control(operations) => operations.len(),
        Body::Genesis(_) | Body::Merge => 1,
    }
}

fn operation(
    snapshot: &Snapshot<'_>,
    event: &EventInfo,
    index: usize,
) -> Result<Option<OperationOut>, ReadError> {
    let authors = |keys: &[AuthorKey]| keys.iter().map(ToString::to_string).collect();
    let Some(body) = &event.body else { return Ok(None) };
    Ok(match body {
        Body::Genesis(genesis) => Some(OperationOut::Genesis {
            name: genesis.name.clone(),
            policy: genesis.policy.word(),
            forks: genesis.forks.word(),
            admins: authors(&genesis.admins),
            validators: authors(&genesis.validators),
        }),
        Body::Merge => Some(OperationOut::Merge),
        Body::Control(operations) => operations.get(index).map(control),
        Body::Data(operations) => match operations.get(index) {
            Some(operation) => Some(data(snapshot, event, index, operation)?),
            None => None,
        },
    })
}

fn data(
    snapshot: &Snapshot<'_>,
    event: &EventInfo,
    index: usize,
    operation: &Operation,
) -> Result<OperationOut, ReadError> {
    let key = operation.key().to_string();
    let value = ValueOut::from(&event.value(snapshot, index)?.unwrap_or(Value::Missing));
    Ok(match operation {
        Operation::Put { .. } => OperationOut::Put { key, value },
        Operation::Append { .. } => OperationOut::Append { key, value },
        Operation::Del { .. } => OperationOut::Del { key },
        Operation::Inc { by, .. } => OperationOut::Inc { key, by: by.get() },
        Operation::Add { member, .. } => {
            OperationOut::Add { key, member: BytesOut(member.as_bytes().to_vec()) }
        }
        Operation::Rem { member, .. } => {
            OperationOut::Rem { key, member: BytesOut(member.as_bytes().to_vec()) }
        }
    })
}

fn control(operation: &Control) -> OperationOut {
    match operation {
        Control::Grant { author, role } => {
            OperationOut::Grant { author: author.to_string(), role: role.word() }
        }
        Control::Revoke { author } => OperationOut::Revoke { author: author.to_string() },
        Control::Redact { event } => OperationOut::Redact { event: event.to_string() },
    }
}

/// A time in RFC 3339, to the microsecond.
pub fn time(micros: Micros) -> String {
    let timestamp =
        i64::try_from(micros.0).ok().and_then(|micros| Timestamp::from_microsecond(micros).ok());
    timestamp.map_or_else(|| format!("{micros} µs"), |timestamp| format!("{timestamp:.6}"))
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
