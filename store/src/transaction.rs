//! Writing: operations that become one signed event, or nothing.

use std::io::{ErrorKind, Read};
use std::num::NonZeroI64;

use quipu_merge::{
    AuthorKey, Body, Content, ContentWriteError, ContentWriter, Control, EventId, Key, Link,
    MAX_INLINE_LEN, Malformed, Member, Micros, Opening, Operation, Role, SALT_LEN, Seq,
};

use crate::blocks::BlockSink;
use crate::error::{StorageError, WriteError};
use crate::ledger::Ledger;
use crate::opening;
use crate::record::Standing;
use crate::schema::{self, Kind};
use crate::stamp::{Draft, write_event};
use crate::writer::Writer;

/// What a register must hold for a transaction to be committed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expected {
    /// No value.
    Absent,
    /// Exactly the values written by these events.
    Writes(Vec<EventId>),
}

/// An event that has been committed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committed {
    /// Its id.
    pub event: EventId,
    /// Its position in this replica's chain.
    pub seq: Seq,
    /// Its time.
    pub time: Micros,
}

/// Operations to be committed as one event.
///
/// Nothing is written to the database before [`Self::commit`]. Until then short values are kept in
/// memory, and the blocks of long ones beyond a mebibyte in files that go away with the
/// transaction.
pub struct Transaction<'l> {
    ledger: &'l Ledger,
    operations: Vec<Pending>,
    blocks: BlockSink<'l>,
    conditions: Vec<(Key, Expected)>,
    /// The name and the note of what is left behind.
    receipt: Option<(Vec<u8>, Vec<u8>)>,
}

/// Openings as they are stored, by the index of their operation.
type Openings = Vec<(u16, Vec<u8>)>;

enum Pending {
    Put(Key, Content),
    Append(Key, Content),
    Ready(Operation),
}

impl Pending {
    /// Hides the value, if there is one, in an opening with this salt. Gives the operation, and
    /// the opening as it is stored.
    fn seal(self, author: AuthorKey, salt: &[u8; SALT_LEN]) -> (Operation, Option<Vec<u8>>) {
        let seal = |content| {
            let opening = Opening { author, salt: *salt, content };
            let (id, block) = opening.seal();
            let stored = match &opening.content {
                Content::Inline(bytes) => opening::pack_inline(salt, bytes),
                Content::Linked(_) => opening::pack(author, &block),
            };
            (id, Some(stored))
        };
        match self {
            Self::Put(key, content) => {
                let (value, stored) = seal(content);
                (Operation::Put { key, value }, stored)
            }
            Self::Append(key, content) => {
                let (value, stored) = seal(content);
                (Operation::Append { key, value }, stored)
            }
            Self::Ready(operation) => (operation, None),
        }
    }
}

impl<'l> Transaction<'l> {
    pub(crate) fn new(ledger: &'l Ledger) -> Self {
        let (operations, conditions) = (Vec::new(), Vec::new());
        Self { ledger, operations, blocks: BlockSink::new(ledger), conditions, receipt: None }
    }

    /// Writes a register.
    ///
    /// # Errors
    /// [`WriteError::Limit`] for a bad key; the transaction is as it was.
    pub fn put(&mut self, key: &str, value: &[u8]) -> Result<&mut Self, WriteError> {
        let (key, content) = (checked(Key::new(key))?, self.content_of(value)?);
        Ok(self.push(Pending::Put(key, content)))
    }

    /// Writes a register with all that can be read from `input`, which is never held as a whole.
    ///
    /// # Errors
    /// [`WriteError::Limit`] for a bad key, [`WriteError::Content`] where reading fails; the
    /// transaction is as it was.
    pub fn put_from(&mut self, key: &str, input: impl Read) -> Result<&mut Self, WriteError> {
        let (key, content) = (checked(Key::new(key))?, self.content(input)?);
        Ok(self.push(Pending::Put(key, content)))
    }

