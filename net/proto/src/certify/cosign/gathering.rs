//! The lines of one checkpoint's note: those that are known, and when which are told and asked for.

use std::collections::BTreeMap;
use std::time::Duration;

use quipu_merge::{AuthorKey, CheckpointNote, CheckpointSignature, quorum};

use super::{Cosigned, Lines};
use crate::certify::message::CertifyMessage;
use crate::time::Moment;

/// For so long, lines are held back, so that one message has several.
const TELL_EVERY: Duration = Duration::from_millis(100);
/// Until somebody is asked for lines that have not come, the first time; then twice as long.
const ASK_AFTER: Duration = Duration::from_secs(1);
/// So often somebody is asked for the lines of one checkpoint: who has not signed by then is away.
pub const MAX_ASKS: u32 = 5;
/// The same, where more than two thirds have signed: whoever is away is asked when it is back.
pub const MAX_ASKS_FOR_REST: u32 = 1;

/// A checkpoint of whose note lines are gathered.
#[derive(Debug)]
pub struct Gathering {
    note: CheckpointNote,
    /// Who may sign it, ascending.
    validators: Vec<AuthorKey>,
    known: BTreeMap<AuthorKey, CheckpointSignature>,
    /// Lines of these have not been passed on.
    untold: Vec<AuthorKey>,
    tell: Option<Moment>,
    ask: Option<Moment>,
    asks: u32,
}

impl Gathering {
    pub fn new(
        note: CheckpointNote,
        validators: Vec<AuthorKey>,
        known: impl IntoIterator<Item = CheckpointSignature>,
        now: Moment,
    ) -> Self {
        Self {
            note,
            validators,
            known: known.into_iter().map(|signature| (signature.validator, signature)).collect(),
            untold: Vec::new(),
            tell: None,
            ask: Some(now.after(ASK_AFTER)),
            asks: 0,
        }
    }

    /// When something is to be told or asked.
    pub fn next(&self) -> Option<Moment> {
        self.tell.into_iter().chain(self.ask).min()
    }

    /// Whether this is a validator whose lines are not known.
    pub fn lacks(&self, key: &AuthorKey) -> bool {
        self.validators.binary_search(key).is_ok() && !self.known.contains_key(key)
    }

    /// Whether these lines sign this note.
    pub fn holds(&self, signature: &CheckpointSignature) -> bool {
        signature.verify(&self.note).is_ok()
    }

    /// Takes lines that hold, by a validator; they are passed on.
    pub fn add(&mut self, signature: CheckpointSignature, now: Moment) {
        self.untold.push(signature.validator);
        self.tell.get_or_insert(now.after(TELL_EVERY));
        self.known.insert(signature.validator, signature);
    }

    /// All lines that are known.
    pub fn all(&self) -> Vec<CheckpointSignature> {
        self.known.values().copied().collect()
    }

    /// All lines that are known, for somebody who asks, if there are any.
    pub fn answer(&self) -> Option<CertifyMessage> {
        (!self.known.is_empty()).then(|| self.message(self.known.keys()))
    }

    /// Asks somebody for lines.
    pub const fn question(&self) -> CertifyMessage {
        CertifyMessage::AskCosigned(self.note.height.0)
    }

    /// What is to be passed on by now.
    pub fn tell(&mut self, now: Moment) -> Option<CertifyMessage> {
        self.tell.take_if(|at| *at <= now)?;
        let untold = std::mem::take(&mut self.untold);
        Some(self.message(untold.iter()))
    }

    /// Whether somebody is to be asked by now: how often that has been done before.
    pub fn ask(&mut self, now: Moment) -> Option<u32> {
        self.ask.take_if(|at| *at <= now)?;
        let (known, all) = (self.known.len(), self.validators.len());
        let most = if known < quorum(all) { MAX_ASKS } else { MAX_ASKS_FOR_REST };
        if known >= all || self.asks >= most {
            return None;
        }
        let before = self.asks;
        self.ask = Some(now.after(ASK_AFTER.saturating_mul(2 << before)));
        self.asks += 1;
        Some(before)
    }

    fn message<'k>(&self, of: impl Iterator<Item = &'k AuthorKey>) -> CertifyMessage {
        let lines = of.filter_map(|key| self.known.get(key)).map(Lines::from);
        CertifyMessage::Cosigned(Cosigned { height: self.note.height, lines: lines.collect() })
    }
}
