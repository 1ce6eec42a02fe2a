//! Getting values that did not come along with their events, from whoever has them.
//!
//! The store lists what it lacks: openings that were left out, and blocks of long values. Each is asked
//! of one peer at a time, several peers are asked at once, and what one does not have is asked of
//! another.

use std::collections::{BTreeMap, BTreeSet};

use quipu_merge::{AuthorKey, BlockId};

use crate::limits::{
    LIST_EVERY, MAX_ASKED, MAX_SILENT, MAX_TAKING_LEN, MAX_VALUE_LEN, MAX_WANTED, PATIENCE, PEACE,
    RETRY_EVERY,
};
use crate::message::{Ask, Given, Item, Message};
use crate::score::Misbehaviour;
use crate::task::{Task, Ticket, ValuePlace};
use crate::time::Moment;

/// What is wanted of values, and of whom it is asked.
#[derive(Debug, Default)]
pub struct Values {
    wanted: BTreeMap<Item, Wanted>,
    asked: BTreeMap<AuthorKey, Asked>,
    /// What has come and waits for the store, with its length in bytes.
    taking: BTreeMap<Item, usize>,
    /// Length of that and of what is being asked for, in bytes: as long as it may be.
    len: usize,
    /// Whether somebody was not asked for all that there is, because that would be too long. Everybody is
    /// looked at when there is room for a whole question.
    held_back: bool,
    /// Those that did not answer in time are left in peace for a while.
    slow: BTreeMap<AuthorKey, Moment>,
    /// How many of their answers may still come.
    late: BTreeMap<AuthorKey, usize>,
    /// Who may have become somebody to ask since that was looked at.
    look_at: LookAt,
    requests: u64,
    listing: Listing,
    /// The store may lack more than it is listing.
    again: bool,
    list_at: Moment,
    /// When what nobody had is asked for again.
    retry_at: Option<Moment>,
    /// Nothing is asked for until then: the store could not take something in.
    paused_until: Option<Moment>,
}

/// Whom to look at.
#[derive(Debug, Default)]
enum LookAt {
    #[default]
    Nobody,
    One(AuthorKey),
    All,
}

impl LookAt {
    fn add(&mut self, peer: AuthorKey) {
        *self = match self {
            Self::Nobody => Self::One(peer),
            Self::One(other) if *other == peer => return,
            _ => Self::All,
        };
    }
}

#[derive(Debug, Default)]
struct Wanted {
    asked: bool,
    /// Those that do not have it.
    without: BTreeSet<AuthorKey>,
    /// Those that have not answered, or have gone before: others are asked before them, so that nobody
    /// keeps it to itself by coming and going.
    silent: BTreeSet<AuthorKey>,
}

impl Wanted {
    fn may_be_asked_of(&self, peer: AuthorKey) -> bool {
        !self.asked && !self.without.contains(&peer) && !self.silent.contains(&peer)
    }
}

/// What a peer is being asked for.
#[derive(Debug)]
struct Asked {
    request: u64,
    /// What it has not answered, the next one last.
    left: Vec<Item>,
    deadline: Moment,
}

/// How far the store has listed what it lacks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Listing {
    /// To the end.
    #[default]
    Done,
    /// Up to here.
    UpTo(Option<ValuePlace>),
    /// It is being asked.
    Asked(Ticket),
}

impl Values {
    /// The store may lack more than it did.
    pub const fn look(&mut self) {
        match self.listing {
            Listing::Done => self.listing = Listing::UpTo(None),
            Listing::UpTo(None) => {}
            Listing::UpTo(Some(_)) | Listing::Asked(_) => self.again = true,
        }
    }

    /// Asks the store what it lacks, where there is room for it.
    pub fn list(&mut self, ticket: impl FnOnce() -> Ticket, now: Moment) -> Option<Task> {
        let Listing::UpTo(after) = self.listing else { return None };
        if now < self.list_at || self.wanted.len() >= MAX_WANTED {
            return None;
        }
        self.list_at = now.after(LIST_EVERY);
        let ticket = ticket();
        self.listing = Listing::Asked(ticket);
        Some(Task::Lacking { ticket, after, limit: MAX_WANTED })
    }

