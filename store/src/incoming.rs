//! Events as they come from outside, and checking them on all cores.

use std::collections::BTreeMap;

use quipu_merge::{
    Body, BodyId, Keyring, MAX_BLOCK_LEN, OpeningId, Operation, ParsedEvent, Reason, Refusal,
    SignedEvent, check_body,
};
use rayon::prelude::*;

use crate::opening;
use crate::record::WaitingRecord;

/// An event as it comes from outside.
#[derive(Clone, Debug, Default)]
pub struct Incoming {
    /// The encoding of the event.
    pub event: Vec<u8>,
    /// The encoding of its body, if it came along.
    pub body: Option<Vec<u8>>,
    /// The openings that came along, by the index of their operation.
    pub openings: Vec<(u16, Vec<u8>)>,
}

impl Incoming {
    /// Its length with all that came along, in bytes.
    pub fn len(&self) -> usize {
        let openings: usize = self.openings.iter().map(|(_, opening)| opening.len()).sum();
        self.event.len() + self.body.as_ref().map_or(0, Vec::len) + openings
    }

    /// Whether nothing came.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// An event whose encoding and signature hold.
#[derive(Clone, Debug)]
pub struct Checked {
    /// The event.
    pub event: SignedEvent,
    /// Its body, if it came along; what is wrong with it counts only when its turn comes.
    pub body: Option<Result<Body, Refusal>>,
    /// The encoding of its body.
    pub body_bytes: Option<Vec<u8>>,
    /// Its openings as they are stored, as far as they came along, by the index of their operation.
    pub openings: Vec<(u16, Vec<u8>)>,
}

impl Checked {
    /// Reads the body of an event whose signature holds. The openings are in their stored form.
    pub fn new(
        event: SignedEvent,
        body_bytes: Option<Vec<u8>>,
        openings: Vec<(u16, Vec<u8>)>,
    ) -> Self {
        let body = body_bytes.as_deref().map(|bytes| check_body(&event, bytes));
        Self { event, body, body_bytes, openings }
    }

    /// The bytes that came as its body, where they are those that it names.
    pub fn named_body(&self) -> Option<&Vec<u8>> {
        self.body_bytes.as_ref().filter(|bytes| BodyId::of(bytes) == self.event.event().body)
    }

    /// Whether a refusal concerns every copy of the event: bytes that are not the body that it names
    /// say nothing about it.
    pub fn is_for_good(&self, refusal: &Refusal) -> bool {
        refusal.reason != Reason::Body || self.body_bytes.is_none() || self.named_body().is_some()
    }

    /// The same event with what has been waiting of it, where that is more.
    pub fn with(&self, waiting: WaitingRecord) -> Self {
        let body =
            self.body_bytes.clone().filter(|_| matches!(self.body, Some(Ok(_)))).or(waiting.body);
        let openings: BTreeMap<_, _> =
            waiting.openings.into_iter().chain(self.openings.clone()).collect();
        Self::new(self.event.clone(), body, openings.into_iter().collect())
    }
}

/// Checks encodings, hashes and signatures on all cores, in order.
pub fn check_all(batch: Vec<Incoming>) -> Vec<Result<Checked, Refusal>> {
    check_each(batch, |event, keys| event.verify_with(keys))
}

/// Does what [`check_all`] does without signatures: for events that are thrown away again unless a
/// checkpoint certifies their ids, which are hashes of the signatures too.
pub fn check_hashes(batch: Vec<Incoming>) -> Vec<Result<Checked, Refusal>> {
    check_each(batch, |event, _| Ok(event.verified_before()))
}

fn check_each(
    batch: Vec<Incoming>,
    check: impl Fn(ParsedEvent, &mut Keyring) -> Result<SignedEvent, Refusal> + Sync,
) -> Vec<Result<Checked, Refusal>> {
    batch
        .into_par_iter()
        .map_init(Keyring::default, |keys, incoming| {
            let event = check(ParsedEvent::decode(&incoming.event)?, keys)?;
            let author = event.event().author;
            let mut checked = Checked::new(event, incoming.body, Vec::new());
            if let Some(Ok(body)) = &checked.body {
                // Values come as bytes: only what the event names is let in.
                let named = |(slot, block): &(u16, Vec<u8>)| {
                    let operation = body.data().get(usize::from(*slot));
                    block.len() <= MAX_BLOCK_LEN
                        && operation.and_then(Operation::value) == Some(OpeningId::of(block))
                };
                let openings = incoming.openings.into_iter().filter(named);
                let packed = openings.map(|(slot, block)| (slot, opening::pack(author, &block)));
                // They come in any order, and may come twice.
                let packed: BTreeMap<_, _> = packed.collect();
                checked.openings = packed.into_iter().collect();
            }
            Ok(checked)
        })
        .collect()
}