    /// Deletes a register.
    ///
    /// # Errors
    /// [`WriteError::Limit`] for a bad key; the transaction is as it was.
    pub fn del(&mut self, key: &str) -> Result<&mut Self, WriteError> {
        let key = checked(Key::new(key))?;
        Ok(self.push(Pending::Ready(Operation::Del { key })))
    }

    /// Adds to a counter.
    ///
    /// # Errors
    /// [`WriteError::Limit`] for a bad key or an amount of 0; the transaction is as it was.
    pub fn inc(&mut self, key: &str, by: i64) -> Result<&mut Self, WriteError> {
        let by = NonZeroI64::new(by).ok_or(WriteError::Limit("a counter changes by 0".into()))?;
        let key = checked(Key::new(key))?;
        Ok(self.push(Pending::Ready(Operation::Inc { key, by })))
    }

    /// Puts a member into a set.
    ///
    /// # Errors
    /// [`WriteError::Limit`] for a bad key or member; the transaction is as it was.
    pub fn add(&mut self, key: &str, member: &[u8]) -> Result<&mut Self, WriteError> {
        let (key, member) = (checked(Key::new(key))?, checked(Member::new(member))?);
        Ok(self.push(Pending::Ready(Operation::Add { key, member })))
    }

    /// Takes a member out of a set.
    ///
    /// # Errors
    /// [`WriteError::Limit`] for a bad key or member; the transaction is as it was.
    pub fn rem(&mut self, key: &str, member: &[u8]) -> Result<&mut Self, WriteError> {
        let (key, member) = (checked(Key::new(key))?, checked(Member::new(member))?);
        Ok(self.push(Pending::Ready(Operation::Rem { key, member })))
    }

    /// Adds a value to the end of a list.
    ///
    /// # Errors
    /// [`WriteError::Limit`] for a bad key; the transaction is as it was.
    pub fn append(&mut self, key: &str, value: &[u8]) -> Result<&mut Self, WriteError> {
        let (key, content) = (checked(Key::new(key))?, self.content_of(value)?);
        Ok(self.push(Pending::Append(key, content)))
    }

    /// Adds to a list all that can be read from `input`, which is never held as a whole.
    ///
    /// # Errors
    /// [`WriteError::Limit`] for a bad key, [`WriteError::Content`] where reading fails; the
    /// transaction is as it was.
    pub fn append_from(&mut self, key: &str, input: impl Read) -> Result<&mut Self, WriteError> {
        let (key, content) = (checked(Key::new(key))?, self.content(input)?);
        Ok(self.push(Pending::Append(key, content)))
    }

    /// Commits only where the register `key` is as expected at that moment.
    ///
    /// # Errors
    /// [`WriteError::Limit`] for a bad key; the transaction is as it was.
    pub fn require(&mut self, key: &str, expected: Expected) -> Result<&mut Self, WriteError> {
        self.conditions.push((checked(Key::new(key))?, expected));
        Ok(self)
    }

    /// How many operations there are.
    pub const fn len(&self) -> usize {
        self.operations.len()
    }

    /// Whether there are no operations, and nothing to commit.
    pub const fn is_empty(&self) -> bool {
        self.operations.is_empty()
    }

