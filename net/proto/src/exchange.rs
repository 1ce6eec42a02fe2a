//! Comparing the frontiers of two replicas, so that each learns where the other is ahead.
//!
//! Both say what their frontier is. Where that is equal, all is said. Where both remember one at
//! which they were equal before, each tells what has changed since; where there are few authors, each
//! tells all. Where there are some thousands of authors, they find out by marks in which entries they
//! differ. Otherwise they find out in which entries they differ by range-based set reconciliation
//! (A. Meyer, [Range-Based Set Reconciliation](https://arxiv.org/abs/2212.13567)), as negentropy
//! does it.

mod by_marks;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use quipu_merge::AuthorKey;

use crate::frontier::{Frontier, FrontierDigest, LaneTips};
use crate::limits::{COMPARE_EVERY, MAX_IDS, MAX_MARKED, MAX_ROUNDS_AHEAD, PATIENCE};
use crate::marks::Marking;
use crate::message::{AskLanes, Compare, Lanes, Message, Pull, PullTold, Reconcile, Version};
use crate::named::{Named, Spelled};
use crate::reconcile::{Next, Reconciling};
use crate::score::Misbehaviour;
use crate::tell::tell;
use crate::time::Moment;

/// With so many authors at most, whole frontiers are told.
pub const FULL_LANES: usize = 64;
/// So many frontiers are remembered at which both were equal.
const REMEMBERED: usize = 4;

/// The peer breaks the rules of comparing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Nonsense;

/// What a step of comparing has come to.
#[derive(Debug, Default)]
pub struct Step {
    /// What is to be sent.
    pub send: Vec<Message>,
    /// Entries of the other's frontier that differ from the own.
    pub offered: Vec<LaneTips>,
}

/// The comparisons with one peer.
#[derive(Debug)]
pub struct Exchange {
    /// Whether this side leads reconciliation: the one with the lesser key.
    leads: bool,
    round: u64,
    state: State,
    deadline: Moment,
    not_before: Moment,
    /// Frontiers at which both were equal, latest first, with the version of the own one.
    agreed: VecDeque<(FrontierDigest, u64)>,
    /// The own entries that the other may ask for, by their digests: each once.
    to_tell: BTreeMap<[u8; 32], AuthorKey>,
    /// The same, where they have been marked.
    marked: Vec<Option<AuthorKey>>,
    /// Whether the other knows of marks.
    brief: bool,
    /// What has been told in this comparison, by which events can be named; whether they are named in full
    /// all the same, because the other did not know all that was named otherwise.
    named: Named,
    in_full: bool,
    /// When the last comparison started, and what it has come to.
    started: Moment,
    course: Course,
}

/// What a comparison, and getting what it has found, has come to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Course {
    /// It has not come to its end.
    #[default]
    Open,
    /// What the other is ahead in has been found.
    Found,
    /// Not all has been got that was found.
    Short,
    /// All has been got.
    Level,
}

#[derive(Debug)]
enum State {
    Idle,
    /// This was told, and the other has not told its own yet.
    Asked(Told),
    /// So many times, the other's last entries are to come.
    Listening(usize),
    Reconciling(Box<Reconciling>),
    Marking(Marking),
}

/// What this side has said of its frontier.
#[derive(Clone, Debug)]
struct Told {
    compare: Compare,
    version: u64,
}

impl Exchange {
    /// With a peer, by the keys of both.
    pub fn new(me: AuthorKey, peer: AuthorKey) -> Self {
        Self {
            leads: me < peer,
            round: 0,
            state: State::Idle,
            deadline: Moment::default(),
            not_before: Moment::default(),
            agreed: VecDeque::new(),
            to_tell: BTreeMap::new(),
            marked: Vec::new(),
            brief: false,
            named: Named::default(),
            in_full: false,
            started: Moment::default(),
            course: Course::Open,
        }
    }

    /// The version that is spoken is known.
    pub const fn speak(&mut self, version: Version) {
        self.brief = version.is_brief();
    }

    /// Starts a comparison, unless one is running or the last was a moment ago.
    pub fn start(&mut self, own: &Frontier, now: Moment) -> Option<Message> {
        if now < self.not_before || !self.is_idle(now) {
            return None;
        }
        self.round += 1;
        Some(self.tell(own, now))
    }

