//! Catching up with what others have certified.

use std::collections::VecDeque;

use quipu_merge::{AuthorKey, Certificate, ChainError, Height};

use super::certifier::Certifier;
use super::evidence::Evidence;
use super::limits::SYNC_PATIENCE;
use super::message::CertifyMessage;
use super::parts::{Certified, CertifiedBytes};
use super::signed::{Id, SignedVote};
use super::status::Divergence;
use crate::score::Misbehaviour;
use crate::time::Moment;

/// Catching up with what others have certified.
#[derive(Debug, Default)]
pub struct ChainSync {
    asked: Option<Asked>,
    /// Whom was asked last: the next one is asked when that does not help.
    last: Option<AuthorKey>,
    incoming: VecDeque<(AuthorKey, Certified)>,
}

/// How far the checkpoints of a peer's are here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CatchingUp {
    /// All that it is known to have count here, or cannot.
    Done,
    /// One is being derived and written.
    Keeps,
    /// An answer is waited for, or events are.
    Waits,
}

#[derive(Debug)]
struct Asked {
    peer: AuthorKey,
    from: Height,
    until: Moment,
}

impl ChainSync {
    pub fn forget(&mut self, peer: AuthorKey) {
        if self.asked.as_ref().is_some_and(|asked| asked.peer == peer) {
            self.asked = None;
        }
    }

    /// When another is to be asked.
    pub fn due(&self) -> Option<Moment> {
        self.asked.as_ref().map(|asked| asked.until)
    }
}

impl Certifier {
    /// Asks for checkpoints, where somebody has later ones, or another of the last height.
    pub(super) fn catch_up(&mut self, now: Moment) {
        self.take_incoming(now);
        if self.sync.asked.as_ref().is_some_and(|asked| asked.until > now) {
            return;
        }
        self.sync.asked = None;
        if self.keeping.is_some() || !self.sync.incoming.is_empty() {
            return;
        }
        let next = self.height();
        let from = |peer: &super::peers::Peer| {
            let Some(tip) = peer.tip else {
                // Whoever follows for a while does not wait until it is told.
                return (self.config.follows && !peer.has_no_more).then_some(next);
            };
            let other = self.recent(tip.height).is_some_and(|(own, _)| own.parts.id() != tip.id);
            if tip.height >= next { Some(next) } else { other.then_some(tip.height) }
        };
        let some = self.peers.iter().filter_map(|(key, peer)| Some((*key, from(peer)?)));
        let mut some: Vec<_> = some.collect();
        let furthest = some.iter().map(|(_, from)| *from).max();
        some.retain(|(_, from)| Some(*from) == furthest);
        let after = self.sync.last;
        let turn = some.iter().find(|(key, _)| Some(*key) > after).or_else(|| some.first());
        if let Some((peer, from)) = turn.copied() {
            self.ask_checkpoints(peer, from, now);
        }
    }

    /// How far the checkpoints are here that a peer is known to have. `None` where it does not speak of
    /// them.
    pub fn catching_up(&self, with: AuthorKey) -> Option<CatchingUp> {
        let peer = self.peers.get(&with)?;
        let asks = self.sync.asked.as_ref().is_some_and(|asked| asked.peer == with);
        Some(match &self.keeping {
            _ if self.stopped.is_some() => CatchingUp::Done,
            Some(keeping) if keeping.retry.is_none() => CatchingUp::Keeps,
            Some(_) => CatchingUp::Waits,
            None if asks || !self.sync.incoming.is_empty() => CatchingUp::Waits,
            None => match peer.tip {
                Some(tip) if tip.height >= self.height() => CatchingUp::Waits,
                None if self.config.follows && !peer.has_no_more => CatchingUp::Waits,
                _ => CatchingUp::Done,
            },
        })
    }

    fn ask_checkpoints(&mut self, peer: AuthorKey, from: Height, now: Moment) {
        self.sync.last = Some(peer);
        self.sync.asked = Some(Asked { peer, from, until: now.after(SYNC_PATIENCE) });
        if let Some(peer) = self.peers.get_mut(&peer) {
            peer.owes = peer.owes.saturating_add(1);
        }
        self.send(peer, CertifyMessage::AskCheckpoints(from.0));
    }