    /// Signs the operations as one event and writes it. It is durable when this returns, unless
    /// the store was opened with [`crate::Durability::Relaxed`].
    ///
    /// # Errors
    /// [`WriteError::Condition`] where a required register is otherwise, [`WriteError::Limit`]
    /// for no or too many operations, [`WriteError::Unauthorised`] where the key may not write,
    /// [`WriteError::Identity`] where it cannot be had: nothing has been written. After [`WriteError::Storage`] it is unknown whether the event is
    /// on the disk, and the store must be opened again.
    pub fn commit(self) -> Result<Committed, WriteError> {
        let identity = self.ledger.identity()?;
        let Self { ledger, operations, mut blocks, conditions, receipt } = self;
        let (body, openings) = Self::seal(operations, identity.author())?;
        let bytes = checked(body.encode())?;
        if matches!(&body, Body::Data(operations) if operations.is_empty()) {
            return Err(WriteError::Limit("no operations".into()));
        }
        blocks.commit()?;
        ledger.with_writer(|writer| {
            for (key, expected) in &conditions {
                check_condition(ledger, writer, key, expected)?;
            }
            let draft = Draft { body: &body, bytes: &bytes, openings: &openings };
            let committed = write_event(ledger, writer, &identity, &draft)?;
            if let Some(receipt) = receipt {
                writer.put_receipt(ledger, receipt, &committed)?;
            }
            Ok(committed)
        })
    }

    pub(crate) fn set_receipt(&mut self, receipt: (Vec<u8>, Vec<u8>)) {
        self.receipt = Some(receipt);
    }

    fn push(&mut self, operation: Pending) -> &mut Self {
        self.operations.push(operation);
        self
    }

    /// A value that is in memory already.
    fn content_of(&mut self, value: &[u8]) -> Result<Content, WriteError> {
        match value.len() {
            0..=MAX_INLINE_LEN => Ok(Content::Inline(value.to_vec())),
            _ => self.content(value),
        }
    }

    /// Reads a value: a short one into memory, a long one into blocks.
    fn content(&mut self, mut input: impl Read) -> Result<Content, WriteError> {
        let mut head = Vec::new();
        let limit = MAX_INLINE_LEN as u64 + 1;
        input.by_ref().take(limit).read_to_end(&mut head).map_err(WriteError::Content)?;
        if head.len() <= MAX_INLINE_LEN {
            return Ok(Content::Inline(head));
        }
        // Much work for nothing, if nothing can be signed.
        self.ledger.identity()?;
        let link = write_blocks(&mut self.blocks, &mut head.as_slice().chain(input))?;
        Ok(Content::Linked(link))
    }

    /// Hides the values in openings with fresh salts.
    fn seal(operations: Vec<Pending>, author: AuthorKey) -> Result<(Body, Openings), WriteError> {
        let mut salts = vec![0; SALT_LEN * operations.len()];
        getrandom::fill(&mut salts).map_err(|e| WriteError::Content(std::io::Error::other(e)))?;
        let (salts, _) = salts.as_chunks::<SALT_LEN>();
        let seal = |(operation, salt): (Pending, &[u8; SALT_LEN])| operation.seal(author, salt);
        let count = operations.len();
        let (mut openings, mut sealed) = (Vec::with_capacity(count), Vec::with_capacity(count));
        // Hashing openings costs less than handing them out to other cores.
        for (slot, (operation, opening)) in
            (0_u16..).zip(operations.into_iter().zip(salts).map(seal))
        {
            openings.extend(opening.map(|opening| (slot, opening)));
            sealed.push(operation);
        }
        Ok((Body::Data(sealed), openings))
    }
}