    /// When a comparison may start again, where the other does not end this one first.
    pub fn may_start_at(&self) -> Moment {
        match self.state {
            State::Idle => self.not_before,
            _ => self.not_before.max(self.deadline),
        }
    }

    /// Whether no comparison is running. One that has stalled is given up.
    pub fn is_idle(&mut self, now: Moment) -> bool {
        if now >= self.deadline {
            self.state = State::Idle;
            self.to_tell.clear();
            self.marked.clear();
        }
        matches!(self.state, State::Idle)
    }

    /// Not all is got of what the other is ahead in.
    pub fn fall_short(&mut self) {
        if self.course != Course::Level {
            self.course = Course::Short;
        }
    }

    /// All has been got that was found. Tells when the comparison started, if this is news and
    /// nothing fell short.
    pub fn got_all(&mut self) -> Option<Moment> {
        let news = self.course == Course::Found;
        news.then(|| {
            self.course = Course::Level;
            self.started
        })
    }

    /// Whether the last comparison has not led to having all that the other had.
    pub fn is_short(&self) -> bool {
        self.course != Course::Level
    }

    fn end(&mut self) {
        self.state = State::Idle;
        if self.course == Course::Open {
            self.course = Course::Found;
        }
    }

    /// Asks for events, by fewer bytes where the other understands it.
    pub fn ask_for(&self, pull: Pull) -> Message {
        if self.brief && !self.in_full { self.named.shorten(pull) } else { Message::Pull(pull) }
    }

    /// What the other asks for.
    pub fn spell(&self, pull: PullTold) -> (u64, Spelled) {
        self.named.spell(pull)
    }

    /// The other could answer a pull, or could not. Tells whether to ask for it once more, in full.
    pub fn answered(&mut self, whole: bool) -> bool {
        let before = std::mem::replace(&mut self.in_full, !whole);
        self.brief && !whole && !before
    }

    fn tell(&mut self, own: &Frontier, now: Moment) -> Message {
        (self.started, self.course) = (now, Course::Open);
        self.to_tell.clear();
        self.marked.clear();
        self.named.start(self.round);
        let known = self.agreed.iter().map(|(digest, _)| digest.0).collect();
        let compare =
            Compare { round: self.round, frontier: own.digest(), lanes: own.len() as u64, known };
        self.state = State::Asked(Told { compare: compare.clone(), version: own.version() });
        self.deadline = now.after(PATIENCE);
        self.not_before = now.after(COMPARE_EVERY);
        Message::Compare(compare)
    }

    /// The other tells its frontier.
    pub fn compared(
        &mut self,
        theirs: &Compare,
        own: &Frontier,
        now: Moment,
    ) -> Result<Step, Nonsense> {
        let mut step = Step::default();
        if theirs.round < self.round {
            return Ok(step);
        }
        if theirs.round.saturating_sub(self.round) > MAX_ROUNDS_AHEAD {
            return Err(Nonsense);
        }
        if theirs.round > self.round {
            self.round = theirs.round;
            step.send.push(self.tell(own, now));
        }
        let State::Asked(told) = std::mem::replace(&mut self.state, State::Idle) else {
            // Twice in one round.
            return Err(Nonsense);
        };
        if told.compare.frontier == theirs.frontier {
            self.agree(theirs.frontier, told.version);
            self.end();
            return Ok(step);
        }
        let (lead, follow) =
            if self.leads { (&told.compare, theirs) } else { (theirs, &told.compare) };
        let base = lead.known.iter().find(|known| follow.known.contains(known));
        let base = base.and_then(|base| self.agreed.iter().find(|(digest, _)| digest.0 == *base));
        let most = told.compare.lanes.max(theirs.lanes);
        let few = most <= FULL_LANES as u64;
        if base.is_some() || few {
            let since = base.map(|(_, version)| *version);
            self.state = State::Listening(1);
            step.send.extend(self.tell_entries(own.since(since), true, own));
        } else if self.brief && most <= MAX_MARKED as u64 {
            let marking = Marking::new(own, lead, follow);
            step.send.extend(self.leads.then(|| Message::Sums(marking.sums())));
            self.state = State::Marking(marking);
        } else {
            let mut reconciling = Reconciling::new(own, told.compare.lanes, theirs.lanes)?;
            if self.leads {
                let bytes = reconciling.initiate()?;
                step.send.push(Message::Reconcile(Reconcile { round: self.round, bytes }));
            } else {
                self.to_tell.clone_from(&reconciling.entries);
            }
            self.state = State::Reconciling(Box::new(reconciling));
        }
        Ok(step)
    }

