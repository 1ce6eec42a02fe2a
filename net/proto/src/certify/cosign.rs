//! Validators' lines of the notes of checkpoints: each signs what counts at it, and all pass on what
//! they have not had.
//!
//! No certificate depends on them. They are for those who follow transparency logs.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use minicbor::{Decode, Encode};
use quipu_merge::{AuthorKey, CheckpointNote, CheckpointSignature, Height};

use super::message::CertifyMessage;
use crate::rate::{Bucket, Rate};
use crate::score::Misbehaviour;
use crate::time::Moment;
use crate::wire;

/// For so long, lines are held back, so that one message has several.
const TELL_EVERY: Duration = Duration::from_millis(100);
/// Until somebody is asked for lines that have not come, the first time; then twice as long.
const ASK_AFTER: Duration = Duration::from_secs(1);
/// So often somebody is asked for the lines of one checkpoint: who has not signed by then is away.
const MAX_ASKS: u32 = 5;
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

/// The last checkpoint, of whose note lines are gathered.
#[derive(Debug)]
struct Current {
    note: CheckpointNote,
    /// Who may sign it, ascending.
    validators: Vec<AuthorKey>,
    known: BTreeMap<AuthorKey, CheckpointSignature>,
    /// Lines of these have not been passed on.
    untold: Vec<AuthorKey>,
    tell: Option<Moment>,
    ask: Option<Moment>,
    asks: u32,
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
    current: Option<Current>,
    peers: BTreeMap<AuthorKey, Peer>,
    outputs: VecDeque<CosignOutput>,
}

impl Cosigning {
    /// Nobody is there, and nothing is certified.
    pub const fn new(me: AuthorKey) -> Self {
        Self { me, current: None, peers: BTreeMap::new(), outputs: VecDeque::new() }
    }

    /// The next thing that is to be done.
    pub fn output(&mut self) -> Option<CosignOutput> {
        self.outputs.pop_front()
    }

    /// When it is to be told that it is later.
    pub fn next(&self) -> Option<Moment> {
        let current = self.current.as_ref()?;
        current.tell.into_iter().chain(current.ask).min()
    }

    /// A peer is there.
    pub fn connected(&mut self, peer: AuthorKey) {
        self.peers.insert(peer, Peer::default());
    }

    /// A peer is gone.
    pub fn disconnected(&mut self, peer: AuthorKey) {
        self.peers.remove(&peer);
    }

    /// A checkpoint counts, of which these are the validators and some lines are known.
    pub fn certified(
        &mut self,
        note: CheckpointNote,
        validators: Vec<AuthorKey>,
        known: impl IntoIterator<Item = CheckpointSignature>,
        now: Moment,
    ) {
        let known = known.into_iter().map(|signature| (signature.validator, signature)).collect();
        let height = note.height;
        self.current = Some(Current {
            note,
            validators,
            known,
            untold: Vec::new(),
            tell: None,
            ask: Some(now.after(ASK_AFTER)),
            asks: 0,
        });
        self.sign();
        let early = self.peers.iter_mut().filter_map(|(key, peer)| {
            let early = peer.early.take_if(|early| early.height <= height)?;
            Some((*key, early))
        });
        for (peer, early) in early.collect::<Vec<_>>() {
            self.cosigned(peer, early, now);
        }
    }

    fn sign(&mut self) {
        let Some(current) = &self.current else { return };
        let is_one = current.validators.binary_search(&self.me).is_ok();
        if is_one && !current.known.contains_key(&self.me) {
            self.outputs.push_back(CosignOutput::Sign(current.note.clone()));
        }
    }

    /// The note has been signed here.
    pub fn signed(&mut self, signature: CheckpointSignature, now: Moment) {
        let Some(current) = &mut self.current else { return };
        current.add(signature, now);
        let height = current.note.height;
        self.outputs.push_back(CosignOutput::Keep(height, current.all()));
    }

    /// A peer has sent lines.
    pub fn cosigned(&mut self, from: AuthorKey, cosigned: Cosigned, now: Moment) {
        let Some(peer) = self.peers.get_mut(&from) else { return };
        let next =
            self.current.as_ref().map_or(Height::FIRST.0, |current| current.note.height.0 + 1);
        if cosigned.height.0 >= next {
            // Of what is far ahead, more is told later.
            peer.early = (cosigned.height.0 == next).then_some(cosigned).or(peer.early.take());
            return;
        }
        let Some(current) = &mut self.current else { return };
        if cosigned.height != current.note.height {
            return;
        }
        let before = current.known.len();
        for lines in &cosigned.lines {
            let by = lines.by;
            if current.known.contains_key(&by) || current.validators.binary_search(&by).is_err() {
                continue;
            }
            if !peer.lines.take(LINES_RATE, 1, now) {
                break;
            }
            let signature = CheckpointSignature::from(lines);
            if signature.verify(&current.note).is_err() {
                let bogus = CosignOutput::Misbehaved(from, Misbehaviour::Bogus);
                self.outputs.push_back(bogus);
                break;
            }
            current.add(signature, now);
        }
        if current.known.len() > before {
            let height = current.note.height;
            self.outputs.push_back(CosignOutput::Keep(height, current.all()));
        }
    }

    /// A peer asks for lines.
    pub fn asked(&mut self, from: AuthorKey, height: u64, now: Moment) {
        let Some(peer) = self.peers.get_mut(&from) else { return };
        let Some(current) = self.current.as_ref().filter(|of| of.note.height.0 == height) else {
            return;
        };
        if !current.known.is_empty() && peer.asks.take(ASK_RATE, 1, now) {
            let message = current.message(current.known.keys());
            self.outputs.push_back(CosignOutput::Send(vec![from], message));
        }
    }

