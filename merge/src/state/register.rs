//! A register: the writes of a key that precede no other write of it.

use std::cmp::Reverse;

use crdts::mvreg::Op;
use crdts::{CmRDT, MVReg, VClock};

use crate::clock::{Dot, Lane};
use crate::state::{Effect, Place, ValueRef};

/// A write that no other write of its key follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Write {
    /// The event's place in the total order.
    pub place: Place,
    /// The event's local name.
    pub dot: Dot,
    /// What was put; nothing for a delete.
    pub value: Option<ValueRef>,
}

/// The writes of one key that stand.
///
/// A write keeps its dot alone and not its clock: *a* precedes *b* exactly when the clock of *b*
/// covers the dot of *a*, which is how [`MVReg`] compares a one-dot clock with a full one.
#[derive(Clone, Debug, Default)]
pub struct Register {
    standing: Vec<Write>,
}

impl Register {
    /// Applies the last write of this key in an event.
    pub fn apply(&mut self, effect: &Effect<'_>, value: Option<ValueRef>) {
        let mut register = MVReg::<Write, Lane>::new();
        for write in self.standing.drain(..) {
            register.apply(Op::Put { clock: one_dot(write.dot), val: write });
        }
        let val = Write { place: effect.place, dot: effect.dot, value };
        register.apply(Op::Put { clock: effect.clock.as_vclock().clone(), val });
        self.standing = register.read().val;
    }

    /// The puts that stand, latest in the total order first: the value, then its conflicts.
    pub fn puts(&self) -> Vec<Write> {
        let mut puts: Vec<_> =
            self.standing.iter().filter(|w| w.value.is_some()).copied().collect();
        puts.sort_unstable_by_key(|write| Reverse(write.place));
        puts
    }
}

fn one_dot(dot: Dot) -> VClock<Lane> {
    VClock::from(crdts::Dot::new(dot.lane, dot.seq.0))
}