    fn agree(&mut self, digest: FrontierDigest, version: u64) {
        self.agreed.retain(|(agreed, _)| *agreed != digest);
        self.agreed.push_front((digest, version));
        self.agreed.truncate(REMEMBERED);
    }

    /// The other tells entries of its frontier.
    pub fn told(&mut self, mut lanes: Lanes, own: &Frontier) -> Result<Step, Nonsense> {
        if lanes.round != self.round || matches!(self.state, State::Idle) {
            // Of a comparison that was given up.
            return Ok(Step::default());
        }
        if matches!(self.state, State::Asked(_) | State::Marking(_)) {
            return Err(Nonsense);
        }
        if lanes.last {
            match self.state {
                State::Listening(answers) if answers > 1 => {
                    self.state = State::Listening(answers - 1);
                }
                _ => self.end(),
            }
        }
        lanes.lanes.iter_mut().for_each(|lane| lane.author = own.in_full(lane.author));
        self.named.hear(&lanes);
        let mut offered = lanes.lanes;
        for lane in &mut offered {
            let own = own.tips(lane.author);
            lane.tips.retain(|tip| own.binary_search(tip).is_err());
        }
        offered.retain(|lane| !lane.tips.is_empty());
        Ok(Step { send: Vec::new(), offered })
    }

    /// The next step of reconciliation.
    pub fn reconciled(&mut self, step: &Reconcile, own: &Frontier) -> Result<Step, Nonsense> {
        let round = self.round;
        let State::Reconciling(state) = &mut self.state else {
            let stale = step.round < round || matches!(self.state, State::Idle);
            return if stale { Ok(Step::default()) } else { Err(Nonsense) };
        };
        if step.round != round {
            return Ok(Step::default());
        }
        let message = |bytes| Message::Reconcile(Reconcile { round, bytes });
        if !self.leads {
            let bytes = state.answer(&step.bytes)?;
            return Ok(Step { send: vec![message(bytes)], offered: Vec::new() });
        }
        let whole = match state.lead(&step.bytes)? {
            Next::Say(bytes) => {
                return Ok(Step { send: vec![message(bytes)], offered: Vec::new() });
            }
            Next::Found { whole } => whole,
        };
        let mine = state.have.iter().filter_map(|id| state.entry(&id.to_bytes(), own));
        let mine: Vec<_> = mine.collect();
        let need: BTreeSet<_> = state.need.iter().map(|id| id.to_bytes()).collect();
        let need: Vec<_> = need.into_iter().collect();
        let ask = |entries: &[_]| Message::AskLanes(AskLanes { round, entries: entries.to_vec() });
        let mut send: Vec<_> = need.chunks(MAX_IDS).map(ask).collect();
        match send.len() {
            0 => self.end(),
            answers => self.state = State::Listening(answers),
        }
        if !whole {
            self.course = Course::Short;
        }
        send.extend(self.tell_entries(mine.into_iter(), whole, own));
        Ok(Step { send, offered: Vec::new() })
    }

    /// The other asks for entries that reconciliation has shown it.
    pub fn asked(&mut self, ask: &AskLanes, own: &Frontier) -> Result<Vec<Message>, Misbehaviour> {
        if ask.round != self.round {
            return Ok(Vec::new());
        }
        let authors: Option<Vec<_>> =
            ask.entries.iter().map(|entry| self.to_tell.remove(entry)).collect();
        let authors = authors.filter(|authors| !authors.is_empty()).ok_or(Misbehaviour::Flood)?;
        Ok(self.answer(authors, own))
    }

    /// What has changed since is told as it is now.
    fn answer(&mut self, authors: Vec<AuthorKey>, own: &Frontier) -> Vec<Message> {
        self.tell_entries(authors.into_iter().map(|author| own.entry(author)), true, own)
    }

    fn tell_entries(
        &mut self,
        entries: impl Iterator<Item = LaneTips>,
        all: bool,
        own: &Frontier,
    ) -> Vec<Message> {
        let mut messages = tell(self.round, entries, all);
        self.named.tell(&messages);
        if self.brief {
            messages.iter_mut().for_each(|message| own.shorten(message));
        }
        messages
    }
}
