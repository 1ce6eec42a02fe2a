//! Getting from one peer what it is ahead in.
//!
//! The store says what of an offer is missing, the peer sends it in an order that follows causality,
//! and no more of it is under way than has been admitted. What breaks off is found missing again by the
//! next comparison of frontiers, and goes on from there.

use std::collections::{BTreeMap, BTreeSet};

use quipu_merge::{AuthorKey, EventId};

use crate::frontier::{LaneTips, Tip};
use crate::limits::{
    MAX_LANES, MAX_OFFERED, MAX_PLANNED, MAX_PULL_LEN, MAX_SYNC_FRAME, PATIENCE, SILENCE, WINDOW,
};
use crate::message::{Batch, Credit, End, Message, Pull, Want};
use crate::score::Misbehaviour;
use crate::task::{Task, Ticket};
use crate::time::Moment;

/// What is to be got from one peer.
#[derive(Debug, Default)]
pub struct Pulling {
    /// What it has offered and was not asked for, and how many branches that are.
    offered: BTreeMap<AuthorKey, BTreeSet<Tip>>,
    branches: usize,
    state: State,
    last: u64,
    deadline: Moment,
    /// Whether nothing has come since one was given up because nothing came, or the peer went before it.
    stalled: bool,
    /// So many bytes may still come of pulls that were given up.
    late: u64,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    Idle,
    /// The store is asked about these.
    Planning(Ticket, Vec<LaneTips>),
    Running(Running),
}

/// A pull that the peer is answering.
#[derive(Debug)]
struct Running {
    pull: u64,
    /// What was promised and has not come.
    promised: BTreeSet<EventId>,
    /// Length of what has come and is not admitted, in bytes.
    pending: u64,
    /// Length of what of that is not being admitted for now, in bytes: the peer gets no credit for it.
    deferred: u64,
    admitting: BTreeMap<Ticket, u64>,
    /// Whether it asks for some branches of an author without others, which are asked of somebody else, or
    /// later.
    part: bool,
    /// Whether nothing has come yet.
    silent: bool,
    ended: bool,
    /// Whether the peer says that it has sent all.
    whole: bool,
}

/// What the end of a pull has come to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// All has come that was asked for.
    Whole,
    /// What the peer said it held has not come.
    Short,
    /// The peer could not go on.
    Broken,
}

impl Pulling {
    /// The peer is ahead in these. Tells whether there is room for all of them.
    pub fn offer(&mut self, lanes: Vec<LaneTips>) -> bool {
        let mut room = true;
        for lane in lanes.into_iter().filter(|lane| !lane.tips.is_empty()) {
            let offered = self.offered.entry(lane.author).or_default();
            for tip in lane.tips {
                if self.branches >= MAX_OFFERED && !offered.contains(&tip) {
                    room = false;
                } else if offered.insert(tip) {
                    self.branches += 1;
                }
            }
            if offered.is_empty() {
                self.offered.remove(&lane.author);
            }
        }
        room
    }

    /// Whether nothing is wanted or under way.
    pub fn is_idle(&self) -> bool {
        self.offered.is_empty() && matches!(self.state, State::Idle)
    }

    /// Forgets what is on offer of authors of whom nothing is to be asked for now. Tells whether there
    /// were any.
    pub fn leave_out(&mut self, mut leaves_out: impl FnMut(AuthorKey) -> bool) -> bool {
        let before = self.offered.len();
        if matches!(self.state, State::Idle) {
            self.offered.retain(|author, _| !leaves_out(*author));
        }
        self.offered.len() < before
    }

    /// Asks the store what of the offer is missing, where nothing is under way.
    pub fn plan(&mut self, ticket: impl FnOnce() -> Ticket) -> Option<Task> {
        if !matches!(self.state, State::Idle) || self.offered.is_empty() {
            return None;
        }
        let offered = self.take_offered();
        let ticket = ticket();
        self.state = State::Planning(ticket, offered.clone());
        Some(Task::Plan { ticket, offered })
    }

