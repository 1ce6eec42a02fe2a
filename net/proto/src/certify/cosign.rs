//! Validators' lines of the notes of checkpoints: each signs what counts at it, and all pass on what
//! they have not had.
//!
//! No certificate depends on them. They are for those who follow transparency logs.

mod gathering;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use minicbor::{Decode, Encode};
use quipu_merge::{AuthorKey, CheckpointNote, CheckpointSignature, Height};

use self::gathering::Gathering;
use super::message::CertifyMessage;
use crate::rate::{Bucket, Rate};
use crate::score::Misbehaviour;
use crate::time::Moment;
use crate::wire;

/// Of so many of the last checkpoints lines are taken, passed on and asked for. Lines of those before
/// that have not come by then do not come any more.
pub const COSIGNED_HEIGHTS: u64 = 8;
/// How many lines a peer may send that have to be checked: all of a checkpoint at once, and two
/// hundred in a second. What is more is passed over.
const LINES_RATE: Rate = Rate { every: Duration::from_millis(5), burst: 1024 };
/// How often a peer may ask for lines. What is more is not answered.
const ASK_RATE: Rate = Rate { every: Duration::from_millis(500), burst: 8 };

/// Lines of the note of a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Cosigned {
    /// The checkpoint's height.
    #[cbor(n(0), with = "wire::height")]
    pub height: Height,
    /// The lines, of each validator once.
    #[n(1)]
    pub lines: Vec<Lines>,
}

/// What a validator has signed of a note: a line as the log and one as a cosigner.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Lines {
    /// Who.
    #[cbor(n(0), with = "wire::author")]
    pub by: AuthorKey,
    /// When, in seconds since the Unix epoch.
    #[n(1)]
    pub seconds: u64,
    /// The signature as the log.
    #[cbor(n(2), with = "wire::signature")]
    pub log: [u8; 64],
    /// The signature as a cosigner.
    #[cbor(n(3), with = "wire::signature")]
    pub cosignature: [u8; 64],
}

impl From<&CheckpointSignature> for Lines {
    fn from(signature: &CheckpointSignature) -> Self {
        let CheckpointSignature { validator: by, seconds, log, cosignature } = *signature;
        Self { by, seconds, log, cosignature }
    }
}

impl From<&Lines> for CheckpointSignature {
    fn from(lines: &Lines) -> Self {
        let Lines { by: validator, seconds, log, cosignature } = *lines;
        Self { validator, seconds, log, cosignature }
    }
}

/// What gathering lines wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CosignOutput {
    /// A message is to be sent. Who is not there does not get it.
    Send(Vec<AuthorKey>, CertifyMessage),
    /// The note is to be signed, and [`Cosigning::signed`] told of it.
    Sign(CheckpointNote),
    /// These lines are known of the checkpoint of this height, and take the place of those before.
    Keep(Height, Vec<CheckpointSignature>),
    /// A peer has done what an honest one does not do.
    Misbehaved(AuthorKey, Misbehaviour),
}

#[derive(Debug, Default)]
struct Peer {
    lines: Bucket,
    asks: Bucket,
    /// What came for a checkpoint that does not count here yet.
    early: Option<Cosigned>,
}

/// A node's part in gathering validators' lines.
#[derive(Debug)]
pub struct Cosigning {
    me: AuthorKey,
    /// The last checkpoints, up to [`COSIGNED_HEIGHTS`] of them.
    last: BTreeMap<Height, Gathering>,
    peers: BTreeMap<AuthorKey, Peer>,
    outputs: VecDeque<CosignOutput>,
}

impl Cosigning {
    /// Nobody is there, and nothing is certified.
    pub const fn new(me: AuthorKey) -> Self {
        Self { me, last: BTreeMap::new(), peers: BTreeMap::new(), outputs: VecDeque::new() }
    }

    /// The next thing that is to be done.
    pub fn output(&mut self) -> Option<CosignOutput> {
        self.outputs.pop_front()
    }

    /// When it is to be told that it is later.
    pub fn next(&self) -> Option<Moment> {
        self.last.values().filter_map(Gathering::next).min()
    }

    /// A peer is there. Where it is a validator whose lines have not come, it is asked for them: what it
    /// has signed while it was away, nobody has been told of.
    pub fn connected(&mut self, peer: AuthorKey) {
        self.peers.insert(peer, Peer::default());
        for gathering in self.last.values().filter(|gathering| gathering.lacks(&peer)) {
            self.outputs.push_back(CosignOutput::Send(vec![peer], gathering.question()));
        }
    }

