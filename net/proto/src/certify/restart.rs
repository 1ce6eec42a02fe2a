//! What the log leads to after a start.

use super::certifier::Certifier;
use super::interface::Log;
use super::log::{Entry, Mark, What, last_signing};
use super::parts::Parts;
use super::shell::Fault;
use super::signed::SignedVote;
use super::status::Stopped;
use super::values::{Candidate, Values, Verdict};
use crate::time::Moment;

impl Certifier {
    /// Takes up the log.
    pub(super) fn read_log(&mut self, log: Log, mark: Option<Mark>) {
        let height = self.height();
        let entries: Option<Vec<Entry>> = match log {
            Log::New => {
                self.append(What::Opened(true));
                return;
            }
            Log::Kept(entries) => entries.iter().map(|bytes| Entry::decode(bytes)).collect(),
            Log::Lost => None,
        };
        let entries = entries.unwrap_or_default();
        if entries.iter().any(|entry| entry.what == What::Faulty) {
            self.stopped = Some(Stopped::Fault(Fault::Before));
            return;
        }
        for Entry { height: of, what } in &entries {
            // Others may have to be told of what they have signed.
            if let What::Vote(vote) = what {
                self.saw(vote);
            }
            if *of == height {
                self.keep_own(what);
            }
        }
        let signs = entries.iter().rev().find_map(|entry| match entry.what {
            What::Opened(signs) | What::Begun(signs) => Some(signs),
            _ => None,
        });
        let last = entries.iter().filter_map(|entry| Mark::of(entry, self.config.me)).max();
        let ahead = entries.iter().any(|entry| entry.height > height);
        // Without a mark nobody knows whether this is an old log.
        let behind = mark.is_none_or(|mark| mark.height >= height && Some(mark) > last);
        if signs != Some(true) || ahead || behind {
            self.recall.lost = true;
            let of_height = entries.into_iter().filter(|entry| entry.height == height);
            self.abandoned = last_signing(of_height.map(|entry| entry.what));
            if signs != Some(false) {
                self.append(What::Opened(false));
            }
            return;
        }
        if last > mark {
            // It was appended just before the end, and may be sent again: the mark has to come first.
            self.unmarked = last;
            self.append(What::Opened(true));
        }
        let of_height = entries.into_iter().filter(|entry| entry.height == height);
        self.replay = of_height.map(|entry| entry.what).collect();
    }

    /// Whether the log says that the height has begun, as it would begin now.
    pub(super) fn has_begun(&self) -> bool {
        self.begun_at().is_some()
    }

    /// Where in the log the height has begun. Where that was without signing and now is with it, or the
    /// other way round, it begins anew.
    pub(super) fn begun_at(&self) -> Option<usize> {
        let begun = |(at, what): (usize, &What)| match what {
            What::Begun(signs) => Some((at, *signs)),
            _ => None,
        };
        let last = self.replay.iter().enumerate().rev().find_map(begun);
        last.filter(|(_, signs)| *signs != self.recall.lost).map(|(at, _)| at)
    }

    /// Something has been logged: if it is signed by this validator, it must not sign anything else.
    pub(super) fn keep_own(&mut self, what: &What) {
        let is_own = match what {
            What::Vote(vote) => vote.by == self.config.me,
            What::Proposal(proposal) => proposal.by == self.config.me,
            _ => false,
        };
        if is_own {
            self.own.push(what.clone());
        }
    }

    /// The height has to begin anew: this validator signs from now on, or no longer.
    pub(super) fn begin_anew(&mut self, now: Moment) {
        self.append(What::Opened(!self.recall.lost));
        self.replay.clear();
        if !self.recall.lost {
            // It goes on from what it has signed, or it would sign otherwise.
            self.replay = std::mem::take(&mut self.abandoned);
            self.replay.clone().into_iter().for_each(|what| self.append(what));
        }
        (self.turn, self.choosing, self.retry) = (None, false, None);
        (self.values, self.reports.changed) = (Values::default(), true);
        self.timers.clear();
        if self.engine.take().is_some() {
            self.begin(now);
        }
    }

    /// A vote has been logged.
    pub(super) fn saw(&mut self, vote: &SignedVote) {
        let place = |vote: &SignedVote| (vote.height, vote.round, vote.precommit);
        let seen = self.seen.entry(vote.by).or_insert_with(|| vote.clone());
        if place(vote) > place(seen) {
            *seen = vote.clone();
        }
    }

    /// Takes up what the log knows of proposals.
    pub(super) fn take_values(&mut self, log: &[What]) {
        let mut parts = Vec::new();
        for what in log {
            match what {
                What::Parts(bytes) => parts.extend(bytes.decode()),
                What::Proposal(proposal) => self.values.proposed(proposal.clone()),
                What::Vote(vote) => self.mark_voted(vote),
                What::Value(judged) => {
                    let known = parts.iter().find(|parts: &&Parts| parts.id() == judged.value);
                    let Some(parts) = known.filter(|_| judged.valid) else { continue };
                    if judged.by == self.config.me {
                        self.values.chosen = Some(judged.value);
                    }
                    let (parts, judged) = (parts.clone(), judged.clone());
                    self.values.add(Candidate::new(parts, judged, Verdict::Same), None);
                }
                _ => {}
            }
        }
    }

    /// A checkpoint that this validator has voted for stays longest.
    pub(super) fn mark_voted(&mut self, vote: &SignedVote) {
        if let Some(value) = vote.value.filter(|_| vote.by == self.config.me) {
            self.values.voted(value.0);
        }
    }
}
