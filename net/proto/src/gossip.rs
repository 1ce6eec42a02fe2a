//! New events on their way to everybody: pushed along a tree, told of beside it.
//!
//! An event is pushed to the peers at the other end of a branch of the tree, and its id is told to the
//! others. Who is pushed an event twice takes the second peer off its tree; who is told of one that does
//! not come asks for it, and puts that peer on. So the tree finds itself, and mends itself (J. Leitão and
//! others, [Epidemic Broadcast Trees](https://asc.di.fct.unl.pt/~jleitao/pdf/srds07-leitao.pdf)). Only
//! what has been admitted is passed on, and the store is where it is fetched from again.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use quipu_merge::{AuthorKey, EventId};

use crate::limits::{MAX_ANNOUNCED_LEN, MAX_IDS, MAX_PROMISED, MAX_SEEN, PROMISE, TELL_EVERY};
use crate::message::{Ids, Message, Packet};
use crate::score::Misbehaviour;
use crate::time::Moment;

/// A message to a peer.
pub type ToPeer = (AuthorKey, Message);

/// The spreading of new events.
#[derive(Debug, Default)]
pub struct Gossip {
    links: BTreeMap<AuthorKey, Link>,
    seen: Seen,
    /// What peers have told of, until it has come.
    promises: BTreeMap<EventId, Promise>,
    /// The same, by when it is due.
    due: BTreeSet<(Moment, EventId)>,
    /// When the first peer is to be told of something, or earlier.
    tell_at: Option<Moment>,
}

#[derive(Debug)]
struct Link {
    /// Whether new events are pushed to it.
    on_tree: bool,
    /// What it is to be told of, and when.
    tell: Vec<EventId>,
    tell_at: Moment,
    /// How much it was the first to tell of that has not come.
    promised: usize,
    /// How much it has been told of and not asked for.
    told: u64,
}

#[derive(Debug)]
struct Promise {
    first: AuthorKey,
    /// Who has told of it, the first first.
    by: VecDeque<AuthorKey>,
    due: Moment,
}

impl Gossip {
    /// A peer is there.
    pub fn join(&mut self, peer: AuthorKey) {
        let (tell, tell_at) = (Vec::new(), Moment::default());
        self.links.insert(peer, Link { on_tree: true, tell, tell_at, promised: 0, told: 0 });
    }

    /// A peer is gone.
    pub fn leave(&mut self, peer: AuthorKey) {
        self.links.remove(&peer);
        let mut alone = Vec::new();
        for (id, promise) in &mut self.promises {
            promise.by.retain(|by| *by != peer);
            if promise.by.is_empty() {
                alone.push(*id);
            }
        }
        alone.into_iter().for_each(|id| self.settle(id));
    }

    /// What was told of has come, or nobody is left to ask for it.
    fn settle(&mut self, id: EventId) {
        if let Some(promise) = self.promises.remove(&id) {
            self.due.remove(&(promise.due, id));
            if let Some(link) = self.links.get_mut(&promise.first) {
                link.promised = link.promised.saturating_sub(1);
            }
        }
    }

    /// A peer has pushed an event. Tells whether it is new, as far as is known here. Where it is taken
    /// up, that is noted with [`Gossip::note`].
    pub fn pushed(&mut self, peer: AuthorKey, id: EventId) -> (bool, Option<ToPeer>) {
        self.settle(id);
        let first = self.seen.pushed_by(id, peer);
        // Another branch of the tree must lead here. An event that has come by synchronisation, which
        // now and then is faster, does not show one: without this peer the next would come late.
        let other = first.filter(|first| *first != peer).and_then(|first| self.links.get(&first));
        let others = other.is_some_and(|link| link.on_tree);
        let changed = self.set_on_tree(peer, !others);
        (first.is_none(), (others && changed).then_some((peer, Message::Prune)))
    }

    /// An event that was pushed has not been admitted: it may come again.
    pub fn forget(&mut self, id: EventId) {
        self.seen.remove(id);
    }

    /// An event has come, pushed by a peer or in another way: nobody needs to push it.
    pub fn note(&mut self, id: EventId, by: Option<AuthorKey>) {
        self.seen.insert(id, by);
        self.settle(id);
    }

