//! What a ledger has in memory, read back from the database: its members and its branches, and
//! nothing in proportion to its history.

use std::collections::BTreeMap;
use std::sync::Arc;

use quipu_merge::{
    Act, Admission, AuthorKey, Authority, Body, Clock, Control, ControlEvent, Dot, Event, Genesis,
    Lane, LaneInfo, Lanes, Micros, ParsedEvent, Seq, Verdicts, admit_genesis,
};

use crate::certify::Finality;
use crate::db::{Db, Reader};
use crate::error::{OpenError, StorageError};
use crate::identity::Identity;
use crate::index::NewEvent;
use crate::lookup::{self, Known, Stored};
use crate::record;
use crate::schema::{self, FORMAT, Family, meta};
use crate::writer::{Published, Writer, read_heads};

/// Signs the genesis event of a new ledger and writes it to a new database.
pub fn found(
    db: &Db,
    identity: &Identity,
    genesis: Genesis,
    time: Micros,
) -> Result<(), OpenError> {
    let body = Body::Genesis(genesis).encode().map_err(OpenError::Genesis)?;
    let event = Event {
        author: identity.author(),
        seq: Seq::FIRST,
        prev: None,
        parents: Vec::new(),
        time,
        body: quipu_merge::BodyId::of(&body),
        size: u32::try_from(body.len()).unwrap_or(u32::MAX),
    };
    let signed =
        event.sign(identity.key()).map_err(|refusal| OpenError::Genesis(refusal.detail))?;
    first(db, &signed, &body)
}

/// Writes the first event to a new database.
pub fn first(
    db: &Db,
    event: &quipu_merge::SignedEvent,
    body_bytes: &[u8],
) -> Result<(), OpenError> {
    let genesis = admit_genesis(event, body_bytes).map_err(crate::error::MergeError::from)?;
    let content = event.event();
    let placement = Lanes::default().place(content.author, None);
    let authority = Arc::new(Authority::new(
        genesis.clone(),
        event.id(),
        content.author,
        placement.dot,
        content.time,
    ));
    let body = Body::Genesis(genesis);
    let clock = Arc::new(Clock::from_iter([placement.dot]));
    let admission = Admission { placement, clock, acts: Vec::new() };
    let mut lanes = Lanes::default();
    lanes.insert(content.author, placement);
    let finality = Arc::new(Finality::none(&authority));
    let verdicts = Arc::new(judge(&authority, &lanes, &finality));
    let published = Published {
        commit: 0,
        lanes: lanes.table().clone(),
        authority,
        verdicts,
        finality,
        heads: Arc::from([]),
        new: Arc::default(),
    };
    let mut writer = Writer::new(&published, Lanes::default(), None);
    writer.put(db, Family::Meta, meta::FORMAT, &FORMAT.to_be_bytes())?;
    writer.put(db, Family::Meta, meta::LEDGER, &event.id().0)?;
    let new = NewEvent {
        event,
        body_bytes,
        body: &body,
        openings: &[],
        links: &[],
        incomplete: &[],
        admission: &admission,
        prev: None,
    };
    writer.take_in(db, &new)?;
    let (batch, _) = writer.take(db)?;
    Ok(db.write(batch, true)?)
}

/// Copies the first event of another replica to a new database.
pub fn first_of(db: &Db, source: Reader<'_>) -> Result<(), OpenError> {
    let (event, body) = genesis_of(source)?;
    let event = ParsedEvent::decode(&event).and_then(ParsedEvent::verify);
    first(db, &event.map_err(crate::error::MergeError::from)?, &body)
}

/// The first event of a replica and its body.
pub fn genesis_of(source: Reader<'_>) -> Result<(Vec<u8>, Vec<u8>), StorageError> {
    let stored = Stored::read(source, Dot { lane: Lane(0), seq: Seq::FIRST })?;
    let record = stored.record()?;
    Ok((record.event.to_vec(), record.body.to_vec()))
}

/// Everything that readers share, and the branches with their last events.
pub fn published(reader: Reader<'_>) -> Result<(Published, Lanes), StorageError> {
    let (commit, heads) = read_heads(reader)?;
    let lanes = read_lanes(reader)?;
    let authority = Arc::new(read_authority(reader, &lanes)?);
    let finality = Arc::new(Finality::load(reader, &authority)?);
    let verdicts = Arc::new(judge(&authority, &lanes, &finality));
    let heads =
        heads.into_iter().map(|dot| lookup::known_at(reader, dot)).collect::<Result<_, _>>()?;
    let (table, new) = (lanes.table().clone(), Arc::default());
    let published = Published { commit, lanes: table, authority, verdicts, finality, heads, new };
    Ok((published, lanes))
}

