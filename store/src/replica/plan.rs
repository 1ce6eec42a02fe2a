//! What to ask a peer for, by what it offers.

use std::collections::{BTreeMap, BTreeSet};

use quipu_merge::{AuthorKey, Dot, EventId, Seq};

use super::{Branches, Want};
use crate::error::{ReadError, StorageError};
use crate::ledger::Ledger;
use crate::lookup::Stored;
use crate::schema::Family;
use crate::snapshot::Snapshot;

/// So many held events of one author are named at most. It is an author that forks without end that
/// has more: of such a one, a peer may send what is held already.
pub const MAX_HELD: usize = 1024;

impl Ledger {
    /// What is missing of what a peer offers, author by author. For each author of whom something is,
    /// it also names held events: the last of each branch and, exponentially farther back, some before
    /// them, so that the peer finds where branches part.
    ///
    /// What waits for nothing but its time counts as held, and so does what follows only held events
    /// and such. What waits for missing events does not: they are found by asking for it again.
    ///
    /// # Errors
    /// The disk, the database or its content.
    pub fn plan(&self, offered: &[Branches]) -> Result<Vec<Want>, ReadError> {
        let snapshot = self.snapshot()?;
        let ids: Vec<_> = offered.iter().flat_map(|lane| &lane.tips).map(|(_, id)| *id).collect();
        let missing: BTreeSet<_> = self.incomplete(&snapshot, &ids)?;
        let mut wants = Vec::new();
        for Branches { author, tips } in offered {
            // Of what may be of the cut that a shallow store starts from, nothing is wanted.
            let top = self.floor.as_ref().map_or(0, |floor| floor.top(*author));
            let up_to: Vec<_> = tips
                .iter()
                .filter(|(seq, id)| seq.0 > top && missing.contains(id))
                .map(|(_, id)| *id)
                .collect();
            if !up_to.is_empty() {
                wants.push(Want { up_to, held: snapshot.landmarks(*author)? });
            }
        }
        Ok(wants)
    }

    /// Those of these events that are neither held nor wait for nothing but their time.
    fn incomplete(
        &self,
        snapshot: &Snapshot<'_>,
        ids: &[EventId],
    ) -> Result<BTreeSet<EventId>, StorageError> {
        let mut missing: BTreeSet<_> = snapshot.lacks(ids)?.into_iter().collect();
        let writer = self.lock_writer();
        if missing.iter().any(|id| writer.pool.contains(*id)) {
            let lacking = writer.pool.lacking();
            missing.retain(|id| !writer.pool.contains(*id) || lacking.contains(id));
        }
        Ok(missing)
    }
}

impl Snapshot<'_> {
    /// Those of these events that are not held, in their order.
    pub(super) fn lacks(&self, ids: &[EventId]) -> Result<Vec<EventId>, StorageError> {
        let mut sorted = ids.to_vec();
        sorted.sort_unstable();
        sorted.dedup();
        let keys: Vec<_> = sorted.iter().map(|id| id.0.as_slice()).collect();
        let places = self.reader().get_many(Family::Ids, &keys)?;
        let held = sorted.iter().zip(places).filter(|(_, place)| place.is_some());
        let held: BTreeSet<_> = held.map(|(id, _)| *id).collect();
        Ok(ids.iter().copied().filter(|id| !held.contains(id)).collect())
    }

    /// Held events of an author: the last of each branch, those 15, 255, 4,095 … before it, and the
    /// first; ascending, the nearest ones where there are too many. The fewer there are, the less is
    /// said where nobody forks; where branches part, the peer sends up to so many times too much.
    fn landmarks(&self, author: AuthorKey) -> Result<Vec<(Seq, EventId)>, StorageError> {
        let lanes = &self.published().lanes;
        let tips = self.tips_of(lanes.of(author))?;
        let mut nearest = BTreeMap::<Dot, u32>::new();
        for &(tip, _) in &tips {
            for (step, back) in steps_back(tip.seq) {
                if let Some(dot) = lanes.on_chain(tip, back) {
                    let known = nearest.entry(dot).or_insert(step);
                    *known = step.min(*known);
                }
            }
        }
        let mut chosen: Vec<_> = nearest.into_iter().map(|(dot, step)| (step, dot)).collect();
        chosen.sort_unstable();
        chosen.truncate(MAX_HELD);
        let mut ids: BTreeMap<_, _> = tips.into_iter().collect();
        let others: Vec<_> =
            chosen.iter().map(|(_, dot)| *dot).filter(|dot| !ids.contains_key(dot)).collect();
        for (dot, stored) in Stored::read_many(self.reader(), others)? {
            ids.insert(dot, EventId::of(stored.record()?.event));
        }
        let held = chosen.iter().filter_map(|(_, dot)| Some((dot.seq, *ids.get(dot)?)));
        let mut held: Vec<_> = held.collect();
        held.sort_unstable();
        Ok(held)
    }
}

/// The positions 0, 15, 255, 4,095 … before one, and the first, with the numbers of the steps there.
fn steps_back(tip: Seq) -> impl Iterator<Item = (u32, Seq)> {
    let back = (0..u64::BITS).step_by(4).map(|step| (step, (1_u64 << step) - 1));
    let back = back.take_while(move |(_, back)| *back < tip.0);
    let back = back.map(move |(step, back)| (step, Seq(tip.0 - back)));
    back.chain((tip > Seq::FIRST).then_some((u64::BITS, Seq::FIRST)))
}
