//! Events, values and times in JSON, as the API and the command show them.

use jiff::Timestamp;
use quipu_merge::{AuthorKey, Body, Control, DagJsonBytes, Micros, Operation, Shown};
use quipu_store::{EventInfo, ReadError, RegisterWrite, Snapshot, Value};
use serde::{Serialize, Serializer};
use utoipa::ToSchema;

use crate::operation::Bytes;

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
        let (shown, size) = match value {
            Value::Bytes(bytes) => (Shown::Bytes(bytes.clone()), None),
            Value::Long(link) => (Shown::Link(link.block), Some(link.size)),
            _ => (Shown::Nothing, None),
        };
        Self { value: shown, size, unavailable: value.unavailable() }
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
            time: rfc3339(write.time),
            value: ValueOut::from(write.value.as_ref().unwrap_or(&Value::Missing)),
        }
    }
}

/// An event without its operations.
#[derive(Debug, Serialize, ToSchema)]
pub struct AboutEvent {
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
    /// The height of the checkpoint that holds it first; null where none does.
    certified: Option<u64>,
    /// Whether its operations have been pruned here.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pruned: bool,
}

impl From<&EventInfo> for AboutEvent {
    fn from(event: &EventInfo) -> Self {
        Self {
            event: event.id.to_string(),
            author: event.author.to_string(),
            seq: event.seq.0,
            time: rfc3339(event.time),
            micros: event.time.0,
            prev: event.prev.map(|id| id.to_string()),
            parents: event.parents.iter().map(ToString::to_string).collect(),
            void: event.void,
            certified: event.certified.map(|height| height.0),
            pruned: event.body.is_none(),
        }
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
        /// The value.
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
        /// The value.
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

/// How many operations a body has.
pub const fn operations(body: &Body) -> usize {
    match body {
        Body::Data(operations) => operations.len(),
        Body::Control(operations) => operations.len(),
        Body::Genesis(_) | Body::Merge => 1,
    }
}

impl OperationOut {
    /// An operation of an event; `None` past the last one.
    ///
    /// # Errors
    /// The disk, the database or its content.
    pub fn of(
        snapshot: &Snapshot<'_>,
        event: &EventInfo,
        index: usize,
    ) -> Result<Option<Self>, ReadError> {
        let authors = |keys: &[AuthorKey]| keys.iter().map(ToString::to_string).collect();
        let Some(body) = &event.body else { return Ok(None) };
        Ok(match (body, index) {
            (Body::Genesis(genesis), 0) => Some(Self::Genesis {
                name: genesis.name.clone(),
                policy: genesis.policy.word(),
                forks: genesis.forks.word(),
                admins: authors(&genesis.admins),
                validators: authors(&genesis.validators),
            }),
            (Body::Merge, 0) => Some(Self::Merge),
            (Body::Genesis(_) | Body::Merge, _) => None,
            (Body::Control(operations), _) => operations.get(index).map(control),
            (Body::Data(operations), _) => match operations.get(index) {
                Some(operation) => Some(data(snapshot, event, index, operation)?),
                None => None,
            },
        })
    }
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

/// A time in RFC 3339, to the microsecond; where it is none of RFC 3339's, in microseconds.
pub fn rfc3339(micros: Micros) -> String {
    let timestamp =
        i64::try_from(micros.0).ok().and_then(|micros| Timestamp::from_microsecond(micros).ok());
    timestamp.map_or_else(|| format!("{micros} µs"), |timestamp| format!("{timestamp:.6}"))
}