    /// A peer is gone.
    pub fn disconnected(&mut self, peer: AuthorKey) {
        self.peers.remove(&peer);
    }

    /// A checkpoint counts which another follows, of which these are the validators and some lines are
    /// known. It is not signed here: that may have been done for one that follows it, and a cosigner's
    /// line says that none larger has been seen.
    pub fn followed(
        &mut self,
        note: CheckpointNote,
        validators: Vec<AuthorKey>,
        known: impl IntoIterator<Item = CheckpointSignature>,
        now: Moment,
    ) {
        self.last.insert(note.height, Gathering::new(note, validators, known, now));
        while self.last.len() as u64 > COSIGNED_HEIGHTS {
            self.last.pop_first();
        }
    }

    /// A checkpoint counts which is the last one, of which these are the validators and some lines are
    /// known.
    pub fn certified(
        &mut self,
        note: CheckpointNote,
        validators: Vec<AuthorKey>,
        known: impl IntoIterator<Item = CheckpointSignature>,
        now: Moment,
    ) {
        let height = note.height;
        self.followed(note.clone(), validators, known, now);
        if self.last.get(&height).is_some_and(|gathering| gathering.lacks(&self.me)) {
            self.outputs.push_back(CosignOutput::Sign(note));
        }
        let early = self.peers.iter_mut().filter_map(|(key, peer)| {
            let early = peer.early.take_if(|early| early.height <= height)?;
            Some((*key, early))
        });
        for (peer, early) in early.collect::<Vec<_>>() {
            self.cosigned(peer, early, now);
        }
    }

    /// The note of the checkpoint of this height has been signed here.
    pub fn signed(&mut self, height: Height, signature: CheckpointSignature, now: Moment) {
        let Some(gathering) = self.last.get_mut(&height) else { return };
        gathering.add(signature, now);
        self.outputs.push_back(CosignOutput::Keep(height, gathering.all()));
    }

    /// A peer has sent lines.
    pub fn cosigned(&mut self, from: AuthorKey, cosigned: Cosigned, now: Moment) {
        let Some(peer) = self.peers.get_mut(&from) else { return };
        let height = cosigned.height;
        let next = self.last.keys().next_back().map_or(Height::FIRST.0, |last| last.0 + 1);
        if height.0 >= next {
            // Of what is far ahead, more is asked for later.
            peer.early = (height.0 == next).then_some(cosigned).or(peer.early.take());
            return;
        }
        let Some(gathering) = self.last.get_mut(&height) else { return };
        let mut is_new = false;
        for lines in &cosigned.lines {
            if !gathering.lacks(&lines.by) {
                continue;
            }
            if !peer.lines.take(LINES_RATE, 1, now) {
                break;
            }
            let signature = CheckpointSignature::from(lines);
            if !gathering.holds(&signature) {
                let bogus = CosignOutput::Misbehaved(from, Misbehaviour::Bogus);
                self.outputs.push_back(bogus);
                break;
            }
            gathering.add(signature, now);
            is_new = true;
        }
        if is_new {
            self.outputs.push_back(CosignOutput::Keep(height, gathering.all()));
        }
    }

    /// A peer asks for lines.
    pub fn asked(&mut self, from: AuthorKey, height: u64, now: Moment) {
        let Some(peer) = self.peers.get_mut(&from) else { return };
        let known = self.last.get(&Height(height)).and_then(Gathering::answer);
        if let Some(message) = known
            && peer.asks.take(ASK_RATE, 1, now)
        {
            self.outputs.push_back(CosignOutput::Send(vec![from], message));
        }
    }

    /// It is later.
    pub fn tick(&mut self, now: Moment) {
        for (height, gathering) in &mut self.last {
            if let Some(message) = gathering.tell(now) {
                let there = self.peers.keys().copied().collect();
                self.outputs.push_back(CosignOutput::Send(there, message));
            }
            if let Some(before) = gathering.ask(now) {
                // Heights begin with another peer each, so that no peer is asked for all of them.
                let turn = height.0.wrapping_add(before.into()) % self.peers.len().max(1) as u64;
                let peer = usize::try_from(turn).ok().and_then(|turn| self.peers.keys().nth(turn));
                if let Some(peer) = peer {
                    let ask = CosignOutput::Send(vec![*peer], gathering.question());
                    self.outputs.push_back(ask);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