    /// A peer has sent checkpoints.
    pub(super) fn checkpoints(&mut self, from: AuthorKey, some: &[CertifiedBytes]) {
        if self.stopped.is_some() {
            return;
        }
        let Some(peer) = self.peers.get_mut(&from).filter(|peer| peer.owes > 0) else {
            return self.blame(from, Misbehaviour::Unasked);
        };
        peer.owes -= 1;
        let first = some.first().and_then(|first| first.decode().ok());
        let first = first.map(|first| first.parts.checkpoint().height);
        let answers = |asked: &mut Asked| {
            asked.peer == from && (some.is_empty() || first == Some(asked.from))
        };
        let Some(asked) = self.sync.asked.take_if(answers) else { return };
        let mut expected = asked.from.0;
        for bytes in some {
            let certified = bytes.decode().ok();
            let fits = certified.filter(|some| some.parts.checkpoint().height.0 == expected);
            let Some(certified) = fits else { return self.blame(from, Misbehaviour::Bogus) };
            self.sync.incoming.push_back((from, certified));
            expected = expected.saturating_add(1);
        }
        if some.is_empty()
            && let Some(peer) = self.peers.get_mut(&from)
        {
            // It does not have what it told of.
            (peer.tip, peer.has_no_more) = (None, true);
        }
    }

    /// Takes what has come, one at a time.
    fn take_incoming(&mut self, now: Moment) {
        while self.keeping.is_none() && self.stopped.is_none() {
            let Some((from, certified)) = self.sync.incoming.pop_front() else { return };
            let height = certified.parts.checkpoint().height;
            if height == self.height() {
                match self.continued(&certified) {
                    Ok(chain) => return self.keep(certified, chain),
                    // It may be certified by the others of two histories.
                    Err(ChainError::Prev) => self.look_back(from, height, now),
                    Err(_) => {
                        self.sync.incoming.clear();
                        self.blame(from, Misbehaviour::Bogus);
                    }
                }
            } else if height < self.height() {
                self.compare(from, certified, now);
            } else {
                self.sync.incoming.clear();
            }
        }
    }

    /// One of the last checkpoints, and who certified it.
    fn recent(&self, height: Height) -> Option<&(Certified, Vec<AuthorKey>)> {
        self.recent.iter().find(|(certified, _)| certified.parts.checkpoint().height == height)
    }

    /// A peer has another history: where does it part from this one?
    fn look_back(&mut self, from: AuthorKey, height: Height, now: Moment) {
        self.sync.incoming.clear();
        if let Some(peer) = self.peers.get_mut(&from) {
            // What it tells of next may be worth another look.
            (peer.tip, peer.has_no_more) = (None, true);
        }
        let before = Height(height.0.saturating_sub(1));
        if self.recent(before).is_some() {
            self.ask_checkpoints(from, before, now);
        }
    }

    /// Tells who has signed two certificates of one height.
    pub(super) fn tell_conflicts(&mut self, one: &Certificate, other: &Certificate) {
        let ledger = self.config.ledger;
        let evidence =
            conflicts(one, other).map(|(one, other)| Evidence::votes(ledger, one, other));
        self.tell_evidence(evidence.collect());
    }

    /// Compares a checkpoint with the own one of its height.
    fn compare(&mut self, from: AuthorKey, other: Certified, now: Moment) {
        let another = other.parts.checkpoint();
        let Some((own, certifiers)) = self.recent(another.height) else { return };
        if own.parts.id() == other.parts.id() {
            return;
        }
        if own.parts.checkpoint().prev != another.prev {
            return self.look_back(from, another.height, now);
        }
        let ledger = self.config.ledger;
        if other.certificate.check(another, ledger, certifiers).is_err() {
            return self.blame(from, Misbehaviour::Bogus);
        }
        let own = own.clone();
        self.tell_conflicts(&own.certificate, &other.certificate);
        self.diverged(Divergence::Twice(own, other));
    }
}

/// Who has signed two certificates of one round, with both precommits.
fn conflicts<'a>(
    one: &'a Certificate,
    other: &'a Certificate,
) -> impl Iterator<Item = (SignedVote, SignedVote)> + 'a {
    let vote = |of: &Certificate, (by, signature): &(AuthorKey, [u8; 64])| SignedVote {
        height: of.height,
        round: of.round.0,
        precommit: true,
        value: Some(Id(of.checkpoint)),
        by: *by,
        signature: *signature,
    };
    let same_round = one.round == other.round;
    one.signatures.iter().filter(move |_| same_round).filter_map(move |mine| {
        let theirs = other.signatures.iter().find(|(by, _)| *by == mine.0)?;
        Some((vote(one, mine), vote(other, theirs)))
    })
}
