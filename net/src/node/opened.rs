//! What a node begins with: what its store holds, and the threads that work on it.

use std::sync::Arc;

use quipu_merge::Height;
use quipu_proto::LaneTips;
use quipu_store::Ledger;

use super::certify::Begin;
use super::error::StartError;
use super::options::NodeOptions;
use super::work::{Fill, Reports, Work};

/// What a node begins with.
pub struct Opened {
    pub work: Work,
    pub frontier: Vec<LaneTips>,
    /// What certification begins with, where there are validators.
    pub begin: Option<Begin>,
    /// What precedes the store's checkpoint and is to come: up to which checkpoint, from which place on, and
    /// how many events there are.
    pub goal: Option<(Height, u64, u64)>,
}

impl Opened {
    /// Reads the store, and starts the threads. One that only visits others votes on nothing.
    pub fn open(
        ledger: Arc<Ledger>,
        reports: Reports,
        options: &NodeOptions,
    ) -> Result<Self, StartError> {
        let begin = Begin::read(&ledger, !options.is_visitor())?;
        let fill = if options.fill { Fill::open(&ledger)? } else { None };
        let goal = fill.as_ref().map(|fill| fill.goal);
        let (work, frontier) = Work::start(ledger, reports, options.only.clone(), fill)?;
        Ok(Self { work, frontier, begin, goal })
    }
}
