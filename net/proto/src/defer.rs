//! Putting off what comes of authors that have used up their quota.
//!
//! Their events wait on a shelf, from where the store gets them as the quota allows. Of who has something on
//! it, or is in debt, no more is asked for, so nothing comes twice that had room. What others write on top
//! of that waits in the store's pool, where it is checked: anybody can make an event that is none, and have
//! it follow whatever waits. A peer that has sent such events is not asked for their authors' for a while.

use std::collections::{BTreeMap, BTreeSet};

use quipu_merge::{AuthorKey, Event, EventId, ParsedEvent};

use crate::frontier::{Frontier, Placed};
use crate::limits::{HELD_UP, MAX_HELD_UP, RELEASE_EVERY};
use crate::message::Packet;
use crate::quota::{Meter, Quota};
use crate::shelf::{Shelf, Shelved};
use crate::task::{Outcome, Ticket};
use crate::time::Moment;
use crate::wire::{only_alike, shortened};

/// What is put off, and of whom.
#[derive(Debug)]
pub struct Deferring {
    pub meter: Meter,
    shelf: Shelf,
    /// When the shelf is looked through next, unless it is empty.
    look_at: Moment,
    /// Which peer has sent whose events that wait in the store's pool, and for how long it is not asked
    /// for more of them.
    held_up: BTreeMap<(AuthorKey, AuthorKey), Moment>,
    /// Until when it is likely that what waits does so for something that was put off.
    likely_until: Moment,
    /// What is being admitted, and which events of it are of authors with a quota.
    admitting: BTreeMap<Ticket, Vec<Note>>,
    charged: BTreeSet<EventId>,
    /// How many events were put off.
    count: u64,
}

/// An event that is being admitted.
#[derive(Clone, Copy, Debug)]
pub struct Note {
    author: AuthorKey,
    len: usize,
    /// Which event it is, where it was charged for.
    charged: Option<EventId>,
}

/// What has come, sorted.
#[derive(Debug, Default)]
pub struct Sorted {
    /// To be admitted now, in order.
    pub admit: Vec<Packet>,
    /// The same, for [`Deferring::admitting`].
    pub notes: Vec<Note>,
    /// Length of what is put off, in bytes.
    pub deferred_len: u64,
}

/// Some of what was put off and is to be admitted now, in order.
#[derive(Debug, Default)]
pub struct Released {
    pub packets: Vec<Packet>,
    /// Who has sent each.
    pub from: Vec<AuthorKey>,
    /// For [`Deferring::admitting`].
    pub notes: Vec<Note>,
}

impl Deferring {
    /// Nothing is put off.
    pub fn new(me: AuthorKey, quota: Option<Quota>) -> Self {
        Self {
            meter: Meter::new(me, quota),
            shelf: Shelf::default(),
            look_at: Moment::default(),
            held_up: BTreeMap::new(),
            likely_until: Moment::default(),
            admitting: BTreeMap::new(),
            charged: BTreeSet::new(),
            count: 0,
        }
    }

    /// How many events were put off so far.
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// How many events are on the shelf.
    pub fn waiting(&self) -> usize {
        self.shelf.count()
    }

    /// When the shelf is to be looked through.
    pub fn next(&self) -> Option<Moment> {
        (self.shelf.count() > 0).then_some(self.look_at)
    }

    /// A peer has sent events that it was asked for, none before what it follows. Puts off what has to
    /// wait.
    pub fn sort(&mut self, from: AuthorKey, packets: Vec<Packet>, now: Moment) -> Sorted {
        self.sort_by(from, packets, now, |_, _, _| true)
    }

    /// A peer has pushed an event. Where its author has used up much of the quota and an event before it
    /// is not here, that is not for this one to wait for: all of it comes by being asked for, in order.
    pub fn sort_pushed(
        &mut self,
        from: AuthorKey,
        packet: Packet,
        frontier: &Frontier,
        now: Moment,
    ) -> Sorted {
        self.sort_by(from, vec![packet], now, |this, event, low| {
            let here = |prev: EventId| {
                let tips = frontier.tips(event.author);
                let held = tips.iter().any(|tip| tip.id == prev);
                held || this.shelf.holds(prev) || this.charged.contains(&prev)
            };
            !low || event.prev.is_none_or(here)
        })
    }

    fn sort_by(
        &mut self,
        from: AuthorKey,
        packets: Vec<Packet>,
        now: Moment,
        may_wait: impl Fn(&Self, &Event, bool) -> bool,
    ) -> Sorted {
        if !self.meter.is_on() {
            return Sorted { admit: packets, ..Sorted::default() };
        }
        let mut sorted = Sorted::default();
        for packet in packets {
            let len = packet.len() as u64;
            match self.take(from, packet, now, &may_wait) {
                Some((packet, note)) => {
                    sorted.admit.push(packet);
                    sorted.notes.push(note);
                }
                None => sorted.deferred_len += len,
            }
        }
        sorted
    }