impl Ledger {
    /// Starts a transaction: operations that become one event.
    pub fn transaction(&self) -> Transaction<'_> {
        Transaction::new(self)
    }

    /// Gives a role to an author.
    ///
    /// # Errors
    /// Those of [`Self::control`].
    pub fn grant(&self, author: AuthorKey, role: Role) -> Result<Committed, WriteError> {
        self.control(vec![Control::Grant { author, role }])
    }

    /// Takes every role away from an author.
    ///
    /// # Errors
    /// Those of [`Transaction::commit`].
    pub fn revoke(&self, author: AuthorKey) -> Result<Committed, WriteError> {
        self.control(vec![Control::Revoke { author }])
    }

    /// Erases the values of an event, here and on every replica that learns of it. Each redact goes
    /// through all events of the author: [`Self::control`] does so once for several.
    ///
    /// # Errors
    /// Those of [`Transaction::commit`], and [`WriteError::NoSuchEvent`].
    pub fn redact(&self, event: EventId) -> Result<Committed, WriteError> {
        self.control(vec![Control::Redact { event }])
    }

    /// Commits control operations as one event.
    ///
    /// # Errors
    /// Those of [`Transaction::commit`], [`WriteError::NoSuchEvent`], and [`WriteError::Key`] where a role
    /// is to be given to a key that cannot sign.
    pub fn control(&self, operations: Vec<Control>) -> Result<Committed, WriteError> {
        let identity = self.identity()?;
        if let Some(key) = operations.iter().filter_map(grantee).find(|key| !key.can_sign()) {
            return Err(WriteError::Key(key));
        }
        let body = Body::Control(operations);
        let bytes = checked(body.encode())?;
        // It may change what others come to, for which everything before it has to be written.
        let draft = Draft { body: &body, bytes: &bytes, openings: &[] };
        self.exclusively(|hold| write_event(self, hold.writer(), &identity, &draft))
    }

    /// Ties all heads together by an event without operations. `None` where there is one head.
    ///
    /// # Errors
    /// Those of [`Transaction::commit`].
    pub fn tie(&self) -> Result<Option<Committed>, WriteError> {
        let identity = self.identity()?;
        let bytes = checked(Body::Merge.encode())?;
        self.with_writer(|writer| {
            if writer.heads.len() < 2 {
                return Ok(None);
            }
            let draft = Draft { body: &Body::Merge, bytes: &bytes, openings: &[] };
            write_event(self, writer, &identity, &draft).map(Some)
        })
    }
}

/// The key that gets a role.
const fn grantee(operation: &Control) -> Option<AuthorKey> {
    match operation {
        Control::Grant { author, .. } => Some(*author),
        _ => None,
    }
}

fn checked<T>(result: Result<T, Malformed>) -> Result<T, WriteError> {
    result.map_err(WriteError::Limit)
}

/// Cuts what can be read from `input` into blocks.
fn write_blocks(blocks: &mut BlockSink<'_>, input: &mut dyn Read) -> Result<Link, WriteError> {
    let mut content = ContentWriter::new(|id, bytes: &[u8]| blocks.put_cut(id, bytes));
    let failed = |error: ContentWriteError<StorageError>| match error {
        ContentWriteError::Emit(error) => WriteError::Storage(error),
        other => WriteError::Content(std::io::Error::other(other.to_string())),
    };
    // So that most is cut where it is read.
    let mut buffer = vec![0; 2 << 20];
    loop {
        match input.read(&mut buffer) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(WriteError::Content(error)),
            Ok(0) => return content.finish().map_err(failed),
            Ok(read) => content.write(buffer.get(..read).unwrap_or_default()).map_err(failed)?,
        }
    }
}

fn check_condition(
    ledger: &Ledger,
    writer: &Writer,
    key: &Key,
    expected: &Expected,
) -> Result<(), WriteError> {
    let state_key = schema::state_key(Kind::Register, key.as_str(), None);
    let standing = writer.state(&ledger.db, &state_key, Standing::decode)?.unwrap_or_default();
    let mut found = Vec::new();
    for write in
        standing.writes.iter().filter(|write| write.written != crate::record::Written::Gone)
    {
        found.push(writer.id_at(ledger.latest(), write.dot)?);
    }
    found.sort_unstable();
    let holds = match expected {
        Expected::Absent => found.is_empty(),
        Expected::Writes(wanted) => {
            let mut wanted = wanted.clone();
            wanted.sort_unstable();
            wanted.dedup();
            wanted == found
        }
    };
    if holds {
        return Ok(());
    }
    let found: Vec<_> = found.iter().map(ToString::to_string).collect();
    let found = if found.is_empty() {
        "it has no value".to_owned()
    } else {
        format!("its writes are {}", found.join(" "))
    };
    Err(WriteError::Condition { key: key.to_string(), found })
}