/// The own event that the next one continues: the last on the branch that has come furthest.
pub fn own_tip(
    reader: Reader<'_>,
    lanes: &Lanes,
    author: AuthorKey,
) -> Result<Option<Known>, StorageError> {
    let tips = lanes.table().of(author).iter().map(|&lane| Dot { lane, seq: Seq(lanes.tip(lane)) });
    tips.max_by_key(|dot| dot.seq).map(|dot| lookup::known_at(reader, dot)).transpose()
}

fn judge(authority: &Authority, lanes: &Lanes, finality: &Finality) -> Verdicts {
    Verdicts::new(authority, lanes.table(), &|lane| lanes.tip(lane), &finality.cuts)
}

fn read_lanes(reader: Reader<'_>) -> Result<Lanes, StorageError> {
    let damaged = || StorageError::damaged("the record of a branch");
    let mut lanes = Vec::new();
    let mut walk = reader.walk(Family::Meta, b"L")?;
    walk.first()?;
    while let Some((_, value)) = walk.item() {
        let (author, rest) = value.split_first_chunk::<32>().ok_or_else(damaged)?;
        let leaves = match rest {
            [] => None,
            rest => Some(record::Reader(rest).dot().ok_or_else(damaged)?),
        };
        let lane = Lane(u32::try_from(lanes.len()).map_err(|_| damaged())?);
        let mut events = reader.walk(Family::Events, &lane.0.to_be_bytes())?;
        events.last()?;
        let tip = events.item().and_then(|(key, _)| schema::parse_dot(key)).ok_or_else(damaged)?;
        lanes.push((LaneInfo { author: AuthorKey(*author), leaves }, tip.seq));
        walk.next()?;
    }
    Ok(Lanes::restore(lanes))
}

/// Reads the control events, in the order of their arrival.
pub fn read_authority(reader: Reader<'_>, lanes: &Lanes) -> Result<Authority, StorageError> {
    let damaged = |what: &str| StorageError::damaged(format!("a control event: {what}"));
    let mut authority: Option<Authority> = None;
    let mut walk = reader.walk(Family::Meta, b"C")?;
    walk.first()?;
    while let Some((_, value)) = walk.item() {
        let dot = record::Reader(value).dot().ok_or_else(|| damaged("its place"))?;
        let stored = Stored::read(reader, dot)?;
        let (event, body) = (stored.event()?, stored.body()?);
        let content = event.event();
        match (&mut authority, body) {
            (None, Body::Genesis(genesis)) => {
                authority =
                    Some(Authority::new(genesis, event.id(), content.author, dot, content.time));
            }
            (Some(authority), Body::Control(operations)) => {
                let clock = Arc::new(lookup::clock_of(reader, dot, stored.record()?.clock)?);
                let acts =
                    operations.iter().map(|o| act(reader, lanes, o)).collect::<Result<_, _>>()?;
                let (author, time) = (content.author, content.time);
                authority.insert(Arc::new(ControlEvent {
                    id: event.id(),
                    author,
                    dot,
                    time,
                    clock,
                    acts,
                }));
            }
            _ => return Err(damaged("its kind")),
        }
        walk.next()?;
    }
    authority.ok_or_else(|| damaged("there is none"))
}

fn act(reader: Reader<'_>, lanes: &Lanes, operation: &Control) -> Result<Act, StorageError> {
    Ok(match *operation {
        Control::Grant { author, role } => Act::Grant { author, role },
        Control::Revoke { author } => Act::Revoke { author },
        Control::Redact { event } => {
            let missing =
                || StorageError::damaged(format!("the redacted event {event} is missing"));
            let dot = lookup::dot_of(reader, event)?.ok_or_else(missing)?;
            let author = lanes.table().get(dot.lane).ok_or_else(missing)?.author;
            Act::Redact { event, author, dot }
        }
    })
}

/// The local names of authors.
pub fn names(reader: Reader<'_>) -> Result<BTreeMap<AuthorKey, String>, StorageError> {
    let damaged = || StorageError::damaged("a local name");
    let mut names = BTreeMap::new();
    let mut walk = reader.walk(Family::Meta, b"N")?;
    walk.first()?;
    while let Some((key, value)) = walk.item() {
        let author = key.get(1..).and_then(|key| key.try_into().ok()).ok_or_else(damaged)?;
        let name = String::from_utf8(value.to_vec()).map_err(|_| damaged())?;
        names.insert(AuthorKey(author), name);
        walk.next()?;
    }
    Ok(names)
}
