//! Operations in JSON, as the API and `put --batch` take them.

use std::borrow::Cow;

use data_encoding::{BASE64, BASE64_NOPAD, DecodeError};
use quipu_store::{Transaction, WriteError};
use serde::Deserialize;
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
    /// The bytes themselves.
    ///
    /// # Errors
    /// They are no base64.
    pub fn decode(&self) -> Result<Cow<'_, [u8]>, NoBase64> {
        match self {
            Self::Text(text) => Ok(Cow::Borrowed(text.as_bytes())),
            Self::Base64 { inner: Inner { bytes } } => {
                let bytes = bytes.as_bytes();
                let decoded = BASE64_NOPAD.decode(bytes).or_else(|_| BASE64.decode(bytes));
                Ok(Cow::Owned(decoded.map_err(NoBase64)?))
            }
        }
    }

    /// How long they are at most, without decoding them.
    pub const fn max_len(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Base64 { inner } => inner.bytes.len(),
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

/// Text that should be base64 is not.
#[derive(Debug, thiserror::Error)]
#[error("no base64: {0}")]
pub struct NoBase64(DecodeError);

/// An operation.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(tag = "op", rename_all = "lowercase", deny_unknown_fields)]
pub enum OperationIn {
    /// Writes a register.
    Put {
        /// The register.
        key: String,
        /// The value.
        value: Bytes,
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
        /// How much; not 0.
        by: i64,
    },
    /// Puts a member into a set.
    Add {
        /// The set.
        key: String,
        /// The member.
        member: Bytes,
    },
    /// Takes a member out of a set.
    Rem {
        /// The set.
        key: String,
        /// The member.
        member: Bytes,
    },
    /// Adds a value to a list.
    Append {
        /// The list.
        key: String,
        /// The value.
        value: Bytes,
    },
}

/// An operation cannot be added to a transaction.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OperationError {
    /// Its bytes cannot be read.
    #[error(transparent)]
    Bytes(#[from] NoBase64),
    /// The transaction does not take it.
    #[error(transparent)]
    Write(#[from] WriteError),
}

impl OperationIn {
    /// Adds it to a transaction.
    ///
    /// # Errors
    /// The transaction is as before.
    pub fn add_to(&self, transaction: &mut Transaction<'_>) -> Result<(), OperationError> {
        match self {
            Self::Put { key, value } => transaction.put(key, &value.decode()?)?,
            Self::Del { key } => transaction.del(key)?,
            Self::Inc { key, by } => transaction.inc(key, *by)?,
            Self::Add { key, member } => transaction.add(key, &member.decode()?)?,
            Self::Rem { key, member } => transaction.rem(key, &member.decode()?)?,
            Self::Append { key, value } => transaction.append(key, &value.decode()?)?,
        };
        Ok(())
    }
}
