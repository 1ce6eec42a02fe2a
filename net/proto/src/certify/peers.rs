//! The peers that are there, and what each has sent too early.

use std::collections::BTreeMap;

use quipu_merge::{AuthorKey, Height};

use super::limits::{ASK_RATE, MAX_EARLY, MAX_EARLY_LEN, MESSAGE_RATE};
use super::message::{CertifyMessage, TipOf};
use crate::rate::Bucket;
use crate::time::Moment;

/// The peers that are there.
#[derive(Debug, Default)]
pub struct Peers(BTreeMap<AuthorKey, Peer>);

/// One of them.
#[derive(Debug, Default)]
pub struct Peer {
    messages: Bucket,
    asks: Bucket,
    /// The last checkpoint that it says it holds.
    pub tip: Option<TipOf>,
    /// It has said that it has no more than is here, or what it has is of no use.
    pub has_no_more: bool,
    /// So many answers with checkpoints are to come from it: one that comes late is no fault.
    pub owes: u32,
    /// The store is reading checkpoints for it.
    pub reading: bool,
    early: Vec<(Height, CertifyMessage)>,
    early_len: usize,
}

impl Peer {
    /// Whether it may say something.
    pub fn may_speak(&mut self, now: Moment) -> bool {
        self.messages.take(MESSAGE_RATE, 1, now)
    }

    /// Whether it may ask for checkpoints.
    pub fn may_ask(&mut self, now: Moment) -> bool {
        !self.reading && self.asks.take(ASK_RATE, 1, now)
    }
}

impl Peers {
    pub fn insert(&mut self, peer: AuthorKey) {
        self.0.insert(peer, Peer::default());
    }

    pub fn remove(&mut self, peer: &AuthorKey) {
        self.0.remove(peer);
    }

    pub fn get(&self, peer: &AuthorKey) -> Option<&Peer> {
        self.0.get(peer)
    }

    pub fn get_mut(&mut self, peer: &AuthorKey) -> Option<&mut Peer> {
        self.0.get_mut(peer)
    }

    pub fn iter(&self) -> impl Iterator<Item = (&AuthorKey, &Peer)> {
        self.0.iter()
    }

    pub fn keys(&self) -> impl Iterator<Item = &AuthorKey> {
        self.0.keys()
    }

    /// Keeps what came early, where there is room: what is missing later is said again.
    pub fn keep(&mut self, from: AuthorKey, height: Height, message: CertifyMessage) {
        let Some(peer) = self.0.get_mut(&from) else { return };
        let len = len(&message);
        if peer.early.len() < MAX_EARLY && peer.early_len.saturating_add(len) <= MAX_EARLY_LEN {
            peer.early_len += len;
            peer.early.push((height, message));
        }
    }

    /// What has come early for a height, and whom it is from. What is for heights before goes.
    pub fn take(&mut self, height: Height) -> Vec<(AuthorKey, CertifyMessage)> {
        let mut taken = Vec::new();
        for (key, peer) in &mut self.0 {
            let early = std::mem::take(&mut peer.early);
            for (of, message) in early {
                if of == height {
                    taken.push((*key, message));
                } else if of > height {
                    peer.early.push((of, message));
                }
            }
            peer.early_len = peer.early.iter().map(|(_, message)| len(message)).sum();
        }
        taken
    }

    /// Who has voted early in a height.
    pub fn early_voters(&self, height: Height) -> impl Iterator<Item = &AuthorKey> {
        let votes = move |(of, message): &(Height, CertifyMessage)| {
            *of == height && matches!(message, CertifyMessage::Vote(_))
        };
        self.0.iter().filter(move |(_, peer)| peer.early.iter().any(votes)).map(|(key, _)| key)
    }
}

/// About how many bytes a message that is kept takes.
fn len(message: &CertifyMessage) -> usize {
    256 + match message {
        CertifyMessage::Proposal(proposed) => proposed.parts.as_ref().map_or(0, |p| p.len()),
        CertifyMessage::Polka(polka) => 100 * polka.signatures.len(),
        CertifyMessage::RoundProof(proof) => 150 * proof.votes.len(),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::certify::signed::SignedVote;

    #[test]
    fn what_comes_early_is_bounded() {
        let (peer, other) = (AuthorKey([1; 32]), AuthorKey([2; 32]));
        let vote = |height| {
            CertifyMessage::Vote(SignedVote {
                height: Height(height),
                round: 0,
                precommit: false,
                value: None,
                by: peer,
                signature: [0; 64],
            })
        };
        let mut peers = Peers::default();
        peers.insert(peer);
        for _ in 0..MAX_EARLY {
            peers.keep(peer, Height(5), vote(5));
            peers.keep(other, Height(5), vote(5));
        }
        peers.keep(peer, Height(6), vote(6));
        assert_eq!(peers.early_voters(Height(5)).count(), 1);
        assert_eq!(peers.early_voters(Height(6)).count(), 0);
        assert_eq!(peers.take(Height(5)).len(), MAX_EARLY);
        peers.keep(peer, Height(6), vote(6));
        assert_eq!(peers.take(Height(5)).len(), 0);
        assert_eq!(peers.take(Height(6)).len(), 1);
    }
}
