//! Events: what an author signs, and the types that say how far one has been checked.
//!
//! `bytes` → [`ParsedEvent`] (the encoding holds) → [`SignedEvent`] (the signature holds too) →
//! admission by a ledger (see [`crate::admission`]).

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use minicbor::Decoder;

use crate::cbor::{self, Malformed, Read};
use crate::id::{AuthorKey, BodyId, EventId, Micros, Seq};
use crate::refusal::{Reason, Refusal};

/// Largest encoding of an event, in bytes.
pub const MAX_EVENT_LEN: usize = 16 * 1024;
/// Largest number of `parents` (`prev` not counted).
pub const MAX_PARENTS: usize = 64;
/// Largest length of a body, in bytes.
pub const MAX_BODY_LEN: usize = 1024 * 1024;

const DOMAIN: &[u8] = b"quipu/event/v1\0";
const FIELDS: u64 = 9;

/// The content of an event, apart from its signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Who writes.
    pub author: AuthorKey,
    /// Position in the author's chain.
    pub seq: Seq,
    /// The author's event before this one.
    pub prev: Option<EventId>,
    /// The other events that this one follows, strictly ascending.
    pub parents: Vec<EventId>,
    /// The author's clock, made larger than that of everything it follows.
    pub time: Micros,
    /// The body's id.
    pub body: BodyId,
    /// The body's length in bytes.
    pub size: u32,
}

impl Event {
    /// Everything that this event follows directly: `prev`, then `parents`.
    pub fn follows(&self) -> impl Iterator<Item = EventId> + '_ {
        self.prev.into_iter().chain(self.parents.iter().copied())
    }

    /// Signs the event. The author must be the key's.
    ///
    /// # Errors
    /// A refusal by rule `encoding` where a limit is broken or the key is another author's;
    /// nothing has been signed then.
    pub fn sign(self, key: &SigningKey) -> Result<SignedEvent, Refusal> {
        let unsigned = encode(&self, None);
        let refuse =
            |detail: Malformed| Refusal::new(EventId::of(&unsigned), Reason::Encoding, detail);
        check_limits(&self).map_err(refuse)?;
        if key.verifying_key().to_bytes() != self.author.0 {
            return Err(refuse("signed with another author's key".into()));
        }
        let message = [DOMAIN, &unsigned].concat();
        let bytes = encode(&self, Some(&key.sign(&message).to_bytes()));
        if bytes.len() > MAX_EVENT_LEN {
            return Err(refuse("longer than 16 KiB".into()));
        }
        Ok(SignedEvent { id: EventId::of(&bytes), event: self, bytes })
    }
}

/// An event whose encoding holds (rule `encoding`); its signature has not been checked.
#[derive(Clone, Debug)]
pub struct ParsedEvent {
    id: EventId,
    event: Event,
    bytes: Vec<u8>,
    signature: [u8; 64],
}

impl ParsedEvent {
    /// Reads the strict encoding of an event.
    ///
    /// # Errors
    /// A refusal by rule `encoding`.
    pub fn decode(bytes: &[u8]) -> Result<Self, Refusal> {
        parse(bytes).map_err(|detail| Refusal::new(EventId::of(bytes), Reason::Encoding, detail))
    }

    /// The id of the event.
    pub const fn id(&self) -> EventId {
        self.id
    }

    /// The content of the event.
    pub const fn event(&self) -> &Event {
        &self.event
    }

    /// Checks the signature by the strict rule, which small-order keys fail.
    ///
    /// # Errors
    /// A refusal by rule `signature`.
    pub fn verify(self) -> Result<SignedEvent, Refusal> {
        self.verify_with(&mut Keyring::default())
    }

    /// Checks the signature like [`Self::verify`], for many events of few authors.
    ///
    /// # Errors
    /// A refusal by rule `signature`.
    pub fn verify_with(self, keys: &mut Keyring) -> Result<SignedEvent, Refusal> {
        let refuse = |detail: &'static str| Refusal::new(self.id, Reason::Signature, detail);
        let key = keys
            .unpack(self.event.author)
            .ok_or_else(|| refuse("the author's key is not a point of the curve"))?;
        let message = [DOMAIN, &encode(&self.event, None)].concat();
        key.verify_strict(&message, &Signature::from_bytes(&self.signature))
            .map_err(|_| refuse("the signature does not hold"))?;
        Ok(SignedEvent { id: self.id, event: self.event, bytes: self.bytes })
    }
}

impl ParsedEvent {
    /// Takes the signature as checked. Only for bytes whose id is that of an event which passed
    /// [`Self::verify`] before: the id is the hash of the signature, too.
    pub fn verified_before(self) -> SignedEvent {
        SignedEvent { id: self.id, event: self.event, bytes: self.bytes }
    }
}

