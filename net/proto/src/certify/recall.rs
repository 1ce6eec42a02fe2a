//! What a validator must know of itself before it signs.
//!
//! Whoever starts asks the others where they stand, and what they have seen of it. It signs when all have
//! answered, or more than two thirds a moment ago: a vote of its own that its log does not hold then shows
//! in time. Who is not there then is asked when it comes, and a vote that shows late is the last.
//!
//! Who has lost its log does not know how far it had signed. It signs at height h again once more than
//! two thirds of the validators of h - 1 have said, since its start, that they were no farther than
//! h - 2: then h - 1 was not certified when it lost its log (more than a third would have precommitted
//! in it, and not lied about it since), so it had signed nothing at h.

use std::collections::BTreeMap;

use quipu_merge::{AuthorKey, Height, quorum};

use super::limits::{ASK_CLAIM_EVERY, OTHERS_PATIENCE};
use crate::time::Moment;

/// How far a validator has got with this.
#[derive(Debug, Default)]
pub struct Recall {
    /// Whether the log is not to be relied on.
    pub lost: bool,
    /// Whether enough have answered once.
    pub done: bool,
    /// Where the others stood when they answered first, after the start.
    claims: BTreeMap<AuthorKey, Height>,
    asked: Option<Moment>,
    /// When more than two thirds had answered.
    enough: Option<Moment>,
}

impl Recall {
    /// Another validator says where it stands.
    pub fn claim(&mut self, validator: AuthorKey, height: Height) {
        self.claims.entry(validator).or_insert(height);
    }

    /// Nobody else's answers are of use.
    pub fn keep_only(&mut self, validators: [&[AuthorKey]; 2]) {
        self.claims.retain(|key, _| validators.iter().any(|some| some.binary_search(key).is_ok()));
    }

    /// How many of these have answered, who asks included.
    pub fn answers(&self, me: AuthorKey, validators: &[AuthorKey]) -> usize {
        let answered = |key: &&AuthorKey| **key == me || self.claims.contains_key(key);
        validators.iter().filter(answered).count()
    }

    /// Whether enough of these have answered by now.
    pub fn is_done(&mut self, me: AuthorKey, validators: &[AuthorKey], now: Moment) -> bool {
        let answers = self.answers(me, validators);
        if answers < quorum(validators.len()) {
            self.enough = None;
        } else {
            let since = *self.enough.get_or_insert(now);
            self.done |= answers == validators.len() || since.after(OTHERS_PATIENCE) <= now;
        }
        self.done
    }

    /// Whether this one has answered.
    pub fn has_answered(&self, validator: &AuthorKey) -> bool {
        self.claims.contains_key(validator)
    }

    /// Whether nothing can have been signed at `height`, with the validators of the one before.
    pub fn is_past(&self, height: Height, before: &[AuthorKey], me: AuthorKey) -> bool {
        let behind = |key: &&AuthorKey| {
            let claim = self.claims.get(key).filter(|_| **key != me);
            claim.is_some_and(|claim| claim.0.saturating_add(2) <= height.0)
        };
        height.0 > 2 && before.iter().filter(behind).count() >= quorum(before.len())
    }

    /// Whether there is somebody to ask, and when.
    pub fn due(&self) -> Option<Moment> {
        let wants = self.lost || !self.done;
        let again = self.asked.map_or(Moment(0), |asked| asked.after(ASK_CLAIM_EVERY));
        wants.then_some(again)
    }

    /// When those who have not answered are waited for no longer.
    pub fn ends(&self) -> Option<Moment> {
        self.enough.filter(|_| !self.done).map(|since| since.after(OTHERS_PATIENCE))
    }

    /// Whom to ask among those who are there.
    pub fn ask<'a>(
        &mut self,
        there: impl Iterator<Item = &'a AuthorKey>,
        now: Moment,
    ) -> Vec<AuthorKey> {
        self.asked = Some(now);
        there.filter(|key| !self.claims.contains_key(key)).copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_lost_its_log_signs_where_it_cannot_have_signed() {
        let keys: Vec<_> = (0..4).map(|n| AuthorKey([n; 32])).collect();
        let mut recall = Recall { lost: true, ..Recall::default() };
        recall.claim(keys[1], Height(5));
        recall.claim(keys[2], Height(5));
        assert!(!recall.is_past(Height(9), &keys, keys[0]));
        recall.claim(keys[3], Height(6));
        assert!(!recall.is_past(Height(7), &keys, keys[0]));
        assert!(recall.is_past(Height(8), &keys, keys[0]));
        // What somebody says later is not what it knew at the start.
        recall.claim(keys[3], Height(2));
        assert!(!recall.is_past(Height(7), &keys, keys[0]));
        assert!(recall.is_done(keys[0], &keys, Moment(0)));
    }

    #[test]
    fn who_does_not_answer_is_waited_for_a_while() {
        let keys: Vec<_> = (0..4).map(|n| AuthorKey([n; 32])).collect();
        let mut recall = Recall::default();
        recall.claim(keys[1], Height(5));
        assert!(!recall.is_done(keys[0], &keys, Moment(1)));
        recall.claim(keys[2], Height(5));
        assert!(!recall.is_done(keys[0], &keys, Moment(2)));
        let ends = recall.ends().unwrap();
        assert_eq!(ends, Moment(2).after(OTHERS_PATIENCE));
        assert!(!recall.is_done(keys[0], &keys, Moment(ends.0 - 1)));
        assert!(recall.is_done(keys[0], &keys, ends));
        assert_eq!(recall.ends(), None);
    }
}
