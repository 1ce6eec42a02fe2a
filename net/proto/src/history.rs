//! Getting what precedes the checkpoint that this replica has started from.
//!
//! It comes in the order of the certified log, from one peer at a time: the next part is asked for while the
//! store takes the one before. What a peer sends is known to be right when the next checkpoint certifies it;
//! what comes after that is dropped where something is wrong with it, and asked for again. Whoever alone has
//! sent it is found out; where several have, all are left in peace for a while, and the next one is asked.
//! Peers that are no strangers are asked first.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use quipu_merge::{AuthorKey, Height};

use crate::limits::{ASK_HISTORY_AGAIN, MAX_SHUNNED, PATIENCE, PEACE, RETRY_EVERY};
use crate::message::{AskHistory, HistoryItem, HistoryPart, Message};
use crate::score::Misbehaviour;
use crate::task::{HistoryEntry, Task, Ticket};
use crate::time::Moment;

/// What precedes a checkpoint and is to come.
#[derive(Debug, Default)]
pub struct History {
    goal: Option<Goal>,
    asked: Option<Asked>,
    /// What has come and waits for the store.
    came: Option<Came>,
    taking: Option<Taking>,
    /// Who has sent what no checkpoint has confirmed.
    unconfirmed: BTreeSet<AuthorKey>,
    /// Who is not asked for a while, and who never.
    left_alone: BTreeMap<AuthorKey, Moment>,
    shunned: BTreeSet<AuthorKey>,
    /// How many answers of whom may still come that are not waited for any more.
    late: BTreeMap<AuthorKey, usize>,
    /// Who was asked last, and whether the next one is to be asked now, if there is one.
    last: Option<AuthorKey>,
    moves_on: bool,
    /// Nobody is asked until then: the store could not take something in.
    paused_until: Option<Moment>,
}

#[derive(Debug)]
struct Goal {
    up_to: Height,
    /// The place of the next event that the store wants, and of the next to be asked for.
    next: u64,
    ask_from: u64,
    total: u64,
}

#[derive(Debug)]
struct Asked {
    peer: AuthorKey,
    from: u64,
    deadline: Moment,
}

#[derive(Debug)]
struct Came {
    peer: AuthorKey,
    from: u64,
    reached: u64,
    entries: Vec<HistoryEntry>,
}

#[derive(Debug)]
struct Taking {
    ticket: Ticket,
    peer: AuthorKey,
    /// The place of its first event, and that after its last.
    from: u64,
    reached: u64,
    /// Whether a checkpoint confirms what was sent before, and all of it.
    confirms: bool,
    confirms_all: bool,
}

impl History {
    /// The events of a checkpoint's cut are to come, of which the store has those before the `next` of the
    /// certified log.
    pub fn want(&mut self, up_to: Height, next: u64, total: u64) {
        self.drop_asked();
        (self.came, self.taking) = (None, None);
        // The store begins after a checkpoint.
        self.unconfirmed.clear();
        self.goal = Some(Goal { up_to, next, ask_from: next, total });
    }

    /// How many events the store has, and of how many; nothing where none are to come.
    pub fn progress(&self) -> Option<(u64, u64)> {
        self.goal.as_ref().map(|goal| (goal.next, goal.total))
    }

    /// Asks one of these peers for what comes next, where nobody is being asked: a stranger only if there is
    /// nobody else. Of each it is told whether it is one.
    pub fn ask(
        &mut self,
        peers: impl Iterator<Item = (AuthorKey, bool)>,
        now: Moment,
    ) -> Option<(AuthorKey, Message)> {
        let goal = self.goal.as_ref().filter(|goal| goal.ask_from < goal.total)?;
        if self.asked.is_some() || self.came.is_some() || self.paused_until.is_some() {
            return None;
        }
        let may =
            |peer: &AuthorKey| !self.shunned.contains(peer) && !self.left_alone.contains_key(peer);
        let (strangers, known): (BTreeSet<_>, BTreeSet<_>) =
            peers.filter(|(peer, _)| may(peer)).partition(|(_, stranger)| *stranger);
        let peers = if known.is_empty() { strangers } else { known };
        let peers: BTreeSet<_> = peers.into_iter().map(|(peer, _)| peer).collect();
        let moves_on = std::mem::take(&mut self.moves_on);
        let from = match self.last {
            None => Bound::Unbounded,
            Some(last) if moves_on => Bound::Excluded(last),
            Some(last) => Bound::Included(last),
        };
        let peer = *peers.range((from, Bound::Unbounded)).next().or_else(|| peers.first())?;
        let (from, up_to) = (goal.ask_from, goal.up_to);
        self.last = Some(peer);
        self.asked = Some(Asked { peer, from, deadline: now.after(PATIENCE) });
        Some((peer, Message::AskHistory(AskHistory { from, up_to })))
    }

    /// A peer has answered.
    pub fn came(
        &mut self,
        peer: AuthorKey,
        part: HistoryPart,
        now: Moment,
    ) -> Result<(), Misbehaviour> {
        let answers = |asked: &mut Asked| asked.peer == peer && asked.from == part.from;
        if self.asked.take_if(answers).is_none() {
            // It took too long, or something else was wanted meanwhile.
            let late = self.late.get_mut(&peer).filter(|late| **late > 0);
            *late.ok_or(Misbehaviour::Unasked)? -= 1;
            return Ok(());
        }
        let Some(goal) = &mut self.goal else { return Ok(()) };
        let Some(items) = part.items else {
            self.left_alone.insert(peer, now.after(ASK_HISTORY_AGAIN));
            return Ok(());
        };
        let Some((entries, reached)) = read(part.from, goal.total, items) else {
            self.shun(peer);
            return Err(Misbehaviour::BadHistory);
        };
        goal.ask_from = reached;
        self.came = Some(Came { peer, from: part.from, reached, entries });
        Ok(())
    }