    /// Spreads an event that is held now, to all but whom it came from.
    pub fn spread(&mut self, packet: &Packet, from: Option<AuthorKey>, now: Moment) -> Vec<ToPeer> {
        let id = packet.id();
        self.seen.insert(id, from);
        let short = packet.len() <= MAX_ANNOUNCED_LEN;
        let mut push = Vec::new();
        for (peer, link) in self.links.iter_mut().filter(|(peer, _)| Some(**peer) != from) {
            if link.on_tree && short {
                push.push((*peer, Message::Announce(packet.clone())));
            } else {
                link.tell(id, now);
                self.tell_at.get_or_insert(now.after(TELL_EVERY));
            }
        }
        push
    }

    /// Tells all peers of events that have come by another way, where there are few.
    pub fn tell(&mut self, events: &[EventId], from: Option<AuthorKey>, now: Moment) {
        for (_, link) in self.links.iter_mut().filter(|(peer, _)| Some(**peer) != from) {
            events.iter().for_each(|id| link.tell(*id, now));
            self.tell_at.get_or_insert(now.after(TELL_EVERY));
        }
    }

    /// A peer tells of events.
    pub fn told(&mut self, peer: AuthorKey, ids: &[EventId], now: Moment) {
        let Some(link) = self.links.get_mut(&peer) else { return };
        for &id in ids.iter().filter(|id| !self.seen.contains(**id)) {
            if let Some(promise) = self.promises.get_mut(&id) {
                if !promise.by.contains(&peer) {
                    promise.by.push_back(peer);
                }
            } else if link.promised < MAX_PROMISED {
                link.promised += 1;
                let due = now.after(PROMISE);
                self.due.insert((due, id));
                let by = VecDeque::from([peer]);
                self.promises.insert(id, Promise { first: peer, by, due });
            }
            // What is passed over comes by synchronisation.
        }
    }

    /// A peer wants new events pushed, or only told of.
    pub fn set_on_tree(&mut self, peer: AuthorKey, on_tree: bool) -> bool {
        self.links
            .get_mut(&peer)
            .is_some_and(|link| std::mem::replace(&mut link.on_tree, on_tree) != on_tree)
    }

    /// A peer asks for events and wants new ones pushed. What it was told of it asks for once.
    pub fn grafted(&mut self, peer: AuthorKey, events: usize) -> Result<(), Misbehaviour> {
        let Some(link) = self.links.get_mut(&peer) else { return Ok(()) };
        link.told = link.told.checked_sub(events as u64).ok_or(Misbehaviour::Flood)?;
        link.on_tree = true;
        Ok(())
    }

    /// What was told of and has not come in time. It is not overdue again for a while.
    pub fn overdue(&mut self, now: Moment) -> Vec<EventId> {
        let mut overdue = Vec::new();
        while overdue.len() < MAX_IDS
            && let Some((_, id)) = self.due.first().copied().filter(|(due, _)| *due <= now)
        {
            self.postpone(id, now);
            overdue.push(id);
        }
        overdue
    }

    fn postpone(&mut self, id: EventId, now: Moment) {
        if let Some(promise) = self.promises.get_mut(&id) {
            self.due.remove(&(promise.due, id));
            promise.due = now.after(PROMISE);
            self.due.insert((promise.due, id));
        }
    }

    /// Asks for what has not come in time and is not held, the next of those that told of it.
    pub fn graft(&mut self, asked: &[EventId], missing: &[EventId], now: Moment) -> Vec<ToPeer> {
        let missing: BTreeSet<_> = missing.iter().collect();
        let mut grafts: BTreeMap<AuthorKey, Vec<EventId>> = BTreeMap::new();
        for id in asked {
            let promise = self.promises.get_mut(id).filter(|_| missing.contains(id));
            match promise.and_then(|promise| promise.by.pop_front()) {
                Some(peer) => {
                    self.postpone(*id, now);
                    grafts.entry(peer).or_default().push(*id);
                }
                // It is here, or nobody is left to ask.
                None => self.settle(*id),
            }
        }
        let graft = |(peer, events)| {
            self.set_on_tree(peer, true);
            (peer, Message::Graft(Ids { events }))
        };
        grafts.into_iter().map(graft).collect()
    }