    /// As much of the offer as the store is asked about at once: of the last author, it may be a part.
    fn take_offered(&mut self) -> Vec<LaneTips> {
        let (mut lanes, mut room) = (Vec::new(), MAX_PLANNED);
        while room > 0
            && lanes.len() < MAX_LANES
            && let Some((author, mut tips)) = self.offered.pop_first()
        {
            let rest = tips.iter().nth(room).copied();
            if let Some(rest) = rest {
                self.offered.insert(author, tips.split_off(&rest));
            }
            room -= tips.len();
            self.branches -= tips.len();
            lanes.push(LaneTips { author, tips: tips.into_iter().collect() });
        }
        lanes
    }

    /// The store has said what is missing. `busy` is what others are being asked for. Gives what is
    /// to be sent, and tells whether that is all that is missing. What is too much for one message is
    /// planned once more.
    pub fn planned(
        &mut self,
        ticket: Ticket,
        mut wants: Vec<Want>,
        busy: &BTreeSet<EventId>,
        now: Moment,
    ) -> (Option<Pull>, bool) {
        if !matches!(self.state, State::Planning(planning, _) if planning == ticket) {
            return (None, true);
        }
        let State::Planning(_, offered) = std::mem::take(&mut self.state) else {
            return (None, true);
        };
        let mut all = true;
        let mut part = offered.iter().any(|lane| self.offered.contains_key(&lane.author));
        for want in &mut wants {
            let before = want.up_to.len();
            want.up_to.retain(|id| !busy.contains(id));
            let fewer = want.up_to.len() < before;
            all &= !fewer;
            part |= fewer && !want.up_to.is_empty();
        }
        wants.retain(|want| !want.up_to.is_empty());
        let later = wants.split_off(count_that_fits(&wants));
        self.put_back(offered, &later);
        if wants.is_empty() {
            return (None, all);
        }
        self.last += 1;
        self.deadline = now.after(PATIENCE);
        self.state = State::Running(Running {
            pull: self.last,
            promised: wants.iter().flat_map(|want| want.up_to.iter().copied()).collect(),
            pending: 0,
            deferred: 0,
            admitting: BTreeMap::new(),
            part,
            silent: true,
            ended: false,
            whole: false,
        });
        (Some(Pull { pull: self.last, wants }), all)
    }

    /// These are wanted, but not now.
    fn put_back(&mut self, offered: Vec<LaneTips>, later: &[Want]) {
        let later: BTreeSet<_> = later.iter().flat_map(|want| &want.up_to).collect();
        if later.is_empty() {
            return;
        }
        for mut lane in offered {
            lane.tips.retain(|tip| later.contains(&tip.id));
            // There was room for them before.
            self.offer(vec![lane]);
        }
    }

    /// Whether what is being admitted is of a pull that asks for all branches of each author that lack something:
    /// what waits then does so for another author.
    pub fn asks_for_all(&self, ticket: Ticket) -> bool {
        let State::Running(running) = &self.state else { return false };
        !running.part && running.admitting.contains_key(&ticket)
    }

    /// Whether the peer was asked for something and has sent nothing since.
    pub const fn is_stalled(&self) -> bool {
        self.stalled || matches!(&self.state, State::Running(running) if running.silent)
    }

    /// The peer did not send what it was asked for before it went.
    pub const fn went_before(&mut self) {
        self.stalled = true;
    }