    /// The store has listed some of what it lacks.
    pub fn listed(&mut self, items: Vec<Item>, next: Option<ValuePlace>) {
        self.listing = match next {
            Some(_) => Listing::UpTo(next),
            None if std::mem::take(&mut self.again) => Listing::UpTo(None),
            None => Listing::Done,
        };
        for item in items {
            self.wanted.entry(item).or_default();
        }
        self.look_at = LookAt::All;
    }

    /// The store could not list it: it is asked again later.
    pub fn not_listed(&mut self, now: Moment) {
        self.listing = Listing::UpTo(None);
        self.list_at = now.after(RETRY_EVERY);
    }

    /// How much is known to be wanted.
    pub fn lacking(&self) -> usize {
        self.wanted.len()
    }

    /// Whether all has been listed, and of what is wanted nothing is under way, or to be had of one of
    /// these.
    pub fn are_settled(&self, peers: impl Iterator<Item = AuthorKey>) -> bool {
        if self.listing != Listing::Done || self.again || self.paused_until.is_some() {
            return false;
        }
        let mut wanted = self.wanted.values();
        let peers: Vec<_> = peers.filter(|peer| !self.slow.contains_key(peer)).collect();
        wanted.all(|wanted| !wanted.asked && peers.iter().all(|peer| wanted.without.contains(peer)))
    }

    /// Asks peers that are not being asked yet.
    pub fn ask(
        &mut self,
        peers: impl Iterator<Item = AuthorKey>,
        now: Moment,
    ) -> Vec<(AuthorKey, Message)> {
        let mut messages = Vec::new();
        if self.paused_until.is_some() {
            return messages;
        }
        if self.held_back && self.len + MAX_ASKED * MAX_VALUE_LEN <= MAX_TAKING_LEN {
            self.held_back = false;
            self.look_at = LookAt::All;
        }
        let look_at = std::mem::take(&mut self.look_at);
        let (one, all) = match look_at {
            LookAt::Nobody => return messages,
            LookAt::One(peer) => (Some(peer), None),
            LookAt::All => (None, Some(peers)),
        };
        for peer in one.into_iter().chain(all.into_iter().flatten()) {
            if self.asked.contains_key(&peer) || self.slow.contains_key(&peer) {
                continue;
            }
            let open = self.wanted.iter_mut();
            let open = open.filter(|(_, wanted)| wanted.may_be_asked_of(peer));
            let mut items: Vec<_> = Vec::new();
            for (item, wanted) in open.take(MAX_ASKED) {
                if self.len + item.max_len() > MAX_TAKING_LEN {
                    self.held_back = true;
                    break;
                }
                self.len += item.max_len();
                wanted.asked = true;
                items.push(*item);
            }
            if items.is_empty() {
                continue;
            }
            self.requests += 1;
            let request = self.requests;
            messages.push((peer, Message::Ask(Ask { request, items: items.clone() })));
            items.reverse();
            let deadline = now.after(PATIENCE);
            self.asked.insert(peer, Asked { request, left: items, deadline });
        }
        if !self.wanted.is_empty() && self.retry_at.is_none() {
            self.retry_at = Some(now.after(RETRY_EVERY));
        }
        messages
    }

    /// A peer has answered the next of what it was asked. Gives what it has.
    pub fn given(
        &mut self,
        peer: AuthorKey,
        given: Given,
        now: Moment,
    ) -> Result<Option<(Item, Vec<u8>)>, Misbehaviour> {
        let asked = self.asked.get_mut(&peer).filter(|asked| asked.request == given.request);
        let Some(asked) = asked else {
            // It was asked before, and took too long.
            let late = self.late.get_mut(&peer).filter(|late| **late > 0);
            let late = late.filter(|_| given.request <= self.requests);
            let late = late.ok_or(Misbehaviour::Unasked)?;
            *late -= 1;
            if *late == 0 && self.slow.remove(&peer).is_some() {
                // It was held up.
                self.look_at.add(peer);
            }
            return Ok(None);
        };
        asked.deadline = now.after(PATIENCE);
        let Some(item) = asked.left.pop() else { return Err(Misbehaviour::Unasked) };
        self.len -= item.max_len();
        if asked.left.is_empty() {
            self.asked.remove(&peer);
            self.look_at.add(peer);
        }
        let Some(bytes) = given.bytes else {
            if let Some(wanted) = self.wanted.get_mut(&item) {
                wanted.without.insert(peer);
            }
            self.set_free(item);
            return Ok(None);
        };
        let bogus = matches!(item, Item::Block(id) if BlockId::of(id.codec, &bytes) != id);
        if bogus || bytes.len() > item.max_len() {
            self.set_free(item);
            return Err(Misbehaviour::Bogus);
        }
        self.len += bytes.len();
        self.taking.insert(item, bytes.len());
        Ok(Some((item, bytes.into())))
    }

