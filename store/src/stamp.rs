//! Making an event of operations: its time, what it follows, its signature.

use quipu_merge::{
    Admission, Ancestor, Ancestors, Body, BodyId, Control, Event, MAX_PARENTS, Micros, Seq,
    SignedEvent, Subject, admit,
};

use crate::error::WriteError;
use crate::identity::Identity;
use crate::index::NewEvent;
use crate::ledger::{Ledger, now};
use crate::lookup::Known;
use crate::transaction::Committed;
use crate::writer::Writer;

/// What an event is to hold.
pub(crate) struct Draft<'d> {
    pub body: &'d Body,
    /// The body, encoded.
    pub bytes: &'d [u8],
    /// The openings of its values, by their slots.
    pub openings: &'d [(u16, Vec<u8>)],
}

/// Stamps, signs and takes in one event of this replica; more than 64 other heads are tied
/// together first.
pub(crate) fn write_event(
    ledger: &Ledger,
    writer: &mut Writer,
    identity: &Identity,
    draft: &Draft<'_>,
) -> Result<Committed, WriteError> {
    // The chain that is continued is that of the key in use.
    if ledger.author() != identity.author() {
        return Err(WriteError::KeyChanged);
    }
    ledger.check_not_lost(identity.author())?;
    let bytes = Body::Merge.encode().map_err(WriteError::Limit)?;
    let tie = Draft { body: &Body::Merge, bytes: &bytes, openings: &[] };
    while writer.other_heads().count() > MAX_PARENTS {
        write_one(ledger, writer, identity, &tie)?;
    }
    write_one(ledger, writer, identity, draft)
}

fn write_one(
    ledger: &Ledger,
    writer: &mut Writer,
    identity: &Identity,
    draft: &Draft<'_>,
) -> Result<Committed, WriteError> {
    let &Draft { body, bytes, openings } = draft;
    let prev = writer.own.clone();
    let parents: Vec<Known> = writer.other_heads().take(MAX_PARENTS).cloned().collect();
    let latest = prev.iter().chain(&parents).map(|known| known.time).max().unwrap_or(Micros(0));
    let time = now().max(Micros(latest.0 + 1));
    if time > Micros::MAX {
        return Err(WriteError::Time);
    }
    let event = Event {
        author: identity.author(),
        seq: prev.as_ref().map_or(Seq::FIRST, |prev| prev.dot.seq.next()),
        prev: prev.as_ref().map(|prev| prev.id),
        parents: parents.iter().map(|parent| parent.id).collect(),
        time,
        body: BodyId::of(bytes),
        size: u32::try_from(bytes.len()).unwrap_or(u32::MAX),
    };
    let signed = event.sign(identity.key())?;
    let ancestors = Ancestors {
        prev: prev.clone().map(Ancestor::from),
        parents: parents.into_iter().map(Ancestor::from).collect(),
    };
    if let Some(floor) = &ledger.floor
        && !floor.is_followed_by(signed.event(), &ancestors)
    {
        return Err(WriteError::History(floor.height()));
    }
    let targets = writer.targets(ledger.latest(), body)?;
    let unknown = body.control().iter().find_map(|operation| match operation {
        Control::Redact { event } if !targets.contains_key(event) => Some(*event),
        _ => None,
    });
    if let Some(event) = unknown {
        return Err(WriteError::NoSuchEvent(event));
    }
    let admission =
        admit(&signed, Ok(body), &ancestors, &writer.authority, &writer.lanes, &targets)?;
    check_not_void(ledger, writer, &signed, &admission)?;
    let links = ledger.links(openings)?;
    let new = NewEvent {
        event: &signed,
        body_bytes: bytes,
        body,
        openings,
        links: &links,
        incomplete: &[],
        admission: &admission,
        prev: prev.as_ref(),
    };
    match writer.take_in(&ledger.db, &new) {
        Ok(known) => {
            let committed = Committed { event: known.id, seq: known.dot.seq, time };
            writer.own = Some(known);
            Ok(committed)
        }
        Err(error) => {
            writer.poison(&error);
            Err(error.into())
        }
    }
}

/// Refuses to write what would be void at once: everybody would keep it, and nobody would heed it.
fn check_not_void(
    ledger: &Ledger,
    writer: &Writer,
    event: &SignedEvent,
    admission: &Admission,
) -> Result<(), WriteError> {
    let author = event.event().author;
    let subject = Subject {
        author,
        dot: admission.placement.dot,
        clock: &admission.clock,
        acts: &admission.acts,
    };
    if writer.verdicts.is_void(writer.lanes.table(), &subject) {
        return Err(WriteError::Unauthorised(
            "its roles were revoked, or its history forks in a ledger that excludes forks; the event would be void",
        ));
    }
    let excludes = writer.authority.forks() == quipu_merge::ForkPolicy::Exclude;
    if excludes && ledger.is_copied() {
        return Err(WriteError::Copied);
    }
    Ok(())
}