/// Keys of authors, unpacked to points of the curve. Unpacking one takes about a tenth of the time
/// that a signature takes.
#[derive(Debug, Default)]
pub struct Keyring(BTreeMap<AuthorKey, VerifyingKey>);

impl Keyring {
    /// How many keys are kept.
    const KEPT: usize = 4096;

    fn unpack(&mut self, author: AuthorKey) -> Option<&VerifyingKey> {
        if self.0.len() >= Self::KEPT {
            self.0.clear();
        }
        Some(match self.0.entry(author) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => new.insert(VerifyingKey::from_bytes(&author.0).ok()?),
        })
    }
}

/// An event whose encoding and signature hold (rules `encoding` and `signature`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedEvent {
    id: EventId,
    event: Event,
    bytes: Vec<u8>,
}

impl SignedEvent {
    /// The id of the event.
    pub const fn id(&self) -> EventId {
        self.id
    }

    /// The content of the event.
    pub const fn event(&self) -> &Event {
        &self.event
    }

    /// The encoding, signature included.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

fn check_limits(event: &Event) -> Read<()> {
    if event.seq < Seq::FIRST {
        return Err("seq is 0".into());
    }
    if event.time > Micros::MAX {
        return Err("time is 2^53 or more".into());
    }
    if event.size == 0 || event.size as usize > MAX_BODY_LEN {
        return Err("size is not 1 to 1 MiB".into());
    }
    if event.parents.len() > MAX_PARENTS {
        return Err("more than 64 parents".into());
    }
    if !cbor::ascending(&event.parents) {
        return Err("parents do not ascend strictly".into());
    }
    if event.prev.is_some_and(|prev| event.parents.binary_search(&prev).is_ok()) {
        return Err("prev is among parents".into());
    }
    Ok(())
}

fn parse(bytes: &[u8]) -> Read<ParsedEvent> {
    if bytes.len() > MAX_EVENT_LEN {
        return Err("longer than 16 KiB".into());
    }
    let d = &mut Decoder::new(bytes);
    cbor::map(d, FIELDS)?;
    cbor::version(d)?;
    cbor::key(d, "seq")?;
    let seq = Seq(d.u64().map_err(cbor::malformed)?);
    cbor::key(d, "sig")?;
    let signature = cbor::array::<64>(d)?;
    cbor::key(d, "body")?;
    let body = cbor::link_to(d, BodyId::from_block)?;
    cbor::key(d, "prev")?;
    let prev = match d.datatype().map_err(cbor::malformed)? {
        minicbor::data::Type::Null => d.null().map(|()| None).map_err(cbor::malformed)?,
        _ => Some(cbor::link_to(d, EventId::from_block)?),
    };
    cbor::key(d, "size")?;
    let size = d.u32().map_err(cbor::malformed)?;
    cbor::key(d, "time")?;
    let time = Micros(d.u64().map_err(cbor::malformed)?);
    cbor::key(d, "author")?;
    let author = cbor::author(d)?;
    cbor::key(d, "parents")?;
    let count = cbor::list(d)?;
    if count > MAX_PARENTS as u64 {
        return Err("more than 64 parents".into());
    }
    let parents =
        (0..count).map(|_| cbor::link_to(d, EventId::from_block)).collect::<Read<Vec<_>>>()?;
    cbor::end(d)?;
    let event = Event { author, seq, prev, parents, time, body, size };
    check_limits(&event)?;
    cbor::canonical(bytes, &encode(&event, Some(&signature)))?;
    let id = EventId::of(bytes);
    Ok(ParsedEvent { id, event, bytes: bytes.to_vec(), signature })
}

fn encode(event: &Event, signature: Option<&[u8; 64]>) -> Vec<u8> {
    cbor::encode(320 + 41 * event.parents.len(), |w| {
        w.map(FIELDS - u64::from(signature.is_none()))?;
        w.str("v")?.u8(1)?.str("seq")?.u64(event.seq.0)?;
        if let Some(signature) = signature {
            w.str("sig")?.bytes(signature)?;
        }
        w.str("body")?;
        cbor::put_link(w, event.body.block())?;
        w.str("prev")?;
        match event.prev {
            Some(prev) => cbor::put_link(w, prev.block())?,
            None => w.null()?.ok()?,
        }
        w.str("size")?.u32(event.size)?.str("time")?.u64(event.time.0)?;
        w.str("author")?.bytes(&event.author.0)?;
        w.str("parents")?.array(event.parents.len() as u64)?;
        event.parents.iter().try_for_each(|parent| cbor::put_link(w, parent.block()))
    })
}
