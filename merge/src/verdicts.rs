//! What concurrent revokes and forks mean: which events of a cut are void, and who holds what.
//!
//! The rules are those of the format's section on who may write. Only control events can change
//! the verdict on another event, so everything here costs what the control events cost; a data
//! event is then judged by the grants and revokes of its author alone.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::authority::{Act, Authority, ControlEvent, implies};
use crate::body::{ForkPolicy, Policy, Role};
use crate::certified::{CertifiedCuts, CutNumber, UNCERTIFIED};
use crate::clock::{Clock, Dot, Lane};
use crate::id::{AuthorKey, EventId};
use crate::lanes::LaneTable;

/// A grant by an event that is not bad.
#[derive(Clone, Debug)]
struct Grant {
    role: Role,
    event: Arc<ControlEvent>,
    number: CutNumber,
    void: bool,
}

/// A counted revoke.
#[derive(Clone, Debug)]
struct Revoke {
    event: Arc<ControlEvent>,
    number: CutNumber,
}

/// An event to be judged.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// Who wrote it.
    pub author: AuthorKey,
    /// Its local name.
    pub dot: Dot,
    /// What it has seen, itself included.
    pub clock: &'a Clock,
    /// Its control operations, none for other events.
    pub acts: &'a [Act],
}

impl<'a> Subject<'a> {
    fn control(event: &'a ControlEvent) -> Self {
        Self { author: event.author, dot: event.dot, clock: &event.clock, acts: &event.acts }
    }

    /// Whether the event at `dot` is an ancestor.
    fn follows(&self, dot: Dot) -> bool {
        dot != self.dot && self.clock.covers(dot)
    }

    fn concurrent(&self, other: &ControlEvent) -> bool {
        !self.clock.covers(other.dot) && !other.clock.covers(self.dot)
    }
}

/// The verdicts over one cut, with the certified cuts known.
#[derive(Clone, Debug)]
pub struct Verdicts {
    policy: Policy,
    genesis: Dot,
    certified: CertifiedCuts,
    grants: BTreeMap<AuthorKey, Vec<Grant>>,
    revokes: BTreeMap<AuthorKey, Vec<Revoke>>,
    void_control: BTreeSet<Dot>,
    /// For each author, the void events, bad ones included, that grant it something.
    lost: BTreeMap<AuthorKey, BTreeSet<Dot>>,
    /// For each forked author, where `forks` is `exclude`: its lanes within the cut.
    forked: BTreeMap<AuthorKey, BTreeMap<Lane, u64>>,
}

impl Verdicts {
    /// Judges the events of the cut that holds the events up to `within(lane)` of each lane.
    pub fn new(
        authority: &Authority,
        lanes: &LaneTable,
        within: &dyn Fn(Lane) -> u64,
        certified: &CertifiedCuts,
    ) -> Self {
        let mut verdicts = Self {
            policy: authority.policy(),
            genesis: authority.genesis_dot(),
            certified: certified.clone(),
            grants: BTreeMap::new(),
            revokes: BTreeMap::new(),
            void_control: BTreeSet::new(),
            lost: BTreeMap::new(),
            forked: forked_lanes(authority, lanes, within),
        };
        let mut events: Vec<_> = authority
            .events()
            .iter()
            .filter(|event| within(event.dot.lane) >= event.dot.seq.0)
            .map(|event| (certified.number(event.dot), event))
            .collect();
        events.sort_unstable_by_key(|(number, event)| (*number, event.time, event.id));
        for batch in events.chunk_by(|a, b| a.0 == b.0) {
            let bad: Vec<bool> = batch
                .iter()
                .map(|(number, event)| verdicts.take_if_good(lanes, event, *number))
                .collect();
            for ((number, event), bad) in batch.iter().zip(bad) {
                if bad || verdicts.is_void_numbered(lanes, &Subject::control(event), *number) {
                    verdicts.make_void(event);
                }
            }
        }
        verdicts
    }

    /// Takes in one more control event, which no certified cut holds and which follows or is
    /// concurrent with everything judged so far. `false` where that may change other verdicts (it
    /// revokes, or forks an excluded author) and everything must be judged anew.
    pub fn extend(&mut self, lanes: &LaneTable, event: &Arc<ControlEvent>) -> bool {
        let revokes = event.acts.iter().any(|act| matches!(act, Act::Revoke { .. }));
        if revokes || self.certified.number(event.dot) != UNCERTIFIED {
            return false;
        }
        let bad = self.take_if_good(lanes, event, UNCERTIFIED);
        if bad || self.is_void_numbered(lanes, &Subject::control(event), UNCERTIFIED) {
            self.make_void(event);
        }
        true
    }

    /// The certified cuts known.
    pub const fn certified(&self) -> &CertifiedCuts {
        &self.certified
    }

    /// Whether nobody can be void: no counted revoke, no excluded fork, no void grant.
    pub fn all_clear(&self) -> bool {
        self.revokes.is_empty() && self.forked.is_empty() && self.void_control.is_empty()
    }

