//! Bodies: the operations that an event carries.

mod codec;

use std::collections::BTreeSet;
use std::fmt;
use std::num::NonZeroI64;
use std::str::FromStr;

use crate::cbor::{self, Malformed, Read};
use crate::event::MAX_BODY_LEN;
use crate::id::{AuthorKey, EventId, OpeningId};

/// Largest number of operations in a body.
pub const MAX_OPERATIONS: usize = 10_000;
/// Largest length of a key, in bytes.
pub const MAX_KEY_LEN: usize = 1024;
/// Largest length of a set's member, in bytes.
pub const MAX_MEMBER_LEN: usize = 4096;
/// Largest length of a ledger's name, in bytes.
pub const MAX_NAME_LEN: usize = 256;

/// The name of a register, counter, set or list: UTF-8 of 1 to 1,024 bytes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(Box<str>);

impl Key {
    /// Checks the limits of a key.
    ///
    /// # Errors
    /// Says which limit is broken.
    pub fn new(text: &str) -> Result<Self, Malformed> {
        match text.len() {
            1..=MAX_KEY_LEN => Ok(Self(text.into())),
            len => Err(format!("a key of {len} bytes, not 1 to 1,024").into()),
        }
    }

    /// The text of the key.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A member of a set: 0 to 4,096 bytes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Member(Box<[u8]>);

impl Member {
    /// Checks the limit of a member.
    ///
    /// # Errors
    /// Says that the limit is broken.
    pub fn new(bytes: &[u8]) -> Result<Self, Malformed> {
        match bytes.len() {
            0..=MAX_MEMBER_LEN => Ok(Self(bytes.into())),
            len => Err(format!("a member of {len} bytes, more than 4,096").into()),
        }
    }

    /// The bytes of the member.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// An operation on data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Writes a register.
    Put {
        /// The register.
        key: Key,
        /// What it holds from now on.
        value: OpeningId,
    },
    /// Deletes a register.
    Del {
        /// The register.
        key: Key,
    },
    /// Adds to a counter.
    Inc {
        /// The counter.
        key: Key,
        /// How much; may be negative.
        by: NonZeroI64,
    },
    /// Puts a member into a set.
    Add {
        /// The set.
        key: Key,
        /// What goes in.
        member: Member,
    },
    /// Takes a member out of a set.
    Rem {
        /// The set.
        key: Key,
        /// What goes out.
        member: Member,
    },
    /// Adds a value to the end of a list.
    Append {
        /// The list.
        key: Key,
        /// What is added.
        value: OpeningId,
    },
}

impl Operation {
    /// The key that the operation works on.
    pub const fn key(&self) -> &Key {
        match self {
            Self::Put { key, .. }
            | Self::Del { key }
            | Self::Inc { key, .. }
            | Self::Add { key, .. }
            | Self::Rem { key, .. }
            | Self::Append { key, .. } => key,
        }
    }

    /// The opening that the operation refers to, if it carries a value.
    pub const fn value(&self) -> Option<OpeningId> {
        match self {
            Self::Put { value, .. } | Self::Append { value, .. } => Some(*value),
            _ => None,
        }
    }
}

/// What an author may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Grants and revokes roles, erases anybody's values; writes.
    Admin,
    /// Certifies checkpoints.
    Validator,
    /// Writes.
    Writer,
}

impl Role {
    /// The word in the format.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Validator => "validator",
            Self::Writer => "writer",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// Not one of the words that the format knows here.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{found:?} is not one of {expected}")]
pub struct UnknownWord {
    /// The word found.
    pub found: String,
    /// The words that are known.
    pub expected: &'static str,
}

macro_rules! words {
    ($type:ident, $expected:literal, $($word:literal => $value:ident),+) => {
        impl FromStr for $type {
            type Err = UnknownWord;

            fn from_str(text: &str) -> Result<Self, UnknownWord> {
                match text {
                    $($word => Ok(Self::$value),)+
                    _ => Err(UnknownWord { found: text.to_owned(), expected: $expected }),
                }
            }
        }
    };
}

words!(Role, "writer, admin, validator", "writer" => Writer, "admin" => Admin, "validator" => Validator);

/// An operation on the ledger itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Control {
    /// Gives a role.
    Grant {
        /// To whom.
        author: AuthorKey,
        /// Which.
        role: Role,
    },
    /// Takes every role away.
    Revoke {
        /// From whom.
        author: AuthorKey,
    },
    /// Erases the values of an earlier event.
    Redact {
        /// Which event.
        event: EventId,
    },
}

