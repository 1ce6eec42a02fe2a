//! When to dial whom: each peer again and again, ever more seldom.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use quipu_merge::AuthorKey;

use super::address::PeerAddress;
use super::book::{KnownPeer, PeerBook};

/// How long it takes until a peer is dialled again: from the first of these, doubled with each failure,
/// up to the second; between half of that and all of it, so that nodes that failed together do not come
/// back together.
const FIRST: Duration = Duration::from_millis(250);
const LAST: Duration = Duration::from_secs(15);
/// So many peers are connected to that nobody asked for. The others are heard of through them.
const ENOUGH: usize = 12;
/// So many are dialled at once.
const AT_ONCE: usize = 8;
/// After so many failures, a peer that nobody asked for is forgotten.
const PATIENCE: u32 = 12;

/// Who is being dialled, and who is to be dialled when.
#[derive(Debug, Default)]
pub struct Dialling(BTreeMap<AuthorKey, Attempt>);

#[derive(Clone, Debug)]
struct Attempt {
    running: bool,
    failures: u32,
    next: Instant,
    why: String,
}

/// How it stands with dialling a peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Dialled {
    /// It is being dialled.
    Now,
    /// It could not be reached.
    Failed {
        /// When it is dialled again.
        again: Instant,
        /// Why it could not be reached.
        why: String,
    },
}

impl Dialling {
    /// Whom to dial now, of those that `may` be, and whoever is a `fellow` as those that are kept. They
    /// count as being dialled until told otherwise.
    pub fn due(
        &mut self,
        book: &PeerBook,
        connected: &BTreeSet<AuthorKey>,
        (may, fellow): (impl Fn(AuthorKey) -> bool, impl Fn(AuthorKey) -> bool),
        now: Instant,
    ) -> Vec<PeerAddress> {
        let mut room = AT_ONCE.saturating_sub(self.running());
        let mut enough = ENOUGH.saturating_sub(connected.len() + self.running());
        let mut chosen = Vec::new();
        let kept = |key: &AuthorKey, peer: &KnownPeer| peer.kept || fellow(*key);
        let kept_first = book
            .peers()
            .filter(|(key, peer)| kept(key, peer))
            .chain(book.peers().filter(|(key, peer)| !kept(key, peer)));
        for (key, peer) in kept_first {
            let is_kept = kept(&key, peer);
            let attempt = self.0.get(&key);
            let waits = attempt.is_some_and(|attempt| attempt.running || now < attempt.next);
            if room == 0
                || waits
                || !may(key)
                || connected.contains(&key)
                || (!is_kept && enough == 0)
            {
                continue;
            }
            let turn = attempt.map_or(0, |attempt| attempt.failures as usize);
            let Some(place) = peer.places.get(turn % peer.places.len().max(1)) else { continue };
            chosen.push(PeerAddress { key, place: place.clone() });
            room -= 1;
            enough = enough.saturating_sub(usize::from(!is_kept));
        }
        chosen.iter().for_each(|peer| self.begin(peer.key, now));
        chosen
    }

    /// A peer is being dialled.
    pub fn begin(&mut self, key: AuthorKey, now: Instant) {
        let fresh = Attempt { running: true, failures: 0, next: now, why: String::new() };
        self.0.entry(key).or_insert(fresh).running = true;
    }

    /// A peer is there. Whether that lasts is another question.
    pub fn reached(&mut self, key: AuthorKey) {
        if let Some(attempt) = self.0.get_mut(&key) {
            attempt.running = false;
        }
    }

    /// A peer could not be reached, or has gone. Tells whether it is time to forget it, where nobody
    /// asked for it.
    pub fn failed(&mut self, key: AuthorKey, why: String, now: Instant) -> bool {
        let failures = self.0.get(&key).map_or(0, |attempt| attempt.failures);
        let next = now + back_off(failures, random());
        let failures = failures.saturating_add(1);
        self.0.insert(key, Attempt { running: false, failures, next, why });
        failures >= PATIENCE
    }

    /// Nothing is known of a peer any more.
    pub fn forget(&mut self, key: AuthorKey) {
        self.0.remove(&key);
    }

    /// How it stands with a peer.
    pub fn of(&self, key: AuthorKey) -> Option<Dialled> {
        let attempt = self.0.get(&key)?;
        if attempt.running {
            return Some(Dialled::Now);
        }
        Some(Dialled::Failed { again: attempt.next, why: attempt.why.clone() })
    }

    fn running(&self) -> usize {
        self.0.values().filter(|attempt| attempt.running).count()
    }
}

/// How long to wait after so many failures; `dice` chooses within the range.
fn back_off(failures: u32, dice: u32) -> Duration {
    let most = FIRST.saturating_mul(1_u32.checked_shl(failures).unwrap_or(u32::MAX)).min(LAST);
    let half = most / 2;
    half + half.mul_f64(f64::from(dice) / f64::from(u32::MAX))
}

/// Without randomness nodes come back together, and nothing worse.
fn random() -> u32 {
    getrandom::u32().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_grows_to_a_limit_and_varies() {
        for (failures, most) in
            [(0, 250), (1, 500), (2, 1000), (6, 15_000), (31, 15_000), (99, 15_000)]
        {
            let most = Duration::from_millis(most);
            assert_eq!(back_off(failures, 0), most / 2);
            assert_eq!(back_off(failures, u32::MAX), most);
        }
    }

    #[test]
    fn kept_peers_come_first_and_each_place_has_its_turn() {
        let dir = tempfile::tempdir().unwrap();
        let mut book = PeerBook::open(dir.path()).unwrap();
        let key = |byte| AuthorKey([byte; 32]);
        let place =
            |port: u16| format!("h:{port}").parse::<super::super::address::Place>().unwrap();
        for byte in 1..=20 {
            book.heard(key(byte), &[place(u16::from(byte))]);
        }
        book.keep(key(20));
        book.heard(key(20), &[place(99)]);
        let mut dialling = Dialling::default();
        let (none, mut now) = (BTreeSet::new(), Instant::now());
        let first = dialling.due(&book, &none, (|_| true, |_| false), now);
        assert_eq!(first.len(), AT_ONCE);
        assert_eq!(first[0], PeerAddress { key: key(20), place: place(20) });
        assert_eq!(dialling.due(&book, &none, (|_| true, |_| false), now), []);
        for peer in &first {
            assert!(!dialling.failed(peer.key, "gone".to_owned(), now));
        }
        assert_eq!(dialling.of(key(1)).map(|dialled| dialled != Dialled::Now), Some(true));
        now += LAST;
        let second = dialling.due(&book, &none, (|_| true, |_| false), now);
        assert_eq!(second[0], PeerAddress { key: key(20), place: place(99) });
        // Nobody else is needed where enough are connected.
        let connected: BTreeSet<_> = (1..=12).map(key).collect();
        let mut dialling = Dialling::default();
        assert_eq!(dialling.due(&book, &connected, (|_| true, |_| false), now).len(), 1);
        // But with validators it is, if it is one.
        let fellow = |other| other == key(15) || other == key(16);
        let mut dialling = Dialling::default();
        assert_eq!(dialling.due(&book, &connected, (|_| true, fellow), now).len(), 3);
    }
}
