//! What the validators say that they hold.

use std::collections::BTreeMap;

use quipu_merge::{AuthorKey, EventId};

use super::task;
use crate::time::Moment;

/// What the validators say that they hold, this one included.
#[derive(Debug, Default)]
pub struct Reports {
    /// The last two of each: events of the last may not have come here yet.
    of: BTreeMap<AuthorKey, [Vec<EventId>; 2]>,
    /// Whether something has changed since the store was asked.
    pub changed: bool,
    /// What is held here, and whether the others have been told.
    own: Vec<EventId>,
    untold: bool,
    told: Option<Moment>,
}

impl Reports {
    /// What is held here.
    pub fn hold(&mut self, heads: Vec<EventId>) {
        if self.own != heads {
            self.own = heads;
            self.untold = true;
        }
        // What others have reported may be understood now.
        self.changed = true;
    }

    pub fn own(&self) -> &[EventId] {
        &self.own
    }

    /// A validator has reported.
    pub fn report(&mut self, validator: AuthorKey, heads: Vec<EventId>) {
        let [last, before] = self.of.entry(validator).or_default();
        if *last != heads {
            *before = std::mem::replace(last, heads);
            self.changed = true;
        }
    }

    /// Nobody else's reports are of use.
    pub fn keep_only(&mut self, validators: &[AuthorKey]) {
        self.of.retain(|validator, _| validators.binary_search(validator).is_ok());
    }

    /// What these validators hold.
    pub fn all(&self, me: AuthorKey, validators: &[AuthorKey]) -> task::Reports {
        let mut all = Vec::new();
        for validator in validators {
            if *validator == me {
                all.push((me, self.own.clone()));
            } else if let Some([last, before]) = self.of.get(validator) {
                let mut heads = [last.as_slice(), before.as_slice()].concat();
                heads.sort_unstable();
                heads.dedup();
                all.push((*validator, heads));
            }
        }
        all
    }

    /// When the others are to be told next, if they are.
    pub fn due(&self) -> Option<Moment> {
        let after = |told: Moment| told.after(super::limits::REPORT_EVERY);
        self.untold.then(|| self.told.map_or(Moment(0), after))
    }

    /// The others are told.
    pub const fn tell(&mut self, now: Moment) {
        self.untold = false;
        self.told = Some(now);
    }
}
