//! The peers of a node, and when there is something to do for which of them.

use std::collections::{BTreeMap, BTreeSet};

use quipu_merge::AuthorKey;

use crate::limits::MAX_STALLED;
use crate::peer::Peer;
use crate::time::Moment;

/// The peers, by their keys. Whoever has been changed is looked at once more, and so is everybody whose
/// time has come; the others cost nothing.
#[derive(Debug, Default)]
pub struct Peers {
    peers: BTreeMap<AuthorKey, Peer>,
    changed: BTreeSet<AuthorKey>,
    /// When there is something to do for whom, and the same by key.
    due: BTreeSet<(Moment, AuthorKey)>,
    due_of: BTreeMap<AuthorKey, Moment>,
    /// Those that were asked for events and have gone without sending any.
    stalled: BTreeSet<AuthorKey>,
}

impl Peers {
    pub fn get(&self, key: &AuthorKey) -> Option<&Peer> {
        self.peers.get(key)
    }

    /// A peer that is to be changed.
    pub fn get_mut(&mut self, key: &AuthorKey) -> Option<&mut Peer> {
        let peer = self.peers.get_mut(key)?;
        self.changed.insert(*key);
        Some(peer)
    }

    /// A peer to be noted something of that leads to nothing.
    pub fn note(&mut self, key: &AuthorKey) -> Option<&mut Peer> {
        self.peers.get_mut(key)
    }

    /// All peers, to be noted something of that leads to nothing.
    pub fn note_all(&mut self) -> impl Iterator<Item = (&AuthorKey, &mut Peer)> {
        self.peers.iter_mut()
    }

    /// All peers, which are to be changed.
    pub fn all_mut(&mut self) -> impl Iterator<Item = (&AuthorKey, &mut Peer)> {
        self.changed.extend(self.peers.keys());
        self.peers.iter_mut()
    }

    pub fn iter(&self) -> impl Iterator<Item = (&AuthorKey, &Peer)> {
        self.peers.iter()
    }

    pub fn insert(&mut self, key: AuthorKey, mut peer: Peer) {
        self.changed.insert(key);
        if self.stalled.remove(&key) {
            peer.pulling.went_before();
        }
        self.peers.insert(key, peer);
    }

    pub fn remove(&mut self, key: &AuthorKey) -> Option<Peer> {
        self.changed.remove(key);
        self.unschedule(key);
        let peer = self.peers.remove(key)?;
        if peer.pulling.is_stalled() {
            if self.stalled.len() >= MAX_STALLED {
                self.stalled.pop_first();
            }
            self.stalled.insert(*key);
        }
        Some(peer)
    }

    /// Whom to look at now, until all have been looked at.
    pub fn pop_due(&mut self, now: Moment) -> Option<AuthorKey> {
        let due = || self.due.first().filter(|(due, _)| *due <= now).map(|(_, key)| *key);
        let key = self.changed.first().copied().or_else(due)?;
        self.changed.remove(&key);
        self.unschedule(&key);
        Some(key)
    }

    /// A peer has been looked at: what there is to do for it next has its time.
    pub fn schedule(&mut self, key: AuthorKey, now: Moment) {
        let Some(peer) = self.peers.get(&key) else { return };
        self.changed.remove(&key);
        let due = peer.due().max(Moment(now.0.saturating_add(1)));
        self.due.insert((due, key));
        self.due_of.insert(key, due);
    }

    fn unschedule(&mut self, key: &AuthorKey) {
        if let Some(due) = self.due_of.remove(key) {
            self.due.remove(&(due, *key));
        }
    }

    /// When there is something to do for one of them.
    pub fn next(&self) -> Option<Moment> {
        self.due.first().map(|(due, _)| *due)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_gone_without_sending_is_remembered_for_a_while() {
        let mut peers = Peers::default();
        let me = AuthorKey([9; 32]);
        for number in 0..10_000_u64 {
            let key = AuthorKey(*blake3::hash(&number.to_be_bytes()).as_bytes());
            let peer = || Peer::new(me, key, Moment(0));
            peers.insert(key, peer());
            assert!(!peers.get(&key).unwrap().pulling.is_stalled());
            peers.get_mut(&key).unwrap().pulling.went_before();
            peers.remove(&key);
            peers.insert(key, peer());
            assert!(peers.get(&key).unwrap().pulling.is_stalled());
            peers.remove(&key);
        }
        assert_eq!(peers.stalled.len(), MAX_STALLED);
    }
}