    /// What peers are to be told by now.
    pub fn tellings(&mut self, now: Moment) -> Vec<ToPeer> {
        let mut tellings = Vec::new();
        if self.tell_at.is_none_or(|at| at > now) {
            return tellings;
        }
        for (peer, link) in &mut self.links {
            if !link.tell.is_empty() && link.tell_at <= now {
                let events = std::mem::take(&mut link.tell);
                link.told += events.len() as u64;
                tellings.push((*peer, Message::Have(Ids { events })));
            }
        }
        let open = self.links.values().filter(|link| !link.tell.is_empty());
        self.tell_at = open.map(|link| link.tell_at).min();
        tellings
    }

    /// When something is due.
    pub fn next(&self) -> Option<Moment> {
        self.tell_at.into_iter().chain(self.due.first().map(|(due, _)| *due)).min()
    }
}

impl Link {
    fn tell(&mut self, id: EventId, now: Moment) {
        // What is too much for one message is found by comparing frontiers.
        if self.tell.len() < MAX_IDS {
            if self.tell.is_empty() {
                self.tell_at = now.after(TELL_EVERY);
            }
            self.tell.push(id);
        }
    }
}

/// The events that were seen lately.
#[derive(Debug, Default)]
struct Seen {
    /// In the order in which they were seen, by number. What has been removed is passed over.
    order: VecDeque<(u64, EventId)>,
    ids: BTreeMap<EventId, Sight>,
    last: u64,
}

#[derive(Debug)]
struct Sight {
    number: u64,
    /// The first peer that has pushed it, if one has.
    by: Option<AuthorKey>,
}

impl Seen {
    fn contains(&self, id: EventId) -> bool {
        self.ids.contains_key(&id)
    }

    /// Who was the first to push an event that was seen: this peer, where nobody was before.
    fn pushed_by(&mut self, id: EventId, peer: AuthorKey) -> Option<AuthorKey> {
        self.ids.get_mut(&id).map(|sight| *sight.by.get_or_insert(peer))
    }

    fn insert(&mut self, id: EventId, by: Option<AuthorKey>) {
        if self.contains(id) {
            return;
        }
        self.last += 1;
        self.ids.insert(id, Sight { number: self.last, by });
        self.order.push_back((self.last, id));
        if self.order.len() > MAX_SEEN
            && let Some((number, first)) = self.order.pop_front()
            && self.ids.get(&first).is_some_and(|sight| sight.number == number)
        {
            self.ids.remove(&first);
        }
    }

    fn remove(&mut self, id: EventId) {
        self.ids.remove(&id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_another_branch_takes_a_peer_off_the_tree() {
        let [ada, bob] = [1, 2].map(|number| AuthorKey([number; 32]));
        let id = |number: u8| EventId([number; 32]);
        let mut gossip = Gossip::default();
        [ada, bob].into_iter().for_each(|peer| gossip.join(peer));
        let prune = |peer| Some((peer, Message::Prune));
        // What has come by synchronisation before it is pushed shows no other way.
        gossip.note(id(1), None);
        assert_eq!(gossip.pushed(ada, id(1)), (false, None));
        // Nor does what the same peer pushes twice, say where a question for it has crossed it.
        assert_eq!(gossip.pushed(ada, id(1)), (false, None));
        assert_eq!(gossip.pushed(bob, id(1)), (false, prune(bob)));
        assert_eq!(gossip.pushed(bob, id(1)), (false, None));
        // Whoever is first with another one is on the tree again, and the other one goes.
        assert_eq!(gossip.pushed(bob, id(2)), (true, None));
        gossip.note(id(2), Some(bob));
        assert_eq!(gossip.pushed(ada, id(2)), (false, prune(ada)));
        // A peer that wants no pushes any more shows no way either.
        gossip.set_on_tree(bob, false);
        assert_eq!(gossip.pushed(ada, id(2)), (false, None));
        assert!(gossip.links[&ada].on_tree);
    }

    #[test]
    fn what_was_seen_is_bounded_and_forgotten_at_little_cost() {
        let id = |number: usize| EventId(*blake3::hash(&number.to_be_bytes()).as_bytes());
        let mut seen = Seen::default();
        (0..MAX_SEEN).for_each(|number| seen.insert(id(number), None));
        // Each of these would be a minute's work, were all that was seen looked through.
        for _ in 0..MAX_SEEN * 4 {
            seen.remove(id(7));
            assert!(!seen.contains(id(7)));
            seen.insert(id(7), None);
        }
        assert!(seen.contains(id(7)) && !seen.contains(id(8)));
        assert_eq!((seen.order.len(), seen.ids.len()), (MAX_SEEN, 1));
    }
}