    /// It is later.
    pub fn tick(&mut self, now: Moment) {
        let Some(current) = &mut self.current else { return };
        if current.tell.take_if(|at| *at <= now).is_some() {
            let untold = std::mem::take(&mut current.untold);
            let message = current.message(untold.iter());
            let there = self.peers.keys().copied().collect();
            self.outputs.push_back(CosignOutput::Send(there, message));
        }
        if current.ask.take_if(|at| *at <= now).is_some()
            && current.asks < MAX_ASKS
            && current.known.len() < current.validators.len()
        {
            let turn = current.asks as usize % self.peers.len().max(1);
            current.ask = Some(now.after(ASK_AFTER.saturating_mul(2 << current.asks)));
            current.asks += 1;
            if let Some(peer) = self.peers.keys().nth(turn) {
                let ask = CertifyMessage::AskCosigned(current.note.height.0);
                self.outputs.push_back(CosignOutput::Send(vec![*peer], ask));
            }
        }
    }
}

impl Current {
    fn add(&mut self, signature: CheckpointSignature, now: Moment) {
        self.untold.push(signature.validator);
        self.tell.get_or_insert(now.after(TELL_EVERY));
        self.known.insert(signature.validator, signature);
    }

    fn all(&self) -> Vec<CheckpointSignature> {
        self.known.values().copied().collect()
    }

    fn message<'k>(&self, of: impl Iterator<Item = &'k AuthorKey>) -> CertifyMessage {
        let lines = of.filter_map(|key| self.known.get(key)).map(Lines::from);
        CertifyMessage::Cosigned(Cosigned { height: self.note.height, lines: lines.collect() })
    }
}

#[cfg(test)]
mod tests {
    use ed25519_dalek::SigningKey;
    use quipu_merge::{CheckpointId, EventId};

    use super::*;

    fn key(seed: u8) -> (SigningKey, AuthorKey) {
        let key = SigningKey::from_bytes(&[seed; 32]);
        let author = AuthorKey(key.verifying_key().to_bytes());
        (key, author)
    }

    fn note(height: u64) -> CheckpointNote {
        CheckpointNote {
            ledger: EventId([1; 32]),
            size: height,
            root: [2; 32],
            height: Height(height),
            checkpoint: CheckpointId([3; 32]),
        }
    }

    fn validators() -> Vec<AuthorKey> {
        let mut all: Vec<_> = (1..=4).map(|seed| key(seed).1).collect();
        all.sort_unstable();
        all
    }

    fn lines(height: u64, seed: u8) -> Cosigned {
        let signature = CheckpointSignature::sign(&note(height), &key(seed).0, 7).unwrap();
        Cosigned { height: Height(height), lines: vec![Lines::from(&signature)] }
    }

    fn outputs(cosigning: &mut Cosigning) -> Vec<CosignOutput> {
        std::iter::from_fn(|| cosigning.output()).collect()
    }

    #[test]
    fn lines_are_signed_gathered_and_passed_on_once() {
        let (me, peer) = (key(1).1, AuthorKey([9; 32]));
        let mut cosigning = Cosigning::new(me);
        cosigning.connected(peer);
        // What comes early is looked at when its checkpoint counts.
        cosigning.cosigned(peer, lines(1, 2), Moment(0));
        assert_eq!(outputs(&mut cosigning), []);
        cosigning.certified(note(1), validators(), [], Moment(0));
        let [CosignOutput::Sign(of), CosignOutput::Keep(Height(1), kept)] =
            &outputs(&mut cosigning)[..]
        else {
            panic!("to be signed, and kept");
        };
        assert_eq!((of, kept.len()), (&note(1), 1));
        let own = CheckpointSignature::sign(&note(1), &key(1).0, 8).unwrap();
        cosigning.signed(own, Moment(0));
        cosigning.cosigned(peer, lines(1, 2), Moment(0));
        outputs(&mut cosigning);
        let due = cosigning.next().unwrap();
        cosigning.tick(due);
        let [CosignOutput::Send(to, CertifyMessage::Cosigned(sent))] = &outputs(&mut cosigning)[..]
        else {
            panic!("passed on in one message");
        };
        assert_eq!((to.as_slice(), sent.lines.len()), (&[peer][..], 2));
        // Two are missing: somebody is asked, a few times.
        let mut asks = 0;
        while let Some(due) = cosigning.next() {
            cosigning.tick(due);
            asks += outputs(&mut cosigning).len();
        }
        assert_eq!(asks, MAX_ASKS as usize);
    }

    #[test]
    fn strangers_do_not_count_and_bogus_lines_are_blamed() {
        let (me, peer) = (AuthorKey([8; 32]), AuthorKey([9; 32]));
        let mut cosigning = Cosigning::new(me);
        cosigning.connected(peer);
        cosigning.certified(note(1), validators(), [], Moment(0));
        cosigning.cosigned(peer, lines(1, 7), Moment(0));
        assert_eq!(outputs(&mut cosigning), [], "not a validator");
        let mut bogus = lines(1, 3);
        bogus.lines[0].seconds += 1;
        cosigning.cosigned(peer, bogus, Moment(0));
        let blamed = CosignOutput::Misbehaved(peer, Misbehaviour::Bogus);
        assert_eq!(outputs(&mut cosigning), [blamed]);
        cosigning.asked(peer, 1, Moment(0));
        assert_eq!(outputs(&mut cosigning), [], "nothing is known");
    }
}