    /// Has the store take what has come, where it is not at that.
    pub fn take(&mut self, ticket: impl FnOnce() -> Ticket) -> Option<Task> {
        if self.taking.is_some() {
            return None;
        }
        let Came { peer, from, reached, entries } = self.came.take()?;
        let ticket = ticket();
        let is_checkpoint = |entry: &HistoryEntry| matches!(entry, HistoryEntry::Checkpoint(_));
        let confirms = entries.iter().any(is_checkpoint);
        let confirms_all = entries.last().is_some_and(is_checkpoint);
        self.taking = Some(Taking { ticket, peer, from, reached, confirms, confirms_all });
        Some(Task::TakeHistory { ticket, from, entries })
    }

    /// The store has taken what came, or not all of it, and goes on from `next`. Tells who has certainly
    /// sent something false.
    pub fn taken(
        &mut self,
        ticket: Ticket,
        next: u64,
        good: bool,
        now: Moment,
    ) -> Option<AuthorKey> {
        let taking = self.taking.take_if(|taking| taking.ticket == ticket)?;
        let goal = self.goal.as_mut()?;
        goal.next = next;
        if good && next != taking.reached {
            // A failure before has cost it what was not confirmed.
            self.unconfirmed.clear();
            self.go_back();
            return None;
        }
        if good {
            if taking.confirms {
                self.unconfirmed.clear();
            }
            if !taking.confirms_all {
                self.unconfirmed.insert(taking.peer);
            }
            if next == goal.total {
                self.unconfirmed.clear();
            }
            return None;
        }
        if next >= taking.from {
            // All that came before is confirmed.
            self.unconfirmed.clear();
        }
        self.unconfirmed.insert(taking.peer);
        let suspects = std::mem::take(&mut self.unconfirmed);
        self.go_back();
        if suspects.len() == 1 {
            self.shun(taking.peer);
            return Some(taking.peer);
        }
        let until = now.after(PEACE);
        self.left_alone.extend(suspects.into_iter().map(|peer| (peer, until)));
        None
    }

    /// The store could not take it: its disk is full, say. It has dropped what no checkpoint has confirmed,
    /// and says where it is when it is offered something.
    pub fn pause(&mut self, ticket: Ticket, now: Moment) {
        if self.taking.take_if(|taking| taking.ticket == ticket).is_some() {
            self.unconfirmed.clear();
            // Where a peer sends more than there is room for, that need not be what is certified.
            self.moves_on = true;
            self.paused_until = Some(now.after(RETRY_EVERY));
            self.go_back();
        }
    }

    /// Goes on where the store is.
    fn go_back(&mut self) {
        self.drop_asked();
        self.came = None;
        if let Some(goal) = &mut self.goal {
            goal.ask_from = goal.next;
        }
    }

    /// What is being asked for is not wanted any more.
    fn drop_asked(&mut self) {
        if let Some(asked) = self.asked.take() {
            *self.late.entry(asked.peer).or_default() += 1;
        }
    }

    fn shun(&mut self, peer: AuthorKey) {
        if self.shunned.len() < MAX_SHUNNED {
            self.shunned.insert(peer);
        }
    }

    /// A peer is gone.
    pub fn leave(&mut self, peer: AuthorKey) {
        self.asked.take_if(|asked| asked.peer == peer);
        self.late.remove(&peer);
        self.left_alone.remove(&peer);
    }

    /// Gives up waiting for who does not answer, and looks at others again.
    pub fn give_up(&mut self, now: Moment) {
        if let Some(asked) = &self.asked
            && asked.deadline <= now
        {
            self.left_alone.insert(asked.peer, now.after(PEACE));
            self.drop_asked();
        }
        self.left_alone.retain(|_, until| *until > now);
        self.paused_until = self.paused_until.filter(|until| *until > now);
    }

    /// When something is due.
    pub fn next(&self) -> Option<Moment> {
        let goal = self.goal.as_ref()?;
        let waits = self.asked.is_none() && goal.ask_from < goal.total;
        let left_alone = self.left_alone.values().copied().filter(|_| waits);
        let asked = self.asked.as_ref().map(|asked| asked.deadline);
        left_alone.chain(asked).chain(self.paused_until).min()
    }
}

/// Reads what has come, the first event of which is at a place of the certified log, and tells the place
/// after the last. Nothing where it breaks the form: an event comes first, a checkpoint after as many events as
/// it certifies, and there are no more than there are to be.
fn read(from: u64, total: u64, items: Vec<HistoryItem>) -> Option<(Vec<HistoryEntry>, u64)> {
    let (mut reached, mut entries) = (from, Vec::with_capacity(items.len()));
    for item in items {
        entries.push(match item {
            HistoryItem::Event(packet) => {
                reached = reached.checked_add(1).filter(|reached| *reached <= total)?;
                HistoryEntry::Event(packet)
            }
            HistoryItem::Checkpoint(bytes) => {
                let certified = bytes.decode().ok()?;
                let size = certified.parts.checkpoint().size;
                if size != reached || reached == from {
                    return None;
                }
                HistoryEntry::Checkpoint(Box::new(certified))
            }
        });
    }
    (reached > from).then_some((entries, reached))
}

#[cfg(test)]
mod tests;
