//! Section 4, second half: what concurrent revokes and forks mean; and section 5, erasure.

use std::collections::{BTreeMap, BTreeSet};

use quipu_merge::{AuthorKey, Body, Control, EventId, OpeningId, Role};

use super::cut::ModelCut;
use super::{Held, Index, Model, Set};

/// The verdicts on the events of a cut.
pub(super) struct Verdicts {
    /// Events that are late or not allowed; all other events' revokes are counted.
    pub bad: Set,
    /// Events without effect.
    pub void: Set,
}

impl Model {
    /// Ids of the events of the cut that are void, with these certified cuts known.
    pub fn void(&self, cut: &ModelCut, certified: &[Vec<EventId>]) -> BTreeSet<EventId> {
        let set = self.events_of(cut);
        let verdicts = self.judge(&set, &self.numbers(certified));
        verdicts.void.iter().map(|&e| self.held[e].id).collect()
    }

    /// What each author holds over the cut, in words; authors without anything are left out.
    pub fn roles(
        &self,
        cut: &ModelCut,
        certified: &[Vec<EventId>],
    ) -> BTreeMap<AuthorKey, BTreeSet<&'static str>> {
        let set = self.events_of(cut);
        let verdicts = self.judge(&set, &self.numbers(certified));
        self.roles_over(&set, &verdicts)
    }

    /// The authors that hold `validator` over the cut, ascending.
    pub fn validators(&self, cut: &ModelCut, certified: &[Vec<EventId>]) -> Vec<AuthorKey> {
        let roles = self.roles(cut, certified);
        let holds = |words: &BTreeSet<&str>| words.contains(Role::Validator.word());
        roles.into_iter().filter(|(_, words)| holds(words)).map(|(who, _)| who).collect()
    }

    /// The authors that certify what follows the cut: those that hold `validator` over it or, if
    /// there are none, those that certified it.
    pub fn next_validators(
        &self,
        cut: &ModelCut,
        certified: &[Vec<EventId>],
        current: Vec<AuthorKey>,
    ) -> Vec<AuthorKey> {
        let next = self.validators(cut, certified);
        if next.is_empty() { current } else { next }
    }

    /// The openings that are erased in the events of an author, over all that is held.
    pub fn erased(&self, certified: &[Vec<EventId>]) -> BTreeSet<(AuthorKey, OpeningId)> {
        let all = self.events_of(&ModelCut::All);
        let verdicts = self.judge(&all, &self.numbers(certified));
        let mut erased = BTreeSet::new();
        for e in all.difference(&verdicts.void) {
            for control in self.held[*e].body.control() {
                let Control::Redact { event } = control else { continue };
                let Some(&target) = self.index.get(event) else { continue };
                let target = &self.held[target];
                let openings = target.body.data().iter().filter_map(|o| o.value());
                erased.extend(openings.map(|opening| (target.event.author, opening)));
            }
        }
        erased
    }

    /// `roles` by verdicts already reached.
    pub(super) fn roles_over(
        &self,
        set: &Set,
        verdicts: &Verdicts,
    ) -> BTreeMap<AuthorKey, BTreeSet<&'static str>> {
        let not_void = |g: Index| !verdicts.void.contains(&g);
        let counted = |r: Index| !verdicts.bad.contains(&r);
        self.roles_of(set, &not_void, &counted)
    }

    /// The verdicts on the events of `set`, which are taken by their number n, all of one n
    /// together.
    pub(super) fn judge(&self, set: &Set, n: &[usize]) -> Verdicts {
        let mut verdicts = Verdicts { bad: Set::new(), void: Set::new() };
        let order = self.sorted(set, n);
        let groups = order.iter().map(|&e| n[e]).collect::<BTreeSet<usize>>();
        for number in groups {
            let group = order.iter().copied().filter(|&e| n[e] == number && !self.founds(e));
            for e in group.clone() {
                if self.is_late(e, set, n, &verdicts) || self.is_forbidden(e, n, &verdicts) {
                    verdicts.bad.insert(e);
                }
            }
            for e in group {
                if verdicts.bad.contains(&e) || self.is_voided(e, set, n, &verdicts) {
                    verdicts.void.insert(e);
                }
            }
        }
        verdicts
    }

    fn founds(&self, e: Index) -> bool {
        matches!(self.held[e].body, Body::Genesis(_))
    }

    /// Late: a counted revoke or a rival is in an earlier certified cut than e is.
    fn is_late(&self, e: Index, set: &Set, n: &[usize], verdicts: &Verdicts) -> bool {
        let earlier = set.iter().copied().filter(|&other| n[other] < n[e]).collect::<Set>();
        self.is_revoked_beside(e, &earlier, verdicts) || self.has_rival(e, &earlier)
    }

    /// Not allowed by the counted revokes and the grants that count while bad events are sought.
    fn is_forbidden(&self, e: Index, n: &[usize], verdicts: &Verdicts) -> bool {
        let withheld = |g: Index| n[g] < n[e] && verdicts.void.contains(&g);
        let grants = |g: Index| !verdicts.bad.contains(&g) && !withheld(g);
        let counted = |r: Index| !verdicts.bad.contains(&r);
        let Held { event, body, ancestors, .. } = &self.held[e];
        !self.allowed(event.author, body, ancestors, &grants, &counted)
    }

    /// Void without being bad.
    fn is_voided(&self, e: Index, set: &Set, n: &[usize], verdicts: &Verdicts) -> bool {
        let not_later = set.iter().copied().filter(|&other| n[other] <= n[e]).collect::<Set>();
        let grants = |g: Index| !verdicts.void.contains(&g);
        let counted = |r: Index| !verdicts.bad.contains(&r);
        let Held { event, body, ancestors, .. } = &self.held[e];
        self.is_revoked_beside(e, &not_later, verdicts)
            || self.has_rival(e, &not_later)
            || !self.allowed(event.author, body, ancestors, &grants, &counted)
    }

    /// Whether a counted revoke of e's author among `others` is concurrent with e.
    fn is_revoked_beside(&self, e: Index, others: &Set, verdicts: &Verdicts) -> bool {
        let author = self.held[e].event.author;
        others.iter().any(|&r| {
            self.revokes(r, author) && !verdicts.bad.contains(&r) && self.concurrent(r, e)
        })
    }

    /// Where forks are excluded: whether `others` hold an event of e's author, not e and not on
    /// e's chain, with `seq` at most that of e.
    fn has_rival(&self, e: Index, others: &Set) -> bool {
        let Held { event, chain, .. } = &self.held[e];
        self.excludes_forks()
            && others.iter().any(|&y| {
                let rival = &self.held[y].event;
                rival.author == event.author
                    && y != e
                    && !chain.contains(&y)
                    && rival.seq <= event.seq
            })
    }
}