    /// Whether nothing can make an event of `author` void that was admitted.
    pub fn is_clear(&self, author: AuthorKey) -> bool {
        !self.revokes.contains_key(&author)
            && !self.forked.contains_key(&author)
            && !self.lost.contains_key(&author)
    }

    /// Whether it follows from the control events alone that no event of `author` is void within a
    /// certified cut that goes so far on each lane. It does not where one may be concurrent with a revoke
    /// of the author, or may follow one: only the events themselves tell. What lies beyond the cut cannot
    /// make anything in it void.
    pub fn none_void_in(&self, lanes: &LaneTable, author: AuthorKey, cut: &Clock) -> bool {
        let held = |lane: &&Lane| cut.seq(**lane) > 0;
        let lanes: Vec<_> = lanes.of(author).iter().filter(held).copied().collect();
        if self.forked.contains_key(&author) && lanes.len() > 1 {
            return false;
        }
        let mut lost = self.lost.get(&author).into_iter().flatten();
        if lost.any(|dot| cut.covers(*dot)) {
            return false;
        }
        let revokes = self.revokes.get(&author).into_iter().flatten().map(|revoke| &revoke.event);
        revokes
            .filter(|revoke| cut.covers(revoke.dot))
            .all(|revoke| lanes.iter().all(|lane| cut.seq(*lane) <= revoke.clock.seq(*lane)))
    }

    /// Whether `event` is void. It must be in the cut.
    pub fn is_void(&self, lanes: &LaneTable, event: &Subject<'_>) -> bool {
        if event.dot == self.genesis || self.all_clear() {
            return false;
        }
        self.void_control.contains(&event.dot)
            || self.is_void_numbered(lanes, event, self.certified.number(event.dot))
    }

    /// Whether a control event of the cut is void.
    pub fn is_void_control(&self, dot: Dot) -> bool {
        self.void_control.contains(&dot)
    }

