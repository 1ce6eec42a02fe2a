//! Letting a certified checkpoint count: one batch with all that it changes.

use std::sync::Arc;

use quipu_merge::{Chain, Lane, Verdicts};

use super::finality::Finality;
use super::staged::Staged;
use super::{CertifiedCheckpoint, KEPT_TREES, records};
use crate::db::Db;
use crate::error::StorageError;
use crate::schema::{Family, checkpoints, tree};
use crate::writer::Writer;

impl Writer {
    /// Adds to the group, which must be empty, what a checkpoint changes that was derived here as it
    /// was certified: its records, and the verdicts on what is not certified.
    ///
    /// An error leaves the group half filled: the caller poisons the writer.
    pub fn certify(
        &mut self,
        db: &Db,
        staged: Staged,
        certified: &CertifiedCheckpoint,
    ) -> Result<(), StorageError> {
        self.begin_with(staged.batch)?;
        let height = certified.height();
        for (part, bytes) in records::parts(certified)? {
            self.put(db, Family::Final, &checkpoints::kept(height, part), &bytes)?;
        }
        self.delete(db, Family::Final, &checkpoints::pending(height))?;
        if certified.validators.keys() != self.finality.chain.validators() {
            self.put(db, Family::Final, &checkpoints::turn(height), &[])?;
        }
        self.drop_old_trees(db, height.0.saturating_sub(KEPT_TREES - 1))?;

        let damaged = |_| StorageError::damaged("a checkpoint to be counted");
        let chain =
            Chain::trusting(&certified.checkpoint, &certified.validators).map_err(damaged)?;
        let mut cuts = self.finality.cuts.clone();
        cuts.push(&staged.clock);
        self.finality = Arc::new(Finality { cuts, chain });
        let before = self.verdicts.clone();
        let tips = self.lanes.clone();
        let within = |lane: Lane| tips.tip(lane);
        let lanes = self.lanes.table().clone();
        let verdicts = Verdicts::new(&self.authority, &lanes, &within, &self.finality.cuts);
        self.verdicts = Arc::new(verdicts);
        self.rejudge(db, &before, None)
    }

    /// Drops the nodes that only states before a height have.
    fn drop_old_trees(&mut self, db: &Db, oldest: u64) -> Result<(), StorageError> {
        let damaged = || StorageError::damaged("the mark of a node");
        let mut walk = db.latest().walk(Family::Tree, &[tree::STALE])?;
        walk.first()?;
        while let Some((key, _)) = walk.item() {
            let (height, node) = tree::parse_stale(key).ok_or_else(damaged)?;
            if height.0 > oldest {
                break;
            }
            self.delete(db, Family::Tree, &tree::node(node))?;
            self.delete(db, Family::Tree, key)?;
            walk.next()?;
        }
        Ok(())
    }
}
