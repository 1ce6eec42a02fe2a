//! Telling peers who else is there, and where. What a node knows goes to whoever asks, and only then.

use std::collections::BTreeMap;
use std::ops::Bound;

use quipu_merge::AuthorKey;

use crate::limits::{
    ASK_PEERS_EVERY, ASK_PEERS_RATE, MAX_KNOWN, MAX_PLACES, MAX_PLACES_LEN, MAX_TOLD_PEERS,
};
use crate::message::{KnownPeer, Message, Peers, Version, is_place};
use crate::rate::Bucket;
use crate::score::Misbehaviour;
use crate::time::Moment;

/// From this version on, peers tell whom they know.
const SINCE: Version = Version { major: 1, minor: 1 };

/// Who is known, and where.
#[derive(Debug, Default)]
pub struct Addresses {
    known: BTreeMap<AuthorKey, Vec<String>>,
}

/// What is exchanged of that with one peer.
#[derive(Debug, Default)]
pub struct Introductions {
    /// When to ask it, if it understands that.
    ask_at: Option<Moment>,
    /// So many answers of its may come.
    due: u32,
    /// How often it asks.
    asks: Bucket,
    /// Whom it has been told of last.
    told: Option<AuthorKey>,
}

impl Addresses {
    /// Sets who is known. What is too much, or is no place, is passed over.
    pub fn set(&mut self, known: Vec<(AuthorKey, Vec<String>)>) {
        let known = known.into_iter().take(MAX_KNOWN).map(|(key, mut places)| {
            places.retain(|place| is_place(place));
            places.truncate(MAX_PLACES);
            (key, places)
        });
        self.known = known.filter(|(_, places)| !places.is_empty()).collect();
    }

    fn entry(&self, key: AuthorKey) -> Option<KnownPeer> {
        let places = self.known.get(&key)?.clone();
        Some(KnownPeer { key, places })
    }

    /// Those after one, and then those up to it.
    fn after(&self, last: Option<AuthorKey>) -> impl Iterator<Item = AuthorKey> + '_ {
        let from = last.map_or(Bound::Unbounded, Bound::Excluded);
        let rest = last.map(|last| self.known.range(..=last));
        let all = self.known.range((from, Bound::Unbounded)).chain(rest.into_iter().flatten());
        all.map(|(key, _)| *key)
    }
}

impl Introductions {
    /// The peer has greeted.
    pub fn greeted(&mut self, version: Version, now: Moment) {
        self.ask_at = (version >= SINCE).then_some(now);
    }

    /// When to ask it.
    pub const fn ask_at(&self) -> Option<Moment> {
        self.ask_at
    }

    /// Asks it, where that is due.
    pub fn ask(&mut self, now: Moment) -> Option<Message> {
        self.ask_at.filter(|at| *at <= now)?;
        self.ask_at = Some(now.after(ASK_PEERS_EVERY));
        self.due = self.due.saturating_add(1);
        Some(Message::AskPeers)
    }

    /// It asks: it is told who answers, and of others in turn.
    pub fn asked(
        &mut self,
        (me, peer): (AuthorKey, AuthorKey),
        addresses: &Addresses,
        now: Moment,
    ) -> Result<Option<Message>, Misbehaviour> {
        if self.ask_at.is_none() {
            // In the version that is spoken, there is no such message.
            return Ok(None);
        }
        if !self.asks.take(ASK_PEERS_RATE, 1, now) {
            return Err(Misbehaviour::Flood);
        }
        let mut peers: Vec<_> = addresses.entry(me).into_iter().collect();
        let mut len: usize = peers.iter().map(KnownPeer::places_len).sum();
        let others = addresses.after(self.told).filter(|key| *key != me && *key != peer);
        for entry in others.filter_map(|key| addresses.entry(key)) {
            len += entry.places_len();
            if peers.len() >= MAX_TOLD_PEERS || len > MAX_PLACES_LEN {
                break;
            }
            self.told = Some(entry.key);
            peers.push(entry);
        }
        Ok(Some(Message::Peers(Peers { peers })))
    }