    /// A peer has got what it did not have.
    pub fn got(&mut self, peer: AuthorKey, item: Item) {
        if let Some(wanted) = self.wanted.get_mut(&item)
            && wanted.without.remove(&peer)
        {
            self.look_at.add(peer);
        }
    }

    /// The store has taken something in, or not. What it lists is looked for.
    pub fn taken(&mut self, item: Item, taken: bool) {
        self.make_room(item);
        if taken {
            self.wanted.remove(&item);
            if let Item::Block(id) = item
                && id.codec == quipu_merge::Codec::Raw
            {
                return;
            }
            self.look();
        } else {
            self.set_free(item);
        }
    }

    /// The store could not take something in: its disk is full, say.
    pub fn pause(&mut self, item: Item, now: Moment) {
        self.paused_until = Some(now.after(RETRY_EVERY));
        self.make_room(item);
        self.set_free(item);
    }

    /// Something waits for the store no longer.
    fn make_room(&mut self, item: Item) {
        self.len -= self.taking.remove(&item).unwrap_or(0);
    }

    /// A peer is there.
    pub fn join(&mut self, peer: AuthorKey) {
        self.look_at.add(peer);
    }

    /// A peer is gone. What it did not have, or did not answer in time, may be had of it when it is back: of the
    /// former it no longer says when it comes.
    pub fn leave(&mut self, peer: AuthorKey) {
        self.late.remove(&peer);
        self.slow.remove(&peer);
        for wanted in self.wanted.values_mut() {
            wanted.without.remove(&peer);
        }
        for item in self.asked.remove(&peer).into_iter().flat_map(|asked| asked.left) {
            self.is_not_answered(item, peer);
        }
        if matches!(self.look_at, LookAt::One(one) if one == peer) {
            self.look_at = LookAt::Nobody;
        }
    }

    fn is_not_answered(&mut self, item: Item, peer: AuthorKey) {
        self.len -= item.max_len();
        if let Some(wanted) = self.wanted.get_mut(&item)
            && wanted.silent.len() < MAX_SILENT
        {
            wanted.silent.insert(peer);
        }
        self.set_free(item);
    }

    fn set_free(&mut self, item: Item) {
        if let Some(wanted) = self.wanted.get_mut(&item) {
            wanted.asked = false;
            self.look_at = LookAt::All;
        }
    }

    /// Gives up waiting for those that do not answer, and asks again for what nobody had.
    pub fn give_up(&mut self, now: Moment) {
        let slow = self.asked.iter().filter(|(_, asked)| asked.deadline <= now);
        for peer in slow.map(|(peer, _)| *peer).collect::<Vec<_>>() {
            let left = self.asked.remove(&peer).map(|asked| asked.left).unwrap_or_default();
            *self.late.entry(peer).or_default() += left.len();
            for item in left {
                self.is_not_answered(item, peer);
            }
            self.slow.insert(peer, now.after(PEACE));
        }
        let slow = self.slow.len();
        self.slow.retain(|_, until| *until > now);
        if self.slow.len() < slow {
            self.look_at = LookAt::All;
        }
        self.paused_until = self.paused_until.filter(|until| *until > now);
        if self.retry_at.is_some_and(|at| at <= now) {
            self.retry_at = None;
            // Somebody may have got it meanwhile, or it may no longer be lacking.
            self.wanted.retain(|_, wanted| wanted.asked);
            self.wanted.values_mut().for_each(|wanted| wanted.without.clear());
            self.look();
        }
    }

    /// When something is due.
    pub fn next(&self) -> Option<Moment> {
        let list = matches!(self.listing, Listing::UpTo(_)) && self.wanted.len() < MAX_WANTED;
        let list = list.then_some(self.list_at);
        let asked = self.asked.values().map(|asked| asked.deadline);
        asked.chain(list).chain(self.retry_at).chain(self.paused_until).min()
    }
}

#[cfg(test)]
mod tests;
