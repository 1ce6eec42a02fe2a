//! A set: the members with an add that precedes no add or rem of them.

use std::collections::BTreeMap;

use crdts::orswot::Op;
use crdts::{CmRDT, Orswot};

use crate::body::Member;
use crate::clock::{Dot, Lane};
use crate::id::{EventId, Seq};
use crate::state::Effect;

/// The members of one key, with the adds that stand.
#[derive(Clone, Debug, Default)]
pub struct Set {
    members: Orswot<Member, Lane>,
    /// The events of the adds that stand.
    adds: BTreeMap<Dot, EventId>,
}

impl Set {
    /// Applies the last operation on each member in an event: `true` adds, `false` removes.
    pub fn apply(&mut self, effect: &Effect<'_>, last: &BTreeMap<&Member, bool>) {
        // An add also takes out the adds that it follows, so that only those stand which precede
        // no other. What it has seen is cut to what the set has seen, or the removal would wait
        // for adds of other sets.
        let mut seen = effect.clock.as_vclock().clone();
        seen.glb(&self.members.clock());
        let members = last.keys().map(|&member| member.clone()).collect();
        self.members.apply(Op::Rm { clock: seen, members });
        let added: Vec<_> =
            last.iter().filter(|(_, adds)| **adds).map(|(&m, _)| m.clone()).collect();
        if !added.is_empty() {
            let dot = crdts::Dot::new(effect.dot.lane, effect.dot.seq.0);
            self.members.apply(Op::Add { dot, members: added });
            self.adds.insert(effect.dot, effect.place.id);
        }
    }

    /// Whether the set has no members and so does not exist.
    pub fn is_empty(&self) -> bool {
        self.members.iter().next().is_none()
    }

    /// The members, ascending, each with the events of the adds that stand, ascending.
    pub fn members(&self) -> BTreeMap<&Member, Vec<EventId>> {
        let members = self.members.iter().map(|entry| {
            let dots = entry.rm_clock.iter();
            let dots = dots.map(|dot| Dot { lane: *dot.actor, seq: Seq(dot.counter) });
            let mut adds: Vec<_> = dots.filter_map(|dot| self.adds.get(&dot).copied()).collect();
            adds.sort_unstable();
            (entry.val, adds)
        });
        members.collect()
    }
}