    /// What the peer is being asked for, where it sends something: nobody keeps others from being asked for
    /// it by saying nothing.
    pub fn promised(&self, now: Moment) -> impl Iterator<Item = EventId> + '_ {
        let sends = !self.stalled && now.after(PATIENCE) < self.deadline.after(SILENCE);
        let running = match &self.state {
            State::Running(running) if sends || !running.admitting.is_empty() => Some(running),
            _ => None,
        };
        running.into_iter().flat_map(|running| running.promised.iter().copied())
    }

    /// Events have come: they are to be admitted.
    pub fn came(
        &mut self,
        batch: Batch,
        ticket: impl FnOnce() -> Ticket,
        now: Moment,
    ) -> Result<Option<Task>, Misbehaviour> {
        let len: u64 = batch.events.iter().map(|packet| packet.len() as u64).sum();
        let running = match &mut self.state {
            State::Running(running) if running.pull == batch.pull && !running.ended => running,
            // Of a pull that was given up.
            _ if batch.pull <= self.last => {
                self.late = self.late.checked_sub(len).ok_or(Misbehaviour::Unasked)?;
                return Ok(None);
            }
            _ => return Err(Misbehaviour::Unasked),
        };
        if running.pending + len > WINDOW + u64::from(MAX_SYNC_FRAME) || len == 0 {
            return Err(Misbehaviour::Unasked);
        }
        let ticket = ticket();
        running.pending += len;
        running.admitting.insert(ticket, len);
        running.silent = false;
        for packet in &batch.events {
            running.promised.remove(&packet.id());
        }
        self.deadline = now.after(PATIENCE);
        self.stalled = false;
        Ok(Some(Task::Admit { ticket, packets: batch.events }))
    }

    /// So many bytes of what has come are not admitted for now.
    pub fn defer(&mut self, ticket: Ticket, bytes: u64) {
        let State::Running(running) = &mut self.state else { return };
        let Some(left) = running.admitting.get_mut(&ticket) else { return };
        *left = left.saturating_sub(bytes);
        if *left == 0 {
            running.admitting.remove(&ticket);
        }
        running.deferred += bytes;
    }

    /// The peer has no more.
    pub fn ended(&mut self, end: End) -> Option<Ended> {
        if let State::Running(running) = &mut self.state
            && running.pull == end.pull
        {
            running.ended = true;
            running.silent = false;
            running.whole = end.whole;
        }
        self.finish()
    }

    /// Events have been admitted. Gives what is to be sent, and the end where it has come.
    pub fn admitted(&mut self, ticket: Ticket) -> (Option<Message>, Option<Ended>) {
        let State::Running(running) = &mut self.state else { return (None, None) };
        let Some(bytes) = running.admitting.remove(&ticket) else { return (None, None) };
        running.pending -= bytes;
        let credit = Message::Credit(Credit { pull: running.pull, bytes });
        let credit = (!running.ended).then_some(credit);
        (credit, self.finish())
    }

    fn finish(&mut self) -> Option<Ended> {
        match &self.state {
            State::Running(running) if running.ended && running.admitting.is_empty() => {
                let ended = match (running.whole, running.promised.is_empty()) {
                    (false, _) => Ended::Broken,
                    (true, true) => Ended::Whole,
                    (true, false) => Ended::Short,
                };
                self.state = State::Idle;
                Some(ended)
            }
            _ => None,
        }
    }

    /// When a pull counts as stalled, if nothing comes.
    pub fn stalls_at(&self) -> Option<Moment> {
        match &self.state {
            State::Running(running) if running.admitting.is_empty() => Some(self.deadline),
            _ => None,
        }
    }

    /// Gives up a pull that has stalled, or that the peer does not go on with because of what is
    /// deferred. Tells whether there was one.
    pub fn give_up(&mut self, now: Moment) -> bool {
        let stalled = match &self.state {
            State::Running(running) => {
                self.stalled |= running.admitting.is_empty() && now >= self.deadline;
                let ends = now >= self.deadline || running.deferred >= WINDOW;
                running.admitting.is_empty() && ends
            }
            _ => false,
        };
        if stalled {
            self.abandon();
        }
        stalled
    }

    /// Gives up what is under way: the store cannot take it.
    pub fn stop(&mut self) {
        self.abandon();
        self.offered.clear();
        self.branches = 0;
    }

    /// What the peer has sent by now may still come.
    fn abandon(&mut self) {
        if let State::Running(Running { ended: false, .. }) = self.state {
            self.late += WINDOW + u64::from(MAX_SYNC_FRAME);
        }
        self.state = State::Idle;
    }
}

/// How many of these go into one message: at least one, of which the store was asked about no more than
/// fits.
fn count_that_fits(wants: &[Want]) -> usize {
    let mut len = 0;
    let fits = wants.iter().take_while(|want| {
        len += want.max_len();
        len <= MAX_PULL_LEN
    });
    fits.count().max(1).min(wants.len())
}

#[cfg(test)]
mod tests;