    /// Takes an event, or puts it off.
    fn take(
        &mut self,
        from: AuthorKey,
        packet: Packet,
        now: Moment,
        may_wait: impl Fn(&Self, &Event, bool) -> bool,
    ) -> Option<(Packet, Note)> {
        let Ok(parsed) = ParsedEvent::decode(&packet.event) else {
            // The store says what is wrong with it.
            return Some((packet, Note { author: from, len: 0, charged: None }));
        };
        let (id, event) = (parsed.id(), parsed.event());
        let author = event.author;
        if self.shelf.holds(id) {
            return None;
        }
        let waits = !self.meter.is_open(author, now)
            || event.prev.is_some_and(|prev| self.shelf.holds_of(author, prev));
        let may_wait = may_wait(self, event, self.meter.is_low(author, now));
        if !waits && may_wait {
            let note = charge(&mut self.meter, &mut self.charged, (id, author), packet.len(), now);
            return Some((packet, note));
        }
        if self.shelf.count() == 0 {
            self.look_at = now.after(RELEASE_EVERY);
        }
        self.likely_until = now.after(HELD_UP);
        self.count += 1;
        if may_wait {
            let follows = event.follows().collect();
            // What finds no room is found missing again by comparing.
            self.shelf.put(Shelved { id, author, follows, from, packet });
        }
        None
    }

    /// What was put off and may be taken by now.
    pub fn release(&mut self, now: Moment) -> Released {
        let mut released = Released::default();
        if self.next().is_none_or(|next| next > now) {
            return released;
        }
        self.look_at = now.after(RELEASE_EVERY);
        self.likely_until = now.after(HELD_UP);
        let (meter, charged) = (&mut self.meter, &mut self.charged);
        let notes = &mut released.notes;
        let taken = self.shelf.take(|event| {
            let open = meter.is_open(event.author, now);
            if open {
                let which = (event.id, event.author);
                notes.push(charge(meter, charged, which, event.packet.len(), now));
            }
            open
        });
        for event in taken {
            released.packets.push(event.packet);
            released.from.push(event.from);
        }
        released
    }

    /// Events are being admitted.
    pub fn admitting(&mut self, ticket: Ticket, notes: Vec<Note>) {
        if !notes.is_empty() {
            self.admitting.insert(ticket, notes);
        }
    }

    /// Events have been admitted, or could not be: then there are no outcomes. Of what was pulled from a peer it
    /// is known that nothing by the same author is missing.
    pub fn admitted(
        &mut self,
        ticket: Ticket,
        outcomes: &[Outcome],
        new: &[Placed],
        pulled_from: Option<AuthorKey>,
        now: Moment,
    ) {
        let notes = self.admitting.remove(&ticket).unwrap_or_default();
        for (at, Note { author, len, charged }) in notes.into_iter().enumerate() {
            let outcome = outcomes.get(at);
            if let Some(id) = charged {
                self.charged.remove(&id);
                if !matches!(outcome, Some(Outcome::Admitted | Outcome::Waits)) {
                    self.meter.give_back(author, len);
                }
            }
            if let Some(peer) = pulled_from
                && outcome == Some(&Outcome::Waits)
            {
                self.hold_up(peer, author, now);
            }
        }
        if !self.held_up.is_empty() && !new.is_empty() {
            let goes_on: BTreeSet<_> = new.iter().map(|placed| placed.author).collect();
            self.held_up.retain(|(_, author), _| !goes_on.contains(author));
        }
    }

    fn hold_up(&mut self, peer: AuthorKey, author: AuthorKey, now: Moment) {
        let of_peer = (peer, AuthorKey([0; 32]))..=(peer, AuthorKey([u8::MAX; 32]));
        if now >= self.likely_until {
            return;
        }
        if self.held_up.range(of_peer.clone()).count() >= MAX_HELD_UP {
            self.held_up.retain(|_, until| *until > now);
        }
        if self.held_up.range(of_peer).count() < MAX_HELD_UP {
            self.held_up.insert((peer, author), now.after(HELD_UP));
        }
    }

    /// Whether a peer has sent an author's events that wait for others, which were not asked for.
    pub fn is_held_up(&self, peer: AuthorKey, author: AuthorKey, now: Moment) -> bool {
        self.held_up.get(&(peer, author)).is_some_and(|until| *until > now)
    }

    /// Whether a peer is to be asked for nothing of an author now. Where nothing of the author is held, the
    /// peer may have told the first bytes of its key alone.
    pub fn leaves_out(&mut self, peer: AuthorKey, author: AuthorKey, now: Moment) -> bool {
        if !self.meter.is_on() {
            return false;
        }
        let author = self.in_full(peer, author);
        let put_off = self.shelf.has_of(author)
            || !self.meter.is_open(author, now)
            // It would take up the room that is left, and come once more if there is none.
            || self.shelf.is_filling() && self.meter.is_low(author, now);
        if put_off {
            self.likely_until = now.after(HELD_UP);
        }
        put_off || self.is_held_up(peer, author, now)
    }

    /// The author that is meant, where only the first bytes have been told.
    fn in_full(&self, peer: AuthorKey, author: AuthorKey) -> AuthorKey {
        if shortened(author) != author {
            return author;
        }
        let held_up = || {
            let of_peer =
                self.held_up.range((peer, author)..).take_while(|((of, _), _)| *of == peer);
            only_alike(author, of_peer.map(|((_, author), _)| author))
        };
        let like = self.meter.author_like(author).or_else(|| self.shelf.author_like(author));
        like.or_else(held_up).unwrap_or(author)
    }

    /// A peer is gone. What it has brought was not checked, and others have it if it is any good.
    pub fn leave(&mut self, peer: AuthorKey) {
        self.shelf.forget(peer);
        self.held_up.retain(|(of, _), _| *of != peer);
    }
}

/// An event of so many bytes is to be admitted.
fn charge(
    meter: &mut Meter,
    charged: &mut BTreeSet<EventId>,
    (id, author): (EventId, AuthorKey),
    len: usize,
    now: Moment,
) -> Note {
    let charged = meter.charge(author, len, now).then(|| {
        charged.insert(id);
        id
    });
    Note { author, len, charged }
}

#[cfg(test)]
mod tests;