/// Who may write without a grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Policy {
    /// Everybody who is not revoked.
    Open,
    /// Only members.
    Members,
}

impl Policy {
    /// The word in the format.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Members => "members",
        }
    }
}

words!(Policy, "open, members", "open" => Open, "members" => Members);

/// What becomes of an author whose history forks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ForkPolicy {
    /// Both branches count.
    Keep,
    /// What is on no common chain is void.
    Exclude,
}

impl ForkPolicy {
    /// The word in the format.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Keep => "keep",
            Self::Exclude => "exclude",
        }
    }
}

words!(ForkPolicy, "keep, exclude", "keep" => Keep, "exclude" => Exclude);

/// The operation of a ledger's first event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Genesis {
    /// A name for people; not unique.
    pub name: String,
    /// Who may write.
    pub policy: Policy,
    /// What becomes of forks.
    pub forks: ForkPolicy,
    /// Admins beside the author, strictly ascending.
    pub admins: Vec<AuthorKey>,
    /// The first validators, none twice, in any order.
    pub validators: Vec<AuthorKey>,
}

impl Genesis {
    /// The keys that certify the first height, ascending, as a block lists them.
    pub fn first_validators(&self) -> Vec<AuthorKey> {
        let mut validators = self.validators.clone();
        validators.sort_unstable();
        validators
    }
}

/// The content of a body. Data and control never mix; genesis and merge stand alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// The first event's.
    Genesis(Genesis),
    /// Ties heads together.
    Merge,
    /// Operations on data.
    Data(Vec<Operation>),
    /// Operations on the ledger.
    Control(Vec<Control>),
}

impl Body {
    /// Reads the strict encoding of a body.
    ///
    /// # Errors
    /// Says what is wrong; an event with such a body is refused by rule `body`.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        if bytes.len() > MAX_BODY_LEN {
            return Err("longer than 1 MiB".into());
        }
        let body = codec::read_body(bytes)?;
        body.check()?;
        cbor::canonical(bytes, &codec::write_body(&body, bytes.len()))?;
        Ok(body)
    }

    /// Encodes the body.
    ///
    /// # Errors
    /// Says which limit is broken.
    pub fn encode(&self) -> Result<Vec<u8>, Malformed> {
        self.check()?;
        let bytes = codec::write_body(self, 128);
        if bytes.len() > MAX_BODY_LEN {
            return Err("longer than 1 MiB".into());
        }
        Ok(bytes)
    }

    /// The data operations; none in other bodies.
    pub fn data(&self) -> &[Operation] {
        match self {
            Self::Data(operations) => operations,
            _ => &[],
        }
    }

    /// The control operations on members and values; none in other bodies.
    pub fn control(&self) -> &[Control] {
        match self {
            Self::Control(operations) => operations,
            _ => &[],
        }
    }

    fn check(&self) -> Read<()> {
        let count = match self {
            Self::Genesis(genesis) => return check_genesis(genesis),
            Self::Merge => 1,
            Self::Data(operations) => operations.len(),
            Self::Control(operations) => {
                check_control(operations)?;
                operations.len()
            }
        };
        match count {
            1..=MAX_OPERATIONS => Ok(()),
            _ => Err(format!("{count} operations, not 1 to 10,000").into()),
        }
    }
}

fn check_genesis(genesis: &Genesis) -> Read<()> {
    if genesis.name.len() > MAX_NAME_LEN {
        return Err("a name longer than 256 bytes".into());
    }
    if !cbor::ascending(&genesis.admins) {
        return Err("admins do not ascend strictly".into());
    }
    // The golden files hold validators in another order: see the decision on it.
    if genesis.validators.iter().collect::<BTreeSet<_>>().len() != genesis.validators.len() {
        return Err("a validator named twice".into());
    }
    Ok(())
}

fn check_control(operations: &[Control]) -> Read<()> {
    let revoked = |who: &AuthorKey| {
        operations.iter().any(|o| matches!(o, Control::Revoke { author } if author == who))
    };
    let both =
        operations.iter().any(|o| matches!(o, Control::Grant { author, .. } if revoked(author)));
    if both { Err("a grant to and a revoke of the same author".into()) } else { Ok(()) }
}