    /// What each author holds over the cut, ascending; authors without anything are left out.
    pub fn roles(&self) -> BTreeMap<AuthorKey, Vec<&'static str>> {
        let mut roles = BTreeMap::<_, BTreeSet<&'static str>>::new();
        for (author, grants) in &self.grants {
            let held = grants.iter().filter(|g| !g.void && self.outlasts_revokes(*author, g, None));
            let held: BTreeSet<_> = held.map(|grant| grant.role.word()).collect();
            if !held.is_empty() {
                roles.insert(*author, held);
            }
        }
        for author in self.revokes.keys() {
            roles.entry(*author).or_default().insert("revoked");
        }
        roles.into_iter().map(|(author, held)| (author, held.into_iter().collect())).collect()
    }

    /// The authors that hold `validator` over the cut, ascending.
    pub fn validators(&self) -> Vec<AuthorKey> {
        let validators = self.roles().into_iter().filter(|(_, held)| held.contains(&"validator"));
        validators.map(|(author, _)| author).collect()
    }

    /// The events whose values are erased by redacts of the cut that are not void, with the
    /// author of each.
    pub fn redacted(
        &self,
        authority: &Authority,
        within: &dyn Fn(Lane) -> u64,
    ) -> Vec<(AuthorKey, EventId, Dot)> {
        let held =
            authority.events().iter().filter(|event| within(event.dot.lane) >= event.dot.seq.0);
        let counts = held.filter(|event| !self.void_control.contains(&event.dot));
        let acts = counts.flat_map(|event| &event.acts);
        acts.filter_map(|act| match *act {
            Act::Redact { event, author, dot } => Some((author, event, dot)),
            _ => None,
        })
        .collect()
    }

    /// Authors whose events may be judged otherwise than by `before`, apart from new events.
    pub fn changed_since(&self, before: &Self) -> BTreeSet<AuthorKey> {
        let revokes = |v: &Self, author: &AuthorKey| {
            let revokes = v.revokes.get(author).into_iter().flatten();
            revokes.map(|revoke| (revoke.event.dot, revoke.number)).collect::<Vec<_>>()
        };
        let same = |author: &AuthorKey| {
            revokes(self, author) == revokes(before, author)
                && self.lost.get(author) == before.lost.get(author)
                && self.forked.get(author) == before.forked.get(author)
        };
        // What a revoke or a fork does to an event depends on which certified cut holds the event.
        let recertified = self.certified != before.certified;
        let endangered =
            [self, before].into_iter().flat_map(|v| v.revokes.keys().chain(v.forked.keys()));
        let named = [self, before].into_iter().flat_map(|v| v.lost.keys());
        let mut changed: BTreeSet<_> = named.filter(|author| !same(author)).copied().collect();
        changed.extend(endangered.filter(|author| recertified || !same(author)));
        changed
    }

    fn make_void(&mut self, event: &ControlEvent) {
        self.void_control.insert(event.dot);
        for act in &event.acts {
            let Act::Grant { author, .. } = act else { continue };
            self.lost.entry(*author).or_default().insert(event.dot);
            let grants = self.grants.get_mut(author).into_iter().flatten();
            grants.filter(|grant| grant.event.dot == event.dot).for_each(|grant| grant.void = true);
        }
    }

    /// The first pass over one event: takes up its grants and revokes unless it is bad.
    fn take_if_good(
        &mut self,
        lanes: &LaneTable,
        event: &Arc<ControlEvent>,
        number: CutNumber,
    ) -> bool {
        let subject = Subject::control(event);
        // A grant from an earlier batch that turned out void gives nothing any more.
        let usable = |grant: &Grant| !(grant.number < number && grant.void);
        let bad = event.dot != self.genesis
            && (self.is_late(lanes, &subject, number) || !self.allows(&subject, &usable));
        if !bad {
            for act in &event.acts {
                match *act {
                    Act::Grant { author, role } => self
                        .grants
                        .entry(author)
                        .or_default()
                        .push(Grant { role, event: event.clone(), number, void: false }),
                    Act::Revoke { author } => {
                        self.revokes
                            .entry(author)
                            .or_default()
                            .push(Revoke { event: event.clone(), number });
                    }
                    Act::Redact { .. } => {}
                }
            }
        }
        bad
    }

    fn is_late(&self, lanes: &LaneTable, event: &Subject<'_>, number: CutNumber) -> bool {
        self.cut_off_before(event).is_some_and(|revoke| revoke < number)
            || self.forked_before(lanes, event).is_some_and(|fork| fork < number)
    }

    /// The second pass over one event, which also is all there is to judge a data event: what is
    /// late, or not allowed by the grants of events that are not bad, also fails here.
    fn is_void_numbered(&self, lanes: &LaneTable, event: &Subject<'_>, number: CutNumber) -> bool {
        event.dot != self.genesis
            && (self.cut_off_before(event).is_some_and(|revoke| revoke <= number)
                || self.forked_before(lanes, event).is_some_and(|fork| fork <= number)
                || !self.allows(event, &|grant| !grant.void))
    }

    /// The number of the earliest counted revoke of the author that is concurrent with the event.
    fn cut_off_before(&self, event: &Subject<'_>) -> Option<CutNumber> {
        let revokes = self.revokes.get(&event.author)?.iter();
        revokes.filter(|revoke| event.concurrent(&revoke.event)).map(|revoke| revoke.number).min()
    }

    /// The number of the earliest event of the author that proves a fork at or below this one.
    fn forked_before(&self, lanes: &LaneTable, event: &Subject<'_>) -> Option<CutNumber> {
        let held = self.forked.get(&event.author)?;
        let within = |lane: Lane| held.get(&lane).copied().unwrap_or(0);
        lanes
            .off_chain(event.author, event.dot, &within)
            .map(|dot| self.certified.number(dot))
            .min()
    }

    /// Whether the event is allowed by the counted revokes and the grants that `usable` lets pass.
    fn allows(&self, event: &Subject<'_>, usable: &dyn Fn(&Grant) -> bool) -> bool {
        let holds = |role| {
            let grants = self.grants.get(&event.author).into_iter().flatten();
            grants
                .filter(|grant| {
                    implies(grant.role, role) && event.follows(grant.event.dot) && usable(grant)
                })
                .any(|grant| self.outlasts_revokes(event.author, grant, Some(event)))
        };
        let revoked = || {
            let revokes = self.revokes.get(&event.author).into_iter().flatten();
            revokes.into_iter().any(|revoke| event.follows(revoke.event.dot))
        };
        let acts_allowed = event.acts.iter().all(|act| match act {
            Act::Grant { .. } | Act::Revoke { .. } => holds(Role::Admin),
            Act::Redact { author, dot, .. } => {
                event.follows(*dot) && (*author == event.author || holds(Role::Admin))
            }
        });
        acts_allowed && (holds(Role::Writer) || (self.policy == Policy::Open && !revoked()))
    }

    /// Whether every counted revoke of `author` among the ancestors of `of` (of anything, without
    /// it) precedes the grant.
    fn outlasts_revokes(&self, author: AuthorKey, grant: &Grant, of: Option<&Subject<'_>>) -> bool {
        let revokes = self.revokes.get(&author).into_iter().flatten();
        revokes.filter(|revoke| of.is_none_or(|event| event.follows(revoke.event.dot))).all(
            |revoke| {
                revoke.event.dot != grant.event.dot && grant.event.clock.covers(revoke.event.dot)
            },
        )
    }
}

fn forked_lanes(
    authority: &Authority,
    lanes: &LaneTable,
    within: &dyn Fn(Lane) -> u64,
) -> BTreeMap<AuthorKey, BTreeMap<Lane, u64>> {
    if authority.forks() == ForkPolicy::Keep {
        return BTreeMap::new();
    }
    let forked = lanes.authors().filter(|(_, lanes)| lanes.len() > 1);
    forked
        .map(|(author, lanes)| (author, lanes.iter().map(|&lane| (lane, within(lane))).collect()))
        .collect()
}
