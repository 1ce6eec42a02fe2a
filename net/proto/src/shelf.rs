//! Events that a node has been sent and does not take yet.

use std::collections::{BTreeMap, VecDeque};

use quipu_merge::{AuthorKey, EventId};

use crate::limits::{MAX_SHELVED, MAX_SHELVED_LEN};
use crate::message::Packet;
use crate::wire::only_alike;

/// An event, and what it says of itself.
#[derive(Debug)]
pub struct Shelved {
    pub id: EventId,
    pub author: AuthorKey,
    /// What it follows directly.
    pub follows: Vec<EventId>,
    /// Who has sent it.
    pub from: AuthorKey,
    pub packet: Packet,
}

/// The events, in the order in which they came.
#[derive(Debug, Default)]
pub struct Shelf {
    events: VecDeque<Shelved>,
    /// Whose they are, by their ids.
    ids: BTreeMap<EventId, AuthorKey>,
    /// What of them is each author's.
    authors: BTreeMap<AuthorKey, Sum>,
    sum: Sum,
}

/// How many events, and their length in bytes.
#[derive(Clone, Copy, Debug, Default)]
struct Sum {
    count: usize,
    len: usize,
}

impl Sum {
    /// Whether there is room for another event, in one of so many parts of the shelf.
    const fn has_room(self, len: usize, part: usize) -> bool {
        self.count < MAX_SHELVED / part && self.len + len <= MAX_SHELVED_LEN / part
    }

    const fn add(&mut self, len: usize) {
        self.count += 1;
        self.len += len;
    }

    const fn take(&mut self, len: usize) {
        self.count -= 1;
        self.len -= len;
    }
}

impl Shelf {
    /// Puts an event up. Tells whether there is room for it.
    pub fn put(&mut self, event: Shelved) -> bool {
        let len = event.packet.len();
        let of_author = self.authors.get(&event.author).copied().unwrap_or_default();
        if !self.sum.has_room(len, 1) || !of_author.has_room(len, 2) {
            return false;
        }
        self.sum.add(len);
        self.authors.entry(event.author).or_default().add(len);
        self.ids.insert(event.id, event.author);
        self.events.push_back(event);
        true
    }

    /// Takes down, in order, those events that may be taken now and follow none that stays.
    pub fn take(&mut self, mut may: impl FnMut(&Shelved) -> bool) -> Vec<Shelved> {
        let mut taken = Vec::new();
        for event in std::mem::take(&mut self.events) {
            if !event.follows.iter().any(|id| self.holds(*id)) && may(&event) {
                self.note_gone(&event);
                taken.push(event);
            } else {
                self.events.push_back(event);
            }
        }
        taken
    }

    /// Forgets what a peer has sent.
    pub fn forget(&mut self, from: AuthorKey) {
        for event in std::mem::take(&mut self.events) {
            if event.from == from {
                self.note_gone(&event);
            } else {
                self.events.push_back(event);
            }
        }
    }

    fn note_gone(&mut self, event: &Shelved) {
        self.ids.remove(&event.id);
        let len = event.packet.len();
        self.sum.take(len);
        if let Some(of_author) = self.authors.get_mut(&event.author) {
            of_author.take(len);
            if of_author.count == 0 {
                self.authors.remove(&event.author);
            }
        }
    }

    /// Whether an event is on it.
    pub fn holds(&self, id: EventId) -> bool {
        self.ids.contains_key(&id)
    }

    /// Whether it is on it as an author's.
    pub fn holds_of(&self, author: AuthorKey, id: EventId) -> bool {
        self.ids.get(&id) == Some(&author)
    }

    /// Whether events of an author are on it.
    pub fn has_of(&self, author: AuthorKey) -> bool {
        self.authors.contains_key(&author)
    }

    /// The author with events on it whose key starts so.
    pub fn author_like(&self, short: AuthorKey) -> Option<AuthorKey> {
        only_alike(short, self.authors.range(short..).map(|(author, _)| author))
    }

    /// How many events there are.
    pub fn count(&self) -> usize {
        self.events.len()
    }

    /// Whether a quarter of its room, or more, is taken.
    pub const fn is_filling(&self) -> bool {
        !self.sum.has_room(0, 4)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: usize) -> EventId {
        EventId(*blake3::hash(&number.to_be_bytes()).as_bytes())
    }

    /// An event that follows the one before it.
    fn event(number: usize, author: u8, len: usize) -> Shelved {
        let packet = Packet { event: vec![0; len], body: Vec::new(), openings: Vec::new() };
        let (author, from) = (AuthorKey([author; 32]), AuthorKey([author + 100; 32]));
        Shelved { id: id(number), author, follows: vec![id(number - 1)], from, packet }
    }

    #[test]
    fn the_shelf_is_bounded_and_nobody_has_all_of_it() {
        for len in [1, 1_000, 100_000] {
            let mut shelf = Shelf::default();
            let mut put = |author: u8| {
                let first = usize::from(author) << 20;
                let room = |number: &usize| shelf.put(event(*number, author, len));
                (first + 1..).take_while(room).count()
            };
            let [first, second, third] = [1, 2, 3].map(&mut put);
            assert!(first == second && third <= 1, "{first} {second} {third}");
            assert!(shelf.is_filling());
            let all = first + second + third;
            assert!(all <= MAX_SHELVED && all * len <= MAX_SHELVED_LEN);
            assert_eq!(shelf.take(|_| true).len(), all);
            assert!(shelf.count() == 0 && shelf.authors.is_empty() && shelf.ids.is_empty());
            assert_eq!((shelf.sum.count, shelf.sum.len), (0, 0));
        }
    }

    #[test]
    fn what_follows_something_that_stays_stays() {
        let mut shelf = Shelf::default();
        // The third to sixth are each other's followers; the fourth is another author's.
        for (number, author) in [(3, 1), (4, 2), (5, 1), (6, 1)] {
            assert!(shelf.put(event(number, author, 100)));
        }
        let mut left = 1;
        let mut may = |event: &Shelved| {
            let may = event.author == AuthorKey([2; 32]) || left > 0;
            left -= i32::from(event.author == AuthorKey([1; 32]));
            may
        };
        let taken: Vec<_> = shelf.take(&mut may).into_iter().map(|event| event.id).collect();
        assert_eq!(taken, [id(3), id(4)]);
        assert!(shelf.holds(id(5)) && shelf.has_of(AuthorKey([1; 32])));
        // What another peer has brought stays.
        assert!(shelf.put(event(9, 2, 100)));
        shelf.forget(AuthorKey([101; 32]));
        assert!(shelf.count() == 1 && shelf.holds(id(9)));
    }
}