    /// It answers. Gives whom it knows beside the node itself.
    pub fn answered(
        &mut self,
        me: AuthorKey,
        peers: Peers,
    ) -> Result<Vec<(AuthorKey, Vec<String>)>, Misbehaviour> {
        if self.ask_at.is_none() {
            return Ok(Vec::new());
        }
        self.due = self.due.checked_sub(1).ok_or(Misbehaviour::Unasked)?;
        let others = peers.peers.into_iter().filter(|peer| peer.key != me);
        Ok(others.map(|peer| (peer.key, peer.places)).collect())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const ME: AuthorKey = AuthorKey([0; 32]);
    const PEER: AuthorKey = AuthorKey([255; 32]);

    fn key(number: u8) -> AuthorKey {
        AuthorKey([number; 32])
    }

    fn told(
        introductions: &mut Introductions,
        addresses: &Addresses,
        now: Moment,
    ) -> Result<Vec<u8>, Misbehaviour> {
        match introductions.asked((ME, PEER), addresses, now)? {
            Some(Message::Peers(peers)) => {
                Ok(peers.peers.iter().map(|peer| peer.key.0[0]).collect())
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_peer_is_told_of_all_in_turn() {
        let mut addresses = Addresses::default();
        let place = || vec!["host:1".to_owned()];
        addresses.set([0, 255].into_iter().chain(1..=100).map(|at| (key(at), place())).collect());
        let mut introductions = Introductions::default();
        introductions.greeted(SINCE, Moment(0));
        let mut next = || told(&mut introductions, &addresses, Moment(0)).unwrap();
        assert_eq!(next(), (0..=63).collect::<Vec<_>>());
        assert_eq!(next(), [0].into_iter().chain(64..=100).chain(1..=26).collect::<Vec<_>>());
    }

    #[test]
    fn what_is_no_place_or_too_much_is_not_told() {
        let mut addresses = Addresses::default();
        let long = |at: u8| vec![format!("{at:0254}:1"); 5];
        let mut known: Vec<_> = (3..=60).map(|at| (key(at), long(at))).collect();
        known.push((key(1), vec!["http://host:1".to_owned()]));
        known.push((key(2), vec!["host".to_owned(), "host:1".to_owned()]));
        addresses.set(known);
        let mut introductions = Introductions::default();
        introductions.greeted(SINCE, Moment(0));
        let message = introductions.asked((ME, PEER), &addresses, Moment(0)).unwrap().unwrap();
        let decoded = Message::decode(message.channel(), &message.encode());
        assert_eq!(decoded, Ok(Some(message.clone())));
        let Message::Peers(peers) = message else { panic!("{message:?}") };
        assert_eq!(peers.peers[0], KnownPeer { key: key(2), places: vec!["host:1".to_owned()] });
        assert_eq!(peers.peers.len(), 48);
        addresses.set((0..=254).cycle().take(10_000).map(|at| (key(at), long(at))).collect());
        assert_eq!(addresses.known.len(), 255);
    }

    #[test]
    fn who_asks_too_often_or_answers_unasked_is_found_out() {
        let addresses = Addresses::default();
        let mut introductions = Introductions::default();
        introductions.greeted(SINCE, Moment(0));
        // Some may have been held up on their way.
        for at in [0, 60, 120, 180, 180, 180, 180].map(Duration::from_secs) {
            assert_eq!(told(&mut introductions, &addresses, Moment(0).after(at)), Ok(Vec::new()));
        }
        let now = Moment(0).after(Duration::from_secs(181));
        assert_eq!(told(&mut introductions, &addresses, now), Err(Misbehaviour::Flood));
        let answer = || Peers { peers: vec![KnownPeer { key: ME, places: Vec::new() }] };
        assert_eq!(introductions.answered(ME, answer()), Err(Misbehaviour::Unasked));
        assert_eq!(introductions.ask(now), Some(Message::AskPeers));
        assert_eq!(introductions.ask(now), None);
        assert_eq!(introductions.answered(ME, answer()), Ok(Vec::new()));
        assert_eq!(introductions.answered(ME, answer()), Err(Misbehaviour::Unasked));
    }
}
